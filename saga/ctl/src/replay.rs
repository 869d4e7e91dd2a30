//! `sagactl replay`: history folded again.

use std::time::Duration;

use chrono::{DateTime, Utc};
use clap::{Args, Subcommand};
use farmera_proto::saga::v1 as pb;
use farmera_proto::saga::v1::act::Kind;
use farmera_proto::saga::v1::replay_at_request::At;
use farmera_proto::saga::v1::replay_check_response::Finding;
use farmera_proto::saga::v1::replay_what_if_request::Change;
use farmera_proto::saga::v1::replay_what_if_response::Otherwise;

use crate::act::selection::bare;
use crate::act::{self, Course, Wanted};
use crate::failure::Failure;
use crate::machinery::of_one_service;
use crate::output::paint::Tone;
use crate::output::table::{Cell, Column};
use crate::output::words::{counted, grouped, harmless_lines, or_dash, parse_length, timestamp};
use crate::output::{Listed, has_audience, tell};
use crate::saga::exposure;
use crate::saga::moment::{Moment, parse_moment};
use crate::saga::state::{state_name, state_tone};
use crate::session::Session;

/// What can be replayed.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show a stream's state as it was.
    At(At_),
    /// Fold every stream with the server's program and compare with its read models: exit code 1 when they differ.
    Check {
        /// Only streams of this kind: saga, order.
        #[arg(long, default_value = "", hide_default_value = true)]
        category: String,
    },
    /// Take recorded sagas through another policy: which would have ended otherwise.
    WhatIf(WhatIf),
    /// Tell a range of a service's log again, by plan. Whoever has handled a message absorbs it.
    Events(Events),
}

/// Which events, and to whom.
#[derive(Args, Debug)]
pub struct Events {
    /// To whom: a subject of the broker (farmera.orders.order_failed, farmera.payment.>), or a read model, which is made
    /// anew from the whole log (orders/order_view).
    #[arg(long, value_name = "SUBJECT|READ-MODEL", required_unless_present = "apply", conflicts_with = "apply")]
    pub to: Option<String>,
    /// Only events that happened then or later (12:30 of TZ's zone, 2026-11-26T12:30:00Z).
    #[arg(long, value_name = "TIME", value_parser = parse_moment, conflicts_with = "apply")]
    pub from: Option<Moment>,
    /// Only events that happened before.
    #[arg(long, value_name = "TIME", value_parser = parse_moment, conflicts_with = "apply")]
    pub until: Option<Moment>,
    /// Only events of this kind of stream: order, payment.
    #[arg(long, default_value = "", hide_default_value = true, conflicts_with = "apply")]
    pub category: String,
    /// Preview, then act.
    #[command(flatten)]
    pub course: Course,
}

/// Which stream, and when.
#[derive(Args, Debug)]
pub struct At_ {
    /// The kind of stream: saga, order.
    pub category: String,
    /// Its id.
    pub id: String,
    /// After so many events, or at a time; as it is now unless said otherwise.
    #[arg(long, value_name = "VERSION|TIME", value_parser = parse_moment)]
    pub at: Option<Moment>,
}

/// Which sagas, and what is different.
#[derive(Args, Debug)]
pub struct WhatIf {
    /// Only sagas that this query admits.
    #[arg(short, long, default_value = "", hide_default_value = true)]
    pub query: String,
    /// At most so many, newest first.
    #[arg(long, default_value_t = 1_000)]
    pub limit: u32,
    /// The step that has another policy.
    #[arg(long)]
    pub step: String,
    /// How often it is asked for.
    #[arg(long, value_name = "N", required_unless_present = "within")]
    pub attempts: Option<u32>,
    /// How long an answer is waited for.
    #[arg(long, value_name = "TIME", value_parser = parse_length)]
    pub within: Option<Duration>,
}

/// Asks and prints.
///
/// # Errors
/// [`Failure`] of the server; [`Failure::Failed`] when a check finds something.
pub async fn command(command: Command, session: &mut Session) -> Result<(), Failure> {
    match command {
        Command::At(wanted) => at(wanted, session).await,
        Command::Check { category } => check(&category, session).await,
        Command::WhatIf(wanted) => what_if(wanted, session).await,
        Command::Events(wanted) => events(wanted, session).await,
    }
}

async fn events(wanted: Events, session: &mut Session) -> Result<(), Failure> {
    let Events { to, from, until, category, course } = wanted;
    let to = to.unwrap_or_default();
    if to.contains('/') {
        if from.is_some() || until.is_some() || !category.is_empty() {
            return Err(Failure::Usage("a read model is made from the whole log: leave the range out".to_owned()));
        }
        let (service, selection) = of_one_service(&[to])?;
        let rebuild = Wanted { service, ..Wanted::plain("projection rebuild", Kind::RebuildProjection) };
        return act::run(rebuild, Ok(selection), course, session).await;
    }
    let words: Vec<&str> = to.split('.').collect();
    let service = match words.as_slice() {
        ["farmera", service, _, ..] => (*service).to_owned(),
        _ if course.apply.is_some() => String::new(),
        _ => {
            return Err(Failure::Usage(format!(
                "{to:?} is no subject; expected one such as farmera.orders.order_failed"
            )));
        }
    };
    let (from_time, until_time) = (time_at(from, session)?, time_at(until, session)?);
    let event_range = Some(pb::EventRange { subject: to, category, from_time, until_time });
    let act = pb::Act { kind: Kind::TellAgain.into(), event_range, ..pb::Act::default() };
    let wanted = Wanted { service, ..Wanted::of("replay events", act) };
    act::run(wanted, Ok(pb::Selection::default()), course, session).await
}

/// The beginning or the end of a range, as it was typed.
///
/// # Errors
/// [`Failure::Usage`] for a version: a range is one of times.
pub fn time_at(moment: Option<Moment>, session: &Session) -> Result<Option<pbjson_types::Timestamp>, Failure> {
    match moment.map(|moment| moment.on(session.out.now)) {
        None => Ok(None),
        Some(Moment::Time(time)) => Ok(Some(timestamp(time))),
        Some(Moment::Version(_) | Moment::TimeOfDay(_)) => {
            Err(Failure::Usage("a range is one of times, such as 18:00 or 2026-11-26T18:00:00Z".to_owned()))
        }
    }
}

async fn at(wanted: At_, session: &mut Session) -> Result<(), Failure> {
    let server = session.server()?;
    let at = wanted.at.map(|at| match at.on(session.out.now) {
        Moment::Version(version) => At::Version(version),
        Moment::Time(time) => At::Time(timestamp(time)),
        Moment::TimeOfDay(_) => At::Time(timestamp(session.out.now)),
    });
    let stream_id = bare(&wanted.id, &format!("{}/", wanted.category)).to_owned();
    let request = pb::ReplayAtRequest { category: wanted.category, stream_id, at };
    let name = format!("{}/{}", request.category, request.stream_id);
    let answer = server.ask(server.replay().replay_at(request)).await?;
    let out = &mut session.out;
    if out.whole(&name, &answer)? {
        return Ok(());
    }
    out.line(format!("{name}  version {} of {}", answer.version, answer.newest_version))?;
    let state: Result<serde_json::Value, _> = serde_json::from_str(&answer.state_json);
    let shown = state.ok().and_then(|state| serde_json::to_string_pretty(&state).ok()).unwrap_or(answer.state_json);
    out.line(harmless_lines(&shown))
}

impl Listed for Finding {
    const COLUMNS: &'static [Column] =
        &[Column::left("NAME"), Column::right("VERSION"), Column::left("FINDING"), Column::left("DETAIL")];

    fn name(&self) -> String {
        format!("{}/{}", self.category, self.stream_id)
    }

    fn cells(&self, _now: DateTime<Utc>) -> Vec<Cell> {
        vec![
            Listed::name(self).into(),
            self.version.to_string().into(),
            Cell::toned(&self.kind, Tone::Bad),
            or_dash(&self.detail).into(),
        ]
    }
}

/// Folds every stream of a kind (empty: of all kinds) and prints what is not as it should be.
///
/// # Errors
/// [`Failure::Failed`] when something was found.
pub async fn check(category: &str, session: &mut Session) -> Result<(), Failure> {
    let server = session.server()?;
    let request = pb::ReplayCheckRequest { category: category.to_owned(), findings_max: 0 };
    let mut stream = server.ask(server.replay().replay_check(request)).await?;
    let mut listing = crate::output::Listing::begin::<Finding>(&session.out);
    let mut last = pb::ReplayCheckResponse::default();
    while let Some(told) = server.next(&mut stream).await? {
        listing.page(&mut session.out, &told.findings)?;
        if has_audience() && !told.done {
            tell(format!("{} events of {} so far", grouped(told.events), counted(told.streams, "stream")));
        }
        last = told;
    }
    listing.end(&mut session.out)?;
    if !last.done {
        return Err(Failure::Unavailable("the server stopped telling before it was done; try again".to_owned()));
    }
    let elapsed = last.elapsed.unwrap_or_default();
    let millis =
        u64::try_from(elapsed.seconds).unwrap_or(0) * 1_000 + u64::try_from(elapsed.nanos).unwrap_or(0) / 1_000_000;
    let rate = last.events.saturating_mul(1_000) / millis.max(1);
    tell(format!(
        "folded {} of {} in {millis} ms ({} a second)",
        counted(last.events, "event"),
        counted(last.streams, "stream"),
        grouped(rate)
    ));
    match last.findings_total {
        0 => Ok(()),
        found => {
            Err(Failure::Failed(format!("{}; look at one: sagactl replay at CATEGORY ID", counted(found, "finding"))))
        }
    }
}

impl Listed for Otherwise {
    const COLUMNS: &'static [Column] = &[
        Column::left("NAME"),
        Column::left("WAS"),
        Column::left("WOULD-BE"),
        Column::right("PARTS-AT"),
        Column::right("DELTA"),
        Column::left("ASSUMED"),
    ];

    fn name(&self) -> String {
        format!("saga/{}", self.saga_id)
    }

    fn cells(&self, _now: DateTime<Utc>) -> Vec<Cell> {
        vec![
            self.saga_id.as_str().into(),
            Cell::toned(state_name(self.was()), state_tone(self.was())),
            Cell::toned(state_name(self.would_be()), state_tone(self.would_be())),
            self.parts_at_version.to_string().into(),
            exposure::shown(self.delta.as_slice()).into(),
            or_dash(&self.assumptions.join("; ")).into(),
        ]
    }
}

async fn what_if(wanted: WhatIf, session: &mut Session) -> Result<(), Failure> {
    let server = session.server()?;
    let timeout = wanted.within.map(|within| pbjson_types::Duration {
        seconds: i64::try_from(within.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(within.subsec_nanos()).unwrap_or(0),
    });
    let change = Change { step: wanted.step, attempts_max: wanted.attempts.unwrap_or(0), timeout };
    let query = wanted.query;
    let request = pb::ReplayWhatIfRequest { query: query.clone(), limit: wanted.limit, changes: vec![change] };
    let answer = server.ask_for(&query, server.replay().replay_what_if(request)).await?;
    let out = &mut session.out;
    if out.whole("what-if", &answer)? {
        return Ok(());
    }
    out.list(&answer.otherwise)?;
    out.line(format!(
        "{}: {} as they were, {} otherwise ({} rest on assumptions), money captured in addition {}",
        counted(answer.sagas, "saga"),
        grouped(answer.same),
        grouped(answer.otherwise_total),
        grouped(answer.assumed),
        exposure::shown(&answer.deltas)
    ))
}
