//! Passwords: made once per state folder, kept there in a file of mode 0600.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::folder;

const FILE: &str = "secrets.json";

/// All passwords of one state folder; hexadecimal, so they need no quoting anywhere.
#[derive(Serialize, Deserialize)]
pub(crate) struct Secrets {
    pub(crate) superuser: String,
    pub(crate) roles: BTreeMap<String, String>,
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Secrets").finish_non_exhaustive()
    }
}

impl Secrets {
    /// Reads the folder's passwords, makes those that are missing and writes them back. A file
    /// that cannot be understood is made anew: the passwords in Postgres follow this file.
    pub(crate) fn load<'role>(folder: &Path, roles: impl Iterator<Item = &'role str>) -> io::Result<Self> {
        let path = folder.join(FILE);
        let stored = fs::read(&path).ok().and_then(|text| serde_json::from_slice(&text).ok());
        let mut secrets = match stored {
            Some(secrets) => secrets,
            None => Self { superuser: random_hex()?, roles: BTreeMap::new() },
        };
        for role in roles {
            if !secrets.roles.contains_key(role) {
                secrets.roles.insert(role.to_owned(), random_hex()?);
            }
        }
        let text = serde_json::to_vec_pretty(&secrets).map_err(io::Error::from)?;
        folder::write_private(&path, &text)?;
        Ok(secrets)
    }
}

/// 24 random bytes from the system, as 48 hexadecimal digits.
pub(crate) fn random_hex() -> io::Result<String> {
    let mut bytes = [0_u8; 24];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::Secrets;

    #[test]
    fn a_role_keeps_its_password_and_a_new_role_gets_one() {
        let folder = tempfile::tempdir().unwrap();
        let first = Secrets::load(folder.path(), ["a"].into_iter()).unwrap();
        let second = Secrets::load(folder.path(), ["a", "b"].into_iter()).unwrap();
        assert_eq!(first.roles["a"], second.roles["a"]);
        assert_eq!(first.superuser, second.superuser);
        assert_ne!(second.roles["a"], second.roles["b"]);
    }
}
