//! Payment in the world: the rules are the production ones, and so is what an answer of the provider means to them. The
//! loop between the two is the one of `payment::settle`, a turn at a time.

use std::cell::RefCell;
use std::rc::Rc;

use eventstore::worker::SubmitError;
use eventstore::{Aggregate, Category, DecodeError, Recorded, StreamId};
use payment::domain::{Answer as Told, Effect, Input, Next, Operation, Outcome, Payment as Aggregated, Refusal};
use payment::handler::{Payments, Refused, Work};
use payment::heard::{Heard, heard, operation};
use payment::messages;
use payment::provider::ProviderError;
use saga_simulator::{ErrorOf, Follow, Message, Origin, OutputOf, Service, Task, Wish};
use uuid::Uuid;

use super::envelope;
use super::plants::Plant;
use super::provider::{Answer, Call, Provider};

/// Calls without answer before a request is given back.
const TRIES_MAX: u32 = 3;

/// Payment.
pub struct Payment {
    /// The rules.
    pub rules: Rc<Payments>,
    /// Who moves the money.
    pub provider: Rc<RefCell<Provider>>,
    /// The bug it has, if it has one.
    pub plant: Option<Plant>,
}

impl Payment {
    fn has(&self, plant: Plant) -> bool {
        self.plant == Some(plant)
    }

    /// What the task is about: the message that asked, if one did.
    fn asked(task: &Task<Self>) -> Option<(Uuid, payment::domain::Request)> {
        match &task.origin {
            Origin::Message(message) => messages::read(&envelope::open(message)).ok(),
            Origin::Timer(_) | Origin::Command(_) => None,
        }
    }

    fn again(task: &Task<Self>) -> Follow<Self> {
        match Self::asked(task) {
            Some((payment_id, request)) => Follow::Again(Work::Decide { payment_id, input: Input::Request(request) }),
            None => Self::looked(task),
        }
    }

    /// The second look is over.
    fn looked(task: &Task<Self>) -> Follow<Self> {
        match &task.origin {
            Origin::Timer(stream) => Follow::Again(Work::LookedAgain { payment_id: stream.id }),
            Origin::Message(_) | Origin::Command(_) => Follow::Done,
        }
    }

    fn next(&self, task: &Task<Self>, next: &Next) -> Follow<Self> {
        let asked = Self::asked(task);
        let wanted = asked.as_ref().map(|(_, request)| request.wish.operation());
        match next {
            Next::Answered(answer) if wanted.is_none_or(|wanted| answer.operation() == wanted) => match asked {
                Some(_) => Follow::Done,
                None => Self::looked(task),
            },
            Next::Repeat(answer) if wanted.is_none_or(|wanted| answer.operation() == wanted) => match asked {
                Some((payment_id, request)) => self.repeat(task, payment_id, request.order_id, answer.clone()),
                None => Self::looked(task),
            },
            Next::Answered(_) | Next::Repeat(_) | Next::AskAgain => Self::again(task),
            Next::Nothing => Self::looked(task),
            Next::Run(effect) => match payment_of(task) {
                Some(payment_id) => Follow::Call(Call { payment_id, effect: effect.clone() }),
                None => Follow::Done,
            },
        }
    }

    fn repeat(&self, task: &Task<Self>, payment_id: Uuid, order_id: Uuid, answer: Told) -> Follow<Self> {
        let outgoing = messages::tell(answer, task.cause.correlation, order_id, payment_id);
        Follow::Say(envelope::seal_repeat(outgoing, &task.cause))
    }
}

fn payment_of(task: &Task<Payment>) -> Option<Uuid> {
    match &*task.input {
        Work::Decide { payment_id, .. } | Work::LookedAgain { payment_id } => Some(*payment_id),
    }
}

impl Service for Payment {
    type Rules = Payments;
    type Call = Call;
    type Answer = Answer;

    fn name(&self) -> &'static str {
        "payment"
    }

    fn rules(&self) -> Rc<Payments> {
        Rc::clone(&self.rules)
    }

    fn hears(&self) -> Vec<&'static str> {
        messages::CONSUMER.subjects.to_vec()
    }

    fn incoming(&self, message: &Message) -> Result<Option<Wish<Self>>, String> {
        let incoming = envelope::open(message);
        let (payment_id, request) = messages::read(&incoming).map_err(|error| error.to_string())?;
        let input = Work::Decide { payment_id, input: Input::Request(request) };
        Ok(Some(Wish { input, cause: incoming.cause("service:orders") }))
    }

    fn outgoing(&self, event: &Recorded) -> Result<Option<Message>, DecodeError> {
        Ok(messages::translate(event)?.map(|outgoing| envelope::seal(outgoing, event)))
    }

    fn told(&self) -> &[Category] {
        self.woken()
    }

    fn woken(&self) -> &[Category] {
        const { &[Aggregated::CATEGORY] }
    }

    fn wake(&self, stream: StreamId, last: Option<&Recorded>) -> Option<Wish<Self>> {
        let looks = !self.has(Plant::NoSecondLook);
        let (payment_id, cause) = (stream.id, last?.cause.clone());
        let input =
            if looks { Work::Decide { payment_id, input: Input::LookAgain } } else { Work::LookedAgain { payment_id } };
        Some(Wish { input, cause })
    }

    fn looked_after(&self) -> &[Category] {
        &[]
    }

    fn is_over(&self, _: &Recorded) -> bool {
        true
    }

    fn command(&self, _: u64) -> Option<Wish<Self>> {
        None
    }

    fn follow(&mut self, task: &Task<Self>, met: Result<&OutputOf<Self>, &SubmitError<ErrorOf<Self>>>) -> Follow<Self> {
        match met {
            Ok(next) => match &*task.input {
                Work::Decide { .. } => self.next(task, next),
                Work::LookedAgain { .. } => Follow::Done,
            },
            Err(SubmitError::Rejected(Refused::Rejected(reason))) => Follow::Park(reason.to_string()),
            Err(SubmitError::Rejected(Refused::Need(need)) | SubmitError::Parked(need)) => {
                Follow::Park(need.to_string())
            }
            Err(SubmitError::Unstorable(reason)) => Follow::Park(reason.clone()),
            Err(SubmitError::Duplicate) => Follow::Done,
            Err(SubmitError::Unavailable(_) | SubmitError::Stopping) => Follow::Later,
        }
    }

    fn call(&mut self, call: &Call) -> Answer {
        self.provider.borrow_mut().call(call)
    }

    fn answered(&mut self, task: &Task<Self>, call: &Call, answer: Option<&Answer>) -> Follow<Self> {
        let silent = answer.is_none();
        if silent && task.unanswered >= TRIES_MAX {
            return Follow::Later;
        }
        if silent && self.has(Plant::ChargeWithNewKey) && operation(&call.effect).is_some() {
            return Follow::Call(Call { effect: with_new_key(call.effect.clone()), ..call.clone() });
        }
        let silence = || Err(ProviderError::Unanswered("nothing in time".to_owned()));
        let (payment_id, message) = (call.payment_id, task.cause.causation);
        match heard(&call.effect, answer.cloned().unwrap_or_else(silence)) {
            Heard::Outcome(Outcome::Unanswered(Operation::Authorize)) if self.has(Plant::SilenceIsNo) => {
                let outcome = Outcome::Declined(Refusal::new("NO_ANSWER", "nothing in time"));
                Follow::Again(Work::Decide { payment_id, input: Input::Outcome { message, outcome } })
            }
            Heard::Outcome(outcome) => {
                Follow::Again(Work::Decide { payment_id, input: Input::Outcome { message, outcome } })
            }
            Heard::Silence => Follow::Call(call.clone()),
            Heard::Defect(reason) => Follow::Park(reason),
        }
    }
}

/// The bug [`Plant::ChargeWithNewKey`].
fn with_new_key(effect: Effect) -> Effect {
    match effect {
        Effect::Authorize { epoch, amount, token } => Effect::Authorize { epoch: epoch + 1, amount, token },
        other @ (Effect::Capture { .. } | Effect::Void { .. } | Effect::Refund { .. } | Effect::Lookup { .. }) => other,
    }
}
