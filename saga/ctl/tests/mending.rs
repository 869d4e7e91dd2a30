//! An operator mends what sagas run on, in every service: dead letters, read models, what the broker holds.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

#[path = "support/stack.rs"]
mod stack;
mod support;

use stack::{Ground, PROVIDER_AWAY};

/// The hash of a plan.
async fn plan(ground: &Ground, words: &[&str], reason: &str) -> String {
    let words = [words, &["--reason", reason, "--plan"]].concat();
    ground.json(&words).await["hash"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_letter_of_any_service_is_found_tried_again_and_ended_by_plan() {
    let ground = Ground::start(&[]).await;
    for subject in ["payment_capture_requested", "inventory_reservation_requested"] {
        ground.publish(&format!("farmera.orders.{subject}"), "no message at all").await;
    }
    let both = |said: &support::Said| said.out.contains("payment/") && said.out.contains("products/");
    ground.until(&["dlq", "list", "-o", "name"], both).await;
    let screen = ground.well(&["top", "--once"]).await;
    assert!(screen.contains("dead letters 2 "), "{screen}");
    let names = ground.well(&["dlq", "list", "--service", "payment", "-o", "name"]).await;
    let letter = names.trim();
    let shown = ground.well(&["dlq", "show", letter]).await;
    assert!(shown.contains("no message at all") && shown.contains("payment-orders"), "{shown}");
    let groups = ground.json(&["dlq", "groups", "--service", "payment"]).await;
    let group = format!("payment/{}", groups[0]["group"].as_str().unwrap());
    assert!(ground.well(&["dlq", "list", "--group", &group]).await.contains(letter));

    let discard = plan(&ground, &["dlq", "discard", letter], "a stranger's").await;
    let redrive = plan(&ground, &["dlq", "redrive", "--group", &group], "is it of use?").await;
    let applied = ground.well(&["dlq", "redrive", "--apply", &redrive]).await;
    assert!(applied.contains("1 of 1 letters ok"), "{applied}");
    let tried = |said: &support::Said| said.out.contains("\"attempts\": 1") && said.out.contains("STATE_WAITING");
    ground.until(&["dlq", "show", letter, "-o", "json"], tried).await;
    // It was tried since that plan was made.
    ground.well(&["op", "approve", &discard, "--actor", "bob"]).await;
    let stale = ground.sagactl(&["dlq", "discard", "--apply", &discard]).await;
    assert_eq!((stale.code, stale.err.lines().count()), (4, 1), "{stale:?}");

    let discard = plan(&ground, &["dlq", "discard", letter], "still a stranger's").await;
    assert_eq!(ground.sagactl(&["dlq", "discard", "--apply", &discard]).await.code, 5, "nobody else has seen it");
    ground.well(&["op", "approve", &discard, "--actor", "bob"]).await;
    let applied = ground.well(&["dlq", "discard", "--apply", &discard]).await;
    assert!(applied.contains("1 of 1 letters ok"), "{applied}");
    assert_eq!(ground.well(&["dlq", "list", "--service", "payment"]).await, "");
    assert!(ground.well(&["dlq", "list", "--all", "--service", "payment"]).await.contains("DISCARDED"));
    assert!(ground.well(&["op", "list", "-o", "wide"]).await.contains("payment"));
    ground.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn acts_on_letters_that_make_no_sense_are_refused() {
    let ground = Ground::start(&[]).await;
    let with = |words: &[&'static str]| [words, &["--reason", "r", "--plan"]].concat();
    for (words, code) in [
        (&["dlq", "redrive", "7"][..], 2),
        (&["dlq", "redrive", "orders/7", "payment/7"], 2),
        (&["dlq", "redrive", "nobody/7"], 2),
        (&["dlq", "discard", "--group", "g-123456"], 2),
    ] {
        let said = ground.sagactl(&with(words)).await;
        assert_eq!((said.code, said.err.lines().count()), (code, 1), "{words:?}: {said:?}");
    }
    let nothing = ground.well(&with(&["dlq", "redrive", "payment/4711"])).await;
    assert!(nothing.contains("there is no such letter") && nothing.contains("nothing to apply"), "{nothing}");
    ground.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_model_of_any_service_is_made_anew_by_plan() {
    let ground = Ground::start(&[]).await;
    let saga = ground.place("tok_success").await.saga_id;
    assert_eq!(ground.sagactl(&["saga", "wait", &saga]).await.code, 0);
    for name in ["payment/payment_view", "orders/saga_view"] {
        let rebuild = ["projection", "rebuild", name];
        let checked = ground.json(&[&rebuild[..], &["--check"]].concat()).await;
        assert!(checked[0]["rows"].as_u64() > Some(0) && checked[0]["differences"] == 0, "{checked}");
        let first = plan(&ground, &rebuild, "rows are wrong").await;
        let second = plan(&ground, &rebuild, "somebody else had the same idea").await;
        let applied = ground.well(&["projection", "rebuild", "--apply", &first]).await;
        assert!(applied.contains("1 of 1 read models ok") && applied.contains(" 0 differed"), "{applied}");
        let stale = ground.sagactl(&["projection", "rebuild", "--apply", &second]).await;
        assert_eq!((stale.code, stale.err.lines().count()), (4, 1), "{stale:?}");
    }
    assert!(ground.well(&["saga", "list"]).await.contains(&saga));
    let unknown = ["projection", "rebuild", "payment/order_view", "--reason", "r", "--plan"];
    let unknown = ground.sagactl(&unknown).await;
    assert!(unknown.code == 2 && unknown.err.contains("there is payment_view"), "{unknown:?}");
    for (words, told) in [
        (&["payment/order_view", "--check"][..], "there is payment_view"),
        (&["payment_view", "--check"], "expected one such as orders/order_view"),
        (&["payment/payment_view", "--check", "--plan"], "cannot be used with"),
    ] {
        let refused = ground.sagactl(&[&["projection", "rebuild"][..], words].concat()).await;
        assert!(refused.code == 2 && refused.err.contains(told), "{words:?}: {refused:?}");
    }
    ground.stop().await;
}

fn compared_words(service: &str) -> [&str; 6] {
    ["transport", "rebuild", service, "--reason", "after the disk was changed", "--plan"]
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_broker_holds_of_any_service_is_compared_by_plan() {
    let ground = Ground::start(&[]).await;
    let saga = ground.place("tok_success").await.saga_id;
    assert_eq!(ground.sagactl(&["saga", "wait", &saga]).await.code, 0);
    for service in ["orders", "payment"] {
        let compared = compared_words(service);
        let sound = |said: &support::Said| said.out.contains("refused: the broker holds all");
        let compared = ground.until(&compared, sound).await;
        assert!(compared.out.contains("nothing to apply"), "{compared:?}");
        let since = [&compared_words(service)[..], &["--from", "2026-01-31T12:00:00Z"]].concat();
        assert!(ground.well(&since).await.contains("refused: the broker holds all"), "{service}");
    }
    let since = ground.sagactl(&[&compared_words("orders")[..], &["--from", "7"]].concat()).await;
    assert!(since.code == 2 && since.err.contains("a range is one of times"), "{since:?}");
    ground.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn timers_are_shifted_frozen_thawed_and_cancelled_by_plan() {
    let ground = Ground::start(&PROVIDER_AWAY).await;
    let saga = ground.place("tok_success").await.saga_id;
    ground.until(&["saga", "list"], |said| said.out.contains("authorize-payment")).await;
    let at = ["--step", "authorize-payment"];
    for (act, more) in [("shift", &["--by", "2h"][..]), ("freeze", &[]), ("thaw", &[]), ("cancel", &at)] {
        let hash = plan(&ground, &[&["timer", act, &saga][..], more].concat(), "the provider is slow").await;
        let applied = ground.well(&["timer", act, "--apply", &hash]).await;
        assert!(applied.contains("1 of 1 sagas ok"), "{act}: {applied}");
    }
    let shown = ground.well(&["saga", "show", &saga, "--events"]).await;
    for event in ["timers shifted", "timers frozen", "timers thawed", "timer cancelled"] {
        assert!(shown.contains(event), "{event}: {shown}");
    }
    let frozen = ground.well(&["timer", "thaw", &saga, "--reason", "r", "--plan"]).await;
    assert!(frozen.contains("nothing to apply"), "{frozen}");
    let migrated = ground.well(&["saga", "migrate", &saga, "--to", "7", "--reason", "r", "--plan"]).await;
    assert!(migrated.contains("refused: ") && migrated.contains("nothing to apply"), "{migrated}");
    ground.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_range_that_is_told_again_is_absorbed_by_whoever_has_handled_it() {
    let ground = Ground::start(&[]).await;
    let saga = ground.place("tok_success").await.saga_id;
    assert_eq!(ground.sagactl(&["saga", "wait", &saga]).await.code, 0);
    let version = ground.json(&["saga", "show", &saga]).await["saga"]["version"].clone();
    for (subject, count) in [("farmera.orders.payment_authorization_requested", 1), ("farmera.payment.>", 2)] {
        let words = ["replay", "events", "--to", subject, "--reason", "the receiver was away", "--plan"];
        let planned = ground.well(&words).await;
        assert!(planned.contains(&format!("{count} of ")) && planned.contains("absorbs"), "{planned}");
        let hash = planned.strip_prefix("PLAN ").unwrap().split(' ').next().unwrap();
        let applied = ground.well(&["replay", "events", "--apply", hash]).await;
        assert!(applied.contains("1 of 1 ranges ok"), "{applied}");
    }
    assert_eq!(ground.json(&["saga", "show", &saga]).await["saga"]["version"], version);
    assert_eq!(ground.well(&["dlq", "list"]).await, "");
    let at = ["--from", "2026-01-01T00:00:00Z", "--until", "2026-01-02T00:00:00Z", "--reason", "r", "--plan"];
    let none = [&["replay", "events", "--to", "farmera.orders.>"][..], &at].concat();
    assert!(ground.well(&none).await.contains("refused: none of the 0 events"));
    let rebuilt = ground.well(&["replay", "events", "--to", "orders/order_view", "--reason", "r", "--plan"]).await;
    assert!(rebuilt.contains("apply: sagactl projection rebuild --apply"), "{rebuilt}");
    let said = ground.sagactl(&["replay", "events", "--to", "order_failed", "--reason", "r", "--plan"]).await;
    assert_eq!((said.code, said.err.lines().count()), (2, 1), "{said:?}");
    ground.stop().await;
}
