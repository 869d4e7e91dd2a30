//! The file behind the books: a line of JSON for each thing that happened, on disk before anybody is told of it.
//!
//! A process that was killed may leave half a line behind. Nobody was told of it, so the next start cuts it off and
//! says so. Anything else that cannot be read is damage, and refused.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use tracing::warn;

use super::entry::Entry;

/// Longer than any line that is written.
const LINE_BYTES_MAX: u64 = 64 * 1024;

/// Why a journal cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The file cannot be read or written.
    #[error("the journal {path} cannot be used: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another process writes it.
    #[error("the journal {path} is in use by another process")]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// Restore it, or begin with another one.
    #[error(
        "line {line} of the journal {path} is damaged: {reason}; restore it, or move it away to begin with empty books"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: u64,
        /// What is wrong with it.
        reason: String,
    },
}

/// The file, held by this process alone.
#[derive(Debug)]
pub(super) struct Journal {
    file: File,
    bytes: u64,
}

/// What an opened journal held.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Found {
    /// Whole lines.
    pub(super) entries: u64,
    /// Bytes of a last line that was cut off.
    pub(super) torn_bytes: u64,
}

impl Journal {
    /// Opens or makes the file, and hands every entry to `each`, oldest first.
    pub(super) fn open(path: &Path, each: impl FnMut(Entry)) -> Result<(Self, Found), JournalError> {
        let failed = |source| JournalError::Io { path: path.to_owned(), source };
        let is_new = !path.exists();
        let mut file = OpenOptions::new().read(true).append(true).create(true).open(path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(JournalError::InUse { path: path.to_owned() }),
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        if is_new {
            // A file whose name is not on disk is gone after a power cut, whatever was synced into it.
            sync_folder(path).map_err(failed)?;
        }
        let length = file.metadata().map_err(failed)?.len();
        let (entries, bytes) = scan(path, &file, each)?;
        let torn_bytes = length.saturating_sub(bytes);
        if torn_bytes > 0 {
            warn!(path = %path.display(), torn_bytes, "half a line at the end of the journal is cut off: nobody was told of it");
            file.set_len(bytes).and_then(|()| file.sync_all()).map_err(failed)?;
        }
        file.seek(SeekFrom::End(0)).map_err(failed)?;
        Ok((Self { file, bytes }, Found { entries, torn_bytes }))
    }

    /// Writes whole lines; when it returns they are on disk. The file's length then.
    pub(super) fn append(&mut self, lines: &[u8]) -> io::Result<u64> {
        self.file.write_all(lines)?;
        self.file.sync_data()?;
        self.bytes += lines.len() as u64;
        Ok(self.bytes)
    }
}

/// The entries of a journal that may be in use; half a line at its end is left out.
///
/// # Errors
/// [`JournalError`]: it cannot be read, or is damaged.
pub fn read(path: &Path) -> Result<Vec<Entry>, JournalError> {
    let file = File::open(path).map_err(|source| JournalError::Io { path: path.to_owned(), source })?;
    let mut entries = Vec::new();
    scan(path, &file, |entry| entries.push(entry))?;
    Ok(entries)
}

/// Reads all whole lines; their number and length.
fn scan(path: &Path, file: &File, mut each: impl FnMut(Entry)) -> Result<(u64, u64), JournalError> {
    let mut reader = BufReader::new(file);
    let (mut entries, mut bytes, mut line) = (0, 0, Vec::new());
    loop {
        line.clear();
        let read = (&mut reader).take(LINE_BYTES_MAX).read_until(b'\n', &mut line);
        let read = read.map_err(|source| JournalError::Io { path: path.to_owned(), source })?;
        let damaged = |reason: String| JournalError::Damaged { path: path.to_owned(), line: entries + 1, reason };
        if line.last() != Some(&b'\n') {
            if line.len() as u64 == LINE_BYTES_MAX {
                return Err(damaged("it is too long".to_owned()));
            }
            return Ok((entries, bytes));
        }
        let entry: Entry = serde_json::from_slice(&line).map_err(|error| damaged(error.to_string()))?;
        if entry.number != entries + 1 {
            return Err(damaged(format!("it has the number {}", entry.number)));
        }
        each(entry);
        entries += 1;
        bytes += read as u64;
    }
}

fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use money::{Currency, Money};
    use uuid::Uuid;

    use super::super::entry::Fact;
    use super::*;

    fn line(number: u64) -> Vec<u8> {
        let entry = Entry {
            number,
            time: DateTime::default(),
            charge: "pi_1".to_owned(),
            payment_id: Uuid::from_u128(1),
            amount: Money::new(1250, Currency::EUR),
            key: "k".to_owned(),
            fingerprint: Uuid::from_u128(2),
            fact: Fact::Captured {},
        };
        let mut line = serde_json::to_vec(&entry).unwrap();
        line.push(b'\n');
        line
    }

    fn file(content: &[u8]) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.ndjson");
        std::fs::write(&path, content).unwrap();
        (folder, path)
    }

    #[test]
    fn half_a_line_at_the_end_is_cut_off_wherever_it_was_torn() {
        let whole = [line(1), line(2)].concat();
        let third = line(3);
        for torn in 1..third.len() {
            let (_folder, path) = file(&[whole.as_slice(), &third[..torn]].concat());
            assert_eq!(read(&path).unwrap().len(), 2);
            let (mut journal, found) = Journal::open(&path, |_| ()).unwrap();
            assert_eq!(found, Found { entries: 2, torn_bytes: torn as u64 });
            assert_eq!(journal.append(&third).unwrap(), (whole.len() + third.len()) as u64);
            assert_eq!(read(&path).unwrap().len(), 3);
        }
    }

    #[test]
    fn damage_before_the_end_is_refused_by_its_line() {
        let garbage = b"garbage\n".to_vec();
        for (content, at) in [
            ([line(1), garbage.clone(), line(2)], 2),
            ([line(1), line(3), line(4)], 2),
            ([line(1), line(2), garbage], 3),
            ([line(1), line(1), line(2)], 2),
        ] {
            let (_folder, path) = file(&content.concat());
            let refused = Journal::open(&path, |_| ()).unwrap_err();
            assert!(matches!(refused, JournalError::Damaged { line, .. } if line == at), "{refused}");
            assert_eq!(std::fs::read(&path).unwrap(), content.concat(), "a damaged journal is left as it is");
        }
    }

    #[test]
    fn a_journal_has_one_writer() {
        let (_folder, path) = file(&line(1));
        let first = Journal::open(&path, |_| ()).unwrap();
        assert!(matches!(Journal::open(&path, |_| ()), Err(JournalError::InUse { .. })));
        drop(first);
        assert!(Journal::open(&path, |_| ()).is_ok());
    }
}
