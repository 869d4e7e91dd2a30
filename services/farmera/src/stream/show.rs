//! `farmera stream show`: a stream as it was.

use std::collections::VecDeque;

use chrono::{DateTime, SecondsFormat, Utc};
use clap::Args;
use clap::builder::PossibleValuesParser;
use eventstore::{DecodeError, EventStore, Recorded, Version};
use serde_json::{Value, json};

use super::{Address, log_of, service, unreadable};
use crate::failure::Failure;
use crate::output::{self, Format, Paint};
use crate::services;
use crate::surroundings::Surroundings;

/// Events read at a time.
const PAGE: usize = 2_000;

/// What `farmera stream show` is told.
#[derive(Args, Debug)]
pub struct Arguments {
    /// Whose log.
    #[arg(value_name = "SERVICE", value_parser = PossibleValuesParser::new(services::names()))]
    service: String,
    /// Which stream: order/0199…, or as it is printed, order-0199….
    #[arg(value_name = "CATEGORY/ID")]
    stream: String,
    /// As it was at this version, or at this time (RFC 3339, by the events' own times). As it is when not given.
    #[arg(long, value_name = "VERSION|TIME", value_parser = parse_moment)]
    at: Option<Moment>,
    /// The events that led there, too: the last ones, oldest first.
    #[arg(long)]
    events: bool,
    /// At most so many events.
    #[arg(long, value_name = "COUNT", default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    limit: u16,
    /// The form of the answer.
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
    #[command(flatten)]
    surroundings: Surroundings,
}

/// A place in a stream's history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moment {
    /// After this many events.
    Version(Version),
    /// After the events up to then.
    Time(DateTime<Utc>),
}

impl Moment {
    fn includes(self, event: &Recorded) -> bool {
        match self {
            Self::Version(version) => event.version <= version,
            Self::Time(time) => event.time <= time,
        }
    }
}

fn parse_moment(text: &str) -> Result<Moment, String> {
    if let Ok(version) = text.parse() {
        return Ok(Moment::Version(Version::new(version)));
    }
    let time = DateTime::parse_from_rfc3339(text).map(|time| Moment::Time(time.to_utc()));
    time.map_err(|_| "expected a version such as 42, or a time such as 2026-05-17T12:00:00Z".to_owned())
}

/// A stream as it was.
struct Shown {
    state: Value,
    version: Version,
    time: DateTime<Utc>,
    /// The last events that led there, oldest first.
    events: VecDeque<Recorded>,
}

/// Folds and prints.
///
/// # Errors
/// [`Failure::NotFound`] when there is no such stream or it was not there then.
pub async fn command(arguments: Arguments) -> Result<(), Failure> {
    let service = service(&arguments.service)?;
    let address = Address::parse(service, &arguments.stream)?;
    let store = log_of(service, &arguments.surroundings).await?;
    let newest = store.read_stream_backwards(address.stream, 1).await.map_err(unreadable)?;
    let Some(newest) = newest.first().map(|event| event.version) else {
        return Err(Failure::NotFound(format!("{} has no stream {}", service.name, address.stream)));
    };
    let shown = fold(&store, address, newest, arguments.at, usize::from(arguments.limit)).await?;
    match arguments.output {
        Format::Json => {
            let mut answer = json!({
                "stream": address.stream.to_string(),
                "version": shown.version,
                "newestVersion": newest,
                "time": rfc3339(shown.time),
                "state": shown.state,
            });
            if let (true, Some(answer)) = (arguments.events, answer.as_object_mut()) {
                answer.insert("events".to_owned(), shown.events.iter().map(event_json).collect());
            }
            output::json(&answer);
        }
        Format::Table => print(address, &shown, newest, arguments.events),
    }
    Ok(())
}

/// From the first event, whatever snapshots say: this is what they are checked against.
async fn fold(
    store: &dyn EventStore,
    address: Address,
    newest: Version,
    at: Option<Moment>,
    events_max: usize,
) -> Result<Shown, Failure> {
    let Address { kind, stream } = address;
    let at = at.unwrap_or(Moment::Version(newest));
    if let Moment::Version(version) = at
        && !(1..=newest.get()).contains(&version.get())
    {
        return Err(Failure::NotFound(format!("{stream} has versions 1 to {newest}, not {version}")));
    }
    let mut fold = kind.begin();
    let mut events = VecDeque::new();
    let mut after = Version::NONE;
    'pages: loop {
        let page = store.read_streams(&[(stream, after)], PAGE).await.map_err(unreadable)?;
        let ends = page.len() < PAGE;
        for event in page {
            if !at.includes(&event) {
                break 'pages;
            }
            fold.feed(&event).map_err(|error| not_understood(&error))?;
            after = event.version;
            if events.len() >= events_max {
                events.pop_front();
            }
            events.push_back(event);
        }
        if ends {
            break;
        }
    }
    let Some(last) = events.back() else {
        return Err(Failure::NotFound(format!("{stream} was not there yet")));
    };
    let state = fold.state().map_err(|error| Failure::Failed(format!("{stream} cannot be shown: {error}")))?;
    Ok(Shown { state, version: last.version, time: last.time, events })
}

fn not_understood(error: &DecodeError) -> Failure {
    let before = error.version.get().saturating_sub(1);
    Failure::Failed(format!("{error}: {}; what is before it can be shown with --at {before}", error.source))
}

fn print(address: Address, shown: &Shown, newest: Version, with_events: bool) {
    let paint = Paint::of_stdout();
    let place = format!("version {} of {newest}, {}", shown.version, local(shown.time));
    output::line(format!("{}  {}", paint.strong(&address.stream.to_string()), paint.faint(&place)));
    output::json(&shown.state);
    if !with_events {
        return;
    }
    let mut table = paint.table(&["version", "time", "event", "actor", "correlation", "causation", "payload"], &[0]);
    for event in &shown.events {
        let (version, time) = (event.version.to_string(), local(event.time));
        let (correlation, causation) = (event.cause.correlation.to_string(), event.cause.causation.to_string());
        let (kind, actor) = (event.type_name.as_str(), event.cause.actor.as_str());
        let row = [version.as_str(), &time, kind, actor, &correlation, &causation, &event.payload];
        table.add_row(row);
    }
    output::line("");
    output::table(&table);
}

fn event_json(event: &Recorded) -> Value {
    json!({
        "version": event.version,
        "id": event.id,
        "type": event.type_name,
        "schemaVersion": event.schema_version,
        "time": rfc3339(event.time),
        "actor": event.cause.actor,
        "correlation": event.cause.correlation,
        "causation": event.cause.causation,
        "trace": event.cause.trace,
        "payload": serde_json::from_str::<Value>(&event.payload).unwrap_or_else(|_| event.payload.clone().into()),
    })
}

/// A time for people: theirs.
fn local(time: DateTime<Utc>) -> String {
    output::local(time).to_rfc3339_opts(SecondsFormat::Micros, true)
}

fn rfc3339(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Micros, true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_a_version_or_a_time() {
        assert_eq!(parse_moment("42"), Ok(Moment::Version(Version::new(42))));
        let noon = DateTime::parse_from_rfc3339("2026-05-17T12:00:00Z").unwrap().to_utc();
        assert_eq!(parse_moment("2026-05-17T14:00:00+02:00"), Ok(Moment::Time(noon)));
        assert!(parse_moment("yesterday").is_err());
        assert!(parse_moment("-1").is_err());
    }
}
