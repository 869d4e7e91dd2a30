//! Everything on this machine: private servers, migrated databases, every service in this process.

mod command;
mod ground;
mod listeners;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use chassis::config::Env;
use farmera_local::Servers;
use futures::future::{join_all, select_all, try_join_all};
use tokio::time::sleep;

use crate::addresses::{self, Addresses, Endpoints, Starting};
use crate::clients::Clients;
use crate::failure::Failure;
use crate::host::{self, Host};
use crate::services::SERVICES;
use crate::up::listeners::Listeners;
use crate::{catalogue, run};

pub use command::{Arguments, READY, command};

/// Services that do not come up within this time never will.
const READY_LIMIT: Duration = Duration::from_secs(60);
/// A machine that has much else to do is asked again.
const SEED_AGAIN_AFTER: Duration = Duration::from_millis(500);
/// Marks a state whose catalogue was put in.
const SEEDED: &str = "catalogue-is-in";

/// How to start everything.
#[derive(Clone, Debug)]
pub struct Options {
    /// The state folder; made when missing, used by one process at a time.
    pub state: PathBuf,
    /// Wipe all data first.
    pub fresh: bool,
    /// Remove the state folder at the end.
    pub temporary: bool,
    /// Take ports that are free (the last ones of this state if they are) instead of the default ones.
    pub free_ports: bool,
    /// Put the catalogue in.
    pub catalogue: bool,
    /// How often every service runs, at least once. All replicas are in this process; those beyond the first take free
    /// ports, and each asks the others' replica of its own number.
    pub replicas: usize,
    /// Variables for the services, beyond the process's environment.
    pub variables: Vec<(String, String)>,
    /// Told of every step that is done.
    pub progress: fn(&str, Duration),
}

impl Options {
    /// Everything on its default ports, on the data that is there.
    #[must_use]
    pub fn new(state: impl Into<PathBuf>) -> Self {
        Self {
            state: state.into(),
            fresh: false,
            temporary: false,
            free_ports: false,
            catalogue: true,
            replicas: 1,
            variables: Vec::new(),
            progress: |_, _| (),
        }
    }

    /// Like `farmera up --fresh --free-ports`, in a folder that is removed at the end.
    #[must_use]
    pub fn throwaway(state: impl Into<PathBuf>) -> Self {
        Self { fresh: true, temporary: true, free_ports: true, ..Self::new(state) }
    }
}

/// Everything, running. Dropped without [`Stack::stop`], nothing is drained, but the servers are stopped.
pub struct Stack {
    /// Where everything is; also in `addresses.json` of the state folder.
    pub addresses: Addresses,
    /// Clients of it.
    pub clients: Clients,
    /// Clients of each further replica.
    pub others: Vec<Clients>,
    /// One per replica.
    hosts: Vec<Host>,
    servers: Servers,
}

impl Stack {
    /// Starts everything; returns when every service is ready and the addresses are written.
    ///
    /// # Errors
    /// [`Failure::Setup`] for taken ports, missing servers, a state in use; nothing is left running then.
    pub async fn start(options: Options) -> Result<Self, Failure> {
        let env = ground::environment(&options.variables);
        let listeners = Listeners::bind(&options, &env).await?;
        let mut further = Vec::new();
        for _ in 1..options.replicas {
            further.push(Listeners::bind_replica().await?);
        }
        let starting = Starting {
            pid: std::process::id(),
            endpoints: listeners.endpoints.clone(),
            admin: listeners.admin_url.clone(),
        };
        // Taken back when this function ends, well or not. Where it cannot be written, others are only told less.
        let _notice = starting.tell(&options.state).ok();
        let progress = options.progress;
        let (servers, postgres) = timed(progress, ground::start(&options)).await?;
        let () = timed(progress, ground::migrate(&servers)).await?;
        ground::save_surroundings(&servers)?;
        let addresses = Addresses {
            pid: std::process::id(),
            endpoints: listeners.endpoints.clone(),
            admin: listeners.admin_url.clone(),
            replicas: further
                .iter()
                .map(|replica| addresses::Replica {
                    endpoints: replica.endpoints.clone(),
                    admin: replica.admin_url.clone(),
                })
                .collect(),
            state: servers.root().to_path_buf(),
            mailbox: ground::mailbox(&servers),
            postgres,
            nats: addresses::Nats { pid: servers.nats_pid(), url: servers.nats_url() },
        };
        let clients = Clients::connect(addresses.endpoints.clone())?;
        let others = further.iter().map(|replica| Clients::connect(replica.endpoints.clone()));
        let others = others.collect::<Result<_, _>>()?;
        let mut stack = Self { addresses, clients, others, hosts: Vec::new(), servers };
        let listeners = std::iter::once(listeners).chain(further).collect();
        match stack.start_services(&options, &env, listeners).await {
            Ok(()) => Ok(stack),
            Err(failure) => {
                stack.stop().await;
                Err(failure)
            }
        }
    }

    async fn start_services(&mut self, options: &Options, env: &Env, replicas: Vec<Listeners>) -> Result<(), Failure> {
        let started = async {
            for listeners in replicas {
                let env = ground::configure(env.clone(), &self.servers, &listeners)?;
                let mut host = Host::new();
                host.serve_admin(listeners.admin, host::metrics()?);
                for (name, listener) in listeners.services {
                    host.start(run::configure(name, &env)?, listener);
                }
                self.hosts.push(host);
            }
            try_join_all(self.hosts.iter_mut().map(|host| host.ready(READY_LIMIT))).await?;
            let each = if self.hosts.len() > 1 { format!(", each {} times", self.hosts.len()) } else { String::new() };
            Ok(((), format!("{} services ready{each}", SERVICES.len())))
        };
        timed(options.progress, started).await?;
        if options.catalogue {
            self.seed_once(options).await?;
        }
        let unwritten = |error| Failure::Setup(format!("cannot write {}: {error}", addresses::FILE));
        self.addresses.save().map_err(unwritten)
    }

    /// Once for a state: who changed the catalogue later keeps the change.
    async fn seed_once(&self, options: &Options) -> Result<(), Failure> {
        let mark = self.addresses.state.join(SEEDED);
        if mark.exists() {
            return Ok(());
        }
        let deadline = Instant::now() + READY_LIMIT;
        let seeded = async {
            // Every part of it has an id of its own: asking again is asking for the same.
            while let Err(failure) = catalogue::seed(&self.clients).await {
                if !matches!(failure, Failure::Unavailable(_)) || Instant::now() > deadline {
                    return Err(failure);
                }
                sleep(SEED_AGAIN_AFTER).await;
            }
            Ok(((), "catalogue of 3 farms and 20 products".to_owned()))
        };
        timed(options.progress, seeded).await?;
        std::fs::write(&mark, "").map_err(|error| Failure::Setup(format!("cannot write {}: {error}", mark.display())))
    }

    /// Where clients find the services.
    #[must_use]
    pub fn endpoints(&self) -> &Endpoints {
        &self.addresses.endpoints
    }

    /// The private servers, for tests that take them away.
    #[must_use]
    pub fn servers(&self) -> &Servers {
        &self.servers
    }

    /// Waits until a service ends by itself; says why. Safe to drop and call again.
    pub async fn first_to_end(&mut self) -> Failure {
        let ending = self.hosts.iter_mut().map(|host| Box::pin(host.first_to_end()));
        select_all(ending).await.0
    }

    /// Drains the services, then stops the servers. False when work had to be cut off.
    pub async fn stop(self) -> bool {
        let Self { addresses, hosts, servers, clients, others } = self;
        drop((clients, others));
        Addresses::remove(&addresses.state);
        let drained = join_all(hosts.into_iter().map(Host::stop)).await.into_iter().all(|drained| drained);
        let stopped = tokio::task::spawn_blocking(move || servers.stop()).await;
        drained && stopped.is_ok()
    }
}

/// Does a step that says what it did, and tells how long it took.
async fn timed<T>(
    progress: fn(&str, Duration),
    step: impl Future<Output = Result<(T, String), Failure>>,
) -> Result<T, Failure> {
    let started = Instant::now();
    let (done, what) = step.await?;
    progress(&what, started.elapsed());
    Ok(done)
}
