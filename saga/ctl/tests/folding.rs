//! An operator folds history again, and compares the books.

#[path = "support/stack.rs"]
mod stack;
mod support;

use stack::Ground;

#[tokio::test(flavor = "multi_thread")]
async fn history_can_be_folded_again_and_the_books_compared() {
    let ground = Ground::start(&[]).await;
    let order = ground.place("tok_success").await;
    assert_eq!(ground.sagactl(&["saga", "wait", &order.saga_id]).await.code, 0);
    let early = ground.well(&["replay", "at", "saga", &order.saga_id, "--at", "1"]).await;
    assert!(early.contains("version 1 of"), "{early}");
    let checked = ground.until(&["replay", "check"], |said| said.code == 0).await;
    assert!(checked.err.contains("folded "), "{checked:?}");
    // The participants' ledgers lag behind by a moment, which is why younger things are left out unless asked for.
    let all = "looked at 1 payment, 1 reservation";
    let found_nothing = |said: &support::Said| said.code == 0 && said.err.contains(all);
    ground.until(&["reconcile", "--older-than", "0s"], found_nothing).await;
    let otherwise = ground.well(&["replay", "what-if", "--step", "authorize-payment", "--attempts", "9"]).await;
    assert!(otherwise.contains("1 saga: 1 as they were, 0 otherwise"), "{otherwise}");
    let traced = ground.sagactl(&["saga", "trace", &order.saga_id]).await;
    assert!(traced.out.contains("SagaStarted"), "{traced:?}");
    ground.stop().await;
}
