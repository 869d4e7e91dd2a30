//! A kit for tests of definitions: given what came in so far, when this comes in, then that has happened.
//!
//! ```
//! # use saga::{Facts, Process, ask, local};
//! # #[derive(Clone, Debug, PartialEq)] struct Trip;
//! # impl Process for Trip { type Input = u32; type Request = String; type Output = (); }
//! # fn book(_: &Facts<'_, Trip>) -> String { "book".to_owned() }
//! # fn free(_: &Facts<'_, Trip>) -> String { "free".to_owned() }
//! # fn pay(_: &Facts<'_, Trip>) -> String { "pay".to_owned() }
//! use saga::testing::{done, rejected, saga, started};
//!
//! let trip = saga::saga::<Trip>("trip", 1).compensatable("book", ask(book).undo(free)).pivot("pay", ask(pay)).build()?;
//! saga(&trip)
//!     .given([started(7), done("book")])
//!     .when(rejected("pay", "CARD_DECLINED"))
//!     .then(["StepRejected pay", "CompensationStarted", "CompensationRequested book"]);
//! # Ok::<(), saga::DefinitionError>(())
//! ```

use chrono::{DateTime, TimeDelta, Utc};
use eventstore::{Actor, Aggregate};
use uuid::Uuid;

use crate::{
    Circumstances, Definition, Holds, Input, Outcome, Process, Refusal, Rejection, Saga, SagaEvent, Status, StepName,
    UndoOutcome, decide_given,
};

/// When the world of a test begins: 2026-01-01, midnight.
pub const DAWN: DateTime<Utc> = match DateTime::from_timestamp(1_767_225_600, 0) {
    Some(dawn) => dawn,
    None => DateTime::UNIX_EPOCH,
};

/// A world with one saga, a history and a clock that stands still unless it is moved.
#[derive(Clone, Debug)]
pub struct World<'a, P: Process> {
    definition: &'a Definition<P>,
    /// The saga's id.
    pub saga_id: Uuid,
    /// What time it is.
    pub now: DateTime<Utc>,
    /// What is held.
    pub holds: Holds,
    /// What the saga may be migrated to.
    pub successor: Option<&'a Definition<P>>,
    saga: Saga<P>,
    commits: Vec<Vec<SagaEvent<P>>>,
}

impl<'a, P: Process> World<'a, P> {
    /// A world at [`DAWN`] in which nothing has happened.
    #[must_use]
    pub fn new(definition: &'a Definition<P>) -> Self {
        let saga_id = Uuid::from_u128(0x0199_0000_0001_7000_8000_0000_0000_0001);
        let (holds, saga) = (Holds::default(), Saga::NotStarted);
        Self { definition, saga_id, now: DAWN, holds, successor: None, saga, commits: Vec::new() }
    }

    /// Lets something come in. What follows is stored, unless it is nothing.
    ///
    /// # Errors
    /// The saga refuses it.
    pub fn submit(&mut self, input: Input<P>) -> Result<Vec<SagaEvent<P>>, Refusal> {
        let circumstances = Circumstances { holds: &self.holds, successor: self.successor };
        let events = decide_given(self.definition, self.saga_id, &self.saga, input, self.now, circumstances)?;
        if let Some(to) = self.successor.filter(|to| events.iter().any(|event| is_migration(event, to))) {
            self.definition = to;
        }
        if !events.is_empty() {
            self.commit(events.clone());
        }
        Ok(events)
    }

    /// Stores what has happened.
    pub fn commit(&mut self, events: Vec<SagaEvent<P>>) {
        self.saga = events.iter().fold(std::mem::take(&mut self.saga), Saga::evolve);
        self.commits.push(events);
    }

    /// Sleeps until the saga wants to be woken; false when it never does.
    pub fn sleep(&mut self) -> bool {
        let wake = self.saga.next_wake();
        self.now = wake.map_or(self.now, |wake| wake.max(self.now));
        wake.is_some()
    }

    /// Where the saga stands.
    #[must_use]
    pub fn saga(&self) -> &Saga<P> {
        &self.saga
    }

    /// What the saga is defined by.
    #[must_use]
    pub fn definition(&self) -> &'a Definition<P> {
        self.definition
    }

    /// What has been stored, decision by decision.
    #[must_use]
    pub fn commits(&self) -> &[Vec<SagaEvent<P>>] {
        &self.commits
    }

    /// What has happened.
    pub fn history(&self) -> impl Iterator<Item = &SagaEvent<P>> {
        self.commits.iter().flatten()
    }
}

fn is_migration<P: Process>(event: &SagaEvent<P>, to: &Definition<P>) -> bool {
    matches!(event, SagaEvent::Migrated { definition, .. } if definition == to.id())
}

/// Begins a test of `definition`.
#[must_use]
pub fn saga<P: Process>(definition: &Definition<P>) -> Given<'_, P> {
    Given(World::new(definition))
}

/// What came before.
#[derive(Clone, Debug)]
pub struct Given<'a, P: Process>(World<'a, P>);

impl<'a, P: Process> Given<'a, P> {
    /// These came in, one after the other. With [`Input::Wake`] the clock moves to when the saga wants to be woken.
    ///
    /// # Panics
    /// One of them is refused.
    #[must_use]
    pub fn given(mut self, inputs: impl IntoIterator<Item = Input<P>>) -> Self {
        for input in inputs {
            self.sleep_before(&input);
            let told = format!("{input:?}");
            let refused = self.0.submit(input).err();
            assert!(refused.is_none(), "given {told}, which is refused: {refused:?}");
        }
        self
    }

    /// These have happened, whatever led to them.
    #[must_use]
    pub fn given_history(mut self, events: impl IntoIterator<Item = SagaEvent<P>>) -> Self {
        self.0.commit(events.into_iter().collect());
        self
    }

    /// Then time goes by, and nothing else happens.
    #[must_use]
    pub fn after(mut self, span: TimeDelta) -> Self {
        self.0.now += span;
        self
    }

    /// Then this comes in. With [`Input::Wake`] the clock moves to when the saga wants to be woken.
    #[must_use]
    pub fn when(mut self, input: Input<P>) -> Then<'a, P> {
        self.sleep_before(&input);
        let outcome = self.0.submit(input);
        Then { world: self.0, outcome }
    }

    fn sleep_before(&mut self, input: &Input<P>) {
        if *input == Input::Wake {
            self.0.sleep();
        }
    }
}

/// What follows.
#[derive(Clone, Debug)]
pub struct Then<'a, P: Process> {
    world: World<'a, P>,
    outcome: Result<Vec<SagaEvent<P>>, Refusal>,
}

impl<'a, P: Process> Then<'a, P> {
    /// These events, in short: `StepRequested reserve-stock`. None at all where the input is absorbed.
    ///
    /// # Panics
    /// Something else follows.
    #[expect(clippy::return_self_not_must_use, reason = "most tests end here")]
    pub fn then<'t>(self, told: impl IntoIterator<Item = &'t str>) -> Self {
        let expected: Vec<_> = told.into_iter().map(ToOwned::to_owned).collect();
        let actual = self.outcome.as_ref().map(|events| events.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert_eq!(actual, Ok(expected));
        self
    }

    /// These events, to the last detail.
    ///
    /// # Panics
    /// Something else follows.
    #[expect(clippy::return_self_not_must_use, reason = "most tests end here")]
    pub fn then_events(self, events: impl IntoIterator<Item = SagaEvent<P>>) -> Self {
        assert_eq!(self.outcome, Ok(events.into_iter().collect()));
        self
    }

    /// Nothing: the input is refused.
    ///
    /// # Panics
    /// It is not, or for another reason.
    #[expect(clippy::return_self_not_must_use, reason = "most tests end here")]
    pub fn then_refused(self, refusal: &Refusal) -> Self {
        assert_eq!(self.outcome.as_ref().err(), Some(refusal));
        self
    }

    /// The saga stands there.
    ///
    /// # Panics
    /// It does not.
    #[expect(clippy::return_self_not_must_use, reason = "most tests end here")]
    pub fn and_is(self, status: Status) -> Self {
        assert_eq!(self.world.saga.status(), status);
        self
    }

    /// The world afterwards, for whatever else is to be looked at.
    #[must_use]
    pub fn world(self) -> World<'a, P> {
        self.world
    }
}

/// The saga is started.
#[must_use]
pub fn started<P: Process>(input: P::Input) -> Input<P> {
    Input::Start { input }
}

/// A participant says that a step is done, and nothing else.
#[must_use]
pub fn done<P: Process>(step: &'static str) -> Input<P> {
    Input::Reply { step: StepName::new(step), outcome: Outcome::Done(None) }
}

/// A participant says that a step is done, and reports something.
#[must_use]
pub fn done_with<P: Process>(step: &'static str, output: P::Output) -> Input<P> {
    Input::Reply { step: StepName::new(step), outcome: Outcome::Done(Some(output)) }
}

/// A participant refuses a step.
#[must_use]
pub fn rejected<P: Process>(step: &'static str, code: &str) -> Input<P> {
    let rejection = Rejection::new(code, "refused by the test");
    Input::Reply { step: StepName::new(step), outcome: Outcome::Rejected(rejection) }
}

/// A participant does not know whether a step is done.
#[must_use]
pub fn unknown<P: Process>(step: &'static str) -> Input<P> {
    Input::Reply { step: StepName::new(step), outcome: Outcome::Unknown("not known to the test".to_owned()) }
}

/// A participant says that a step is undone.
#[must_use]
pub fn undone<P: Process>(step: &'static str) -> Input<P> {
    Input::UndoReply { step: StepName::new(step), outcome: UndoOutcome::Done }
}

/// A participant does not know whether a step is undone.
#[must_use]
pub fn undo_unknown<P: Process>(step: &'static str) -> Input<P> {
    Input::UndoReply { step: StepName::new(step), outcome: UndoOutcome::Unknown("not known to the test".to_owned()) }
}

/// A timer fires.
#[must_use]
pub fn woken<P: Process>() -> Input<P> {
    Input::Wake
}

/// Somebody cancels.
#[must_use]
pub fn cancelled<P: Process>() -> Input<P> {
    Input::Cancel { reason: "changed their mind".to_owned(), actor: tester() }
}

/// An operator resumes.
#[must_use]
pub fn resumed<P: Process>() -> Input<P> {
    Input::Resume { reason: "it works again".to_owned(), actor: tester() }
}

/// An operator stops the saga where it stands.
#[must_use]
pub fn paused<P: Process>() -> Input<P> {
    Input::Pause { reason: "let me look".to_owned(), actor: tester() }
}

/// An operator lets the saga go on.
#[must_use]
pub fn unpaused<P: Process>() -> Input<P> {
    Input::Unpause { reason: "I have looked".to_owned(), actor: tester() }
}

/// An operator has one step tried again.
#[must_use]
pub fn retried<P: Process>(step: &'static str) -> Input<P> {
    Input::Retry { step: StepName::new(step), reason: "now".to_owned(), actor: tester() }
}

/// An operator has seen to a step by hand.
#[must_use]
pub fn skipped<P: Process>(step: &'static str) -> Input<P> {
    Input::Skip { step: StepName::new(step), reason: "done by hand".to_owned(), actor: tester() }
}

/// An operator abandons.
#[must_use]
pub fn abandoned<P: Process>() -> Input<P> {
    Input::Abandon { reason: "settled by hand".to_owned(), actor: tester() }
}

/// Who does things in tests.
#[must_use]
pub fn tester() -> Actor {
    Actor::new("operator:tester")
}
