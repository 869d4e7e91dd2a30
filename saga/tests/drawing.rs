//! A definition draws itself, and a saga its progress on it.

#![expect(clippy::unwrap_used, reason = "a helper of tests may fail as a test does")]

use saga::testing::{World, done, rejected, started};
use saga::{Definition, Drawing, Facts, Process, ask, local, render, retriable, saga};

#[derive(Clone, Debug, PartialEq)]
struct Any;

impl Process for Any {
    type Input = u32;
    type Request = String;
    type Output = u32;
}

fn word(_: &Facts<'_, Any>) -> String {
    "please".to_owned()
}

fn trip() -> Definition<Any> {
    saga::<Any>("trip", 1)
        .compensatable("seat", ask(word).of("railway").undo(word))
        .compensatable("room", ask(word).undo(word))
        .pivot("pay", local())
        .in_parallel([retriable("ticket", ask(word)), retriable("bill", ask(word))])
        .build()
        .unwrap()
}

#[test]
fn a_definition_is_drawn_with_its_way_back_and_its_point_of_no_return() {
    assert_eq!(
        trip().to_mermaid(),
        r#"---
title: trip v1
---
flowchart LR
    start((start))
    seat["seat<br/>railway, within 10s, 10 times"]
    start --> seat
    room["room<br/>within 10s, 10 times"]
    seat --> room
    pay{{"pay<br/>local<br/>no way back"}}
    room --> pay
    ticket[["ticket<br/>within 10s, 10 times"]]
    pay --> ticket
    bill[["bill<br/>within 10s, 10 times"]]
    pay --> bill
    completed(((completed)))
    ticket --> completed
    bill --> completed
    compensated(((compensated)))
    undo-room(["undo room"])
    room -. undo .-> undo-room
    undo-seat(["undo seat"])
    seat -. undo .-> undo-seat
    undo-room --> undo-seat
    undo-seat --> compensated
"#
    );
}

#[test]
fn a_saga_is_drawn_on_its_definition() {
    let trip = trip();
    let mut world = World::new(&trip);
    world.submit(started(1)).unwrap();
    world.submit(done("seat")).unwrap();
    assert_eq!(
        render(&trip, Some(world.saga()), Drawing::Text),
        "trip v1: Running
  1 <-> seat    railway, within 10s, 10 times [done]
  2 <-> room    within 10s, 10 times [asked]
  3 =|= pay     local
  4 ==> ticket  within 10s, 10 times
  4 ==> bill    within 10s, 10 times
    <-> can be undone, --> needs no undoing, =|= no way back, ==> tried until it is done
"
    );
    world.submit(rejected("room", "FULL")).unwrap();
    let back = render(&trip, Some(world.saga()), Drawing::Mermaid);
    assert!(back.contains("class undo-seat asked") && back.contains("class room rejected"), "{back}");
    let dot = render(&trip, Some(world.saga()), Drawing::Dot);
    assert!(dot.contains(r#"label="undo seat\n[asked]""#) && dot.contains("peripheries=2"), "{dot}");
    assert_eq!(dot.matches('{').count(), dot.matches('}').count());
}
