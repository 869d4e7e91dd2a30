//! Sagas that run sagas, through a real worker over a memory store.

#![expect(clippy::unwrap_used, reason = "a helper of tests may fail as a test does")]

#[expect(dead_code, reason = "other tests need the rest of it")]
mod service;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use eventstore::memory::MemoryStore;
use eventstore::{Aggregate as _, DomainEvent as _, Recorded, derived_id};
use saga::{
    Facts, Input, Library, Outcome, Rejection, RetryPolicy, Saga, SagaEvent, Status, UndoOutcome, ask, laws, local,
    run, saga,
};
use service::{Ask, Come, Orders, SAGA, Service, store};
use uuid::Uuid;

fn word(_: &Facts<'_, Orders>) -> Ask {
    Ask("please".to_owned())
}

fn twice() -> RetryPolicy {
    RetryPolicy::new(2, Duration::from_secs(1), Duration::from_secs(1))
}

fn nights(facts: &Facts<'_, Orders>) -> u32 {
    facts.input() + 1
}

/// A journey: a seat, a hotel that is a saga of its own, then no way back.
fn library() -> Library<Orders> {
    let journey = saga::<Orders>("place-order", 1)
        .compensatable("seat", ask(word).undo(word).retry(twice()).undo_retry(twice()))
        .compensatable("hotel", run("hotel", nights).undo_retry(twice()))
        .compensatable("guide", ask(word).undo(word).retry(twice()).undo_retry(twice()))
        .pivot("depart", local())
        .build()
        .unwrap();
    let hotel = saga::<Orders>("hotel", 1)
        .cancelled_by("cancel-hotel")
        .gives("room")
        .compensatable("room", ask(word).undo(word).retry(twice()).undo_retry(twice()))
        .compensatable("deposit", ask(word).undo(word).retry(twice()).undo_retry(twice()))
        .pivot("book", local())
        .retriable("bill", ask(word).retry(twice()))
        .build()
        .unwrap();
    let cancel = saga::<Orders>("cancel-hotel", 1).retriable("refund", ask(word)).build().unwrap();
    Library::new([journey, hotel, cancel]).unwrap()
}

fn hotel() -> Uuid {
    derived_id(SAGA, "hotel")
}

fn cancel_hotel() -> Uuid {
    derived_id(hotel(), "cancel-hotel")
}

fn history(store: &MemoryStore, saga_id: Uuid) -> Vec<SagaEvent<Orders>> {
    let of_it = store.events().into_iter().filter(|event| event.stream == Saga::<Orders>::stream(saga_id));
    of_it.map(|event| SagaEvent::from_recorded(&event).unwrap()).collect()
}

fn status(store: &MemoryStore, saga_id: Uuid) -> Status {
    history(store, saga_id).iter().fold(Saga::default(), Saga::evolve).status()
}

fn told(store: &MemoryStore, saga_id: Uuid) -> Vec<String> {
    history(store, saga_id).iter().map(ToString::to_string).collect()
}

/// Answers for every participant until nobody asks: `refuses` says no, `silent` says nothing.
async fn live(service: &Service, refuses: &str, silent: &str) {
    let mut answered = HashSet::new();
    loop {
        let asked: Vec<Recorded> =
            service.store.events().into_iter().filter(|event| !answered.contains(&event.id)).collect();
        let mut was_asked = false;
        for event in asked {
            answered.insert(event.id);
            let Some(input) = answer(&event, refuses, silent) else { continue };
            service.submit(Come::Input(event.stream.id, input)).await.unwrap();
            was_asked = true;
        }
        if !was_asked {
            return;
        }
    }
}

fn answer(event: &Recorded, refuses: &str, silent: &str) -> Option<Input<Orders>> {
    let event = SagaEvent::<Orders>::from_recorded(event).unwrap();
    if event.step().is_some_and(|step| *step == *silent) {
        return None;
    }
    if let SagaEvent::StepRequested { step, .. } = event {
        let no = step == *refuses;
        let outcome = if no { Outcome::Rejected(Rejection::new("NO", "refused")) } else { Outcome::Done(Some(7)) };
        Some(Input::Reply { step, outcome })
    } else if let SagaEvent::CompensationRequested { step, .. } = event {
        Some(Input::UndoReply { step, outcome: UndoOutcome::Done })
    } else {
        None
    }
}

async fn lived(refuses: &str) -> (Arc<MemoryStore>, Service) {
    let store = store();
    let service = Service::over(&store, 1, library());
    service.start().await;
    live(&service, refuses, "").await;
    (store, service)
}

#[test]
fn a_definition_that_runs_a_saga_obeys_the_laws() {
    let library = library();
    for name in ["place-order", "hotel"] {
        laws::all(&laws::Sample { definition: library.newest(name).unwrap(), input: 1, output: |_| Some(1) });
    }
}

#[tokio::test]
async fn a_saga_that_is_run_as_a_step_is_started_and_answers_with_what_it_gives() {
    let (store, _) = lived("").await;
    assert_eq!(status(&store, SAGA), Status::Completed);
    assert_eq!(status(&store, hotel()), Status::Completed);
    let said = history(&store, SAGA);
    let output = said.iter().find_map(|event| {
        let SagaEvent::StepSucceeded { step, output } = event else { return None };
        output.as_deref().copied().filter(|_| *step == "hotel")
    });
    assert_eq!(output, Some(7));
    let input = history(&store, hotel()).iter().fold(Saga::default(), Saga::evolve).input().copied();
    assert_eq!(input, Some(8), "it was started with what the parent made of its own facts");
}

#[tokio::test]
async fn a_saga_that_is_undone_refuses_the_step_that_ran_it() {
    let (store, _) = lived("deposit").await;
    assert_eq!((status(&store, hotel()), status(&store, SAGA)), (Status::Compensated, Status::Compensated));
    let said = told(&store, SAGA);
    assert!(said.contains(&"StepRejected hotel".to_owned()), "{said:?}");
    assert!(!said.contains(&"ChildUndoRequested hotel".to_owned()), "what was refused needs no undoing: {said:?}");
}

#[tokio::test]
async fn undoing_a_step_whose_saga_is_completed_runs_the_saga_that_undoes_it() {
    let (store, _) = lived("guide").await;
    assert_eq!((status(&store, hotel()), status(&store, cancel_hotel())), (Status::Completed, Status::Completed));
    assert_eq!(status(&store, SAGA), Status::Compensated);
    let undone: Vec<_> = told(&store, SAGA).into_iter().filter(|event| event.contains("Compensation")).collect();
    let order = [
        "CompensationStarted",
        "CompensationSucceeded hotel",
        "CompensationRequested seat",
        "CompensationSucceeded seat",
    ];
    assert_eq!(undone, order, "in reverse order, the hotel before the seat");
}

#[tokio::test]
async fn cancelling_a_saga_cancels_the_one_that_it_runs() {
    let store = store();
    let service = Service::over(&store, 1, library());
    service.start().await;
    live(&service, "", "deposit").await;
    assert_eq!((status(&store, SAGA), status(&store, hotel())), (Status::Running, Status::Running));
    service.submit(Come::Input(SAGA, saga::testing::cancelled())).await.unwrap();
    assert_eq!(status(&store, hotel()), Status::Compensating);
    live(&service, "", "").await;
    assert_eq!((status(&store, hotel()), status(&store, SAGA)), (Status::Compensated, Status::Compensated));
}

#[tokio::test]
async fn a_saga_past_its_point_of_no_return_completes_before_it_is_undone_for_its_parent() {
    let store = store();
    let service = Service::over(&store, 1, library());
    service.start().await;
    live(&service, "", "bill").await;
    service.submit(Come::Input(SAGA, saga::testing::cancelled())).await.unwrap();
    assert_eq!((status(&store, SAGA), status(&store, hotel())), (Status::Compensating, Status::Running));
    live(&service, "", "").await;
    assert_eq!((status(&store, hotel()), status(&store, cancel_hotel())), (Status::Completed, Status::Completed));
    assert_eq!(status(&store, SAGA), Status::Compensated);
    assert_eq!(told(&store, cancel_hotel()).len(), 4, "and it is undone once");
}

#[tokio::test]
async fn cancelled_past_the_point_of_no_return_a_saga_completes_and_is_undone_by_the_one_that_its_definition_names() {
    let store = store();
    let service = Service::over(&store, 1, library());
    service.start().await;
    live(&service, "", "bill").await;
    service.submit(Come::Input(hotel(), saga::testing::cancelled())).await.unwrap();
    service.submit(Come::Input(hotel(), saga::testing::cancelled())).await.unwrap();
    assert_eq!(status(&store, hotel()), Status::Running, "it completes first");
    live(&service, "", "guide").await;
    assert_eq!((status(&store, hotel()), status(&store, cancel_hotel())), (Status::Completed, Status::Completed));
}

#[tokio::test]
async fn a_completed_saga_is_cancelled_by_the_one_that_its_definition_names() {
    let (store, service) = lived("").await;
    service.submit(Come::Input(hotel(), saga::testing::cancelled())).await.unwrap();
    service.submit(Come::Input(hotel(), saga::testing::cancelled())).await.unwrap();
    live(&service, "", "").await;
    assert_eq!(told(&store, cancel_hotel()).len(), 4);
}

#[tokio::test]
async fn a_parent_that_asks_again_starts_nothing_twice() {
    let store = store();
    let service = Service::over(&store, 1, library());
    service.start().await;
    live(&service, "", "deposit").await;
    let before = told(&store, hotel()).len();
    service.store.advance(Duration::from_secs(25 * 3_600));
    for _ in 0..2 {
        service.submit(Come::Wake(SAGA)).await.unwrap();
        service.store.advance(Duration::from_secs(60));
    }
    let asked = told(&store, SAGA).into_iter().filter(|event| event == "ChildRequested hotel").count();
    assert_eq!((asked, told(&store, hotel()).len()), (2, before));
}

#[test]
fn a_library_refuses_sagas_that_cannot_be_run_or_undone() {
    use saga::LibraryError;
    let parent =
        |child: &'static str| saga::<Orders>("parent", 1).compensatable("step", run(child, nights)).build().unwrap();
    let child = || saga::<Orders>("child", 1).pivot("pay", ask(word)).build().unwrap();
    let missing = Library::new([parent("child")]).unwrap_err();
    assert_eq!(missing, LibraryError::Missing { by: "parent v1".to_owned(), name: "child" });
    let stuck = Library::new([parent("child"), child()]).unwrap_err();
    assert_eq!(stuck, LibraryError::NoWayBack { by: "parent v1".to_owned(), step: "step".into(), name: "child" });
    let undoable = || saga::<Orders>("child", 1).compensatable("seat", ask(word).undo(word)).build().unwrap();
    let over = Library::new([parent("child"), undoable()]).unwrap_err();
    assert!(matches!(over, LibraryError::NoWayBack { .. }), "what is completed undoes nothing: {over}");
    let endless = Library::new([parent("parent")]).unwrap_err();
    assert_eq!(endless, LibraryError::Endless { name: "parent".to_owned() });
}
