//! A line is freed while others park behind it: each letter either waits where it is found, or was never parked.
#![expect(clippy::expect_used, reason = "helpers of tests")]

mod support;

use std::time::Duration;

use eventstore::{Commit, DeadLetter, DeadLetters, EventStore, LetterState};
use eventstore_postgres::PostgresStore;
use futures::future::join_all;
use support::Database;

const CONSUMER: &str = "harvest";
const ROUNDS: u64 = 20;
const PARKERS: u64 = 4;
const LETTERS: u64 = 10;

fn letter(number: u64) -> DeadLetter {
    DeadLetter {
        consumer: CONSUMER.to_owned(),
        message: number.to_string(),
        key: Some("saga/1".to_owned()),
        sequence: number,
        subject: "farmera.orchard.grown".to_owned(),
        headers: "{}".to_owned(),
        body: vec![],
        reason: "nobody knows this kind".to_owned(),
    }
}

/// Redrives the line of letter `id` until its key is free.
async fn redrive(store: &PostgresStore, id: i64) {
    assert!(store.ask_redrive(id, "ana").await.expect("asked"));
    while !store.blocked(CONSUMER, 10).await.expect("read").keys.is_empty() {
        if let Some(head) = store.claim_redrive(CONSUMER, Duration::ZERO).await.expect("claimed") {
            store.redriven(head.id).await.expect("ended");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_letter_slips_in_while_its_line_is_freed() {
    let database = Database::new().await;
    let (parking, redriving) = (database.store(), database.store());
    let mut parked_behind = 0;
    for round in 0..ROUNDS {
        let first = 1 + round * (PARKERS * LETTERS + 1);
        let culprit = Commit { dead_letters: vec![letter(first)], ..Commit::default() };
        parking.commit(culprit).await.expect("parked");
        let id = redriving.dead_letters(0, 1_000).await.expect("read").last().expect("the culprit").id;
        let parkers = (0..PARKERS).map(|parker| {
            let parking = &parking;
            async move {
                let mut parked = 0;
                for number in 0..LETTERS {
                    let letter = letter(first + 1 + parker * LETTERS + number);
                    parked += u64::from(parking.park_behind(letter).await.expect("answered"));
                }
                parked
            }
        });
        let (parked, ()) = tokio::join!(join_all(parkers), redrive(&redriving, id));
        parked_behind += parked.into_iter().sum::<u64>();
    }
    let letters = redriving.dead_letters(0, 1_000).await.expect("read");
    assert_eq!(letters.len() as u64, ROUNDS + parked_behind, "parked means kept, refused means not kept");
    for stored in &letters {
        assert!(matches!(stored.state, LetterState::Redriven { .. }), "nobody would ever find {stored:?}");
    }
}
