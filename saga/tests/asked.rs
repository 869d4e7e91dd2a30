//! Which stored events asked: the state knows, whoever folded it.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use eventstore::{Aggregate as _, EventId};
use saga::testing::{World, abandoned, cancelled, done, retried, started, undone, woken};
use saga::{Asked, Definition, Lane, Process, RetryPolicy, Saga, SagaEvent, ask, saga};
use uuid::Uuid;

#[derive(Clone, Debug, PartialEq)]
struct Trip;

impl Process for Trip {
    type Input = ();
    type Request = String;
    type Output = ();
}

fn trip() -> Definition<Trip> {
    let twice = RetryPolicy::new(2, Duration::from_millis(100), Duration::from_secs(1));
    saga("trip", 1)
        .compensatable("seat", ask(|_| "book".to_owned()).undo(|_| "free".to_owned()).retry(twice))
        .compensatable("room", ask(|_| "book".to_owned()).undo(|_| "free".to_owned()).retry(twice))
        .build()
        .unwrap()
}

/// The saga as it is stored: its events have the ids 1, 2, …
fn stored(events: &[SagaEvent<Trip>]) -> Saga<Trip> {
    let numbered = (1..).map(id).zip(events);
    numbered.fold(Saga::default(), |saga, (id, event)| saga.evolve_stored(event, id))
}

fn id(number: u128) -> EventId {
    EventId(Uuid::from_u128(number))
}

fn events(world: &World<'_, Trip>) -> Vec<SagaEvent<Trip>> {
    world.history().cloned().collect()
}

/// The numbers of the events that asked.
fn askers(events: &[SagaEvent<Trip>], step: &str, lane: Lane) -> Option<Vec<u128>> {
    match stored(events).asked(step, lane) {
        Asked::Now(by) => Some((1..=20).filter(|number| by.contains(id(*number))).collect()),
        Asked::Never | Asked::Before => None,
    }
}

#[test]
fn every_attempt_asks_and_what_is_answered_is_asked_no_more() {
    let trip = trip();
    let mut world = World::new(&trip);
    world.submit(started(())).unwrap();
    let asked = |world: &World<'_, Trip>, step, lane| askers(&events(world), step, lane);
    assert_eq!(asked(&world, "seat", Lane::Forward), Some(vec![2]));
    assert_eq!(stored(&events(&world)).asked("room", Lane::Forward), Asked::Never);
    world.now += Duration::from_secs(3_600);
    world.submit(woken()).unwrap();
    world.now += Duration::from_secs(3_600);
    world.submit(woken()).unwrap();
    assert_eq!(asked(&world, "seat", Lane::Forward), Some(vec![2, 4]), "{:?}", events(&world));
    assert_eq!(stored(&events(&world)).asked("seat", Lane::Undo), Asked::Never);

    world.submit(done("seat")).unwrap();
    assert_eq!(stored(&events(&world)).asked("seat", Lane::Forward), Asked::Before);
    world.submit(cancelled()).unwrap();
    let events_so_far = events(&world);
    let last = u128::try_from(events_so_far.len()).unwrap();
    assert_eq!(asked(&world, "room", Lane::Undo), Some(vec![2, 4, last - 3, last]), "{events_so_far:?}");
    assert_eq!(stored(&events_so_far).asked("room", Lane::Forward), Asked::Before);
    assert_eq!(stored(&events_so_far).asked("seat", Lane::Undo), Asked::Never, "its turn has not come");

    world.submit(undone("room")).unwrap();
    world.submit(undone("seat")).unwrap();
    let over = stored(&events(&world));
    assert!(over.is_ended());
    for (step, lane) in [("seat", Lane::Forward), ("seat", Lane::Undo), ("room", Lane::Undo)] {
        assert_eq!(over.asked(step, lane), Asked::Before, "{step}");
    }
    assert_eq!(over.asked("ticket", Lane::Forward), Asked::Never);
}

#[test]
fn what_an_abandoned_saga_has_undone_after_its_end_is_asked_too() {
    let trip = trip();
    let mut world = World::new(&trip);
    for input in [started(()), done("seat"), abandoned()] {
        world.submit(input).unwrap();
    }
    assert_eq!(stored(&events(&world)).asked("seat", Lane::Undo), Asked::Never);
    world.submit(retried("seat")).unwrap();
    let last = u128::try_from(events(&world).len()).unwrap();
    assert_eq!(askers(&events(&world), "seat", Lane::Undo).unwrap().last(), Some(&last));
    world.submit(undone("seat")).unwrap();
    assert_eq!(stored(&events(&world)).asked("seat", Lane::Undo), Asked::Before);
}
