//! `farmera doctor`: what is missing or wrong around us, and how to mend it.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::time::Duration;

use chassis::config::{Env, Secret};
use chassis::schema::{LookError, SchemaError};
use clap::Args;
use farmera_local::{FindingState, Toolbox};
use sqlx::Connection as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::addresses::{self, Addresses, Endpoints, Starting};
use crate::failure::Failure;
use crate::host::ADMIN_ADDRESS;
use crate::output::{self, Paint};
use crate::run;
use crate::services::{SERVICES, Service};

const ASK_LIMIT: Duration = Duration::from_secs(3);

/// What `farmera doctor` is told.
#[derive(Args, Debug)]
pub struct Arguments {
    /// The state folder of `farmera up`.
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
}

/// One line of the report.
struct Line {
    name: String,
    /// How it is, or what is wrong.
    detail: String,
    /// How to mend it; `None` when all is well.
    remedy: Option<String>,
}

impl Line {
    fn ok(name: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { name: name.into(), detail: detail.into(), remedy: None }
    }

    fn problem(name: impl Into<String>, detail: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { name: name.into(), detail: detail.into(), remedy: Some(remedy.into()) }
    }
}

/// Looks at everything and reports.
///
/// # Errors
/// [`Failure::Setup`] when anything is wrong.
pub async fn command(arguments: Arguments) -> Result<(), Failure> {
    chassis::telemetry::init_logs("off");
    let state = arguments.state.unwrap_or_else(addresses::default_state);
    let running = Addresses::load(&state).filter(Addresses::may_be_alive);
    let mut lines = programs();
    lines.push(state_folder(&state));
    lines.extend(ports(running.as_ref(), Starting::load(&state).as_ref()));
    lines.extend(running_up(running.as_ref()).await);
    lines.extend(environment(&Env::of_process()).await);
    let paint = Paint::of_stdout();
    for line in &lines {
        let mark = if line.remedy.is_none() { paint.good("ok     ") } else { paint.bad("problem") };
        output::line(format!("{mark}  {:<24}  {}", line.name, line.detail));
        if let Some(remedy) = &line.remedy {
            output::line(format!("         {:<24}  mend: {remedy}", ""));
        }
    }
    match lines.iter().filter(|line| line.remedy.is_some()).count() {
        0 => Ok(()),
        1 => Err(Failure::Setup("one thing is wrong, see above".to_owned())),
        count => Err(Failure::Setup(format!("{count} things are wrong, see above"))),
    }
}

fn programs() -> Vec<Line> {
    let findings = Toolbox::examine(&farmera_local::project_root());
    let line = |finding: farmera_local::Finding| match finding.state {
        FindingState::Ok => Line::ok(finding.name, finding.detail),
        FindingState::Missing | FindingState::TooOld => {
            Line::problem(finding.name, finding.detail, finding.remedy.unwrap_or_default())
        }
    };
    findings.into_iter().map(line).collect()
}

fn state_folder(state: &std::path::Path) -> Line {
    let probe = state.join(".doctor");
    let tried = std::fs::create_dir_all(state)
        .and_then(|()| std::fs::write(&probe, ""))
        .and_then(|()| std::fs::remove_file(&probe));
    match tried {
        Ok(()) => Line::ok("state folder", state.display().to_string()),
        Err(error) => Line::problem(
            "state folder",
            format!("{} cannot be written: {error}", state.display()),
            "give yourself the folder, or use `farmera up --state DIR`",
        ),
    }
}

fn ports(running: Option<&Addresses>, starting: Option<&Starting>) -> Vec<Line> {
    let wanted = SERVICES.iter().map(|service| (service.name, service.default_port));
    let wanted = wanted.chain([("admin", ADMIN_ADDRESS.port())]);
    let line = |(name, port): (&str, u16)| {
        let title = format!("port {port} ({name})");
        let has = |endpoints: &Endpoints, admin: &String| {
            let urls = [&endpoints.orders, &endpoints.products, &endpoints.payment, &endpoints.notification];
            urls.into_iter().chain([admin]).any(|url| url.ends_with(&format!(":{port}")))
        };
        let ours = running.is_some_and(|up| has(&up.endpoints, &up.admin));
        let soon = starting.is_some_and(|up| has(&up.endpoints, &up.admin));
        match TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port))) {
            Ok(_) => Line::ok(title, "free"),
            Err(_) if soon => Line::ok(title, "taken by the `farmera up` that is starting"),
            Err(_) if ours => Line::ok(title, "served by the running `farmera up`"),
            Err(error) => {
                let remedy = format!(
                    "end the process that has it (`ss -ltnp sport = :{port}`), or use `farmera up --free-ports`"
                );
                Line::problem(title, format!("not free: {error}"), remedy)
            }
        }
    };
    wanted.map(line).collect()
}

async fn running_up(running: Option<&Addresses>) -> Option<Line> {
    let up = running?;
    let title = "running `farmera up`";
    let remedy = format!("see what it prints; end process {} and start it again", up.pid);
    Some(match timeout(ASK_LIMIT, http_get(&up.admin, "/readyz")).await {
        Ok(Ok((200, _))) => Line::ok(title, format!("ready, process {}, {}", up.pid, up.admin)),
        Ok(Ok((_, report))) => {
            let missing: Vec<&str> = report.lines().filter(|line| line.starts_with("[-]")).collect();
            Line::problem(title, format!("not ready: {}", missing.join(", ")), remedy)
        }
        Ok(Err(error)) => Line::problem(title, format!("{} does not answer: {error}", up.admin), remedy),
        Err(_) => Line::problem(title, format!("{} does not answer in time", up.admin), remedy),
    })
}

/// Status and body of a small page.
async fn http_get(base: &str, path: &str) -> std::io::Result<(u16, String)> {
    let address = base.trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(1 << 20).read_to_end(&mut answer).await?;
    let answer = String::from_utf8_lossy(&answer);
    let status = answer.split_whitespace().nth(1).and_then(|word| word.parse().ok()).unwrap_or(0);
    let body = answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default();
    Ok((status, body))
}

/// What `farmera run` would be told by this environment; nothing when it is not configured here.
async fn environment(env: &Env) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut brokers: Vec<Secret> = Vec::new();
    for service in &SERVICES {
        let own = env.of_service(service.name);
        if let Ok(url) = own.secret("DATABASE_URL", "") {
            lines.push(database(service, &url).await);
        }
        if let Ok(url) = own.secret("NATS_URL", "")
            && !brokers.contains(&url)
        {
            brokers.push(url);
        }
    }
    for url in &brokers {
        lines.push(broker(url).await);
    }
    lines
}

async fn database(service: &Service, url: &Secret) -> Line {
    let title = format!("{} database", service.name);
    let variable = format!("FARMERA_{}__DATABASE_URL", service.name.to_uppercase());
    let mut connection = match timeout(ASK_LIMIT, chassis::database::connect(url.expose(), "doctor")).await {
        Ok(Ok(connection)) => connection,
        Ok(Err(error)) => {
            return Line::problem(title, format!("not reachable: {error}"), format!("start it, or correct {variable}"));
        }
        Err(_) => return Line::problem(title, "does not answer in time", format!("start it, or correct {variable}")),
    };
    let asking = async {
        let asked: Result<String, _> =
            sqlx::query_scalar("select current_setting('server_version')").fetch_one(&mut connection).await;
        (asked, service.schema().look(&mut connection).await)
    };
    let Ok((asked, seen)) = timeout(ASK_LIMIT, asking).await else {
        return Line::problem(title, "does not answer in time", "see what keeps it busy: pg_stat_activity");
    };
    drop(connection.close().await);
    let remedy = format!("run `farmera migrate {}`", service.name);
    match (asked, seen) {
        (Err(error), _) | (_, Err(LookError::Unavailable(error))) => {
            Line::problem(title, format!("cannot be read: {error}"), "give the role its rights")
        }
        (Ok(version), Ok(_)) => Line::ok(title, format!("Postgres {version}, has its tables")),
        (_, Err(LookError::Schema(SchemaError::Older { missing, .. }))) => {
            Line::problem(title, format!("{} migration(s) have not been applied", missing.len()), remedy)
        }
        (_, Err(LookError::Schema(SchemaError::Hidden { .. }))) => {
            Line::problem(title, "is from before services could see their migrations", remedy)
        }
        (_, Err(LookError::Schema(SchemaError::Newer { .. }))) => {
            let remedy = "run the newer program, or restore the database from before it";
            Line::problem(title, "was migrated by a newer program than this one", remedy)
        }
    }
}

async fn broker(url: &Secret) -> Line {
    let title = "NATS";
    let remedy = "start it, or correct FARMERA_NATS_URL";
    let client = match timeout(ASK_LIMIT, async_nats::connect(url.expose())).await {
        Ok(Ok(client)) => client,
        Ok(Err(error)) => return Line::problem(title, format!("not reachable: {error}"), remedy),
        Err(_) => return Line::problem(title, "does not answer in time", remedy),
    };
    let info = client.server_info();
    if run::is_too_old(&info.version) {
        let detail = format!("nats-server {} is too old, 2.14 or newer is needed", info.version);
        return Line::problem(title, detail, "install a newer nats-server");
    }
    let jetstream = async_nats::jetstream::new(client);
    match timeout(ASK_LIMIT, jetstream.query_account()).await {
        Ok(Ok(_)) => Line::ok(title, format!("nats-server {} with JetStream", info.version)),
        Ok(Err(error)) => {
            let remedy = "start nats-server with JetStream: `nats-server -js -sd DIR`";
            Line::problem(title, format!("JetStream does not answer: {error}"), remedy)
        }
        Err(_) => Line::problem(title, "JetStream does not answer in time", remedy),
    }
}
