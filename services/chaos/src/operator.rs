//! What an operator would type to look at the system: `farmera verify`, `farmera transport`, as processes of their own.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use farmera::failure::Failure;
use farmera::services::SERVICES;
use tokio::process::Command;
use tokio::time::timeout;

use crate::ground::Ground;
use crate::report::Finding;

/// Every event of a run is read; a slow machine needs a while.
const LIMIT: Duration = Duration::from_secs(180);
const WORDS_MAX: usize = 600;

/// The logs as they are now, for a look at the end.
///
/// # Errors
/// [`Failure`]: something is wrong with them already.
pub async fn remember(ground: &Ground, program: &Path) -> Result<(), Failure> {
    let checkpoint = checkpoint(ground);
    match farmera(ground, program, &["verify", "--save", &checkpoint]).await? {
        Answer { good: true, .. } => Ok(()),
        Answer { said, .. } => Err(Failure::Failed(format!("farmera verify at the beginning: {said}"))),
    }
}

/// Looks at everything at the end: the logs against what was remembered, and the broker, made whole, against the logs.
///
/// # Errors
/// [`Failure`]: a command cannot be run.
pub async fn look(ground: &Ground, program: &Path) -> Result<Vec<Finding>, Failure> {
    let checkpoint = checkpoint(ground);
    let looks: [(&'static str, &'static str, &'static str, &[&str]); 3] = [
        ("", "farmera verify finds nothing", "digests, a checkpoint", &["verify", "--against", &checkpoint]),
        ("", "farmera transport rebuild makes the broker whole", "all events, JetStream", &["transport", "rebuild"]),
        ("", "farmera transport verify finds nothing then", "all events, JetStream", &["transport", "verify"]),
    ];
    let mut findings = Vec::new();
    for (id, claim, reads, arguments) in looks {
        let answer = farmera(ground, program, arguments).await?;
        let wrong = (!answer.good).then_some(answer.said).into_iter().collect();
        findings.push(Finding { id, claim, reads, checked: SERVICES.len() as u64, wrong });
    }
    Ok(findings)
}

fn checkpoint(ground: &Ground) -> String {
    ground.folder.join("checkpoint").to_string_lossy().into_owned()
}

struct Answer {
    good: bool,
    said: String,
}

async fn farmera(ground: &Ground, program: &Path, arguments: &[&str]) -> Result<Answer, Failure> {
    let mut command = Command::new(program);
    command.arg("farmera").args(arguments).stdin(Stdio::piped()).kill_on_drop(true).env_clear();
    command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
    for service in &SERVICES {
        command.envs(ground.environment(service.name, 0)?);
    }
    let failed = |what: String| Failure::Failed(format!("farmera {}: {what}", arguments.join(" ")));
    let mut child =
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().map_err(|error| failed(error.to_string()))?;
    // Held: the program ends with its standard input.
    let _held = child.stdin.take();
    let output = timeout(LIMIT, child.wait_with_output()).await.map_err(|error| failed(error.to_string()))?;
    let output = output.map_err(|error| failed(error.to_string()))?;
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).chars().take(WORDS_MAX).collect();
    Ok(Answer { good: output.status.success(), said })
}
