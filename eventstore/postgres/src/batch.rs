use chrono::{DateTime, Utc};
use eventstore::{Append, Commit, DeadLetter, StreamId, TimerChange};
use uuid::Uuid;

use crate::codec::{JsonText, to_i64};
use crate::connections::Statement;
use crate::letters::line_of;

/// A commit in the order in which its rows are written: by stream, so that two commits that meet the same rows take
/// them in the same order and cannot deadlock.
pub(crate) struct Batch {
    appends: Vec<Append>,
    timers: Vec<TimerChange>,
    inbox: Vec<eventstore::InboxEntry>,
    dead_letters: Vec<DeadLetter>,
}

/// What a commit consists of, and so how many parameters its statement has.
#[derive(Clone, Copy)]
pub(crate) enum Parts {
    /// $1 to $16.
    Events,
    /// $1 to $21.
    EventsAndTimers,
    /// $1 to $31.
    All,
}

impl Batch {
    pub(crate) fn new(commit: Commit) -> Self {
        let Commit { mut appends, mut timers, mut inbox, mut dead_letters } = commit;
        appends.sort_unstable_by_key(|append| append.stream);
        timers.sort_unstable_by_key(TimerChange::stream);
        inbox.sort_unstable();
        dead_letters.sort_by(|one, other| (&one.consumer, &one.message).cmp(&(&other.consumer, &other.message)));
        Self { appends, timers, inbox, dead_letters }
    }

    /// The first event, whose place tells whether the whole commit took place.
    pub(crate) fn first(&self) -> Option<(&Append, &eventstore::NewEvent)> {
        self.appends.first().and_then(|append| append.events().first().map(|event| (append, event)))
    }

    pub(crate) fn appends(&self) -> &[Append] {
        &self.appends
    }

    /// For `Plant::ExpectedVersionIgnored` alone.
    pub(crate) fn appends_mut(&mut self) -> &mut [Append] {
        &mut self.appends
    }

    /// For `Plant::InboxOutsideTransaction` alone.
    pub(crate) fn forget_inbox(&mut self) {
        self.inbox.clear();
    }

    pub(crate) fn inbox(&self) -> &[eventstore::InboxEntry] {
        &self.inbox
    }

    /// The smallest statement that does for this commit.
    pub(crate) fn parts(&self) -> Parts {
        if !self.inbox.is_empty() || !self.dead_letters.is_empty() {
            Parts::All
        } else if !self.timers.is_empty() {
            Parts::EventsAndTimers
        } else {
            Parts::Events
        }
    }

    /// `statement` with the parameters of [`Batch::parts`] bound, in their order.
    pub(crate) fn bind<'q>(&'q self, statement: Statement<'q>) -> Statement<'q> {
        let statement = self.bind_events(self.bind_heads(statement));
        match self.parts() {
            Parts::Events => statement,
            Parts::EventsAndTimers => self.bind_timers(statement),
            Parts::All => self.bind_dead_letters(self.bind_inbox(self.bind_timers(statement))),
        }
    }

    /// Streams, categories, expected versions.
    pub(crate) fn bind_heads<'q>(&'q self, statement: Statement<'q>) -> Statement<'q> {
        let (streams, categories) = columns(self.appends.iter().map(|append| append.stream));
        let expected: Vec<i64> = self.appends.iter().map(|append| to_i64(append.expected.get())).collect();
        statement.bind(streams).bind(categories).bind(expected)
    }

    /// Consumers, messages.
    pub(crate) fn bind_inbox<'q>(&'q self, statement: Statement<'q>) -> Statement<'q> {
        let consumers: Vec<&str> = self.inbox.iter().map(|entry| entry.consumer.as_str()).collect();
        let messages: Vec<Uuid> = self.inbox.iter().map(|entry| entry.message).collect();
        statement.bind(consumers).bind(messages)
    }

    fn bind_events<'q>(&'q self, statement: Statement<'q>) -> Statement<'q> {
        let mut columns = EventColumns::with_capacity(self.appends.iter().map(|append| append.events().len()).sum());
        self.appends.iter().for_each(|append| columns.push(append));
        statement
            .bind(columns.versions)
            .bind(columns.times)
            .bind(columns.streams)
            .bind(columns.ids)
            .bind(columns.correlations)
            .bind(columns.causations)
            .bind(columns.schema_versions)
            .bind(columns.categories)
            .bind(columns.types)
            .bind(columns.actors)
            .bind(columns.traces)
            .bind(columns.payloads)
            .bind(columns.digests)
    }

    fn bind_timers<'q>(&'q self, statement: Statement<'q>) -> Statement<'q> {
        let mut armed: Vec<StreamId> = Vec::new();
        let mut due: Vec<DateTime<Utc>> = Vec::new();
        let mut disarmed: Vec<StreamId> = Vec::new();
        for timer in &self.timers {
            match timer {
                TimerChange::Arm { stream, due: at } => {
                    armed.push(*stream);
                    due.push(*at);
                }
                TimerChange::Disarm { stream } => disarmed.push(*stream),
            }
        }
        let (armed, armed_categories) = columns(armed.into_iter());
        let (disarmed, disarmed_categories) = columns(disarmed.into_iter());
        statement.bind(armed).bind(armed_categories).bind(due).bind(disarmed).bind(disarmed_categories)
    }

    fn bind_dead_letters<'q>(&'q self, statement: Statement<'q>) -> Statement<'q> {
        let letters = &self.dead_letters;
        let text = |of: fn(&DeadLetter) -> &str| letters.iter().map(of).collect::<Vec<&str>>();
        statement
            .bind(text(|letter| &letter.consumer))
            .bind(text(|letter| &letter.message))
            .bind(letters.iter().map(line_of).collect::<Vec<_>>())
            .bind(letters.iter().map(|letter| to_i64(letter.sequence)).collect::<Vec<_>>())
            .bind(text(|letter| &letter.subject))
            .bind(letters.iter().map(|letter| JsonText(&letter.headers)).collect::<Vec<_>>())
            .bind(letters.iter().map(|letter| letter.body.as_slice()).collect::<Vec<_>>())
            .bind(text(|letter| &letter.reason))
    }
}

pub(crate) fn columns(streams: impl Iterator<Item = StreamId>) -> (Vec<Uuid>, Vec<&'static str>) {
    streams.map(|stream| (stream.id, stream.category.as_str())).unzip()
}

struct EventColumns<'a> {
    versions: Vec<i64>,
    times: Vec<DateTime<Utc>>,
    streams: Vec<Uuid>,
    ids: Vec<Uuid>,
    correlations: Vec<Uuid>,
    causations: Vec<Uuid>,
    schema_versions: Vec<i16>,
    categories: Vec<&'a str>,
    types: Vec<&'a str>,
    actors: Vec<&'a str>,
    traces: Vec<Option<&'a str>>,
    payloads: Vec<JsonText<'a>>,
    digests: Vec<&'a [u8]>,
}

impl<'a> EventColumns<'a> {
    fn with_capacity(rows: usize) -> Self {
        Self {
            versions: Vec::with_capacity(rows),
            times: Vec::with_capacity(rows),
            streams: Vec::with_capacity(rows),
            ids: Vec::with_capacity(rows),
            correlations: Vec::with_capacity(rows),
            causations: Vec::with_capacity(rows),
            schema_versions: Vec::with_capacity(rows),
            categories: Vec::with_capacity(rows),
            types: Vec::with_capacity(rows),
            actors: Vec::with_capacity(rows),
            traces: Vec::with_capacity(rows),
            payloads: Vec::with_capacity(rows),
            digests: Vec::with_capacity(rows),
        }
    }

    fn push(&mut self, append: &'a Append) {
        for (index, event) in append.events().iter().enumerate() {
            self.versions.push(to_i64(append.expected.plus(index + 1).get()));
            self.times.push(event.time);
            self.streams.push(append.stream.id);
            self.ids.push(event.id.0);
            self.correlations.push(event.cause.correlation);
            self.causations.push(event.cause.causation);
            // In range: the commit was checked.
            self.schema_versions.push(i16::try_from(event.schema_version).unwrap_or(i16::MAX));
            self.categories.push(append.stream.category.as_str());
            self.types.push(event.type_name);
            self.actors.push(event.cause.actor.as_str());
            self.traces.push(event.cause.trace.as_ref().map(|trace| trace.0.as_str()));
            self.payloads.push(JsonText(&event.payload));
        }
        self.digests.extend(append.digests().iter().map(|digest| &digest.as_bytes()[..]));
    }
}
