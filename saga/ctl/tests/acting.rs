//! An operator acts: previews, applies, and is refused when what was previewed has moved.

#[path = "support/stack.rs"]
mod stack;
mod support;

use std::process::Stdio;

use stack::{Ground, PROVIDER_AWAY};
use support::operator::id;
use tokio::io::{AsyncBufReadExt as _, BufReader};

#[tokio::test(flavor = "multi_thread")]
async fn an_act_is_previewed_then_done_and_a_plan_that_has_moved_is_refused() {
    let ground = Ground::start(&PROVIDER_AWAY).await;
    let order = ground.place("tok_success").await;
    let at_payment = |said: &support::Said| said.out.contains("authorize-payment");
    ground.until(&["saga", "list", "-q", "step = authorize-payment"], at_payment).await;
    let saga = order.saga_id.as_str();
    let taken_in = |said: &support::Said| said.out.contains("payment works at it");
    let explained = ground.until(&["saga", "explain", saga], taken_in).await.out;
    assert!(explained.contains("You can"), "{explained}");

    let plan = |act: &'static str| ["saga", act, saga, "--reason", "the card processor is away", "--plan"];
    let pause = ground.json(&plan("pause")).await;
    let cancel = ground.json(&plan("cancel")).await;
    let (pause, cancel) = (pause["hash"].as_str().unwrap().to_owned(), cancel["hash"].as_str().unwrap().to_owned());
    // A plan changes nothing, and is applied by its own command alone.
    assert!(ground.well(&["saga", "list"]).await.contains("RUNNING"));
    assert_eq!(ground.sagactl(&["saga", "cancel", "--apply", &pause]).await.code, 2);
    let applied = ground.sagactl(&["saga", "pause", "--apply", &pause]).await;
    assert!(applied.code == 0 && applied.out.contains("1 of 1 sagas ok, 0 failed"), "{applied:?}");
    let waited = ground.sagactl(&["saga", "wait", saga]).await;
    assert_eq!(waited.code, 9, "{waited:?}");
    // The saga has moved since the other plan was made.
    let stale = ground.sagactl(&["saga", "cancel", "--apply", &cancel]).await;
    assert_eq!((stale.code, stale.err.lines().count()), (4, 1), "{stale:?}");
    assert!(stale.err.contains("--plan"), "{}", stale.err);

    let shown = ground.well(&["saga", "show", saga, "--events"]).await;
    assert!(shown.contains("operator:ana") && shown.contains("the card processor is away"), "{shown}");
    assert!(ground.well(&["op", "list"]).await.contains("saga pause"));
    ground.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn neither_a_killed_terminal_nor_an_impatient_person_ends_the_job() {
    const SAGAS: usize = 6;
    let ground = Ground::start(&PROVIDER_AWAY).await;
    for _ in 0..SAGAS {
        ground.place("tok_success").await;
    }
    let query = "step = authorize-payment";
    ground.until(&["saga", "list", "-q", query, "-o", "name"], |said| said.out.lines().count() == SAGAS).await;
    for (act, signal, code) in [("pause", "-KILL", None), ("unpause", "-INT", Some(130))] {
        let plan = ground.json(&["saga", act, "-q", query, "--reason", "r", "--plan"]).await;
        let hash = plan["hash"].as_str().unwrap();
        let mut job = ground.command(&["saga", act, "--apply", hash, "--rate", "1/s"]);
        let mut terminal = job.stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(terminal.stderr.take().unwrap()).lines();
        let line = lines.next_line().await.unwrap().unwrap();
        let id = line.strip_prefix("op/").unwrap().split(' ').next().unwrap().to_owned();
        let process = terminal.id().unwrap().to_string();
        assert!(std::process::Command::new("kill").args([signal, &process]).status().unwrap().success());
        assert_eq!(terminal.wait().await.unwrap().code(), code);
        let watched = ground.sagactl(&["op", "watch", &id]).await;
        assert!(watched.code == 0 && watched.out.contains(&format!("{SAGAS} of {SAGAS} sagas ok")), "{watched:?}");
    }
    ground.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_or_cannot_act_is_told_so_by_the_exit_code() {
    let ground = Ground::start(&[]).await;
    let unknown = id();
    for arguments in [["op", "show", &unknown], ["op", "watch", &unknown], ["op", "plan", "0123456789ab"]] {
        let said = ground.sagactl(&arguments).await;
        assert_eq!((said.code, said.err.lines().count()), (3, 1), "{arguments:?}: {said:?}");
    }
    let said = ground.sagactl(&["saga", "retry", "--apply", "0123456789ab"]).await;
    assert_eq!((said.code, said.err.lines().count()), (3, 1), "{said:?}");
    // Nobody acts without a name.
    let arguments = ["saga", "pause", &unknown, "--reason", "r", "--plan", "--actor", ""];
    assert_eq!(ground.sagactl(&arguments).await.code, 5);
    ground.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_destructive_plan_needs_somebody_else() {
    let ground = Ground::start(&PROVIDER_AWAY).await;
    let saga = ground.place("tok_success").await.saga_id;
    ground.until(&["saga", "list"], |said| said.out.contains("authorize-payment")).await;
    let shown = ground.well(&["saga", "abandon", &saga, "--reason", "seen to by hand", "--plan"]).await;
    assert!(shown.contains("a second person: sagactl op approve"), "{shown}");
    let hash = shown.strip_prefix("PLAN ").unwrap().split(' ').next().unwrap();
    for refused in [["saga", "abandon", "--apply", hash], ["op", "approve", hash, "--no-input"]] {
        let said = ground.sagactl(&refused).await;
        assert_eq!((said.code, said.err.lines().count()), (5, 1), "{refused:?}: {said:?}");
    }
    ground.well(&["op", "approve", hash, "--actor", "bob"]).await;
    let applied = ground.well(&["saga", "abandon", "--apply", hash]).await;
    assert!(applied.contains("1 of 1 sagas ok"), "{applied}");
    assert_eq!(ground.sagactl(&["saga", "wait", &saga]).await.code, 8);
    let again = ground.sagactl(&["saga", "abandon", "--apply", hash]).await;
    assert_eq!((again.code, again.err.lines().count()), (4, 1), "{again:?}");
    ground.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_comes_to_a_hold_waits_until_it_is_released() {
    let ground = Ground::start(&[]).await;
    let set = ["hold", "set", "payment", "--for", "2h", "--reason", "the card processor is away", "--plan"];
    let plan = ground.json(&set).await;
    assert_eq!(ground.well(&["hold", "list"]).await, "", "a plan changes nothing");
    let hash = plan["hash"].as_str().unwrap();
    let applied = ground.well(&["hold", "set", "--apply", hash]).await;
    assert!(applied.contains("1 of 1 holds ok"), "{applied}");
    // The services learn of a hold within half a second.
    ground.until(&["hold", "list"], |said| said.out.contains("payment") && said.out.contains("in 1h59m")).await;
    let mut saga = String::new();
    for _ in 0..100 {
        saga = ground.place("tok_success").await.saga_id;
        if ground.well(&["saga", "show", &saga]).await.contains("held") {
            break;
        }
    }
    let waited = ground.sagactl(&["saga", "wait", &saga, "--within", "1s"]).await;
    assert_eq!(waited.code, 7, "{waited:?}");
    let why = ground.well(&["saga", "explain", &saga]).await;
    let told = [
        "held at payment by operator:",
        ": the card processor is away [plan ",
        "; released by itself in 1h59m",
        "sagactl hold release payment --reason WHY --plan",
        "waits for the end of the hold of payment",
    ];
    assert!(told.iter().all(|part| why.contains(part)), "{why}");
    let pace = ["--canary", "1", "--rate", "50/s"];
    let release = [&["hold", "release", "payment", "--reason", "it is back", "--plan"][..], &pace].concat();
    let hash = ground.json(&release).await["hash"].as_str().unwrap().to_owned();
    ground.well(&["hold", "release", "--apply", &hash]).await;
    assert_eq!(ground.sagactl(&["saga", "wait", &saga]).await.code, 0);
    ground.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_that_makes_no_sense_or_has_moved_is_refused() {
    let ground = Ground::start(&[]).await;
    let plan = |act: &'static str, target: &'static str| ["hold", act, target, "--reason", "r", "--plan"];
    let unknown = ground.sagactl(&plan("set", "paymnet")).await;
    assert_eq!((unknown.code, unknown.err.lines().count()), (2, 1), "{unknown:?}");
    assert!(unknown.err.contains("notification, payment, products, cancel-order/"), "{}", unknown.err);
    let nothing = ground.well(&plan("release", "payment")).await;
    assert!(nothing.contains("refused: payment is not held") && nothing.contains("nothing to apply"), "{nothing}");
    let first = ground.json(&plan("set", "payment")).await["hash"].as_str().unwrap().to_owned();
    let second = ground.json(&["hold", "set", "payment", "--reason", "another", "--plan"]).await;
    ground.well(&["hold", "set", "--apply", &first]).await;
    let stale = ground.sagactl(&["hold", "set", "--apply", second["hash"].as_str().unwrap()]).await;
    assert_eq!((stale.code, stale.err.lines().count()), (4, 1), "{stale:?}");
    assert!(stale.err.contains("PLAN_STALE"), "{}", stale.err);
    ground.stop().await;
}

/// The broker's stream takes no message of orders.
#[tokio::test(flavor = "multi_thread")]
async fn a_question_that_has_not_left_is_not_laid_at_the_door_of_whom_it_is_for() {
    let ground = Ground::start(&[("FARMERA_ORDERS__INVENTORY_TIMEOUT_MS", "120000")]).await;
    let jetstream = async_nats::jetstream::new(async_nats::connect(&ground.stack.addresses.nats.url).await.unwrap());
    let stream = jetstream.get_stream("FARMERA_ORDERS").await.unwrap();
    let info = stream.cached_info();
    let mut config = info.config.clone();
    config.max_bytes = i64::try_from(info.state.bytes.max(1)).unwrap();
    jetstream.update_stream(config.clone()).await.unwrap();

    let order = ground.place("tok_success").await;
    let explain = ["saga", "explain", order.saga_id.as_str()];
    let named = |said: &support::Said| said.out.contains("refuses to store");
    let explained = ground.until(&explain, named).await.out;
    assert!(explained.contains("Waits   reserve-inventory, for "), "{explained}");
    assert!(explained.contains("orders' own outbox has not sent the request: "), "{explained}");
    assert!(explained.contains("stream FARMERA_ORDERS refuses to store: maximum bytes exceeded"), "{explained}");
    assert!(!explained.contains("products owes the answer"), "{explained}");
    assert!(explained.contains("Holds   products: 1 unit reserved, worth ") && explained.contains("not confirmed)"));

    // Balancers are told once a second.
    let listed = ground.until(&["service", "list"], |said| said.code == 7).await;
    assert!(listed.out.contains("NOT_SERVING"), "{listed:?}");
    let refuses = "stream FARMERA_ORDERS refuses to store: maximum bytes exceeded";
    assert!(listed.err.contains("do not serve: orders: relay: ") && listed.err.contains(refuses), "{listed:?}");
    let info = ground.sagactl(&["service", "list", "-o", "json"]).await;
    assert!(info.out.contains("refuses to store"), "{info:?}");
    let status = ground.sagactl(&["transport", "status"]).await;
    assert!(status.err.contains("orders: ") && status.err.contains(refuses), "{status:?}");

    config.max_bytes = -1;
    jetstream.update_stream(config).await.unwrap();
    assert_eq!(ground.sagactl(&["saga", "wait", &order.saga_id]).await.code, 0);
    ground.stop().await;
}
