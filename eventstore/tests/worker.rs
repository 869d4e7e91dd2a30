//! The batch loop over the in-memory store.
#![expect(clippy::expect_used, reason = "helpers of tests")]

#[path = "support/bank.rs"]
mod bank;
mod support;
#[path = "support/watched.rs"]
mod watched;

use std::sync::{Arc, Mutex};

use bank::{Branch, Input, Outcome};
use eventstore::memory::MemoryStore;
use eventstore::worker::{CommitListener, Limits, SubmitError};
use eventstore::{CommitError, Committed, DeadLetter, EventStore, Recorded, Version};
use futures::future::join_all;
use support::{AccountEvent, Refusal, cause, memory, message, stream};
use watched::Watched;

fn balance(outcome: &Outcome) -> i64 {
    outcome.as_ref().expect("done").output
}

/// The sum of all events of an account, whoever wrote them; their digests make a chain.
async fn truth(store: &MemoryStore, number: u64) -> (i64, u64) {
    let events = store.read_streams(&[(stream(number), Version::NONE)], 1_000).await.expect("read");
    events.iter().fold(None, |previous, event| {
        assert_eq!(event.digest, Some(event.covered().digest(previous)), "version {}", event.version);
        event.digest
    });
    let fold = |sum: i64, event: &Recorded| match serde_json::from_str(&event.payload).expect("an event") {
        AccountEvent::Opened { .. } => sum,
        AccountEvent::Deposited { amount } => sum + amount,
        AccountEvent::Withdrawn { amount } => sum - amount,
    };
    (events.iter().fold(0, fold), events.len() as u64)
}

#[tokio::test]
async fn what_has_queued_up_becomes_one_commit() {
    let store = Watched::new(memory());
    let inputs = (1..=100).map(|number| Input::Deposit(number % 10, 1)).collect();
    let outcomes = Branch::on(&store, 1).run([inputs]).await;
    assert!(outcomes.iter().all(Result::is_ok));
    assert_eq!((store.commits(), store.reads()), (1, 1));
    assert_eq!(truth(&store.memory, 3).await, (10, 10));
}

#[tokio::test]
async fn a_refused_input_leaves_no_trace_while_its_neighbours_commit() {
    let store = Watched::new(memory());
    let inputs =
        vec![Input::Deposit(1, 50), Input::Transfer(1, 2, 80), Input::Transfer(1, 2, 30), Input::Deposit(2, 1)];
    let outcomes = Branch::on(&store, 1).run([inputs]).await;
    assert!(matches!(outcomes[1], Err(SubmitError::Rejected(Refusal::Overdrawn { balance: 50 }))), "{:?}", outcomes[1]);
    assert_eq!((balance(&outcomes[2]), balance(&outcomes[3])), (20, 31));
    assert_eq!(truth(&store.memory, 1).await, (20, 2));
    assert_eq!(truth(&store.memory, 2).await, (31, 2));
    assert_eq!(store.commits(), 1);
}

#[tokio::test]
async fn inputs_that_find_out_step_by_step_what_they_need_settle_with_those_that_have_it() {
    let store = Watched::new(memory());
    let seed = [1, 2, 3, 4].map(|number| Input::Deposit(number, 100)).to_vec();
    Branch::on(&store, 1).run([seed]).await;
    // A new process with nothing at hand: deposits need one stream, a transfer a second one after the first.
    let inputs = vec![Input::Deposit(1, 1), Input::Transfer(2, 3, 10), Input::Deposit(4, 1)];
    let limits = Limits { attempts_max: 4, ..Limits::default() };
    let outcomes = Branch::with(&store, 2, limits, vec![]).run([inputs]).await;
    assert_eq!(outcomes.iter().map(balance).collect::<Vec<_>>(), [101, 90, 101]);
    assert_eq!(store.commits(), 2);
}

#[tokio::test]
async fn a_conflict_with_another_writer_is_decided_again_on_the_truth() {
    let store = Watched::new(memory());
    Branch::on(&store, 1).run([vec![Input::Deposit(1, 100)]]).await;
    let other = Branch::on(&Watched::new(Arc::clone(&store.memory)), 2);
    store.before_next_commit(async move {
        other.run([vec![Input::Withdraw(1, 60)]]).await;
    });
    let outcomes = Branch::on(&store, 3).run([vec![Input::Withdraw(1, 60), Input::Withdraw(1, 40)]]).await;
    assert!(matches!(outcomes[0], Err(SubmitError::Rejected(Refusal::Overdrawn { balance: 40 }))), "{:?}", outcomes[0]);
    assert_eq!(balance(&outcomes[1]), 0);
    assert_eq!(truth(&store.memory, 1).await, (0, 3));
}

#[tokio::test]
async fn a_stream_taken_for_new_is_not_read_and_loaded_when_it_exists() {
    let store = Watched::new(memory());
    Branch::on(&store, 1).run([vec![Input::Open(1, "Ana".to_owned())]]).await;
    assert_eq!(store.reads(), 0);

    let inputs = vec![Input::Open(1, "Ben".to_owned()), Input::Open(2, "Cem".to_owned())];
    let outcomes = Branch::on(&store, 2).run([inputs]).await;
    assert!(matches!(outcomes[0], Err(SubmitError::Rejected(Refusal::AlreadyOpen))), "{:?}", outcomes[0]);
    assert_eq!(balance(&outcomes[1]), 0);
    assert_eq!((store.commits(), store.reads()), (3, 1), "one refused, one on the truth");
    assert_eq!((truth(&store.memory, 1).await.1, truth(&store.memory, 2).await.1), (1, 1));
}

#[tokio::test]
async fn a_batch_that_is_delivered_again_is_recognized_in_one_go() {
    let store = Watched::new(memory());
    let inputs: Vec<Input> = (1..=100).map(|number| Input::Open(number, "Ana".to_owned())).collect();
    Branch::on(&store, 1).run([inputs.clone()]).await;
    let outcomes = Branch::on(&store, 2).run([inputs]).await;
    let known = |outcome| matches!(outcome, &Err(SubmitError::Rejected(Refusal::AlreadyOpen)));
    assert!(outcomes.iter().all(known), "{:?}", outcomes.iter().find(|outcome| !known(outcome)));
    assert_eq!((store.commits(), store.reads()), (2, 1));
}

#[tokio::test]
async fn an_input_that_writes_nothing_to_an_unseen_stream_is_run_again_on_the_loaded_one() {
    let store = Watched::new(memory());
    Branch::on(&store, 1).run([vec![Input::Deposit(1, 7)]]).await;
    let outcomes = Branch::on(&store, 2).run([vec![Input::Balance(1)]]).await;
    assert_eq!(balance(&outcomes[0]), 7);
    assert!(outcomes[0].as_ref().is_ok_and(|done| done.committed.is_none()), "nothing to store");
    assert_eq!(store.commits(), 1);
}

#[tokio::test]
async fn a_refusal_on_a_stale_state_is_decided_again_on_the_truth() {
    let store = Watched::new(memory());
    let Branch { worker, handle } = Branch::on(&store, 1);
    let clients = async {
        let cached = handle.submit(Input::Deposit(1, 10), cause(1)).await;
        assert_eq!(balance(&cached), 10);
        Branch::on(&store, 2).run([vec![Input::Deposit(1, 90)]]).await;
        let outcome = handle.submit(Input::Withdraw(1, 60), cause(2)).await;
        assert_eq!(balance(&outcome), 40);
        Branch::on(&store, 3).run([vec![Input::Deposit(1, 2)]]).await;
        let outcome = handle.submit(Input::Balance(1), cause(3)).await;
        assert_eq!(balance(&outcome), 42);
        drop(handle);
    };
    tokio::join!(worker.run(), clients);
}

#[tokio::test]
async fn what_is_concluded_from_two_streams_is_concluded_from_one_moment() {
    for number in 1..=4 {
        let store = Watched::new(memory());
        let seed = [Input::Deposit(1, 100), Input::Deposit(2, 0), Input::Deposit(3, 0)].to_vec();
        Branch::on(&Watched::new(Arc::clone(&store.memory)), 1).run([seed]).await;
        let other = Branch::on(&Watched::new(Arc::clone(&store.memory)), 2);
        store.before_read(number, async move {
            other.run([vec![Input::Transfer(1, 2, 60), Input::Transfer(2, 3, 60)]]).await;
        });
        // The first account is loaded, then the second; of a transfer between the two reads both or neither is seen.
        let outcomes = Branch::on(&store, 3).run([vec![Input::Sum(1, 3), Input::Balance(2)]]).await;
        assert_eq!(balance(&outcomes[0]), 100, "before read {number}");
    }
}

#[tokio::test]
async fn one_unstorable_input_of_a_batch_is_isolated() {
    let store = Watched::new(memory());
    let mut inputs: Vec<Input> = (1..=50).map(|number| Input::Open(number, "Ana".to_owned())).collect();
    inputs[33] = Input::Open(34, "too long".repeat(200_000));
    let outcomes = Branch::on(&store, 1).run([inputs]).await;
    for (outcome, number) in outcomes.iter().zip(1..) {
        match outcome {
            Err(SubmitError::Unstorable(_)) => assert_eq!(number, 34),
            outcome => assert_eq!(balance(outcome), 0),
        }
        assert_eq!(truth(&store.memory, number).await.1, u64::from(number != 34));
    }
}

#[tokio::test]
async fn a_message_that_was_handled_before_is_dropped_alone() {
    let store = Watched::new(memory());
    let told: Vec<Input> = (1..=8).map(|number| Input::Told(number, 5)).collect();
    Branch::on(&store, 1).run([told[..1].to_vec()]).await;
    let outcomes = Branch::on(&store, 2).run([told]).await;
    assert!(matches!(outcomes[0], Err(SubmitError::Duplicate)), "{:?}", outcomes[0]);
    assert!(outcomes[1..].iter().all(|outcome| balance(outcome) == 5));
    assert_eq!(truth(&store.memory, 1).await, (5, 1));
}

#[tokio::test]
async fn a_caller_that_goes_away_changes_nothing() {
    let store = Watched::new(memory());
    let Branch { worker, handle } = Branch::on(&store, 1);
    let clients = async {
        let mut gone = Box::pin(handle.submit(Input::Deposit(1, 10), cause(1)));
        assert!(futures::poll!(gone.as_mut()).is_pending());
        drop(gone);
        assert_eq!(balance(&handle.submit(Input::Deposit(1, 1), cause(2)).await), 11);
        drop(handle);
    };
    tokio::join!(worker.run(), clients);
    assert_eq!(truth(&store.memory, 1).await, (11, 2));
}

#[tokio::test]
async fn while_the_store_is_away_nothing_is_believed_done() {
    let store = Watched::new(memory());
    let Branch { worker, handle } = Branch::on(&store, 1);
    let clients = async {
        assert_eq!(balance(&handle.submit(Input::Deposit(1, 10), cause(1)).await), 10);
        store.fail_next_commit(CommitError::Unavailable("away".into()));
        let outcome = handle.submit(Input::Deposit(1, 10), cause(2)).await;
        assert!(matches!(outcome, Err(SubmitError::Unavailable(_))), "{outcome:?}");
        assert_eq!(balance(&handle.submit(Input::Balance(1), cause(3)).await), 10);
        drop(handle);
    };
    tokio::join!(worker.run(), clients);
}

#[tokio::test]
async fn a_commit_that_took_place_unheard_is_seen_by_the_next_input() {
    let store = Watched::new(memory());
    let Branch { worker, handle } = Branch::on(&store, 1);
    let clients = async {
        store.lose_next_answer();
        let outcome = handle.submit(Input::Deposit(1, 10), cause(2)).await;
        assert!(matches!(outcome, Err(SubmitError::Unavailable(_))), "{outcome:?}");
        assert_eq!(balance(&handle.submit(Input::Deposit(1, 1), cause(3)).await), 11);
        drop(handle);
    };
    tokio::join!(worker.run(), clients);
}

#[tokio::test]
async fn a_batch_that_loses_every_race_is_given_back() {
    let store = Watched::new(memory());
    store.conflict_always(stream(1));
    let limits = Limits { attempts_max: 5, ..Limits::default() };
    let outcomes = Branch::with(&store, 1, limits, vec![]).run([vec![Input::Deposit(1, 1)]]).await;
    assert!(matches!(outcomes[0], Err(SubmitError::Unavailable(_))), "{:?}", outcomes[0]);
    assert!(store.commits() < 5);
}

#[tokio::test]
async fn several_workers_on_one_store_lose_nothing() {
    let memory = memory();
    let branches = (1..=4).map(|series| Branch::on(&Watched::new(Arc::clone(&memory)), series));
    let batches = || (0..20).map(|_| vec![Input::Deposit(1, 1), Input::Transfer(1, 2, 1)]);
    join_all(branches.map(|branch| branch.run(batches()))).await;
    assert_eq!((truth(&memory, 1).await, truth(&memory, 2).await), ((0, 160), (80, 80)));
}

#[tokio::test]
async fn the_chain_goes_on_whether_a_stream_is_new_cached_loaded_or_taken_by_another() {
    let memory = memory();
    let limits = Limits { cached_streams: 1, ..Limits::default() };
    let branches = (1..=2).map(|series| Branch::with(&Watched::new(Arc::clone(&memory)), series, limits, vec![]));
    let batches = || (0..30).map(|_| vec![Input::Deposit(1, 1), Input::Withdraw(2, 1_000), Input::Transfer(1, 2, 1)]);
    join_all(branches.map(|branch| {
        branch.run(batches().chain([
            vec![Input::Deposit(3, 1)],
            vec![Input::Deposit(4, 1)],
            vec![Input::Deposit(1, 1)],
        ]))
    }))
    .await;
    for (number, events) in [(1, 122), (2, 60), (3, 2), (4, 2)] {
        assert_eq!(truth(&memory, number).await.1, events);
    }
}

#[tokio::test]
async fn a_parked_message_is_kept_with_its_batch() {
    let store = Watched::new(memory());
    let Branch { worker, handle } = Branch::on(&store, 1);
    let clients = async {
        let letter = DeadLetter {
            consumer: "bank".to_owned(),
            message: message(1).to_string(),
            key: None,
            sequence: 0,
            subject: "farmera.bank".to_owned(),
            headers: "no JSON".to_owned(),
            body: vec![1],
            reason: "a\0b".to_owned(),
        };
        let (parked, done) = tokio::join!(handle.park(letter, cause(1)), handle.submit(Input::Deposit(1, 1), cause(2)));
        parked.expect("parked");
        assert_eq!(balance(&done), 1);
        drop(handle);
    };
    tokio::join!(worker.run(), clients);
    assert_eq!(store.commits(), 1);
    assert_eq!(store.memory.dead_letters(0, 10).await.expect("read").len(), 1);
}

#[derive(Default)]
struct Heard(Mutex<Vec<(u64, Committed)>>);

impl CommitListener for Heard {
    fn committed(&self, events: &Arc<[Recorded]>, committed: Committed) {
        let mut heard = self.0.lock().expect("not poisoned");
        heard.extend(events.iter().map(|event| (event.version.get(), committed)));
    }
}

#[tokio::test]
async fn listeners_hear_of_each_commit_once_and_in_order() {
    let store = Watched::new(memory());
    let heard = Arc::new(Heard::default());
    let branch = Branch::with(&store, 1, Limits::default(), vec![Arc::clone(&heard) as Arc<dyn CommitListener>]);
    let batches =
        [vec![Input::Deposit(1, 1), Input::Deposit(1, 1)], vec![Input::Balance(1)], vec![Input::Withdraw(1, 2)]];
    let outcomes = branch.run(batches).await;
    let heard = heard.0.lock().expect("not poisoned");
    assert_eq!(heard.iter().map(|(version, _)| *version).collect::<Vec<_>>(), [1, 2, 3]);
    let committed = outcomes.iter().filter_map(|outcome| outcome.as_ref().ok()?.committed).collect::<Vec<_>>();
    assert_eq!(heard.iter().map(|(_, committed)| *committed).collect::<Vec<_>>(), committed);
}

#[tokio::test]
async fn whoever_comes_after_the_end_is_told_so() {
    let Branch { worker, handle } = Branch::on(&Watched::new(memory()), 1);
    drop(worker);
    let outcome = handle.submit(Input::Balance(1), cause(1)).await;
    assert!(matches!(outcome, Err(SubmitError::Stopping)), "{outcome:?}");
}
