//! Preview, then act: every change is a plan that says what would happen, and then an operation in the server.
//!
//! * [`selection`]: to whom; [`place`]: where a plan or an operation is;
//! * [`plan`]: what would happen;
//! * [`operation`]: what is happening.

pub mod operation;
pub mod place;
pub mod plan;
pub mod selection;

use clap::Args;
use farmera_proto::saga::v1 as pb;
use farmera_proto::saga::v1::act::Kind;

use crate::act::operation::Interruption;
use crate::failure::Failure;
use crate::output::tell;
use crate::session::Session;

/// How to go about an act: look at a plan first, then apply it.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Preview, then act")]
pub struct Course {
    /// Say what would happen, change nothing, and name the plan.
    #[arg(long, conflicts_with = "apply")]
    pub plan: bool,
    /// Carry out the plan of this name; refused when anything it rests on has moved.
    #[arg(long, value_name = "HASH")]
    pub apply: Option<String>,
    /// Why; becomes part of every event that comes of it. Needed for a plan.
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    /// At most so many a second, such as 5/s; 50/s unless said otherwise.
    #[arg(long, value_name = "N/s", value_parser = parse_rate, requires = "apply")]
    pub rate: Option<u32>,
    /// First so many alone; the others only when none of them has failed.
    #[arg(long, value_name = "N", requires = "apply")]
    pub canary: Option<u32>,
    /// Stop when more than so many have failed.
    #[arg(long, value_name = "N", requires = "apply")]
    pub max_failures: Option<u32>,
    /// Do not watch the operation; it goes on in the server.
    #[arg(long, requires = "apply")]
    pub detach: bool,
}

/// The same for an act that is one thing: there is no pace to say.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Preview, then act")]
pub struct PlainCourse {
    /// Say what would happen, change nothing, and name the plan.
    #[arg(long, conflicts_with = "apply")]
    pub plan: bool,
    /// Carry out the plan of this name; refused when anything it rests on has moved.
    #[arg(long, value_name = "HASH")]
    pub apply: Option<String>,
    /// Why; is kept with what comes of it. Needed for a plan.
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    /// Do not watch the operation; it goes on in the server.
    #[arg(long, requires = "apply")]
    pub detach: bool,
}

impl From<PlainCourse> for Course {
    fn from(PlainCourse { plan, apply, reason, detach }: PlainCourse) -> Self {
        Self { plan, apply, reason, detach, ..Self::default() }
    }
}

/// `5/s` or `5`.
///
/// # Errors
/// A line saying what is expected.
pub fn parse_rate(text: &str) -> Result<u32, String> {
    let number = text.strip_suffix("/s").unwrap_or(text);
    number
        .parse()
        .ok()
        .filter(|rate| (1..=500).contains(rate))
        .ok_or_else(|| format!("{text:?} is no rate; expected one from 1/s to 500/s"))
}

/// What is to be done, in the words of the command line.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The words that lead here: `saga retry`.
    pub command: &'static str,
    /// The act.
    pub act: pb::Act,
    /// The service that plans it.
    pub service: String,
}

impl Wanted {
    /// An act without particulars.
    #[must_use]
    pub fn plain(command: &'static str, kind: Kind) -> Self {
        Self::of(command, pb::Act { kind: kind.into(), ..pb::Act::default() })
    }

    /// An act on a step.
    #[must_use]
    pub fn at_step(command: &'static str, kind: Kind, step: Option<String>) -> Self {
        let step = step.unwrap_or_default();
        Self::of(command, pb::Act { kind: kind.into(), step, ..pb::Act::default() })
    }

    /// An act where sagas run.
    #[must_use]
    pub fn of(command: &'static str, act: pb::Act) -> Self {
        Self { command, act, service: "orders".to_owned() }
    }
}

/// Plans or applies.
///
/// # Errors
/// [`Failure`] of the server; [`Failure::Usage`] when neither is asked for and nobody can be asked back.
pub async fn run(
    wanted: Wanted,
    selection: Result<pb::Selection, Failure>,
    course: Course,
    session: &mut Session,
) -> Result<(), Failure> {
    if let Some(hash) = &course.apply {
        // To whom, where and why stand in the plan.
        return apply(hash, &wanted, &course, session).await;
    }
    let command = wanted.command;
    let asks_back = !course.plan;
    if asks_back && !can_ask(session) {
        return Err(Failure::Usage(format!(
            "say --plan to see what would happen, then --apply HASH to make it happen: sagactl {command} --help"
        )));
    }
    let selection = selection?;
    let query = selection.query.clone();
    let reason = course.reason.clone().unwrap_or_default();
    if reason.trim().is_empty() {
        return Err(Failure::Usage(format!(
            "say why: --reason TEXT. It becomes part of every event that comes of this; see sagactl {command} --help"
        )));
    }
    let server = session.server_of(&wanted.service)?;
    let request = pb::CreatePlanRequest { act: Some(wanted.act.clone()), selection: Some(selection), reason };
    let planned = server.ask_for(&query, server.operators().create_plan(request)).await?.plan.unwrap_or_default();
    plan::print(&planned, command, session)?;
    if !asks_back {
        return Ok(());
    }
    session.out.flush()?;
    if planned.effective == 0 {
        return Ok(());
    }
    if !asked("Apply this plan? [y/N] ").await {
        tell("nothing was changed");
        return Ok(());
    }
    apply(&planned.hash, &wanted, &course, session).await
}

async fn apply(hash: &str, wanted: &Wanted, course: &Course, session: &mut Session) -> Result<(), Failure> {
    // A plan says itself what it does: under another command's name it would surprise somebody.
    let (server, planned) = place::of_plan(hash, session).await?;
    let kind = planned.act.as_ref().map_or(Kind::Unspecified, pb::Act::kind);
    if kind != wanted.act.kind() {
        let (is, not) = (plan::command_of(kind), wanted.command);
        return Err(Failure::Usage(format!("plan {} is one of `{is}`, not of `{not}`", plan::short(&planned.hash))));
    }
    let request = pb::ApplyPlanRequest {
        hash: hash.to_owned(),
        rate: course.rate.unwrap_or(0),
        canary: course.canary.unwrap_or(0),
        failures_max: course.max_failures.unwrap_or(0),
    };
    let interruption = Interruption::listen()?;
    let begun = server.ask(server.operators().apply_plan(request)).await?.operation.unwrap_or_default();
    tell(format!(
        "op/{} started by {} (plan {}). Ctrl-C stops watching, not the job; stop: sagactl op stop {} --reason WHY",
        begun.id,
        begun.actor,
        plan::short(&begun.plan_hash),
        begun.id
    ));
    if course.detach {
        let id = format!("op/{}", begun.id);
        if !session.out.whole(&id, &begun)? {
            session.out.line(id)?;
        }
        return Ok(());
    }
    operation::watch(&begun.id, interruption, &server, session).await
}

/// True when a person can be asked.
fn can_ask(session: &Session) -> bool {
    use std::io::IsTerminal as _;
    !session.globals.no_input && std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
}

/// True when the person says yes; anything else is no.
async fn asked(question: &str) -> bool {
    use std::io::Write as _;
    let question = question.to_owned();
    let answer = tokio::task::spawn_blocking(move || {
        let mut error = std::io::stderr().lock();
        drop(write!(error, "{question}").and_then(|()| error.flush()));
        let mut answer = String::new();
        std::io::stdin().read_line(&mut answer).map(|_| answer)
    });
    matches!(answer.await, Ok(Ok(answer)) if matches!(answer.trim(), "y" | "Y" | "yes"))
}
