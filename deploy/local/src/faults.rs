//! What disks, operators and restores do to the servers' files.

use std::fs;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, lchown, symlink};
use std::path::{Path, PathBuf};

use crate::Servers;
use crate::errors::FaultError;
use crate::folder;
use crate::guard::Role;
use crate::process::{self, STOP_MAX};

/// Which bit of a byte turns over.
const FLIPPED: u8 = 0b0100_0000;

/// Faults in the files of the servers.
impl Servers {
    /// Removes all streams and consumers, as a lost disk would.
    ///
    /// # Errors
    /// [`FaultError::Running`] unless the server was killed before.
    pub fn wipe_nats_store(&self) -> Result<(), FaultError> {
        self.must_be_down(Role::Nats)?;
        folder::remove(self.nats.store()).map_err(FaultError::Store)
    }

    /// Copies streams and consumers to the folder `to`, replacing what is there. The server may run: then the copy is
    /// what a careless backup would be.
    ///
    /// # Errors
    /// [`FaultError::Store`] when a file cannot be read or written.
    pub fn copy_nats_store(&self, to: &Path) -> Result<(), FaultError> {
        replace(self.nats.store(), to).map_err(FaultError::Store)
    }

    /// Puts back what [`Servers::copy_nats_store`] made: the server forgets everything since.
    ///
    /// # Errors
    /// [`FaultError::Running`] unless the server was killed before.
    pub fn restore_nats_store(&self, from: &Path) -> Result<(), FaultError> {
        self.must_be_down(Role::Nats)?;
        replace(from, self.nats.store()).map_err(FaultError::Store)
    }

    /// Turns one bit over in the messages of a stream (any account's), as a bad disk would. `place` counts bytes over
    /// all of its block files and starts again from the first after the last. Returns the file.
    ///
    /// # Errors
    /// [`FaultError::Running`] unless the server was killed before, [`FaultError::Empty`] when there is no such byte.
    pub fn flip_nats_byte(&self, stream: &str, place: u64) -> Result<PathBuf, FaultError> {
        self.must_be_down(Role::Nats)?;
        let blocks = blocks(self.nats.store(), stream).map_err(FaultError::Store)?;
        let length: u64 = blocks.iter().map(|(_, length)| length).sum();
        let mut place = place.checked_rem(length).ok_or_else(|| FaultError::Empty(stream.to_owned()))?;
        for (block, length) in blocks {
            if place < length {
                flip(&block, place).map_err(FaultError::Store)?;
                return Ok(block);
            }
            place -= length;
        }
        Err(FaultError::Empty(stream.to_owned()))
    }

    /// Copies the whole cluster to the folder `to`, replacing what is there: a backup to go back to.
    ///
    /// # Errors
    /// [`FaultError::Running`] unless the server was killed before.
    pub fn copy_postgres_data(&self, to: &Path) -> Result<(), FaultError> {
        self.must_be_down(Role::Postgres)?;
        replace(&self.postgres.data(), to).map_err(FaultError::Store)
    }

    /// Puts back what [`Servers::copy_postgres_data`] made: every database is as it was then.
    ///
    /// # Errors
    /// [`FaultError::Running`] unless the server was killed before.
    pub fn restore_postgres_data(&self, from: &Path) -> Result<(), FaultError> {
        self.must_be_down(Role::Postgres)?;
        replace(from, &self.postgres.data()).map_err(FaultError::Store)
    }

    fn must_be_down(&self, role: Role) -> Result<(), FaultError> {
        if self.running().is_up(role) {
            return Err(FaultError::Running);
        }
        let ended = match role {
            Role::Nats => true,
            // The processes of a killed postmaster end by themselves, a moment later.
            Role::Postgres => process::poll(STOP_MAX, || !anyone_works_in(&self.postgres.data())),
        };
        if ended { Ok(()) } else { Err(FaultError::Running) }
    }
}

/// True while a process has this folder as its current one, as all of Postgres have theirs.
fn anyone_works_in(folder: &Path) -> bool {
    let Ok(processes) = fs::read_dir("/proc") else { return false };
    processes.flatten().any(|entry| fs::read_link(entry.path().join("cwd")).is_ok_and(|cwd| cwd == folder))
}

/// Makes `to` a copy of `from`; a `from` that is not there makes `to` empty.
fn replace(from: &Path, to: &Path) -> io::Result<()> {
    folder::remove(to)?;
    if !from.exists() {
        return fs::create_dir_all(to);
    }
    copy(from, to)
}

/// A copy with owners and permissions. What vanishes meanwhile is left out.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let metadata = match fs::symlink_metadata(from) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    if metadata.is_dir() {
        fs::create_dir_all(to)?;
        for entry in fs::read_dir(from)? {
            let entry = entry?;
            copy(&entry.path(), &to.join(entry.file_name()))?;
        }
        fs::set_permissions(to, metadata.permissions())?;
    } else if metadata.is_symlink() {
        symlink(fs::read_link(from)?, to)?;
    } else if metadata.is_file() {
        match fs::copy(from, to) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other?,
        };
    } else {
        return Ok(());
    }
    lchown(to, Some(metadata.uid()), Some(metadata.gid()))
}

/// The block files of a stream with their lengths, in order; empty ones are left out.
fn blocks(store: &Path, stream: &str) -> io::Result<Vec<(PathBuf, u64)>> {
    let mut found = Vec::new();
    for account in entries(&store.join("jetstream"))? {
        for file in entries(&account.join("streams").join(stream).join("msgs"))? {
            let length = file.metadata()?.len();
            if length > 0 && file.extension().is_some_and(|extension| extension == "blk") {
                found.push((file, length));
            }
        }
    }
    found.sort();
    Ok(found)
}

/// A folder's content; none when it is not there.
fn entries(folder: &Path) -> io::Result<Vec<PathBuf>> {
    match fs::read_dir(folder) {
        Ok(entries) => entries.map(|entry| entry.map(|entry| entry.path())).collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

fn flip(file: &Path, place: u64) -> io::Result<()> {
    let mut file = fs::OpenOptions::new().read(true).write(true).open(file)?;
    let mut byte = [0_u8];
    file.seek(SeekFrom::Start(place))?;
    file.read_exact(&mut byte)?;
    file.seek(SeekFrom::Start(place))?;
    file.write_all(&byte.map(|byte| byte ^ FLIPPED))
}
