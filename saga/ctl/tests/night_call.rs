//! The runbook of a night call, command by command, against sagas that really are stuck.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "support/stack.rs"]
mod stack;
mod support;

use std::path::Path;

use stack::{Ground, PROVIDER_AWAY};

/// Every command of the page's code blocks, as words.
fn commands(page: &str) -> Vec<Vec<String>> {
    let blocks = page.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    blocks.flat_map(str::lines).map(|line| words(line.strip_prefix("sagactl ").unwrap())).collect()
}

/// A line as a shell would take it apart: blanks, and single quotes.
fn words(line: &str) -> Vec<String> {
    let parts = line.split('\'').enumerate();
    let mut words = Vec::new();
    for (index, part) in parts {
        if index % 2 == 1 {
            words.push(part.to_owned());
        } else {
            words.extend(part.split_whitespace().map(str::to_owned));
        }
    }
    words
}

/// Types every command of a page, with `SAGA`, `HASH` and `OP` filled in; each ends well. What the plans said.
async fn follow(ground: &Ground, page: &str, saga: &str) -> Vec<String> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/runbooks").join(page);
    let page = std::fs::read_to_string(page).unwrap();
    let (mut hash, mut operation) = (String::new(), String::new());
    let (mut count, mut plans) = (0, Vec::new());
    for command in commands(&page) {
        let filled = |word: &String| match word.as_str() {
            "SAGA" => saga.to_owned(),
            "HASH" => hash.clone(),
            "OP" => operation.clone(),
            _ => word.clone(),
        };
        let filled: Vec<String> = command.iter().map(filled).collect();
        let arguments: Vec<&str> = filled.iter().map(String::as_str).collect();
        if arguments.contains(&"unpause") && arguments.contains(&"--plan") {
            // The list that a plan is made from may be a moment behind.
            ground.until(&["saga", "list", "-q", "state = PAUSED", "-o", "name"], both).await;
        }
        if arguments.starts_with(&["hold", "release"]) && arguments.contains(&"--plan") {
            // A process may learn of a hold half a second later.
            ground.until(&["hold", "list"], |said| said.out.contains("HELD")).await;
        }
        let said = ground.sagactl(&arguments).await;
        assert_eq!(said.code, 0, "sagactl {arguments:?}: {said:?}");
        if let Some(rest) = said.out.strip_prefix("PLAN ") {
            rest.split(' ').next().unwrap().clone_into(&mut hash);
            plans.push(said.out.clone());
        }
        if let Some(rest) = said.err.strip_prefix("op/") {
            rest.split(' ').next().unwrap().clone_into(&mut operation);
        }
        count += 1;
    }
    assert!(count > 8, "the commands of the page were not found where they are expected");
    plans
}

fn both(said: &support::Said) -> bool {
    said.out.lines().count() == 2
}

/// Two sagas that wait for payment, and one of them.
async fn stuck() -> (Ground, String) {
    let ground = Ground::start(&PROVIDER_AWAY).await;
    let saga = ground.place("tok_success").await.saga_id;
    ground.place("tok_success").await;
    ground.until(&["saga", "list", "-q", "step = authorize-payment", "-o", "name"], both).await;
    (ground, saga)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_of_the_night_call_does_what_it_says() {
    let (ground, saga) = stuck().await;
    let plans = follow(&ground, "night-call.md", &saga).await;
    assert_eq!(plans.len(), 4, "three plans, one of them looked at once more: {plans:?}");
    assert!(plans.iter().all(|plan| plan.contains("2 sagas")), "{plans:?}");
    ground.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_about_holds_does_what_it_says() {
    let (ground, saga) = stuck().await;
    let plans = follow(&ground, "holds.md", &saga).await;
    assert!(plans[0].contains("HoldPlaced payment until") && plans[0].contains("2 sagas there now"), "{plans:?}");
    let listed = |said: &support::Said| said.out.contains("RELEASING") || said.out.is_empty();
    ground.until(&["hold", "list"], listed).await;
    ground.stop().await;
}
