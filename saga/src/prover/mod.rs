//! Proves a definition: tries out everything that may happen to its sagas, and refuses with the shortest story that
//! breaks a promise.
//!
//! The world is small, and everything in it happens: each participant does or refuses what it is asked, once, and answers
//! the same ever after; an undo that comes first bars its step. Every message may come, come late, come again, or not
//! come; every answer may be unknown; whatever is due may be due at once or one after the other; anybody may cancel, and
//! operators resume what is parked, pause and let go on, let time stand still, skip, retry, take timers away, hold any
//! step and release it, and abandon. A crash loses nothing but memory, so it is a repetition. Retries are cut to
//! [`Prover::RETRIES`]: what is true of two tries is true of sixty.
//!
//! The shape of every definition is proven when it is built ([`Builder::build`](crate::Builder::build)), without operators
//! and as far as some thousand moments go. The whole is for a test: run yours through [`Prover`].
//!
//! What is promised of every moment and every end:
//!
//! * nobody waits without a timeout, unless for an operator;
//! * an answer that is sought is heard, whatever the saga does meanwhile;
//! * nothing is undone that was never asked for, nor on the way forward;
//! * nothing is asked for while it is paused, nor at a hold, and there is a way on from each;
//! * nobody is given up while time stands still;
//! * nothing happens after the end;
//! * whoever is completed has everything done, whoever is compensated has nothing done, **really**: by the participants'
//!   books, with everything that may still arrive; whoever is abandoned owes what is done;
//! * whatever else [`Prover::never`] names.
//!
//! ```
//! # use saga::{Facts, Process, ask, local};
//! # #[derive(Clone, Debug, PartialEq)] struct Trip;
//! # impl Process for Trip { type Input = u32; type Request = String; type Output = (); }
//! # fn book(_: &Facts<'_, Trip>) -> String { "book".to_owned() }
//! # fn free(_: &Facts<'_, Trip>) -> String { "free".to_owned() }
//! # fn pay(_: &Facts<'_, Trip>) -> String { "pay".to_owned() }
//! use saga::Status;
//! use saga::prover::{Prover, Side};
//!
//! let trip = saga::saga::<Trip>("trip", 1).compensatable("book", ask(book).undo(free)).pivot("pay", ask(pay)).build()?;
//! let proof = Prover::new(&trip, 7)
//!     .never("paid, and not completed", |end| end.side("pay") == Side::Done && end.status != Status::Completed)
//!     .prove()
//!     .unwrap_or_else(|unsound| panic!("{unsound}"));
//! assert!(proof.states > 50);
//! # Ok::<(), saga::DefinitionError>(())
//! ```

mod explore;
mod promises;
mod sagas;
mod shape;
mod told;
mod world;

#[cfg(test)]
mod tests;

use std::fmt;

use chrono::{DateTime, Utc};
use uuid::Uuid;

pub(crate) use self::shape::prove_shape;
pub use self::world::Side;
use crate::{
    Action, Circumstances, Definition, Input, Kind, Process, Refusal, Saga, SagaEvent, Status, StepName, decide_given,
};

/// Every saga of the small world is this one.
const SAGA: Uuid = Uuid::from_u128(0x0199_0000_0001_7000_8000_0000_0000_0001);

/// What decides: [`decide_given`], or something else that is to be shown wrong.
pub type Decider<P> = fn(
    &Definition<P>,
    Uuid,
    &Saga<P>,
    Input<P>,
    DateTime<Utc>,
    Circumstances<'_, P>,
) -> Result<Vec<SagaEvent<P>>, Refusal>;

/// What must never be true of an end.
type Never = (String, Box<dyn Fn(&End) -> bool>);

/// How a saga ended, and where its participants really stand.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct End {
    /// As the saga has it.
    pub status: Status,
    /// As the participants have it, in the order of the definition.
    pub sides: Vec<(StepName, Side)>,
}

impl End {
    /// Where the participant of this step stands; untouched when there is no such step.
    #[must_use]
    pub fn side(&self, step: &str) -> Side {
        self.sides.iter().find(|(name, _)| *name == *step).map_or(Side::Untouched, |(_, side)| *side)
    }
}

/// Everything was tried out, and nothing was found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Proof {
    /// Different moments of the world.
    pub states: usize,
    /// Different states of a saga among them.
    pub sagas: usize,
    /// Ways from one moment to another.
    pub transitions: u64,
}

/// Why a definition is refused.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Unsound {
    /// A step before the point of no return that cannot be undone: no run is needed to see that.
    #[error("{step} is compensatable, and asks for something that nothing undoes")]
    NoUndo {
        /// The step.
        step: StepName,
    },
    /// Something can happen that must not. Read the story; it is the shortest.
    #[error("{promise} -- is not kept:\n  {}", .story.join("\n  "))]
    Counterexample {
        /// What is promised.
        promise: String,
        /// What happens, in order.
        story: Vec<String>,
    },
    /// There is more to try out than was allowed. Fewer retries, fewer steps, or more patience.
    #[error("not tried out in full: {states} states are not all of them")]
    TooLarge {
        /// How many there are at least.
        states: usize,
    },
}

/// What is tried out, and by which rules.
struct Rules<'a, P: Process> {
    definition: &'a Definition<P>,
    decider: Decider<P>,
    input: P::Input,
    output: fn(&str) -> Option<P::Output>,
    never: Vec<Never>,
    orchestrators: usize,
    is_fenced: bool,
    has_barrier: bool,
    has_operators: bool,
    states_max: usize,
}

/// A definition that is to be proven.
pub struct Prover<'a, P: Process> {
    definition: &'a Definition<P>,
    rules: Rules<'a, P>,
    retries: u32,
}

impl<'a, P: Process> Prover<'a, P> {
    /// Tries per step and lane, unless told otherwise.
    pub const RETRIES: u32 = 2;
    /// States tried out at most, unless told otherwise.
    pub const STATES_MAX: usize = 2_000_000;

    /// A proof of `definition`, for sagas that are started with `input`, by one orchestrator.
    #[must_use]
    pub fn new(definition: &'a Definition<P>, input: P::Input) -> Self {
        let rules = Rules {
            definition,
            decider: decide_given,
            input,
            output: |_| None,
            never: Vec::new(),
            orchestrators: 1,
            is_fenced: true,
            has_barrier: true,
            has_operators: true,
            states_max: Self::STATES_MAX,
        };
        Self { definition, rules, retries: Self::RETRIES }
    }

    /// What done steps report, by their names; nothing unless told otherwise.
    #[must_use]
    pub fn output(mut self, output: fn(&str) -> Option<P::Output>) -> Self {
        self.rules.output = output;
        self
    }

    /// This must be true of no end, but for one by hand ([`Status::Abandoned`]).
    #[must_use]
    pub fn never(mut self, what: &str, holds: impl Fn(&End) -> bool + 'static) -> Self {
        self.rules.never.push((format!("never: {what}"), Box::new(holds)));
        self
    }

    /// Tries per step and lane: 1 and more.
    #[must_use]
    pub const fn retries(mut self, retries: u32) -> Self {
        self.retries = retries;
        self
    }

    /// States tried out at most.
    #[must_use]
    pub const fn states_max(mut self, states_max: usize) -> Self {
        self.rules.states_max = states_max;
        self
    }

    /// Two orchestrators work on the same saga, each with a memory of its own that may be stale.
    #[must_use]
    pub const fn two_orchestrators(mut self) -> Self {
        self.rules.orchestrators = 2;
        self
    }

    /// Operators do nothing but resume what is parked: there is much less to try out.
    #[must_use]
    pub const fn without_operators(mut self) -> Self {
        self.rules.has_operators = false;
        self
    }

    /// Something else decides: to see that the prover notices.
    #[must_use]
    pub fn decided_by(mut self, decider: Decider<P>) -> Self {
        self.rules.decider = decider;
        self
    }

    /// What is decided is stored wherever the stream has come to meanwhile: to see that the prover notices.
    #[must_use]
    pub const fn without_fence(mut self) -> Self {
        self.rules.is_fenced = false;
        self
    }

    /// Participants forget an undo that came before its step: to see that the prover notices.
    #[must_use]
    pub const fn without_barrier(mut self) -> Self {
        self.rules.has_barrier = false;
        self
    }

    /// Tries everything out.
    ///
    /// # Errors
    /// [`Unsound`]: what is wrong, with the shortest story of how it comes about.
    pub fn prove(self) -> Result<Proof, Unsound> {
        for step in self.definition.steps().iter().filter(|step| step.kind == Kind::Compensatable) {
            match &step.action {
                Action::Ask(ask) if !ask.is_awaited() && !ask.has_undo() => {
                    return Err(Unsound::NoUndo { step: step.name.clone() });
                }
                Action::Ask(_) | Action::Local => {}
            }
        }
        let bounded = self.definition.with_retries(self.retries);
        explore::explore(&Rules { definition: &bounded, ..self.rules })
    }
}

impl<P: Process> fmt::Debug for Prover<'_, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prover").field("definition", self.definition.id()).finish_non_exhaustive()
    }
}
