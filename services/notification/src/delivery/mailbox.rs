//! Mails into a folder: one append-only mbox file per start of the process.
//!
//! # Exactly once
//!
//! All mails of a go are one write and one `fdatasync`, and the next go waits until the outcome of this one is in the
//! event store. So what may be written but not recorded after a crash is the last go of a file, and a go is bounded. At
//! its start a mailbox reads the end of what others left behind, and skips what it finds there. A torn last mail (its
//! `Content-Length` tells) counts as not written.
//!
//! Lines are as mboxrd has it: LF, and one `>` before every `From ` and `>From ` of a body.

use std::collections::HashSet;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use tracing::{info, warn};
use uuid::Uuid;

use super::mail::{Mail, MailId};

/// How much of the end of a file is read: more than a go can have.
const TAIL_BYTES: u64 = 16 * 1024 * 1024;
/// The newest files that are looked at.
const FILES_MAX: usize = 32;

/// A folder of mbox files, one of them ours.
#[derive(Debug)]
pub struct Mailbox {
    folder: PathBuf,
    path: PathBuf,
    file: Option<File>,
    /// Bytes of `file` that are known to be sound.
    length: u64,
    /// Mails that an earlier process wrote and may not have recorded.
    in_doubt: HashSet<MailId>,
}

impl Mailbox {
    /// Nobody but its owner reads it: a folder and files that others could read are closed to them.
    ///
    /// Looks at what earlier processes left in `folder`, which is made when missing. Our own file is called after
    /// `name`, which sorts by time, and made with the first mail.
    ///
    /// # Errors
    /// The folder cannot be used.
    pub fn open(folder: &Path, name: Uuid) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        close_to_others(folder)?;
        let path = folder.join(format!("farmera-{name}.mbox"));
        let mut in_doubt = HashSet::new();
        for file in newest_files(folder)? {
            close_to_others(&file)?;
            if let Err(failed) = read_tail(&file, &mut in_doubt) {
                warn!(file = %file.display(), error = &failed as &dyn std::error::Error, "a mailbox cannot be read; its mails may be written again");
            }
        }
        info!(folder = %folder.display(), known = in_doubt.len(), "the mailbox is open");
        Ok(Self { folder: folder.to_owned(), path, file: None, length: 0, in_doubt })
    }

    /// Writes what is not there already. All of it is durable then, or none of it is written.
    ///
    /// # Errors
    /// Nothing was written.
    pub fn write(&mut self, mails: &[Mail]) -> io::Result<()> {
        let mut text = Vec::with_capacity(mails.iter().map(|mail| mail.bytes.len() + 256).sum());
        for mail in mails.iter().filter(|mail| !self.in_doubt.contains(&mail.id)) {
            push(&mut text, mail);
        }
        if text.is_empty() {
            return Ok(());
        }
        let written = self.append(&text);
        if written.is_err() {
            self.take_back();
        }
        written
    }

    fn append(&mut self, text: &[u8]) -> io::Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            none => {
                let file = OpenOptions::new().create(true).append(true).mode(0o600).open(&self.path)?;
                self.length = file.metadata()?.len();
                // So that the file's name is as durable as its contents.
                File::open(&self.folder)?.sync_all()?;
                none.insert(file)
            }
        };
        file.write_all(text)?;
        file.sync_data()?;
        self.length += text.len() as u64;
        Ok(())
    }

    /// Half a go must not stay: it would be written again.
    fn take_back(&mut self) {
        let Some(file) = self.file.take() else { return };
        if let Err(failed) = file.set_len(self.length).and_then(|()| file.sync_data()) {
            warn!(file = %self.path.display(), error = &failed as &dyn std::error::Error, "a torn mailbox cannot be cut; some mails may be in it twice");
        }
    }
}

/// Takes from everybody who is not its owner, or of its group, what they may do with it.
fn close_to_others(path: &Path) -> io::Result<()> {
    let mode = fs::metadata(path)?.permissions().mode();
    if mode & 0o007 == 0 {
        return Ok(());
    }
    warn!(path = %path.display(), "everybody could read mails here; now only their owner and its group can");
    fs::set_permissions(path, Permissions::from_mode(mode & 0o7770))
}

fn newest_files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let paths = fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<Vec<_>>>()?;
    let mut files: Vec<PathBuf> =
        paths.into_iter().filter(|path| path.extension().is_some_and(|e| e == "mbox")).collect();
    // Names sort by time.
    files.sort_unstable_by(|left, right| right.cmp(left));
    files.truncate(FILES_MAX);
    Ok(files)
}

/// Where in a file the reader is.
enum Place {
    /// Before the first mail that begins in the tail.
    Before,
    /// In the headers of a mail.
    Headers { id: Option<MailId>, length: Option<u64> },
    /// In the body, so many bytes of which are to come.
    Body { id: MailId, left: u64 },
}

fn read_tail(path: &Path, found: &mut HashSet<MailId>) -> io::Result<()> {
    let mut file = File::open(path)?;
    let start = file.metadata()?.len().saturating_sub(TAIL_BYTES);
    file.seek(SeekFrom::Start(start))?;
    let mut reader = BufReader::with_capacity(64 * 1024, file.take(TAIL_BYTES));
    let mut line = Vec::new();
    let mut place = Place::Before;
    while {
        line.clear();
        reader.read_until(b'\n', &mut line)? > 0
    } {
        place = after_line(place, &line, found);
    }
    Ok(())
}

fn after_line(place: Place, line: &[u8], found: &mut HashSet<MailId>) -> Place {
    if line.starts_with(b"From ") {
        return Place::Headers { id: None, length: None };
    }
    match place {
        Place::Before => Place::Before,
        Place::Headers { id: Some(id), length: Some(left) } if line == b"\n" => Place::Body { id, left },
        Place::Headers { .. } if line == b"\n" => Place::Before,
        Place::Headers { id, length } => {
            let text = String::from_utf8_lossy(line);
            let value = |name: &str| text.strip_prefix(name).map(str::trim);
            Place::Headers {
                id: value("Message-ID:").and_then(MailId::parse).or(id),
                length: value("Content-Length:").and_then(|length| length.parse().ok()).or(length),
            }
        }
        Place::Body { id, left } => {
            let left = left.saturating_sub(line.len() as u64);
            if left == 0 {
                found.insert(id);
                return Place::Before;
            }
            Place::Body { id, left }
        }
    }
}

/// Adds a mail in mboxrd's form, with `Content-Length` as its last header.
fn push(text: &mut Vec<u8>, mail: &Mail) {
    let from = mail.envelope.from().map_or("MAILER-DAEMON", |from| from.as_ref());
    text.extend_from_slice(format!("From {from} {}\n", mail.date.format("%a %b %e %H:%M:%S %Y")).as_bytes());
    let mut lines = mail.bytes.split_inclusive(|byte| *byte == b'\n');
    for line in lines.by_ref() {
        let line = without_line_end(line);
        if line.is_empty() {
            break;
        }
        text.extend_from_slice(line);
        text.push(b'\n');
    }
    let mut body = Vec::with_capacity(mail.bytes.len());
    for line in lines {
        let line = without_line_end(line);
        if line
            .iter()
            .position(|byte| *byte != b'>')
            .and_then(|start| line.get(start..))
            .is_some_and(|rest| rest.starts_with(b"From "))
        {
            body.push(b'>');
        }
        body.extend_from_slice(line);
        body.push(b'\n');
    }
    if body.is_empty() {
        body.push(b'\n');
    }
    text.extend_from_slice(format!("Content-Length: {}\n\n", body.len()).as_bytes());
    text.extend_from_slice(&body);
    text.push(b'\n');
}

fn without_line_end(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use lettre::address::Envelope;

    use super::*;

    fn mail(number: u128, body: &str) -> Mail {
        let id = MailId { notification: Uuid::from_u128(number), recipient: 1 };
        let address = |text: &str| text.parse().unwrap();
        let envelope = Envelope::new(Some(address("from@farmera.test")), vec![address("to@farmera.test")]).unwrap();
        let bytes = format!("Message-ID: {}\r\nSubject: Hi\r\n\r\n{body}\r\n", id.header()).into_bytes();
        Mail { id, date: DateTime::default(), envelope, bytes }
    }

    fn contents(folder: &Path) -> String {
        newest_files(folder).unwrap().iter().rev().map(|file| fs::read_to_string(file).unwrap()).collect()
    }

    #[test]
    fn what_an_earlier_process_wrote_is_not_written_again() {
        let folder = tempfile::tempdir().unwrap();
        let mut first = Mailbox::open(folder.path(), Uuid::from_u128(1)).unwrap();
        first.write(&[mail(1, "one"), mail(2, "From me\r\n>From you")]).unwrap();
        drop(first);
        let mut second = Mailbox::open(folder.path(), Uuid::from_u128(2)).unwrap();
        second.write(&[mail(1, "one"), mail(2, "From me\r\n>From you"), mail(3, "three")]).unwrap();
        let all = contents(folder.path());
        assert_eq!(all.matches("\nMessage-ID:").count(), 3, "{all}");
        assert!(all.contains("\n>From me\n>>From you\n"));
        assert!(all.starts_with("From from@farmera.test Thu Jan  1 00:00:00 1970\n"));
    }

    #[test]
    fn nobody_else_reads_the_mails() {
        let around = tempfile::tempdir().unwrap();
        let folder = around.path().join("mailbox");
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let mut mailbox = Mailbox::open(&folder, Uuid::from_u128(1)).unwrap();
        mailbox.write(&[mail(1, "one")]).unwrap();
        assert_eq!((mode(&folder), mode(&mailbox.path)), (0o700, 0o600));
        for (path, open) in [(&folder, 0o755), (&mailbox.path, 0o644)] {
            fs::set_permissions(path, Permissions::from_mode(open)).unwrap();
        }
        Mailbox::open(&folder, Uuid::from_u128(2)).unwrap();
        assert_eq!((mode(&folder), mode(&mailbox.path)), (0o750, 0o640));
    }

    #[test]
    fn a_torn_mail_counts_as_not_written() {
        let folder = tempfile::tempdir().unwrap();
        let mut first = Mailbox::open(folder.path(), Uuid::from_u128(1)).unwrap();
        first.write(&[mail(1, "one"), mail(2, "line\r\n\r\nline")]).unwrap();
        let path = first.path.clone();
        let length = fs::metadata(&path).unwrap().len();
        OpenOptions::new().write(true).open(&path).unwrap().set_len(length - 5).unwrap();
        let second = Mailbox::open(folder.path(), Uuid::from_u128(2)).unwrap();
        assert_eq!(second.in_doubt, HashSet::from([mail(1, "").id]));
    }

    #[test]
    fn only_the_end_of_a_long_file_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let mut first = Mailbox::open(folder.path(), Uuid::from_u128(1)).unwrap();
        let long = format!("{}\r\n", "x".repeat(900)).repeat(1_000);
        for number in 0..30 {
            first.write(&[mail(number, &long)]).unwrap();
        }
        let second = Mailbox::open(folder.path(), Uuid::from_u128(2)).unwrap();
        assert!(second.in_doubt.len() < 20 && second.in_doubt.contains(&mail(29, "").id));
    }
}
