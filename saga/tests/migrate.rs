//! An open saga is bound to another version, because an operator says so and only where it fits.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a helper of tests may fail as a test does")]

use std::time::Duration;

use saga::testing::{World, done, rejected, started, tester};
use saga::{Builder, Definition, Facts, Input, Kind, Misfit, Process, Refusal, SagaEvent, Status, ask, local, saga};

#[derive(Clone, Debug, PartialEq)]
struct Trip;

impl Process for Trip {
    type Input = u32;
    type Request = String;
    type Output = u32;
}

fn word(_: &Facts<'_, Trip>) -> String {
    "please".to_owned()
}

fn both() -> saga::Ask<Trip> {
    ask(word).undo(word)
}

fn one() -> Definition<Trip> {
    let trip = saga::<Trip>("trip", 1).deadline(Duration::from_secs(600));
    built(trip.compensatable("seat", both()).compensatable("room", both()).pivot("pay", ask(word)))
}

fn built(builder: Builder<Trip>) -> Definition<Trip> {
    builder.build().unwrap()
}

fn two() -> Builder<Trip> {
    saga("trip", 2)
}

fn migrate(version: u32) -> Input<Trip> {
    Input::Migrate { version, reason: "the new way".to_owned(), actor: tester() }
}

/// What migrating a saga to `to` leads to, whose seat is booked and whose room is asked for.
fn refused(to: &Definition<Trip>) -> Refusal {
    let one = one();
    let mut world = World::new(&one);
    world.submit(started(1)).unwrap();
    world.submit(done("seat")).unwrap();
    world.successor = Some(to);
    world.submit(migrate(to.id().version)).unwrap_err()
}

fn misfit(to: &Definition<Trip>) -> Misfit {
    let refusal = refused(to);
    let Refusal::CannotMigrate { misfit, .. } = refusal else { panic!("{refusal}") };
    misfit
}

#[test]
fn a_migrated_saga_goes_on_by_the_new_version_and_says_who_wanted_it() {
    let (one, two) = (
        one(),
        built(
            two()
                .compensatable("seat", both())
                .compensatable("room", both())
                .compensatable("check", both())
                .pivot("pay", ask(word))
                .retriable("tell", ask(word)),
        ),
    );
    let mut world = World::new(&one);
    world.submit(started(1)).unwrap();
    world.submit(done("seat")).unwrap();
    world.successor = Some(&two);
    let events = world.submit(migrate(2)).unwrap();
    let by = (tester(), "the new way".to_owned());
    assert!(
        matches!(&events[..], [SagaEvent::Migrated { definition, binds: 3, actor, reason }] if definition == two.id() && (actor, reason) == (&by.0, &by.1)),
        "{events:?}"
    );
    let events = world.submit(done("room")).unwrap();
    assert_eq!(events.last().unwrap().to_string(), "StepRequested check");
    world.submit(rejected("check", "NO")).unwrap();
    assert_eq!(world.saga().status(), Status::Compensating, "and its way back is the new one");
}

#[test]
fn a_saga_that_is_undone_is_migrated_too() {
    let (one, two) = (one(), built(two().compensatable("seat", both()).compensatable("room", both())));
    let mut world = World::new(&one);
    world.submit(started(1)).unwrap();
    world.submit(rejected("seat", "NO")).unwrap();
    assert!(world.saga().is_ended());
    world.successor = Some(&two);
    assert!(matches!(world.submit(migrate(2)), Err(Refusal::Ended { .. })));
}

#[test]
fn a_version_that_does_not_fit_what_was_begun_is_refused_with_the_reason() {
    let step = |name: &'static str| saga::StepName::new(name);
    assert_eq!(misfit(&built(two().compensatable("seat", both()))), Misfit::StepMissing { step: step("room") });
    let swapped = built(two().compensatable("room", both()).compensatable("seat", both()));
    assert_eq!(misfit(&swapped), Misfit::OrderDiffers { step: step("seat") });
    let pivot = built(two().compensatable("seat", both()).pivot("room", ask(word)));
    let differs = Misfit::KindDiffers { step: step("room"), was: Kind::Compensatable, is: Kind::Pivot };
    assert_eq!(misfit(&pivot), differs);
    let grouped = built(two().in_parallel([saga::compensatable("seat", both()), saga::compensatable("room", both())]));
    assert_eq!(misfit(&grouped), Misfit::GroupDiffers { step: step("seat") });
    let awaited = built(
        two().compensatable("seat", saga::await_word(Duration::from_secs(9)).undo(word)).compensatable("room", both()),
    );
    assert_eq!(misfit(&awaited), Misfit::ActionDiffers { step: step("seat") });
    assert_eq!(misfit(&one()), Misfit::Same);
    let other = built(saga("other", 2).pivot("pay", local()));
    assert_eq!(misfit(&other), Misfit::Unknown);
}
