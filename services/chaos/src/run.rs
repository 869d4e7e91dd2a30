//! A whole run, from the seed to the tables.

use std::path::PathBuf;
use std::time::Duration;

use chassis::clock::Uuids;
use clap::Args;
use eventstore::IdSource as _;
use farmera::failure::Failure;
use farmera::output::{self, Paint};
use tokio::time::{Instant, sleep};

use crate::chance::Chance;
use crate::checks::{self, Footprint};
use crate::ground::{Ground, blocking};
use crate::operator;
use crate::phases::{Judgement, Load, Pace, Stage};
use crate::plan::Plan;
use crate::provider::Provider;
use crate::report::{self, Fault, Finding};
use crate::rumour::Rumour;
use crate::supervisor::Supervisor;
use crate::weather;

/// Between two faults of one kind, on average.
const PAUSE: Duration = Duration::from_millis(600);
/// Between two commits whose answers are lost.
const LOST_PAUSE: Duration = Duration::from_millis(50);
/// Before the first fault: what the services take when they are warm.
const WARM_UP_ORDERS: u64 = 50;
/// After a wipe with many open orders, all of them have ended within this.
const REPAIR_LIMIT: Duration = Duration::from_secs(15);
/// Orders per second while the scene of the wipe is set.
const SCENE_RATE: u64 = 400;
const POLL: Duration = Duration::from_millis(100);
/// A gossip that has not said enough by the end of the weather is given so much longer.
const RUMOUR_LIMIT: Duration = Duration::from_secs(30);

/// What a run is told.
#[derive(Args, Clone, Debug)]
pub struct Arguments {
    /// The schedule of faults and the load follow from it; by chance when it is not given. Printed first.
    #[arg(long)]
    pub seed: Option<u64>,
    #[command(flatten)]
    /// What is done, how often.
    pub plan: Plan,
    /// Only a minute's worth of everything; other counts are not looked at.
    #[arg(long)]
    pub minute: bool,
    /// Plant a bug: the run should find it and fail.
    #[arg(long, value_name = "PLANT")]
    pub plant: Option<String>,
    /// Keep logs and data of a run that went well, too.
    #[arg(long)]
    pub keep: bool,
    /// Where they go (default: .farmera/chaos-<process> in the project).
    #[arg(long, value_name = "DIR")]
    pub folder: Option<PathBuf>,
    /// The program whose roles services and clients are (default: this one).
    #[arg(long, hide = true)]
    pub program: Option<PathBuf>,
}

impl Arguments {
    /// A minute's worth with this seed, run by `program`.
    #[must_use]
    pub fn minute(seed: u64, program: PathBuf) -> Self {
        Self {
            seed: Some(seed),
            plan: Plan::minute(),
            minute: true,
            plant: None,
            keep: false,
            folder: None,
            program: Some(program),
        }
    }
}

/// What a run came to.
pub struct Outcome {
    /// Every kind of fault.
    pub faults: Vec<Fault>,
    /// Every invariant, over all phases.
    pub findings: Vec<Finding>,
    /// Orders that were placed.
    pub orders: u64,
}

impl Outcome {
    /// True when nothing is wrong and every fault happened.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.findings.iter().all(|finding| finding.wrong.is_empty() && finding.checked > 0)
            && self.faults.iter().all(Fault::happened)
    }
}

/// Runs, and says what came of it.
///
/// # Errors
/// [`Failure::Failed`] when an invariant is broken or a fault did not happen.
pub async fn command(arguments: Arguments) -> Result<(), Failure> {
    chassis::telemetry::init_logs("error");
    let seed = arguments.seed.unwrap_or_else(|| Uuids.next_id().as_u64_pair().1 & 0xffff_ffff);
    let plan = if arguments.minute { Plan::minute() } else { arguments.plan.clone() };
    output::line(format!("seed {seed}"));
    let again = if arguments.minute { " --minute" } else { "" };
    let folder = arguments
        .folder
        .clone()
        .unwrap_or_else(|| farmera_local::project_root().join(format!(".farmera/chaos-{}", std::process::id())));
    let started = Instant::now();
    let ended = tokio::select! {
        outcome = perform(&arguments, &plan, seed, folder.clone()) => outcome,
        _ = chassis::shutdown::signal() => Err(Failure::Failed("interrupted".to_owned())),
    };
    let kept =
        || format!("logs and data are in {}; again: make chaos CHAOS=\"--seed {seed}{again}\"", folder.display());
    let outcome = ended.map_err(|failure| Failure::Failed(format!("{failure}\n{}", kept())))?;
    let paint = Paint::of_stdout();
    report::print_faults(&outcome.faults, paint);
    output::line("");
    report::print_findings(&outcome.findings, paint);
    output::line("");
    let seconds = started.elapsed().as_secs();
    let orders = output::grouped(outcome.orders);
    if outcome.is_good() {
        output::line(format!("{}: {orders} orders, 0 violations, {seconds} s, seed {seed}", paint.good("ok")));
        if !arguments.keep {
            drop(std::fs::remove_dir_all(&folder));
        }
        return Ok(());
    }
    let violations: usize = outcome.findings.iter().map(|finding| finding.wrong.len()).sum();
    Err(Failure::Failed(format!(
        "{violations} violations over {orders} orders in {seconds} s, seed {seed}; {}",
        kept()
    )))
}

/// Everything but the printing of tables.
///
/// # Errors
/// [`Failure`]: the run could not be carried out.
pub async fn perform(arguments: &Arguments, plan: &Plan, seed: u64, folder: PathBuf) -> Result<Outcome, Failure> {
    let program = match &arguments.program {
        Some(program) => program.clone(),
        None => std::env::current_exe().map_err(|error| Failure::Setup(error.to_string()))?,
    };
    let mut chance = Chance::new(seed, "run");
    let ground = Ground::start(&folder, &mut chance, plan.replicas).await?;
    let mut extra = Vec::new();
    if let Some(plant) = &arguments.plant {
        faults::Plant::named(plant)
            .ok_or_else(|| Failure::Setup(format!("there is no plant {plant}; see `chaos names`")))?;
        extra.push((faults::PLANT.to_owned(), plant.clone()));
    }
    let provider = Provider::start(&program, &folder, seed).await?;
    extra.push(("FARMERA_PAYMENT__PROVIDER_URL".to_owned(), provider.url.clone()));
    let services = Supervisor::start(&ground, &program, &extra)?;
    let mut stage = Stage {
        clients: ground.clients()?,
        ground,
        services,
        provider,
        program,
        products: Vec::new(),
        testimony: Default::default(),
        prefixes: Default::default(),
        baseline: Footprint::default(),
        seed,
    };
    let performed =
        Performance { plan, chance, faults: Vec::new(), findings: Vec::new(), orders: 0 }.play(&mut stage).await;
    let Stage { ground, services, provider, .. } = stage;
    drop((services, provider));
    blocking(move || {
        drop(ground);
        Ok(())
    })
    .await?;
    performed
}

struct Performance<'a> {
    plan: &'a Plan,
    chance: Chance,
    faults: Vec<Fault>,
    findings: Vec<Finding>,
    orders: u64,
}

impl Performance<'_> {
    async fn play(mut self, stage: &mut Stage) -> Result<Outcome, Failure> {
        stage.set_up().await?;
        let load = stage.load("warm-up", Pace { orders: WARM_UP_ORDERS, ..self.plan.steady() })?;
        self.over(load, stage).await?;
        let mut judgement = stage.judge(None).await?;
        judgement.findings.push(checks::alarms(&stage.ground, &stage.services));
        stage.baseline = Footprint::now(&stage.ground, &stage.services).await?;
        self.judged("fair weather", &judgement, Vec::new());
        operator::remember(&stage.ground, &stage.program).await?;
        let rumour = Rumour::start(&stage.ground.servers.nats_url(), Chance::new(self.chance.draw(), "rumour")).await?;
        if self.plan.crashes > 0 {
            self.crash_points(stage).await?;
        }
        if self.plan.broker().any() {
            self.broker(stage).await?;
        }
        if self.plan.postgres_kills > 0 {
            self.database(stage).await?;
        }
        if self.plan.lost_commits > 0 {
            self.lost_commits(stage).await?;
        }
        self.kills(stage).await?;
        if self.plan.repeats > 0 {
            self.rumour(stage, &rumour).await?;
        }
        drop(rumour);
        if self.plan.open_orders > 0 {
            self.wipe_with_open_orders(stage).await?;
        }
        let misbehaved = stage.provider.fired().await?;
        self.faults.push(Fault::new("(orders placed)", self.plan.orders, self.orders));
        self.faults.push(Fault::new("card processor misbehaved", 1, misbehaved));
        let findings = operator::look(&stage.ground, &stage.program).await?;
        self.findings.extend(findings);
        Ok(Outcome { faults: self.faults, findings: self.findings, orders: self.orders })
    }

    fn name(&mut self, name: &str) -> Chance {
        Chance::new(self.chance.draw(), name)
    }

    async fn crash_points(&mut self, stage: &mut Stage) -> Result<(), Failure> {
        let load = stage.load("points", self.plan.steady())?;
        let mut chance = self.name("points");
        let faults = weather::crash_at_every_point(&stage.services, &mut chance, self.plan.crashes).await;
        self.end("death at every point", load, faults, stage).await
    }

    async fn broker(&mut self, stage: &mut Stage) -> Result<(), Failure> {
        let load = stage.load("broker", self.plan.steady())?;
        let faults = self.plan.broker();
        let chance = self.name("broker");
        let faults = weather::trouble_the_broker(&stage.ground, chance, faults, PAUSE).await?;
        self.end("trouble with the broker", load, faults, stage).await
    }

    async fn database(&mut self, stage: &mut Stage) -> Result<(), Failure> {
        let load = stage.load("database", self.plan.steady())?;
        let wanted = self.plan.postgres_kills;
        let fired = weather::kill_postgres(&stage.ground, wanted, PAUSE).await?;
        self.end("Postgres killed", load, vec![Fault::new("Postgres killed", wanted, fired)], stage).await
    }

    async fn lost_commits(&mut self, stage: &mut Stage) -> Result<(), Failure> {
        let load = stage.load("commits", self.plan.steady())?;
        let wanted = self.plan.lost_commits;
        let fired = weather::lose_commits(&stage.ground, wanted, LOST_PAUSE).await;
        self.end("lost answers", load, vec![Fault::new("answer to a COMMIT lost", wanted, fired)], stage).await
    }

    /// The rest of the orders; the kills are spread over the time that they take.
    async fn kills(&mut self, stage: &mut Stage) -> Result<(), Failure> {
        let rest = self.plan.orders.saturating_sub(self.orders).max(self.plan.rate);
        let mut load = stage.load("kills", Pace { orders: rest, ..self.plan.steady() })?;
        let wanted = self.plan.kills;
        let pause = Duration::from_millis((rest * 1_000 / self.plan.rate.max(1)) / wanted.max(1));
        let chance = self.name("kills");
        let fired = weather::kill_services(&stage.services, chance, wanted, pause.max(POLL)).await;
        self.over_soon(&mut load, rest).await;
        let faults = (wanted > 0).then(|| Fault::new("service killed", wanted, fired));
        self.end("services killed", load, faults.into_iter().collect(), stage).await
    }

    /// The gossip talked all along; it may need a little longer to have said enough.
    async fn rumour(&mut self, stage: &mut Stage, rumour: &Rumour) -> Result<(), Failure> {
        let load = stage.load("rumour", self.plan.steady())?;
        let deadline = Instant::now() + RUMOUR_LIMIT;
        while (rumour.said().0 < self.plan.repeats || rumour.said().1 == 0) && Instant::now() < deadline {
            sleep(POLL).await;
        }
        let (repeated, late) = rumour.said();
        let faults = vec![
            Fault::new("message repeated under a new id", self.plan.repeats, repeated),
            Fault::new("message late, behind younger ones", self.plan.repeats.min(late.max(1)), late),
        ];
        self.end("gossip", load, faults, stage).await
    }

    /// Orders wait for payment; the broker forgets everything; payment comes back. How long until all have ended?
    async fn wipe_with_open_orders(&mut self, stage: &mut Stage) -> Result<(), Failure> {
        let wanted = self.plan.open_orders;
        let payment = stage.services.of("payment");
        for keeper in &payment {
            keeper.hold().await;
        }
        let mut load = stage.load("scene", Pace { orders: wanted, rate: SCENE_RATE, open: wanted })?;
        self.over_soon(&mut load, wanted).await;
        let servers = std::sync::Arc::clone(&stage.ground.servers);
        let wiped = blocking(move || {
            servers.kill_nats();
            servers.wipe_nats_store().map_err(|error| Failure::Failed(error.to_string()))?;
            servers.start_nats().map_err(|error| Failure::Failed(error.to_string()))
        });
        wiped.await?;
        for keeper in &payment {
            keeper.release().await;
        }
        let back = Instant::now();
        let judgement = stage.judge(Some(load)).await?;
        let took = judgement.orders_ended_after;
        output::line(format!(
            "  {wanted} open orders, everything wiped: settled, or given up, after {:.1} s",
            took.as_secs_f64()
        ));
        let fired = u64::from(took <= REPAIR_LIMIT && back.elapsed() >= took);
        let faults = vec![Fault::new(format!("wipe with {wanted} open orders, repaired within 15 s"), 1, fired)];
        self.judged("wipe with open orders", &judgement, faults);
        Ok(())
    }

    async fn end(&mut self, phase: &str, load: Load, faults: Vec<Fault>, stage: &mut Stage) -> Result<(), Failure> {
        let judgement = stage.judge(Some(load)).await?;
        self.judged(phase, &judgement, faults);
        Ok(())
    }

    fn judged(&mut self, phase: &str, judgement: &Judgement, faults: Vec<Fault>) {
        let fired: u64 = faults.iter().map(|fault| fault.fired).sum();
        output::line(format!(
            "  {phase}: {} faults, {} orders so far, settled after {:.1} s, quiet after {:.1} s, {} violations",
            output::grouped(fired),
            output::grouped(judgement.orders),
            judgement.orders_ended_after.as_secs_f64(),
            judgement.quiet_after.as_secs_f64(),
            judgement.violations()
        ));
        for finding in judgement.findings.iter().filter(|finding| !finding.wrong.is_empty()) {
            finding.wrong.iter().take(3).for_each(|wrong| output::line(format!("    {}: {wrong}", finding.id)));
        }
        self.orders = judgement.orders;
        self.faults.extend(judgement.blame(faults));
        self.add(&judgement.findings);
    }

    fn add(&mut self, findings: &[Finding]) {
        for finding in findings {
            match self.findings.iter_mut().find(|known| known.id == finding.id) {
                Some(known) => {
                    known.checked += finding.checked;
                    known.wrong.extend(finding.wrong.iter().cloned());
                }
                None => self.findings.push(finding.clone()),
            }
        }
    }

    async fn over(&mut self, load: Load, stage: &mut Stage) -> Result<(), Failure> {
        let mut load = load;
        self.over_soon(&mut load, WARM_UP_ORDERS).await;
        stage.testimony.add(&load.end().await?)?;
        Ok(())
    }

    /// Until the load has asked for everything, at most four times as long as that takes and the clients' patience: on a
    /// slow machine it asks for less at a time.
    async fn over_soon(&self, load: &mut Load, orders: u64) {
        let expected = Duration::from_millis(orders * 1_000 / self.plan.rate.max(1));
        let deadline = Instant::now() + 4 * expected + crate::load::PATIENCE;
        while !load.is_over() && Instant::now() < deadline {
            sleep(POLL).await;
        }
    }
}
