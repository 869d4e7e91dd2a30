//! Histories under another policy.

use std::time::Duration;

use eventstore::{Aggregate as _, EventStore as _, Version};
use farmera_proto::saga::v1::saga::State;
use orders::operations::history::History;
use orders::operations::whatif::{Change, Otherwise, judge};
use orders::sagas::{AUTHORIZE_PAYMENT, CAPTURE_PAYMENT, COMMIT_INVENTORY, NOTIFY, OrderProcess, RESERVE_INVENTORY};
use saga::{Input, Outcome, Saga, StepName};
use uuid::Uuid;

use crate::support::Market;

/// A saga whose second answer about the payment was yes.
async fn second_answer_counts(market: &Market) -> Uuid {
    let saga_id = market.place(1, 1_000).await;
    market.done(saga_id, RESERVE_INVENTORY).await;
    market.reply(saga_id, AUTHORIZE_PAYMENT, Outcome::Unknown("PROVIDER_DOWN: away".to_owned())).await;
    for step in [AUTHORIZE_PAYMENT, CAPTURE_PAYMENT, COMMIT_INVENTORY, NOTIFY] {
        market.done(saga_id, step).await;
    }
    saga_id
}

async fn under(market: &Market, saga_id: Uuid, step: &str, attempts_max: u32) -> Option<Otherwise> {
    changed(market, saga_id, Change { step: step.to_owned(), attempts_max: Some(attempts_max), timeout: None }).await
}

async fn waited_for(market: &Market, saga_id: Uuid, timeout: Duration) -> Option<Otherwise> {
    let change = Change { step: AUTHORIZE_PAYMENT.to_owned(), attempts_max: None, timeout: Some(timeout) };
    changed(market, saga_id, change).await
}

async fn changed(market: &Market, saga_id: Uuid, change: Change) -> Option<Otherwise> {
    let stream = [(Saga::<OrderProcess>::stream(saga_id), Version::NONE)];
    let history = History::read(market.store.read_streams(&stream, 1_000).await.unwrap()).unwrap();
    let definition = market.library.pinned(history.saga.definition().unwrap()).unwrap();
    judge(&history, definition, &[change])
}

#[tokio::test(flavor = "multi_thread")]
async fn fewer_tries_undo_what_a_second_answer_had_saved() {
    let market = Market::open().await;
    let saga_id = second_answer_counts(&market).await;
    let otherwise = under(&market, saga_id, AUTHORIZE_PAYMENT, 1).await.unwrap();
    assert_eq!((otherwise.was, otherwise.would_be), (State::Completed, State::Compensated));
    assert_eq!(otherwise.captured_delta, -1_000);
    assert!(!otherwise.assumptions.is_empty());
    assert_eq!(under(&market, saga_id, AUTHORIZE_PAYMENT, 2).await, None);
    assert_eq!(under(&market, saga_id, CAPTURE_PAYMENT, 1).await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_operator_had_tried_again_is_forgiven_under_every_policy() {
    let market = Market::open().await;
    let saga_id = market.place(1, 1_000).await;
    market.done(saga_id, RESERVE_INVENTORY).await;
    let unknown = || Outcome::Unknown("PROVIDER_DOWN: away".to_owned());
    market.reply(saga_id, AUTHORIZE_PAYMENT, unknown()).await;
    for _ in 0..5 {
        // An operator is quicker than the policy, which forgives what was tried before: not so here.
        let step = StepName::new(AUTHORIZE_PAYMENT);
        let (reason, actor) = ("again".to_owned(), eventstore::Actor::new("operator:ana"));
        market.input(saga_id, Input::Retry { step, reason, actor }).await.unwrap();
        market.reply(saga_id, AUTHORIZE_PAYMENT, unknown()).await;
    }
    assert_eq!(under(&market, saga_id, AUTHORIZE_PAYMENT, 9).await, None, "its policy was never used up");
    let otherwise = under(&market, saga_id, AUTHORIZE_PAYMENT, 1).await.unwrap();
    assert_eq!((otherwise.was, otherwise.would_be), (State::Running, State::Compensated));
}

#[tokio::test(flavor = "multi_thread")]
async fn under_a_longer_timeout_whoever_ran_out_of_time_is_waited_for() {
    let market = Market::open().await;
    let saga_id = market.place(1, 1_000).await;
    market.done(saga_id, RESERVE_INVENTORY).await;
    market.reply(saga_id, AUTHORIZE_PAYMENT, Outcome::Unknown(saga::NO_ANSWER.to_owned())).await;
    let minute = Duration::from_secs(60);
    let otherwise = waited_for(&market, saga_id, minute).await.unwrap();
    assert_eq!((otherwise.was, otherwise.would_be), (State::Running, State::Completed));
    assert!(otherwise.assumptions.iter().any(|said| said.contains("answers within 60 s")), "{otherwise:?}");
    // The policy's own timeout and shorter ones wait for nobody.
    assert_eq!(waited_for(&market, saga_id, Duration::from_secs(1)).await, None);
    // The answer came after all, within a minute: nothing has to be assumed, and all is as it was.
    market.rejected(saga_id, AUTHORIZE_PAYMENT, "CARD_DECLINED").await;
    assert_eq!(waited_for(&market, saga_id, minute).await, None);
}
