//! The relay of a database that was put back to an older state, over a real Postgres and a real nats-server.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::sync::Arc;

use chassis::transport::{LostEvent, lost, verify};
use eventstore_postgres::{PostgresStore, StoreOptions};
use support::{SPEC, STREAM, World, while_postgres_is_down};

async fn lost_of(world: &World) -> Vec<LostEvent> {
    let broker = world.broker().await;
    broker.client.flush().await.unwrap();
    lost(STREAM, &world.store(), &broker).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_told_and_is_lost_stops_the_relay_until_another_history_begins() {
    let world = World::new().await;
    let copies = tempfile::tempdir().unwrap();
    let copy = Arc::new(copies.path().join("postgres"));
    let mut replica = world.replica().await;
    for step in 0..8 {
        world.tell(&replica, step % 4).await;
    }
    world.settled().await;
    replica.kill().await;
    let to = Arc::clone(&copy);
    while_postgres_is_down(&world.servers, move |servers| servers.copy_postgres_data(&to).unwrap()).await;
    let before = world.held().await.events();

    // A message goes out again, under other ids of the broker: nothing is lost.
    assert_eq!(lost_of(&world).await, []);
    replica = world.replica().await;
    for step in 0..6 {
        world.tell(&replica, step % 2).await;
    }
    let told = world.settled().await.events() - before;
    while_postgres_is_down(&world.servers, move |servers| servers.restore_postgres_data(&copy).unwrap()).await;
    replica.ended().await;
    let lost = lost_of(&world).await;
    assert_eq!(lost.len(), told);
    assert!(lost.iter().all(|event| event.version > 2), "{lost:?}");
    world.replica().await.ended().await;

    let owner = world.servers.owner_url("orchard").unwrap();
    PostgresStore::connect(&StoreOptions::new(owner)).unwrap().begin_history("a test").await.unwrap();
    assert_eq!(lost_of(&world).await, []);
    world.rewind(0, 2);
    world.rewind(1, 2);
    replica = world.replica().await;
    for step in 0..6 {
        world.tell(&replica, step % 2).await;
    }
    world.settled().await;
    replica.kill().await;
    let broker = world.broker().await;
    broker.client.flush().await.unwrap();
    let report = verify(SPEC, &world.store(), &broker, &mut |_, _, _| {}).await.unwrap();
    assert!(report.is_sound(), "{report:?}");
    assert_eq!((report.told, report.abandoned), ((before + told) as u64, told as u64), "{report:?}");
}
