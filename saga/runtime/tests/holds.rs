//! A hold through a real worker over a memory store: placed, heeded, released by and by.

#![expect(clippy::unwrap_used, reason = "a helper of tests may fail as a test does")]

#[expect(dead_code, reason = "sending has tests of its own")]
mod service;

use chrono::TimeDelta;
use eventstore::{Aggregate as _, Commit, DomainEvent as _, EventStore as _, TimerChange};
use saga::hold::{HoldEvent, HoldInput, HoldTarget, ReleasePlan};
use saga::{Holds, Input};
use service::{Come, SAGA, Service, all_agree, done, library, store, told};
use uuid::Uuid;

const PLAN: ReleasePlan = ReleasePlan { canary: 2, rate_per_second: 10, failures_max: 2 };

fn payment() -> HoldTarget {
    HoldTarget::Participant("payment".to_owned())
}

fn place(service: &Service, until: Option<TimeDelta>) -> Come {
    let until = until.map(|span| service.store.time() + span);
    let (reason, actor) = ("payment is down".to_owned(), saga::testing::tester());
    Come::Hold(HoldInput::Place { target: payment(), until, plan: PLAN, reason, actor })
}

fn release() -> Come {
    let (reason, actor) = ("payment is up".to_owned(), saga::testing::tester());
    Come::Hold(HoldInput::Release { target: payment(), plan: None, reason, actor })
}

/// As many orders that wait at payment's hold.
async fn waiting(service: &Service, count: u128) -> Vec<Uuid> {
    let sagas: Vec<_> = (1..=count).map(Uuid::from_u128).collect();
    for saga_id in &sagas {
        service.submit(Come::Start(*saga_id, 7)).await.unwrap();
        service.submit(Come::Input(*saga_id, done("reserve"))).await.unwrap();
    }
    sagas
}

fn count(service: &Service, type_name: &str) -> usize {
    service.store.events().iter().filter(|event| event.type_name == type_name).count()
}

fn hold_history(service: &Service) -> Vec<HoldEvent> {
    let events = service.store.events().into_iter().filter(|event| event.stream == Holds::only_stream());
    events.map(|event| HoldEvent::from_recorded(&event).unwrap()).collect()
}

#[tokio::test]
async fn sagas_that_come_to_a_hold_wait_and_their_timers_are_gone() {
    let service = Service::over(&store(), 1, library());
    service.submit(place(&service, None)).await.unwrap();
    service.start().await;
    service.submit(Come::Input(SAGA, done("reserve"))).await.unwrap();
    assert_eq!(told(&service.store)[2..], ["StepSucceeded reserve", "StepHeld authorize"]);
    service.store.advance(std::time::Duration::from_secs(3_600));
    service.timers().fire_once().await.unwrap();
    assert_eq!(told(&service.store).len(), 4, "an hour later it still waits");
    assert_eq!(service.store.armed(service::stream()), None);
}

#[tokio::test]
async fn another_replica_heeds_a_hold_once_it_has_looked() {
    let store = store();
    let (one, two) = (Service::over(&store, 1, library()), Service::over(&store, 2, library()));
    one.submit(place(&one, None)).await.unwrap();
    assert_eq!(*two.holds.holds(), Holds::default());
    two.releases().turn_once().await.unwrap();
    assert_eq!(two.holds.holds().iter().count(), 1);
}

#[tokio::test]
async fn a_release_survives_a_restart_after_every_step_and_lets_everybody_go() {
    let mut service = Service::over(&store(), 1, library());
    service.submit(place(&service, None)).await.unwrap();
    let sagas = waiting(&service, 9).await;
    assert_eq!(count(&service, "StepHeld"), 9);
    service.submit(release()).await.unwrap();
    let mut gone = Vec::new();
    for _ in 0..40 {
        service.store.advance(std::time::Duration::from_millis(500));
        service.restart().await;
        service.releases().turn_once().await.unwrap();
        gone.push(count(&service, "StepReleased"));
        for saga_id in &sagas {
            service.submit(Come::Input(*saga_id, done("authorize"))).await.unwrap();
        }
    }
    assert_eq!(gone.first(), Some(&2), "the canary goes first: {gone:?}");
    assert_eq!(gone.last(), Some(&9));
    let history = hold_history(&service);
    assert!(matches!(history.last(), Some(HoldEvent::Ended { .. })), "{history:?}");
    assert_eq!(service.store.armed(Holds::only_stream()), None);
    assert_eq!(count(&service, "StepUnknown"), 0);
}

#[tokio::test]
async fn a_release_into_an_outage_stops_by_itself() {
    let service = Service::over(&store(), 1, library());
    service.submit(place(&service, None)).await.unwrap();
    waiting(&service, 9).await;
    service.submit(release()).await.unwrap();
    for _ in 0..60 {
        service.store.advance(std::time::Duration::from_millis(500));
        service.releases().turn_once().await.unwrap();
        service.timers().fire_once().await.unwrap();
    }
    assert_eq!(count(&service, "HoldReleaseStopped"), 1);
    assert_eq!(count(&service, "StepReleased"), 2, "nobody but the canary went");
    assert_eq!(count(&service, "StepUnknown"), 0, "and even that cost no attempt");
    assert!(service.holds.holds().get(&payment()).is_some());
}

#[tokio::test]
async fn a_hold_ends_when_its_time_is_over() {
    let mut service = Service::over(&store(), 1, library());
    service.submit(place(&service, Some(TimeDelta::hours(1)))).await.unwrap();
    waiting(&service, 2).await;
    service.releases().turn_once().await.unwrap();
    assert_eq!(count(&service, "HoldReleaseStarted"), 0);
    service.store.advance(std::time::Duration::from_secs(3_600));
    service.restart().await;
    service.releases().turn_once().await.unwrap();
    assert_eq!((count(&service, "HoldReleaseStarted"), count(&service, "StepReleased")), (1, 2));
}

#[tokio::test]
async fn a_hold_whose_timer_is_lost_ends_all_the_same() {
    let service = Service::over(&store(), 1, library());
    service.submit(place(&service, Some(TimeDelta::hours(1)))).await.unwrap();
    let stream = Holds::only_stream();
    let lost = Commit { timers: vec![TimerChange::Disarm { stream }], ..Commit::default() };
    service.store.commit(lost).await.unwrap();
    service.store.advance(std::time::Duration::from_secs(3_601));
    service.releases().turn_once().await.unwrap();
    assert_eq!(count(&service, "HoldReleaseStarted"), 0, "somebody else may be about to see to it");
    service.store.advance(std::time::Duration::from_secs(60));
    service.releases().turn_once().await.unwrap();
    assert_eq!((count(&service, "HoldReleaseStarted"), count(&service, "HoldEnded")), (1, 1));
}

#[tokio::test]
async fn a_saga_that_nobody_let_go_goes_on_when_it_is_woken_after_the_hold() {
    let mut service = Service::over(&store(), 1, library());
    service.submit(place(&service, None)).await.unwrap();
    service.start().await;
    service.submit(Come::Input(SAGA, done("reserve"))).await.unwrap();
    let stream = Holds::stream(Holds::ID);
    assert_eq!(service.store.read_stream_backwards(stream, 1).await.unwrap().len(), 1);
    service.submit(release()).await.unwrap();
    service
        .submit(Come::Hold(HoldInput::Advance { target: payment(), judged: vec![], waiting: vec![] }))
        .await
        .unwrap();
    assert_eq!(count(&service, "HoldEnded"), 1);
    service.submit(Come::Input(SAGA, Input::Wake)).await.unwrap();
    assert_eq!(told(&service.store)[4..], ["StepReleased authorize", "StepRequested authorize"]);
    service.live(all_agree, false).await;
    assert_eq!(told(&service.store).last().unwrap(), "SagaCompleted");
}

#[tokio::test]
async fn a_saga_that_is_held_by_a_process_that_does_not_know_of_the_end_is_let_go_when_it_hears() {
    let store = store();
    let (first, second) = (Service::over(&store, 1, library()), Service::over(&store, 2, library()));
    first.submit(place(&first, None)).await.unwrap();
    second.releases().turn_once().await.unwrap();
    first.submit(release()).await.unwrap();
    first.submit(Come::Hold(HoldInput::Advance { target: payment(), judged: vec![], waiting: vec![] })).await.unwrap();
    second.start().await;
    second.submit(Come::Input(SAGA, done("reserve"))).await.unwrap();
    assert_eq!((count(&second, "HoldEnded"), count(&second, "StepHeld")), (1, 1));
    first.releases().turn_once().await.unwrap();
    assert_eq!(count(&first, "StepReleased"), 0, "whoever ended it has held nobody since");
    second.releases().turn_once().await.unwrap();
    assert_eq!(told(&store)[4..], ["StepReleased authorize", "StepRequested authorize"]);
    second.releases().turn_once().await.unwrap();
    assert_eq!(count(&second, "StepReleased"), 1, "it is heard once");
}
