//! Judges that need to know nothing of the services: versions, memory against log, and the law of sagas.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use eventstore::memory::{CountingIds, FixedClock};
use eventstore::{Actor, Aggregate, Cache, Cause, DomainEvent, EventId, Recorded, StreamId, Unit};
use saga::{Action, Ask, Definition, DefinitionRef, Kind, Lane, Library, NO_ANSWER, Process, SagaEvent, Step};
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
        let folded = seen.map(|event| A::Event::from_recorded(event).map(|told| (told, event.id)));
        match folded.collect::<Result<Vec<_>, _>>() {
            Ok(events) => {
                let fold = |state: A, (event, id): &(A::Event, EventId)| state.evolve_stored(event, *id);
                if events.iter().fold(A::default(), fold) != believed {
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
    /// Somebody has seen to it by hand when it had been asked for: it may be done.
    Seen,
    /// Asked to be undone.
    Undoing(u32),
    Undone,
}

impl Standing {
    /// True when it is done, or may be.
    fn is_owed(self) -> bool {
        match self {
            Self::Open(_) | Self::Done | Self::Seen | Self::Undoing(_) => true,
            Self::Untouched | Self::Refused | Self::Skipped | Self::Undone => false,
        }
    }

    /// True when what comes after it may begin.
    fn is_over(self) -> bool {
        match self {
            Self::Done | Self::Skipped | Self::Seen => true,
            Self::Untouched | Self::Open(_) | Self::Refused | Self::Undoing(_) | Self::Undone => false,
        }
    }
}

/// A reader of one saga's history who was not there when it was written.
struct Reader<'a, P: Process> {
    library: &'a Library<P>,
    definition: Option<&'a Definition<P>>,
    steps: Vec<Standing>,
    /// Steps that wait at a hold.
    held: BTreeSet<String>,
    turned: bool,
    paused: bool,
    frozen: bool,
    over: bool,
    wrong: Vec<String>,
}

/// What is illegal about a saga's history: asked out of turn, undone out of order, undone what was not done or not undone
/// what was, asked at a hold or while it was paused, given up while time stood still, gone on after its end.
#[must_use]
pub fn history<P: Process>(library: &Library<P>, events: &[SagaEvent<P>]) -> Vec<String> {
    let mut reader = Reader {
        library,
        definition: None,
        steps: Vec::new(),
        held: BTreeSet::new(),
        turned: false,
        paused: false,
        frozen: false,
        over: false,
        wrong: Vec::new(),
    };
    for (index, event) in events.iter().enumerate() {
        let starts = matches!(event, SagaEvent::Started { .. });
        if starts != (index == 0) {
            reader.wrong.push(format!("{event} at place {}", index + 1));
        }
        if reader.over {
            reader.settles(event);
        } else {
            reader.read(event);
        }
    }
    reader.wrong
}

impl<'a, P: Process> Reader<'a, P> {
    fn read(&mut self, event: &SagaEvent<P>) {
        match event {
            SagaEvent::StepRequested { step, attempt, .. }
            | SagaEvent::StepAwaited { step, attempt, .. }
            | SagaEvent::ChildRequested { step, attempt, .. } => {
                self.asked(step.as_str(), *attempt);
            }
            SagaEvent::StepSucceeded { step, .. } => self.done(step.as_str()),
            SagaEvent::StepRejected { step, .. } => self.forward(step.as_str(), Standing::Refused),
            SagaEvent::StepSkipped { step, lane: Lane::Forward, .. } => self.skipped(step.as_str()),
            SagaEvent::StepSkipped { step, lane: Lane::Undo, .. } => self.put(step.as_str(), Standing::Undone),
            SagaEvent::CompensationStarted { .. } => self.turn(),
            SagaEvent::CompensationRequested { step, attempt, .. }
            | SagaEvent::ChildUndoRequested { step, attempt, .. } => self.asked_to_undo(step.as_str(), *attempt),
            SagaEvent::CompensationSucceeded { step } => self.undone(step.as_str()),
            SagaEvent::Completed => {
                let open = self.steps.iter().any(|step| !step.is_over());
                self.end(open || self.turned, "completed with steps that are not done");
            }
            SagaEvent::Compensated { .. } => {
                let owed = self.steps.iter().any(|step| step.is_owed());
                self.end(owed || !self.turned, "compensated with steps that are not undone");
            }
            SagaEvent::Abandoned { .. } => self.over = true,
            SagaEvent::Started { definition, .. } | SagaEvent::Migrated { definition, .. } => self.bind(definition),
            SagaEvent::Paused { .. } => self.paused = true,
            SagaEvent::Unpaused { .. } => self.paused = false,
            SagaEvent::TimersFrozen { .. } => self.frozen = true,
            SagaEvent::TimersThawed { .. } => self.frozen = false,
            SagaEvent::StepHeld { step, .. } => drop(self.held.insert(step.as_str().to_owned())),
            SagaEvent::StepReleased { step, .. } => drop(self.held.remove(step.as_str())),
            SagaEvent::StepUnknown { step, detail, .. } | SagaEvent::CompensationFailed { step, detail, .. } => {
                if self.frozen && detail == NO_ANSWER {
                    self.wrong.push(format!("{step} is given up while time stands still"));
                }
            }
            SagaEvent::StepRetried { .. }
            | SagaEvent::CancelRequested { .. }
            | SagaEvent::Parked { .. }
            | SagaEvent::Resumed { .. }
            | SagaEvent::TimersShifted { .. }
            | SagaEvent::TimerCancelled { .. } => {}
        }
    }

    /// After its end nothing happens any more, but what is left of it is seen to: asked to be undone (whoever undoes knows
    /// what is undone already), undone, seen to by hand.
    fn settles(&mut self, event: &SagaEvent<P>) {
        let step = event.step().map(ToString::to_string).unwrap_or_default();
        let standing = self.index(&step).map_or(Standing::Untouched, |index| self.standing(index));
        let may_be_left = standing.is_owed() || standing == Standing::Undone;
        let asked = matches!(standing, Standing::Undoing(_));
        let next = if let SagaEvent::CompensationRequested { attempt, .. } = event {
            may_be_left.then_some(Standing::Undoing(*attempt))
        } else if let SagaEvent::CompensationSucceeded { .. } = event {
            asked.then_some(Standing::Undone)
        } else if let SagaEvent::StepSkipped { lane: Lane::Undo, .. } = event {
            standing.is_owed().then_some(Standing::Undone)
        } else if let SagaEvent::CompensationFailed { .. } = event {
            asked.then_some(standing)
        } else if let SagaEvent::StepRetried { lane: Lane::Undo, .. } = event {
            may_be_left.then_some(standing)
        } else {
            None
        };
        match next {
            Some(next) => self.put(&step, next),
            None => self.wrong.push(format!("{event} after the end")),
        }
    }

    /// Goes on by this definition. Whatever was begun stands at the same place there.
    fn bind(&mut self, to: &DefinitionRef) {
        match self.library.pinned(to) {
            Ok(definition) => {
                let begun = self.steps.iter().rposition(|step| *step != Standing::Untouched).map_or(0, |last| last + 1);
                let name = |of: &Definition<P>, at: usize| of.steps().get(at).map(|step| step.name().clone());
                if let Some(from) = self.definition
                    && (0..begun).any(|at| name(from, at) != name(definition, at))
                {
                    self.wrong.push(format!("what was begun is not the same in {to}"));
                }
                self.steps.resize(definition.steps().len(), Standing::Untouched);
                self.definition = Some(definition);
            }
            Err(unknown) => self.wrong.push(unknown.to_string()),
        }
    }

    /// Somebody is asked for something: not while it is paused, nor at a hold.
    fn may_ask(&mut self, step: &str) {
        if self.paused {
            self.wrong.push(format!("{step} is asked for while it is paused"));
        }
        if self.held.contains(step) {
            self.wrong.push(format!("{step} is asked for at its hold"));
        }
    }

    fn skipped(&mut self, step: &str) {
        let asked = matches!(self.standing(self.index(step).unwrap_or(usize::MAX)), Standing::Open(_));
        self.put(step, if asked { Standing::Seen } else { Standing::Skipped });
    }

    fn index(&self, step: &str) -> Option<usize> {
        self.definition?.steps().iter().position(|known| known.name().as_str() == step)
    }

    fn standing(&self, index: usize) -> Standing {
        self.steps.get(index).copied().unwrap_or(Standing::Untouched)
    }

    fn put(&mut self, step: &str, standing: Standing) {
        let index = self.index(step);
        match index.and_then(|index| self.steps.get_mut(index)) {
            Some(place) => *place = standing,
            None => self.wrong.push(format!("{step} is no step of it")),
        }
    }

    /// The steps that are taken at the same time as the one at `index`.
    fn stage(&self, index: usize) -> Range<usize> {
        let mut first = 0;
        for stage in self.definition.into_iter().flat_map(Definition::stages) {
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
        before.iter().all(|step| step.is_over())
    }

    fn asked(&mut self, step: &str, attempt: u32) {
        self.may_ask(step);
        let index = self.index(step).unwrap_or(usize::MAX);
        let expected = match self.standing(index) {
            Standing::Untouched => 1,
            Standing::Open(before) => before + 1,
            Standing::Done
            | Standing::Refused
            | Standing::Skipped
            | Standing::Seen
            | Standing::Undoing(_)
            | Standing::Undone => 0,
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

    fn step(&self, index: usize) -> Option<&'a Step<P>> {
        self.definition?.steps().get(index)
    }

    fn turn(&mut self) {
        let steps = self.definition.into_iter().flat_map(Definition::steps);
        let beyond = steps.zip(&self.steps).any(|(step, standing)| match step.kind() {
            Kind::Compensatable => false,
            Kind::Pivot => *standing == Standing::Done,
            Kind::Retriable => *standing != Standing::Untouched,
        });
        if self.turned || beyond {
            self.wrong.push("turned past its point of no return, or twice".to_owned());
        }
        // Whoever waited to happen waits no more.
        self.held.clear();
        self.turned = true;
    }

    fn asked_to_undo(&mut self, step: &str, attempt: u32) {
        self.may_ask(step);
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
