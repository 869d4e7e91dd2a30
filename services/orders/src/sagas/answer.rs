//! What participants answer, and whether it answers anything that was asked. Pure.

use eventstore::EventId;
use money::Money;
use saga::{Asked, Input, Lane, Outcome, Rejection, Saga, StepName, UndoOutcome};
use uuid::Uuid;

use super::{OrderFacts, OrderProcess};

/// What a participant says, and what it says it of. Nothing of it is believed before it was compared with what was
/// asked: anybody who can reach the broker may have written it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    /// The step that it is about.
    pub step: &'static str,
    /// What is said.
    pub said: Said,
    /// The message that it answers.
    pub question: EventId,
    /// The order.
    pub order_id: Uuid,
    /// What the participant did it to.
    pub of: Of,
}

/// What a participant says of a step.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Said {
    /// It is done.
    Done,
    /// It is not, and will not be.
    Rejected(Rejection),
    /// It is undone.
    Undone,
}

/// What a participant did something to, by its name for it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Of {
    /// A reservation in products.
    Reservation(Uuid),
    /// A payment, and how much was held, taken or given back, where that is said.
    Payment(Uuid, Option<Money>),
    /// A notification, by the name that notification gave it.
    Notification,
}

/// Why a message answers nothing that was asked. It is kept for an operator, and holds up nobody.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Unasked {
    /// There is no such saga.
    #[error("it answers nothing that was asked: there is no saga {0}")]
    NoSaga(Uuid),
    /// The saga has not asked for it.
    #[error("it answers nothing that was asked: this saga has not asked for {step} to be {wanted}")]
    NotAsked {
        /// The step.
        step: &'static str,
        /// `done` or `undone`.
        wanted: &'static str,
    },
    /// It was asked of something else.
    #[error("it answers nothing that was asked: its {what} is {found}, asked was {asked}")]
    Other {
        /// Of what.
        what: &'static str,
        /// As it says.
        found: String,
        /// As it was asked.
        asked: String,
    },
    /// It answers a message that the saga did not send.
    #[error("it answers nothing that was asked: this saga has not sent {0}")]
    OtherQuestion(Uuid),
}

impl Answer {
    /// The same as an input of the saga.
    #[must_use]
    pub fn input(&self) -> Input<OrderProcess> {
        let step = StepName::new(self.step);
        match &self.said {
            Said::Done => Input::Reply { step, outcome: Outcome::Done(None) },
            Said::Rejected(reason) => Input::Reply { step, outcome: Outcome::Rejected(reason.clone()) },
            Said::Undone => Input::UndoReply { step, outcome: UndoOutcome::Done },
        }
    }

    /// Compares it with what `saga` has asked. What is not sought any more may be answered again: it changes nothing.
    ///
    /// # Errors
    /// [`Unasked`]: believe nothing of it.
    pub fn check(&self, saga_id: Uuid, saga: &Saga<OrderProcess>) -> Result<(), Unasked> {
        let facts = saga.input().ok_or(Unasked::NoSaga(saga_id))?;
        let asked = saga.asked(self.step, self.lane());
        if asked == Asked::Never {
            return Err(Unasked::NotAsked { step: self.step, wanted: self.wanted() });
        }
        self.compare(facts)?;
        match asked {
            Asked::Now(by) if !by.contains(self.question) => Err(Unasked::OtherQuestion(self.question.0)),
            Asked::Now(_) | Asked::Before | Asked::Never => Ok(()),
        }
    }

    fn lane(&self) -> Lane {
        match self.said {
            Said::Done | Said::Rejected(_) => Lane::Forward,
            Said::Undone => Lane::Undo,
        }
    }

    fn wanted(&self) -> &'static str {
        match self.lane() {
            Lane::Forward => "done",
            Lane::Undo => "undone",
        }
    }

    /// Everything that is asked is asked of one order, one reservation, one payment and one amount.
    fn compare(&self, facts: &OrderFacts) -> Result<(), Unasked> {
        same("order", self.order_id, facts.order_id)?;
        match self.of {
            Of::Reservation(reservation_id) => same("reservation", reservation_id, facts.reservation_id),
            Of::Payment(payment_id, amount) => {
                same("payment", payment_id, facts.payment_id)?;
                amount.map_or(Ok(()), |amount| same("amount", amount, facts.facts.total))
            }
            Of::Notification => Ok(()),
        }
    }
}

fn same<T: PartialEq + ToString>(what: &'static str, found: T, asked: T) -> Result<(), Unasked> {
    if found == asked {
        return Ok(());
    }
    Err(Unasked::Other { what, found: found.to_string(), asked: asked.to_string() })
}
