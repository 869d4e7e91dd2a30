//! Timers as data: moved, frozen and taken away by operators, and never before their time by the store's clock.

#![expect(clippy::unwrap_used, reason = "a helper of tests may fail as a test does")]

#[expect(dead_code, reason = "other tests need the rest of it")]
mod service;

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use eventstore::{Aggregate as _, Commit, DomainEvent as _, EventStore as _, TimerChange};
use saga::testing::tester;
use saga::{Input, Saga, SagaEvent, Timer, TimerKind, timers};
use service::{Come, Orders, SAGA, Service, TIMEOUT, library, store, stream, told};

fn why() -> String {
    "an outage".to_owned()
}

async fn started() -> Service {
    let service = Service::over(&store(), 1, library());
    service.start().await;
    service
}

async fn say(service: &Service, input: Input<Orders>) {
    service.submit(Come::Input(SAGA, input)).await.unwrap();
}

fn listed(service: &Service) -> Vec<Timer> {
    let events = service.store.events().into_iter().filter(|event| event.stream == stream());
    let events = events.map(|event| SagaEvent::<Orders>::from_recorded(&event).unwrap());
    timers(&events.fold(Saga::default(), |saga, event| saga.evolve(&event)))
}

fn due(service: &Service) -> DateTime<Utc> {
    listed(service).first().unwrap().due
}

/// As if the database had lost the row.
async fn lose_the_timer(service: &Service) {
    let lost = Commit { timers: vec![TimerChange::Disarm { stream: stream() }], ..Commit::default() };
    service.store.commit(lost).await.unwrap();
    assert_eq!(service.store.armed(stream()), None);
}

#[tokio::test]
async fn timers_are_listed_by_what_becomes_due() {
    let service = started().await;
    let listed = listed(&service);
    assert_eq!(listed.len(), 1);
    let timer = listed.first().unwrap();
    assert_eq!((timer.kind, timer.due), (TimerKind::Answer, service.store.time() + TIMEOUT));
}

#[tokio::test]
async fn a_timer_moved_to_later_fires_then_and_not_before() {
    let service = started().await;
    let by = TimeDelta::hours(2);
    say(&service, Input::ShiftTimers { step: None, by, reason: why(), actor: tester() }).await;
    service.store.advance(TIMEOUT);
    service.timers().fire_once().await.unwrap();
    assert_eq!(
        told(&service.store).last().unwrap(),
        "TimersShifted",
        "it was woken at the old time and nothing was due"
    );
    assert_eq!(service.store.armed(stream()), Some(due(&service)));
    service.store.advance(Duration::from_secs(7_200));
    service.timers().fire_once().await.unwrap();
    assert_eq!(told(&service.store).last().unwrap(), "StepUnknown reserve");
}

#[tokio::test]
async fn a_timer_moved_to_earlier_is_armed_for_then() {
    let service = started().await;
    let by = -TimeDelta::seconds(4);
    say(&service, Input::ShiftTimers { step: Some("reserve".into()), by, reason: why(), actor: tester() }).await;
    assert_eq!(service.store.armed(stream()), Some(service.store.time() + Duration::from_secs(6)));
    service.store.advance(Duration::from_secs(6));
    service.timers().fire_once().await.unwrap();
    assert_eq!(told(&service.store).last().unwrap(), "StepUnknown reserve");
}

#[tokio::test]
async fn a_moved_timer_whose_row_is_lost_comes_back_where_it_was_moved_to() {
    let service = started().await;
    let by = TimeDelta::hours(2);
    say(&service, Input::ShiftTimers { step: None, by, reason: why(), actor: tester() }).await;
    lose_the_timer(&service).await;
    service.submit(Come::Wake(SAGA)).await.unwrap();
    assert_eq!(service.store.armed(stream()), Some(due(&service)));
    assert_eq!(due(&service), service.store.time() + TIMEOUT + Duration::from_secs(7_200));
}

#[tokio::test]
async fn frozen_timers_are_gone_until_they_are_thawed_and_then_have_all_their_time() {
    let service = started().await;
    say(&service, Input::FreezeTimers { reason: why(), actor: tester() }).await;
    assert_eq!(service.store.armed(stream()), None);
    service.store.advance(Duration::from_secs(3_600));
    service.submit(Come::Wake(SAGA)).await.unwrap();
    assert_eq!(told(&service.store).last().unwrap(), "TimersFrozen", "nothing becomes due");
    say(&service, Input::ThawTimers { reason: why(), actor: tester() }).await;
    assert_eq!(service.store.armed(stream()), Some(service.store.time() + TIMEOUT));
}

#[tokio::test]
async fn a_step_whose_timer_was_taken_away_waits_for_its_answer() {
    let service = started().await;
    say(&service, Input::CancelTimer { step: Some("reserve".into()), reason: why(), actor: tester() }).await;
    assert_eq!((service.store.armed(stream()), listed(&service)), (None, vec![]));
    say(&service, service::done("reserve")).await;
    assert_eq!(told(&service.store).last().unwrap(), "StepRequested authorize");
}
