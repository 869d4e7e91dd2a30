//! How a relay says that it is, over a real Postgres and a real nats-server.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::{self, stream};
use chassis::clock::Uuids;
use chassis::health::Health;
use chassis::operations::plan::assemble;
use chassis::operations::renew::StreamActs;
use chassis::operations::{Acts as _, Item, Job, Mandate, Told};
use eventstore::{Actor, BrokerMark, IdSource as _, Transport as _, TxId};
use farmera_proto::saga::v1 as pb;
use sqlx::Connection as _;
use support::{SPEC, STREAM, World};

async fn change(world: &World, change: impl FnOnce(&mut stream::Config, u64)) {
    let jetstream = jetstream::new(async_nats::connect(world.servers.nats_url()).await.unwrap());
    let stream = jetstream.get_stream(STREAM).await.unwrap();
    let info = stream.cached_info();
    let mut config = info.config.clone();
    change(&mut config, info.state.bytes);
    jetstream.update_stream(config).await.unwrap();
}

/// Whatever waits has waited for a minute more.
async fn a_minute_passes(world: &World) {
    let mut owner = sqlx::PgConnection::connect(&world.servers.owner_url("orchard").unwrap()).await.unwrap();
    sqlx::raw_sql("update outbox set written_at = written_at - interval '1 minute'").execute(&mut owner).await.unwrap();
    owner.close().await.unwrap();
}

async fn until(health: &Health, what: &str, holds: impl Fn(&str) -> bool) -> String {
    let seen = tokio::time::timeout(Duration::from_secs(20), async {
        loop {
            let report = health.report();
            if holds(&report) {
                return report;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    match seen.await {
        Ok(report) => report,
        Err(_) => panic!("{what}: {}", health.report()),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_refuses_to_store_is_named_by_health_until_it_stores_again() {
    let world = World::new().await;
    let replica = world.replica().await;
    world.tell(&replica, 0).await;
    world.settled().await;
    until(&replica.health, "all is told", |report| report == "[+]relay ok\n").await;

    change(&world, |config, bytes| config.max_bytes = i64::try_from(bytes).unwrap()).await;
    for number in 0..3 {
        world.tell(&replica, number).await;
    }
    a_minute_passes(&world).await;
    let report = until(&replica.health, "nobody is told", |report| report.contains("wait to be told")).await;
    assert!(report.starts_with("[-]relay 3 transactions wait to be told, the oldest for 6"), "{report}");
    assert!(report.contains(&format!("stream {STREAM} refuses to store: maximum bytes exceeded")), "{report}");

    change(&world, |config, _| config.max_bytes = -1).await;
    until(&replica.health, "there is room", |report| report == "[+]relay ok\n").await;
    world.settled().await.assert_in_order();
    replica.kill().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_process_left_behind_is_told_by_the_health_of_those_that_are_there() {
    let world = World::new().await;
    let [gone, here] = [world.replica().await, world.replica().await];
    world.tell(&here, 0).await;
    world.settled().await;
    change(&world, |config, bytes| config.max_bytes = i64::try_from(bytes).unwrap()).await;
    world.commit(&gone, 1).await;
    gone.kill().await;
    a_minute_passes(&world).await;
    let report = until(&here.health, "the row of a dead process", |report| report.contains("to be told")).await;
    assert!(report.starts_with("[-]relay 1 transaction waits to be told, for 6"), "{report}");
    here.kill().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_to_be_told_again_waits_from_then_on_and_no_longer() {
    let world = World::new().await;
    let replica = world.replica().await;
    for number in 0..4 {
        world.tell(&replica, number).await;
    }
    world.settled().await;
    replica.kill().await;
    let store = world.store();
    assert_eq!(store.backlog().await.unwrap().oldest_at, None);

    let mark = store.broker_mark(STREAM).await.unwrap().unwrap();
    let next = BrokerMark { epoch: mark.epoch + 1, handled: TxId::default(), ..mark };
    assert!(store.begin_broker_epoch(STREAM, &next).await.unwrap());
    let backlog = store.backlog().await.unwrap();
    assert_eq!(backlog.transactions, 4);
    assert!(backlog.oldest_at.is_some() && backlog.age() < Duration::from_secs(30), "{backlog:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_was_edited_by_hand_is_put_right_while_running_and_what_is_the_operators_stays() {
    let world = World::new().await;
    let replica = world.replica().await;
    for number in 0..6 {
        world.tell(&replica, number).await;
    }
    world.settled().await;
    change(&world, |config, _| {
        config.discard = stream::DiscardPolicy::Old;
        (config.max_messages, config.max_bytes) = (3, 1 << 30);
        config.description = Some("ana's".to_owned());
    })
    .await;
    world.tell(&replica, 6).await;

    let jetstream = jetstream::new(async_nats::connect(world.servers.nats_url()).await.unwrap());
    let repaired = tokio::time::timeout(Duration::from_secs(20), async {
        loop {
            let config = jetstream.get_stream(STREAM).await.unwrap().cached_info().config.clone();
            if config.max_messages == -1 {
                return config;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
    let config = repaired.await.expect("it is noticed without a start");
    assert_eq!(config.discard, stream::DiscardPolicy::New);
    assert_eq!((config.max_bytes, config.description.as_deref()), (1 << 30, Some("ana's")));
    // What went meanwhile is told again.
    world.settled().await;
    until(&replica.health, "all is told", |report| report == "[+]relay ok\n").await;
    replica.kill().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_is_made_anew_by_plan_with_its_settings_and_what_it_held_is_told_again() {
    let world = World::new().await;
    let replica = world.replica().await;
    for number in 0..4 {
        world.tell(&replica, number).await;
    }
    world.settled().await;
    change(&world, |config, _| config.description = Some("ana's".to_owned())).await;
    let jetstream = jetstream::new(async_nats::connect(world.servers.nats_url()).await.unwrap());
    let created = async || jetstream.get_stream(STREAM).await.unwrap().cached_info().created;
    let before = created().await;
    // What is told at once travels together: four events are one to four messages.
    let held = jetstream.get_stream(STREAM).await.unwrap().cached_info().state.messages;

    let broker = world.broker().await;
    broker.client.flush().await.unwrap();
    let acts = StreamActs { spec: SPEC, store: Arc::new(world.store()), broker, domain: "orchard" };
    let mandate = Mandate { actor: Actor::new("operator:ana"), reason: "the disk was full".to_owned() };
    let act = pb::Act { kind: pb::act::Kind::RenewTransport.into(), ..pb::Act::default() };
    let (nothing, now) = (pb::Selection::default(), chrono::DateTime::UNIX_EPOCH);
    let foreseen = acts.foresee(&act, &nothing, &mandate, now).await.unwrap();
    let deleted = format!("the stream is deleted with its {held} messages");
    assert!(foreseen.items[0].events[0].starts_with(&deleted), "{foreseen:?}");
    let plan = assemble("orchard", act.clone(), &mandate, foreseen);
    let operation = pb::Operation { act: Some(act), ..pb::Operation::default() };
    let progress = Told::default();
    let items = [Item { ordinal: 1, item: STREAM.to_owned(), version: plan.items[0].version.try_into().unwrap() }];
    let job = || Job { operation: &operation, id: Uuids.next_id(), progress: &progress };
    assert_eq!(acts.carry_out(job(), &items).await, [Ok(None)]);

    let after = created().await;
    assert!(after > before);
    world.settled().await.assert_in_order();
    until(&replica.health, "all is told", |report| report == "[+]relay ok\n").await;
    let config = jetstream.get_stream(STREAM).await.unwrap().cached_info().config.clone();
    assert_eq!(config.description.as_deref(), Some("ana's"));
    assert_eq!(acts.moved(&plan, &mandate, now).await.unwrap(), [STREAM], "it was done");
    assert_eq!(acts.carry_out(job(), &items).await, [Ok(None)], "whoever follows one that died");
    assert_eq!(created().await, after, "does not do it again");
    replica.kill().await;
}
