//! The ends of all streams in a file: to be kept where the database's owner cannot change it.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{Context, SHA256};
use eventstore::Digest;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// One stream's end, a line of the file. Lines come service by service, by stream id, then category.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Saved {
    /// Whose.
    pub service: String,
    /// The stream's category.
    pub category: String,
    /// The stream's id.
    pub stream: Uuid,
    /// Its version.
    pub version: u64,
    /// The digest of everything up to that version.
    pub digest: Digest,
}

/// The last line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Total {
    streams: u64,
    /// SHA-256 over all lines before, line ends included.
    total: Digest,
}

/// Why a checkpoint cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The file cannot be read or written.
    #[error("{path}: {source}")]
    File {
        /// Which one.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The file is not as it was saved.
    #[error("{path} line {line}: {what}")]
    Broken {
        /// Which one.
        path: PathBuf,
        /// Where; from 1.
        line: u64,
        /// What is wrong.
        what: String,
    },
}

/// A checkpoint that is being written: beside its place until it is whole.
pub struct Draft {
    path: PathBuf,
    draft: PathBuf,
    file: BufWriter<File>,
    sum: Context,
    streams: u64,
}

impl Draft {
    /// An empty one.
    ///
    /// # Errors
    /// [`CheckpointError::File`].
    pub fn create(path: &Path) -> Result<Self, CheckpointError> {
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(".new");
        let draft = path.with_file_name(name);
        let file = File::create(&draft).map_err(|source| CheckpointError::File { path: draft.clone(), source })?;
        let (sum, file) = (Context::new(&SHA256), BufWriter::new(file));
        Ok(Self { path: path.to_owned(), draft, file, sum, streams: 0 })
    }

    /// Adds a stream.
    ///
    /// # Errors
    /// [`CheckpointError::File`].
    pub fn add(&mut self, saved: &Saved) -> Result<(), CheckpointError> {
        self.streams += 1;
        let line = line(saved).and_then(|line| {
            self.sum.update(&line);
            self.file.write_all(&line)
        });
        line.map_err(|source| CheckpointError::File { path: self.draft.clone(), source })
    }

    /// Writes the last line, makes it durable and puts the file into its place. How many streams it holds.
    ///
    /// # Errors
    /// [`CheckpointError::File`]; a file that stood there before still stands there.
    pub fn finish(self) -> Result<u64, CheckpointError> {
        let Self { path, draft, mut file, sum, streams } = self;
        let written = digest_of(sum)
            .and_then(|total| line(&Total { streams, total }))
            .and_then(|line| file.write_all(&line))
            .and_then(|()| file.into_inner().map_err(io::IntoInnerError::into_error))
            .and_then(|file| file.sync_all())
            .and_then(|()| std::fs::rename(&draft, &path));
        written.map(|()| streams).map_err(|source| CheckpointError::File { path, source })
    }

    /// Leaves nothing behind.
    pub fn discard(self) {
        drop(std::fs::remove_file(self.draft));
    }
}

fn line(value: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    Ok(line)
}

fn digest_of(sum: Context) -> io::Result<Digest> {
    Digest::from_bytes(sum.finish().as_ref()).ok_or_else(|| io::Error::other("SHA-256 has another length"))
}

/// A checkpoint whose last line fits the lines before it.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    path: PathBuf,
    streams: u64,
}

impl Checkpoint {
    /// Reads the file through once.
    ///
    /// # Errors
    /// [`CheckpointError`]: it is not there, or not as it was saved.
    pub fn open(path: &Path) -> Result<Self, CheckpointError> {
        let mut sum = Context::new(&SHA256);
        let mut end = None;
        let mut streams = 0;
        for (text, line) in lines(path)?.zip(1..) {
            let text = text.map_err(|source| CheckpointError::File { path: path.to_owned(), source })?;
            let broken = |what: &str| CheckpointError::Broken { path: path.to_owned(), line, what: what.to_owned() };
            if end.is_some() {
                return Err(broken("something stands after the end"));
            }
            if let Ok(total) = serde_json::from_slice::<Total>(&text) {
                end = Some(total);
                continue;
            }
            streams += 1;
            sum.update(&text);
            sum.update(b"\n");
        }
        let broken =
            |what: &str| CheckpointError::Broken { path: path.to_owned(), line: streams + 1, what: what.into() };
        let end = end.ok_or_else(|| broken("the end is missing: the file was cut"))?;
        let sum = digest_of(sum).map_err(|source| CheckpointError::File { path: path.to_owned(), source })?;
        if (end.streams, end.total) != (streams, sum) {
            return Err(broken("the total does not fit the lines: the file was changed"));
        }
        Ok(Self { path: path.to_owned(), streams })
    }

    /// The streams of one service, in their order.
    ///
    /// # Errors
    /// [`CheckpointError::File`]; each line may be broken, too.
    pub fn of(
        &self,
        service: &str,
    ) -> Result<impl Iterator<Item = Result<Saved, CheckpointError>> + Send + use<>, CheckpointError> {
        let (path, service, streams) = (self.path.clone(), service.to_owned(), self.streams);
        let numbered = lines(&self.path)?.zip(1..).take_while(move |(_, line)| *line <= streams);
        let parsed = numbered.map(move |(text, line)| {
            let text = text.map_err(|source| CheckpointError::File { path: path.clone(), source })?;
            let broken = |error: serde_json::Error| CheckpointError::Broken {
                path: path.clone(),
                line,
                what: error.to_string(),
            };
            serde_json::from_slice::<Saved>(&text).map_err(broken)
        });
        Ok(parsed.filter(move |saved| saved.as_ref().map_or(true, |saved| saved.service == service)))
    }
}

fn lines(path: &Path) -> Result<impl Iterator<Item = io::Result<Vec<u8>>> + Send + use<>, CheckpointError> {
    let file = File::open(path).map_err(|source| CheckpointError::File { path: path.to_owned(), source })?;
    Ok(BufReader::new(file).split(b'\n'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn saved(service: &str, number: u128) -> Saved {
        let digest = Digest::from_bytes(&[number as u8; Digest::BYTES]).unwrap();
        let service = service.to_owned();
        Saved { service, category: "order".to_owned(), stream: Uuid::from_u128(number), version: 3, digest }
    }

    #[test]
    fn what_is_saved_is_read_service_by_service() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("heads");
        let mut draft = Draft::create(&path).unwrap();
        let all = [saved("orders", 1), saved("orders", 2), saved("payment", 1)];
        all.iter().for_each(|saved| draft.add(saved).unwrap());
        assert!(!path.exists());
        assert_eq!(draft.finish().unwrap(), 3);
        let checkpoint = Checkpoint::open(&path).unwrap();
        let of = |service: &str| checkpoint.of(service).unwrap().collect::<Result<Vec<_>, _>>().unwrap();
        assert_eq!((of("orders"), of("payment"), of("products")), (all[..2].to_vec(), all[2..].to_vec(), vec![]));
    }

    #[test]
    fn a_cut_or_changed_file_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("heads");
        let mut draft = Draft::create(&path).unwrap();
        draft.add(&saved("orders", 1)).unwrap();
        draft.add(&saved("orders", 2)).unwrap();
        draft.finish().unwrap();
        let whole = std::fs::read_to_string(&path).unwrap();
        let last = whole.lines().next_back().unwrap();
        let cut = whole.replace(&format!("{last}\n"), "");
        let changed = whole.replacen("\"version\":3", "\"version\":2", 1);
        let shortened: String = whole.lines().skip(1).map(|line| format!("{line}\n")).collect();
        let longer = format!("{whole}{{}}\n");
        for (text, what) in [(cut, "cut"), (changed, "changed"), (shortened, "changed"), (longer, "after the end")] {
            std::fs::write(&path, text).unwrap();
            let error = Checkpoint::open(&path).unwrap_err().to_string();
            assert!(error.contains(what), "{error}");
        }
    }
}
