//! Services as processes of their own: started, killed, started again.
//!
//! Each has a keeper, a task that holds the real child. It starts the service anew 100 ms after each death, whoever
//! caused it, as a supervisor of production would; and it counts who did.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use farmera::failure::Failure;
use farmera::services::SERVICES;
use faults::Point;
use tokio::process::{Child, Command};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::ground::Ground;

/// Between a death and the next start.
const RESTART_DELAY: Duration = Duration::from_millis(100);
/// A keeper's answer: it does nothing that takes long.
const ORDER_LIMIT: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(10);
const SIGKILL: i32 = 9;

/// What became of the processes of one replica of a service.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Times it was started.
    pub starts: u64,
    /// Times we killed it.
    pub kills: u64,
    /// Times it died at a crash point, by point.
    pub crashes: BTreeMap<&'static str, u64>,
    /// Ends that nobody asked for: exit codes, signals.
    pub unasked: Vec<String>,
    /// The process that runs now.
    pub pid: Option<u32>,
}

enum Order {
    /// SIGKILL if it runs, and start again: with a crash point armed, if one is named. `hold` keeps it down. Done is
    /// told whether it ran.
    Kill { armed: Option<(Point, u64)>, hold: bool, done: oneshot::Sender<bool> },
    /// Start what is held down.
    Release { done: oneshot::Sender<bool> },
}

/// All services.
pub struct Supervisor {
    keepers: Vec<Keeper>,
    _tasks: JoinSet<()>,
}

/// The handle to the keeper of one replica of a service.
#[derive(Clone)]
pub struct Keeper {
    /// Which service.
    pub service: &'static str,
    /// Which replica of it: `orders`, `orders-2`.
    pub name: String,
    orders: mpsc::Sender<Order>,
    tally: Arc<Mutex<Tally>>,
}

impl Supervisor {
    /// Starts every replica of every service; `extra` is added to their environment.
    ///
    /// # Errors
    /// [`Failure::Setup`]: a log cannot be written.
    pub fn start(ground: &Ground, program: &Path, extra: &[(String, String)]) -> Result<Self, Failure> {
        let mut keepers = Vec::new();
        let mut tasks = JoinSet::new();
        let all =
            (0..ground.endpoints.len()).flat_map(|replica| SERVICES.iter().map(move |service| (service, replica)));
        for (service, replica) in all {
            let name = name_of(service.name, replica);
            let mut environment = ground.environment(service.name, replica)?;
            environment.extend(extra.iter().cloned());
            let (sender, orders) = mpsc::channel(16);
            let tally = Arc::new(Mutex::new(Tally::default()));
            let life = Life {
                service: service.name,
                program: program.to_owned(),
                environment,
                log: ground.folder.join(format!("{name}.log")),
                crash_log: ground.folder.join(format!("{name}.crashes")),
                tally: Arc::clone(&tally),
                orders,
            };
            tasks.spawn(life.keep());
            keepers.push(Keeper { service: service.name, name, orders: sender, tally });
        }
        Ok(Self { keepers, _tasks: tasks })
    }

    /// The keepers, one per replica of a service.
    #[must_use]
    pub fn keepers(&self) -> &[Keeper] {
        &self.keepers
    }

    /// The keepers of all replicas of `service`.
    #[must_use]
    pub fn of(&self, service: &str) -> Vec<Keeper> {
        self.keepers.iter().filter(|keeper| keeper.service == service).cloned().collect()
    }

    /// What became of each so far, by its name.
    #[must_use]
    pub fn tallies(&self) -> BTreeMap<String, Tally> {
        self.keepers.iter().map(|keeper| (keeper.name.clone(), keeper.tally())).collect()
    }
}

/// The first replica has the service's name.
fn name_of(service: &str, replica: usize) -> String {
    if replica == 0 { service.to_owned() } else { format!("{service}-{}", replica + 1) }
}

impl Keeper {
    /// What became of it so far.
    #[must_use]
    pub fn tally(&self) -> Tally {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// SIGKILL; it starts again by itself. False when it did not run.
    pub async fn kill(&self) -> bool {
        self.order(|done| Order::Kill { armed: None, hold: false, done }).await
    }

    /// SIGKILL; it stays down until [`Keeper::release`].
    pub async fn hold(&self) {
        self.order(|done| Order::Kill { armed: None, hold: true, done }).await;
    }

    /// Starts what is held down.
    pub async fn release(&self) {
        self.order(|done| Order::Release { done }).await;
    }

    /// Starts it anew, unless it has just died and is about to start anyway, so that it dies at the `nth` pass of
    /// `point`. True when it did so within `limit`.
    pub async fn die_at(&self, point: Point, nth: u64, limit: Duration) -> bool {
        let count = || self.tally().crashes.get(point.name()).copied().unwrap_or(0);
        let before = count();
        self.order(|done| Order::Kill { armed: Some((point, nth)), hold: false, done }).await;
        let deadline = Instant::now() + limit;
        while Instant::now() < deadline {
            if count() > before {
                return true;
            }
            sleep(POLL).await;
        }
        false
    }

    async fn order(&self, order: impl FnOnce(oneshot::Sender<bool>) -> Order) -> bool {
        let (done, heard) = oneshot::channel();
        if self.orders.send(order(done)).await.is_err() {
            return false;
        }
        timeout(ORDER_LIMIT, heard).await.is_ok_and(|ran| ran.unwrap_or(false))
    }
}

/// One replica of a service, from process to process.
struct Life {
    service: &'static str,
    program: PathBuf,
    environment: Vec<(String, String)>,
    log: PathBuf,
    crash_log: PathBuf,
    tally: Arc<Mutex<Tally>>,
    orders: mpsc::Receiver<Order>,
}

impl Life {
    async fn keep(mut self) {
        let mut armed = None;
        loop {
            let crashes_before = crashes(&self.crash_log).len();
            let mut child = match self.start(armed.take()) {
                Ok(child) => child,
                Err(error) => {
                    self.note(|tally| tally.unasked.push(format!("cannot start: {error}")));
                    sleep(RESTART_DELAY).await;
                    continue;
                }
            };
            // Held, because waiting for a child would close it, and the service ends with its standard input.
            let _held = child.stdin.take();
            let order = tokio::select! {
                status = child.wait() => {
                    let status = status.map_or_else(|error| error.to_string(), |status| match status.signal() {
                        Some(signal) => format!("signal {signal}"),
                        None => status.to_string(),
                    });
                    self.ended_by_itself(crashes_before, status);
                    None
                }
                order = self.orders.recv() => match order {
                    Some(order) => Some(order),
                    None => return,
                },
            };
            let hold = match order {
                None => false,
                Some(Order::Release { done }) => {
                    done.send(true).unwrap_or_default();
                    continue; // the child is dropped, and so killed
                }
                Some(Order::Kill { armed: next, hold, done }) => {
                    drop(child.kill().await);
                    self.note(|tally| {
                        tally.kills += 1;
                        tally.pid = None;
                    });
                    armed = next;
                    done.send(true).unwrap_or_default();
                    hold
                }
            };
            if !self.rest(hold, &mut armed).await {
                return;
            }
        }
    }

    /// Between a death and the next start: a moment, or until it is released. False when nobody can do that any more.
    async fn rest(&mut self, mut hold: bool, armed: &mut Option<(Point, u64)>) -> bool {
        let mut moment = pin!(sleep(RESTART_DELAY));
        loop {
            tokio::select! {
                () = moment.as_mut(), if !hold => return true,
                order = self.orders.recv() => match order {
                    None => return false,
                    Some(Order::Kill { armed: next, hold: still, done }) => {
                        *armed = next;
                        hold |= still;
                        done.send(false).unwrap_or_default();
                    }
                    Some(Order::Release { done }) => {
                        done.send(true).unwrap_or_default();
                        return true;
                    }
                },
            }
        }
    }

    fn start(&self, armed: Option<(Point, u64)>) -> std::io::Result<Child> {
        let log = || OpenOptions::new().create(true).append(true).open(&self.log);
        let (out, err): (File, File) = (log()?, log()?);
        let mut command = Command::new(&self.program);
        command
            .args(["farmera", "run", self.service])
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("FARMERA_LOG", std::env::var("FARMERA_LOG").unwrap_or_else(|_| "warn".to_owned()))
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .env(faults::CRASH_LOG, &self.crash_log)
            .stdin(Stdio::piped())
            .stdout(out)
            .stderr(err)
            .kill_on_drop(true);
        if let Some((point, nth)) = armed {
            command.env(faults::CRASH_AT, format!("{}:{nth}", point.name()));
        }
        let child = command.spawn()?;
        self.note(|tally| {
            tally.starts += 1;
            tally.pid = child.id();
        });
        Ok(child)
    }

    fn ended_by_itself(&self, crashes_before: usize, status: String) {
        let crashed = crashes(&self.crash_log);
        let point = crashed.get(crashes_before..).and_then(<[_]>::first).copied();
        self.note(|tally| {
            tally.pid = None;
            match point {
                Some(point) if status == format!("signal {SIGKILL}") => {
                    *tally.crashes.entry(point.name()).or_default() += 1;
                }
                Some(_) | None => tally.unasked.push(status),
            }
        });
    }

    fn note(&self, note: impl FnOnce(&mut Tally)) {
        note(&mut self.tally.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// The points that processes have written down as they died.
fn crashes(path: &Path) -> Vec<Point> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines().filter_map(Point::named).collect()
}
