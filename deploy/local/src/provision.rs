//! Roles and databases, made before the server starts, in Postgres's single-user mode: it needs
//! the server program only (no `psql`, no driver) and no password.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use sha2::{Digest, Sha256};

use crate::account::Account;
use crate::options::DatabaseSpec;
use crate::secrets::Secrets;

/// A service that waits longer than this on its own database is broken, not busy.
const SERVICE_LIMITS: [(&str, &str); 3] =
    [("statement_timeout", "10s"), ("lock_timeout", "5s"), ("idle_in_transaction_session_timeout", "5s")];
const MARKER: &str = "provisioned";

/// Why the roles and databases could not be made.
#[derive(Debug)]
pub(crate) enum ProvisionError {
    Io(PathBuf, io::Error),
    /// Postgres refused; what it printed.
    Refused(String),
}

/// A cluster that is not running.
#[derive(Debug)]
pub(crate) struct StoppedCluster<'cluster> {
    pub(crate) postgres: &'cluster Path,
    pub(crate) account: &'cluster Account,
    pub(crate) data: &'cluster Path,
    /// Holds the note of what was done last.
    pub(crate) home: &'cluster Path,
}

/// Names that Postgres keeps for itself, or that would need quoting, are refused.
pub(crate) fn is_valid_name(name: &str) -> bool {
    let reserved = name.starts_with("pg_") || ["postgres", "public", "none", "template0", "template1"].contains(&name);
    let mut characters = name.chars();
    !reserved
        && name.len() <= 63
        && characters.next().is_some_and(|first| first.is_ascii_lowercase())
        && characters.all(|other| other.is_ascii_lowercase() || other.is_ascii_digit() || other == '_')
}

impl StoppedCluster<'_> {
    /// Brings roles, passwords and databases in line with `databases` and `secrets`. Does nothing
    /// when the same was done before.
    pub(crate) fn provision(&self, databases: &[DatabaseSpec], secrets: &Secrets) -> Result<(), ProvisionError> {
        let marker = self.home.join(MARKER);
        let wanted = fingerprint(databases, secrets);
        if fs::read_to_string(&marker).is_ok_and(|done| done == wanted) {
            return Ok(());
        }
        let existing = self.database_names()?;
        self.run("postgres", &cluster_statements(databases, secrets, &existing))?;
        for database in databases {
            self.run(&database.name, &schema_statements(database))?;
        }
        fs::write(&marker, wanted).map_err(|error| ProvisionError::Io(marker, error))
    }

    fn database_names(&self) -> Result<BTreeSet<String>, ProvisionError> {
        let printed = self.run("postgres", &["select datname from pg_database".to_owned()])?;
        Ok(printed
            .lines()
            .filter_map(|line| Some(line.split_once("datname = \"")?.1.split_once('"')?.0.to_owned()))
            .collect())
    }

    /// Runs statements, one a line; the first error ends it.
    fn run(&self, database: &str, statements: &[String]) -> Result<String, ProvisionError> {
        let failed = |error| ProvisionError::Io(self.postgres.to_path_buf(), error);
        let mut command = Command::new(self.postgres);
        command.arg("--single").arg("-D").arg(self.data);
        // A failed statement would be logged with the password in it.
        for setting in ["exit_on_error=on", "log_min_error_statement=panic", "log_checkpoints=off"] {
            command.args(["-c", setting]);
        }
        command.arg(database).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        self.account.apply(&mut command);
        let mut child = command.spawn().map_err(failed)?;
        let written = child.stdin.take().map(|mut input| input.write_all((statements.join("\n") + "\n").as_bytes()));
        let output = child.wait_with_output().map_err(failed)?;
        if !output.status.success() {
            return Err(ProvisionError::Refused(String::from_utf8_lossy(&output.stderr).trim().to_owned()));
        }
        // A broken pipe with success would mean that statements were left out.
        written.transpose().map_err(failed)?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

fn cluster_statements(databases: &[DatabaseSpec], secrets: &Secrets, existing: &BTreeSet<String>) -> Vec<String> {
    let mut statements = vec![format!("alter role postgres password '{}'", secrets.superuser)];
    for (role, password) in &secrets.roles {
        statements.push(format!(
            "do $$ begin if not exists (select from pg_roles where rolname = '{role}') then create role {role}; end if; end $$"
        ));
        statements.push(format!("alter role {role} login password '{password}'"));
    }
    for DatabaseSpec { name, owner_role, service_role } in databases {
        for (setting, value) in SERVICE_LIMITS {
            statements.push(format!("alter role {service_role} set {setting} = '{value}'"));
        }
        if !existing.contains(name) {
            statements.push(format!("create database {name} owner {owner_role}"));
        }
        statements.push(format!("alter database {name} owner to {owner_role}"));
        statements.push(format!("revoke connect on database {name} from public"));
        statements.push(format!("grant connect on database {name} to {service_role}"));
    }
    statements
}

fn schema_statements(database: &DatabaseSpec) -> Vec<String> {
    vec![
        "revoke create on schema public from public".to_owned(),
        format!("grant usage on schema public to {}", database.service_role),
    ]
}

fn fingerprint(databases: &[DatabaseSpec], secrets: &Secrets) -> String {
    let mut statements = cluster_statements(databases, secrets, &BTreeSet::new());
    statements.extend(databases.iter().flat_map(schema_statements));
    let digest = Sha256::digest(statements.join("\n").as_bytes());
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::is_valid_name;

    #[test]
    fn a_name_that_would_need_quoting_is_refused() {
        assert!(is_valid_name("orders_service2"));
        for name in ["", "Orders", "2orders", "orders;drop", "or\"ders", "pg_orders", "postgres", &"o".repeat(64)] {
            assert!(!is_valid_name(name), "{name}");
        }
    }
}
