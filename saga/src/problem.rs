//! What is wrong with a definition, as far as looking at it tells; and how it is said.

use std::collections::HashSet;
use std::fmt;
use std::time::Duration;

use crate::builder::Stage;
use crate::definition::{Action, Ask, Definition, Kind, Step, Terms};
use crate::name::is_well_formed;
use crate::prover::Unsound;
use crate::{Process, RetryPolicy, StepName};

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
    /// It looks sound, and something can happen to its sagas that must not.
    #[error(transparent)]
    Unsound(Box<Unsound>),
}

fn listed(problems: &[Problem]) -> impl fmt::Display {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// Everything that is wrong with a definition in the making, as far as looking at it tells.
pub(crate) fn problems<P: Process>(name: &str, version: u32, terms: &Terms, stages: &[Stage<P>]) -> Vec<Problem> {
    let mut problems = Vec::new();
    if !is_well_formed(name) {
        problems.push(Problem::Name { name: name.to_owned() });
    }
    if version == 0 {
        problems.push(Problem::Version);
    }
    if let Some(deadline) = terms.deadline.filter(|deadline| !is_sound_wait::<P>(*deadline)) {
        problems.push(Problem::Deadline { deadline });
    }
    let count = stages.iter().map(|stage| stage.steps().len()).sum();
    if !(1..=Definition::<P>::STEPS_MAX).contains(&count) {
        problems.push(Problem::StepCount { count });
    }
    for stage in stages {
        group_problems(stage, &mut problems);
    }
    let steps = || stages.iter().flat_map(Stage::steps);
    order_problems(steps(), &mut problems);
    if let Some(gives) = terms.gives.filter(|gives| steps().all(|step| step.name != **gives)) {
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
