//! `farmera stream export`: streams as a file.

use std::io::{self, BufWriter, Write};
use std::time::Duration;

use clap::Args;
use clap::builder::PossibleValuesParser;
use eventstore::{Category, EventStore as _, Recorded, StreamId, TxId};
use eventstore_postgres::{PostgresStore, ScanPlace};
use indicatif::{ProgressBar, ProgressStyle};
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::file::Writer;
use super::{Address, categories, kind, log_of, service, unreadable};
use crate::failure::Failure;
use crate::services;
use crate::surroundings::Surroundings;

/// Events read at a time: what an export holds in memory.
const PAGE: usize = 1_000;
/// How long to wait for transactions that were open when the export began.
const SETTLE_LIMIT: Duration = Duration::from_secs(30);
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(20);

/// What `farmera stream export` is told.
#[derive(Args, Debug)]
#[command(
    after_help = "All streams when neither --category nor --stream is given: farmera stream export orders > orders.ndjson"
)]
pub struct Arguments {
    /// Whose log.
    #[arg(value_name = "SERVICE", value_parser = PossibleValuesParser::new(services::names()))]
    service: String,
    /// Only streams of this category; may be repeated.
    #[arg(long = "category", value_name = "CATEGORY", conflicts_with = "streams")]
    categories: Vec<String>,
    /// Only this stream; may be repeated.
    #[arg(long = "stream", value_name = "CATEGORY/ID")]
    streams: Vec<String>,
    #[command(flatten)]
    surroundings: Surroundings,
}

/// What is to be exported.
struct Wish {
    categories: Vec<Category>,
    /// All of the categories when empty.
    streams: Vec<StreamId>,
}

impl Wish {
    fn includes(&self, event: &Recorded) -> bool {
        self.categories.contains(&event.stream.category)
            && (self.streams.is_empty() || self.streams.contains(&event.stream))
    }

    /// The parts of the log to look through: first and last id.
    fn ranges(&self) -> Vec<(Uuid, Uuid)> {
        if self.streams.is_empty() {
            return vec![(Uuid::nil(), Uuid::max())];
        }
        let mut ids: Vec<Uuid> = self.streams.iter().map(|stream| stream.id).collect();
        ids.sort_unstable();
        ids.dedup();
        ids.into_iter().map(|id| (id, id)).collect()
    }
}

/// Exports.
///
/// # Errors
/// [`Failure::Failed`] when the file cannot be written; what was written of it is cut off, and is refused by an import.
pub async fn command(arguments: Arguments) -> Result<(), Failure> {
    let service = service(&arguments.service)?;
    let mut wish = Wish { categories: categories(service), streams: Vec::new() };
    if !arguments.categories.is_empty() {
        let kinds = arguments.categories.iter().map(|category| kind(service, category).map(|kind| kind.category));
        wish.categories = kinds.collect::<Result<_, _>>()?;
    }
    for stream in &arguments.streams {
        wish.streams.push(Address::parse(service, stream)?.stream);
    }
    let store = log_of(service, &arguments.surroundings).await?;
    for stream in &wish.streams {
        if store.read_stream_backwards(*stream, 1).await.map_err(unreadable)?.is_empty() {
            return Err(Failure::NotFound(format!("{} has no stream {stream}", service.name)));
        }
    }
    let settled = settled(&store).await?;
    let (mut writer, header) = Writer::new(service.name).map_err(|error| unwritable(&error.into()))?;
    let mut out = BufWriter::new(io::stdout());
    out.write_all(&header).map_err(|error| unwritable(&error))?;
    let bar = progress();
    for range in wish.ranges() {
        export(&store, &categories(service), range, |event| {
            if event.cursor.tx >= settled || !wish.includes(event) {
                return Ok(());
            }
            out.write_all(&writer.event(event)?)?;
            bar.set_position(writer.events());
            Ok(())
        })
        .await?;
    }
    let (trailer, line) = writer.end().map_err(|error| unwritable(&error.into()))?;
    out.write_all(&line).and_then(|()| out.flush()).map_err(|error| unwritable(&error))?;
    bar.finish_and_clear();
    eprintln!("{} events of {} streams", trailer.events, trailer.streams);
    Ok(())
}

/// Hands every event between two ids to `take`, in the order of the file.
async fn export(
    store: &PostgresStore,
    categories: &[Category],
    (first, last): (Uuid, Uuid),
    mut take: impl FnMut(&Recorded) -> io::Result<()>,
) -> Result<(), Failure> {
    let mut place = ScanPlace::before(first);
    loop {
        let page = store.scan(&place, last, categories, PAGE).await.map_err(unreadable)?;
        page.iter().try_for_each(&mut take).map_err(|error| unwritable(&error))?;
        match page.last() {
            Some(event) if page.len() >= PAGE => place = ScanPlace::after(event),
            Some(_) | None => return Ok(()),
        }
    }
}

/// The transaction up to which the export goes. Everything before it has ended, so what is exported is what was true at
/// one moment: no commit is torn, whatever is written while the export runs.
async fn settled(store: &PostgresStore) -> Result<TxId, Failure> {
    let end = Instant::now() + SETTLE_LIMIT;
    let first = store.horizon().await.map_err(unreadable)?;
    if first.beyond {
        let why = "the log holds events of transactions that this database server has not had yet: it was restored from \
            a dump, and must be mended before anybody reads it (docs/runbooks/streams.md)";
        return Err(Failure::Failed(why.to_owned()));
    }
    let mut now = first;
    while now.settled < first.next {
        if Instant::now() > end {
            let why = "a transaction that was open when the export began is still open; end it, or try again";
            return Err(Failure::Unavailable(why.to_owned()));
        }
        sleep(LOOK_AGAIN_AFTER).await;
        now = store.horizon().await.map_err(unreadable)?;
    }
    Ok(first.next)
}

fn unwritable(error: &io::Error) -> Failure {
    Failure::Failed(format!("the export cannot be written: {error}"))
}

/// On a terminal; nothing on a pipe.
fn progress() -> ProgressBar {
    let bar = ProgressBar::no_length();
    if let Ok(style) = ProgressStyle::with_template("exported {human_pos} events  {per_sec}  {elapsed}") {
        bar.set_style(style);
    }
    bar
}
