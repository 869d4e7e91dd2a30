//! A trip: the engine and its laws outside the market.

use std::time::Duration;

use chrono::TimeDelta;
use saga::testing::{
    abandoned, cancelled, done, done_with, rejected, resumed, retried, skipped, started, undo_unknown, undone, unknown,
    woken,
};
use saga::{
    CompensationCause, Definition, DefinitionError, Facts, Process, Refusal, Rejection, RetryPolicy, Saga, SagaEvent,
    Status, StepName, Until, ask, compensatable, laws, local, pending, retriable, testing,
};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq)]
struct Travel;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Trip {
    to: String,
    days: u32,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Request {
    BookFlight { to: String },
    FreeFlight { seat: Option<String> },
    BookHotel { days: u32 },
    FreeHotel,
    BookCar,
    FreeCar,
    Pay { seat: String },
    SendTickets,
    TellHotel,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Output {
    Seat(String),
}

impl Process for Travel {
    type Input = Trip;
    type Request = Request;
    type Output = Output;
}

fn seat(facts: &Facts<'_, Travel>) -> Option<String> {
    facts.output("flight").map(|Output::Seat(seat)| seat.clone())
}
fn flight(facts: &Facts<'_, Travel>) -> Request {
    Request::BookFlight { to: facts.input().to.clone() }
}
fn free_flight(facts: &Facts<'_, Travel>) -> Request {
    Request::FreeFlight { seat: seat(facts) }
}
fn hotel(facts: &Facts<'_, Travel>) -> Request {
    Request::BookHotel { days: facts.input().days }
}
fn pay(facts: &Facts<'_, Travel>) -> Request {
    Request::Pay { seat: seat(facts).unwrap_or_default() }
}

const TWICE: RetryPolicy = RetryPolicy::new(2, Duration::from_millis(100), Duration::from_secs(1));

/// Every kind of thing a definition can have.
fn trip() -> Result<Definition<Travel>, DefinitionError> {
    saga::saga::<Travel>("trip", 1)
        .compensatable(
            "flight",
            ask(flight).undo(free_flight).within(Duration::from_secs(5)).retry(TWICE).undo_retry(TWICE),
        )
        .in_parallel([
            compensatable("hotel", ask(hotel).undo(|_| Request::FreeHotel).retry(TWICE).undo_retry(TWICE)),
            compensatable("car", ask(|_| Request::BookCar).undo(|_| Request::FreeCar).retry(TWICE).undo_retry(TWICE)),
        ])
        .pivot("pay", ask(pay).retry(TWICE))
        .in_parallel([
            retriable("tickets", ask(|_| Request::SendTickets).retry(TWICE)),
            retriable("tell-hotel", ask(|_| Request::TellHotel).retry(TWICE)),
        ])
        .retriable("file", local())
        .build()
}

fn lisbon() -> Trip {
    Trip { to: "Lisbon".to_owned(), days: 3 }
}

fn output(step: &str) -> Option<Output> {
    (step == "flight").then(|| Output::Seat("12A".to_owned()))
}

#[test]
fn every_definition_keeps_the_laws() {
    let once = RetryPolicy::new(1, Duration::from_millis(1), Duration::from_millis(1));
    let two_undos = saga::saga::<Travel>("two", 1)
        .compensatable("flight", ask(flight).undo(free_flight).retry(once).undo_retry(once))
        .compensatable("hotel", ask(hotel).undo(|_| Request::FreeHotel))
        .build();
    let local_pivot = saga::saga::<Travel>("local-pivot", 1)
        .compensatable("flight", ask(flight).undo(free_flight))
        .pivot("confirm", local())
        .retriable("tickets", ask(|_| Request::SendTickets).retry(once))
        .build();
    let forward_only = saga::saga::<Travel>("forward-only", 1)
        .retriable("tickets", ask(|_| Request::SendTickets))
        .in_parallel([retriable("file", local()), retriable("tell-hotel", ask(|_| Request::TellHotel))])
        .build();
    let only_local = saga::saga::<Travel>("only-local", 1).retriable("file", local()).build();
    for definition in [trip(), two_undos, local_pivot, forward_only, only_local] {
        let definition = definition.unwrap();
        laws::all(&laws::Sample { definition: &definition, input: lisbon(), output });
    }
}

#[test]
fn a_refused_step_undoes_what_is_done_or_unknown_in_reverse() {
    testing::saga(&trip().unwrap())
        .given([started(lisbon()), done_with("flight", Output::Seat("12A".to_owned()))])
        .when(rejected("hotel", "FULL"))
        .then(["StepRejected hotel", "CompensationStarted", "CompensationRequested car"])
        .and_is(Status::Compensating);
}

#[test]
fn a_group_is_undone_in_parallel_and_the_stage_before_it_waits() {
    let trip = trip().unwrap();
    let undoing = testing::saga(&trip).given([
        started(lisbon()),
        done("flight"),
        done("hotel"),
        done("car"),
        rejected("pay", "NO"),
    ]);
    undoing.clone().when(undone("car")).then(["CompensationSucceeded car"]);
    undoing
        .given([undone("car")])
        .when(undone("hotel"))
        .then(["CompensationSucceeded hotel", "CompensationRequested flight"]);
}

#[test]
fn a_saga_ends_compensated_and_tells_why() {
    let trip = trip().unwrap();
    let world = testing::saga(&trip)
        .given([started(lisbon()), rejected("flight", "STORM")])
        .when(woken())
        .then([])
        .and_is(Status::Compensated)
        .world();
    let cause = CompensationCause::Rejected {
        step: StepName::new("flight"),
        rejection: Rejection::new("STORM", "refused by the test"),
    };
    assert_eq!(world.saga().cause(), Some(&cause));
}

#[test]
fn a_stage_begins_when_all_steps_of_the_one_before_are_done() {
    let trip = trip().unwrap();
    let booked = testing::saga(&trip).given([started(lisbon()), done("flight")]);
    booked.clone().when(done("car")).then(["StepSucceeded car"]);
    booked.given([done("car")]).when(done("hotel")).then(["StepSucceeded hotel", "StepRequested pay"]);
}

#[test]
fn local_steps_are_done_in_the_decision_that_reaches_them() {
    testing::saga(&trip().unwrap())
        .given([started(lisbon()), done("flight"), done("hotel"), done("car"), done("pay"), done("tickets")])
        .when(done("tell-hotel"))
        .then(["StepSucceeded tell-hotel", "StepSucceeded file", "SagaCompleted"])
        .and_is(Status::Completed);
}

#[test]
fn no_answer_in_time_is_unknown_and_asked_again_with_the_same_request() {
    let trip = trip().unwrap();
    let given = testing::saga(&trip).given([started(lisbon())]);
    given.clone().when(woken()).then(["StepUnknown flight"]).and_is(Status::Running);
    let world = given.given([woken()]).when(woken()).then(["StepRequested flight"]).world();
    let requests: Vec<_> = world.history().filter_map(request).collect();
    assert_eq!(requests, [(1, Request::BookFlight { to: "Lisbon".to_owned() }), (2, requests[0].1.clone())]);
}

fn request(event: &SagaEvent<Travel>) -> Option<(u32, Request)> {
    if let SagaEvent::StepRequested { attempt, request, .. } = event {
        Some((*attempt, (**request).clone()))
    } else {
        None
    }
}

#[test]
fn an_unknown_step_is_undone_when_its_policy_is_used_up() {
    testing::saga(&trip().unwrap()).given([started(lisbon()), woken(), woken()]).when(unknown("flight")).then([
        "StepUnknown flight",
        "CompensationStarted",
        "CompensationRequested flight",
    ]);
}

#[test]
fn a_pivot_nobody_answers_for_is_parked_and_never_undone() {
    let trip = trip().unwrap();
    let paying = testing::saga(&trip).given([started(lisbon()), done("flight"), done("hotel"), done("car")]);
    let parked = paying.given([unknown("pay"), woken()]);
    let parked = parked.clone().when(unknown("pay")).then(["StepUnknown pay", "SagaParked pay"]).and_is(Status::Parked);
    assert_eq!(parked.world().saga().next_wake(), None);
}

#[test]
fn a_parked_pivot_still_takes_a_definite_answer() {
    let trip = trip().unwrap();
    let before =
        [started(lisbon()), done("flight"), done("hotel"), done("car"), unknown("pay"), woken(), unknown("pay")];
    let parked = testing::saga(&trip).given(before);
    parked.clone().when(done("pay")).then(["StepSucceeded pay", "StepRequested tickets", "StepRequested tell-hotel"]);
    parked.when(rejected("pay", "NO")).then([
        "StepRejected pay",
        "CompensationStarted",
        "CompensationRequested hotel",
        "CompensationRequested car",
    ]);
}

#[test]
fn a_refused_retriable_step_is_parked_while_its_neighbour_goes_on() {
    let trip = trip().unwrap();
    let paid = [started(lisbon()), done("flight"), done("hotel"), done("car"), done("pay")];
    let parked = testing::saga(&trip).given(paid).given([rejected("tickets", "NO_PAPER")]);
    parked.clone().when(rejected("tickets", "NO_PAPER")).then([]).and_is(Status::Parked);
    parked.clone().when(woken()).then(["StepUnknown tell-hotel"]);
    parked.given([done("tell-hotel")]).when(resumed()).then(["SagaResumed", "StepRequested tickets"]);
}

#[test]
fn resuming_counts_attempts_on_and_renews_the_policy() {
    let trip = trip().unwrap();
    let paid = [started(lisbon()), done("flight"), done("hotel"), done("car"), done("pay"), done("tell-hotel")];
    let world = testing::saga(&trip)
        .given(paid)
        .given([unknown("tickets"), woken(), unknown("tickets"), resumed(), unknown("tickets"), woken()])
        .when(unknown("tickets"))
        .then(["StepUnknown tickets", "SagaParked tickets"])
        .world();
    let attempts: Vec<_> = world.history().filter_map(request).filter(|(_, r)| *r == Request::SendTickets).collect();
    assert_eq!(attempts.into_iter().map(|(attempt, _)| attempt).collect::<Vec<_>>(), [1, 2, 3, 4]);
}

#[test]
fn cancelling_undoes_what_is_in_flight() {
    testing::saga(&trip().unwrap()).given([started(lisbon())]).when(cancelled()).then([
        "CancelRequested",
        "CompensationStarted",
        "CompensationRequested flight",
    ]);
}

#[test]
fn cancelling_is_refused_at_and_behind_the_pivot_and_on_the_way_back() {
    let trip = trip().unwrap();
    let paying = testing::saga(&trip).given([started(lisbon()), done("flight"), done("hotel"), done("car")]);
    paying.clone().when(cancelled()).then_refused(&Refusal::AtPivot { pivot: StepName::new("pay") });
    paying.clone().given([done("pay")]).when(cancelled()).then_refused(&Refusal::PastNoReturn);
    paying.given([rejected("pay", "NO")]).when(cancelled()).then_refused(&Refusal::Compensating);
    testing::saga(&trip).when(cancelled()).then_refused(&Refusal::NotStarted);
}

#[test]
fn an_undo_without_an_answer_is_parked_and_resumed() {
    let trip = trip().unwrap();
    let parked = testing::saga(&trip).given([
        started(lisbon()),
        cancelled(),
        undo_unknown("flight"),
        woken(),
        undo_unknown("flight"),
    ]);
    parked.clone().when(woken()).then([]).and_is(Status::Parked);
    parked.clone().when(undone("flight")).then(["CompensationSucceeded flight", "SagaCompensated"]);
    parked.when(resumed()).then(["SagaResumed", "CompensationRequested flight"]).and_is(Status::Compensating);
}

#[test]
fn abandoning_undoes_nothing_and_records_what_is_owed() {
    let trip = trip().unwrap();
    let then = testing::saga(&trip)
        .given([started(lisbon()), done("flight"), rejected("hotel", "FULL"), undone("car")])
        .when(abandoned());
    let owed = vec![StepName::new("flight")];
    let (actor, reason) = (testing::tester(), "settled by hand".to_owned());
    let world = then.then_events([SagaEvent::Abandoned { actor, reason, owed }]).and_is(Status::Abandoned).world();
    assert_eq!(pending(world.saga()).wake, None);
}

#[test]
fn what_an_abandoned_saga_owes_is_owed_until_it_is_undone_or_seen_to() {
    let trip = trip().unwrap();
    let seat = done_with("flight", Output::Seat("12A".to_owned()));
    let abandoned = testing::saga(&trip).given([started(lisbon()), seat, done("hotel"), abandoned()]);
    abandoned.clone().when(retried("pay")).then_refused(&Refusal::NotSought { step: StepName::new("pay") });
    let asked = abandoned.clone().when(retried("flight")).then(["StepRetried flight", "CompensationRequested flight"]);
    let asked = asked.and_is(Status::Abandoned).world();
    assert_eq!(pending(asked.saga()).wake, None, "what is over stays over");
    let seat = Request::FreeFlight { seat: Some("12A".to_owned()) };
    assert!(
        matches!(asked.history().last(), Some(SagaEvent::CompensationRequested { request, .. }) if **request == seat)
    );
    let asked = abandoned.given([retried("flight"), undo_unknown("flight"), retried("flight")]);
    let undone = asked.clone().when(undone("flight")).then(["CompensationSucceeded flight"]).world();
    let owed = |saga: &Saga<Travel>| match saga {
        Saga::Ended(ended) => ended.owed().to_vec(),
        Saga::NotStarted | Saga::Running(_) | Saga::Compensating(_) => panic!("it is over"),
    };
    assert!(!owed(undone.saga()).contains(&StepName::new("flight")), "{:?}", owed(undone.saga()));
    assert!(owed(undone.saga()).contains(&StepName::new("hotel")), "{:?}", owed(undone.saga()));
    let seen_to = asked.given([skipped("flight")]);
    seen_to.clone().when(skipped("flight")).then_refused(&Refusal::NotSought { step: StepName::new("flight") });
    let seen_to = seen_to.when(skipped("hotel")).then(["StepSkipped hotel"]).and_is(Status::Abandoned).world();
    assert_eq!(owed(seen_to.saga()), [StepName::new("car")]);
}

#[test]
fn a_saga_that_was_undone_can_be_told_to_undo_a_step_once_more() {
    let trip = trip().unwrap();
    let undone_trip = testing::saga(&trip).given([started(lisbon()), rejected("flight", "STORM")]);
    let refusal = Refusal::Ended { status: Status::Compensated };
    undone_trip.clone().when(skipped("flight")).then_refused(&refusal);
    let again = undone_trip.given([retried("flight")]);
    again.clone().when(undone("flight")).then(["CompensationSucceeded flight"]).and_is(Status::Compensated);
    again.given([undone("flight")]).when(undone("flight")).then([]).and_is(Status::Compensated);
}

#[test]
fn an_ended_saga_refuses_commands_and_absorbs_messages() {
    let trip = trip().unwrap();
    let ended = testing::saga(&trip).given([started(lisbon()), rejected("flight", "STORM")]);
    for command in [cancelled(), resumed(), abandoned()] {
        ended.clone().when(command).then_refused(&Refusal::Ended { status: Status::Compensated });
    }
    for message in [done("flight"), unknown("flight"), undone("flight"), undo_unknown("flight"), woken()] {
        ended.clone().when(message).then([]);
    }
}

#[test]
fn starting_twice_is_starting_once_and_other_facts_are_refused() {
    let trip = trip().unwrap();
    let begun = testing::saga(&trip).given([started(lisbon())]);
    begun.clone().when(started(lisbon())).then([]);
    let definition = trip.id().clone();
    begun
        .when(started(Trip { to: "Porto".to_owned(), days: 3 }))
        .then_refused(&Refusal::StartedOtherwise { definition });
}

#[test]
fn a_saga_is_decided_by_its_own_definition_only() {
    let (mine, other) = (trip().unwrap(), saga::saga::<Travel>("trip", 2).retriable("file", local()).build().unwrap());
    let world = testing::saga(&mine).given([started(lisbon())]).when(woken()).world();
    let refused = saga::decide(&other, world.saga_id, world.saga(), done("flight"), world.now);
    assert_eq!(
        refused,
        Err(Refusal::OtherDefinition { pinned: Box::new(mine.id().clone()), offered: Box::new(other.id().clone()) })
    );
}

#[test]
fn a_step_sees_what_the_steps_before_it_reported() {
    let trip = trip().unwrap();
    let to_pay = testing::saga(&trip)
        .given([started(lisbon()), done_with("flight", Output::Seat("12A".to_owned())), done("hotel")])
        .when(done("car"))
        .world();
    assert_eq!(to_pay.history().filter_map(request).last(), Some((1, Request::Pay { seat: "12A".to_owned() })));
}

#[test]
fn what_a_saga_waits_for_is_told_by_step() {
    let trip = trip().unwrap();
    let world = testing::saga(&trip).given([started(lisbon()), done("flight")]).when(unknown("car")).world();
    let wanted: Vec<_> = pending(world.saga()).wanted.into_iter().map(|wanted| (wanted.step, wanted.until)).collect();
    let hotel = Until::Deadline(testing::DAWN + TimeDelta::seconds(10));
    assert_eq!(wanted.first(), Some(&(StepName::new("hotel"), hotel)));
    let retry = pending(world.saga()).wake.unwrap() - testing::DAWN;
    assert!(retry >= TimeDelta::milliseconds(50) && retry <= TimeDelta::milliseconds(100), "{retry}");
}
