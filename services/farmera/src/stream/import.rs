//! `farmera stream import`: an export into a service's log.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};

use clap::Args;
use clap::builder::PossibleValuesParser;
use eventstore::{Category, Cursor, Recorded, StreamId, Version};
use eventstore_postgres::{BringInError, PostgresStore};
use indicatif::{ProgressBar, ProgressStyle};

use super::file::{Flaw, LINE_BYTES_MAX, Reader, Trailer};
use super::{categories, log_of, service, unreadable};
use crate::failure::Failure;
use crate::output;
use crate::services;
use crate::surroundings::Surroundings;

/// Events that are compared, and written, at a time, and the bytes of their payloads.
const BATCH_EVENTS_MAX: usize = 1_000;
const BATCH_BYTES_MAX: usize = 4 * 1024 * 1024;

const AFTER_HELP: &str = "\
The whole file is verified before anything is written: its header, the order and the number of its lines, the
digest of every event, the digest of the file. An event that is there already is left as it is; another event in its place refuses
the whole import. An import that was interrupted is finished by the same command.";

/// What `farmera stream import` is told.
#[derive(Args, Debug)]
#[command(after_help = AFTER_HELP)]
pub struct Arguments {
    /// Whose log.
    #[arg(value_name = "SERVICE", value_parser = PossibleValuesParser::new(services::names()))]
    service: String,
    /// What `farmera stream export` wrote.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Verify the file and compare it with the log, and write nothing.
    #[arg(long)]
    dry_run: bool,
    /// Tell other services of the events, as if they had just happened.
    #[arg(long)]
    publish: bool,
    #[command(flatten)]
    surroundings: Surroundings,
}

/// Imports.
///
/// # Errors
/// [`Failure::Failed`] when the file is not whole or contradicts the log: nothing was written then.
/// [`Failure::Unavailable`] when the database went away: the same command goes on.
pub async fn command(arguments: Arguments) -> Result<(), Failure> {
    let service = service(&arguments.service)?;
    let store = log_of(service, &arguments.surroundings).await?;
    let import = Import { service: service.name, file: &arguments.file, categories: categories(service), store };
    let mut new = 0;
    let verified = import
        .pass("verifying", async |batch| {
            new += import.new_of(batch).await?.len();
            Ok(())
        })
        .await?;
    let known = verified.events - new as u64;
    let Trailer { events, streams, .. } = verified;
    if arguments.dry_run {
        output::line(format!("{events} events of {streams} streams are sound: {new} new, {known} there already"));
        return Ok(());
    }
    let mut written = 0;
    let again = import
        .pass("importing", async |batch| {
            let new = import.new_of(batch).await?;
            written += new.len();
            import.store.bring_in(&new, arguments.publish).await.map_err(not_brought_in)
        })
        .await?;
    if again != verified {
        return Err(Failure::Failed(format!("{} was changed while it was imported", arguments.file.display())));
    }
    output::line(format!("{events} events of {streams} streams: {written} imported, {known} were there already"));
    Ok(())
}

struct Import<'a> {
    service: &'a str,
    file: &'a Path,
    categories: Vec<Category>,
    store: PostgresStore,
}

/// An event and its line.
type Numbered = (u64, Recorded);

impl Import<'_> {
    /// Goes through the file once, a batch of events at a time.
    async fn pass(
        &self,
        what: &'static str,
        mut take: impl AsyncFnMut(&[Numbered]) -> Result<(), Failure>,
    ) -> Result<Trailer, Failure> {
        let cannot = |error: &std::io::Error| Failure::Setup(format!("cannot read {}: {error}", self.file.display()));
        let file = File::open(self.file).map_err(|error| cannot(&error))?;
        let bar = progress(what, file.metadata().map_or(0, |metadata| metadata.len()));
        let mut file = BufReader::new(file);
        let mut reader = Reader::new(self.service, &self.categories);
        let (mut line, mut batch, mut bytes) = (Vec::new(), Vec::new(), 0);
        loop {
            line.clear();
            let read =
                file.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line).map_err(|error| cannot(&error))?;
            if read == 0 {
                break;
            }
            bar.inc(read as u64);
            if let Some(event) = reader.read(&line).map_err(|flaw| self.refuse(&flaw))? {
                bytes += event.payload.len();
                batch.push((reader.line(), event));
            }
            if batch.len() >= BATCH_EVENTS_MAX || bytes >= BATCH_BYTES_MAX {
                take(&batch).await?;
                batch.clear();
                bytes = 0;
            }
        }
        take(&batch).await?;
        bar.finish_and_clear();
        reader.end().map_err(|flaw| self.refuse(&flaw))
    }

    /// The events that the log does not have yet.
    async fn new_of(&self, batch: &[Numbered]) -> Result<Vec<Recorded>, Failure> {
        let keys: Vec<(StreamId, Version)> = batch.iter().map(|(_, event)| (event.stream, event.version)).collect();
        let there = self.store.these(&keys).await.map_err(unreadable)?;
        let there: HashMap<_, _> = there.iter().map(|event| ((event.stream, event.version), event)).collect();
        let mut new = Vec::new();
        for (line, event) in batch {
            match there.get(&(event.stream, event.version)) {
                None => new.push(event.clone()),
                Some(found) if is_same(found, event) => {}
                Some(_) => {
                    let Recorded { stream, version, .. } = event;
                    let reason = format!("the log has another event as version {version} of {stream}");
                    return Err(self.refuse(&Flaw { line: *line, reason }));
                }
            }
        }
        Ok(new)
    }

    fn refuse(&self, flaw: &Flaw) -> Failure {
        Failure::Failed(format!("{}: {flaw}", self.file.display()))
    }
}

/// The same event, wherever it stands in its log.
fn is_same(one: &Recorded, other: &Recorded) -> bool {
    Recorded { cursor: Cursor::START, ..one.clone() } == Recorded { cursor: Cursor::START, ..other.clone() }
}

fn not_brought_in(error: BringInError) -> Failure {
    match error {
        BringInError::Taken => {
            Failure::Failed("somebody wrote to these streams meanwhile; run the same command again".to_owned())
        }
        BringInError::Refused(source) => Failure::Failed(format!("the database refuses the events: {source}")),
        BringInError::Unavailable(source) => Failure::Unavailable(format!(
            "the database does not answer: {source}; the same command goes on where it ended"
        )),
    }
}

/// On a terminal; nothing on a pipe.
fn progress(what: &'static str, bytes: u64) -> ProgressBar {
    let bar = ProgressBar::new(bytes);
    let style = ProgressStyle::with_template("{msg:10} {bar:40} {bytes}/{total_bytes}  {bytes_per_sec}  {eta}");
    if let Ok(style) = style {
        bar.set_style(style);
    }
    bar.with_message(what)
}
