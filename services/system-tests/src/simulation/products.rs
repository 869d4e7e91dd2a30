//! Products in the world.

use std::rc::Rc;

use eventstore::worker::SubmitError;
use eventstore::{Actor, Category, Cause, DecodeError, Recorded, StreamId, derived_id};
use money::{Currency, Money};
use products::domain::{AddStock, ListProduct, RegisterFarm};
use products::handler::{Input, Output};
use products::messages;
use saga_simulator::{ErrorOf, Follow, Message, Origin, OutputOf, Service, Task, Wish};

use super::envelope;
use super::plan::{Goods, Plan};
use super::rules::ProductsRules;

/// Products and reservations.
pub struct Products {
    /// The rules.
    pub rules: Rc<ProductsRules>,
    /// What there is to be sold.
    pub plan: Rc<Plan>,
}

impl Products {
    /// How many commands it takes to fill the shelves.
    #[must_use]
    pub fn commands(plan: &Plan) -> u64 {
        1 + 2 * plan.goods.len() as u64
    }

    fn goods(&self, number: u64) -> Option<&Goods> {
        self.plan.goods.get(usize::try_from(number).ok()?)
    }
}

impl Service for Products {
    type Rules = ProductsRules;
    type Call = ();
    type Answer = ();

    fn name(&self) -> &'static str {
        "products"
    }

    fn rules(&self) -> Rc<ProductsRules> {
        Rc::clone(&self.rules)
    }

    fn hears(&self) -> Vec<&'static str> {
        messages::CONSUMER.subjects.to_vec()
    }

    fn incoming(&self, message: &Message) -> Result<Option<Wish<Self>>, String> {
        let incoming = envelope::open(message);
        let request = messages::parse(&incoming).map_err(|error| error.to_string())?;
        Ok(Some(Wish { input: Input::Reservation(request), cause: incoming.cause("service:orders") }))
    }

    fn outgoing(&self, event: &Recorded) -> Result<Option<Message>, DecodeError> {
        Ok(messages::translate(event)?.map(|outgoing| envelope::seal(outgoing, event)))
    }

    fn told(&self) -> &[Category] {
        messages::TOLD
    }

    fn woken(&self) -> &[Category] {
        &[]
    }

    fn wake(&self, _: StreamId, _: Option<&Recorded>) -> Option<Wish<Self>> {
        None
    }

    fn looked_after(&self) -> &[Category] {
        &[]
    }

    fn is_over(&self, _: &Recorded) -> bool {
        true
    }

    fn command(&self, number: u64) -> Option<Wish<Self>> {
        let farm_id = self.plan.farm_id;
        let input = match number.checked_sub(1) {
            None => {
                let (name, email) = ("Hill".to_owned(), "hill@example.org".to_owned());
                Input::RegisterFarm { farm_id, wish: RegisterFarm { name, email } }
            }
            Some(rest) if rest % 2 == 0 => {
                let goods = self.goods(rest / 2)?;
                let price = Money::new(goods.price, Currency::EUR);
                let wish = ListProduct { farm_id, name: "apples".to_owned(), price };
                Input::ListProduct { product_id: goods.id, wish }
            }
            Some(rest) => {
                let goods = self.goods(rest / 2)?;
                let wish = AddStock { request_id: derived_id(goods.id, "stock"), quantity: goods.stock };
                Input::AddStock { product_id: goods.id, wish }
            }
        };
        let actor = Actor::new("farmer:hill");
        Some(Wish { input, cause: Cause { correlation: farm_id, causation: farm_id, trace: None, actor } })
    }

    fn follow(&mut self, task: &Task<Self>, met: Result<&OutputOf<Self>, &SubmitError<ErrorOf<Self>>>) -> Follow<Self> {
        match (&task.origin, met) {
            // Its elder is not done yet: the client comes back.
            (Origin::Command(_), Err(_)) => Follow::Later,
            (Origin::Command(_) | Origin::Timer(_), Ok(_)) => Follow::Done,
            (Origin::Message(_), Ok(Output::Repeat(event))) => match &*task.input {
                Input::Reservation(request) => match messages::answer(request.reservation_id, event) {
                    Ok(outgoing) => Follow::Say(envelope::seal_repeat(outgoing, &task.cause)),
                    Err(error) => Follow::Park(error.to_string()),
                },
                Input::RegisterFarm { .. }
                | Input::ListProduct { .. }
                | Input::SetPrice { .. }
                | Input::SetActive { .. }
                | Input::AddStock { .. }
                | Input::GetProduct { .. } => Follow::Done,
            },
            (Origin::Message(_), Ok(Output::Answered | Output::Farm | Output::Product(_))) => Follow::Done,
            (Origin::Message(_) | Origin::Timer(_), Err(error)) => match error {
                SubmitError::Duplicate => Follow::Done,
                SubmitError::Unavailable(_) | SubmitError::Stopping => Follow::Later,
                SubmitError::Rejected(reason) => Follow::Park(reason.to_string()),
                SubmitError::Parked(need) => Follow::Park(need.to_string()),
                SubmitError::Unstorable(reason) => Follow::Park(reason.clone()),
            },
        }
    }

    fn call(&mut self, (): &()) {}

    fn answered(&mut self, _: &Task<Self>, (): &(), _: Option<&()>) -> Follow<Self> {
        Follow::Done
    }
}
