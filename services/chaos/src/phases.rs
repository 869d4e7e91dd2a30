//! One kind of weather at a time: load, faults, quiet, judgement.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use chassis::clock::Uuids;
use eventstore::{IdSource as _, derived_id};
use farmera::catalogue;
use farmera::clients::Clients;
use farmera::failure::Failure;
use farmera::invariants::{self, Judged};
use farmera_proto::common::v1::Money;
use tokio::process::{Child, ChildStdin, Command};
use tokio::time::{Instant, sleep, timeout};
use uuid::Uuid;

use crate::checks::{self, Evidence, Footprint, Prefix};
use crate::ground::Ground;
use crate::load;
use crate::provider::Provider;
use crate::report::{Fault, Finding};
use crate::supervisor::Supervisor;
use crate::witness::Testimony;

/// After the last fault every accepted order has so long to end, and everything else to come to rest.
pub const QUIET_LIMIT: Duration = Duration::from_secs(60);
/// The load has asked for the last time, and its clients are as patient as they are.
const LOAD_END_LIMIT: Duration = Duration::from_secs(load::PATIENCE.as_secs() + 30);
/// A judge that finds something looks again: read models and acknowledgements lag behind by moments.
const SECOND_LOOK: Duration = Duration::from_secs(1);
const READY_LIMIT: Duration = Duration::from_secs(60);
const READY_POLL: Duration = Duration::from_millis(100);
/// What the load chooses from; the last one sells out.
const PRODUCTS: u64 = 16;
const STOCK: u64 = 1_000_000;
const SCARCE_STOCK: u64 = 200;
/// Patience with a service that is being killed.
const STOCK_TRIES: u32 = 50;

/// A run in progress.
pub struct Stage {
    /// What it stands on.
    pub ground: Ground,
    /// The services.
    pub services: Supervisor,
    /// The card processor.
    pub provider: Provider,
    /// This program: services and clients are other roles of it.
    pub program: PathBuf,
    /// Clients of the services.
    pub clients: Clients,
    /// What the load chooses from.
    pub products: Vec<Uuid>,
    /// What the witnesses have written until now.
    pub testimony: Testimony,
    /// Each log as it was at the last judgement.
    pub prefixes: BTreeMap<&'static str, Prefix>,
    /// What the services took before the first fault.
    pub baseline: Footprint,
    /// From the seed.
    pub seed: u64,
}

/// How much a load client asks for.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Orders at most.
    pub orders: u64,
    /// Orders per second at most.
    pub rate: u64,
    /// Orders on their way at a time at most.
    pub open: u64,
}

/// A load client that runs.
pub struct Load {
    child: Child,
    input: Option<ChildStdin>,
    log: PathBuf,
}

/// What one phase came to.
pub struct Judgement {
    /// One per invariant.
    pub findings: Vec<Finding>,
    /// From the last fault to the last order's end.
    pub orders_ended_after: Duration,
    /// From the last fault until nothing was wrong any more, or patience was over: what a dead process had in its hands
    /// comes again only after the broker's patience with it.
    pub quiet_after: Duration,
    /// Orders that are known by then.
    pub orders: u64,
}

impl Judgement {
    /// How much is wrong.
    #[must_use]
    pub fn violations(&self) -> u64 {
        self.findings.iter().map(|finding| finding.wrong.len() as u64).sum()
    }

    /// The phase's faults, each with what was found.
    #[must_use]
    pub fn blame(&self, faults: Vec<Fault>) -> Vec<Fault> {
        faults.into_iter().map(|fault| Fault { violations: self.violations(), ..fault }).collect()
    }
}

impl Stage {
    /// Waits until the services answer, and fills the shelves.
    ///
    /// # Errors
    /// [`Failure`]: they do not.
    pub async fn set_up(&mut self) -> Result<(), Failure> {
        self.ready().await?;
        let farm = self.patiently(|clients, id| async move {
            catalogue::create_farm(&clients, id, "Chaos farm", "chaos@farm.example").await
        });
        let farm = farm.await?;
        for number in 0..PRODUCTS {
            let stock = if number + 1 == PRODUCTS { SCARCE_STOCK } else { STOCK };
            let price = i64::try_from(100 + number).unwrap_or(100);
            let farm = &farm;
            let product = self
                .patiently(|clients, id| async move {
                    let price = Money { currency_code: "EUR".to_owned(), minor_units: price };
                    let name = format!("Chaos product {number}");
                    let product = catalogue::create_product(&clients, id, farm, &name, price).await?;
                    catalogue::add_stock(&clients, derived_id(id, "stock"), &product.id, stock).await?;
                    Ok(product.id)
                })
                .await?;
            self.products.push(product.parse().map_err(|_| Failure::Failed(format!("{product:?} is no product")))?);
        }
        Ok(())
    }

    /// Waits until every service answers.
    ///
    /// # Errors
    /// [`Failure::Unavailable`] when one does not within a minute.
    pub async fn ready(&self) -> Result<(), Failure> {
        let deadline = Instant::now() + READY_LIMIT;
        loop {
            match invariants::Books::read(&self.clients).await {
                Ok(_) => return Ok(()),
                Err(failure) if Instant::now() > deadline => {
                    let told = self.services.tallies().into_iter();
                    let told: Vec<String> = told.map(|(name, tally)| format!("{name}: {:?}", tally.unasked)).collect();
                    return Err(Failure::Unavailable(format!("{failure}; {}", told.join(", "))));
                }
                Err(_) => sleep(READY_POLL).await,
            }
        }
    }

    /// The same command until it is answered, under one id.
    async fn patiently<T, W: Future<Output = Result<T, Failure>>>(
        &self,
        work: impl Fn(Clients, Uuid) -> W,
    ) -> Result<T, Failure> {
        let id = Uuids.next_id();
        let mut last = Failure::Unavailable("never tried".to_owned());
        for _ in 0..STOCK_TRIES {
            match work(self.clients.clone(), id).await {
                Ok(answer) => return Ok(answer),
                Err(failure) => last = failure,
            }
            sleep(READY_POLL).await;
        }
        Err(last)
    }

    /// Starts a load client.
    ///
    /// # Errors
    /// [`Failure::Setup`]: it cannot be started.
    pub fn load(&self, phase: &str, pace: Pace) -> Result<Load, Failure> {
        let log = self.ground.folder.join(format!("load-{phase}.ndjson"));
        let mut command = Command::new(&self.program);
        command
            .args(["load", "--log"])
            .arg(&log)
            .args(self.ground.endpoints.iter().map(|replica| format!("--orders-url={}", replica.orders)))
            .args(["--orders", &pace.orders.to_string(), "--rate", &pace.rate.to_string()])
            .args(["--open", &pace.open.to_string(), "--seed", &self.seed.to_string()])
            .stdin(Stdio::piped())
            .kill_on_drop(true);
        for product in &self.products {
            command.args(["--product", &product.to_string()]);
        }
        let mut child = command.spawn().map_err(|error| Failure::Setup(error.to_string()))?;
        let input = child.stdin.take();
        Ok(Load { child, input, log })
    }

    /// Ends the load, waits for quiet, and judges.
    ///
    /// # Errors
    /// [`Failure`]: the witnesses or the services do not answer.
    pub async fn judge(&mut self, load: Option<Load>) -> Result<Judgement, Failure> {
        let quiet = Instant::now();
        self.provider.calm().await?;
        if let Some(load) = load {
            self.testimony.add(&load.end().await?)?;
        }
        self.ready().await?;
        let mut settled = invariants::settle(&self.clients, QUIET_LIMIT).await?;
        let orders_ended_after = quiet.elapsed();
        let mut findings = self.look(&settled).await?;
        while findings.iter().any(|finding| !finding.wrong.is_empty()) && quiet.elapsed() < QUIET_LIMIT {
            self.note(quiet.elapsed(), &findings);
            sleep(SECOND_LOOK).await;
            settled = match invariants::settle(&self.clients, SECOND_LOOK).await {
                Ok(settled) => settled,
                // The provider misbehaves at all times, so a look at its books may take a second try.
                Err(Failure::Unavailable(_)) => continue,
                Err(failure) => return Err(failure),
            };
            findings = self.look(&settled).await?;
        }
        let orders = settled.books.orders.len() as u64;
        self.provider.storm().await?;
        Ok(Judgement { findings, orders_ended_after, quiet_after: quiet.elapsed(), orders })
    }

    /// What is not at rest yet, for whoever wants to know what took so long: `judge.log` in the run's folder.
    fn note(&self, after: Duration, findings: &[Finding]) {
        let log = OpenOptions::new().create(true).append(true).open(self.ground.folder.join("judge.log"));
        let Ok(mut log) = log else { return };
        for finding in findings {
            for wrong in &finding.wrong {
                drop(writeln!(log, "{:.1} s after the weather, {}: {wrong}", after.as_secs_f64(), finding.id));
            }
        }
    }

    async fn look(&mut self, settled: &Judged) -> Result<Vec<Finding>, Failure> {
        let tallies = self.services.tallies();
        let mut evidence = Evidence {
            ground: &self.ground,
            testimony: &self.testimony,
            journal: &self.provider.journal,
            books: &settled.books,
            verdicts: &settled.verdicts,
            prefixes: &mut self.prefixes,
            baseline: &self.baseline,
            tallies: &tallies,
            databases: checks::databases(&self.ground).await?,
        };
        checks::judge(&mut evidence).await
    }
}

impl Load {
    /// True when all its orders are asked for and answered.
    pub fn is_over(&mut self) -> bool {
        self.child.try_wait().is_ok_and(|status| status.is_some())
    }

    /// No further orders; waits for its last answers. The path of its log.
    ///
    /// # Errors
    /// [`Failure::Failed`]: it did not end well.
    pub async fn end(mut self) -> Result<PathBuf, Failure> {
        drop(self.input.take());
        match timeout(LOAD_END_LIMIT, self.child.wait()).await {
            Ok(Ok(status)) if status.success() => Ok(self.log),
            Ok(Ok(status)) => Err(Failure::Failed(format!("the load client ended with {status}"))),
            Ok(Err(error)) => Err(Failure::Failed(error.to_string())),
            Err(_) => Err(Failure::Failed("the load client does not end".to_owned())),
        }
    }
}
