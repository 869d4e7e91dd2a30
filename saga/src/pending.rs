use chrono::{DateTime, Utc};

use crate::state::Pursuit;
use crate::{Lane, Process, Running, Saga, StepName};

/// What a saga waits for. The shell asks this after every commit, and after a restart: there is no other recovery.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pending {
    /// When it wants to be woken ([`Input::Wake`](crate::Input::Wake)) at the latest. `None` when it has ended, and
    /// when only an operator or the end of a hold can move it.
    pub wake: Option<DateTime<Utc>>,
    /// The answers that are being sought.
    pub wanted: Vec<Wanted>,
}

/// A definite answer that is being sought.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Wanted {
    /// The step in question.
    pub step: StepName,
    /// Whether it is to happen or to be undone.
    pub lane: Lane,
    /// How often it was asked for.
    pub attempt: u32,
    /// What ends the waiting.
    pub until: Until,
}

/// What ends the waiting for an answer, if none comes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Until {
    /// The answer counts as unknown then.
    Deadline(DateTime<Utc>),
    /// It is asked for again then.
    Retry(DateTime<Utc>),
    /// Only an operator.
    Operator,
    /// The end of a hold.
    Release,
}

impl Until {
    fn time(self) -> Option<DateTime<Utc>> {
        match self {
            Self::Deadline(time) | Self::Retry(time) => Some(time),
            Self::Operator | Self::Release => None,
        }
    }
}

/// What `saga` waits for.
#[must_use]
pub fn pending<P: Process>(saga: &Saga<P>) -> Pending {
    let wanted = saga.pursuits().map(|(step, lane, pursuit)| Wanted {
        step: step.clone(),
        lane,
        attempt: pursuit.attempt().number,
        until: pursuit.until(),
    });
    Pending { wake: saga.next_wake(), wanted: wanted.collect() }
}

/// One thing that becomes due for a saga.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Timer {
    /// For which step, and which way it is going; `None` for the saga as a whole.
    pub step: Option<(StepName, Lane)>,
    /// What happens then.
    pub kind: TimerKind,
    /// When. While the saga is paused or its timers are frozen it is later by the time that this lasts.
    pub due: DateTime<Utc>,
}

/// What happens when a timer is due.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TimerKind {
    /// The answer counts as unknown.
    Answer,
    /// It is asked again.
    Retry,
    /// The saga is undone if it has not come to its point of no return.
    Deadline,
}

/// What becomes due for `saga`, earliest first. Timers are not kept anywhere else: the store's one wake-up per saga
/// follows from them.
#[must_use]
pub fn timers<P: Process>(saga: &Saga<P>) -> Vec<Timer> {
    let of_steps = saga.pursuits().filter_map(|(step, lane, pursuit)| {
        let (kind, due) = match pursuit.until() {
            Until::Deadline(due) => (TimerKind::Answer, due),
            Until::Retry(due) => (TimerKind::Retry, due),
            Until::Operator | Until::Release => return None,
        };
        Some(Timer { step: Some((step.clone(), lane)), kind, due })
    });
    let whole = saga.deadline().map(|due| Timer { step: None, kind: TimerKind::Deadline, due });
    let mut timers: Vec<_> = of_steps.chain(whole).collect();
    timers.sort_by_key(|timer| timer.due);
    timers
}

impl<P: Process> Saga<P> {
    /// [`Pending::wake`] alone: allocates nothing.
    #[must_use]
    pub fn next_wake(&self) -> Option<DateTime<Utc>> {
        if self.is_paused() || self.is_frozen() {
            return None;
        }
        let mut untils = self.pursuits().map(|(_, _, pursuit)| pursuit.until()).peekable();
        let has_begun = match self {
            Self::Running(_) | Self::Compensating(_) => true,
            Self::NotStarted | Self::Ended(_) => false,
        };
        if has_begun && untils.peek().is_none() {
            // No decision leaves a saga like this. Should a hand have done it, waking the saga makes it go on.
            return Some(DateTime::UNIX_EPOCH);
        }
        untils.filter_map(Until::time).chain(self.deadline()).min()
    }

    /// When it has to be past its point of no return, while it is not. None while it waits at a hold.
    #[must_use]
    pub fn deadline(&self) -> Option<DateTime<Utc>> {
        match self {
            Self::Running(Running { held: Some(_), .. }) => None,
            Self::Running(state) => {
                state.deadline.filter(|deadline| state.steps.len() <= deadline.binds).map(|deadline| deadline.at)
            }
            Self::NotStarted | Self::Compensating(_) | Self::Ended(_) => None,
        }
    }

    fn pursuits(&self) -> impl Iterator<Item = (&StepName, Lane, &Pursuit<P>)> {
        let (running, compensating) = match self {
            Self::Running(state) => (Some(&state.steps), None),
            Self::Compensating(state) => (None, Some(&state.steps)),
            Self::NotStarted | Self::Ended(_) => (None, None),
        };
        let forward =
            running.into_iter().flatten().filter_map(|step| Some((&step.name, Lane::Forward, step.phase.pursuit()?)));
        let undo =
            compensating.into_iter().flatten().filter_map(|step| Some((&step.name, Lane::Undo, step.phase.pursuit()?)));
        forward.chain(undo)
    }
}

impl<P: Process> Pursuit<P> {
    fn until(&self) -> Until {
        match self {
            Self::Asked { deadline, .. } => Until::Deadline(*deadline),
            Self::Waiting { retry_at, .. } => Until::Retry(*retry_at),
            // Whatever follows on this is due; see `next_wake`.
            Self::Exhausted { .. } => Until::Retry(DateTime::UNIX_EPOCH),
            Self::Parked { .. } => Until::Operator,
            Self::Held { .. } => Until::Release,
        }
    }
}
