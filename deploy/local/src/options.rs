//! What a caller asks for.

use std::path::PathBuf;

use crate::Toolbox;

/// One service's database. All three names: lower-case letters, digits and `_`, a letter first,
/// at most 63 bytes. Roles may be shared between databases.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatabaseSpec {
    /// Name of the database.
    pub name: String,
    /// Owns the database and may log in; for migrations.
    pub owner_role: String,
    /// May log in and use the schema `public`, not create in it; the owner grants it the tables.
    /// Carries server-side time limits (statement 10 s, lock 5 s, idle in transaction 5 s).
    pub service_role: String,
}

impl DatabaseSpec {
    /// Names by value.
    pub fn new(name: impl Into<String>, owner_role: impl Into<String>, service_role: impl Into<String>) -> Self {
        Self { name: name.into(), owner_role: owner_role.into(), service_role: service_role.into() }
    }
}

/// How to start the servers. Begin with [`ServersOptions::new`] and change what differs.
#[derive(Debug, Clone)]
pub struct ServersOptions {
    /// State folder, for example `<project>/.farmera/up`; created when missing. One live process
    /// at a time uses it.
    pub root: PathBuf,
    /// Wipe all data first.
    pub fresh: bool,
    /// Remove the folder when the servers stop or their owner dies.
    pub temporary: bool,
    /// Databases and roles that shall exist; made when missing, never dropped.
    pub databases: Vec<DatabaseSpec>,
    /// Further `-c name=value` settings of Postgres; they win over ours.
    pub postgres_settings: Vec<(String, String)>,
    /// Further lines of the nats-server configuration, at top level (`max_payload: 2MB`).
    pub nats_settings: Vec<String>,
    /// Further lines of its `jetstream` block (`sync_interval: always`).
    pub jetstream_settings: Vec<String>,
    /// Serve the nats-server's HTTP monitoring page, see [`crate::Servers::nats_monitor_url`].
    pub nats_monitoring: bool,
    /// Which programs to run; `None` finds them from [`crate::project_root`].
    pub toolbox: Option<Toolbox>,
}

impl ServersOptions {
    /// Keeps existing data, no databases, no further settings.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self {
            root: root.into(),
            fresh: false,
            temporary: false,
            databases: Vec::new(),
            postgres_settings: Vec::new(),
            nats_settings: Vec::new(),
            jetstream_settings: Vec::new(),
            nats_monitoring: false,
            toolbox: None,
        }
    }
}
