mod hash;

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;
use std::time::Duration;

use self::hash::hash;
pub use self::hash::{DefinitionHash, DefinitionRef};
use crate::{Facts, Lane, Process, RetryPolicy, StepName};

/// Words a request. A plain function of facts: no clock, no state, the same answer every time.
pub type Wording<P> = fn(&Facts<'_, P>) -> <P as Process>::Request;

/// Says whether there is anything to do. A plain function of facts, like [`Wording`].
pub type Condition<P> = fn(&Facts<'_, P>) -> bool;

/// What a step is to the way back.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Kind {
    /// Can be undone.
    Compensatable,
    /// Once it is done there is no way back.
    Pivot,
    /// Behind the point of no return: it is asked for until it is done.
    Retriable,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Compensatable => "compensatable",
            Self::Pivot => "pivot",
            Self::Retriable => "retriable",
        })
    }
}

/// What taking a step means.
#[derive(Clone, Copy, Debug)]
pub enum Action<P: Process> {
    /// A participant is asked, or word from outside is awaited.
    Ask(Ask<P>),
    /// Nobody is asked: the step is done by being recorded.
    Local,
}

/// What the saga that is run as a step is started with. A plain function of facts, like [`Wording`].
pub type ChildInput<P> = fn(&Facts<'_, P>) -> <P as Process>::Input;

/// A saga that is run as a step.
#[derive(Debug)]
pub(crate) struct ChildOf<P: Process> {
    pub(crate) definition: &'static str,
    pub(crate) input: ChildInput<P>,
}

impl<P: Process> Clone for ChildOf<P> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<P: Process> Copy for ChildOf<P> {}

/// How a participant is asked, and asked to undo; or how long word from outside is awaited. Built by
/// [`ask`](crate::ask) and [`await_word`](crate::await_word).
#[derive(Clone, Copy, Debug)]
pub struct Ask<P: Process> {
    /// `None`: nobody is asked.
    pub(crate) request: Option<Wording<P>>,
    /// Which saga is run instead of asking somebody.
    pub(crate) child: Option<ChildOf<P>>,
    pub(crate) only_if: Option<Condition<P>>,
    pub(crate) timeout: Duration,
    pub(crate) retry: RetryPolicy,
    pub(crate) undo: Option<Wording<P>>,
    pub(crate) undo_retry: RetryPolicy,
    /// For operators and holds; not part of the hash.
    pub(crate) participant: Option<&'static str>,
}

impl<P: Process> Ask<P> {
    /// Who is asked, where the definition says so.
    #[must_use]
    pub fn participant(&self) -> Option<&'static str> {
        self.participant
    }

    /// True when nobody is asked: word comes from outside, or it does not.
    #[must_use]
    pub fn is_awaited(&self) -> bool {
        self.request.is_none() && self.child.is_none()
    }

    /// The definition of the saga that is run as this step, if one is.
    #[must_use]
    pub fn child(&self) -> Option<&'static str> {
        self.child.as_ref().map(|child| child.definition)
    }

    /// True when the step may be left out.
    #[must_use]
    pub fn is_conditional(&self) -> bool {
        self.only_if.is_some()
    }

    /// True when it can be asked to be undone.
    #[must_use]
    pub fn has_undo(&self) -> bool {
        self.undo.is_some() || self.child.is_some()
    }

    /// How long an answer is waited for.
    #[must_use]
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// How often it is asked; `Lane::Undo`: to undo.
    #[must_use]
    pub fn policy(&self, lane: Lane) -> RetryPolicy {
        match lane {
            Lane::Forward => self.retry,
            Lane::Undo => self.undo_retry,
        }
    }
}

/// One step of a definition.
#[derive(Clone, Debug)]
pub struct Step<P: Process> {
    pub(crate) name: StepName,
    pub(crate) kind: Kind,
    pub(crate) action: Action<P>,
}

impl<P: Process> Step<P> {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &StepName {
        &self.name
    }

    /// Its kind.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// What taking it means.
    #[must_use]
    pub fn action(&self) -> &Action<P> {
        &self.action
    }

    /// How its participant is asked; `None` for a local step.
    #[must_use]
    pub fn ask(&self) -> Option<&Ask<P>> {
        match &self.action {
            Action::Ask(ask) => Some(ask),
            Action::Local => None,
        }
    }
}

/// A process as data: its stages in order, each one step or a group of steps that are taken at the same time.
///
/// Made by [`saga`](crate::saga) and checked when built, so whoever holds one need not check anything:
/// compensatable steps come first, then at most one pivot, then retriable steps; names are unique; limits are kept.
#[derive(Clone, Debug)]
pub struct Definition<P: Process> {
    id: DefinitionRef,
    steps: Vec<Step<P>>,
    /// The steps of each stage, as a range of `steps`.
    stages: Vec<Range<usize>>,
    /// The first step that cannot be undone; `steps.len()` when all can.
    no_return: usize,
    terms: Terms,
}

/// What holds for a definition as a whole.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Terms {
    pub(crate) deadline: Option<Duration>,
    /// The saga that undoes one that is past its point of no return.
    pub(crate) cancelled_by: Option<&'static str>,
    /// The step whose output is the saga's own.
    pub(crate) gives: Option<&'static str>,
}

impl<P: Process> Definition<P> {
    /// The most steps a definition may have.
    pub const STEPS_MAX: usize = 64;
    /// The most steps that may be taken at the same time.
    pub const GROUP_MAX: usize = 16;
    /// The shortest time to wait for an answer.
    pub const TIMEOUT_MIN: Duration = Duration::from_millis(1);
    /// The longest time to wait for an answer.
    pub const TIMEOUT_MAX: Duration = Duration::from_hours(30 * 24);

    /// For the builder, which has checked all of it.
    pub(crate) fn assemble<'s>(
        name: &'static str,
        version: u32,
        terms: Terms,
        groups: impl Iterator<Item = &'s [Step<P>]>,
    ) -> Self {
        let mut stages = Vec::new();
        let mut steps = Vec::new();
        for group in groups {
            let first = steps.len();
            steps.extend_from_slice(group);
            stages.push(first..steps.len());
        }
        let no_return = steps.iter().position(|step| step.kind != Kind::Compensatable).unwrap_or(steps.len());
        let hash = hash(name, version, terms, &steps, &stages);
        Self { id: DefinitionRef { name: Cow::Borrowed(name), version, hash }, steps, stages, no_return, terms }
    }

    /// What a saga of this definition is bound to.
    #[must_use]
    pub fn id(&self) -> &DefinitionRef {
        &self.id
    }

    /// In what time its sagas have to come to their point of no return, from their start.
    #[must_use]
    pub fn deadline(&self) -> Option<Duration> {
        self.terms.deadline
    }

    /// The name of the saga that undoes one of these which is past its point of no return, once it is completed.
    #[must_use]
    pub fn cancelled_by(&self) -> Option<&'static str> {
        self.terms.cancelled_by
    }

    /// The step whose output is reported to the saga that runs one of these as a step.
    #[must_use]
    pub fn gives(&self) -> Option<&'static str> {
        self.terms.gives
    }

    /// Its steps in order; those of a group side by side.
    #[must_use]
    pub fn steps(&self) -> &[Step<P>] {
        &self.steps
    }

    /// Its stages in order; a stage of more than one step is taken in parallel.
    pub fn stages(&self) -> impl DoubleEndedIterator<Item = &[Step<P>]> {
        self.stages.iter().filter_map(|stage| self.steps.get(stage.clone()))
    }

    /// The step called `name`.
    #[must_use]
    pub fn step(&self, name: &str) -> Option<&Step<P>> {
        self.steps.iter().find(|step| step.name == *name)
    }

    /// The same in every other respect, with at most so many tries per step and lane: for those who try out all of them.
    pub(crate) fn with_retries(&self, attempts_max: u32) -> Self {
        let mut bounded = self.clone();
        for step in &mut bounded.steps {
            if let Action::Ask(ask) = &mut step.action {
                for policy in [&mut ask.retry, &mut ask.undo_retry] {
                    let attempts_max = policy.attempts_max.get().min(attempts_max);
                    *policy = RetryPolicy::new(attempts_max, policy.backoff_first, policy.backoff_max);
                }
            }
        }
        bounded
    }

    /// The same steps, of another process.
    pub(crate) fn in_other_words<Q: Process>(&self, word: impl Fn(usize, &Step<P>) -> Step<Q>) -> Definition<Q> {
        let steps = self.steps.iter().enumerate().map(|(index, step)| word(index, step)).collect();
        let (id, stages) = (self.id.clone(), self.stages.clone());
        Definition { id, steps, stages, no_return: self.no_return, terms: self.terms }
    }

    /// The first step that cannot be undone; the number of steps when all can.
    pub(crate) fn no_return(&self) -> usize {
        self.no_return
    }

    /// The stage of the step at `index`; empty behind the last.
    pub(crate) fn stage_of(&self, index: usize) -> Range<usize> {
        let stage = self.stages.partition_point(|stage| stage.end <= index);
        self.stages.get(stage).cloned().unwrap_or(index..index)
    }
}
