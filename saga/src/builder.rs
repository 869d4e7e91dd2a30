use std::collections::HashSet;
use std::fmt;
use std::time::Duration;

use crate::definition::{Action, Ask, ChildInput, ChildOf, Condition, Definition, Kind, Step, Terms, Wording};
use crate::name::is_well_formed;
use crate::{Process, RetryPolicy, StepName};

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
enum Stage<P: Process> {
    Single([Step<P>; 1]),
    Group(Vec<Step<P>>),
}

impl<P: Process> Stage<P> {
    fn steps(&self) -> &[Step<P>] {
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

    /// Checks everything and makes it a definition.
    ///
    /// # Errors
    /// [`DefinitionError`] names every problem there is, not just the first.
    pub fn build(self) -> Result<Definition<P>, DefinitionError> {
        let problems = self.problems();
        if problems.is_empty() {
            Ok(Definition::assemble(self.name, self.version, self.terms, self.stages.iter().map(Stage::steps)))
        } else {
            Err(DefinitionError { name: self.name, version: self.version, problems })
        }
    }

    fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        if !is_well_formed(self.name) {
            problems.push(Problem::Name { name: self.name.to_owned() });
        }
        if self.version == 0 {
            problems.push(Problem::Version);
        }
        if let Some(deadline) = self.terms.deadline.filter(|deadline| !is_sound_wait::<P>(*deadline)) {
            problems.push(Problem::Deadline { deadline });
        }
        let count = self.stages.iter().map(|stage| stage.steps().len()).sum();
        if !(1..=Definition::<P>::STEPS_MAX).contains(&count) {
            problems.push(Problem::StepCount { count });
        }
        for stage in &self.stages {
            group_problems(stage, &mut problems);
        }
        let steps = || self.stages.iter().flat_map(Stage::steps);
        order_problems(steps(), &mut problems);
        if let Some(gives) = self.terms.gives.filter(|gives| steps().all(|step| step.name != **gives)) {
            problems.push(Problem::GivesNothing { step: StepName::new(gives) });
        }
        let mut names = HashSet::new();
        for step in steps() {
            if !names.insert(step.name.as_str()) {
                problems.push(Problem::NameTwice { step: step.name.clone() });
            }
            step_problems(step, &mut problems);
        }
        problems
    }
}

fn group_problems<P: Process>(stage: &Stage<P>, problems: &mut Vec<Problem>) {
    let Stage::Group(steps) = stage else { return };
    if !(2..=Definition::<P>::GROUP_MAX).contains(&steps.len()) {
        problems.push(Problem::GroupSize { count: steps.len() });
    }
    let Some(group) = steps.first().map(|first| first.kind) else { return };
    for step in steps.iter().filter(|step| step.kind != group) {
        problems.push(Problem::MixedGroup { step: step.name.clone(), kind: step.kind, group });
    }
}

/// Compensatable steps, then at most one pivot, then retriable steps.
fn order_problems<'a, P: Process>(steps: impl Iterator<Item = &'a Step<P>> + Clone, problems: &mut Vec<Problem>) {
    let pivot = steps.clone().position(|step| step.kind == Kind::Pivot);
    let mut no_return: Option<&StepName> = None;
    for (index, step) in steps.enumerate() {
        match (step.kind, no_return) {
            (Kind::Compensatable, Some(after)) => {
                problems.push(Problem::NoWayBack { step: step.name.clone(), after: after.clone() });
            }
            (Kind::Pivot, Some(_)) if pivot != Some(index) => {
                problems.push(Problem::SecondPivot { step: step.name.clone() });
            }
            (Kind::Retriable, _) if pivot.is_some_and(|pivot| index < pivot) => {
                problems.push(Problem::RetriableBeforePivot { step: step.name.clone() });
            }
            (Kind::Compensatable, None) => {}
            (Kind::Pivot | Kind::Retriable, _) => no_return = no_return.or(Some(&step.name)),
        }
    }
}

fn step_problems<P: Process>(step: &Step<P>, problems: &mut Vec<Problem>) {
    let name = || step.name.clone();
    if !is_well_formed(step.name.as_str()) {
        problems.push(Problem::Name { name: step.name.to_string() });
    }
    let awaited = step.ask().is_some_and(Ask::is_awaited);
    let has_undo = match &step.action {
        Action::Local => false,
        Action::Ask(ask) => {
            if !is_sound_wait::<P>(ask.timeout) {
                problems.push(Problem::Timeout { step: name(), timeout: ask.timeout });
            }
            if step.kind == Kind::Pivot && ask.is_conditional() {
                problems.push(Problem::ConditionalPivot { step: name() });
            }
            if let Some(name) = ask.participant.filter(|name| !is_well_formed(name)) {
                problems.push(Problem::Name { name: name.to_owned() });
            }
            for policy in [ask.retry, ask.undo_retry].into_iter().filter(|policy| !is_sound(*policy)) {
                problems.push(Problem::Policy { step: name(), policy });
            }
            ask.undo.is_some()
        }
    };
    if step.ask().is_some_and(|ask| ask.child.is_some()) {
        if has_undo {
            problems.push(Problem::ChildUndo { step: name() });
        }
        return;
    }
    match (step.kind, has_undo) {
        // Word that came needs no undoing.
        (Kind::Compensatable, false) if awaited => {}
        (Kind::Compensatable, false) => problems.push(Problem::NoUndo { step: name() }),
        (Kind::Pivot | Kind::Retriable, true) => problems.push(Problem::UselessUndo { step: name(), kind: step.kind }),
        (Kind::Compensatable, true) | (Kind::Pivot | Kind::Retriable, false) => {}
    }
}

fn is_sound_wait<P: Process>(wait: Duration) -> bool {
    (Definition::<P>::TIMEOUT_MIN..=Definition::<P>::TIMEOUT_MAX).contains(&wait)
}

fn is_sound(policy: RetryPolicy) -> bool {
    policy.attempts_max.get() <= RetryPolicy::ATTEMPTS_MAX
        && policy.backoff_first >= Duration::from_millis(1)
        && policy.backoff_first <= policy.backoff_max
        && policy.backoff_max <= RetryPolicy::BACKOFF_MAX
}

/// Why a definition cannot be: everything that is wrong with it. A programmer must change it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("saga {name} v{version} cannot be: {}", listed(problems))]
pub struct DefinitionError {
    /// Its name.
    pub name: &'static str,
    /// Its version.
    pub version: u32,
    /// What is wrong, at least one thing.
    pub problems: Vec<Problem>,
}

/// One thing that is wrong with a definition.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// Names are read by people, put in subjects and compared in databases.
    #[error("`{name}` is not a name: 1 to 64 characters of a-z, 0-9 and -")]
    #[expect(missing_docs, reason = "the message says what the fields are, here and below")]
    Name { name: String },
    /// Zero is what a version is that nobody thought of.
    #[error("versions count from 1")]
    Version,
    /// A saga does something, and a bounded number of things.
    #[error("{count} steps, must be 1 to 64")]
    #[expect(missing_docs, reason = "see above")]
    StepCount { count: usize },
    /// Replies find their step by its name.
    #[error("two steps are called {step}")]
    #[expect(missing_docs, reason = "see above")]
    NameTwice { step: StepName },
    /// A group is some steps at the same time.
    #[error("{count} steps in parallel, must be 2 to 16")]
    #[expect(missing_docs, reason = "see above")]
    GroupSize { count: usize },
    /// Half a group cannot be undone.
    #[error("{step} is {kind}, but its parallel group is {group}")]
    #[expect(missing_docs, reason = "see above")]
    MixedGroup { step: StepName, kind: Kind, group: Kind },
    /// What is behind the point of no return is never undone.
    #[error("{step} is compensatable, but comes after {after}, from which there is no way back")]
    #[expect(missing_docs, reason = "see above")]
    NoWayBack { step: StepName, after: StepName },
    /// There is one point of no return.
    #[error("{step} is a second pivot")]
    #[expect(missing_docs, reason = "see above")]
    SecondPivot { step: StepName },
    /// A step that has no undo and no choice but to succeed is itself a point of no return.
    #[error("{step} is retriable, but comes before the pivot")]
    #[expect(missing_docs, reason = "see above")]
    RetriableBeforePivot { step: StepName },
    /// What is to be undone must say how.
    #[error("{step} is compensatable, but has no undo")]
    #[expect(missing_docs, reason = "see above")]
    NoUndo { step: StepName },
    /// An undo that is never asked for is a misunderstanding.
    #[error("{step} has an undo, but {kind} steps are never undone")]
    #[expect(missing_docs, reason = "see above")]
    UselessUndo { step: StepName, kind: Kind },
    /// Whoever waits has a deadline.
    #[error("{step} waits for {timeout:?}, must be 1 ms to 30 days")]
    #[expect(missing_docs, reason = "see above")]
    Timeout { step: StepName, timeout: Duration },
    /// So has the saga as a whole.
    #[error("a deadline of {deadline:?}, must be 1 ms to 30 days")]
    #[expect(missing_docs, reason = "see above")]
    Deadline { deadline: Duration },
    /// Whoever leaves out the point of no return does not know whether there is a way back.
    #[error("{step} is the pivot, and cannot be left out")]
    #[expect(missing_docs, reason = "see above")]
    ConditionalPivot { step: StepName },
    /// What a saga gives is what one of its steps reported.
    #[error("it gives what {step} reports, and there is no such step")]
    #[expect(missing_docs, reason = "see above")]
    GivesNothing { step: StepName },
    /// A saga that is run as a step is undone in its own way.
    #[error("{step} runs another saga and has an undo: that saga has its own")]
    #[expect(missing_docs, reason = "see above")]
    ChildUndo { step: StepName },
    /// Retries are bounded in number and in time.
    #[error("{step} has a policy out of bounds: {policy:?}")]
    #[expect(missing_docs, reason = "see above")]
    Policy { step: StepName, policy: RetryPolicy },
}

fn listed(problems: &[Problem]) -> impl fmt::Display {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}
