//! The state folder and its two locks.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::process::{self, READY_MAX};

const OWNER_LOCK: &str = "owner.lock";
const GUARD_LOCK: &str = "guard.lock";

/// Why the state folder cannot be used.
#[derive(Debug)]
pub(crate) enum FolderError {
    /// A live process has it.
    InUse { pid: u32 },
    /// The guard of an earlier owner did not finish.
    StillStopping,
    /// A file in it cannot be made, read or written.
    Io(PathBuf, io::Error),
}

/// A state folder that nobody else uses, for as long as this value lives.
#[derive(Debug)]
pub(crate) struct Folder {
    root: PathBuf,
    /// Held, never read: closing it lets go of the lock.
    _owner_lock: File,
}

impl Folder {
    /// Takes the folder, made when missing, and the lock to hand to the guard. Waits for the
    /// guard of an owner that died a moment ago.
    pub(crate) fn take(root: &Path) -> Result<(Self, File), FolderError> {
        let failed = |error| FolderError::Io(root.to_path_buf(), error);
        fs::create_dir_all(root).map_err(failed)?;
        // Postgres's fallback folder is named after it: one folder, one name.
        let root = root.canonicalize().map_err(failed)?;
        let owner_lock = take_owner_lock(&root.join(OWNER_LOCK))?;
        let guard_lock = wait_for_guard_lock(&root.join(GUARD_LOCK))?;
        Ok((Self { root, _owner_lock: owner_lock }, guard_lock))
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// Removes all but the locks.
    pub(crate) fn wipe(&self) -> Result<(), FolderError> {
        let failed = |error| FolderError::Io(self.root.clone(), error);
        for entry in fs::read_dir(&self.root).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            if ![OWNER_LOCK, GUARD_LOCK].iter().any(|lock| path.ends_with(lock)) {
                remove(&path).map_err(|error| FolderError::Io(path, error))?;
            }
        }
        Ok(())
    }
}

/// Removes a file or a folder with all in it; neither being there is fine.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Writes a file of mode 0600 in one step: readers see the old content or the new.
pub(crate) fn write_private(path: &Path, content: &[u8]) -> io::Result<()> {
    let new = path.with_extension("new");
    remove(&new)?;
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&new, path)
}

fn open_lock(path: &Path) -> Result<File, FolderError> {
    let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
    opened.map_err(|error| FolderError::Io(path.to_path_buf(), error))
}

fn take_owner_lock(path: &Path) -> Result<File, FolderError> {
    let mut lock = open_lock(path)?;
    let failed = |error| FolderError::Io(path.to_path_buf(), error);
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut pid = String::new();
            lock.read_to_string(&mut pid).map_err(failed)?;
            return Err(FolderError::InUse { pid: pid.trim().parse().unwrap_or(0) });
        }
        Err(TryLockError::Error(error)) => return Err(failed(error)),
    }
    lock.set_len(0).map_err(failed)?;
    lock.rewind().map_err(failed)?;
    writeln!(lock, "{}", std::process::id()).map_err(failed)?;
    Ok(lock)
}

fn wait_for_guard_lock(path: &Path) -> Result<File, FolderError> {
    let lock = open_lock(path)?;
    // The guard grants each server 10 s, so it may need a little more than a server's start.
    if process::poll(READY_MAX * 2, || lock.try_lock().is_ok()) { Ok(lock) } else { Err(FolderError::StillStopping) }
}

#[cfg(test)]
mod tests {
    use super::{Folder, FolderError, write_private};
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_taken_folder_is_refused_with_the_owner_s_process_id_until_it_is_let_go() {
        let folder = tempfile::tempdir().unwrap();
        let held = Folder::take(folder.path()).unwrap();
        let refused = Folder::take(folder.path());
        assert!(matches!(refused, Err(FolderError::InUse { pid }) if pid == std::process::id()));
        drop(held);
        Folder::take(folder.path()).unwrap();
    }

    #[test]
    fn a_private_file_is_for_its_owner_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secrets.json");
        write_private(&path, b"{}").unwrap();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }
}
