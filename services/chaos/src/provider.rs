//! The card processor: a process of its own, with a journal that nobody else writes. It is a witness, so it is never
//! killed here; but it misbehaves as processors do, except while it is asked as a witness.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use farmera::failure::Failure;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// What goes wrong between payment and the books while there is weather, as shares of requests.
const STORM: &str = r#"{"latency_ms":2,"error_rate":0.02,"lose_request_rate":0.01,"lose_reply_rate":0.02,"spend_key_rate":0.01,"duplicate_rate":0.05}"#;
/// What is not named does not happen.
const CALM: &str = "{}";
const START_LIMIT: Duration = Duration::from_secs(30);
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// The processor. It ends when dropped.
pub struct Provider {
    /// The file that it writes, on disk before anybody is told.
    pub journal: PathBuf,
    /// `http://127.0.0.1:41234`
    pub url: String,
    _child: Child,
}

impl Provider {
    /// Starts it with its journal in `folder`; what goes wrong follows from `seed`.
    ///
    /// # Errors
    /// [`Failure::Setup`]: it does not start.
    pub async fn start(program: &Path, folder: &Path, seed: u64) -> Result<Self, Failure> {
        let failed = |what: String| Failure::Setup(format!("the provider does not start: {what}"));
        let journal = folder.join("provider.ndjson");
        let log = std::fs::File::create(folder.join("provider.log")).map_err(|error| failed(error.to_string()))?;
        let mut child = Command::new(program)
            .args(["farmera", "sandbox-provider", "--listen", "127.0.0.1:0", "--seed", &seed.to_string(), "--journal"])
            .arg(&journal)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| failed(error.to_string()))?;
        let stdout = child.stdout.take().ok_or_else(|| failed("it has no output".to_owned()))?;
        let mut lines = BufReader::new(stdout).lines();
        let line = timeout(START_LIMIT, lines.next_line()).await.map_err(|error| failed(error.to_string()))?;
        let line = line.map_err(|error| failed(error.to_string()))?.unwrap_or_default();
        let url = line.strip_prefix("ready ").and_then(|rest| rest.split_whitespace().next());
        let url = url.ok_or_else(|| failed(format!("it says {line:?}")))?.to_owned();
        Ok(Self { journal, url, _child: child })
    }

    /// From now on it misbehaves.
    ///
    /// # Errors
    /// [`Failure::Failed`]: it is not there.
    pub async fn storm(&self) -> Result<(), Failure> {
        self.weather(STORM).await
    }

    /// From now on it does what it is asked.
    ///
    /// # Errors
    /// [`Failure::Failed`]: it is not there.
    pub async fn calm(&self) -> Result<(), Failure> {
        self.weather(CALM).await
    }

    /// How often it has misbehaved.
    ///
    /// # Errors
    /// [`Failure::Failed`]: it is not there.
    pub async fn fired(&self) -> Result<u64, Failure> {
        let answer = self.ask("GET /v1/sandbox/faults", "").await?;
        let fired: BTreeMap<String, u64> = serde_json::from_str(&answer).map_err(|error| unheard(&error))?;
        Ok(fired.iter().filter(|(fault, _)| *fault != "requests").map(|(_, count)| count).sum())
    }

    async fn weather(&self, weather: &str) -> Result<(), Failure> {
        self.ask("PUT /v1/sandbox/weather", weather).await.map(drop)
    }

    /// One request on a connection of its own; the body of the answer.
    async fn ask(&self, what: &str, body: &str) -> Result<String, Failure> {
        let host = self.url.trim_start_matches("http://");
        let length = body.len();
        let request = format!("{what} HTTP/1.0\r\nhost: {host}\r\ncontent-length: {length}\r\n\r\n{body}");
        let asked = async {
            let mut connection = TcpStream::connect(host).await?;
            connection.write_all(request.as_bytes()).await?;
            let mut answer = String::new();
            connection.read_to_string(&mut answer).await?;
            Ok::<_, std::io::Error>(answer)
        };
        let answer = timeout(ANSWER_LIMIT, asked).await.map_err(|error| unheard(&error))?;
        let answer = answer.map_err(|error| unheard(&error))?;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
        if head.split_whitespace().nth(1).is_none_or(|status| !status.starts_with('2')) {
            return Err(unheard(&format!("{what} is answered {answer:?}")));
        }
        Ok(body.to_owned())
    }
}

fn unheard(error: &dyn std::fmt::Display) -> Failure {
    Failure::Failed(format!("the provider does not answer: {error}"))
}
