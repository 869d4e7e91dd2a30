//! What the world has to know of a service: its rules, what it hears and says, and whom it calls.

use std::fmt;
use std::rc::Rc;

use bytes::Bytes;
use eventstore::memory::MemoryStore;
use eventstore::worker::{Handler, SubmitError};
use eventstore::{Category, Cause, DecodeError, Recorded, StreamId};
use uuid::Uuid;

/// A message as the broker carries it.
#[derive(Clone, Debug)]
pub struct Message {
    /// Its name, by which the broker knows it again.
    pub id: Uuid,
    /// Where it is published.
    pub subject: &'static str,
    /// What its body is.
    pub message_type: &'static str,
    /// The process it belongs to.
    pub correlation: Uuid,
    /// What led to it.
    pub causation: Uuid,
    /// What it says.
    pub body: Bytes,
}

/// Where a task comes from.
#[derive(Clone, Debug)]
pub enum Origin {
    /// A message was delivered.
    Message(Message),
    /// A timer was claimed, or a stream is looked after.
    Timer(StreamId),
    /// A client asks: its number.
    Command(u64),
}

/// One thing a service is about to do, and what became of its tries so far.
pub struct Task<S: Service> {
    /// Where it comes from.
    pub origin: Origin,
    /// What meets the rules next.
    pub input: Rc<InputOf<S>>,
    /// What its events are stamped with.
    pub cause: Cause,
    /// How often it has met the rules.
    pub rounds: u32,
    /// Calls to the outside that were not answered.
    pub unanswered: u32,
}

impl<S: Service> Clone for Task<S> {
    fn clone(&self) -> Self {
        let Self { origin, input, cause, rounds, unanswered } = self;
        let (origin, input, cause) = (origin.clone(), Rc::clone(input), cause.clone());
        Self { origin, input, cause, rounds: *rounds, unanswered: *unanswered }
    }
}

/// What a service's rules take.
pub type InputOf<S> = <<S as Service>::Rules as Handler>::Input;
/// What they answer.
pub type OutputOf<S> = <<S as Service>::Rules as Handler>::Output;
/// Why they refuse.
pub type ErrorOf<S> = <<S as Service>::Rules as Handler>::Error;

/// What is to be done after an input.
pub enum Follow<S: Service> {
    /// Nothing: the message is handled, the client has its answer.
    Done,
    /// Say this once more; then it is done.
    Say(Message),
    /// Something else meets the rules, in the same task.
    Again(InputOf<S>),
    /// The outside is called; its answer meets the rules in the same task.
    Call(S::Call),
    /// It cannot be done now: the message comes again.
    Later,
    /// It can never be done: it is kept for an operator.
    Park(String),
}

/// What a message, a timer or a client wants done.
pub struct Wish<S: Service> {
    /// What meets the rules.
    pub input: InputOf<S>,
    /// Where it comes from.
    pub cause: Cause,
}

/// A service as the world sees it. Its rules are the production ones; what is here is what its shell does around them.
pub trait Service: Sized + 'static {
    /// The rules.
    type Rules: Handler;
    /// What is asked of the outside, if anything.
    type Call: Clone + fmt::Debug + 'static;
    /// What the outside answers.
    type Answer: fmt::Debug + 'static;

    /// Its name.
    fn name(&self) -> &'static str;

    /// Its rules.
    fn rules(&self) -> Rc<Self::Rules>;

    /// It has a store of its own from here on, and may read it at any time. Most do not.
    fn attach(&mut self, _store: &Rc<MemoryStore>) {}

    /// What it listens to.
    fn hears(&self) -> Vec<&'static str>;

    /// What a message is to it; `None` when it is nothing.
    ///
    /// # Errors
    /// It makes no sense, in words for an operator.
    fn incoming(&self, message: &Message) -> Result<Option<Wish<Self>>, String>;

    /// What others hear of an event; `None` when they hear nothing.
    ///
    /// # Errors
    /// The event cannot be read.
    fn outgoing(&self, event: &Recorded) -> Result<Option<Message>, DecodeError>;

    /// The streams with events that others may hear of.
    fn told(&self) -> &[Category];

    /// The streams that want to be woken.
    fn woken(&self) -> &[Category];

    /// What waking such a stream means; `last` is its last event, if it has any.
    fn wake(&self, stream: StreamId, last: Option<&Recorded>) -> Option<Wish<Self>>;

    /// The streams that are looked after until they are over: they go on even if their timer is lost.
    fn looked_after(&self) -> &[Category];

    /// True when nothing is to be expected of a stream any more after this event.
    fn is_over(&self, event: &Recorded) -> bool;

    /// What client number `number` wants.
    fn command(&self, number: u64) -> Option<Wish<Self>>;

    /// What follows on an input whose effect, if it has any, is durable, or that was refused.
    fn follow(&mut self, task: &Task<Self>, met: Result<&OutputOf<Self>, &SubmitError<ErrorOf<Self>>>) -> Follow<Self>;

    /// What the outside does when a call arrives there.
    fn call(&mut self, call: &Self::Call) -> Self::Answer;

    /// What follows on a call; without an answer nobody knows whether it arrived.
    fn answered(&mut self, task: &Task<Self>, call: &Self::Call, answer: Option<&Self::Answer>) -> Follow<Self>;
}
