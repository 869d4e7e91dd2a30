//! `sagactl hold`: what is held back on purpose.

use std::time::Duration;

use chrono::{DateTime, Utc};
use clap::{Args, Subcommand};
use farmera_proto::saga::v1 as pb;
use farmera_proto::saga::v1::act::Kind;
use farmera_proto::saga::v1::list_holds_response::Hold;

use crate::act::{self, PlainCourse, Wanted, parse_rate};
use crate::failure::Failure;
use crate::output::paint::Tone;
use crate::output::table::{Cell, Column};
use crate::output::words::{age, grouped, harmless, length, or_dash, parse_length, time, timestamp};
use crate::output::{Listed, tell};
use crate::saga::moment::{Moment, parse_moment};
use crate::session::Session;

/// What a release does unless it is said otherwise, as soon as a part of its pace is.
const PACE: pb::ReleasePace = pb::ReleasePace { canary: 1, rate: 10, failures_max: 3 };

/// What can be done with holds.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List holds.
    List,
    /// Hold a participant or a step: sagas that come to it wait there, without spending tries or time.
    Set(Set),
    /// Let those who wait go: a few first, then so many a second; too many failures stop it.
    Release(Release),
}

/// What to hold, and for how long.
#[derive(Args, Debug)]
pub struct Set {
    /// A participant (payment), or a step (place-order/authorize-payment).
    #[arg(required_unless_present = "apply", conflicts_with = "apply")]
    pub target: Option<String>,
    /// Release it by itself at this time (18:00 of TZ's zone, 2026-11-26T18:00:00Z).
    #[arg(long, value_name = "TIME", value_parser = parse_moment, conflicts_with_all = ["for_", "apply"])]
    pub until: Option<Moment>,
    /// Release it by itself after this long.
    #[arg(long = "for", value_name = "TIME", value_parser = parse_length, conflicts_with = "apply")]
    pub for_: Option<Duration>,
    /// How those who wait are let go then.
    #[command(flatten)]
    pub pace: Pace,
    /// Preview, then act.
    #[command(flatten)]
    pub course: PlainCourse,
}

/// What to release.
#[derive(Args, Debug)]
pub struct Release {
    /// What is held, as `hold list` names it.
    #[arg(required_unless_present = "apply", conflicts_with = "apply")]
    pub target: Option<String>,
    /// How those who wait are let go.
    #[command(flatten)]
    pub pace: Pace,
    /// Preview, then act.
    #[command(flatten)]
    pub course: PlainCourse,
}

/// How those who wait at a hold are let go.
#[derive(Args, Clone, Copy, Debug, Default)]
pub struct Pace {
    /// So many a second, such as 10/s.
    #[arg(long, value_name = "N/s", value_parser = parse_rate, conflicts_with = "apply")]
    pub rate: Option<u32>,
    /// First so many alone; nobody follows before it is known what became of them.
    #[arg(long, value_name = "N", conflicts_with = "apply")]
    pub canary: Option<u32>,
    /// Stop when so many got no answer.
    #[arg(long, value_name = "N", conflicts_with = "apply")]
    pub max_failures: Option<u32>,
}

impl Pace {
    fn to_contract(self) -> Option<pb::ReleasePace> {
        let is_said = self.rate.is_some() || self.canary.is_some() || self.max_failures.is_some();
        is_said.then(|| pb::ReleasePace {
            canary: self.canary.unwrap_or(PACE.canary),
            rate: self.rate.unwrap_or(PACE.rate),
            failures_max: self.max_failures.unwrap_or(PACE.failures_max),
        })
    }
}

impl Listed for Hold {
    const COLUMNS: &'static [Column] = &[
        Column::left("NAME"),
        Column::left("STATE"),
        Column::left("UNTIL"),
        Column::right("SAGAS"),
        Column::left("ACTOR"),
        Column::left("REASON"),
        Column::right("AGE"),
        Column::right("LET-GO").wide(),
        Column::right("ANSWERED").wide(),
        Column::right("FAILED").wide(),
    ];

    fn name(&self) -> String {
        self.target.clone()
    }

    fn cells(&self, now: DateTime<Utc>) -> Vec<Cell> {
        let until = time(self.until.as_ref()).map_or_else(
            || "released".to_owned(),
            |until| format!("in {}", length((until - now).to_std().unwrap_or_default())),
        );
        let state = match (self.releasing, self.stopped.is_empty()) {
            (true, _) => ("RELEASING", Tone::Good),
            (false, true) => ("HELD", Tone::Uneasy),
            (false, false) => ("HELD (release stopped)", Tone::Bad),
        };
        vec![
            self.target.as_str().into(),
            Cell::toned(state.0, state.1),
            until.into(),
            grouped(self.sagas).into(),
            or_dash(&self.actor).into(),
            or_dash(&self.reason).into(),
            age(time(self.since.as_ref()), now).into(),
            self.let_go.to_string().into(),
            self.worked.to_string().into(),
            self.failed.to_string().into(),
        ]
    }
}

/// Does it.
///
/// # Errors
/// [`Failure`] of the server.
pub async fn command(command: Command, session: &mut Session) -> Result<(), Failure> {
    match command {
        Command::List => list(session).await,
        Command::Set(wanted) => set(wanted, session).await,
        Command::Release(wanted) => release(wanted, session).await,
    }
}

async fn list(session: &mut Session) -> Result<(), Failure> {
    let server = session.server()?;
    let answer = server.ask(server.machinery().list_holds(pb::ListHoldsRequest {})).await?;
    session.out.list(&answer.holds)?;
    if session.out.is_for_people() {
        for hold in answer.holds.iter().filter(|hold| !hold.stopped.is_empty()) {
            let (target, stopped) = (harmless(&hold.target), harmless(&hold.stopped));
            tell(format!(
                "{target}: {stopped}; it is held as before. See why: sagactl saga explain ID, then release again"
            ));
        }
        let next = "Next: sagactl hold release NAME --reason WHY --plan";
        let none = "no holds: every step is asked for as soon as it is its turn";
        tell(if answer.holds.is_empty() { none } else { next });
    }
    Ok(())
}

async fn set(wanted: Set, session: &mut Session) -> Result<(), Failure> {
    let now = session.out.now;
    let until = match (wanted.until.map(|moment| moment.on(now)), wanted.for_) {
        (Some(Moment::Time(until)), _) => Some(until),
        (Some(Moment::Version(_) | Moment::TimeOfDay(_)), _) => {
            return Err(Failure::Usage("--until is a time, such as 18:00 or 2026-11-26T18:00:00Z".to_owned()));
        }
        (None, Some(length)) => Some(now + length),
        (None, None) => None,
    };
    let until_time = until.map(timestamp);
    let act = pb::Act { kind: Kind::Hold.into(), until_time, pace: wanted.pace.to_contract(), ..pb::Act::default() };
    act::run(Wanted::of("hold set", act), Ok(selection(wanted.target)), wanted.course.into(), session).await
}

async fn release(wanted: Release, session: &mut Session) -> Result<(), Failure> {
    let act = pb::Act { kind: Kind::Release.into(), pace: wanted.pace.to_contract(), ..pb::Act::default() };
    act::run(Wanted::of("hold release", act), Ok(selection(wanted.target)), wanted.course.into(), session).await
}

fn selection(target: Option<String>) -> pb::Selection {
    pb::Selection { hold_target: target.unwrap_or_default(), ..pb::Selection::default() }
}
