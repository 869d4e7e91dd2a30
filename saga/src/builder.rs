use std::time::Duration;

use crate::definition::{Action, Ask, ChildInput, ChildOf, Condition, Definition, Kind, Step, Terms, Wording};
use crate::problem::{DefinitionError, Problem, problems};
use crate::prover::prove_shape;
use crate::{Process, RetryPolicy, StepName};

/// Moments that are tried out when a definition is built, for each choice of its conditional steps; fewer when it has more
/// than 16 steps, or more than eight choices.
pub const PROVEN_STATES_MAX: usize = 2_000;

/// Begins a definition. `name` follows the rules of step names; `version` counts from 1 and goes up with every change
/// that running sagas must not see.
#[must_use]
pub fn saga<P: Process>(name: &'static str, version: u32) -> Builder<P> {
    Builder { name, version, terms: Terms::default(), stages: Vec::new() }
}

/// A step that asks a participant. Waits 10 s for each answer and follows [`RetryPolicy::default`] unless told
/// otherwise.
#[must_use]
pub fn ask<P: Process>(request: Wording<P>) -> Ask<P> {
    let timeout = Duration::from_secs(10);
    let (request, retry) = (Some(request), RetryPolicy::default());
    Ask { request, child: None, only_if: None, timeout, retry, undo: None, undo_retry: undo_retry(), participant: None }
}

/// A step that asks nobody and waits for word from outside: a webhook, an approval. The word comes as a
/// [`Reply`](crate::Input::Reply) to the step.
///
/// No word in time is a no ([`Rejection::NO_WORD`](crate::Rejection::NO_WORD)), as nobody was asked for anything; behind
/// the point of no return it is for an operator. With an [`Ask::undo`] it counts as unknown instead, and is undone: say
/// how when word that comes too late would leave something behind.
#[must_use]
pub fn await_word<P: Process>(within: Duration) -> Ask<P> {
    let once = RetryPolicy::new(1, Duration::from_millis(1), Duration::from_millis(1));
    Ask {
        request: None,
        child: None,
        only_if: None,
        timeout: within,
        retry: once,
        undo: None,
        undo_retry: undo_retry(),
        participant: None,
    }
}

/// A step that runs another saga of the same process, the newest definition called `definition`, and is done when that is
/// completed. When that is undone, the step is refused. Undoing the step undoes that saga: by cancelling it, or by the
/// saga that its definition names ([`Builder::cancelled_by`]) when it is past its point of no return.
///
/// Waits a day for the end, then looks again, ten times unless told otherwise: a saga ends by itself.
#[must_use]
pub fn run<P: Process>(definition: &'static str, input: ChildInput<P>) -> Ask<P> {
    let child = Some(ChildOf { definition, input });
    let (timeout, retry) = (Duration::from_hours(24), RetryPolicy::default());
    Ask { request: None, child, only_if: None, timeout, retry, undo: None, undo_retry: undo_retry(), participant: None }
}

/// A step that asks nobody: it is done by being recorded.
#[must_use]
pub fn local() -> Local {
    Local
}

/// A step of a parallel group that can be undone.
#[must_use]
pub fn compensatable<P: Process>(name: &'static str, action: impl Into<Action<P>>) -> Step<P> {
    Step { name: StepName::new(name), kind: Kind::Compensatable, action: action.into() }
}

/// A step of a parallel group behind the point of no return.
#[must_use]
pub fn retriable<P: Process>(name: &'static str, action: impl Into<Action<P>>) -> Step<P> {
    Step { name: StepName::new(name), kind: Kind::Retriable, action: action.into() }
}

/// An undo is worth more patience than a step: giving up on it calls an operator.
fn undo_retry() -> RetryPolicy {
    RetryPolicy::new(50, Duration::from_millis(200), Duration::from_secs(60))
}

/// See [`local`].
#[derive(Clone, Copy, Debug)]
pub struct Local;

impl<P: Process> From<Local> for Action<P> {
    fn from(_: Local) -> Self {
        Self::Local
    }
}

impl<P: Process> From<Ask<P>> for Action<P> {
    fn from(ask: Ask<P>) -> Self {
        Self::Ask(ask)
    }
}

impl<P: Process> Ask<P> {
    /// How the participant is asked to undo the step. It may be asked although the step never reached it: it then
    /// notes that, and refuses the step when it comes late (the barrier).
    #[must_use]
    pub fn undo(self, request: Wording<P>) -> Self {
        Self { undo: Some(request), ..self }
    }

    /// Only when there is something to do; otherwise the step is recorded as skipped, and never undone.
    #[must_use]
    pub fn only_if(self, condition: Condition<P>) -> Self {
        Self { only_if: Some(condition), ..self }
    }

    /// How long an answer is waited for, with each attempt, undoing included: 1 ms to 30 days.
    #[must_use]
    pub fn within(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// Who is asked. Operators hold participants by this name ([`crate::hold`]). It is not part of the definition's hash:
    /// it does not change what a saga does.
    #[must_use]
    pub fn of(self, participant: &'static str) -> Self {
        Self { participant: Some(participant), ..self }
    }

    /// How often it is asked.
    #[must_use]
    pub fn retry(self, retry: RetryPolicy) -> Self {
        Self { retry, ..self }
    }

    /// How often it is asked to undo: 50 times, 200 ms to 60 s apart, unless told otherwise.
    #[must_use]
    pub fn undo_retry(self, undo_retry: RetryPolicy) -> Self {
        Self { undo_retry, ..self }
    }
}

/// A definition in the making. Nothing is checked before [`Builder::build`], and then everything.
#[derive(Clone, Debug)]
pub struct Builder<P: Process> {
    name: &'static str,
    version: u32,
    terms: Terms,
    stages: Vec<Stage<P>>,
}

#[derive(Clone, Debug)]
pub(crate) enum Stage<P: Process> {
    Single([Step<P>; 1]),
    Group(Vec<Step<P>>),
}

impl<P: Process> Stage<P> {
    pub(crate) fn steps(&self) -> &[Step<P>] {
        match self {
            Self::Single(step) => step,
            Self::Group(steps) => steps,
        }
    }
}

impl<P: Process> Builder<P> {
    /// The time from a saga's start in which it has to come to its point of no return: 1 ms to 30 days. What is not
    /// there by then is undone.
    #[must_use]
    pub fn deadline(self, deadline: Duration) -> Self {
        Self { terms: Terms { deadline: Some(deadline), ..self.terms }, ..self }
    }

    /// Which saga undoes one of these that is past its point of no return. Cancelled there, one of these completes first;
    /// then that saga is started with the same input.
    #[must_use]
    pub fn cancelled_by(self, definition: &'static str) -> Self {
        Self { terms: Terms { cancelled_by: Some(definition), ..self.terms }, ..self }
    }

    /// Which step's output is the output of the whole, for a saga that runs this one as a step.
    #[must_use]
    pub fn gives(self, step: &'static str) -> Self {
        Self { terms: Terms { gives: Some(step), ..self.terms }, ..self }
    }

    /// Then a step that can be undone; its action must say how.
    #[must_use]
    pub fn compensatable(self, name: &'static str, action: impl Into<Action<P>>) -> Self {
        self.stage(Stage::Single([compensatable(name, action)]))
    }

    /// Then the step after which there is no way back.
    #[must_use]
    pub fn pivot(self, name: &'static str, action: impl Into<Action<P>>) -> Self {
        let pivot = Step { name: StepName::new(name), kind: Kind::Pivot, action: action.into() };
        self.stage(Stage::Single([pivot]))
    }

    /// Then a step that is asked for until it is done.
    #[must_use]
    pub fn retriable(self, name: &'static str, action: impl Into<Action<P>>) -> Self {
        self.stage(Stage::Single([retriable(name, action)]))
    }

    /// Then 2 to 16 steps of one kind at the same time; what follows waits for all of them.
    #[must_use]
    pub fn in_parallel(self, steps: impl IntoIterator<Item = Step<P>>) -> Self {
        self.stage(Stage::Group(steps.into_iter().collect()))
    }

    fn stage(mut self, stage: Stage<P>) -> Self {
        self.stages.push(stage);
        self
    }

    /// Checks everything, tries out what may happen to its sagas ([`crate::prover`]), and makes it a definition.
    ///
    /// The trying out ends after [`PROVEN_STATES_MAX`] moments; a test of yours does the whole of it.
    ///
    /// # Errors
    /// [`DefinitionError`] names every problem there is, not just the first; what is found by trying out comes with the
    /// shortest story that leads to it.
    pub fn build(self) -> Result<Definition<P>, DefinitionError> {
        let Self { name, version, terms, stages } = &self;
        let cannot_be = |problems| DefinitionError { name, version: *version, problems };
        let problems = problems(name, *version, terms, stages);
        if !problems.is_empty() {
            return Err(cannot_be(problems));
        }
        let definition = Definition::assemble(name, *version, *terms, stages.iter().map(Stage::steps));
        let proof = prove_shape(&definition, PROVEN_STATES_MAX);
        proof.map_err(|unsound| cannot_be(vec![Problem::Unsound(Box::new(unsound))]))?;
        Ok(definition)
    }
}
