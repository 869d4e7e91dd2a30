use std::error::Error;
use std::future::Future;
use std::marker::PhantomData;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use chrono::TimeDelta;
use eventstore::worker::CommitListener;
use eventstore::{Aggregate, Clock, Committed, DomainEvent as _, EventStore, ReadError, Recorded, Version};
use saga::hold::{HoldEvent, HoldInput, HoldTarget, Judgement, LetGo, ReleasePlan, judge};
use saga::{Holds, Process, Saga, SagaEvent};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::warn;
use uuid::Uuid;

use crate::WakeError;

/// What is held, as this process knows it: at most [`HoldLimits::interval`] old, and its own commits at once. Engines
/// decide by it; that a saga slips through in between is as if it had come a moment earlier.
#[derive(Clone, Default, Debug)]
pub struct HoldsInForce(Arc<RwLock<Known>>);

#[derive(Clone, Default, Debug)]
struct Known {
    version: Version,
    holds: Arc<Holds>,
}

impl HoldsInForce {
    /// Nothing, until somebody learns otherwise.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// What is held.
    #[must_use]
    pub fn holds(&self) -> Arc<Holds> {
        Arc::clone(&self.known().holds)
    }

    fn known(&self) -> Known {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Learns what follows on what is known; what is known already, or has a gap before it, is left for the next look.
    fn learn(&self, events: &[Recorded]) {
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        for event in events.iter().filter(|event| event.stream == Holds::only_stream()) {
            if event.version != known.version.plus(1) {
                continue;
            }
            match HoldEvent::from_recorded(event) {
                Ok(told) => known.holds = Arc::new(Holds::clone(&known.holds).evolve(&told)),
                Err(error) => warn!(error = &error as &dyn Error, "an event about holds is not understood"),
            }
            known.version = event.version;
        }
    }
}

impl CommitListener for HoldsInForce {
    fn committed(&self, events: &Arc<[Recorded]>, _committed: Committed) {
        self.learn(events);
    }
}

/// The way to a service's worker for whoever carries out releases.
pub trait HoldKeeper: Send + Sync + 'static {
    /// Brings `input` before the service's holds ([`Engine::hold`](crate::Engine::hold)), and waits until what follows is
    /// durable.
    ///
    /// # Errors
    /// [`WakeError`] is logged; it is tried again.
    fn hold(&self, input: HoldInput) -> impl Future<Output = Result<(), WakeError>> + Send;

    /// Lets one saga pass a hold ([`saga::Input::Release`]).
    ///
    /// # Errors
    /// [`WakeError`] is logged; it is told again.
    fn release(&self, saga_id: Uuid, hold: HoldTarget) -> impl Future<Output = Result<(), WakeError>> + Send;
}

/// Where to find the sagas that wait at a hold: a service's read model, most likely. It may lag: a saga that does not wait
/// takes no notice of being let go.
pub trait HeldSagas: Send + Sync + 'static {
    /// Sagas that wait at `hold`, longest first, at most `limit`.
    ///
    /// # Errors
    /// [`ReadError`]; it is asked again.
    fn held(&self, hold: &HoldTarget, limit: usize) -> impl Future<Output = Result<Vec<Uuid>, ReadError>> + Send;
}

/// Limits of a [`HoldLoop`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HoldLimits {
    /// How often it looks.
    pub interval: Duration,
    /// How long a claim of the holds' timer keeps other replicas away.
    pub lease: Duration,
}

impl Default for HoldLimits {
    fn default() -> Self {
        Self { interval: Duration::from_millis(500), lease: Duration::from_secs(10) }
    }
}

/// Keeps [`HoldsInForce`] in step with the store, and carries out releases: one replica at a time, told by the holds'
/// timer. It remembers nothing: what was let go and what became of it is in the holds' stream. Whoever hears late that a
/// hold has ended may have held sagas since, and lets them go.
pub struct HoldLoop<P, K, H> {
    store: Arc<dyn EventStore>,
    clock: Arc<dyn Clock>,
    keeper: Arc<K>,
    held: H,
    in_force: HoldsInForce,
    limits: HoldLimits,
    process: PhantomData<fn() -> P>,
}

/// More events than the histories of all that may be in flight have.
const HISTORY_MAX: usize = 100_000;

impl<P: Process, K: HoldKeeper, H: HeldSagas> HoldLoop<P, K, H> {
    /// A loop over the holds in `store`.
    #[must_use]
    pub fn new(
        store: Arc<dyn EventStore>,
        clock: Arc<dyn Clock>,
        keeper: Arc<K>,
        held: H,
        in_force: HoldsInForce,
        limits: HoldLimits,
    ) -> Self {
        Self { store, clock, keeper, held, in_force, limits, process: PhantomData }
    }

    /// Goes on until `shutdown` says true or its sender is gone.
    pub async fn run(self, mut shutdown: watch::Receiver<bool>) {
        loop {
            if let Err(error) = self.turn_once().await {
                warn!(error = &*error as &dyn Error, "holds cannot be looked after, will retry");
            }
            tokio::select! {
                _ = shutdown.wait_for(|stop| *stop) => return,
                () = tokio::time::sleep(self.limits.interval) => {}
            }
        }
    }

    /// Learns what is held; where a hold's time is over or a release is under way, and no other replica sees to it, sees
    /// to it.
    ///
    /// # Errors
    /// [`WakeError`]: some of it is not done, and is done the next time.
    pub async fn turn_once(&self) -> Result<(), WakeError> {
        self.refresh().await?;
        let timers = self.store.claim_due_timers(&[Holds::CATEGORY], 1, self.limits.lease).await?;
        self.clock.observe(timers.now);
        // A timer that is due for so long is nobody's: whatever lost it, it is written anew.
        let lost = |due| timers.now - due > TimeDelta::from_std(self.limits.lease * 2).unwrap_or(TimeDelta::MAX);
        if timers.due.is_empty() && !self.in_force.holds().next_wake().is_some_and(lost) {
            return Ok(());
        }
        self.keeper.hold(HoldInput::Wake).await?;
        self.refresh().await?;
        let holds = self.in_force.holds();
        for hold in holds.iter().filter(|hold| hold.is_releasing()) {
            self.advance(&hold.target, hold.in_flight(), hold.allowance(timers.now)).await?;
        }
        Ok(())
    }

    async fn refresh(&self) -> Result<(), WakeError> {
        let stream = (Holds::only_stream(), self.in_force.known().version);
        let events = self.store.read_streams(&[stream], 1_000).await?;
        self.in_force.learn(&events);
        tell_stopped(&events);
        let holds = self.in_force.holds();
        metrics::gauge!("farmera_holds").set(holds.iter().count() as f64);
        for target in ended(&events).iter().filter(|target| holds.get(target).is_none()) {
            // The list may lag: whoever is not on it yet goes on when a reconciler looks.
            let late = self.held.held(target, ReleasePlan::IN_FLIGHT_MAX).await?;
            self.release(target, late).await;
        }
        Ok(())
    }

    async fn advance(&self, target: &HoldTarget, in_flight: &[LetGo], allowance: usize) -> Result<(), WakeError> {
        let judged = self.judged(target, in_flight).await?;
        let untold = judged.iter().filter(|(_, judgement)| *judgement == Judgement::Untold).map(|(id, _)| *id);
        let mut told: Vec<Uuid> = untold.collect();
        let known = judged.iter().filter(|(_, judgement)| match judgement {
            Judgement::Worked | Judgement::Failed => true,
            Judgement::Open | Judgement::Untold => false,
        });
        let known = known.copied().collect();
        // Whoever is in flight may still be listed.
        let waiting = self.held.held(target, allowance + in_flight.len() + 1).await?;
        self.keeper.hold(HoldInput::Advance { target: target.clone(), judged: known, waiting }).await?;
        self.refresh().await?;
        let holds = self.in_force.holds();
        let now_in_flight = holds.get(target).map(|hold| hold.in_flight()).unwrap_or_default();
        // One that comes to the same hold with another step is let go once more.
        let new = now_in_flight.iter().filter(|gone| !in_flight.contains(gone));
        told.extend(new.map(|gone| gone.saga_id));
        self.release(target, told).await;
        Ok(())
    }

    async fn judged(&self, target: &HoldTarget, in_flight: &[LetGo]) -> Result<Vec<(Uuid, Judgement)>, ReadError> {
        let streams: Vec<_> = in_flight.iter().map(|gone| (Saga::<P>::stream(gone.saga_id), Version::NONE)).collect();
        if streams.is_empty() {
            return Ok(Vec::new());
        }
        let recorded = self.store.read_streams(&streams, HISTORY_MAX).await?;
        let judged = in_flight.iter().map(|gone| {
            let of_it = recorded.iter().filter(|event| event.stream.id == gone.saga_id);
            // A saga of a newer program is looked after by that program.
            let history: Result<Vec<_>, _> = of_it.map(SagaEvent::<P>::from_recorded).collect();
            (gone.saga_id, history.map_or(Judgement::Worked, |history| judge(&history, target, gone.at)))
        });
        Ok(judged.collect())
    }

    /// Lets all of them go at the same time, so that the worker finds them in one batch.
    async fn release(&self, target: &HoldTarget, sagas: Vec<Uuid>) {
        let mut releases = JoinSet::new();
        for saga_id in sagas {
            let (keeper, target) = (Arc::clone(&self.keeper), target.clone());
            releases.spawn(async move { (saga_id, keeper.release(saga_id, target).await) });
        }
        while let Some(released) = releases.join_next().await {
            match released {
                Ok((_, Ok(()))) => metrics::counter!("farmera_saga_released_total").increment(1),
                Ok((saga_id, Err(error))) => {
                    warn!(%saga_id, error = &*error as &dyn Error, "a saga could not be let go, will be told again");
                }
                Err(error) => warn!(error = &error as &dyn Error, "letting a saga go ended in a panic"),
            }
        }
    }
}

/// Says which releases did not come to their end: somebody has to see why, and release again.
fn tell_stopped(events: &[Recorded]) {
    for event in events {
        if let Ok(HoldEvent::ReleaseStopped { target, failed, at }) = HoldEvent::from_recorded(event) {
            warn!(%target, failed, %at, "a release has stopped, the hold stands as before: see `sagactl hold list`");
        }
    }
}

/// What is held no more, each once.
fn ended(events: &[Recorded]) -> Vec<HoldTarget> {
    let mut ended = Vec::new();
    for event in events {
        // What cannot be read was told of when it was learnt.
        if let Ok(HoldEvent::Ended { target, .. }) = HoldEvent::from_recorded(event)
            && !ended.contains(&target)
        {
            ended.push(target);
        }
    }
    ended
}
