//! What the tests of the command line share.

#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::panic,
    reason = "each test file uses its part of it, and fails by panicking"
)]

pub mod operator;
pub mod pages;

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// What a command said and how it ended.
#[derive(Debug)]
pub struct Said {
    /// Its exit code.
    pub code: i32,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl From<Output> for Said {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

/// `sagactl` as a process that knows nothing but what a test says.
pub fn command(arguments: &[&str], environment: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sagactl"));
    command.args(arguments).env_clear().env("SAGACTL_CONFIG", "/nonexistent/contexts.yaml");
    command.envs(environment.iter().copied()).stdin(Stdio::null());
    command
}

/// Runs it to its end.
pub fn sagactl(arguments: &[&str], environment: &[(&str, &str)]) -> Said {
    command(arguments, environment).output().unwrap().into()
}

/// Compares with the file; writes it when `UPDATE_GOLDEN` is set.
pub fn golden(file: &Path, shown: &str) {
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, shown).unwrap();
        return;
    }
    let expected = fs::read_to_string(file).unwrap_or_default();
    let name = file.display();
    assert_eq!(expected, shown, "{name} differs: look at it, and run the test with UPDATE_GOLDEN=1 if it is meant");
}
