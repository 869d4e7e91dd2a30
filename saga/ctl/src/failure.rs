//! How a command ends when it does not end well.

/// Why a command ended: a line for people, and an exit code for scripts.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Something went wrong. Exit code 1.
    #[error("{0}")]
    Failed(String),
    /// Wrong usage, a query that means nothing, a context file that cannot be read: asking again unchanged is useless.
    /// Exit code 2.
    #[error("{0}")]
    Usage(String),
    /// What was asked for is not there. Exit code 3.
    #[error("{0}")]
    NotFound(String),
    /// A plan rests on something that has moved, or the thing's state does not allow the act. Plan again. Exit code 4.
    #[error("{0}")]
    Conflict(String),
    /// The server does not let this caller do it, or wants a second person. Exit code 5.
    #[error("{0}")]
    Denied(String),
    /// A job did a part of its work. Exit code 6.
    #[error("{0}")]
    Partly(String),
    /// Whom we asked does not answer, or not in time; try again. Exit code 7.
    #[error("{0}")]
    Unavailable(String),
    /// `saga wait`: the saga ended undone or abandoned. Exit code 8.
    #[error("{0}")]
    Compensated(String),
    /// `saga wait`: the saga needs an operator. Exit code 9.
    #[error("{0}")]
    Stuck(String),
    /// Somebody pressed Ctrl-C; what runs in the server goes on. Exit code 130.
    #[error("{0}")]
    Interrupted(String),
    /// Whoever read our output has enough (`| head`). Nothing is said, exit code 0.
    #[error("the reader went away")]
    ReaderGone,
}

impl Failure {
    /// The exit code for scripts.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::ReaderGone => 0,
            Self::Failed(_) => 1,
            Self::Usage(_) => 2,
            Self::NotFound(_) => 3,
            Self::Conflict(_) => 4,
            Self::Denied(_) => 5,
            Self::Partly(_) => 6,
            Self::Unavailable(_) => 7,
            Self::Compensated(_) => 8,
            Self::Stuck(_) => 9,
            Self::Interrupted(_) => 130,
        }
    }
}
