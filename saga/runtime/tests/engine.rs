//! Whole sagas through a real worker over a memory store.

#[expect(dead_code, reason = "holds have tests of their own")]
mod service;

use eventstore::worker::SubmitError;
use eventstore::{Commit, EventStore, ReadError, TimerChange};
use saga::{Input, Lane, Library, Refusal, UnknownDefinition};
use saga_runtime::{OpenSagas, Reconciled, Reconciler, ReconcilerLimits, StepError, TimerLimits};
use service::{Answer, Come, SAGA, Service, TIMEOUT, all_agree, done, library, store, stream, told};
use tokio::sync::watch;
use uuid::Uuid;

const COMPLETED: [&str; 13] = [
    "SagaStarted",
    "StepRequested reserve",
    "StepSucceeded reserve",
    "StepRequested authorize",
    "StepSucceeded authorize",
    "StepSucceeded confirm",
    "StepRequested capture",
    "StepRequested commit",
    "StepSucceeded capture",
    "StepSucceeded commit",
    "StepRequested notify",
    "StepSucceeded notify",
    "SagaCompleted",
];

async fn lived(answer: Answer, restarts: bool) -> Vec<String> {
    let store = store();
    let mut service = Service::over(&store, 1, library());
    service.start().await;
    service.live(answer, restarts).await;
    assert_eq!(store.armed(stream()), None, "a saga that has ended leaves no timer");
    told(&store)
}

#[tokio::test]
async fn a_saga_whose_participants_agree_completes() {
    assert_eq!(lived(all_agree, false).await, COMPLETED);
}

#[tokio::test]
async fn a_refused_step_is_compensated_in_reverse() {
    let history = lived(|step, lane, _| Some(step != "authorize" || lane == Lane::Undo), false).await;
    assert_eq!(
        history[3..],
        [
            "StepRequested authorize",
            "StepRejected authorize",
            "CompensationStarted",
            "CompensationRequested reserve",
            "CompensationSucceeded reserve",
            "SagaCompensated",
        ]
    );
}

#[tokio::test]
async fn what_nobody_answers_for_is_timed_out_retried_and_undone() {
    let history = lived(|step, lane, _| (step != "authorize" || lane == Lane::Undo).then_some(true), false).await;
    let undone = [
        "CompensationStarted",
        "CompensationRequested authorize",
        "CompensationSucceeded authorize",
        "CompensationRequested reserve",
        "CompensationSucceeded reserve",
        "SagaCompensated",
    ];
    let attempts = ["StepRequested authorize", "StepUnknown authorize"];
    assert_eq!(history[3..], [&attempts[..], &attempts, &attempts, &undone].concat());
}

#[tokio::test]
async fn a_restart_after_every_commit_changes_nothing() {
    let troubles: [Answer; 4] = [
        all_agree,
        |step, lane, _| Some(step != "authorize" || lane == Lane::Undo),
        |step, lane, _| (step != "authorize" || lane == Lane::Undo).then_some(true),
        |step, _, attempt| (step != "capture" || attempt > 2).then_some(true),
    ];
    for trouble in troubles {
        assert_eq!(lived(trouble, true).await, lived(trouble, false).await);
    }
}

#[tokio::test]
async fn a_saga_started_twice_is_one_saga_and_other_facts_are_refused() {
    let store = store();
    let mut service = Service::over(&store, 1, library());
    assert_eq!(service.submit(Come::Start(SAGA, 7)).await.unwrap(), 2);
    service.restart().await;
    assert_eq!(service.submit(Come::Start(SAGA, 7)).await.unwrap(), 0);
    let refused = service.submit(Come::Start(SAGA, 8)).await.unwrap_err();
    assert!(
        matches!(refused, SubmitError::Rejected(StepError::Refused(Refusal::StartedOtherwise { .. }))),
        "{refused:?}"
    );
    assert_eq!(told(&store).len(), 2);
}

#[tokio::test]
async fn replicas_that_hear_the_same_answers_write_them_once() {
    let store = store();
    let (mut one, two) = (Service::over(&store, 1, library()), Service::over(&store, 2, library()));
    one.start().await;
    loop {
        let answers = one.answers(all_agree);
        if answers.is_empty() {
            break;
        }
        for input in answers {
            let come = || Come::Input(SAGA, input.clone());
            let (first, second) = tokio::join!(one.submit(come()), two.submit(come()));
            assert!(first.is_ok() && second.is_ok(), "{first:?} {second:?}");
        }
    }
    assert_eq!(told(&store), COMPLETED);
}

#[tokio::test]
async fn messages_for_a_saga_that_does_not_exist_go_unheard_and_commands_are_told() {
    let store = store();
    let service = Service::over(&store, 1, library());
    assert_eq!(service.submit(Come::Input(SAGA, done("reserve"))).await.unwrap(), 0);
    assert_eq!(service.submit(Come::Wake(SAGA)).await.unwrap(), 0);
    let cancel = Input::Cancel { reason: "why".to_owned(), actor: saga::testing::tester() };
    let refused = service.submit(Come::Input(SAGA, cancel)).await.unwrap_err();
    assert!(matches!(refused, SubmitError::Rejected(StepError::Refused(Refusal::NotStarted))), "{refused:?}");
    assert_eq!(store.events(), []);
}

#[tokio::test]
async fn nobody_decides_for_a_saga_whose_definition_is_not_known_here() {
    let store = store();
    Service::over(&store, 1, library()).start().await;
    let other = Service::over(&store, 2, Library::new([]).unwrap());
    let unknown = other.submit(Come::Input(SAGA, done("reserve"))).await.unwrap_err();
    let SubmitError::Rejected(StepError::UnknownDefinition(UnknownDefinition::Missing { pinned })) = unknown else {
        panic!("{unknown:?}");
    };
    assert_eq!(pinned.to_string(), "place-order v1");
    store.advance(TIMEOUT);
    let fired = other.timers().fire_once().await.unwrap();
    assert_eq!((fired.claimed, fired.failed), (1, 1));
    assert_eq!(told(&store).len(), 2);
}

#[tokio::test]
async fn a_timer_of_a_step_that_is_done_by_now_is_moved_to_what_is_awaited() {
    let store = store();
    let service = Service::over(&store, 1, library());
    service.start().await;
    let first = store.armed(stream()).unwrap();
    store.advance(TIMEOUT / 2);
    service.submit(Come::Input(SAGA, done("reserve"))).await.unwrap();
    assert_eq!(store.armed(stream()), Some(first), "an earlier wake-up will do");
    store.set_time(first);
    let fired = service.timers().fire_once().await.unwrap();
    assert_eq!((fired.claimed, fired.failed), (1, 0));
    assert_eq!(store.armed(stream()), Some(first + TIMEOUT / 2));
    assert_eq!(told(&store).last().unwrap(), "StepRequested authorize");
}

#[tokio::test]
async fn a_saga_that_could_not_be_woken_is_woken_after_the_lease() {
    let store = store();
    let service = Service::over(&store, 1, library());
    service.start().await;
    store.advance(TIMEOUT);
    let unable = Service::over(&store, 2, Library::new([]).unwrap());
    assert_eq!(unable.timers().fire_once().await.unwrap().failed, 1);
    assert_eq!(service.timers().fire_once().await.unwrap().claimed, 0);
    store.advance(TimerLimits::default().lease);
    assert_eq!(service.timers().fire_once().await.unwrap().claimed, 1);
    assert_eq!(told(&store).last().unwrap(), "StepUnknown reserve");
}

struct Listed(Vec<Uuid>);

impl OpenSagas for Listed {
    async fn open(&self, after: Option<Uuid>, limit: usize) -> Result<Vec<Uuid>, ReadError> {
        let above = self.0.iter().copied().filter(|id| after.is_none_or(|after| *id > after));
        Ok(above.take(limit).collect())
    }
}

#[tokio::test]
async fn the_reconciler_brings_a_lost_timer_back() {
    let store = store();
    let service = Service::over(&store, 1, library());
    service.start().await;
    let armed = store.armed(stream());
    let lost = Commit { timers: vec![TimerChange::Disarm { stream: stream() }], ..Commit::default() };
    store.commit(lost).await.unwrap();
    assert_eq!(store.armed(stream()), None);
    let (open, limits) = (Listed(vec![SAGA]), ReconcilerLimits::default());
    let mut reconciler = Reconciler::new(open, std::sync::Arc::clone(&service.waker), limits);
    let reconciled = reconciler.reconcile_once().await.unwrap();
    assert_eq!(reconciled, Reconciled { looked_at: 1, failed: 0, round_ended: true });
    assert_eq!(store.armed(stream()), armed);
}

#[tokio::test]
async fn the_reconciler_walks_page_by_page_and_begins_anew() {
    let service = Service::over(&store(), 1, library());
    let open = Listed((1..=5).map(Uuid::from_u128).collect());
    let limits = ReconcilerLimits { page_max: 2, ..ReconcilerLimits::default() };
    let mut reconciler = Reconciler::new(open, std::sync::Arc::clone(&service.waker), limits);
    let mut looked_at = Vec::new();
    for _ in 0..4 {
        let reconciled = reconciler.reconcile_once().await.unwrap();
        looked_at.push((reconciled.looked_at, reconciled.round_ended));
    }
    assert_eq!(looked_at, [(2, false), (2, false), (1, true), (2, false)]);
}

#[tokio::test(start_paused = true)]
async fn the_timer_loop_fires_by_itself_and_stops_when_told() {
    let store = store();
    let service = Service::over(&store, 1, library());
    service.start().await;
    let (stop, shutdown) = watch::channel(false);
    let tell_and_stop = async {
        tokio::time::sleep(TIMEOUT).await;
        assert_eq!(told(&store).len(), 2, "the store's clock stands still, whatever time it is here");
        store.advance(TIMEOUT);
        tokio::time::sleep(TimerLimits::default().poll_interval * 2).await;
        stop.send(true).unwrap();
    };
    tokio::join!(service.timers().run(shutdown), tell_and_stop);
    assert_eq!(told(&store).last().unwrap(), "StepUnknown reserve");
}
