//! Both servers of one state folder, from start to stop.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::errors::{LaunchError, StartError, UnknownName};
use crate::folder::{self, Folder};
use crate::guard::{Guard, Role};
use crate::nats::Nats;
use crate::options::{DatabaseSpec, ServersOptions};
use crate::ports::{self, Ports};
use crate::postgres::{Postgres, SUPERUSER};
use crate::provision::{self, StoppedCluster};
use crate::running::Running;
use crate::secrets::{self, Secrets};
use crate::toolbox::{Tool, Toolbox};

/// Another process may bind a port between our look and the server's.
const PORT_ATTEMPTS_MAX: usize = 4;

/// A running Postgres and a running nats-server that belong to this process. They stop at
/// [`Servers::stop`], at the drop of this value, and when the process dies in whatever way.
#[derive(Debug)]
pub struct Servers {
    pub(crate) postgres: Postgres,
    pub(crate) nats: Nats,
    ports: Ports,
    secrets: Secrets,
    databases: Vec<DatabaseSpec>,
    running: Mutex<Running>,
    /// Last: the folder is let go only after the servers have stopped.
    folder: Folder,
}

impl Servers {
    /// Starts both servers on the data of `options.root`, made when missing, and returns once
    /// both answer: about 0.2 s on existing data, 1 s on none.
    ///
    /// # Errors
    /// [`StartError`]; each variant says what to do.
    pub fn start(options: ServersOptions) -> Result<Self, StartError> {
        check_names(&options.databases)?;
        let toolbox = match options.toolbox.clone() {
            Some(toolbox) => toolbox,
            None => Toolbox::find(&crate::project_root())?,
        };
        let (folder, guard_lock) =
            Folder::take(&options.root).map_err(|error| StartError::of_folder(error, &options.root))?;
        let failed = |source| StartError::Folder { path: folder.root().to_path_buf(), source };
        let postgres =
            Postgres::plan(toolbox.postgres.clone(), &folder, options.postgres_settings.clone()).map_err(failed)?;
        let random = secrets::random_hex().map_err(failed)?;
        let nats_settings = (options.nats_settings.clone(), options.jetstream_settings.clone());
        let nats = Nats::plan(toolbox.nats.clone(), &folder, &random, nats_settings, options.nats_monitoring);
        clear_the_ground(&options, &folder, &postgres, &nats)?;
        let guard = Guard::start(guard_lock, nats.binary(), &folders_to_remove(&options, &folder, &postgres))
            .map_err(failed)?;
        let roles = options.databases.iter().flat_map(|database| [&database.owner_role, &database.service_role]);
        let secrets = Secrets::load(folder.root(), roles.map(String::as_str)).map_err(failed)?;
        let ports = Ports::load(folder.root()).map_err(failed)?;
        let running = Mutex::new(Running::new(guard));
        let mut servers = Self { postgres, nats, ports, secrets, databases: options.databases, running, folder };
        servers.prepare_cluster(&toolbox, options.temporary)?;
        servers.launch_on_a_free_port(Role::Nats)?;
        servers.launch_on_a_free_port(Role::Postgres)?;
        Ok(servers)
    }

    /// URL of a database for one of its two roles.
    ///
    /// # Errors
    /// [`UnknownName`] when the options did not name the database with this role.
    pub fn postgres_url(&self, database: &str, role: &str) -> Result<String, UnknownName> {
        let spec = self.database(database)?;
        let password =
            self.secrets.roles.get(role).filter(|_| [&spec.owner_role, &spec.service_role].contains(&&role.to_owned()));
        let password = password.ok_or_else(|| UnknownName(role.to_owned()))?;
        Ok(self.url(role, password, database))
    }

    /// URL of a database for its owner: migrations.
    ///
    /// # Errors
    /// [`UnknownName`] when the options did not name the database.
    pub fn owner_url(&self, database: &str) -> Result<String, UnknownName> {
        let spec = self.database(database)?;
        self.postgres_url(database, &spec.owner_role)
    }

    /// URL of a database for its service.
    ///
    /// # Errors
    /// [`UnknownName`] when the options did not name the database.
    pub fn service_url(&self, database: &str) -> Result<String, UnknownName> {
        let spec = self.database(database)?;
        self.postgres_url(database, &spec.service_role)
    }

    /// The same over Postgres's socket, which costs both sides less than TCP does; over TCP where there is no socket.
    ///
    /// # Errors
    /// [`UnknownName`] when the options did not name the database.
    pub fn service_socket_url(&self, database: &str) -> Result<String, UnknownName> {
        let url = self.service_url(database)?;
        Ok(match self.postgres.socket_folder(self.ports.postgres) {
            Some(folder) => format!("{url}?host={folder}"),
            None => url,
        })
    }

    /// URL of the database `postgres` for the superuser: tests that make their own databases.
    #[must_use]
    pub fn admin_url(&self) -> String {
        self.url(SUPERUSER, &self.secrets.superuser, SUPERUSER)
    }

    /// URL of the nats-server.
    #[must_use]
    pub fn nats_url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.ports.nats)
    }

    /// URL of the nats-server's monitoring page, when the options asked for it.
    #[must_use]
    pub fn nats_monitor_url(&self) -> Option<String> {
        self.nats.monitoring().then(|| format!("http://127.0.0.1:{}", self.ports.nats_monitor))
    }

    /// The state folder, symbolic links resolved. The logs `postgres.log` and `nats.log` are there.
    #[must_use]
    pub fn root(&self) -> &Path {
        self.folder.root()
    }

    /// Process id of the Postgres postmaster; `None` while it is killed.
    #[must_use]
    pub fn postgres_pid(&self) -> Option<u32> {
        self.running().pid(Role::Postgres)
    }

    /// Process id of the nats-server; `None` while it is killed.
    #[must_use]
    pub fn nats_pid(&self) -> Option<u32> {
        self.running().pid(Role::Nats)
    }

    /// Kills nats-server with SIGKILL; nothing when it does not run.
    pub fn kill_nats(&self) {
        self.running().kill(Role::Nats);
    }

    /// Starts nats-server again, on its old port and store; nothing when it runs.
    ///
    /// # Errors
    /// [`StartError::Ended`] or [`StartError::Silent`].
    pub fn start_nats(&self) -> Result<(), StartError> {
        self.launch(Role::Nats).map_err(|error| self.start_error(Role::Nats, error))
    }

    /// Kills the Postgres postmaster with SIGKILL; nothing when it does not run. Its other
    /// processes notice and end by themselves; [`Servers::start_postgres`] waits for that.
    pub fn kill_postgres(&self) {
        self.running().kill(Role::Postgres);
    }

    /// Starts Postgres again, on its old port and data, through crash recovery if needed;
    /// nothing when it runs.
    ///
    /// # Errors
    /// [`StartError::Ended`] or [`StartError::Silent`].
    pub fn start_postgres(&self) -> Result<(), StartError> {
        self.launch(Role::Postgres).map_err(|error| self.start_error(Role::Postgres, error))
    }

    /// Stops Postgres (fast shutdown), then nats-server; each gets 10 s before it is killed.
    /// Removes the folder of temporary servers. Dropping does the same.
    pub fn stop(self) {
        drop(self);
    }

    fn prepare_cluster(&self, toolbox: &Toolbox, temporary: bool) -> Result<(), StartError> {
        let home = self.postgres.home();
        let failed = |source| StartError::Folder { path: home.to_path_buf(), source };
        if let Some((user, bin_dir)) = self.postgres.unreachable_programs() {
            return Err(StartError::ProgramsUnreachable { user: user.to_owned(), bin_dir: bin_dir.to_path_buf() });
        }
        if let Some(data) = self.postgres.other_major() {
            let server = toolbox.postgres.version.major;
            return Err(StartError::OtherMajor { home: home.to_path_buf(), data, server });
        }
        let made = self.postgres.ensure_cluster(&self.secrets, !temporary).map_err(failed)?;
        made.map_err(|output| StartError::Initdb { output })?;
        let cluster = StoppedCluster {
            postgres: &self.postgres.program("postgres"),
            account: self.postgres.account(),
            data: &self.postgres.data(),
            home,
        };
        Ok(cluster.provision(&self.databases, &self.secrets)?)
    }

    /// First start: a port that was lost to another process is replaced by another one.
    fn launch_on_a_free_port(&mut self, role: Role) -> Result<(), StartError> {
        let mut attempts_left = PORT_ATTEMPTS_MAX;
        loop {
            let Err(error) = self.launch(role) else { return Ok(()) };
            attempts_left -= 1;
            if attempts_left == 0 || !self.lost_a_port(role) {
                return Err(self.start_error(role, error));
            }
            let failed = |source| StartError::Folder { path: self.folder.root().to_path_buf(), source };
            self.ports = self.ports.replaced(role).and_then(|ports| ports.saved(self.folder.root())).map_err(failed)?;
        }
    }

    /// The server has ended, so a port of its that is taken belongs to somebody else.
    fn lost_a_port(&self, role: Role) -> bool {
        match role {
            Role::Postgres => !ports::is_free(self.ports.postgres),
            Role::Nats => {
                !ports::is_free(self.ports.nats) || (self.nats.monitoring() && !ports::is_free(self.ports.nats_monitor))
            }
        }
    }

    fn launch(&self, role: Role) -> Result<(), LaunchError> {
        let mut running = self.running();
        if running.is_up(role) {
            return Ok(());
        }
        let child = match role {
            Role::Postgres => self.postgres.launch(running.guard(), self.ports.postgres)?,
            Role::Nats => self.nats.launch(running.guard(), self.ports)?,
        };
        running.put(role, child);
        Ok(())
    }

    fn start_error(&self, role: Role, error: LaunchError) -> StartError {
        match role {
            Role::Postgres => error.into_start_error(Tool::Postgres, self.postgres.log()),
            Role::Nats => error.into_start_error(Tool::NatsServer, self.nats.log()),
        }
    }

    fn database(&self, name: &str) -> Result<&DatabaseSpec, UnknownName> {
        self.databases.iter().find(|database| database.name == name).ok_or_else(|| UnknownName(name.to_owned()))
    }

    fn url(&self, role: &str, password: &str, database: &str) -> String {
        format!("postgres://{role}:{password}@127.0.0.1:{}/{database}", self.ports.postgres)
    }

    pub(crate) fn running(&self) -> MutexGuard<'_, Running> {
        // A panic elsewhere must not keep us from stopping the servers.
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        self.running().stop_all();
    }
}

fn check_names(databases: &[DatabaseSpec]) -> Result<(), StartError> {
    let names = databases.iter().flat_map(|spec| [&spec.name, &spec.owner_role, &spec.service_role]);
    match names.into_iter().find(|name| !provision::is_valid_name(name)) {
        Some(name) => Err(StartError::Name { name: name.clone() }),
        None => Ok(()),
    }
}

/// Ends what an earlier owner left running (its guard was killed, too), then wipes if asked.
fn clear_the_ground(
    options: &ServersOptions,
    folder: &Folder,
    postgres: &Postgres,
    nats: &Nats,
) -> Result<(), StartError> {
    postgres.stop_stale();
    nats.stop_stale();
    if !options.fresh && !options.temporary {
        return Ok(());
    }
    let path = postgres.home().to_path_buf();
    folder::remove(&path).map_err(|source| StartError::Folder { path, source })?;
    folder.wipe().map_err(|error| StartError::of_folder(error, folder.root()))
}

fn folders_to_remove(options: &ServersOptions, folder: &Folder, postgres: &Postgres) -> Vec<PathBuf> {
    if !options.temporary {
        return Vec::new();
    }
    vec![postgres.home().to_path_buf(), folder.root().to_path_buf()]
}
