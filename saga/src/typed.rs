//! Steps as types, so that a step cannot ask for what no step before it gives.
//!
//! A [`TypedStep`] says which steps it looks at ([`TypedStep::Needs`]) and what it gives. The typed builder takes it only
//! behind all of them; what comes out is a [`Definition`](crate::Definition) like any other.
//!
//! ```
//! use saga::typed::{Known, TypedStep, TypedUndo, typed};
//! use saga::{Process, laws};
//! # #[derive(Clone, Debug, PartialEq)]
//! # struct Travel;
//! # impl Process for Travel { type Input = u32; type Request = String; type Output = String; }
//!
//! struct Seat;
//! impl TypedStep<Travel> for Seat {
//!     const NAME: &'static str = "seat";
//!     type Needs = ();
//!     type Gives = String;
//!     fn request(_: &Known<'_, Travel, Self>) -> String { "book a seat".to_owned() }
//!     fn read(output: &String) -> Option<&String> { Some(output) }
//! }
//! impl TypedUndo<Travel> for Seat {
//!     fn undo(known: &Known<'_, Travel, Self>) -> String { format!("free {:?}", known.own()) }
//! }
//!
//! struct Ticket;
//! impl TypedStep<Travel> for Ticket {
//!     const NAME: &'static str = "ticket";
//!     type Needs = (Seat, ());
//!     type Gives = ();
//!     fn request(known: &Known<'_, Travel, Self>) -> String { format!("print {:?}", known.given::<Seat, _>()) }
//!     fn read(_: &String) -> Option<&()> { None }
//! }
//!
//! let trip = typed::<Travel>("trip", 1)
//!     .compensatable::<Seat, _>(|ask| ask)
//!     .retriable::<Ticket, _>(|ask| ask)
//!     .build()?;
//! laws::all(&laws::Sample { definition: &trip, input: 1, output: |_| Some("12A".to_owned()) });
//! # Ok::<(), saga::DefinitionError>(())
//! ```
//!
//! The other way round it does not compile: nothing gives a seat before the ticket is printed.
//!
//! ```compile_fail,E0277
//! # use saga::typed::{Known, TypedStep, TypedUndo, typed};
//! # use saga::Process;
//! # #[derive(Clone, Debug, PartialEq)]
//! # struct Travel;
//! # impl Process for Travel { type Input = u32; type Request = String; type Output = String; }
//! # struct Seat;
//! # impl TypedStep<Travel> for Seat {
//! #     const NAME: &'static str = "seat";
//! #     type Needs = ();
//! #     type Gives = String;
//! #     fn request(_: &Known<'_, Travel, Self>) -> String { String::new() }
//! #     fn read(output: &String) -> Option<&String> { Some(output) }
//! # }
//! # struct Ticket;
//! # impl TypedStep<Travel> for Ticket {
//! #     const NAME: &'static str = "ticket";
//! #     type Needs = (Seat, ());
//! #     type Gives = ();
//! #     fn request(known: &Known<'_, Travel, Self>) -> String { format!("{:?}", known.given::<Seat, _>()) }
//! #     fn read(_: &String) -> Option<&()> { None }
//! # }
//! let trip = typed::<Travel>("trip", 1)
//!     .retriable::<Ticket, _>(|ask| ask)
//!     .retriable::<Seat, _>(|ask| ask)
//!     .build();
//! ```
//!
//! Nor does a step that looks at one which it does not say it needs:
//!
//! ```compile_fail,E0277
//! # use saga::typed::{Known, TypedStep};
//! # use saga::Process;
//! # #[derive(Clone, Debug, PartialEq)]
//! # struct Travel;
//! # impl Process for Travel { type Input = u32; type Request = String; type Output = String; }
//! # struct Seat;
//! # impl TypedStep<Travel> for Seat {
//! #     const NAME: &'static str = "seat";
//! #     type Needs = ();
//! #     type Gives = String;
//! #     fn request(_: &Known<'_, Travel, Self>) -> String { String::new() }
//! #     fn read(output: &String) -> Option<&String> { Some(output) }
//! # }
//! struct Ticket;
//! impl TypedStep<Travel> for Ticket {
//!     const NAME: &'static str = "ticket";
//!     type Needs = ();
//!     type Gives = ();
//!     fn request(known: &Known<'_, Travel, Self>) -> String { format!("{:?}", known.given::<Seat, _>()) }
//!     fn read(_: &String) -> Option<&()> { None }
//! }
//! ```

use std::marker::PhantomData;
use std::time::Duration;

use uuid::Uuid;

use crate::{Ask, Builder, Definition, DefinitionError, Facts, Process, ask, local, saga};

/// A step as a type.
pub trait TypedStep<P: Process>: Sized + 'static {
    /// Its name.
    const NAME: &'static str;
    /// The steps that it looks at, all of them before it: `()`, `(Seat, ())`, `(Seat, (Room, ()))`.
    type Needs;
    /// What it gives.
    type Gives;

    /// Words its request.
    fn request(known: &Known<'_, P, Self>) -> P::Request;

    /// What it gives, in what its participant reported; `None` when that is something else.
    fn read(output: &P::Output) -> Option<&Self::Gives>;
}

/// A step that can be undone.
pub trait TypedUndo<P: Process>: TypedStep<P> {
    /// Words the request to undo it.
    fn undo(known: &Known<'_, P, Self>) -> P::Request;
}

/// What the step `S` may look at.
#[derive(Debug)]
pub struct Known<'a, P: Process, S> {
    facts: &'a Facts<'a, P>,
    step: PhantomData<fn() -> S>,
}

impl<'a, P: Process, S: TypedStep<P>> Known<'a, P, S> {
    fn of(facts: &'a Facts<'a, P>) -> Self {
        Self { facts, step: PhantomData }
    }

    /// The saga's id.
    #[must_use]
    pub fn saga_id(&self) -> Uuid {
        self.facts.saga_id()
    }

    /// What the saga was started with.
    #[must_use]
    pub fn input(&self) -> &'a P::Input {
        self.facts.input()
    }

    /// What a step that this one needs gave. `None` when it was left out or seen to by hand, or reported something else:
    /// that a step gives something is known when the program is compiled, that it was taken is not.
    #[must_use]
    pub fn given<T: TypedStep<P>, At>(&self) -> Option<&'a T::Gives>
    where
        S::Needs: Has<T, At>,
    {
        self.facts.output(T::NAME).and_then(T::read)
    }

    /// What the step itself gave, for its undo; `None` when nobody knows.
    #[must_use]
    pub fn own(&self) -> Option<&'a S::Gives> {
        self.facts.output(S::NAME).and_then(S::read)
    }
}

/// The step `T` is one of these, at the place `At`. Places are found by the compiler: write `_`.
#[diagnostic::on_unimplemented(message = "no step before gives `{T}`", label = "`{T}` is not there yet")]
pub trait Has<T, At> {}

/// All of `Needs` are among these, at the places `At`.
#[diagnostic::on_unimplemented(message = "this step needs `{Needs}`, and not all of it comes before")]
pub trait HasAll<Needs, At> {}

/// The first place.
#[derive(Debug)]
pub struct Here;

/// A place further on.
#[derive(Debug)]
pub struct Further<At>(PhantomData<At>);

impl<T, Rest> Has<T, Here> for (T, Rest) {}

impl<T, First, Rest: Has<T, At>, At> Has<T, Further<At>> for (First, Rest) {}

impl<Steps> HasAll<(), ()> for Steps {}

impl<Steps: Has<T, At> + HasAll<Needs, Ats>, T, Needs, At, Ats> HasAll<(T, Needs), (At, Ats)> for Steps {}

/// Begins a definition whose steps are types; see [`saga`](fn@crate::saga).
#[must_use]
pub fn typed<P: Process>(name: &'static str, version: u32) -> Typed<P, ()> {
    Typed { builder: saga(name, version), done: PhantomData }
}

/// A definition in the making, and the steps that it has so far.
#[derive(Clone, Debug)]
pub struct Typed<P: Process, Done> {
    builder: Builder<P>,
    done: PhantomData<fn() -> Done>,
}

impl<P: Process, Done> Typed<P, Done> {
    /// See [`Builder::deadline`].
    #[must_use]
    pub fn deadline(self, deadline: Duration) -> Self {
        Self { builder: self.builder.deadline(deadline), ..self }
    }

    /// Then a step that can be undone; `with` says how patiently it is asked.
    #[must_use]
    pub fn compensatable<S: TypedUndo<P>, At>(self, with: fn(Ask<P>) -> Ask<P>) -> Typed<P, (S, Done)>
    where
        Done: HasAll<S::Needs, At>,
    {
        let asked = ask(request::<P, S>).undo(undo::<P, S>);
        Typed { builder: self.builder.compensatable(S::NAME, with(asked)), done: PhantomData }
    }

    /// Then the step after which there is no way back.
    #[must_use]
    pub fn pivot<S: TypedStep<P>, At>(self, with: fn(Ask<P>) -> Ask<P>) -> Typed<P, (S, Done)>
    where
        Done: HasAll<S::Needs, At>,
    {
        Typed { builder: self.builder.pivot(S::NAME, with(ask(request::<P, S>))), done: PhantomData }
    }

    /// Then a mark in the history after which there is no way back.
    #[must_use]
    pub fn local_pivot(self, name: &'static str) -> Self {
        Self { builder: self.builder.pivot(name, local()), ..self }
    }

    /// Then a step that is asked for until it is done.
    #[must_use]
    pub fn retriable<S: TypedStep<P>, At>(self, with: fn(Ask<P>) -> Ask<P>) -> Typed<P, (S, Done)>
    where
        Done: HasAll<S::Needs, At>,
    {
        Typed { builder: self.builder.retriable(S::NAME, with(ask(request::<P, S>))), done: PhantomData }
    }

    /// Then whatever the other builder can say: groups, words that are awaited, sagas that are run. Typed steps cannot
    /// look at it.
    #[must_use]
    pub fn otherwise(self, more: impl FnOnce(Builder<P>) -> Builder<P>) -> Self {
        Self { builder: more(self.builder), ..self }
    }

    /// Checks everything else and makes it a definition.
    ///
    /// # Errors
    /// See [`Builder::build`].
    pub fn build(self) -> Result<Definition<P>, DefinitionError> {
        self.builder.build()
    }
}

fn request<P: Process, S: TypedStep<P>>(facts: &Facts<'_, P>) -> P::Request {
    S::request(&Known::of(facts))
}

fn undo<P: Process, S: TypedUndo<P>>(facts: &Facts<'_, P>) -> P::Request {
    S::undo(&Known::of(facts))
}
