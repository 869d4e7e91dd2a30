//! `sagactl event export`: events of the past as a file.

use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

use clap::Args;
use farmera_proto::saga::v1 as pb;

use crate::connection::Server;
use crate::failure::Failure;
use crate::output::words::counted;
use crate::output::{Out, json_line, tell};
use crate::session::Session;

use super::{Filter, Span};

/// Which events, and where to.
#[derive(Args, Debug)]
pub struct Export {
    /// The file; standard output unless said otherwise. A file that is there is replaced once everything is written.
    #[arg(long = "to-file", value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Which.
    #[command(flatten)]
    pub filter: Filter,
    /// When.
    #[command(flatten)]
    pub span: Span,
}

/// Asks and writes; one event at a time is in memory.
///
/// # Errors
/// [`Failure::Failed`] when it cannot be written: the file is as it was before then.
pub async fn command(export: Export, session: &mut Session) -> Result<(), Failure> {
    let server = session.server()?;
    let (from_time, to_time) = export.span.to_contract(session.out.now)?;
    let filter = Some(export.filter.to_contract());
    let request = pb::GrepEventsRequest { filter, from_time, to_time, limit: 0, after_cursor: String::new() };
    let count = match &export.file {
        None => copy(&server, request, &mut Sink::Output(&mut session.out)).await?,
        Some(path) => to_file(path, &server, request).await?,
    };
    tell(format!("exported {}", counted(count, "event")));
    Ok(())
}

async fn to_file(path: &Path, server: &Server, request: pb::GrepEventsRequest) -> Result<u64, Failure> {
    let draft = Draft::beside(path)?;
    let unwritten = |error: std::io::Error| unwritten(path, &error);
    let mut sink = Sink::File { path, file: BufWriter::new(File::create(&draft.path).map_err(unwritten)?) };
    let count = copy(server, request, &mut sink).await?;
    if let Sink::File { file, .. } = sink {
        let file = file.into_inner().map_err(|error| unwritten(error.into_error()))?;
        draft.finish(&file, path).map_err(unwritten)?;
    }
    Ok(count)
}

fn unwritten(path: &Path, error: &std::io::Error) -> Failure {
    let path = path.display();
    Failure::Failed(format!("cannot write {path}: {error}; nothing is left behind, export to another place"))
}

enum Sink<'a> {
    Output(&'a mut Out),
    File { path: &'a Path, file: BufWriter<File> },
}

impl Sink<'_> {
    fn line(&mut self, line: &str) -> Result<(), Failure> {
        match self {
            Self::Output(out) => out.line(line),
            Self::File { path, file } => writeln!(file, "{line}").map_err(|error| unwritten(path, &error)),
        }
    }

    fn flush(&mut self) -> Result<(), Failure> {
        match self {
            Self::Output(out) => out.flush(),
            Self::File { path, file } => file.flush().map_err(|error| unwritten(path, &error)),
        }
    }
}

async fn copy(server: &Server, request: pb::GrepEventsRequest, sink: &mut Sink<'_>) -> Result<u64, Failure> {
    let mut stream = server.ask(server.events().grep_events(request)).await?;
    let mut count = 0;
    while let Some(told) = server.next(&mut stream).await? {
        if let Some(event) = told.event {
            sink.line(&json_line(&event)?)?;
            count += 1;
        }
    }
    sink.flush()?;
    Ok(count)
}

/// A file that becomes the wanted one at the end, or goes.
struct Draft {
    path: PathBuf,
    is_itself: bool,
}

impl Draft {
    fn beside(path: &Path) -> Result<Self, Failure> {
        // A device or a pipe is written to as it is; it cannot be replaced.
        let is_itself = fs::metadata(path).is_ok_and(|about| !about.is_file());
        if is_itself {
            return Ok(Self { path: path.to_owned(), is_itself });
        }
        let Some(name) = path.file_name() else {
            return Err(Failure::Usage(format!("{} is no file", path.display())));
        };
        let name = format!(".{}.{}.new", name.to_string_lossy(), std::process::id());
        Ok(Self { path: path.with_file_name(name), is_itself })
    }

    fn finish(self, file: &File, path: &Path) -> std::io::Result<()> {
        if self.is_itself {
            return Ok(());
        }
        file.sync_all()?;
        fs::rename(&self.path, path)
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.is_itself {
            // Gone already when it became the wanted file.
            drop(fs::remove_file(&self.path));
        }
    }
}
