//! One message is not believed blindly: what does not fit what was asked has no effect, whatever it says.

use chassis::envelope::{Incoming, request_id};
use eventstore::worker::SubmitError;
use eventstore::{Actor, Aggregate as _, DomainEvent as _};
use orders::domain::Stage;
use orders::handler::{Input, cancel_saga_id, place_saga_id};
use orders::messages::incoming;
use orders::sagas::{OrderFacts, OrderProcess};
use saga::{Saga, SagaEvent};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::support::{ORDER, World, beside, facts};

/// Every answer that there is: its type, by which request it is asked for, and what it names beside saga and order.
const ANSWERS: [(&str, &str, &[&str]); 13] = [
    ("products.v1.InventoryReserved", "StepRequested reserve-inventory", &["reservationId"]),
    ("products.v1.InventoryRejected", "StepRequested reserve-inventory", &["reservationId", "reason"]),
    ("products.v1.InventoryReleased", "CompensationRequested reserve-inventory", &["reservationId"]),
    ("products.v1.InventoryCommitted", "StepRequested commit-inventory", &["reservationId"]),
    ("products.v1.InventoryRestocked", "StepRequested restock-inventory", &["reservationId"]),
    ("payment.v1.PaymentAuthorized", "StepRequested authorize-payment", &["paymentId", "amount"]),
    ("payment.v1.PaymentDeclined", "StepRequested authorize-payment", &["paymentId", "reason"]),
    ("payment.v1.PaymentVoided", "CompensationRequested authorize-payment", &["paymentId"]),
    ("payment.v1.PaymentCaptured", "StepRequested capture-payment", &["paymentId", "amount"]),
    ("payment.v1.PaymentCaptureRejected", "StepRequested capture-payment", &["paymentId", "reason"]),
    ("payment.v1.PaymentRefunded", "StepRequested refund-payment", &["paymentId", "amount"]),
    ("payment.v1.PaymentRefundRejected", "StepRequested refund-payment", &["paymentId", "reason"]),
    ("notification.v1.NotificationAccepted", "StepRequested notify", &["notificationId"]),
];

const STRANGER: Uuid = Uuid::from_u128(0x0199_0000_0000_7000_8000_0000_0000_0bad);

/// How a message differs from a true answer.
const FORGERIES: [&str; 7] =
    ["nothing", "no data", "another order", "another thing", "another amount", "another question", "no question"];

/// What is asked of participants at some moment, and what was answered before.
struct Moment<'m> {
    saga_id: Uuid,
    asked: &'m [&'m str],
    answered: &'m [&'m str],
}

impl World {
    /// The last event that asked for this.
    async fn question(&self, saga_id: Uuid, request: &str) -> Option<Uuid> {
        let events = self.events(Saga::<OrderProcess>::stream(saga_id)).await;
        let asks = |event: &&eventstore::Recorded| {
            SagaEvent::<OrderProcess>::from_recorded(event).unwrap().to_string().starts_with(request)
        };
        events.iter().rev().find(asks).map(|event| event.id.0)
    }

    /// An answer, true but for `forgery`.
    async fn answer(&self, saga_id: Uuid, message_type: &str, forgery: &str) -> Incoming {
        let (_, request, names) = ANSWERS.iter().find(|(known, ..)| *known == message_type).unwrap();
        let order = OrderFacts::new(ORDER, facts());
        let or_other = |ours: Uuid, what: &str| if forgery == what { STRANGER } else { ours };
        let amount = if forgery == "another amount" { "501" } else { "500" };
        let mut data = Map::from_iter([
            ("sagaId".to_owned(), json!(saga_id)),
            ("orderId".to_owned(), json!(or_other(ORDER, "another order"))),
        ]);
        for name in *names {
            let value = match *name {
                "reservationId" => json!(or_other(order.reservation_id, "another thing")),
                "paymentId" => json!(or_other(order.payment_id, "another thing")),
                "amount" => json!({"currencyCode": "EUR", "minorUnits": amount}),
                _ => json!(STRANGER),
            };
            data.insert((*name).to_owned(), value);
        }
        let question = self.question(saga_id, request).await.unwrap_or(STRANGER);
        let message_type = format!("farmera.{message_type}");
        let request = request_id(saga_id, &message_type).filter(|_| forgery != "no question");
        let data = if forgery == "no data" { Value::Object(Map::new()) } else { Value::Object(data) };
        Incoming {
            subject: String::new(),
            message_type,
            id: STRANGER,
            correlation: saga_id,
            causation: or_other(question, "another question"),
            request,
            trace: None,
            source: String::new(),
            body: data.to_string().into(),
        }
    }

    /// True when the message is believed, or at least taken for one that was answered before.
    async fn hears(&self, message: &Incoming) -> bool {
        let Ok(input) = incoming(message) else { return false };
        let cause = eventstore::Cause { actor: Actor::new("service:orders"), ..message.cause("service:orders") };
        match self.worker.submit(input, cause).await {
            Ok(_) => true,
            Err(SubmitError::Rejected(_)) => false,
            Err(other) => panic!("{other}"),
        }
    }

    async fn told(&self, saga_id: Uuid, message_type: &str) {
        let answer = self.answer(saga_id, message_type, "nothing").await;
        let before = self.store.events().len();
        assert!(self.hears(&answer).await, "{message_type} is true");
        assert!(self.store.events().len() > before, "{message_type} has an effect");
    }

    /// Tells every answer that there is, in every forged form.
    async fn believes_nothing_forged(&self, moment: Moment<'_>) {
        for (message_type, _, names) in ANSWERS {
            let (is_asked, was_answered) =
                (moment.asked.contains(&message_type), moment.answered.contains(&message_type));
            for forgery in FORGERIES {
                let is_thing = names.iter().any(|name| ["reservationId", "paymentId"].contains(name));
                let is_forged = match forgery {
                    "nothing" => !is_asked,
                    "another thing" => is_thing,
                    "another amount" => names.contains(&"amount"),
                    _ => true,
                };
                if !is_forged {
                    continue;
                }
                let before = self.store.events().len();
                let answer = self.answer(moment.saga_id, message_type, forgery).await;
                let heard = self.hears(&answer).await;
                let what = format!("{message_type} with {forgery} forged");
                assert_eq!(self.store.events().len(), before, "{what} has an effect");
                // What is answered already may be answered again.
                let is_repeat = was_answered && ["nothing", "another question"].contains(&forgery);
                assert_eq!(heard, is_repeat, "{what}: {}", String::from_utf8_lossy(&answer.body));
            }
        }
    }
}

const RESERVE: &[&str] = &["products.v1.InventoryReserved", "products.v1.InventoryRejected"];
const AUTHORIZE: &[&str] = &["payment.v1.PaymentAuthorized", "payment.v1.PaymentDeclined"];
const CAPTURE: &[&str] = &["payment.v1.PaymentCaptured", "payment.v1.PaymentCaptureRejected"];
const REFUND: &[&str] = &["payment.v1.PaymentRefunded", "payment.v1.PaymentRefundRejected"];
const COMMIT: &[&str] = &["products.v1.InventoryCommitted"];
const RELEASE: &[&str] = &["products.v1.InventoryReleased"];
const RESTOCK: &[&str] = &["products.v1.InventoryRestocked"];
const VOID: &[&str] = &["payment.v1.PaymentVoided"];
const NOTIFY: &[&str] = &["notification.v1.NotificationAccepted"];

#[tokio::test]
async fn no_forged_answer_moves_an_order_on_its_way_and_the_true_ones_do() {
    let (world, worker) = World::new();
    beside(worker, async {
        world.place().await;
        let saga_id = place_saga_id(ORDER);
        world.believes_nothing_forged(Moment { saga_id, asked: RESERVE, answered: &[] }).await;
        world.told(saga_id, "products.v1.InventoryReserved").await;
        world.believes_nothing_forged(Moment { saga_id, asked: AUTHORIZE, answered: RESERVE }).await;
        world.told(saga_id, "payment.v1.PaymentAuthorized").await;
        assert_eq!(world.stage().await, Stage::Confirmed);
        let (asked, answered) = ([CAPTURE, COMMIT].concat(), [RESERVE, AUTHORIZE].concat());
        world.believes_nothing_forged(Moment { saga_id, asked: &asked, answered: &answered }).await;
        world.told(saga_id, "payment.v1.PaymentCaptured").await;
        world.told(saga_id, "products.v1.InventoryCommitted").await;
        let answered = [RESERVE, AUTHORIZE, CAPTURE, COMMIT].concat();
        world.believes_nothing_forged(Moment { saga_id, asked: NOTIFY, answered: &answered }).await;
        world.told(saga_id, "notification.v1.NotificationAccepted").await;
        assert_eq!(world.stage().await, Stage::Completed);
        let answered = [RESERVE, AUTHORIZE, CAPTURE, COMMIT, NOTIFY].concat();
        world.believes_nothing_forged(Moment { saga_id, asked: &[], answered: &answered }).await;
    })
    .await;
}

#[tokio::test]
async fn no_forged_answer_moves_an_order_on_its_way_back() {
    let (world, worker) = World::new();
    beside(worker, async {
        world.place().await;
        let saga_id = place_saga_id(ORDER);
        world.told(saga_id, "products.v1.InventoryReserved").await;
        world.submit(Input::Cancel { order_id: ORDER, reason: "too slow".to_owned() }).await.unwrap();
        let answered = [RESERVE, AUTHORIZE].concat();
        world.believes_nothing_forged(Moment { saga_id, asked: VOID, answered: &answered }).await;
        world.told(saga_id, "payment.v1.PaymentVoided").await;
        let answered = [RESERVE, AUTHORIZE, VOID].concat();
        world.believes_nothing_forged(Moment { saga_id, asked: RELEASE, answered: &answered }).await;
        world.told(saga_id, "products.v1.InventoryReleased").await;
        assert!(matches!(world.stage().await, Stage::Cancelled { .. }));
        let answered = [RESERVE, AUTHORIZE, VOID, RELEASE].concat();
        world.believes_nothing_forged(Moment { saga_id, asked: &[], answered: &answered }).await;
    })
    .await;
}

#[tokio::test]
async fn no_forged_answer_moves_the_cancelling_of_a_completed_order() {
    let (world, worker) = World::new();
    beside(worker, async {
        world.place().await;
        for answer in [RESERVE, AUTHORIZE, CAPTURE, COMMIT, NOTIFY] {
            world.told(place_saga_id(ORDER), answer[0]).await;
        }
        world.submit(Input::Cancel { order_id: ORDER, reason: "changed my mind".to_owned() }).await.unwrap();
        let saga_id = cancel_saga_id(ORDER);
        world.believes_nothing_forged(Moment { saga_id, asked: REFUND, answered: &[] }).await;
        world.told(saga_id, "payment.v1.PaymentRefunded").await;
        world.believes_nothing_forged(Moment { saga_id, asked: RESTOCK, answered: REFUND }).await;
        world.told(saga_id, "products.v1.InventoryRestocked").await;
        let answered = [REFUND, RESTOCK].concat();
        world.believes_nothing_forged(Moment { saga_id, asked: NOTIFY, answered: &answered }).await;
        world.told(saga_id, "notification.v1.NotificationAccepted").await;
        assert!(matches!(world.stage().await, Stage::Cancelled { after_completion: true, .. }));
    })
    .await;
}

#[tokio::test]
async fn an_answer_to_any_attempt_is_believed_also_by_a_process_that_asked_none_of_them() {
    let (world, worker) = World::new();
    let store = std::sync::Arc::clone(&world.store);
    let saga_id = place_saga_id(ORDER);
    let mut first = None;
    beside(worker, async {
        world.place().await;
        first = Some(world.answer(saga_id, "products.v1.InventoryReserved", "nothing").await);
        for _ in 0..2 {
            world.store.advance(std::time::Duration::from_secs(6));
            world.submit(Input::Wake { saga_id }).await.unwrap();
        }
    })
    .await;
    let (world, worker) = World::over(store);
    beside(worker, async {
        let first = first.unwrap();
        let last = world.answer(saga_id, "products.v1.InventoryReserved", "nothing").await;
        assert_ne!(first.causation, last.causation, "it was asked twice");
        assert!(world.hears(&first).await);
        assert_eq!(world.stage().await, Stage::ProductsReserved);
    })
    .await;
}
