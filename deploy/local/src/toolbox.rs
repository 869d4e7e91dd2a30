//! Which server programs this machine has. `install.sh` looks in the same places.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The command that mends every [`ToolError`].
const REMEDY: &str = "deploy/local/install.sh";
const POSTGRES_LEAST: Version = Version { major: 15, minor: 0 };
const NATS_LEAST: Version = Version { major: 2, minor: 14 };

/// The first two numbers of a server's version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// First number.
    pub major: u32,
    /// Second number; 0 when the program prints only one.
    pub minor: u32,
}

impl fmt::Display for Version {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}", self.major, self.minor)
    }
}

/// One of the two servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tool {
    /// The Postgres server with `initdb`, 15 or newer.
    Postgres,
    /// The NATS server, 2.14 or newer.
    NatsServer,
}

impl fmt::Display for Tool {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Postgres => "Postgres",
            Self::NatsServer => "nats-server",
        })
    }
}

/// Where Postgres is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostgresTools {
    /// Folder with `postgres`, `initdb` and `pg_ctl`.
    pub bin_dir: PathBuf,
    /// What `postgres --version` says.
    pub version: Version,
}

/// Where nats-server is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NatsTools {
    /// The program.
    pub binary: PathBuf,
    /// What `nats-server --version` says.
    pub version: Version,
}

/// Both servers' programs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Toolbox {
    /// Postgres.
    pub postgres: PostgresTools,
    /// nats-server.
    pub nats: NatsTools,
}

/// Why a server's program cannot be used. Run `deploy/local/install.sh`.
#[derive(Debug, thiserror::Error)]
pub enum ToolError {
    /// Found nowhere. Install it.
    #[error("{tool} is missing ({needed} or newer is needed); run: {REMEDY}")]
    Missing {
        /// Which server.
        tool: Tool,
        /// The least version that serves.
        needed: Version,
    },
    /// Only older ones were found. Install a newer one.
    #[error("{tool} {found} at {} is too old ({needed} or newer is needed); run: {REMEDY}", path.display())]
    TooOld {
        /// Which server.
        tool: Tool,
        /// The newest that was found.
        found: Version,
        /// The least version that serves.
        needed: Version,
        /// Where it was found.
        path: PathBuf,
    },
}

/// One line of `farmera doctor`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What was examined: `Postgres` or `nats-server`.
    pub name: String,
    /// How it is.
    pub state: FindingState,
    /// Version and place, or what is wrong; one line.
    pub detail: String,
    /// The command that mends it; `None` when all is well.
    pub remedy: Option<String>,
}

/// How an examined thing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FindingState {
    /// Usable.
    Ok,
    /// Not there.
    Missing,
    /// There, but not new enough.
    TooOld,
}

impl Toolbox {
    /// Finds both servers. `FARMERA_POSTGRES_BIN` (a folder) and `FARMERA_NATS_SERVER` (a file)
    /// are final when set; else `.farmera/tools` below `project_root`, `PATH`, system folders.
    ///
    /// # Errors
    /// [`ToolError`] for the first server that is missing or too old.
    pub fn find(project_root: &Path) -> Result<Self, ToolError> {
        Ok(Self { postgres: find_postgres(project_root)?, nats: find_nats(project_root)? })
    }

    /// The same search for a report: always two findings, Postgres first.
    #[must_use]
    pub fn examine(project_root: &Path) -> Vec<Finding> {
        let postgres = find_postgres(project_root).map(|tools| (tools.version, tools.bin_dir));
        let nats = find_nats(project_root).map(|tools| (tools.version, tools.binary));
        vec![finding(Tool::Postgres, postgres), finding(Tool::NatsServer, nats)]
    }
}

fn finding(tool: Tool, found: Result<(Version, PathBuf), ToolError>) -> Finding {
    let (state, detail) = match found {
        Ok((version, path)) => (FindingState::Ok, format!("{version} at {}", path.display())),
        Err(error @ ToolError::Missing { .. }) => (FindingState::Missing, error.to_string()),
        Err(error @ ToolError::TooOld { .. }) => (FindingState::TooOld, error.to_string()),
    };
    let remedy = (state != FindingState::Ok).then(|| REMEDY.to_owned());
    Finding { name: tool.to_string(), state, detail, remedy }
}

fn find_postgres(project_root: &Path) -> Result<PostgresTools, ToolError> {
    let candidates = match override_path("FARMERA_POSTGRES_BIN") {
        Some(folder) => vec![folder],
        None => postgres_folders(project_root),
    };
    let found = candidates.iter().filter_map(|folder| postgres_in(folder));
    let (bin_dir, version) = first_new_enough(Tool::Postgres, POSTGRES_LEAST, found)?;
    Ok(PostgresTools { bin_dir, version })
}

fn find_nats(project_root: &Path) -> Result<NatsTools, ToolError> {
    let candidates = match override_path("FARMERA_NATS_SERVER") {
        Some(file) => vec![file],
        None => nats_files(project_root),
    };
    let found = candidates.into_iter().filter_map(|file| {
        // The server is started in another folder than ours.
        let file = std::path::absolute(file).ok()?;
        let version = version_of(&file)?;
        Some((file, version))
    });
    let (binary, version) = first_new_enough(Tool::NatsServer, NATS_LEAST, found)?;
    Ok(NatsTools { binary, version })
}

fn first_new_enough(
    tool: Tool,
    needed: Version,
    found: impl Iterator<Item = (PathBuf, Version)>,
) -> Result<(PathBuf, Version), ToolError> {
    let mut newest: Option<(PathBuf, Version)> = None;
    for (path, version) in found {
        if version >= needed {
            return Ok((path, version));
        }
        if newest.as_ref().is_none_or(|(_, other)| version > *other) {
            newest = Some((path, version));
        }
    }
    Err(match newest {
        Some((path, found)) => ToolError::TooOld { tool, found, needed, path },
        None => ToolError::Missing { tool, needed },
    })
}

fn postgres_folders(project_root: &Path) -> Vec<PathBuf> {
    let mut folders = vec![tools_folder(project_root).join("postgres/bin")];
    folders.extend(search_path());
    folders.extend(newest_first("/usr/lib/postgresql", ""));
    folders.extend(newest_first("/opt/homebrew/opt", "postgresql@"));
    folders.extend(newest_first("/usr/local/opt", "postgresql@"));
    folders
}

fn nats_files(project_root: &Path) -> Vec<PathBuf> {
    let mut files = vec![tools_folder(project_root).join("nats-server")];
    let brew = ["/opt/homebrew/bin", "/usr/local/bin"].map(PathBuf::from);
    files.extend(search_path().into_iter().chain(brew).map(|folder| folder.join("nats-server")));
    files
}

fn tools_folder(project_root: &Path) -> PathBuf {
    project_root.join(".farmera/tools")
}

fn search_path() -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).filter(|folder| folder.is_absolute()).collect()
}

/// `<parent>/<prefix><number>/bin`, greatest number first.
fn newest_first(parent: &str, prefix: &str) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(parent) else { return Vec::new() };
    let mut numbered: Vec<(u32, PathBuf)> = entries
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name();
            let number = name.to_str()?.strip_prefix(prefix)?.parse().ok()?;
            Some((number, entry.path().join("bin")))
        })
        .collect();
    numbered.sort_by_key(|(number, _)| std::cmp::Reverse(*number));
    numbered.into_iter().map(|(_, folder)| folder).collect()
}

/// A link farm or a lone wrapper in PATH is judged by the folder its program really lives in.
fn postgres_in(folder: &Path) -> Option<(PathBuf, Version)> {
    let program = folder.join("postgres").canonicalize().ok()?;
    let real = program.parent()?;
    let whole = ["initdb", "postgres", "pg_ctl"].iter().all(|name| real.join(name).is_file());
    if !whole {
        return None;
    }
    Some((real.to_path_buf(), version_of(&program)?))
}

fn override_path(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).filter(|value: &OsString| !value.is_empty()).map(PathBuf::from)
}

fn version_of(program: &Path) -> Option<Version> {
    let output = Command::new(program).arg("--version").stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    if !output.status.success() {
        return None;
    }
    parse_version(&String::from_utf8_lossy(&output.stdout))
}

/// Reads `postgres (PostgreSQL) 15.18 (Debian ..)`, `nats-server: v2.15.1`, `.. 19beta1`.
fn parse_version(printed: &str) -> Option<Version> {
    let word = printed
        .split_whitespace()
        .map(|word| word.trim_start_matches('v'))
        .find(|word| word.starts_with(|first: char| first.is_ascii_digit()))?;
    let mut numbers = word.split(|other: char| !other.is_ascii_digit()).map(|digits| digits.parse().ok());
    let major = numbers.next()??;
    let minor = if word.contains('.') { numbers.next().flatten().unwrap_or(0) } else { 0 };
    Some(Version { major, minor })
}

#[cfg(test)]
mod tests {
    use super::{NATS_LEAST, Tool, ToolError, Version, first_new_enough, parse_version};
    use std::path::PathBuf;

    #[test]
    fn the_version_is_read_from_what_each_server_prints() {
        let read = |text| parse_version(text).map(|version| version.to_string());
        assert_eq!(read("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)"), Some("15.18".into()));
        assert_eq!(read("postgres (PostgreSQL) 19beta1"), Some("19.0".into()));
        assert_eq!(read("nats-server: v2.15.1"), Some("2.15".into()));
        assert_eq!(read("no number here"), None);
    }

    #[test]
    fn an_old_server_is_named_with_both_versions_and_the_remedy() {
        let old = Version { major: 2, minor: 9 };
        let found = [(PathBuf::from("/usr/sbin/nats-server"), old)].into_iter();
        let error = first_new_enough(Tool::NatsServer, NATS_LEAST, found).unwrap_err();
        assert!(matches!(error, ToolError::TooOld { found, .. } if found == old));
        let text = error.to_string();
        assert!(text.contains("2.9") && text.contains("2.14") && text.contains("install.sh"), "{text}");
    }

    #[test]
    fn a_newer_server_later_in_the_search_wins_over_an_old_one() {
        let found = [(PathBuf::from("/a"), Version { major: 2, minor: 9 }), (PathBuf::from("/b"), NATS_LEAST)];
        let (path, _) = first_new_enough(Tool::NatsServer, NATS_LEAST, found.into_iter()).unwrap();
        assert_eq!(path, PathBuf::from("/b"));
    }
}
