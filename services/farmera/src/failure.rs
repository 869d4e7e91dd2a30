//! How a command ends when it does not end well.

use std::process::ExitCode;

/// Why a command ended: one line for people, and an exit code for scripts.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Something went wrong, or is not as it should be. Exit code 1.
    #[error("{0}")]
    Failed(String),
    /// Wrong usage or configuration, a taken port, a missing or wrong server: trying again unchanged is useless. Exit
    /// code 2.
    #[error("{0}")]
    Setup(String),
    /// What was asked for is not there. Exit code 3.
    #[error("{0}")]
    NotFound(String),
    /// Whom we asked does not answer; try again. Exit code 7.
    #[error("{0}")]
    Unavailable(String),
}

impl Failure {
    /// The exit code for scripts.
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::Failed(_) => 1,
            Self::Setup(_) => 2,
            Self::NotFound(_) => 3,
            Self::Unavailable(_) => 7,
        })
    }
}
