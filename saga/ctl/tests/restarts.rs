//! What operators do while processes are killed and started anew: a newer version of a saga is deployed over an open one,
//! which is then moved to it; a read model is made anew, and whoever makes it dies.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

#[path = "support/processes.rs"]
mod processes;
mod support;

use std::time::Duration;

use processes::Processes;
use sqlx::{Connection as _, PgConnection};
use support::operator::{Operator, PATIENCE};
use support::pages::{commands, filled};
use tokio::time::{sleep, timeout};

/// Payment cannot reach its processor; orders waits for it, for longer than this test takes.
const RELEASED: [(&str, &str); 2] =
    [("FARMERA_PAYMENT__PROVIDER_URL", "http://127.0.0.1:1"), ("FARMERA_ORDERS__PAYMENT_TIMEOUT_MS", "120000")];
/// The next version is more patient.
const UPGRADED: [(&str, &str); 2] = [RELEASED[1], ("FARMERA_ORDERS__PAYMENT_TIMEOUT_MS_V2", "180000")];

/// The version that a saga is bound to, and its state.
async fn bound(operator: &Operator, saga: &str) -> (u64, String) {
    let shown = operator.json(&["saga", "show", saga]).await;
    let saga = &shown["saga"];
    (saga["definitionVersion"].as_u64().unwrap(), saga["state"].as_str().unwrap().to_owned())
}

async fn migrate(operator: &Operator, saga: &str, to: &str) -> String {
    let reason = "the processor needs more time now";
    operator.well(&["saga", "migrate", saga, "--to", to, "--reason", reason, "--plan"]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_saga_is_moved_to_the_version_that_was_deployed_over_it_and_ends_by_it() {
    let mut ground = Processes::new().await;
    ground.start(&RELEASED).await;
    let saga = ground.place("tok_success").await.saga_id;
    let waits = ["saga", "list", "-q", "step = authorize-payment", "-o", "name"];
    ground.until(&waits, |said| said.out.contains(&saga)).await;
    let early = migrate(&ground, &saga, "2").await;
    assert!(early.contains("refused: the saga cannot become place-order v2: there is no such version here"), "{early}");

    // Whoever would change the one version instead of adding another is told before it is deployed.
    let changed = ground.farmera(&["saga", "check-upgrade"], &[("FARMERA_ORDERS__PAYMENT_TIMEOUT_MS", "180000")]).await;
    assert!(changed.code == 1 && changed.out.contains("1 undecodable"), "{changed:?}");
    let checked = ground.farmera(&["saga", "check-upgrade"], &UPGRADED).await;
    assert!(checked.code == 0 && checked.out.contains("1 open sagas: 1 same"), "{checked:?}");
    ground.deploy("orders", &UPGRADED).await;
    assert_eq!(bound(&ground, &saga).await, (1, "STATE_RUNNING".to_owned()), "nobody has moved it");
    let younger = ground.place("tok_success").await.saga_id;
    assert_eq!(bound(&ground, &younger).await.0, 2, "a new one is started with the newest");
    let definitions = ground.well(&["def", "list"]).await;
    assert!(definitions.contains("place-order@1") && definitions.contains("place-order@2"), "{definitions}");

    let refused = migrate(&ground, &younger, "2").await;
    assert!(
        refused.contains("it is bound to that version already") && refused.contains("nothing to apply"),
        "{refused}"
    );
    // As the page on versions has it.
    let mut hash = String::new();
    for command in commands("saga-versions.md") {
        let typed = filled(&command, &[("SAGA", &saga), ("HASH", &hash)]);
        let said = ground.well(&typed.iter().map(String::as_str).collect::<Vec<_>>()).await;
        match said.strip_prefix("PLAN ") {
            Some(planned) => planned.split(' ').next().unwrap().clone_into(&mut hash),
            None => assert!(said.contains("1 of 1 sagas ok"), "{said}"),
        }
    }
    assert_eq!(bound(&ground, &saga).await, (2, "STATE_RUNNING".to_owned()));
    let history = ground.well(&["saga", "show", &saga, "--events"]).await;
    for told in ["migrated", "place-order v2", "operator:ana", "the processor needs more time now", &hash[..12]] {
        assert!(history.contains(told), "{told}: {history}");
    }
    // The program before knows nothing of the version: going back to it would leave both sagas standing.
    let back = ground.farmera(&["saga", "check-upgrade"], &RELEASED).await;
    assert!(back.code == 1 && back.out.contains("2 undecodable"), "{back:?}");
    let on = ground.farmera(&["saga", "check-upgrade"], &UPGRADED).await;
    assert!(on.code == 0 && on.out.contains("2 open sagas: 2 same"), "{on:?}");

    // The processor is back.
    ground.deploy("payment", &[]).await;
    for saga in [&saga, &younger] {
        assert_eq!(ground.sagactl(&["saga", "wait", saga]).await.code, 0);
        assert_eq!(bound(&ground, saga).await, (2, "STATE_COMPLETED".to_owned()));
    }
    let over = migrate(&ground, &saga, "2").await;
    assert!(over.contains("refused: the saga is over") && over.contains("nothing to apply"), "{over}");
}

/// How `saga` is explained once that names `place`.
async fn explained(ground: &Processes, saga: &str, place: &str) -> String {
    ground.until(&["saga", "explain", saga], |said| said.out.contains(place)).await.out
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_is_followed_along_its_whole_way_and_what_keeps_it_there_is_named() {
    let mut ground = Processes::new().await;
    ground.start(&RELEASED).await;
    let taken_in = ground.place("tok_success").await.saga_id;
    let why = explained(&ground, &taken_in, "payment works at it: payment/provider is down for ").await;
    assert!(why.contains("Waits   authorize-payment, for ") && why.contains("try 1 of "), "{why}");

    ground.kill("payment").await;
    let why = explained(&ground, &taken_in, "payment does not say whether it has the request: ").await;
    assert!(!why.contains("works at it"), "{why}");

    // It is back, and cannot hear: its broker is not there.
    let sent = ground.place("tok_success").await.saga_id;
    explained(&ground, &sent, "Waits   authorize-payment").await;
    ground.run("payment", &[RELEASED[0], ("FARMERA_NATS_URL", "nats://127.0.0.1:1")]);
    let why = explained(&ground, &sent, "payment has not taken the request in: payment/").await;
    assert!(why.contains("payment/nats is down for "), "{why}");
    explained(&ground, &taken_in, "payment works at it: payment/").await;

    // An earlier message of the same saga could not be handled.
    let mut owner = PgConnection::connect(&ground.owner_url("payment")).await.unwrap();
    sqlx::query(
        "insert into dead_letter (consumer, message, subject, headers, body, reason, key)
         values ('payment-orders', 'm', 's', '{}', '', 'the amount makes no sense', 'saga/' || $1)",
    )
    .bind(&sent)
    .execute(&mut owner)
    .await
    .unwrap();
    let why = explained(&ground, &sent, "payment could not handle the request: dead letter ").await;
    assert!(why.contains("of payment: the amount makes no sense"), "{why}");

    // It hears and answers, and nobody takes the answer from it.
    sqlx::query("delete from dead_letter").execute(&mut owner).await.unwrap();
    let jetstream = async_nats::jetstream::new(async_nats::connect(ground.nats_url()).await.unwrap());
    let stream = jetstream.get_stream("FARMERA_PAYMENT").await.unwrap();
    let mut config = stream.cached_info().config.clone();
    config.max_bytes = 1;
    jetstream.update_stream(config.clone()).await.unwrap();
    ground.kill("payment").await;
    ground.run("payment", &[]);
    let why = explained(&ground, &sent, "its outbox has not sent the answer: payment/relay is down for ").await;
    assert!(why.contains("stream FARMERA_PAYMENT refuses to store: maximum bytes exceeded"), "{why}");
    assert!(why.contains("waits for the way back from payment for authorize-payment"), "{why}");

    config.max_bytes = -1;
    jetstream.update_stream(config).await.unwrap();
    for saga in [&taken_in, &sent] {
        assert_eq!(ground.sagactl(&["saga", "wait", saga]).await.code, 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn timers_that_stand_still_are_told_by_health_with_the_reason() {
    let mut ground = Processes::new().await;
    ground.start(&[]).await;
    let mut owner = PgConnection::connect(&ground.owner_url("orders")).await.unwrap();
    let mut run = async |statement| sqlx::raw_sql(statement).execute(&mut owner).await.unwrap();
    run("revoke update on timer from public").await;
    let told = ground.until(&["service", "list"], |said| said.err.contains("no timer could be claimed for ")).await;
    assert!(told.code == 7 && told.err.contains("orders: timers: ") && told.out.contains("NOT_SERVING"), "{told:?}");
    run("grant update on timer to public").await;
    ground.are_ready().await;
}

/// Whether the copies of a rebuild are there, and hold something.
async fn is_built_beside(owner: &mut PgConnection) -> bool {
    let is_there = "select to_regclass('rebuild_saga_view.saga_view') is not null";
    let is_there: bool = sqlx::query_scalar(is_there).fetch_one(&mut *owner).await.unwrap();
    is_there && {
        let holds = sqlx::query_scalar("select exists (select from rebuild_saga_view.saga_view)");
        // It may be gone by now.
        holds.fetch_one(owner).await.unwrap_or(false)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_model_whose_maker_is_killed_is_made_by_the_next_process_and_is_whole() {
    let mut ground = Processes::new().await;
    ground.start(&[]).await;
    let mut sagas = Vec::new();
    for _ in 0..5 {
        sagas.push(ground.place("tok_success").await.saga_id);
    }
    for saga in &sagas {
        assert_eq!(ground.sagactl(&["saga", "wait", saga]).await.code, 0);
    }
    let done = ["saga", "list", "-q", "state = COMPLETED", "-o", "name"];
    ground.until(&done, |said| said.out.lines().count() == sagas.len()).await;
    let mut owner = PgConnection::connect(&ground.owner_url("orders")).await.unwrap();
    sqlx::query("delete from saga_view where order_id in (select order_id from saga_view limit 1)")
        .execute(&mut owner)
        .await
        .unwrap();
    let check = ["projection", "rebuild", "orders/saga_view", "--check"];
    let differs = ground.sagactl(&check).await;
    assert!(differs.code == 1 && differs.err.contains("1 row of orders/saga_view"), "{differs:?}");

    let rebuild = ["projection", "rebuild", "orders/saga_view", "--reason", "a row is missing", "--plan"];
    let planned = ground.json(&rebuild).await["hash"].as_str().unwrap().to_owned();
    // Nobody can switch while this is held: the copies are made, and whoever made them waits.
    let mut holder = PgConnection::connect(&ground.owner_url("orders")).await.unwrap();
    sqlx::raw_sql(
        "set idle_in_transaction_session_timeout = 0;
         begin;
         select from projection where name = 'saga_view' for update",
    )
    .execute(&mut holder)
    .await
    .unwrap();
    let begun = ground.well(&["projection", "rebuild", "--apply", &planned, "--detach"]).await;
    let operation = begun.trim();
    let built = async {
        while !is_built_beside(&mut owner).await {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, built).await.unwrap();
    assert!(ground.well(&["op", "show", operation]).await.contains("RUNNING"));
    ground.kill("orders").await;
    assert!(is_built_beside(&mut owner).await, "it was killed before it had cleared up");
    sqlx::raw_sql("rollback").execute(&mut holder).await.unwrap();

    ground.run("orders", &[]);
    ground.are_ready().await;
    let watched = ground.sagactl(&["op", "watch", operation]).await;
    assert!(watched.code == 0 && watched.out.contains("1 of 1 read models ok"), "{watched:?}");
    assert!(watched.out.contains("1 differed"), "{watched:?}");
    let same = ground.sagactl(&check).await;
    assert_eq!(same.code, 0, "{same:?}");
    assert_eq!(ground.well(&done).await.lines().count(), sagas.len(), "the row is back");
    assert!(!is_built_beside(&mut owner).await, "nothing is left behind");
    // It follows the log as before.
    let saga = ground.place("tok_success").await.saga_id;
    ground.until(&done, |said| said.out.contains(&saga)).await;
}
