//! What can go wrong, and what the caller does about it.

use std::io;
use std::path::{Path, PathBuf};

use crate::folder::FolderError;
use crate::provision::ProvisionError;
use crate::toolbox::{Tool, ToolError};

/// Why the servers were not started. None of ours is left running then.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A server's program is missing or too old. Run `deploy/local/install.sh`.
    #[error(transparent)]
    Tool(#[from] ToolError),
    /// A database or role has a name we do not take. Choose another.
    #[error("\"{name}\" cannot name a database or role: use a-z, 0-9 and _, a letter first, at most 63")]
    Name {
        /// The refused name.
        name: String,
    },
    /// Another live process uses the state folder. Stop it, or take another folder.
    #[error("{} is in use by process {pid}; stop it first", root.display())]
    InUse {
        /// The state folder.
        root: PathBuf,
        /// Who uses it.
        pid: u32,
    },
    /// The servers of an owner that died do not end. Look for them with `ps`.
    #[error("servers of an earlier run in {} do not stop; end the postgres and nats-server processes there", root.display())]
    StillStopping {
        /// The state folder.
        root: PathBuf,
    },
    /// A file could not be made, read or written. Check its permissions and the free space.
    #[error("cannot use {}", path.display())]
    Folder {
        /// Which file or folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// We are root, and the user that Postgres runs as cannot reach its programs. Start as an
    /// ordinary user, or install Postgres for the whole system.
    #[error("user {user} cannot reach {}; install Postgres with the system's packages or do not run as root", bin_dir.display())]
    ProgramsUnreachable {
        /// As whom Postgres would run.
        user: String,
        /// Where its programs are.
        bin_dir: PathBuf,
    },
    /// The data is of another major version of Postgres. Start fresh, or with that version
    /// (`FARMERA_POSTGRES_BIN`).
    #[error("the data in {} is of Postgres {data}, the server is {server}; start fresh or set FARMERA_POSTGRES_BIN", home.display())]
    OtherMajor {
        /// Where the data is.
        home: PathBuf,
        /// Version that wrote it.
        data: String,
        /// Version that was found.
        server: u32,
    },
    /// `initdb` failed. Its words say why (disk, locale).
    #[error("initdb failed: {output}")]
    Initdb {
        /// What it printed.
        output: String,
    },
    /// Roles or databases could not be made. A bug, or data made by hand: start fresh.
    #[error("cannot prepare roles and databases: {output}")]
    Provision {
        /// What Postgres printed.
        output: String,
    },
    /// A server could not be started or ended at once. Its log says why.
    #[error("{tool} did not start, see {}: {output}", log.display())]
    Ended {
        /// Which server.
        tool: Tool,
        /// Its log file.
        log: PathBuf,
        /// The end of it.
        output: String,
    },
    /// A server did not answer within 15 s. Retry on a quieter machine, or look at its log.
    #[error("{tool} does not answer, see {}: {output}", log.display())]
    Silent {
        /// Which server.
        tool: Tool,
        /// Its log file.
        log: PathBuf,
        /// The end of it.
        output: String,
    },
}

/// Why a fault was not injected.
#[derive(Debug, thiserror::Error)]
pub enum FaultError {
    /// The server runs. Kill it first.
    #[error("the server runs; kill it before its files are touched")]
    Running,
    /// Its files could not be copied, removed or changed.
    #[error("cannot touch the server's files")]
    Store(#[source] io::Error),
    /// The stream holds no message on disk. Publish something first.
    #[error("stream {0} holds no byte that could be flipped")]
    Empty(String),
}

/// The servers were not started with this database or role. Name it in the options.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no database or role {0} was asked for")]
pub struct UnknownName(pub String);

/// Why one start of one server failed.
#[derive(Debug)]
pub(crate) enum LaunchError {
    Spawn(io::Error),
    Ended { output: String },
    Silent { output: String },
}

impl LaunchError {
    pub(crate) fn into_start_error(self, tool: Tool, log: &Path) -> StartError {
        let log = log.to_path_buf();
        match self {
            Self::Spawn(error) => StartError::Ended { tool, log, output: error.to_string() },
            Self::Ended { output, .. } => StartError::Ended { tool, log, output },
            Self::Silent { output } => StartError::Silent { tool, log, output },
        }
    }
}

impl From<ProvisionError> for StartError {
    fn from(error: ProvisionError) -> Self {
        match error {
            ProvisionError::Io(path, source) => Self::Folder { path, source },
            ProvisionError::Refused(output) => Self::Provision { output },
        }
    }
}

impl StartError {
    pub(crate) fn of_folder(error: FolderError, root: &Path) -> Self {
        let root = root.to_path_buf();
        match error {
            FolderError::InUse { pid } => Self::InUse { root, pid },
            FolderError::StillStopping => Self::StillStopping { root },
            FolderError::Io(path, source) => Self::Folder { path, source },
        }
    }
}
