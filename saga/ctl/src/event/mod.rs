//! `sagactl event`: a look into the log.

pub mod export;

use std::time::{Duration, Instant};

use chrono::{DateTime, SecondsFormat, Utc};
use clap::{Args, Subcommand};
use farmera_proto::saga::v1 as pb;
use pbjson_types::Timestamp;

use crate::act::selection::bare;
use crate::clock::local;
use crate::connection::Server;
use crate::failure::Failure;
use crate::output::table::{Cell, Column};
use crate::output::words::{clock, counted, harmless, harmless_lines, or_dash, time, timestamp};
use crate::output::{Format, Listed, Listing, json_line, tell};
use crate::saga::moment::{Moment, parse_moment};
use crate::session::Session;

/// A server that is away for longer is not waited for.
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(500);

/// What can be asked about events.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Print events as they come.
    Tail {
        /// Begin with so many of the past, at most 1,000.
        #[arg(long, default_value_t = 10)]
        last: u32,
        /// Which.
        #[command(flatten)]
        filter: Filter,
    },
    /// Print one event whole.
    Get {
        /// Its place, such as saga/ID@7; or its id, for which the log is looked through.
        event: String,
    },
    /// Print events of the past that match.
    Grep {
        /// At most so many; 0 for all.
        #[arg(long, default_value_t = 0)]
        limit: u64,
        /// Which.
        #[command(flatten)]
        filter: Filter,
        /// When.
        #[command(flatten)]
        span: Span,
    },
    /// Write events of the past as JSON, a line each: whole, or not at all.
    Export(export::Export),
}

/// Which events.
#[derive(Args, Clone, Debug, Default)]
pub struct Filter {
    /// Only of streams of this kind: saga, order.
    #[arg(long)]
    pub category: Option<String>,
    /// Only of this type; Step* for all that begin so.
    #[arg(long = "type", value_name = "TYPE")]
    pub event_type: Option<String>,
    /// Only of this saga or stream.
    #[arg(long, value_name = "ID")]
    pub saga: Option<String>,
    /// Only with this text in the payload.
    #[arg(long)]
    pub text: Option<String>,
    /// Only by this actor; 'operator:*' for all operators.
    #[arg(long = "by", value_name = "ACTOR")]
    pub by: Option<String>,
}

impl Filter {
    /// The same as the contract has it.
    #[must_use]
    pub fn to_contract(&self) -> pb::EventFilter {
        let of = |text: &Option<String>| text.clone().unwrap_or_default();
        pb::EventFilter {
            category: of(&self.category),
            r#type: of(&self.event_type),
            id: self.saga.as_deref().map(|id| bare(id, "saga/").to_owned()).unwrap_or_default(),
            text: of(&self.text),
            actor: of(&self.by),
        }
    }
}

/// When events happened.
#[derive(Args, Clone, Copy, Debug, Default)]
pub struct Span {
    /// From this time on (12:30 of TZ's zone, 2026-11-26T12:30:00Z).
    #[arg(long, value_name = "TIME", value_parser = parse_moment)]
    pub from: Option<Moment>,
    /// Before this time.
    #[arg(long, value_name = "TIME", value_parser = parse_moment)]
    pub to: Option<Moment>,
}

impl Span {
    /// The same as the contract has it.
    ///
    /// # Errors
    /// [`Failure::Usage`] for a version: the log as a whole has none.
    pub fn to_contract(self, now: DateTime<Utc>) -> Result<(Option<Timestamp>, Option<Timestamp>), Failure> {
        let of = |moment: Option<Moment>| match moment.map(|moment| moment.on(now)) {
            None => Ok(None),
            Some(Moment::Time(time)) => Ok(Some(timestamp(time))),
            Some(Moment::Version(_) | Moment::TimeOfDay(_)) => {
                Err(Failure::Usage("--from and --to are times, such as 12:30 or 2026-11-26T12:30:00Z".to_owned()))
            }
        };
        Ok((of(self.from)?, of(self.to)?))
    }
}

impl Listed for pb::Event {
    const COLUMNS: &'static [Column] = &[
        Column::left("TIME"),
        Column::left("STREAM"),
        Column::right("VERSION"),
        Column::left("TYPE"),
        Column::left("ACTOR"),
        Column::left("ID").wide(),
        Column::left("PAYLOAD").wide(),
    ];

    fn name(&self) -> String {
        format!("{}/{}@{}", self.category, self.stream_id, self.version)
    }

    fn cells(&self, now: DateTime<Utc>) -> Vec<Cell> {
        vec![
            time(self.time.as_ref()).map(|at| clock(at, now)).unwrap_or_default().into(),
            format!("{}/{}", self.category, self.stream_id).into(),
            self.version.to_string().into(),
            self.r#type.as_str().into(),
            or_dash(&self.actor).into(),
            self.id.as_str().into(),
            self.payload_json.as_str().into(),
        ]
    }
}

/// Asks and prints.
///
/// # Errors
/// [`Failure`] of the server.
pub async fn command(command: Command, session: &mut Session) -> Result<(), Failure> {
    match command {
        Command::Tail { last, filter } => tail(last, &filter, session).await,
        Command::Get { event } => get(&event, session).await,
        Command::Grep { limit, filter, span } => grep(limit, &filter, span, session).await,
        Command::Export(export) => export::command(export, session).await,
    }
}

/// `saga/0199…@7` is a place in a stream; anything else is an event's id.
fn named(event: &str) -> Result<pb::GetEventRequest, Failure> {
    let Some((category, place)) = event.split_once('/') else {
        return Ok(pb::GetEventRequest { event_id: event.to_owned(), ..pb::GetEventRequest::default() });
    };
    let place = place.split_once('@').and_then(|(stream_id, version)| Some((stream_id, version.parse().ok()?)));
    let (stream_id, version) = place.ok_or_else(|| {
        Failure::Usage(format!("{event:?} is no place in a stream; expected one such as saga/ID@7, or an event's id"))
    })?;
    let (category, stream_id) = (category.to_owned(), stream_id.to_owned());
    Ok(pb::GetEventRequest { category, stream_id, version, ..pb::GetEventRequest::default() })
}

async fn get(event: &str, session: &mut Session) -> Result<(), Failure> {
    let server = session.server()?;
    let event = server.ask(server.events().get_event(named(event)?)).await?.event.unwrap_or_default();
    let out = &mut session.out;
    if out.whole(&event.id, &event)? {
        return Ok(());
    }
    let at =
        time(event.time.as_ref()).map(|at| local(at).to_rfc3339_opts(SecondsFormat::Micros, true)).unwrap_or_default();
    out.line(format!(
        "{} {}/{} v{}  {at}",
        harmless(&event.r#type),
        harmless(&event.category),
        event.stream_id,
        event.version
    ))?;
    for (name, value) in [
        ("id", &event.id),
        ("service", &event.service),
        ("saga", &event.correlation_id),
        ("caused by", &event.causation_id),
        ("actor", &event.actor),
        ("trace", &event.trace),
    ] {
        out.line(format!("{name:<10} {}", or_dash(value)))?;
    }
    let payload: Result<serde_json::Value, _> = serde_json::from_str(&event.payload_json);
    let shown = payload.ok().and_then(|payload| serde_json::to_string_pretty(&payload).ok());
    out.line(harmless_lines(&shown.unwrap_or(event.payload_json)))
}

async fn grep(limit: u64, filter: &Filter, span: Span, session: &mut Session) -> Result<(), Failure> {
    let server = session.server()?;
    let (from_time, to_time) = span.to_contract(session.out.now)?;
    let filter = Some(filter.to_contract());
    let request = pb::GrepEventsRequest { filter, from_time, to_time, limit, after_cursor: String::new() };
    let mut stream = server.ask(server.events().grep_events(request)).await?;
    let mut listing = Listing::begin::<pb::Event>(&session.out);
    let mut looked_at = 0;
    while let Some(told) = server.next(&mut stream).await? {
        looked_at = told.looked_at.max(looked_at);
        if let Some(event) = told.event {
            listing.page(&mut session.out, std::slice::from_ref(&event))?;
        }
    }
    let found = u64::try_from(listing.count()).unwrap_or(u64::MAX);
    listing.end(&mut session.out)?;
    if session.out.is_for_people() {
        tell(format!(
            "{} of {} looked at. One of them whole: sagactl event get saga/ID@VERSION",
            counted(found, "event"),
            looked_at.max(found)
        ));
    }
    Ok(())
}

async fn tail(last: u32, filter: &Filter, session: &mut Session) -> Result<(), Failure> {
    let server = session.server()?;
    let told = Told { listing: Listing::begin::<pb::Event>(&session.out), cursor: String::new() };
    tokio::select! {
        ended = told.until_away(last, filter, &server, session) => ended,
        interrupted = tokio::signal::ctrl_c() => {
            drop(interrupted);
            Ok(())
        }
    }
}

/// How far a tail has come.
struct Told {
    listing: Listing,
    cursor: String,
}

impl Told {
    /// Whatever breaks in between, it goes on behind the last event that was told.
    async fn until_away(
        mut self,
        last: u32,
        filter: &Filter,
        server: &Server,
        session: &mut Session,
    ) -> Result<(), Failure> {
        let mut away_since: Option<Instant> = None;
        loop {
            let before = self.cursor.clone();
            match self.follow(last, filter, server, session).await {
                Ok(()) => away_since = None,
                Err(failure @ Failure::Unavailable(_)) if !self.cursor.is_empty() => {
                    if self.cursor != before {
                        away_since = None;
                    }
                    if away_since.get_or_insert_with(Instant::now).elapsed() > PATIENCE {
                        return Err(failure);
                    }
                }
                Err(failure) => return Err(failure),
            }
            tokio::time::sleep(LOOK_AGAIN_AFTER).await;
        }
    }

    async fn follow(
        &mut self,
        last: u32,
        filter: &Filter,
        server: &Server,
        session: &mut Session,
    ) -> Result<(), Failure> {
        let filter = Some(filter.to_contract());
        let request = pb::TailEventsRequest { filter, after_cursor: self.cursor.clone(), last };
        let mut stream = server.ask(server.events().tail_events(request)).await?;
        while let Some(told) = server.next(&mut stream).await? {
            let event = told.event.unwrap_or_default();
            match session.out.format {
                // What does not end has no closing bracket.
                Format::Json | Format::Jsonl => {
                    session.out.line(json_line(&event)?)?;
                }
                Format::Table | Format::Wide | Format::Yaml | Format::Name => {
                    self.listing.page(&mut session.out, std::slice::from_ref(&event))?;
                }
            }
            session.out.flush()?;
            self.cursor = event.cursor;
        }
        Ok(())
    }
}
