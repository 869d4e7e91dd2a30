//! Sagas as data and pure functions.
//!
//! A saga is work in several places that cannot share a transaction: reserve here, charge there, ship from a third. If
//! one of them refuses, the others must be told to undo what they did. This crate decides **what happens next**, and
//! nothing else: no async, no clock, no database, no broker. The shell (`saga-runtime`) loads, asks, and stores.
//!
//! # Theory of operation
//!
//! A [`Definition`] is data: steps in order, some of them side by side, each with a [`Kind`]:
//!
//! ```text
//!  compensatable ... compensatable   pivot   retriable ... retriable
//!  ------------------------------->  -----  ------------------------>
//!  can be undone, may be refused     0 or 1  asked until it is done
//!              <=== undo, in reverse   |
//!                       the point of no return
//! ```
//!
//! A [`Saga`] is a stream of [`SagaEvent`]s, and its state is their fold. Everything that comes in is an [`Input`], and
//! [`decide`] says what follows:
//!
//! ```text
//!  decide(definition, saga id, state, input, now)  ->  events         (or a Refusal, for commands)
//!  state.evolve(event)                             ->  state
//!  pending(state)                                  ->  who is waited for, and when to wake the saga
//! ```
//!
//! Inside, each kind of input has a file under `decide/` that records what it says about **one step**; then `advance`
//! looks at the state alone and records what follows from it: the next stage, the way back, the end. As nothing but the
//! state is looked at, there is no recovery: after a restart the state is the same, so the same follows.
//!
//! An answer is one of three: done, definitely not, unknown. **Unknown is not no.** It is asked again, with the same
//! request, after a wait; when the policy is used up
//!
//! * a compensatable step turns the saga, and is undone *as if it were done*. That is safe because of the
//!   participant's barrier: an undo that comes before its step is noted, and the late step is refused;
//! * a pivot and a retriable step are **parked**: an operator looks, and resumes. A pivot that may be done can neither
//!   be undone nor be taken for not done, so nobody guesses.
//!
//! What is **held** ([`hold`]: "payment is down until six") is neither: a saga that comes to a hold waits there, with its
//! deadlines frozen and no attempt used up, until the hold is over or it is let go. [`decide_given`] learns of holds as a
//! value, and of the definition that a saga is to be migrated to; [`decide()`] knows of none.
//!
//! An undo must succeed; one that does not, for as long as its policy lasts, is parked too. Neighbours of a parked step
//! go on, and a definite answer for a parked step is taken when it comes, resumed or not.
//!
//! A step may **run another saga** ([`run`]); that saga is started, awaited and undone like a participant. Whoever cancels a
//! saga past its point of no return is refused, or handed to the saga that its definition names
//! ([`Builder::cancelled_by`]), which follows when this one is completed.
//!
//! # Promises
//!
//! * **Pure**: the same arguments give the same events. Even the jitter of retries is a hash of saga, step and attempt.
//! * **Total**: every input has an answer in every state. Messages may be late, repeated, or out of order: what has
//!   nothing to say is absorbed. Commands are told why they have no effect.
//! * **Undo is strictly reverse**: stage by stage, over what is done or unknown and nothing else.
//! * **Bound**: a saga keeps the definition it was started with, by name, version and hash; nobody decides by another.
//! * **Ends**: with participants that answer at last, and operators that resume, every saga ends, and stays ended.
//!
//! [`laws`] tests these of any definition; run yours through [`laws::all`]. [`prover`] tries out everything that may
//! happen to its sagas, and refuses with the shortest story that breaks a promise: its shape whenever one is built, the
//! whole in a test of yours. With [`typed`] steps the compiler sees to it that no step asks for what none before it
//! gives. [`render`] draws a definition, and how far a saga is on it.
//!
//! # What is asked of participants
//!
//! The same request may come many times, and is answered the same every time. An undo may come before, or without, its
//! step. Answers name the saga and the step; they may be sent again at any time.
//!
//! # Glossary
//!
//! * **Step**: one thing that one participant does, or a local mark in the history.
//! * **Stage**: a step, or a group of steps that are asked for at the same time.
//! * **Pivot**: the step after which there is no way back. Without one, the first retriable step is as good as one.
//! * **Lane**: the way a step is going, forward or undo.
//! * **Attempt**: one asking; counted per step and lane, across resumes.
//! * **Parked**: some step waits for an operator. **Resumed**: it is asked for again, with a fresh policy.
//! * **Child, parent**: a saga that is run as a step, and the one whose step it is.
//! * **Held**: it waits for a participant or a step that an operator holds. **Released**: it goes on.
//! * **Timer**: what becomes due for a saga ([`timers`]); follows from its state, moved and frozen by events.
//! * **Migrated**: bound to another version of its definition, because an operator said so.
//! * **Cancelled**: undone because somebody wanted it. **Abandoned**: ended as it stands, what is done is *owed* until it is
//!   undone (retried) or seen to (skipped).
//!
//! # Example
//!
//! ```
//! use std::time::Duration;
//! use saga::testing::{done_with, rejected, started};
//! use saga::{Facts, Process, RetryPolicy, ask, laws, local, saga};
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Clone, Debug, PartialEq)]
//! struct Travel;
//!
//! #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
//! enum Request { BookSeat { to: String }, FreeSeat { seat: Option<String> }, BookRoom, FreeRoom, SendTicket }
//!
//! impl Process for Travel {
//!     type Input = String; // where to
//!     type Request = Request;
//!     type Output = String; // the seat
//! }
//!
//! fn book_seat(facts: &Facts<'_, Travel>) -> Request {
//!     Request::BookSeat { to: facts.input().clone() }
//! }
//! fn free_seat(facts: &Facts<'_, Travel>) -> Request {
//!     Request::FreeSeat { seat: facts.output("seat").cloned() } // none, should nobody know whether there is one
//! }
//!
//! let twice = RetryPolicy::new(2, Duration::from_millis(100), Duration::from_secs(1));
//! let trip = saga::<Travel>("trip", 1)
//!     .compensatable("seat", ask(book_seat).undo(free_seat).within(Duration::from_secs(5)).retry(twice))
//!     .compensatable("room", ask(|_| Request::BookRoom).undo(|_| Request::FreeRoom))
//!     .pivot("confirm", local())
//!     .retriable("ticket", ask(|_| Request::SendTicket))
//!     .build()?;
//!
//! saga::testing::saga(&trip)
//!     .given([started("Lisbon".to_owned()), done_with("seat", "12A".to_owned())])
//!     .when(rejected("room", "FULL"))
//!     .then(["StepRejected room", "CompensationStarted", "CompensationRequested seat"]);
//!
//! laws::all(&laws::Sample { definition: &trip, input: "Lisbon".to_owned(), output: |_| None });
//! # Ok::<(), saga::DefinitionError>(())
//! ```

mod asked;
mod builder;
mod cause;
mod decide;
mod definition;
mod drawing;
mod event;
mod evolve;
pub mod hold;
pub mod laws;
mod library;
mod name;
mod pending;
mod policy;
mod problem;
mod process;
pub mod prover;
mod read;
mod recorded;
mod state;
pub mod testing;
pub mod typed;

pub use asked::{Asked, AskedBy};
pub use builder::{Builder, Local, PROVEN_STATES_MAX, ask, await_word, compensatable, local, retriable, run, saga};
pub use cause::{CompensationCause, DETAIL_LENGTH_MAX, Rejection};
pub use decide::{Circumstances, Input, Misfit, NO_ANSWER, Outcome, Refusal, UndoOutcome, decide, decide_given};
pub use definition::{
    Action, Ask, ChildInput, Condition, Definition, DefinitionHash, DefinitionRef, Kind, Step, Wording,
};
pub use drawing::{Drawing, render};
pub use event::{ByHand, Deadline, Lane, Parent, SagaEvent};
pub use hold::{HoldTarget, Holds};
pub use library::{Library, LibraryError, UnknownDefinition};
pub use name::StepName;
pub use pending::{Pending, Timer, TimerKind, Until, Wanted, pending, timers};
pub use policy::RetryPolicy;
pub use problem::{DefinitionError, Problem};
pub use process::{Facts, Process, Shared, Value};
pub use recorded::{DefinitionEvent, RecordedDefinition};
pub use state::{
    Attempt, Compensating, CompensatingStep, Ended, Ending, Origin, Phase, Pursuit, Running, RunningStep, Saga, Status,
    StepPhase, StepView, UndoPhase,
};
