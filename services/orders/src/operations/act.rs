//! What operators may do to a saga, and what it would lead to: found out by deciding without committing.

pub use chassis::operations::Mandate;
use chrono::{DateTime, TimeDelta, Utc};
use farmera_proto::saga::v1 as pb;
use saga::{Circumstances, Holds, Input, Library, Refusal, Saga, Status, StepName, StepPhase, decide_given, pending};
use uuid::Uuid;

use super::history::{Event, state_of};
use crate::sagas::{OrderProcess, REFUND_PAYMENT, Request, participant};

/// What can be done to a saga.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// Try a step again; `None`: the one it is at.
    Retry(Option<StepName>),
    /// Go on without the answer of a step; `None`: the one it is at.
    Skip(Option<StepName>),
    /// Undo what is done.
    Cancel,
    /// End it as it stands.
    Abandon,
    /// Stop it where it stands.
    Pause,
    /// Let it go on.
    Unpause,
    /// Try its parked steps again.
    Resume,
    /// Move what is due, of one step or of all and the deadline.
    ShiftTimer(Option<StepName>, TimeDelta),
    /// Let nothing become due.
    FreezeTimer,
    /// Let time count again.
    ThawTimer,
    /// Take the timer of a step away; `None`: the deadline.
    CancelTimer(Option<StepName>),
    /// Bind it to this version of its definition.
    Migrate(u32),
}

/// What is decided by: the definitions, and what is held.
#[derive(Clone, Copy, Debug)]
pub struct Rules<'a> {
    /// The definitions.
    pub library: &'a Library<OrderProcess>,
    /// What is held.
    pub holds: &'a Holds,
}

/// What an act would do to one saga.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Something.
    Takes {
        /// The events that would be recorded, in short.
        events: Vec<String>,
        /// The requests that would be sent, in short.
        requests: Vec<String>,
        /// Of these: what was sent before, and is absorbed should it have been handled.
        repeated: u32,
        /// Where it would stand.
        state: pb::saga::State,
    },
    /// Nothing, and why.
    Refused(String),
}

impl Act {
    /// Every act on a saga that stands like this; acts on a step once for each step that is sought, or owed.
    #[must_use]
    pub fn all(saga: &Saga<OrderProcess>) -> Vec<Self> {
        let owed = owed(saga);
        let sought = pending(saga).wanted.into_iter().map(|wanted| wanted.step);
        let sought: Vec<_> =
            sought.chain(owed.into_iter().filter(|step| !participant(step.as_str()).is_empty())).collect();
        let of_steps = sought.iter().flat_map(|step| [Self::Retry(Some(step.clone())), Self::Skip(Some(step.clone()))]);
        of_steps
            .chain([
                Self::Resume,
                Self::Pause,
                Self::Unpause,
                Self::FreezeTimer,
                Self::ThawTimer,
                Self::Cancel,
                Self::Abandon,
            ])
            .collect()
    }

    /// Its name, as operators write it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Retry(_) => "retry",
            Self::Skip(_) => "skip",
            Self::Cancel => "cancel",
            Self::Abandon => "abandon",
            Self::Pause => "pause",
            Self::Unpause => "unpause",
            Self::Resume => "resume",
            Self::ShiftTimer(..) => "timer shift",
            Self::FreezeTimer => "timer freeze",
            Self::ThawTimer => "timer thaw",
            Self::CancelTimer(_) => "timer cancel",
            Self::Migrate(_) => "migrate",
        }
    }

    /// The step it names.
    #[must_use]
    pub fn step(&self) -> Option<&StepName> {
        match self {
            Self::Retry(step) | Self::Skip(step) | Self::ShiftTimer(step, _) | Self::CancelTimer(step) => step.as_ref(),
            Self::Cancel
            | Self::Abandon
            | Self::Pause
            | Self::Unpause
            | Self::Resume
            | Self::FreezeTimer
            | Self::ThawTimer
            | Self::Migrate(_) => None,
        }
    }

    /// Whether it leaves something undone that nobody but a person will see to: a second person has to approve it.
    #[must_use]
    pub fn is_destructive(&self) -> bool {
        match self {
            Self::Skip(_) | Self::Abandon => true,
            Self::Retry(_)
            | Self::Cancel
            | Self::Pause
            | Self::Unpause
            | Self::Resume
            | Self::ShiftTimer(..)
            | Self::FreezeTimer
            | Self::ThawTimer
            | Self::CancelTimer(_)
            | Self::Migrate(_) => false,
        }
    }

    /// The input it means for a saga that stands like this; `None` when it names no step and none is sought.
    #[must_use]
    pub fn input(&self, saga: &Saga<OrderProcess>, mandate: &Mandate) -> Option<Input<OrderProcess>> {
        let Mandate { actor, reason } = mandate.clone();
        let at = |step: &Option<StepName>| {
            step.clone().or_else(|| pending(saga).wanted.into_iter().next_back().map(|wanted| wanted.step))
        };
        Some(match self {
            Self::Retry(step) => Input::Retry { step: at(step)?, reason, actor },
            Self::Skip(step) => Input::Skip { step: at(step)?, reason, actor },
            Self::Cancel => Input::Cancel { reason, actor },
            Self::Abandon => Input::Abandon { reason, actor },
            Self::Pause => Input::Pause { reason, actor },
            Self::Unpause => Input::Unpause { reason, actor },
            Self::Resume => Input::Resume { reason, actor },
            Self::ShiftTimer(step, by) => Input::ShiftTimers { step: step.clone(), by: *by, reason, actor },
            Self::FreezeTimer => Input::FreezeTimers { reason, actor },
            Self::ThawTimer => Input::ThawTimers { reason, actor },
            Self::CancelTimer(step) => Input::CancelTimer { step: step.clone(), reason, actor },
            Self::Migrate(version) => Input::Migrate { version: *version, reason, actor },
        })
    }

    /// What it would do to this saga at `now`, by these rules. Nothing is recorded.
    #[must_use]
    pub fn effect(
        &self,
        rules: Rules<'_>,
        saga_id: Uuid,
        saga: &Saga<OrderProcess>,
        mandate: &Mandate,
        now: DateTime<Utc>,
    ) -> Effect {
        let Some(pinned) = saga.definition() else { return Effect::Refused(Refusal::NotStarted.to_string()) };
        let definition = match rules.library.pinned(pinned) {
            Ok(definition) => definition,
            Err(unknown) => return Effect::Refused(unknown.to_string()),
        };
        let successor = match self {
            Self::Migrate(version) => rules.library.version(&pinned.name, *version),
            Self::Retry(_)
            | Self::Skip(_)
            | Self::Cancel
            | Self::Abandon
            | Self::Pause
            | Self::Unpause
            | Self::Resume
            | Self::ShiftTimer(..)
            | Self::FreezeTimer
            | Self::ThawTimer
            | Self::CancelTimer(_) => None,
        };
        let Some(input) = self.input(saga, mandate) else {
            return Effect::Refused(match saga.is_ended() {
                true => match owed(saga).as_slice() {
                    [] => Refusal::Ended { status: saga.status() }.to_string(),
                    owed => {
                        let owed: Vec<_> = owed.iter().map(ToString::to_string).collect();
                        format!("the saga is over: name a step of those it owes: {}", owed.join(", "))
                    }
                },
                false => "no step of the saga is waited for".to_owned(),
            });
        };
        match decide_given(definition, saga_id, saga, input, now, Circumstances { holds: rules.holds, successor }) {
            Ok(events) => {
                let after = events.iter().fold(saga.clone(), eventstore::Aggregate::evolve);
                let requests = events.iter().filter_map(request);
                let (requests, repeats): (Vec<_>, Vec<_>) = requests.unzip();
                Effect::Takes {
                    events: events.iter().map(ToString::to_string).collect(),
                    requests,
                    repeated: u32::try_from(repeats.into_iter().filter(|again| *again).count()).unwrap_or(0),
                    state: state_of(after.status()),
                }
            }
            Err(refusal) => Effect::Refused(refusal.to_string()),
        }
    }
}

/// The steps that an abandoned saga owes. One that was there to pay back and was never asked to owes that.
fn owed(saga: &Saga<OrderProcess>) -> Vec<StepName> {
    let Saga::Ended(ended) = saga else { return Vec::new() };
    let refund = StepName::new(REFUND_PAYMENT);
    let unpaid = saga.status() == Status::Abandoned
        && ended.step(&refund).is_some_and(|step| step.phase == StepPhase::Held)
        && !ended.owed().contains(&refund);
    ended.owed().iter().cloned().chain(unpaid.then_some(refund)).collect()
}

/// The request that an event sends, in short, and whether it was sent before.
fn request(event: &Event) -> Option<(String, bool)> {
    let (request, attempt) = match event {
        Event::StepRequested { request, attempt, .. } | Event::CompensationRequested { request, attempt, .. } => {
            (request, *attempt)
        }
        Event::Started { .. }
        | Event::StepAwaited { .. }
        | Event::StepSkipped { .. }
        | Event::StepRetried { .. }
        | Event::StepSucceeded { .. }
        | Event::StepRejected { .. }
        | Event::StepUnknown { .. }
        | Event::CompensationStarted { .. }
        | Event::CompensationSucceeded { .. }
        | Event::CompensationFailed { .. }
        | Event::CancelRequested { .. }
        | Event::Parked { .. }
        | Event::Resumed { .. }
        | Event::Paused { .. }
        | Event::Unpaused { .. }
        | Event::ChildRequested { .. }
        | Event::ChildUndoRequested { .. }
        | Event::StepHeld { .. }
        | Event::StepReleased { .. }
        | Event::TimersShifted { .. }
        | Event::TimersFrozen { .. }
        | Event::TimersThawed { .. }
        | Event::TimerCancelled { .. }
        | Event::Migrated { .. }
        | Event::Abandoned { .. }
        | Event::Completed
        | Event::Compensated { .. } => return None,
    };
    Some((named(request), attempt > 1))
}

fn named(request: &Request) -> String {
    let (name, to) = match request {
        Request::ReserveInventory { .. } => ("ReserveInventory", "products"),
        Request::ReleaseInventory { .. } => ("ReleaseInventory", "products"),
        Request::CommitInventory { .. } => ("CommitInventory", "products"),
        Request::RestockInventory { .. } => ("RestockInventory", "products"),
        Request::AuthorizePayment { .. } => ("AuthorizePayment", "payment"),
        Request::VoidPayment { .. } => ("VoidPayment", "payment"),
        Request::CapturePayment { .. } => ("CapturePayment", "payment"),
        Request::RefundPayment { .. } => ("RefundPayment", "payment"),
        Request::Notify { .. } => ("Notify", "notification"),
    };
    format!("{name} ({to})")
}
