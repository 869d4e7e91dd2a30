//! As whom Postgres runs, and where its files can be.
//!
//! Postgres refuses to run as root. Then it runs as `postgres` or `nobody`, who must be able to
//! walk to its files: not so below `/root` or in a 0700 folder of root. The files then live in
//! `/var/tmp` under a name derived from the state folder.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::{Digest, Sha256};

use crate::process;

/// As whom a server runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Account {
    /// As whoever we are.
    Ourselves,
    /// We are root, the server is this user.
    Other { name: String, uid: u32, gid: u32 },
}

impl Account {
    /// For Postgres: ourselves, unless we are root.
    pub(crate) fn for_postgres() -> io::Result<Self> {
        if !process::is_root() {
            return Ok(Self::Ourselves);
        }
        let users = fs::read_to_string("/etc/passwd")?;
        ["postgres", "_postgres", "nobody"]
            .iter()
            .find_map(|name| user_in(&users, name))
            .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no user postgres or nobody in /etc/passwd"))
    }

    /// Makes a command run as this user. The current folder may be closed to it, so it starts
    /// in `/`; std drops root's supplementary groups.
    pub(crate) fn apply(&self, command: &mut Command) {
        command.current_dir("/");
        match self {
            Self::Ourselves => {}
            Self::Other { uid, gid, .. } => {
                command.uid(*uid).gid(*gid).env("HOME", "/");
            }
        }
    }

    /// Makes a folder of mode 0700 that belongs to this user, or takes an existing one over.
    /// Refuses what another user laid in its place.
    pub(crate) fn own_folder(&self, folder: &Path) -> io::Result<()> {
        match DirBuilder::new().mode(0o700).create(folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let Self::Other { uid, gid, .. } = self else { return Ok(()) };
        let metadata = fs::symlink_metadata(folder)?;
        if !metadata.is_dir() || ![0, *uid].contains(&metadata.uid()) {
            let text = format!("{} belongs to someone else", folder.display());
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, text));
        }
        chown(folder, Some(*uid), Some(*gid))?;
        fs::set_permissions(folder, fs::Permissions::from_mode(0o700))
    }

    /// Gives one file to this user.
    pub(crate) fn own_file(&self, file: &Path) -> io::Result<()> {
        match self {
            Self::Ourselves => Ok(()),
            Self::Other { uid, gid, .. } => chown(file, Some(*uid), Some(*gid)),
        }
    }

    /// Can this user walk to (and into) an existing path? Looks at the permission for others
    /// only, which may refuse too much but never too little.
    pub(crate) fn reaches(&self, path: &Path) -> bool {
        match self {
            Self::Ourselves => true,
            Self::Other { .. } => path
                .ancestors()
                .all(|part| fs::metadata(part).is_ok_and(|metadata| metadata.permissions().mode() & 0o001 != 0)),
        }
    }
}

fn user_in(users: &str, name: &str) -> Option<Account> {
    users.lines().find_map(|line| {
        let mut fields = line.split(':');
        if fields.next()? != name {
            return None;
        }
        let uid = fields.nth(1)?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        Some(Account::Other { name: name.to_owned(), uid, gid })
    })
}

/// Where Postgres keeps its files when its user cannot reach the state folder.
pub(crate) fn fallback_folder(state_folder: &Path) -> PathBuf {
    use std::os::unix::ffi::OsStrExt;
    let digest = Sha256::digest(state_folder.as_os_str().as_bytes());
    let hash: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    PathBuf::from(format!("/var/tmp/farmera-{hash}"))
}

#[cfg(test)]
mod tests {
    use super::{Account, user_in};
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_user_is_read_with_its_numbers() {
        let users = "root:x:0:0:root:/root:/bin/bash\nnobody:x:65534:65533:nobody:/:/bin/false\n";
        let expected = Account::Other { name: "nobody".into(), uid: 65534, gid: 65533 };
        assert_eq!(user_in(users, "nobody"), Some(expected));
        assert_eq!(user_in(users, "postgres"), None);
    }

    #[test]
    fn a_closed_ancestor_is_out_of_reach_for_another_user_and_not_for_ourselves() {
        let closed = tempfile::tempdir().unwrap();
        let inner = closed.path().join("inner");
        fs::create_dir(&inner).unwrap();
        fs::set_permissions(closed.path(), Permissions::from_mode(0o700)).unwrap();
        let other = Account::Other { name: "nobody".into(), uid: 65534, gid: 65534 };
        assert!(!other.reaches(&inner));
        assert!(Account::Ourselves.reaches(&inner));
    }
}
