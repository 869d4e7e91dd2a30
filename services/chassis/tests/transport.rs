//! Log and broker compared over real servers: what is wrong is seen, and what is missing is restored.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::sync::Arc;

use chassis::clock::Uuids;
use chassis::operations::plan::assemble;
use chassis::operations::range::RangeActs;
use chassis::operations::retell::TransportActs;
use chassis::operations::{Acts as _, Item, Job, Mandate, Told};
use chassis::transport::{Plan, Report, rebuild, verify};
use eventstore::{Actor, EventStore as _, IdSource as _};
use farmera_proto::saga::v1 as pb;
use support::{Held, SPEC, STREAM, World, while_nats_is_down};

async fn compared(world: &World) -> Report {
    verify(SPEC, &world.store(), &connected(world).await, &mut |_, _, _| {}).await.unwrap()
}

async fn connected(world: &World) -> chassis::broker::Broker {
    let broker = world.broker().await;
    broker.client.flush().await.unwrap();
    broker
}

async fn restored(world: &World) -> Report {
    let plan = |dry_run| Plan { from: None, dry_run, run: Uuids.next_id() };
    let (store, broker) = (world.store(), connected(world).await);
    let dry = rebuild(SPEC, &store, &broker, plan(true), &mut |_, _, _| {}).await.unwrap();
    assert_eq!((dry.told_again, dry.after), (0, None));
    let done = rebuild(SPEC, &store, &broker, plan(false), &mut |_, _, _| {}).await.unwrap();
    assert_eq!(done.told_again, dry.before.missing);
    done.after.unwrap()
}

/// Events of the last moment are told, and nobody repairs by itself from now on.
async fn quiet(world: &World, events: usize) -> Held {
    let replica = world.replica().await;
    for step in 0..events {
        world.tell(&replica, step % 5).await;
    }
    let held = world.settled().await;
    replica.kill().await;
    held
}

/// The same, each in a message of its own.
async fn quiet_one_by_one(world: &World, events: usize) -> Held {
    let replica = world.replica().await;
    for step in 0..events {
        world.tell(&replica, step % 5).await;
        world.settled().await;
    }
    replica.kill().await;
    world.held().await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_loss_is_seen_and_restored() {
    let world = World::new().await;
    let held = quiet(&world, 60).await;
    let sound = compared(&world).await;
    assert!(sound.is_sound() && sound.told == held.events() as u64, "{sound:?}");

    let copies = tempfile::tempdir().unwrap();
    let copy = Arc::new(copies.path().join("nats"));
    let to = Arc::clone(&copy);
    while_nats_is_down(&world.servers, move |servers| servers.copy_nats_store(&to).unwrap()).await;
    quiet(&world, 60).await;
    while_nats_is_down(&world.servers, move |servers| servers.restore_nats_store(&copy).unwrap()).await;
    assert_lost_and_restored(&world, "rolled back").await;

    while_nats_is_down(&world.servers, |servers| {
        servers.flip_nats_byte(STREAM, 4_000).unwrap();
    })
    .await;
    assert_lost_and_restored(&world, "a flipped byte").await;

    while_nats_is_down(&world.servers, |servers| servers.wipe_nats_store().unwrap()).await;
    assert_lost_and_restored(&world, "wiped").await;

    let jetstream = async_nats::jetstream::new(async_nats::connect(world.servers.nats_url()).await.unwrap());
    jetstream.get_stream(STREAM).await.unwrap().purge().await.unwrap();
    assert_lost_and_restored(&world, "purged").await;
    jetstream.delete_stream(STREAM).await.unwrap();
    assert_lost_and_restored(&world, "deleted").await;
}

async fn assert_lost_and_restored(world: &World, what: &str) {
    let lost = compared(world).await;
    assert!(lost.missing > 0 && lost.extra == 0, "{what}: {lost:?}");
    let after = restored(world).await;
    assert!(after.is_sound() && after.restored > 0, "{what}: {after:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_of_an_event_that_the_log_does_not_have_is_seen() {
    let world = World::new().await;
    quiet_one_by_one(&world, 10).await;
    let jetstream = async_nats::jetstream::new(async_nats::connect(world.servers.nats_url()).await.unwrap());
    let stream = jetstream.get_stream(STREAM).await.unwrap();
    let message = stream.get_raw_message(1).await.unwrap();
    let (mut headers, mut body) =
        (message.headers, serde_json::from_slice::<serde_json::Value>(&message.payload).unwrap());
    body["id"] = Uuids.next_id().to_string().into();
    headers.insert("Nats-Msg-Id", "a stranger's");
    let published = jetstream.publish_with_headers("farmera.orders.grown", headers, body.to_string().into());
    published.await.unwrap().await.unwrap();
    let report = compared(&world).await;
    assert!(!report.is_sound() && report.extra == 1 && report.missing == 0, "{report:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_missing_is_told_again_by_plan_and_a_plan_is_stale_once_something_else_is_missing() {
    let world = World::new().await;
    quiet_one_by_one(&world, 10).await;
    let store = Arc::new(world.store());
    let acts = TransportActs { spec: SPEC, store, broker: connected(&world).await, domain: "orchard" };
    let mandate = Mandate { actor: Actor::new("operator:ana"), reason: "a block was damaged".to_owned() };
    let act = pb::Act { kind: pb::act::Kind::RebuildTransport.into(), ..pb::Act::default() };
    let (nothing, now) = (pb::Selection::default(), chrono::DateTime::UNIX_EPOCH);
    let plan = async || {
        let foreseen = acts.foresee(&act, &nothing, &mandate, now).await.unwrap();
        assemble("orchard", act.clone(), &mandate, foreseen)
    };
    let sound = plan().await;
    assert_eq!((sound.effective, sound.refused), (0, 1), "{sound:?}");
    assert!(sound.items[0].refused.starts_with("the broker holds all"), "{sound:?}");

    let jetstream = async_nats::jetstream::new(async_nats::connect(world.servers.nats_url()).await.unwrap());
    let stream = jetstream.get_stream(STREAM).await.unwrap();
    stream.delete_message(2).await.unwrap();
    let one = plan().await;
    assert!(one.items[0].events[0].starts_with("1 events of the log are told again"), "{one:?}");
    assert!(acts.moved(&one, &mandate, now).await.unwrap().is_empty());
    stream.delete_message(3).await.unwrap();
    assert_eq!(acts.moved(&one, &mandate, now).await.unwrap(), [STREAM]);

    let two = plan().await;
    let operation = pb::Operation { act: Some(act.clone()), ..pb::Operation::default() };
    let progress = Told::default();
    let job = Job { operation: &operation, id: Uuids.next_id(), progress: &progress };
    let items = [Item { ordinal: 1, item: STREAM.to_owned(), version: 0 }];
    assert_eq!(acts.carry_out(job, &items).await, [Ok(None)]);
    assert_eq!(progress.last(), "2 told again, 0 missing");
    assert_eq!(acts.moved(&two, &mandate, now).await.unwrap(), [STREAM], "it was done");
    let something = pb::Selection { letter_ids: vec![7], ..pb::Selection::default() };
    assert!(acts.foresee(&act, &something, &mandate, now).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_missing_since_a_time_is_told_again_and_what_is_older_is_left_and_said() {
    let world = World::new().await;
    let older = quiet_one_by_one(&world, 10).await.events() as u64;
    let from = world.store().now().await.unwrap();
    quiet_one_by_one(&world, 10).await;
    let jetstream = async_nats::jetstream::new(async_nats::connect(world.servers.nats_url()).await.unwrap());
    let stream = jetstream.get_stream(STREAM).await.unwrap();
    stream.delete_message(2).await.unwrap();
    stream.delete_message(older + 2).await.unwrap();

    let store = Arc::new(world.store());
    let acts = TransportActs { spec: SPEC, store, broker: connected(&world).await, domain: "orchard" };
    let mandate = Mandate { actor: Actor::new("operator:ana"), reason: "a block was damaged".to_owned() };
    let (nothing, now) = (pb::Selection::default(), chrono::DateTime::UNIX_EPOCH);
    let of = |range: pb::EventRange| {
        let kind = pb::act::Kind::RebuildTransport.into();
        pb::Act { kind, event_range: Some(range), ..pb::Act::default() }
    };
    let act = of(pb::EventRange { from_time: Some(from.into()), ..pb::EventRange::default() });
    let foreseen = acts.foresee(&act, &nothing, &mandate, now).await.unwrap();
    let event = &foreseen.items[0].events[0];
    assert!(
        event.starts_with("1 events of the log since ")
            && event.ends_with("1 older ones are missing, too, and stay so"),
        "{event}"
    );
    let operation = pb::Operation { act: Some(act.clone()), ..pb::Operation::default() };
    let progress = Told::default();
    let job = Job { operation: &operation, id: Uuids.next_id(), progress: &progress };
    let items = [Item { ordinal: 1, item: STREAM.to_owned(), version: 0 }];
    assert_eq!(acts.carry_out(job, &items).await, [Ok(None)]);
    assert_eq!((progress.last().as_str(), compared(&world).await.missing), ("1 told again, 0 missing", 1));
    let after = acts.foresee(&act, &nothing, &mandate, now).await.unwrap();
    assert!(after.items[0].refused.starts_with("the broker lacks nothing that was told since "), "{after:?}");
    let subject = of(pb::EventRange { subject: "farmera.orders.>".to_owned(), ..pb::EventRange::default() });
    assert!(acts.foresee(&subject, &nothing, &mandate, now).await.is_err(), "a rebuild knows no subjects");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_range_is_told_again_under_the_events_own_ids_and_a_plan_is_stale_once_it_has_more_events() {
    let world = World::new().await;
    let held = quiet_one_by_one(&world, 10).await;
    let store = Arc::new(world.store());
    let acts = RangeActs { spec: SPEC, store, broker: connected(&world).await, domain: "orchard" };
    let mandate = Mandate { actor: Actor::new("operator:ana"), reason: "a receiver was away".to_owned() };
    let (nothing, now) = (pb::Selection::default(), chrono::DateTime::UNIX_EPOCH);
    let act = |subject: &str| {
        let event_range = Some(pb::EventRange { subject: subject.to_owned(), ..pb::EventRange::default() });
        pb::Act { kind: pb::act::Kind::TellAgain.into(), event_range, ..pb::Act::default() }
    };
    let foreseen = acts.foresee(&act("farmera.orders.>"), &nothing, &mandate, now).await.unwrap();
    let told = u32::try_from(held.events()).unwrap();
    assert_eq!(foreseen.repeated_requests, told, "whoever has handled them absorbs them");
    let plan = assemble("orchard", act("farmera.orders.>"), &mandate, foreseen);
    let events = &plan.items[0].events;
    assert!(events[0].starts_with(&format!("{told} of 10 events in the range")), "{events:?}");
    assert!(events[1].starts_with("first apple-") && events[2].starts_with("last apple-"), "{events:?}");
    assert!(acts.moved(&plan, &mandate, now).await.unwrap().is_empty());

    let operation = pb::Operation { act: plan.act.clone(), rate: 5_000, ..pb::Operation::default() };
    let progress = Told::default();
    let job = Job { operation: &operation, id: Uuids.next_id(), progress: &progress };
    let items = [Item { ordinal: 1, item: "farmera.orders.>".to_owned(), version: 0 }];
    assert_eq!(acts.carry_out(job, &items).await, [Ok(None)]);
    assert_eq!(progress.last(), format!("{told} of {told} messages told again"));
    let after = world.held().await;
    assert_eq!((after.events(), after.told), (held.events(), 2 * held.told));

    quiet(&world, 5).await;
    assert_eq!(acts.moved(&plan, &mandate, now).await.unwrap(), ["farmera.orders.>"]);
    let none = acts.foresee(&act("farmera.payment.>"), &nothing, &mandate, now).await.unwrap();
    assert!(none.items[0].refused.starts_with("none of the 15 events"), "{none:?}");
    let mut unknown = act("farmera.orders.>");
    unknown.event_range.as_mut().unwrap().category = "pear".to_owned();
    let unknown = acts.foresee(&unknown, &nothing, &mandate, now).await.unwrap_err();
    assert!(unknown.message().contains("there is apple"), "{unknown}");
}
