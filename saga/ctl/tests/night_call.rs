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

#[tokio::test(flavor = "multi_thread")]
async fn every_command_of_the_runbook_does_what_it_says() {
    let ground = Ground::start(&PROVIDER_AWAY).await;
    let saga = ground.place("tok_success").await.saga_id;
    ground.place("tok_success").await;
    let both = |said: &support::Said| said.out.lines().count() == 2;
    ground.until(&["saga", "list", "-q", "step = authorize-payment", "-o", "name"], both).await;

    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/runbooks/night-call.md");
    let page = std::fs::read_to_string(page).unwrap();
    let (mut hash, mut operation) = (String::new(), String::new());
    let mut count = 0;
    for command in commands(&page) {
        let filled = |word: &String| match word.as_str() {
            "SAGA" => saga.clone(),
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
        let said = ground.sagactl(&arguments).await;
        assert_eq!(said.code, 0, "sagactl {arguments:?}: {said:?}");
        if let Some(rest) = said.out.strip_prefix("PLAN ") {
            assert!(rest.contains("2 sagas"), "{}", said.out);
            rest.split(' ').next().unwrap().clone_into(&mut hash);
        }
        if let Some(rest) = said.err.strip_prefix("op/") {
            rest.split(' ').next().unwrap().clone_into(&mut operation);
        }
        count += 1;
    }
    assert!(count > 15, "the commands were not found where they are expected");
    ground.stop().await;
}
