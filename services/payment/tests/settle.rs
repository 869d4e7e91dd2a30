//! The loop between the rules and a provider that follows a script, over the in-memory store.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic, too")]

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use chassis::health::Health;
use chassis::reactor::NotHandled;
use chrono::DateTime;
use eventstore::memory::{CountingIds, MemoryClock, MemoryStore};
use eventstore::worker::{Limits, Shell, Worker};
use eventstore::{Actor, Cause};
use money::{Currency, Money};
use payment::domain::{Answer, Reference, Refusal, Request, Wish};
use payment::handler::Payments;
use payment::line::Line;
use payment::provider::{Charge, ChargeStatus, Key, PaymentProvider, ProviderError};
use payment::second_look::SecondLook;
use payment::settle::{Patience, Settled, Settler};
use uuid::Uuid;

const PAYMENT: Uuid = Uuid::from_u128(7);

/// What the provider does with the next request.
#[derive(Clone, Copy, Debug)]
enum Act {
    Answer,
    /// Does it, and never says so.
    DoneSilently,
    /// Does nothing, and never says so.
    Lost,
    /// An error that says nothing.
    Fail,
    /// The key is of no more use.
    Spent,
    /// A definite no.
    Refuse,
}

#[derive(Default)]
struct Books {
    script: VecDeque<Act>,
    charges: Vec<(String, Charge)>,
    calls: Vec<String>,
}

#[derive(Clone, Default)]
struct Scripted(Arc<Mutex<Books>>);

impl Scripted {
    fn with(script: impl IntoIterator<Item = Act>) -> Self {
        let scripted = Self::default();
        scripted.script(script);
        scripted
    }

    fn script(&self, script: impl IntoIterator<Item = Act>) {
        self.0.lock().unwrap().script = script.into_iter().collect();
    }

    fn calls(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap().calls)
    }

    fn statuses(&self) -> Vec<&'static str> {
        self.0.lock().unwrap().charges.iter().map(|(_, charge)| charge.status.as_str()).collect()
    }

    async fn act(&self, key: &Key, change: impl FnOnce(&mut Books) -> Charge) -> Result<Charge, ProviderError> {
        let (act, charge) = {
            let mut books = self.0.lock().unwrap();
            let act = books.script.pop_front().unwrap_or(Act::Answer);
            books.calls.push(format!("{}:{}", key.operation.as_str(), key.epoch));
            (act, matches!(act, Act::Answer | Act::DoneSilently).then(|| change(&mut books)))
        };
        match (act, charge) {
            (Act::Answer, Some(charge)) => Ok(charge),
            (Act::Fail, _) => Err(ProviderError::Unanswered("503".to_owned())),
            (Act::Spent, _) => Err(ProviderError::KeySpent("500".to_owned())),
            (Act::Refuse, _) => Err(ProviderError::Refused(Refusal::new("NO", "no"))),
            (Act::Answer | Act::DoneSilently | Act::Lost, _) => std::future::pending().await,
        }
    }

    async fn set(&self, key: &Key, reference: &Reference, status: ChargeStatus) -> Result<Charge, ProviderError> {
        self.act(key, |books| {
            let (_, charge) = books.charges.iter_mut().find(|(_, charge)| charge.reference == *reference).unwrap();
            charge.status = status;
            charge.clone()
        })
        .await
    }
}

#[async_trait]
impl PaymentProvider for Scripted {
    async fn authorize(&self, key: &Key, amount: Money, _token: &str) -> Result<Charge, ProviderError> {
        self.act(key, |books| {
            if let Some((_, charge)) = books.charges.iter().find(|(known, _)| *known == key.to_string()) {
                return charge.clone();
            }
            let reference = Reference(format!("ch_{}", books.charges.len() + 1));
            let status = ChargeStatus::Authorized;
            let charge = Charge { reference, payment_id: key.payment_id, amount, status, requests: 1 };
            books.charges.push((key.to_string(), charge.clone()));
            charge
        })
        .await
    }

    async fn capture(&self, key: &Key, reference: &Reference) -> Result<Charge, ProviderError> {
        self.set(key, reference, ChargeStatus::Captured).await
    }

    async fn void(&self, key: &Key, reference: &Reference) -> Result<Charge, ProviderError> {
        self.set(key, reference, ChargeStatus::Voided).await
    }

    async fn refund(&self, key: &Key, reference: &Reference) -> Result<Charge, ProviderError> {
        self.set(key, reference, ChargeStatus::Refunded).await
    }

    async fn lookup(&self, key: &Key) -> Result<Option<Charge>, ProviderError> {
        let mut books = self.0.lock().unwrap();
        books.calls.push(format!("lookup:{}", key.epoch));
        let found = books.charges.iter().find(|(known, _)| *known == key.to_string());
        Ok(found.map(|(_, charge)| charge.clone()))
    }

    async fn list(&self, _after: Option<&Reference>, _limit: usize) -> Result<Vec<Charge>, ProviderError> {
        Ok(Vec::new())
    }
}

struct World {
    store: Arc<MemoryStore>,
    provider: Scripted,
    settler: Arc<Settler>,
    running: tokio::task::JoinSet<()>,
}

impl World {
    fn new(script: impl IntoIterator<Item = Act>) -> Self {
        let provider = Scripted::with(script);
        let store = Arc::new(MemoryStore::new(DateTime::default()));
        Self::over(store, provider, 0)
    }

    /// A replica, or the same service after a crash.
    fn over(store: Arc<MemoryStore>, provider: Scripted, series: u16) -> Self {
        let shell = Shell {
            store: store.clone(),
            clock: Arc::new(MemoryClock::of(&store)),
            ids: Arc::new(CountingIds::new(series)),
            listeners: Vec::new(),
        };
        let (worker, handle) = Worker::new(Payments, shell, Limits::default());
        let mut running = tokio::task::JoinSet::new();
        running.spawn(worker.run());
        let patience = Patience { timeout: Duration::from_secs(2), tries_max: 4, concurrency_max: 16 };
        let component = Health::new().component("provider");
        let line = Arc::new(Line::new(Arc::new(provider.clone()), patience.timeout, component));
        let settler = Arc::new(Settler::new(handle, line, patience));
        Self { store, provider, settler, running }
    }

    async fn ask(&self, wish: Wish) -> Result<Settled, NotHandled> {
        self.ask_by(Uuid::from_u128(100), wish).await
    }

    async fn ask_by(&self, message: Uuid, wish: Wish) -> Result<Settled, NotHandled> {
        let request = Request { message, order_id: Uuid::from_u128(1), wish };
        let actor = Actor::new("service:orders");
        let cause = Cause { correlation: Uuid::from_u128(1), causation: message, trace: None, actor };
        self.settler.settle(PAYMENT, &request, &cause).await
    }

    fn events(&self) -> Vec<String> {
        self.store.events().into_iter().map(|event| event.type_name).collect()
    }
}

fn hold() -> Wish {
    let amount = Money::new(1250, Currency::EUR);
    Wish::Authorize { customer_id: Uuid::from_u128(2), amount, token: "tok".to_owned() }
}

#[tokio::test(start_paused = true)]
async fn a_payment_that_goes_well_costs_four_events_and_two_calls() {
    let world = World::new([]);
    assert_eq!(world.ask(hold()).await.unwrap(), Settled::Told);
    assert_eq!(world.ask(Wish::Capture).await.unwrap(), Settled::Told);
    assert_eq!(world.events(), ["AuthorizationStarted", "Authorized", "CaptureStarted", "Captured"]);
    assert_eq!(world.provider.calls(), ["authorize:1", "capture:1"]);
    assert!(matches!(world.ask(hold()).await.unwrap(), Settled::Repeat(Answer::Authorized(_))));
    assert!(world.provider.calls().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_charge_whose_answer_was_lost_is_found_and_not_made_again() {
    let world = World::new([Act::DoneSilently]);
    assert_eq!(world.ask(hold()).await.unwrap(), Settled::Told);
    assert_eq!(world.provider.calls(), ["authorize:1", "lookup:1"]);
    assert_eq!(world.provider.statuses(), ["authorized"]);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_was_lost_is_made_again_under_the_same_key() {
    let world = World::new([Act::Lost]);
    assert_eq!(world.ask(hold()).await.unwrap(), Settled::Told);
    assert_eq!(world.provider.calls(), ["authorize:1", "lookup:1", "authorize:1"]);
    assert_eq!(world.provider.statuses(), ["authorized"]);
}

#[tokio::test(start_paused = true)]
async fn a_flaky_provider_is_asked_until_it_answers() {
    let world = World::new([Act::Fail, Act::Fail]);
    assert_eq!(world.ask(hold()).await.unwrap(), Settled::Told);
    assert_eq!(world.events(), ["AuthorizationStarted", "Authorized"]);
    world.provider.script([Act::Fail, Act::DoneSilently]);
    assert_eq!(world.ask(Wish::Capture).await.unwrap(), Settled::Told);
    assert_eq!(world.provider.statuses(), ["captured"]);
}

#[tokio::test(start_paused = true)]
async fn patience_ends_and_the_next_delivery_takes_the_payment_up() {
    let world = World::new([Act::Lost; 4]);
    assert!(matches!(world.ask(hold()).await, Err(NotHandled::Later(_))));
    assert_eq!(world.events(), ["AuthorizationStarted"]);
    let calls = world.provider.calls();
    assert_eq!(calls.iter().filter(|call| *call == "authorize:1").count(), 4);
    assert_eq!(world.ask(hold()).await.unwrap(), Settled::Told);
    assert_eq!(world.provider.calls(), ["lookup:1", "authorize:1"]);
}

#[tokio::test(start_paused = true)]
async fn a_crash_between_the_call_and_its_outcome_leads_to_a_look_and_no_second_charge() {
    let world = World::new([Act::DoneSilently]);
    let died = tokio::time::timeout(Duration::from_secs(1), world.ask(hold())).await;
    assert!(died.is_err());
    let World { store, provider, settler, running } = world;
    drop((settler, running));
    let world = World::over(store, provider, 1);
    assert_eq!(world.ask(hold()).await.unwrap(), Settled::Told);
    assert_eq!(world.provider.calls(), ["authorize:1", "lookup:1"]);
    assert_eq!(world.provider.statuses(), ["authorized"]);
}

#[tokio::test(start_paused = true)]
async fn a_void_beside_an_authorization_whose_answer_is_lost_lets_the_money_go() {
    let world = World::new([Act::DoneSilently]);
    let (held, voided) = tokio::join!(world.ask(hold()), world.ask_by(Uuid::from_u128(101), Wish::Void));
    assert!(matches!(held.unwrap(), Settled::Repeat(Answer::Declined(_))));
    assert!(matches!(voided.unwrap(), Settled::Told | Settled::Repeat(Answer::Voided)));
    assert_eq!(world.provider.statuses(), ["voided"]);
}

#[tokio::test(start_paused = true)]
async fn an_authorization_that_comes_through_behind_its_void_is_let_go() {
    let world = World::new([Act::Lost]);
    let authorizing = async {
        // Given up by its own replica in mid-call; the provider has it a moment later.
        let died = tokio::time::timeout(Duration::from_secs(1), world.ask(hold())).await;
        assert!(died.is_err());
    };
    authorizing.await;
    assert_eq!(world.ask_by(Uuid::from_u128(101), Wish::Void).await.unwrap(), Settled::Told);
    assert_eq!(world.events(), ["AuthorizationStarted", "VoidRequested", "Voided"]);
    let key = Key { payment_id: PAYMENT, operation: payment::domain::Operation::Authorize, epoch: 1 };
    world.provider.authorize(&key, Money::new(1250, Currency::EUR), "tok").await.unwrap();
    assert!(matches!(world.ask(hold()).await.unwrap(), Settled::Repeat(Answer::Declined(_))));
    assert_eq!(world.provider.statuses(), ["voided"]);
}

#[tokio::test(start_paused = true)]
async fn a_charge_that_turns_up_when_everybody_has_gone_is_let_go_by_the_second_look() {
    let world = World::new([Act::Lost]);
    let given_up = tokio::time::timeout(Duration::from_secs(1), world.ask(hold())).await;
    assert!(given_up.is_err());
    assert_eq!(world.ask_by(Uuid::from_u128(101), Wish::Void).await.unwrap(), Settled::Told);
    let key = Key { payment_id: PAYMENT, operation: payment::domain::Operation::Authorize, epoch: 1 };
    world.provider.authorize(&key, Money::new(1250, Currency::EUR), "tok").await.unwrap();

    let second_look = SecondLook::new(world.store.clone(), world.settler.clone());
    assert_eq!(second_look.look_once().await.unwrap(), 0);
    world.store.advance(Duration::from_secs(61));
    assert_eq!(second_look.look_once().await.unwrap(), 1);
    assert_eq!(world.provider.statuses(), ["voided"]);
    assert_eq!(world.events(), ["AuthorizationStarted", "VoidRequested", "Voided", "VoidStarted", "Voided"]);
    world.store.advance(Duration::from_secs(3_600));
    assert_eq!(second_look.look_once().await.unwrap(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_spent_key_is_replaced_once_the_books_prove_that_nothing_happened() {
    let world = World::new([Act::Spent]);
    assert_eq!(world.ask(hold()).await.unwrap(), Settled::Told);
    assert_eq!(world.provider.calls(), ["authorize:1", "lookup:1", "authorize:2"]);
    world.provider.script([Act::Spent]);
    assert_eq!(world.ask(Wish::Capture).await.unwrap(), Settled::Told);
    assert_eq!(world.provider.calls(), ["capture:1", "lookup:2", "capture:2"]);
}

#[tokio::test(start_paused = true)]
async fn a_rejected_capture_is_repeated_to_the_same_message_and_tried_again_for_another() {
    let world = World::new([Act::Answer, Act::Refuse]);
    assert_eq!(world.ask(hold()).await.unwrap(), Settled::Told);
    assert_eq!(world.ask(Wish::Capture).await.unwrap(), Settled::Told);
    assert!(matches!(world.ask(Wish::Capture).await.unwrap(), Settled::Repeat(Answer::CaptureRejected(_))));
    assert_eq!(world.ask_by(Uuid::from_u128(101), Wish::Capture).await.unwrap(), Settled::Told);
    assert_eq!(world.provider.statuses(), ["captured"]);
}

#[tokio::test(start_paused = true)]
async fn a_refund_follows_a_capture_and_a_void_does_not() {
    let world = World::new([]);
    assert_eq!(world.ask(hold()).await.unwrap(), Settled::Told);
    assert_eq!(world.ask(Wish::Capture).await.unwrap(), Settled::Told);
    assert!(matches!(world.ask(Wish::Void).await, Err(NotHandled::Poison(_))));
    assert_eq!(world.ask(Wish::Refund).await.unwrap(), Settled::Told);
    assert_eq!(world.provider.statuses(), ["refunded"]);
}
