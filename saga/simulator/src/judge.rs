//! Judges that need to know nothing of the services: versions, memory against log, and the law of sagas.

use std::collections::BTreeMap;
use std::ops::Range;

use eventstore::memory::{CountingIds, FixedClock};
use eventstore::{Actor, Aggregate, Cache, Cause, DomainEvent, Recorded, StreamId, Unit};
use saga::{Action, Ask, Definition, Kind, Lane, Process, SagaEvent, Step};
use uuid::Uuid;

use crate::nature::{Nature, Violation, shown};

/// The streams of a log, each with its events in order.
#[must_use]
pub fn streams(log: &[Recorded]) -> BTreeMap<StreamId, Vec<&Recorded>> {
    let mut streams: BTreeMap<StreamId, Vec<&Recorded>> = BTreeMap::new();
    for event in log {
        streams.entry(event.stream).or_default().push(event);
    }
    streams
}

/// Versions are 1, 2, 3 in every stream, and every event's digest follows from the one before.
#[must_use]
pub fn versions(log: &[Recorded]) -> Vec<Violation> {
    let mut violations = Vec::new();
    for (stream, events) in streams(log) {
        for (index, event) in events.iter().enumerate() {
            if event.version.get() != index as u64 + 1 {
                let what = format!("{} has version {} at place {}", shown(stream), event.version, index + 1);
                violations.push(Violation { promise: "versions are dense", what });
            }
        }
    }
    violations
}

/// What a replica has in memory of streams of `A` is what their events say.
pub fn memory<A: Aggregate + PartialEq>(nature: &mut Nature, cache: &mut Cache, log: &[Recorded]) {
    let (ids, clock) = (CountingIds::new(u16::MAX), FixedClock(nature.time()));
    let cause = Cause { correlation: Uuid::nil(), causation: Uuid::nil(), trace: None, actor: Actor::new("judge") };
    let mut unit = Unit::new(cache, &ids, &clock, cause);
    for (stream, events) in streams(log).into_iter().filter(|(stream, _)| stream.category == A::CATEGORY) {
        let Ok(believed) = unit.get::<A>(stream.id).cloned() else { continue };
        let version = unit.version::<A>(stream.id).get();
        let seen = events.iter().filter(|event| event.version.get() <= version);
        let folded = seen.map(|event| A::Event::from_recorded(event)).collect::<Result<Vec<_>, _>>();
        match folded {
            Ok(events) => {
                if events.iter().fold(A::default(), A::evolve) != believed {
                    nature.accuse("memory is what the log says", format!("{} at {version}", shown(stream)));
                }
            }
            Err(error) => nature.accuse("what is stored can be read", error.to_string()),
        }
    }
}

/// How far a step has come, as its events alone say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Standing {
    Untouched,
    /// Asked for or awaited: it may be done.
    Open(u32),
    Done,
    Refused,
    Skipped,
    /// Asked to be undone.
    Undoing(u32),
    Undone,
}

impl Standing {
    /// True when it is done, or may be.
    fn is_owed(self) -> bool {
        match self {
            Self::Open(_) | Self::Done | Self::Undoing(_) => true,
            Self::Untouched | Self::Refused | Self::Skipped | Self::Undone => false,
        }
    }
}

/// A reader of one saga's history who was not there when it was written.
struct Reader<'a, P: Process> {
    definition: &'a Definition<P>,
    steps: Vec<Standing>,
    turned: bool,
    over: bool,
    wrong: Vec<String>,
}

/// What is illegal about a saga's history: asked out of turn, undone out of order, undone what was not done or not undone
/// what was, gone on after its end.
#[must_use]
pub fn history<P: Process>(definition: &Definition<P>, events: &[SagaEvent<P>]) -> Vec<String> {
    let steps = vec![Standing::Untouched; definition.steps().len()];
    let mut reader = Reader { definition, steps, turned: false, over: false, wrong: Vec::new() };
    for (index, event) in events.iter().enumerate() {
        let starts = matches!(event, SagaEvent::Started { .. });
        if starts != (index == 0) {
            reader.wrong.push(format!("{event} at place {}", index + 1));
        }
        if reader.over {
            reader.wrong.push(format!("{event} after the end"));
        }
        reader.read(event);
    }
    reader.wrong
}

impl<P: Process> Reader<'_, P> {
    fn read(&mut self, event: &SagaEvent<P>) {
        match event {
            SagaEvent::StepRequested { step, attempt, .. }
            | SagaEvent::StepAwaited { step, attempt, .. }
            | SagaEvent::ChildRequested { step, attempt, .. } => {
                self.asked(step.as_str(), *attempt);
            }
            SagaEvent::StepSucceeded { step, .. } => self.done(step.as_str()),
            SagaEvent::StepRejected { step, .. } => self.forward(step.as_str(), Standing::Refused),
            SagaEvent::StepSkipped { step, lane: Lane::Forward, .. } => self.put(step.as_str(), Standing::Skipped),
            SagaEvent::StepSkipped { step, lane: Lane::Undo, .. } => self.put(step.as_str(), Standing::Undone),
            SagaEvent::CompensationStarted { .. } => self.turn(),
            SagaEvent::CompensationRequested { step, attempt, .. }
            | SagaEvent::ChildUndoRequested { step, attempt, .. } => self.asked_to_undo(step.as_str(), *attempt),
            SagaEvent::CompensationSucceeded { step } => self.undone(step.as_str()),
            SagaEvent::Completed => {
                let open = self.steps.iter().any(|step| !matches!(step, Standing::Done | Standing::Skipped));
                self.end(open || self.turned, "completed with steps that are not done");
            }
            SagaEvent::Compensated { .. } => {
                let owed = self.steps.iter().any(|step| step.is_owed());
                self.end(owed || !self.turned, "compensated with steps that are not undone");
            }
            SagaEvent::Abandoned { .. } => self.over = true,
            SagaEvent::Started { .. }
            | SagaEvent::StepUnknown { .. }
            | SagaEvent::StepRetried { .. }
            | SagaEvent::CompensationFailed { .. }
            | SagaEvent::CancelRequested { .. }
            | SagaEvent::Parked { .. }
            | SagaEvent::Resumed { .. }
            | SagaEvent::Paused { .. }
            | SagaEvent::Unpaused { .. }
            | SagaEvent::StepHeld { .. }
            | SagaEvent::StepReleased { .. }
            | SagaEvent::TimersShifted { .. }
            | SagaEvent::TimersFrozen { .. }
            | SagaEvent::TimersThawed { .. }
            | SagaEvent::TimerCancelled { .. }
            | SagaEvent::Migrated { .. } => {}
        }
    }

    fn index(&self, step: &str) -> Option<usize> {
        self.definition.steps().iter().position(|known| known.name().as_str() == step)
    }

    fn standing(&self, index: usize) -> Standing {
        self.steps.get(index).copied().unwrap_or(Standing::Untouched)
    }

    fn put(&mut self, step: &str, standing: Standing) {
        let index = self.index(step);
        match index.and_then(|index| self.steps.get_mut(index)) {
            Some(place) => *place = standing,
            None => self.wrong.push(format!("{step} is no step of {}", self.definition.id())),
        }
    }

    /// The steps that are taken at the same time as the one at `index`.
    fn stage(&self, index: usize) -> Range<usize> {
        let mut first = 0;
        for stage in self.definition.stages() {
            let end = first + stage.len();
            if index < end {
                return first..end;
            }
            first = end;
        }
        first..first
    }

    /// Is everything before the stage of this step done?
    fn in_turn(&self, index: usize) -> bool {
        let stage = self.stage(index);
        let before = self.steps.get(..stage.start).unwrap_or_default();
        before.iter().all(|step| matches!(step, Standing::Done | Standing::Skipped))
    }

    fn asked(&mut self, step: &str, attempt: u32) {
        let index = self.index(step).unwrap_or(usize::MAX);
        let expected = match self.standing(index) {
            Standing::Untouched => 1,
            Standing::Open(before) => before + 1,
            Standing::Done | Standing::Refused | Standing::Skipped | Standing::Undoing(_) | Standing::Undone => 0,
        };
        // What was refused may be asked again: a retriable step that an operator has resumed.
        let again = self.standing(index) == Standing::Refused;
        if self.turned || !self.in_turn(index) || (attempt != expected && !again) {
            self.wrong.push(format!("{step} is asked for the {attempt}. time out of turn"));
        }
        self.put(step, Standing::Open(attempt));
    }

    fn done(&mut self, step: &str) {
        let index = self.index(step).unwrap_or(usize::MAX);
        let local = self.step(index).is_some_and(|step| matches!(step.action(), Action::Local));
        let asked = matches!(self.standing(index), Standing::Open(_) | Standing::Refused);
        if self.turned || !self.in_turn(index) || !(local || asked) {
            self.wrong.push(format!("{step} is done out of turn"));
        }
        self.put(step, Standing::Done);
    }

    fn forward(&mut self, step: &str, standing: Standing) {
        let index = self.index(step).unwrap_or(usize::MAX);
        if self.turned || !matches!(self.standing(index), Standing::Open(_)) {
            self.wrong.push(format!("{step} becomes {standing:?} out of turn"));
        }
        self.put(step, standing);
    }

    fn step(&self, index: usize) -> Option<&Step<P>> {
        self.definition.steps().get(index)
    }

    fn turn(&mut self) {
        let beyond = self.definition.steps().iter().zip(&self.steps).any(|(step, standing)| match step.kind() {
            Kind::Compensatable => false,
            Kind::Pivot => *standing == Standing::Done,
            Kind::Retriable => *standing != Standing::Untouched,
        });
        if self.turned || beyond {
            self.wrong.push("turned past its point of no return, or twice".to_owned());
        }
        self.turned = true;
    }

    fn asked_to_undo(&mut self, step: &str, attempt: u32) {
        let index = self.index(step).unwrap_or(usize::MAX);
        let standing = self.standing(index);
        let expected = if let Standing::Undoing(before) = standing { before + 1 } else { 1 };
        let stage_end = self.stage(index).end;
        let later_owed = self.steps.get(stage_end..).unwrap_or_default().iter().any(|step| step.is_owed());
        if !self.turned || !standing.is_owed() || later_owed || attempt != expected {
            self.wrong.push(format!("{step} is asked to be undone for the {attempt}. time out of turn"));
        }
        self.put(step, Standing::Undoing(attempt));
    }

    fn undone(&mut self, step: &str) {
        let index = self.index(step).unwrap_or(usize::MAX);
        let no_undo = self.step(index).and_then(Step::ask).is_some_and(|ask: &Ask<P>| !ask.has_undo());
        let asked = matches!(self.standing(index), Standing::Undoing(_));
        if !self.turned || !(asked || no_undo) {
            self.wrong.push(format!("{step} is undone, and nobody was asked to"));
        }
        self.put(step, Standing::Undone);
    }

    fn end(&mut self, wrong: bool, what: &str) {
        if wrong {
            self.wrong.push(what.to_owned());
        }
        self.over = true;
    }
}
