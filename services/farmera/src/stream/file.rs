//! The file that streams are exported to: a line of JSON each for a header, every event, and a trailer.
//!
//! Events stand in the order of their key: by the stream's id, version, category. So two exports of the same streams are
//! the same file, and a reader needs to remember no more than the stream it is in.

use std::collections::BTreeMap;

use chrono::{DateTime, SecondsFormat, Utc};
use eventstore::{Actor, Category, Cause, Cursor, Digest, EventId, Recorded, StreamId, TraceContext, Version};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

/// The version of this format that is written and read.
pub const FORMAT: u32 = 1;
/// How the digests of events are made; see [`eventstore::Digest`].
pub const CHAIN: &str = "sha256-1";
/// A line that is longer cannot be one of ours: a payload has at most a MiB.
pub const LINE_BYTES_MAX: u64 = 8 * 1024 * 1024;

/// One line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Line {
    Header(Header),
    Event(Box<EventLine>),
    Trailer(Trailer),
}

#[derive(Debug, Serialize, Deserialize)]
struct Header {
    format: u32,
    service: String,
    chain: String,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct EventLine {
    category: String,
    stream: Uuid,
    version: u64,
    event: Uuid,
    #[serde(rename = "type")]
    type_name: String,
    schema_version: u16,
    /// RFC 3339, to the microsecond.
    time: String,
    correlation: Uuid,
    causation: Uuid,
    trace: Option<String>,
    actor: String,
    /// JSON as text: what the digest covers, byte for byte.
    payload: String,
    digest: Option<Digest>,
}

/// What a whole file holds.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trailer {
    /// Events.
    pub events: u64,
    /// Streams.
    pub streams: u64,
    /// SHA-256 over every line before this one, line ends included; hexadecimal.
    pub digest: String,
}

/// Writes the lines of a file.
pub struct Writer {
    hasher: Sha256,
    events: u64,
    streams: u64,
}

impl Writer {
    /// A file of a service's streams, and its first line.
    ///
    /// # Errors
    /// None that this program can make.
    pub fn new(service: &str) -> Result<(Self, Vec<u8>), serde_json::Error> {
        let mut writer = Self { hasher: Sha256::new(), events: 0, streams: 0 };
        let header = Header { format: FORMAT, service: service.to_owned(), chain: CHAIN.to_owned() };
        let line = writer.line(&Line::Header(header))?;
        Ok((writer, line))
    }

    /// The line of an event; the caller keeps the order.
    ///
    /// # Errors
    /// None that this program can make.
    pub fn event(&mut self, event: &Recorded) -> Result<Vec<u8>, serde_json::Error> {
        self.events += 1;
        self.streams += u64::from(event.version == Version::new(1));
        self.line(&Line::Event(Box::new(EventLine::of(event))))
    }

    /// The last line.
    ///
    /// # Errors
    /// None that this program can make.
    pub fn end(mut self) -> Result<(Trailer, Vec<u8>), serde_json::Error> {
        let digest = hex(self.hasher.clone());
        let trailer = Trailer { events: self.events, streams: self.streams, digest };
        let line = self.line(&Line::Trailer(trailer.clone()))?;
        Ok((trailer, line))
    }

    /// Events written so far.
    #[must_use]
    pub fn events(&self) -> u64 {
        self.events
    }

    fn line(&mut self, line: &Line) -> Result<Vec<u8>, serde_json::Error> {
        let mut text = serde_json::to_vec(line)?;
        text.push(b'\n');
        self.hasher.update(&text);
        Ok(text)
    }
}

/// What is wrong with a file.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("line {line}: {reason}")]
pub struct Flaw {
    /// Where, from 1.
    pub line: u64,
    /// What, for people.
    pub reason: String,
}

/// Reads a file line by line and believes nothing.
pub struct Reader<'a> {
    service: &'a str,
    categories: &'a [Category],
    line: u64,
    hasher: Sha256,
    events: u64,
    streams: u64,
    /// The streams of the id that is being read, each with its last version and that one's digest.
    heads: BTreeMap<Category, (Version, Option<Digest>)>,
    last: Option<StreamKey>,
    trailer: Option<Trailer>,
}

type StreamKey = (Uuid, Version, Category);

impl<'a> Reader<'a> {
    /// For a file of this service, which has streams of these categories.
    #[must_use]
    pub fn new(service: &'a str, categories: &'a [Category]) -> Self {
        Self {
            service,
            categories,
            line: 0,
            hasher: Sha256::new(),
            events: 0,
            streams: 0,
            heads: BTreeMap::new(),
            last: None,
            trailer: None,
        }
    }

    /// The number of the line that was read last.
    #[must_use]
    pub fn line(&self) -> u64 {
        self.line
    }

    /// Takes the next line, with its line end; the event in it, if it holds one.
    ///
    /// # Errors
    /// [`Flaw`]: the file is not to be believed.
    pub fn read(&mut self, text: &[u8]) -> Result<Option<Recorded>, Flaw> {
        self.line += 1;
        self.take(text).map_err(|reason| Flaw { line: self.line, reason })
    }

    /// The file is over.
    ///
    /// # Errors
    /// [`Flaw`]: it is not whole.
    pub fn end(self) -> Result<Trailer, Flaw> {
        let line = self.line + 1;
        self.trailer.ok_or_else(|| Flaw { line, reason: "the file is cut off: there is no trailer".to_owned() })
    }

    fn take(&mut self, text: &[u8]) -> Result<Option<Recorded>, String> {
        if self.trailer.is_some() {
            return Err("there is more after the trailer".to_owned());
        }
        if !text.ends_with(b"\n") {
            return Err("the line is cut off".to_owned());
        }
        let line: Line =
            serde_json::from_slice(text).map_err(|error| format!("this is no line of an export: {error}"))?;
        let event = match line {
            Line::Header(header) => self.header(&header).map(|()| None),
            Line::Event(_) | Line::Trailer(_) if self.line == 1 => {
                Err("the file does not begin with a header".to_owned())
            }
            Line::Event(line) => self.event(*line).map(Some),
            Line::Trailer(trailer) => self.trailer(trailer).map(|()| None),
        };
        self.hasher.update(text);
        event
    }

    fn header(&self, header: &Header) -> Result<(), String> {
        if self.line != 1 {
            return Err("a header within the file".to_owned());
        }
        if header.format != FORMAT {
            return Err(format!("the file has format {}, this program knows {FORMAT}", header.format));
        }
        if header.chain != CHAIN {
            return Err(format!("the digests are made as {}, this program knows {CHAIN}", header.chain));
        }
        if header.service != self.service {
            return Err(format!("the file holds streams of {}, not of {}", header.service, self.service));
        }
        Ok(())
    }

    fn event(&mut self, line: EventLine) -> Result<Recorded, String> {
        let event = line.into_recorded(self.categories)?;
        let key = (event.stream.id, event.version, event.stream.category);
        if let Some(last) = self.last.filter(|last| *last >= key) {
            return Err(format!(
                "{} version {} comes after version {} of {}-{}: the lines are not in order",
                event.stream, event.version, last.1, last.2, last.0
            ));
        }
        if self.last.is_some_and(|last| last.0 != event.stream.id) {
            self.heads.clear();
        }
        let (version, digest) = self.heads.get(&event.stream.category).copied().unwrap_or_default();
        if event.version != version.plus(1) {
            return Err(format!(
                "{} has version {} after version {version}: events are missing",
                event.stream, event.version
            ));
        }
        event.check().map_err(|why| format!("{} version {}: {why}", event.stream, event.version))?;
        check_digest(&event, digest)?;
        self.heads.insert(event.stream.category, (event.version, event.digest));
        self.last = Some(key);
        self.events += 1;
        self.streams += u64::from(event.version == Version::new(1));
        Ok(event)
    }

    fn trailer(&mut self, trailer: Trailer) -> Result<(), String> {
        let counted = (self.events, self.streams);
        if (trailer.events, trailer.streams) != counted {
            let Trailer { events, streams, .. } = trailer;
            let (found, of) = counted;
            return Err(format!(
                "the trailer speaks of {events} events of {streams} streams, there are {found} of {of}"
            ));
        }
        if trailer.digest != hex(self.hasher.clone()) {
            return Err("the digest of the file is another one: a line was changed".to_owned());
        }
        self.trailer = Some(trailer);
        Ok(())
    }
}

fn check_digest(event: &Recorded, previous: Option<Digest>) -> Result<(), String> {
    let Recorded { stream, version, .. } = event;
    match event.digest {
        Some(digest) if event.covered().digest(previous) == digest => Ok(()),
        Some(_) => Err(format!("{stream} version {version} does not have the digest that it claims: it was changed")),
        None if previous.is_none() => Ok(()),
        None => Err(format!("{stream} version {version} has no digest, though the one before it has")),
    }
}

impl EventLine {
    fn of(event: &Recorded) -> Self {
        Self {
            category: event.stream.category.as_str().to_owned(),
            stream: event.stream.id,
            version: event.version.get(),
            event: event.id.0,
            type_name: event.type_name.clone(),
            schema_version: event.schema_version,
            time: event.time.to_rfc3339_opts(SecondsFormat::Micros, true),
            correlation: event.cause.correlation,
            causation: event.cause.causation,
            trace: event.cause.trace.as_ref().map(|trace| trace.0.clone()),
            actor: event.cause.actor.as_str().to_owned(),
            payload: event.payload.clone(),
            digest: event.digest,
        }
    }

    fn into_recorded(self, categories: &[Category]) -> Result<Recorded, String> {
        let category = categories.iter().copied().find(|category| category.as_str() == self.category);
        let category = category.ok_or_else(|| format!("{:?} is no category of this service", self.category))?;
        let time: Result<DateTime<Utc>, _> = self.time.parse();
        Ok(Recorded {
            stream: StreamId::new(category, self.stream),
            version: Version::new(self.version),
            cursor: Cursor::START,
            id: EventId(self.event),
            type_name: self.type_name,
            schema_version: self.schema_version,
            payload: self.payload,
            time: time.map_err(|error| format!("{:?} is no time: {error}", self.time))?,
            cause: Cause {
                correlation: self.correlation,
                causation: self.causation,
                trace: self.trace.map(TraceContext),
                actor: Actor::new(self.actor),
            },
            digest: self.digest,
        })
    }
}

fn hex(hasher: Sha256) -> String {
    let bytes: [u8; 32] = hasher.finalize().into();
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
