mod names;

use std::borrow::Cow;

use chrono::{DateTime, Utc};
use eventstore::Actor;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{CompensationCause, DefinitionRef, HoldTarget, Process, Rejection, Shared, StepName};

/// Which way a step is being taken.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lane {
    /// It is to happen.
    Forward,
    /// It is to be undone.
    Undo,
}

/// The time in which a saga has to come to its point of no return; what is not there by then is undone.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Deadline {
    /// When.
    pub at: DateTime<Utc>,
    /// How many steps come before the point of no return: the deadline binds while no other was begun.
    pub binds: usize,
}

/// The saga that runs another one as a step, or to undo one.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Parent {
    /// Its id.
    pub saga_id: Uuid,
    /// The step.
    pub step: StepName,
    /// Whether it is to happen or to be undone.
    pub lane: Lane,
}

/// Whoever did by hand what the saga would have done.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ByHand {
    /// Who.
    pub actor: Actor,
    /// Why.
    pub reason: String,
}

/// What can happen to a saga. Facts: complete, so that folding them needs nothing else.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(bound = "")]
pub enum SagaEvent<P: Process> {
    /// It began, and is bound to this very definition from now on.
    #[serde(rename = "SagaStarted")]
    Started {
        /// The definition.
        definition: DefinitionRef,
        /// What it is about.
        input: Shared<P::Input>,
        /// When it has to be past its point of no return, if it has to.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        deadline: Option<Deadline>,
        /// The saga that runs it as a step, if one does.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        parent: Option<Parent>,
    },
    /// Another saga is run as a step.
    ChildRequested {
        /// Which step.
        step: StepName,
        /// For which time, from 1.
        attempt: u32,
        /// That saga's id.
        child_id: Uuid,
        /// Its definition, the newest of this name.
        definition: Cow<'static, str>,
        /// What it is started with; the same with every attempt.
        input: Shared<P::Input>,
        /// Until when its end is waited for.
        deadline: DateTime<Utc>,
    },
    /// A saga that was run as a step is to be undone.
    ChildUndoRequested {
        /// Which step.
        step: StepName,
        /// For which time, from 1.
        attempt: u32,
        /// That saga's id.
        child_id: Uuid,
        /// Until when its end is waited for.
        deadline: DateTime<Utc>,
    },
    /// A participant was asked to take a step.
    StepRequested {
        /// Which.
        step: StepName,
        /// For which time, from 1.
        attempt: u32,
        /// What it is asked; the same with every attempt.
        request: Shared<P::Request>,
        /// Until when an answer is waited for.
        deadline: DateTime<Utc>,
    },
    /// Word from outside is awaited: nobody is asked for it.
    StepAwaited {
        /// For which step.
        step: StepName,
        /// For which time, from 1.
        attempt: u32,
        /// Until when.
        deadline: DateTime<Utc>,
    },
    /// A step is left out: there is nothing for it to do, or somebody has seen to it by hand.
    StepSkipped {
        /// Which.
        step: StepName,
        /// Whether it was to happen or to be undone.
        lane: Lane,
        /// By whom; `None` when its condition said so.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by_hand: Option<ByHand>,
    },
    /// An operator had one step tried again, with a fresh policy.
    StepRetried {
        /// Which.
        step: StepName,
        /// Which way it is going.
        lane: Lane,
        /// Who.
        actor: Actor,
        /// Why.
        reason: String,
    },
    /// A step is done. A local step begins with this.
    StepSucceeded {
        /// Which.
        step: StepName,
        /// What it reported, if anything.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        output: Option<Shared<P::Output>>,
    },
    /// A participant refused: definitely not done.
    StepRejected {
        /// Which step.
        step: StepName,
        /// Why.
        reason: Rejection,
    },
    /// Nobody knows whether a step is done: the time ran out, or the participant does not know.
    StepUnknown {
        /// Which.
        step: StepName,
        /// At which attempt.
        attempt: u32,
        /// What is known.
        detail: String,
        /// When it is asked again; `None` when its policy is used up.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retry_at: Option<DateTime<Utc>>,
    },
    /// From here everything done or unknown is undone.
    CompensationStarted {
        /// Why.
        cause: CompensationCause,
    },
    /// A participant was asked to undo a step.
    CompensationRequested {
        /// Which.
        step: StepName,
        /// For which time, from 1.
        attempt: u32,
        /// What it is asked; the same with every attempt.
        request: Shared<P::Request>,
        /// Until when an answer is waited for.
        deadline: DateTime<Utc>,
    },
    /// A step is undone.
    CompensationSucceeded {
        /// Which.
        step: StepName,
    },
    /// Nobody knows whether a step is undone.
    CompensationFailed {
        /// Which.
        step: StepName,
        /// At which attempt.
        attempt: u32,
        /// What is known.
        detail: String,
        /// When it is asked again; `None` when its policy is used up.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retry_at: Option<DateTime<Utc>>,
    },
    /// Somebody asked for the saga to be undone.
    CancelRequested {
        /// Why.
        reason: String,
        /// Who.
        actor: Actor,
    },
    /// A step cannot go on by itself. An operator must look.
    #[serde(rename = "SagaParked")]
    Parked {
        /// Which.
        step: StepName,
        /// Which way it was going.
        lane: Lane,
        /// What stopped it.
        detail: String,
    },
    /// An operator had the parked steps tried again.
    #[serde(rename = "SagaResumed")]
    Resumed {
        /// Who.
        actor: Actor,
        /// Why.
        reason: String,
    },
    /// An operator stopped the saga where it stands: nothing is asked for and nothing becomes due until it goes on.
    #[serde(rename = "SagaPaused")]
    Paused {
        /// Who.
        actor: Actor,
        /// Why.
        reason: String,
        /// When: its deadlines stand still from here on.
        at: DateTime<Utc>,
    },
    /// An operator let it go on; its deadlines are later by the time it stood still.
    #[serde(rename = "SagaUnpaused")]
    Unpaused {
        /// Who.
        actor: Actor,
        /// Why.
        reason: String,
        /// When.
        at: DateTime<Utc>,
    },
    /// A step, or its undoing, has come to a hold: it waits, and nothing becomes due for it.
    StepHeld {
        /// Which.
        step: StepName,
        /// Which way it is going.
        lane: Lane,
        /// What is held.
        hold: HoldTarget,
        /// Who holds it.
        actor: Actor,
        /// Why.
        reason: String,
        /// Since when it waits here.
        at: DateTime<Utc>,
    },
    /// A step does not wait at a hold any more; the saga's deadline is later by the time it did.
    StepReleased {
        /// Which.
        step: StepName,
        /// Which way it is going.
        lane: Lane,
        /// When.
        at: DateTime<Utc>,
    },
    /// An operator moved what is due.
    TimersShifted {
        /// Of which step; `None`: of all, and the saga's deadline.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        step: Option<StepName>,
        /// By how many milliseconds; earlier below zero.
        by_ms: i64,
        /// Who.
        actor: Actor,
        /// Why.
        reason: String,
    },
    /// An operator had nothing become due until further notice; answers count as ever.
    TimersFrozen {
        /// Who.
        actor: Actor,
        /// Why.
        reason: String,
        /// When.
        at: DateTime<Utc>,
    },
    /// An operator let time count again: what was due is due later by the time that did not count.
    TimersThawed {
        /// Who.
        actor: Actor,
        /// Why.
        reason: String,
        /// When.
        at: DateTime<Utc>,
    },
    /// An operator took a timer away.
    TimerCancelled {
        /// Of which step, which now waits for its answer or an operator; `None`: the saga's deadline.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        step: Option<StepName>,
        /// Who.
        actor: Actor,
        /// Why.
        reason: String,
    },
    /// An operator bound the saga to another version of its definition.
    #[serde(rename = "SagaMigrated")]
    Migrated {
        /// Which.
        definition: DefinitionRef,
        /// How many steps come before its point of no return.
        binds: usize,
        /// Who.
        actor: Actor,
        /// Why.
        reason: String,
    },
    /// An operator ended the saga as it stands.
    #[serde(rename = "SagaAbandoned")]
    Abandoned {
        /// Who.
        actor: Actor,
        /// Why.
        reason: String,
        /// The steps that are done, or may be, and will not be undone by anybody here.
        owed: Vec<StepName>,
    },
    /// Every step is done.
    #[serde(rename = "SagaCompleted")]
    Completed,
    /// Everything that was done, or may have been, is undone.
    #[serde(rename = "SagaCompensated")]
    Compensated {
        /// Why.
        cause: CompensationCause,
    },
}
