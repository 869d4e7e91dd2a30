//! While a question has not left, the patience with its answer does not run.

#![expect(clippy::unwrap_used, reason = "a helper of tests may fail as a test does")]

#[expect(dead_code, reason = "other tests need the rest of it")]
mod service;

use std::sync::Arc;
use std::time::Duration;

use eventstore::TxId;
use eventstore::memory::MemoryClock;
use saga_runtime::{Sending, Way};
use service::{Come, Orders, SAGA, Service, TIMEOUT, library, store, stream, told};

/// Everything that waits leaves.
fn leave(service: &Service) {
    let waiting = service.store.outbox_pending_now(TxId(0), Duration::ZERO, 100);
    service.store.outbox_published_now(&waiting);
}

fn sending(service: &Service) -> Sending<Orders> {
    Sending::new(Arc::clone(&service.store) as _, Arc::new(MemoryClock::of(&service.store)))
}

/// Wakes the saga as a service does.
async fn wake(service: &Service, sending: &Sending<Orders>) -> Way {
    let way = sending.of(SAGA).await.unwrap();
    let come = match way {
        Way::Sent => Come::Wake(SAGA),
        Way::Unsent => Come::PutOff(SAGA),
        Way::JustSent => Come::BeginPatience(SAGA),
    };
    service.submit(come).await.unwrap();
    way
}

#[tokio::test(start_paused = true)]
async fn patience_begins_when_the_question_leaves() {
    let service = Service::over(&store(), 1, library());
    service.start().await;
    let sending = sending(&service);
    for _ in 0..20 {
        service.store.advance(TIMEOUT);
        assert_eq!(wake(&service, &sending).await, Way::Unsent);
        assert_eq!(service.store.armed(stream()), Some(service.store.time() + Duration::from_secs(2)));
    }
    assert_eq!(told(&service.store).len(), 2, "nothing is recorded while nobody can answer");
    leave(&service);
    assert_eq!(wake(&service, &sending).await, Way::JustSent);
    assert_eq!(told(&service.store).last().unwrap(), "TimersShifted reserve");
    assert_eq!(service.store.armed(stream()), Some(service.store.time() + TIMEOUT));
    leave(&service);
    service.store.advance(TIMEOUT);
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(wake(&service, &sending).await, Way::Sent);
    assert_eq!(told(&service.store).last().unwrap(), "StepUnknown reserve");
}

#[tokio::test(start_paused = true)]
async fn what_has_left_in_time_is_timed_out_as_ever_and_so_is_what_has_not_left_for_an_hour() {
    let service = Service::over(&store(), 1, library());
    service.start().await;
    service.store.advance(Duration::from_secs(3_601));
    assert_eq!(wake(&service, &sending(&service)).await, Way::Sent);
    assert_eq!(told(&service.store).last().unwrap(), "StepUnknown reserve");

    let service = Service::over(&store(), 1, library());
    service.start().await;
    leave(&service);
    service.store.advance(TIMEOUT);
    assert_eq!(wake(&service, &sending(&service)).await, Way::Sent);
    assert_eq!(told(&service.store).last().unwrap(), "StepUnknown reserve");
}
