//! One life of a saga among participants that behave, but for one trouble.

use crate::pending::{Until, Wanted, pending};
use crate::testing::{World, resumed};
use crate::{
    Action, Ask, CompensationCause, Definition, Input, Kind, Lane, Outcome, Process, Rejection, SagaEvent, Status,
    StepName, UndoOutcome,
};

/// What the laws need to know to play a definition.
#[derive(Clone, Debug)]
pub struct Sample<'a, P: Process> {
    /// The definition.
    pub definition: &'a Definition<P>,
    /// What its sagas are started with.
    pub input: P::Input,
    /// What its steps report when they are done.
    pub output: fn(step: &str) -> Option<P::Output>,
}

/// What goes wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Trouble {
    /// The step is refused.
    Rejects,
    /// Nobody answers, until an operator sees to it.
    Silent,
    /// The first request, or the answer to it, is lost.
    SilentOnce,
    /// Whoever is asked does not know, until an operator sees to it.
    Unsure,
}

/// Where it goes wrong.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Plan {
    pub(super) step: StepName,
    pub(super) lane: Lane,
    pub(super) trouble: Trouble,
}

impl Plan {
    pub(super) fn of(step: &StepName, lane: Lane, trouble: Trouble) -> Self {
        Self { step: step.clone(), lane, trouble }
    }
}

/// A life.
#[derive(Clone, Debug)]
pub(super) struct Run<'a, P: Process> {
    pub(super) world: World<'a, P>,
    sample: &'a Sample<'a, P>,
    plans: Vec<Plan>,
    /// What came in and had an effect, commit by commit.
    pub(super) said: Vec<Input<P>>,
    /// Whether an operator was needed.
    pub(super) was_parked: bool,
}

/// More inputs than any saga within the limits of a definition needs.
const TURNS_MAX: usize = 300_000;

impl<'a, P: Process> Run<'a, P> {
    /// A saga that was just started.
    pub(super) fn begin(sample: &'a Sample<'a, P>, plans: Vec<Plan>) -> Self {
        let mut run = Self { world: World::new(sample.definition), sample, plans, said: Vec::new(), was_parked: false };
        run.say(Input::Start { input: sample.input.clone() });
        run
    }

    /// A saga that was left with `stored`.
    pub(super) fn left(sample: &'a Sample<'a, P>, plans: Vec<Plan>, stored: Vec<SagaEvent<P>>) -> Self {
        let mut world = World::new(sample.definition);
        world.commit(stored);
        Self { world, sample, plans, said: Vec::new(), was_parked: false }
    }

    /// Lets something come in that must be taken.
    pub(super) fn say(&mut self, input: Input<P>) -> Vec<SagaEvent<P>> {
        let outcome = self.world.submit(input.clone());
        assert!(outcome.is_ok(), "{}: {input:?} is refused: {outcome:?}", self.told());
        let events = outcome.unwrap_or_default();
        if !events.is_empty() {
            self.said.push(input);
        }
        events
    }

    /// Lets whatever comes next come in; false when the saga is over.
    pub(super) fn turn(&mut self) -> bool {
        let wanted = pending(self.world.saga()).wanted;
        let next = wanted.iter().find_map(|wanted| self.answer(wanted));
        let next = match next {
            Some(reply) => reply,
            None if self.world.sleep() => Input::Wake,
            None if self.world.saga().status() == Status::Parked => {
                self.was_parked = true;
                self.plans.clear();
                resumed()
            }
            None => return false,
        };
        let events = self.say(next.clone());
        assert!(!events.is_empty(), "{}: {next:?} was due and led to nothing", self.told());
        true
    }

    /// Lives until it waits for the end of a hold and nothing else, or to the end.
    pub(super) fn live_while_held(&mut self) {
        let mut turns = 0;
        while self.turn() {
            turns += 1;
            assert!(turns < TURNS_MAX, "{}: does not come to its hold", self.told());
        }
    }

    /// True when it was undone because its time was up.
    pub(super) fn was_late(&self) -> bool {
        self.world
            .history()
            .any(|event| matches!(event, SagaEvent::CompensationStarted { cause: CompensationCause::Late { .. } }))
    }

    /// Lives to the end.
    pub(super) fn finish(&mut self) -> Status {
        let mut turns = 0;
        while self.turn() {
            turns += 1;
            assert!(turns < TURNS_MAX, "{}: does not end", self.told());
        }
        assert!(self.world.saga().is_ended(), "{}: waits for nobody, but has not ended", self.told());
        self.world.saga().status()
    }

    fn answer(&self, wanted: &Wanted) -> Option<Input<P>> {
        match wanted.until {
            Until::Deadline(_) => {}
            Until::Retry(_) | Until::Operator | Until::Release => return None,
        }
        let plan = self.plans.iter().find(|plan| plan.step == wanted.step && plan.lane == wanted.lane);
        let step = wanted.step.clone();
        match (plan.map(|plan| plan.trouble), wanted.lane) {
            (Some(Trouble::SilentOnce), _) if wanted.attempt == 1 => None,
            (None | Some(Trouble::SilentOnce), Lane::Forward) => {
                let outcome = Outcome::Done((self.sample.output)(step.as_str()));
                Some(Input::Reply { step, outcome })
            }
            (None | Some(Trouble::SilentOnce), Lane::Undo) => {
                Some(Input::UndoReply { step, outcome: UndoOutcome::Done })
            }
            (Some(Trouble::Silent), _) => None,
            (Some(Trouble::Unsure | Trouble::Rejects), Lane::Undo) => {
                Some(Input::UndoReply { step, outcome: UndoOutcome::Unknown("unsure".to_owned()) })
            }
            (Some(Trouble::Unsure), Lane::Forward) => {
                Some(Input::Reply { step, outcome: Outcome::Unknown("unsure".to_owned()) })
            }
            (Some(Trouble::Rejects), Lane::Forward) => {
                let rejection = Rejection::new("NO", "refused by the law");
                Some(Input::Reply { step, outcome: Outcome::Rejected(rejection) })
            }
        }
    }

    /// For the message of a law that is broken.
    pub(super) fn told(&self) -> String {
        let history: Vec<_> = self.world.history().map(ToString::to_string).collect();
        format!("{} with {:?}, after {history:#?}", self.world.definition().id(), self.plans)
    }
}

/// Every trouble there is: none, each step that is taken in each way, each undo in each way while the last step that can
/// be refused is.
pub(super) fn plans<P: Process>(sample: &Sample<'_, P>) -> Vec<Vec<Plan>> {
    const TROUBLES: [Trouble; 4] = [Trouble::Rejects, Trouble::Silent, Trouble::SilentOnce, Trouble::Unsure];
    let plan = |step: &StepName, lane, trouble| Plan { step: step.clone(), lane, trouble };
    let taken = taken(sample);
    let asked = || {
        sample.definition.steps().iter().filter(|step| match step.action {
            Action::Ask(_) => taken.contains(&step.name),
            Action::Local => false,
        })
    };
    let mut plans = vec![Vec::new()];
    for step in asked() {
        plans.extend(TROUBLES.map(|trouble| vec![plan(&step.name, Lane::Forward, trouble)]));
    }
    let last = asked().rfind(|step| step.kind != Kind::Retriable);
    for step in asked().filter(|step| step.ask().is_some_and(Ask::has_undo)) {
        // A step that is refused itself is not undone, so it is one that nobody answers for.
        // (Without a word it counts as unknown, as it has an undo.)
        let trouble = if last.is_some_and(|last| last.name == step.name) { Trouble::Silent } else { Trouble::Rejects };
        let refused = last.map(|last| plan(&last.name, Lane::Forward, trouble));
        let troubles = [Trouble::Silent, Trouble::SilentOnce, Trouble::Unsure];
        plans.extend(
            troubles
                .map(|trouble| refused.clone().into_iter().chain([plan(&step.name, Lane::Undo, trouble)]).collect()),
        );
    }
    plans
}

/// The steps that are taken when nothing goes wrong: those that nothing is to be done for are left out.
fn taken<P: Process>(sample: &Sample<'_, P>) -> Vec<StepName> {
    let mut run = Run::begin(sample, Vec::new());
    run.finish();
    let is_asking = |event: &&SagaEvent<P>| {
        matches!(
            event,
            SagaEvent::StepRequested { .. } | SagaEvent::StepAwaited { .. } | SagaEvent::ChildRequested { .. }
        )
    };
    run.world.history().filter(is_asking).filter_map(|event| event.step().cloned()).collect()
}
