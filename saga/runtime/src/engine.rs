use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use eventstore::{Actor, Aggregate, Need, Unit};
use faults::{Plant, Point};
use saga::hold::{self, HoldEvent, HoldInput, HoldRefusal};
use saga::{
    Circumstances, Definition, DefinitionRef, Holds, Input, Library, Process, Refusal, Saga, SagaEvent, Status, Step,
    TimerKind, UnknownDefinition, decide_given, timers,
};
use uuid::Uuid;

use crate::HoldsInForce;

/// Who moves the time of a question that left late.
const SENDER: &str = "service:sender";
const LEFT_LATE: &str = "the question has left only now: patience begins";

/// Why a saga did not take an input.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// Not at hand, or broken. Return it from the handler, which is then asked again.
    #[error(transparent)]
    Need(#[from] Need),
    /// The command has no effect; the refusal says what to do. Nothing is recorded.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The saga is bound to a definition that this program does not have. Do not drop the input: park it, alarm, and
    /// deploy a program that has the definition.
    #[error(transparent)]
    UnknownDefinition(#[from] UnknownDefinition),
}

/// What was recorded: of which saga, and what. The saga that was asked for comes first.
pub type Happened<P> = Vec<(Uuid, SagaEvent<P>)>;

/// Why the holds did not take an input.
#[derive(Debug, thiserror::Error)]
pub enum HoldError {
    /// Not at hand, or broken. Return it from the handler, which is then asked again.
    #[error(transparent)]
    Need(#[from] Need),
    /// The command has no effect; the refusal says what to do. Nothing is recorded.
    #[error(transparent)]
    Refused(#[from] HoldRefusal),
}

/// Runs sagas inside units of work: loads, decides, records, and says when the saga wants to be woken.
///
/// Synchronous and without effects of its own, so a service's [`Handler`](eventstore::worker::Handler) uses it beside
/// its own rules: what the saga decides and what the service makes of it become one commit.
#[derive(Debug)]
pub struct Engine<P: Process> {
    library: Arc<Library<P>>,
    holds: HoldsInForce,
}

impl<P: Process> Clone for Engine<P> {
    fn clone(&self) -> Self {
        Self { library: Arc::clone(&self.library), holds: self.holds.clone() }
    }
}

impl<P: Process> Engine<P> {
    /// An engine over the definitions of `library`.
    #[must_use]
    pub fn new(library: Arc<Library<P>>) -> Self {
        Self { library, holds: HoldsInForce::new() }
    }

    /// Heeds these holds; without them nothing is ever held.
    #[must_use]
    pub fn with_holds(self, holds: HoldsInForce) -> Self {
        Self { holds, ..self }
    }

    /// The definitions it knows.
    #[must_use]
    pub fn library(&self) -> &Library<P> {
        &self.library
    }

    /// Starts the saga `saga_id` with the newest definition called `definition`. Most likely there is none yet, so
    /// nothing is read first. Starting the same saga with the same input again records nothing.
    ///
    /// # Errors
    /// [`StepError`]; nothing is recorded then.
    pub fn start(
        &self,
        unit: &mut Unit<'_>,
        saga_id: Uuid,
        definition: &str,
        input: P::Input,
    ) -> Result<Happened<P>, StepError> {
        let happened = self.begin(unit, saga_id, definition, Input::Start { input })?;
        self.follow(unit, happened)
    }

    /// Brings `input` before the saga `saga_id`, and records what follows, for it and for the sagas that it runs or is
    /// run by. To begin one, use [`Engine::start`].
    ///
    /// # Errors
    /// [`StepError`]; nothing is recorded then.
    pub fn apply(&self, unit: &mut Unit<'_>, saga_id: Uuid, input: Input<P>) -> Result<Happened<P>, StepError> {
        let is_cancel = matches!(input, Input::Cancel { .. });
        let happened = match self.one(unit, saga_id, input) {
            Err(StepError::Refused(Refusal::Ended { status: Status::Completed })) if is_cancel => {
                let Saga::Ended(ended) = unit.get::<Saga<P>>(saga_id)?.clone() else { return Ok(Vec::new()) };
                self.start_cancelling(unit, saga_id, &ended)?
            }
            other => other?,
        };
        self.follow(unit, happened)
    }

    /// Wakes the saga `saga_id`: for a timer that was claimed, and for a reconciler. Whatever is due happens, and the
    /// next wake-up is written even if nothing is: what was armed before is gone, or in doubt.
    ///
    /// # Errors
    /// [`StepError`]; nothing is recorded then.
    pub fn wake(&self, unit: &mut Unit<'_>, saga_id: Uuid) -> Result<Happened<P>, StepError> {
        let events = self.decide(unit, saga_id, Input::Wake)?;
        unit.timer_claimed(Saga::<P>::stream(saga_id));
        unit.correlate(saga_id);
        unit.record::<Saga<P>>(saga_id, &events)?;
        if !faults::planted(Plant::TimerNotRearmed) {
            arm::<P>(unit, saga_id)?;
        }
        self.follow(unit, of(saga_id, events))
    }

    /// Puts off what is due for the saga `saga_id`, by `by`: its question has not left, so that nobody can have answered
    /// it. Records nothing. Its own deadline is not put off.
    ///
    /// # Errors
    /// [`StepError`]; nothing is recorded then.
    pub fn put_off(&self, unit: &mut Unit<'_>, saga_id: Uuid, by: TimeDelta) -> Result<Happened<P>, StepError> {
        let now = unit.now();
        let saga = unit.get::<Saga<P>>(saga_id)?;
        let deadline = saga.deadline();
        if saga.next_wake().is_none_or(|due| due > now) || deadline.is_some_and(|deadline| deadline <= now) {
            return self.wake(unit, saga_id);
        }
        let due = deadline.unwrap_or(DateTime::<Utc>::MAX_UTC).min(now + by);
        unit.timer_claimed(Saga::<P>::stream(saga_id));
        unit.wake::<Saga<P>>(saga_id, Some(due))?;
        Ok(Vec::new())
    }

    /// Wakes the saga `saga_id`, whose question has only just left: the answers that are due are waited for as long as if
    /// they had been asked for now.
    ///
    /// # Errors
    /// [`StepError`]; nothing is recorded then.
    pub fn begin_patience(&self, unit: &mut Unit<'_>, saga_id: Uuid) -> Result<Happened<P>, StepError> {
        let now = unit.now();
        let saga = unit.get::<Saga<P>>(saga_id)?;
        let Some(pinned) = saga.definition().filter(|_| !saga.is_paused() && !saga.is_frozen()) else {
            return self.wake(unit, saga_id);
        };
        let definition = self.library.pinned(pinned)?;
        let late = timers(saga).into_iter().filter(|timer| timer.kind == TimerKind::Answer && timer.due <= now);
        let late: Vec<_> = late.filter_map(|timer| Some((timer.step?.0, timer.due))).collect();
        let mut happened = Vec::new();
        for (step, due) in late {
            let Some(ask) = definition.step(step.as_str()).and_then(Step::ask) else { continue };
            let by = now - due + TimeDelta::from_std(ask.timeout()).unwrap_or(TimeDelta::zero());
            let (actor, reason) = (Actor::new(SENDER), LEFT_LATE.to_owned());
            happened.extend(self.one(unit, saga_id, Input::ShiftTimers { step: Some(step), by, reason, actor })?);
        }
        happened.extend(self.wake(unit, saga_id)?);
        Ok(happened)
    }

    /// Begins a saga, and records what follows for it alone.
    pub(crate) fn begin(
        &self,
        unit: &mut Unit<'_>,
        saga_id: Uuid,
        definition: &str,
        start: Input<P>,
    ) -> Result<Happened<P>, StepError> {
        let now = unit.now();
        let saga = unit.get_or_new::<Saga<P>>(saga_id)?;
        let definition = match saga.definition() {
            Some(pinned) if pinned.name == definition => self.library.pinned(pinned)?,
            Some(_) | None => self.library.newest(definition)?,
        };
        let holds = self.holds.holds();
        let circumstances = Circumstances { holds: &holds, successor: None };
        let events = decide_given(definition, saga_id, saga, start, now, circumstances)?;
        self.record(unit, saga_id, events)
    }

    /// Brings `input` before one saga, and records what follows for it alone.
    pub(crate) fn one(&self, unit: &mut Unit<'_>, saga_id: Uuid, input: Input<P>) -> Result<Happened<P>, StepError> {
        let events = self.decide(unit, saga_id, input)?;
        self.record(unit, saga_id, events)
    }

    /// Brings `input` before the service's holds, and records what follows.
    ///
    /// # Errors
    /// [`HoldError`]; nothing is recorded then.
    pub fn hold(&self, unit: &mut Unit<'_>, input: HoldInput) -> Result<Vec<HoldEvent>, HoldError> {
        let is_wake = input == HoldInput::Wake;
        let now = unit.now();
        let events = hold::decide(unit.get::<Holds>(Holds::ID)?, input, now)?;
        if is_wake {
            unit.timer_claimed(Holds::only_stream());
        }
        unit.correlate(Holds::ID);
        unit.record::<Holds>(Holds::ID, &events)?;
        // Whoever waits for somebody in flight looks again after a while, not at once.
        let next_look = now + Holds::RELEASE_INTERVAL;
        let due = unit.get::<Holds>(Holds::ID)?.next_wake().map(|due| if due > now { due } else { next_look });
        unit.wake::<Holds>(Holds::ID, due)?;
        Ok(events)
    }

    /// The saga `saga_id` as it stands, this unit's own events included.
    ///
    /// # Errors
    /// [`Need`]: return it.
    pub fn saga<'u>(&self, unit: &'u mut Unit<'_>, saga_id: Uuid) -> Result<&'u Saga<P>, Need> {
        unit.get::<Saga<P>>(saga_id)
    }

    fn decide(&self, unit: &mut Unit<'_>, saga_id: Uuid, input: Input<P>) -> Result<Vec<SagaEvent<P>>, StepError> {
        let now = unit.now();
        let saga = unit.get::<Saga<P>>(saga_id)?;
        match saga.definition() {
            Some(pinned) => {
                let holds = self.holds.holds();
                let successor = successor(&self.library, pinned, &input);
                let circumstances = Circumstances { holds: &holds, successor };
                Ok(decide_given(self.library.pinned(pinned)?, saga_id, saga, input, now, circumstances)?)
            }
            None => not_started(&input),
        }
    }

    fn record(&self, unit: &mut Unit<'_>, saga_id: Uuid, events: Vec<SagaEvent<P>>) -> Result<Happened<P>, StepError> {
        if !events.is_empty() {
            unit.correlate(saga_id);
            unit.record::<Saga<P>>(saga_id, &events)?;
            arm::<P>(unit, saga_id)?;
            if events.iter().any(|event| matches!(event, SagaEvent::CompensationRequested { .. })) {
                faults::reach(Point::CompensationBefore);
            }
        }
        Ok(of(saga_id, events))
    }
}

/// The definition that a migration wants, if this program has it.
fn successor<'l, P: Process>(
    library: &'l Library<P>,
    pinned: &DefinitionRef,
    input: &Input<P>,
) -> Option<&'l Definition<P>> {
    let Input::Migrate { version, .. } = input else { return None };
    library.version(&pinned.name, *version)
}

fn of<P: Process>(saga_id: Uuid, events: Vec<SagaEvent<P>>) -> Happened<P> {
    events.into_iter().map(|event| (saga_id, event)).collect()
}

fn arm<P: Process>(unit: &mut Unit<'_>, saga_id: Uuid) -> Result<(), Need> {
    let due = unit.get::<Saga<P>>(saga_id)?.next_wake();
    unit.wake::<Saga<P>>(saga_id, due)
}

/// Without a saga there is no definition to decide by, and nothing to decide: messages go unheard, commands are told.
fn not_started<P: Process>(input: &Input<P>) -> Result<Vec<SagaEvent<P>>, StepError> {
    match input {
        Input::Start { .. }
        | Input::StartChild { .. }
        | Input::Cancel { .. }
        | Input::Resume { .. }
        | Input::Abandon { .. }
        | Input::Pause { .. }
        | Input::Unpause { .. }
        | Input::Retry { .. }
        | Input::Skip { .. }
        | Input::ShiftTimers { .. }
        | Input::FreezeTimers { .. }
        | Input::ThawTimers { .. }
        | Input::CancelTimer { .. }
        | Input::Migrate { .. } => Err(Refusal::NotStarted.into()),
        Input::Reply { .. } | Input::UndoReply { .. } | Input::Release { .. } | Input::Wake => Ok(Vec::new()),
    }
}
