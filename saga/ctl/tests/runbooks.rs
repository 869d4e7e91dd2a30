//! The runbooks, command by command, where things really are as they say.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "support/stack.rs"]
mod stack;
mod support;

use stack::{Ground, PROVIDER_AWAY};
use support::pages::{commands, filled};

/// What stands in for the names on a page.
#[derive(Default)]
struct Names {
    saga: String,
    letter: String,
    group: String,
}

/// Types every command of a page, with the names filled in, and `HASH` and `OP` as the commands before have told them;
/// each ends well. What the plans said.
async fn follow(ground: &Ground, page: &str, names: &Names) -> Vec<String> {
    let (mut hash, mut operation) = (String::new(), String::new());
    let (mut count, mut plans) = (0, Vec::new());
    for command in commands(page) {
        let Names { saga, letter, group } = names;
        let said = [("SAGA", saga), ("LETTER", letter), ("GROUP", group), ("HASH", &hash), ("OP", &operation)];
        let filled = filled(&command, &said.map(|(name, value)| (name, value.as_str())));
        let mut arguments: Vec<&str> = filled.iter().map(String::as_str).collect();
        if arguments.starts_with(&["op", "approve"]) {
            arguments.extend(["--actor", "bob"]);
        }
        until_it_makes_sense(ground, &arguments, names).await;
        let said = ground.sagactl(&arguments).await;
        // The processor that is away is seen by now, or is not yet.
        let ends: &[i32] = if arguments == ["service", "list"] { &[0, 7] } else { &[0] };
        assert!(ends.contains(&said.code), "sagactl {arguments:?}: {said:?}");
        if let Some(rest) = said.out.strip_prefix("PLAN ") {
            rest.split(' ').next().unwrap().clone_into(&mut hash);
            plans.push(said.out.clone());
        }
        if let Some(rest) = said.err.strip_prefix("op/") {
            rest.split(' ').next().unwrap().clone_into(&mut operation);
        }
        count += 1;
    }
    assert!(count > 4, "the commands of the page were not found where they are expected");
    plans
}

/// People take longer from one command to the next than what is behind needs to follow.
async fn until_it_makes_sense(ground: &Ground, arguments: &[&str], names: &Names) {
    if !arguments.contains(&"--plan") {
        return;
    }
    if arguments.contains(&"unpause") {
        // The list that a plan is made from may be a moment behind.
        ground.until(&["saga", "list", "-q", "state = PAUSED", "-o", "name"], both).await;
    }
    if arguments.starts_with(&["hold", "release"]) {
        // A process may learn of a hold half a second later.
        ground.until(&["hold", "list"], |said| said.out.contains("HELD")).await;
    }
    if arguments.starts_with(&["dlq", "discard"]) {
        // It is tried again, by the command before.
        let tried = |said: &support::Said| said.out.contains("\"attempts\": 1") && said.out.contains("STATE_WAITING");
        ground.until(&["dlq", "show", &names.letter, "-o", "json"], tried).await;
    }
}

fn both(said: &support::Said) -> bool {
    said.out.lines().count() == 2
}

/// Two sagas that wait for payment, and one of them.
async fn stuck() -> (Ground, Names) {
    let ground = Ground::start(&PROVIDER_AWAY).await;
    let saga = ground.place("tok_success").await.saga_id;
    ground.place("tok_success").await;
    ground.until(&["saga", "list", "-q", "step = authorize-payment", "-o", "name"], both).await;
    (ground, Names { saga, ..Names::default() })
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_of_the_night_call_does_what_it_says() {
    let (ground, names) = Box::pin(stuck()).await;
    let plans = follow(&ground, "night-call.md", &names).await;
    assert_eq!(plans.len(), 4, "three plans, one of them looked at once more: {plans:?}");
    assert!(plans.iter().all(|plan| plan.contains("2 sagas")), "{plans:?}");
    ground.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_about_holds_does_what_it_says() {
    let (ground, names) = Box::pin(stuck()).await;
    let plans = follow(&ground, "holds.md", &names).await;
    assert!(plans[0].contains("HoldPlaced payment until") && plans[0].contains("2 sagas there now"), "{plans:?}");
    let listed = |said: &support::Said| said.out.contains("RELEASING") || said.out.is_empty();
    ground.until(&["hold", "list"], listed).await;
    ground.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_about_dead_letters_does_what_it_says() {
    let ground = Ground::start(&[]).await;
    ground.publish("farmera.orders.payment_capture_requested", "no message at all").await;
    let parked = |said: &support::Said| said.out.starts_with("payment/");
    let letter = ground.until(&["dlq", "list", "-o", "name"], parked).await.out.trim().to_owned();
    let groups = ground.json(&["dlq", "groups", "--service", "payment"]).await;
    let group = format!("payment/{}", groups[0]["group"].as_str().unwrap());
    let names = Names { letter, group, ..Names::default() };
    let plans = follow(&ground, "dead-letters.md", &names).await;
    assert!(plans.len() == 2 && plans.iter().all(|plan| plan.contains("1 letter")), "{plans:?}");
    assert_eq!(ground.well(&["dlq", "list"]).await, "", "nothing waits any more");
    ground.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_about_read_models_does_what_it_says() {
    let ground = Ground::start(&[]).await;
    let saga = ground.place("tok_success").await.saga_id;
    assert_eq!(ground.sagactl(&["saga", "wait", &saga]).await.code, 0);
    let plans = follow(&ground, "read-models.md", &Names::default()).await;
    assert!(plans.len() == 1 && plans[0].contains("1 read model"), "{plans:?}");
    ground.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_about_what_the_broker_lost_does_what_it_says() {
    let ground = Ground::start(&[]).await;
    let saga = ground.place("tok_declined").await.saga_id;
    assert_eq!(ground.sagactl(&["saga", "wait", &saga]).await.code, 8);
    let sound = |said: &support::Said| said.out.contains("refused: the broker holds all");
    ground.until(&["transport", "rebuild", "orders", "--reason", "r", "--plan"], sound).await;
    let jetstream = async_nats::jetstream::new(async_nats::connect(&ground.stack.addresses.nats.url).await.unwrap());
    jetstream.get_stream("FARMERA_ORDERS").await.unwrap().purge().await.unwrap();
    let plans = follow(&ground, "transport.md", &Names::default()).await;
    assert!(plans[0].contains("events of the log are told again") && plans[1].contains("order_failed"), "{plans:?}");
    ground.until(&["transport", "rebuild", "orders", "--reason", "r", "--plan"], sound).await;
    ground.stop().await;
}
