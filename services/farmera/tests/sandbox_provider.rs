//! The sandbox provider as a process: what it has answered survives SIGKILL, and nothing is charged twice.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking, and so do its helpers")]

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use payment::sandbox::server::{Fact, read_journal};

const CALLERS: usize = 16;
const CHARGES_PER_CALLER: usize = 40;
/// Killed when so many charges were answered.
const KILL_AT: usize = 200;

struct Process {
    child: Child,
    address: String,
    first_line: String,
}

impl Process {
    fn start(journal: &Path, more: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_farmera"))
            .args(["sandbox-provider", "--listen", "127.0.0.1:0", "--journal"])
            .arg(journal)
            .args(more)
            .env("FARMERA_LOG", "error")
            .env("FARMERA_SANDBOX_PROVIDER__KEY", "sk_test")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut first_line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut first_line).unwrap();
        let address = first_line.strip_prefix("ready http://").expect("it says where it is");
        let address = address.split_whitespace().next().unwrap().to_owned();
        Self { child, address, first_line }
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The status and the body; `None` when there was no whole answer.
fn call(address: &str, head: &str, key: &str, body: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(10))).ok()?;
    let length = body.len();
    let request = format!(
        "{head} HTTP/1.1\r\nhost: provider\r\nauthorization: Bearer sk_test\r\nidempotency-key: {key}\r\n\
         connection: close\r\ncontent-length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
}

fn hold(address: &str, number: usize) -> Option<(u16, String)> {
    let body = format!(
        r#"{{"amount":1250,"currency":"eur","payment_method":"tok_success","metadata":{{"payment_id":"{number:032x}"}}}}"#
    );
    call(address, "POST /v1/payment_intents", &format!("key-{number}"), &body)
}

fn id_of(body: &str) -> String {
    let intent: serde_json::Value = serde_json::from_str(body).unwrap();
    intent.get("id").and_then(|id| id.as_str()).unwrap().to_owned()
}

#[test]
fn a_provider_that_is_killed_knows_what_it_answered_and_charges_nobody_twice() {
    let folder = tempfile::tempdir().unwrap();
    let journal = folder.path().join("journal.ndjson");
    let mut process = Process::start(&journal, &[]);
    let address = process.address.clone();
    let answered = AtomicUsize::new(0);
    let mut known: BTreeMap<usize, String> = BTreeMap::new();
    std::thread::scope(|scope| {
        let callers: Vec<_> = (0..CALLERS)
            .map(|caller| {
                let (address, answered) = (&address, &answered);
                scope.spawn(move || {
                    let numbers = (0..CHARGES_PER_CALLER).map(|number| caller * CHARGES_PER_CALLER + number);
                    let told = numbers.map_while(|number| {
                        let (status, body) = hold(address, number)?;
                        answered.fetch_add(1, Ordering::Relaxed);
                        assert_eq!(status, 200, "{body}");
                        Some((number, id_of(&body)))
                    });
                    told.collect::<Vec<_>>()
                })
            })
            .collect();
        while answered.load(Ordering::Relaxed) < KILL_AT {
            std::thread::yield_now();
        }
        process.kill();
        known.extend(callers.into_iter().flat_map(|caller| caller.join().unwrap()));
    });
    assert!(known.len() >= KILL_AT && known.len() < CALLERS * CHARGES_PER_CALLER, "killed in the middle");

    // As a kill in the middle of a write would leave it.
    std::fs::OpenOptions::new().append(true).open(&journal).unwrap().write_all(b"{\"number\":").unwrap();
    let restarted = Process::start(&journal, &[]);
    assert!(restarted.first_line.contains(" torn_bytes=10 "), "{}", restarted.first_line);
    for number in 0..CALLERS * CHARGES_PER_CALLER {
        let (status, body) = hold(&restarted.address, number).unwrap();
        assert_eq!(status, 200, "{body}");
        let id = id_of(&body);
        assert_eq!(known.entry(number).or_insert_with(|| id.clone()), &id);
    }
    let mut held: BTreeMap<String, u32> = BTreeMap::new();
    for entry in read_journal(&journal).unwrap() {
        if matches!(entry.fact, Fact::Authorized { .. }) {
            *held.entry(entry.charge).or_default() += 1;
        }
    }
    assert!(held.values().all(|count| *count == 1));
    let held: Vec<String> = held.into_keys().collect();
    let mut known: Vec<String> = known.into_values().collect();
    known.sort();
    assert_eq!(held, known);
    let (_, dump) = call(&restarted.address, "GET /v1/journal", "", "").unwrap();
    assert!(dump.contains(&held.first().unwrap().clone()));
}

#[test]
fn the_api_answers_as_a_card_processor_would() {
    let folder = tempfile::tempdir().unwrap();
    let process = Process::start(&folder.path().join("journal.ndjson"), &[]);
    let (status, body) = hold(&process.address, 1).unwrap();
    let intent: serde_json::Value = serde_json::from_str(&body).unwrap();
    let field = |name: &str| intent.get(name).unwrap().clone();
    assert_eq!((status, field("status"), field("currency")), (200, "requires_capture".into(), "eur".into()));
    let id = id_of(&body);
    let code = |answer: Option<(u16, String)>| {
        let (status, body) = answer.unwrap();
        let body: serde_json::Value = serde_json::from_str(&body).unwrap();
        let error = body.get("error").unwrap();
        let word = |name: &str| error.get(name).and_then(|word| word.as_str()).unwrap_or_default().to_owned();
        (status, word("type"), word("code"), word("decline_code"))
    };
    let case = |status: u16, kind: &str, code: &str, decline: &str| {
        (status, kind.to_owned(), code.to_owned(), decline.to_owned())
    };
    let other = r#"{"amount":1,"currency":"eur","payment_method":"tok_success","metadata":{"payment_id":"00000000000000000000000000000001"}}"#;
    let reused = call(&process.address, "POST /v1/payment_intents", "key-1", other);
    assert_eq!(code(reused), case(422, "idempotency_error", "idempotency_key_reused", ""));
    let declined = other.replace("tok_success", "tok_insufficient_funds");
    let declined = call(&process.address, "POST /v1/payment_intents", "key-2", &declined);
    assert_eq!(code(declined), case(402, "card_error", "card_declined", "insufficient_funds"));
    let keyless = call(&process.address, "POST /v1/payment_intents", "", other);
    assert_eq!(code(keyless), case(400, "invalid_request_error", "parameter_invalid", ""));
    let unknown = call(&process.address, "POST /v1/payment_intents/pi_0/capture", "key-3", "");
    assert_eq!(code(unknown), case(404, "invalid_request_error", "resource_missing", ""));
    let refund = format!(r#"{{"payment_intent":"{id}"}}"#);
    let early = call(&process.address, "POST /v1/refunds", "key-4", &refund);
    assert_eq!(code(early), case(400, "invalid_request_error", "payment_intent_unexpected_state", ""));
    let capture = format!("POST /v1/payment_intents/{id}/capture");
    assert_eq!(call(&process.address, &capture, "key-5", "").unwrap().0, 200);
    let (status, refunded) = call(&process.address, "POST /v1/refunds", "key-6", &refund).unwrap();
    assert!(status == 200 && refunded.contains(r#""object":"refund""#), "{refunded}");
    let found = call(&process.address, "GET /v1/payment_intents?idempotency_key=key-1", "", "").unwrap().1;
    assert!(found.contains(r#""amount_refunded":1250"#) && found.contains(r#""has_more":false"#), "{found}");
    let storm = call(&process.address, "PUT /v1/sandbox/weather", "", r#"{"error_rate":1.0}"#).unwrap();
    assert_eq!(storm.0, 200, "{}", storm.1);
    assert_eq!(code(hold(&process.address, 9)), case(503, "api_error", "try_again", ""));
    let faults = call(&process.address, "GET /v1/sandbox/faults", "", "").unwrap().1;
    assert!(faults.contains(r#""errors":1"#), "{faults}");
}

#[test]
fn strangers_wrong_rates_and_a_journal_in_use_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let journal = folder.path().join("journal.ndjson");
    let process = Process::start(&journal, &[]);
    let mut stream = TcpStream::connect(&process.address).unwrap();
    stream.write_all(b"GET /v1/journal HTTP/1.1\r\nhost: provider\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 401 ") && answer.contains("authentication_error"), "{answer}");

    let refused = |more: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_farmera"));
        command.args(["sandbox-provider", "--listen", "127.0.0.1:0", "--journal"]).arg(&journal).args(more);
        let output = command.output().unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, line) = refused(&[]);
    assert!(code == 2 && line.contains("is in use by another process"), "{line}");
    let (code, line) = refused(&["--error-rate", "2"]);
    assert!(code == 2 && line.contains("error_rate must be between 0 and 1"), "{line}");
}
