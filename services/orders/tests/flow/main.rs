//! The rules of orders around a real worker and the in-memory store: no servers, no waiting.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod answers;
mod replicas;
mod support;
mod watching;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use chassis::envelope::{Attributes, Sealed, Stamp, request_id, seal};
use eventstore::worker::SubmitError;
use eventstore::{Actor, Aggregate as _, Cause, EventStore as _, Need};
use orders::domain::{Order, Rejection, Stage};
use orders::handler::{HandleError, Input, cancel_saga_id, place_saga_id};
use orders::sagas::{
    AUTHORIZE_PAYMENT, CAPTURE_PAYMENT, COMMIT_INVENTORY, NOTIFY, NOTIFY_REFUNDED, OrderProcess, REFUND_PAYMENT,
    RESERVE_INVENTORY, RESTOCK_INVENTORY,
};
use saga::{Input as SagaInput, Outcome, Saga, StepName};
use support::{ORDER, World, beside, facts};
use uuid::Uuid;

#[tokio::test]
async fn an_order_is_completed_when_every_participant_agrees() {
    let (world, worker) = World::new();
    beside(worker, async {
        world.place().await;
        let saga_id = place_saga_id(ORDER);
        world.done(saga_id, RESERVE_INVENTORY).await;
        assert_eq!(world.stage().await, Stage::ProductsReserved);
        world.done(saga_id, AUTHORIZE_PAYMENT).await;
        assert_eq!(world.stage().await, Stage::Confirmed);
        for step in [COMMIT_INVENTORY, CAPTURE_PAYMENT, NOTIFY] {
            world.done(saga_id, step).await;
        }
        assert_eq!(world.stage().await, Stage::Completed);
    })
    .await;
}

#[tokio::test]
async fn a_declined_card_releases_the_goods_and_fails_the_order() {
    let (world, worker) = World::new();
    beside(worker, async {
        world.place().await;
        world.done(place_saga_id(ORDER), RESERVE_INVENTORY).await;
        world.rejected(AUTHORIZE_PAYMENT, "CARD_DECLINED").await;
        world.undone(RESERVE_INVENTORY).await;
        assert!(matches!(world.stage().await, Stage::Failed(failure) if failure.reason == "CARD_DECLINED"));
        let history = world.history(place_saga_id(ORDER)).await;
        assert!(history.contains(&format!("CompensationRequested {RESERVE_INVENTORY}")), "{history:?}");
        assert!(!history.contains(&format!("CompensationRequested {AUTHORIZE_PAYMENT}")), "{history:?}");
    })
    .await;
}

#[tokio::test]
async fn cancelling_in_flight_undoes_also_what_may_have_happened() {
    let (world, worker) = World::new();
    beside(worker, async {
        world.place().await;
        world.done(place_saga_id(ORDER), RESERVE_INVENTORY).await;
        world.submit(Input::Cancel { order_id: ORDER, reason: "too slow".to_owned() }).await.unwrap();
        // The authorization is in flight: it is undone first, then the reservation.
        world.undone(AUTHORIZE_PAYMENT).await;
        world.undone(RESERVE_INVENTORY).await;
        let Stage::Cancelled { failure, after_completion } = world.stage().await else { panic!("not cancelled") };
        assert_eq!((failure.reason.as_str(), after_completion), ("CANCELLED_BY_CUSTOMER", false));
    })
    .await;
}

#[tokio::test]
async fn a_confirmed_order_cannot_be_cancelled_and_a_completed_one_is_refunded() {
    let (world, worker) = World::new();
    beside(worker, async {
        world.place().await;
        let cancel = || Input::Cancel { order_id: ORDER, reason: "changed my mind".to_owned() };
        world.done(place_saga_id(ORDER), RESERVE_INVENTORY).await;
        world.done(place_saga_id(ORDER), AUTHORIZE_PAYMENT).await;
        let refused = world.submit(cancel()).await.unwrap_err();
        assert!(matches!(refused, HandleError::Rejected(Rejection::PastPivot)), "{refused}");
        for step in [CAPTURE_PAYMENT, COMMIT_INVENTORY, NOTIFY] {
            world.done(place_saga_id(ORDER), step).await;
        }
        world.submit(cancel()).await.unwrap();
        for step in [REFUND_PAYMENT, RESTOCK_INVENTORY, NOTIFY_REFUNDED] {
            world.done(cancel_saga_id(ORDER), step).await;
        }
        assert!(matches!(world.stage().await, Stage::Cancelled { after_completion: true, .. }));
        world.submit(cancel()).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn what_a_saga_asks_carries_its_own_id_so_that_answers_find_it() {
    let (world, worker) = World::new();
    beside(worker, async {
        world.place().await;
        for step in [RESERVE_INVENTORY, AUTHORIZE_PAYMENT, CAPTURE_PAYMENT, COMMIT_INVENTORY, NOTIFY] {
            world.done(place_saga_id(ORDER), step).await;
        }
        world.submit(Input::Cancel { order_id: ORDER, reason: String::new() }).await.unwrap();
        for saga_id in [place_saga_id(ORDER), cancel_saga_id(ORDER)] {
            let events = world.events(Saga::<OrderProcess>::stream(saga_id)).await;
            assert!(!events.is_empty() && events.iter().all(|event| event.cause.correlation == saga_id), "{events:?}");
            let told = events.iter().filter_map(|event| orders::messages::outgoing(event).unwrap());
            let questions: Vec<Option<Uuid>> = told.map(|told| request_id(saga_id, told.message_type)).collect();
            let distinct: BTreeSet<&Option<Uuid>> = questions.iter().collect();
            assert!(!distinct.contains(&None) && distinct.len() == questions.len(), "{questions:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn every_answer_may_come_twice_and_every_commit_may_be_the_last() {
    let (world, worker) = World::new();
    let store = Arc::clone(&world.store);
    beside(worker, async { world.place().await }).await;
    let saga_id = place_saga_id(ORDER);
    for step in [RESERVE_INVENTORY, AUTHORIZE_PAYMENT, CAPTURE_PAYMENT, COMMIT_INVENTORY, NOTIFY] {
        // A new process for every answer: nothing but the store survives.
        let (world, worker) = World::over(Arc::clone(&store));
        beside(worker, async {
            world.done(saga_id, step).await;
            let once = world.history(saga_id).await;
            world.done(saga_id, step).await;
            assert_eq!(world.history(saga_id).await, once, "{step} told twice");
        })
        .await;
    }
    let (world, worker) = World::over(store);
    beside(worker, async { assert_eq!(world.stage().await, Stage::Completed) }).await;
}

#[tokio::test]
async fn the_same_order_placed_again_by_another_process_changes_nothing() {
    let (world, worker) = World::new();
    let store = Arc::clone(&world.store);
    beside(worker, async { world.place().await }).await;
    let (world, worker) = World::over(store);
    beside(worker, async {
        let before = world.history(place_saga_id(ORDER)).await;
        world.place().await;
        assert_eq!(world.history(place_saga_id(ORDER)).await, before);
        let other = Input::Place { order_id: ORDER, facts: Arc::new(facts()), fingerprint: "other".to_owned() };
        let refused = world.submit(other).await.unwrap_err();
        assert!(matches!(refused, HandleError::Rejected(Rejection::RequestIdReused)), "{refused}");
    })
    .await;
}

#[tokio::test]
async fn an_answer_that_never_comes_is_asked_for_again_when_it_is_due() {
    let (world, worker) = World::new();
    beside(worker, async {
        world.place().await;
        let saga_id = place_saga_id(ORDER);
        let asked = || async {
            let history = world.history(saga_id).await;
            history.iter().filter(|event| **event == format!("StepRequested {RESERVE_INVENTORY}")).count()
        };
        world.submit(Input::Wake { saga_id }).await.unwrap();
        assert_eq!(asked().await, 1, "nothing is due yet");
        world.store.advance(Duration::from_secs(6));
        world.submit(Input::Wake { saga_id }).await.unwrap();
        world.store.advance(Duration::from_secs(6));
        world.submit(Input::Wake { saga_id }).await.unwrap();
        assert_eq!(asked().await, 2, "{:?}", world.history(saga_id).await);
        let stamp = Stamp { store_epoch: Uuid::nil(), broker_epoch: 0 };
        let stored = world.events(Saga::<OrderProcess>::stream(saga_id)).await;
        let told = stored.iter().filter_map(|event| {
            let outgoing = orders::messages::outgoing(event).unwrap()?;
            Some(seal("/farmera/orders", outgoing, event, stamp))
        });
        let sent: Vec<Sealed> = told.collect();
        let [first, second] = sent.as_slice() else { panic!("{sent:?}") };
        let [of_first, of_second] = [first, second].map(Sealed::headers);
        let one = Attributes::of(Some(&of_first), &first.body).unwrap();
        let other = Attributes::of(Some(&of_second), &second.body).unwrap();
        assert!(one.request.is_some() && one.request == other.request, "it is the same question");
        assert_ne!(one.id, other.id, "every attempt is a message of its own");
        assert_ne!(first.message_id, second.message_id, "the broker must not swallow it");
        let due =
            world.store.claim_due_timers(&[Saga::<OrderProcess>::CATEGORY], 10, Duration::from_secs(1)).await.unwrap();
        assert!(!due.due.is_empty() || due.next.is_some(), "the saga has a timer");
    })
    .await;
}

#[tokio::test]
async fn an_order_of_a_newer_program_waits_and_its_neighbours_go_on() {
    let (world, worker) = World::new();
    beside(worker, async {
        world.place().await;
        world.plant(Order::stream(ORDER)).await;
        let before = world.store.events().len();
        let outcome = Outcome::Done(None);
        let reply = SagaInput::Reply { step: StepName::new(RESERVE_INVENTORY), outcome };
        let saga_id = place_saga_id(ORDER);
        let other = Uuid::from_u128(ORDER.as_u128() + 1);
        let cause = || Cause { correlation: ORDER, causation: ORDER, trace: None, actor: Actor::new("customer:1") };
        let place = Input::Place { order_id: other, facts: Arc::new(facts()), fingerprint: "f".to_owned() };

        let (parked, placed) = tokio::join!(
            world.worker.submit(Input::Saga { saga_id, input: reply }, cause()),
            world.worker.submit(place, cause()),
        );
        let Err(SubmitError::Parked(Need::Newer { stream, .. })) = parked else { panic!("{parked:?}") };
        assert_eq!(stream, Order::stream(ORDER));
        placed.unwrap();
        let after = world.store.events();
        let touched = [Order::stream(ORDER), Saga::<OrderProcess>::stream(saga_id)];
        assert!(
            after[before..].iter().all(|event| !touched.contains(&event.stream)),
            "neither order nor saga has moved"
        );
    })
    .await;
}

#[tokio::test]
async fn what_this_program_does_not_know_is_not_passed_over_on_its_way_out() {
    let (world, worker) = World::new();
    beside(worker, async {
        world.place().await;
        for stream in [Order::stream(ORDER), Saga::<OrderProcess>::stream(place_saga_id(ORDER))] {
            world.plant(stream).await;
            let planted = world.events(stream).await.pop().unwrap();
            let told = orders::messages::outgoing(&planted);
            assert!(told.is_err_and(|error| error.is_newer()), "it stays in the outbox");
        }
    })
    .await;
}
