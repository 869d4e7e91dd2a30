use std::fmt::Debug;
use std::ops::Deref;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

use crate::StepName;
use crate::state::{Compensating, Ended, Phase, Pursuit, Running, UndoPhase};

/// What a value needs to travel in a saga's events.
pub trait Value: Clone + Debug + PartialEq + Serialize + DeserializeOwned + Send + Sync + 'static {}

impl<T: Clone + Debug + PartialEq + Serialize + DeserializeOwned + Send + Sync + 'static> Value for T {}

/// What a family of sagas is about: what starts them, what their steps ask, what their steps learn.
///
/// Implemented by an empty type; the engine sees nothing of the market but these three.
pub trait Process: Clone + Debug + PartialEq + Send + Sync + 'static {
    /// The facts a saga starts from. Kept with its first event, at hand in every step.
    type Input: Value;
    /// Everything a step may ask of a participant, undoing included: an enum, most likely.
    type Request: Value;
    /// Everything a done step may report: an enum, most likely.
    type Output: Value;
}

/// A value that is stored like the value itself and costs nothing to clone: states are cloned with every decision.
#[derive(Debug, PartialEq, Eq)]
pub struct Shared<T>(Arc<T>);

impl<T> Clone for Shared<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> From<T> for Shared<T> {
    fn from(value: T) -> Self {
        Self(Arc::new(value))
    }
}

impl<T> Deref for Shared<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: Serialize> Serialize for Shared<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (**self).serialize(serializer)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Shared<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::deserialize(deserializer).map(Self::from)
    }
}

/// What a step may look at to word its request: the saga's id and input, and what the steps before it reported.
#[derive(Debug)]
pub struct Facts<'a, P: Process> {
    saga_id: Uuid,
    input: &'a P::Input,
    outputs: Outputs<'a, P>,
}

#[derive(Debug)]
enum Outputs<'a, P: Process> {
    OfRunning(&'a Running<P>),
    OfCompensating(&'a Compensating<P>),
    OfEnded(&'a Ended<P>),
    Given(&'a [(StepName, P::Output)]),
}

impl<'a, P: Process> Facts<'a, P> {
    /// Facts made up by a test of a request function.
    #[must_use]
    pub fn given(saga_id: Uuid, input: &'a P::Input, outputs: &'a [(StepName, P::Output)]) -> Self {
        Self { saga_id, input, outputs: Outputs::Given(outputs) }
    }

    pub(crate) fn of_running(saga_id: Uuid, running: &'a Running<P>) -> Self {
        Self { saga_id, input: &running.origin.input, outputs: Outputs::OfRunning(running) }
    }

    pub(crate) fn of_compensating(saga_id: Uuid, compensating: &'a Compensating<P>) -> Self {
        Self { saga_id, input: &compensating.origin.input, outputs: Outputs::OfCompensating(compensating) }
    }

    pub(crate) fn of_ended(saga_id: Uuid, ended: &'a Ended<P>) -> Self {
        Self { saga_id, input: &ended.origin.input, outputs: Outputs::OfEnded(ended) }
    }

    /// The saga's id. Ids that a request needs are derived from it, so that asking again asks for the same thing.
    #[must_use]
    pub fn saga_id(&self) -> Uuid {
        self.saga_id
    }

    /// What the saga was started with.
    #[must_use]
    pub fn input(&self) -> &'a P::Input {
        self.input
    }

    /// What the step called `name` reported. `None` when it is not done, has reported nothing, or has been undone.
    #[must_use]
    pub fn output(&self, name: &str) -> Option<&'a P::Output> {
        match self.outputs {
            Outputs::OfRunning(running) => match &running.step(name)?.phase {
                Phase::Done { output, .. } => output.as_deref(),
                Phase::Pursued(_) | Phase::Rejected { .. } | Phase::Skipped { .. } => None,
            },
            Outputs::OfCompensating(compensating) => match &compensating.step(name)?.phase {
                UndoPhase::Owed { output, .. } | UndoPhase::Undoing(Pursuit::Held { output, .. }) => output.as_deref(),
                UndoPhase::NotDone { .. }
                | UndoPhase::LeftOut
                | UndoPhase::Undoing(_)
                | UndoPhase::Undone { .. }
                | UndoPhase::Skipped { .. } => None,
            },
            Outputs::OfEnded(ended) => ended.outputs.iter().find(|(step, _)| step == name).map(|(_, output)| &**output),
            Outputs::Given(given) => given.iter().find(|(step, _)| step == name).map(|(_, output)| output),
        }
    }
}
