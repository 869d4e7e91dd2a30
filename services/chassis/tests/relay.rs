//! The relay over a real Postgres and a real nats-server: order per event stream, and a broker that forgets.

mod support;

use std::sync::Arc;

use chassis::relay::UNACKNOWLEDGED_MAX;
use support::{STREAM, World, while_nats_is_down};

#[tokio::test(flavor = "multi_thread")]
async fn two_replicas_that_die_in_the_middle_tell_every_stream_in_order() {
    let world = World::new().await;
    let mut replicas = [world.replica().await, world.replica().await];
    for round in 0..6 {
        for step in 0..150_usize {
            let replica = &replicas[(step * 7 + round) % 2];
            let number = step % 4;
            if (step * 13 + round) % 11 == 0 {
                // It dies between the commit and the handing over.
                world.commit(replica, number).await;
            } else {
                world.tell(replica, number).await;
            }
            if round == 2 && step == 75 {
                while_nats_is_down(&world.servers, |_| {}).await;
            }
        }
        let new = world.replica().await;
        std::mem::replace(&mut replicas[round % 2], new).kill().await;
    }
    let held = world.settled().await;
    held.assert_in_order();
    assert_eq!(held.events(), 600, "900 events, a third of them nobody's business");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_go_at_the_same_time_goes_in_one_message_and_an_event_s_next_one_after_it() {
    let world = World::new().await;
    let died = world.replica().await;
    for number in (0..8).chain(0..8) {
        world.commit(&died, number).await;
    }
    died.kill().await;
    let swept = world.replica().await;
    let held = world.settled().await;
    held.assert_in_order();
    assert_eq!((held.events(), held.told), (16, 16));
    assert!(held.messages < 8, "{} messages for two events of eight streams", held.messages);
    swept.kill().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_travels_together_that_the_broker_takes_only_one_by_one() {
    let world = World::with_nats(&["max_payload: 4KB"]).await;
    let died = world.replica().await;
    for number in 0..8 {
        world.commit(&died, number).await;
    }
    died.kill().await;
    let swept = world.replica().await;
    let held = world.settled().await;
    assert_eq!((held.events(), held.messages), (8, 8));
    swept.kill().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_the_broker_forgets_is_told_again_within_its_window_of_de_duplication() {
    let world = World::new().await;
    let replica = world.replica().await;
    let tell = async |count: usize| {
        for step in 0..count {
            world.tell(&replica, step % 4).await;
        }
    };
    tell(60).await;
    world.settled().await.assert_in_order();

    while_nats_is_down(&world.servers, |servers| servers.wipe_nats_store().unwrap()).await;
    tell(12).await;
    world.settled().await;

    let copies = tempfile::tempdir().unwrap();
    let copy = Arc::new(copies.path().join("nats"));
    let to = Arc::clone(&copy);
    while_nats_is_down(&world.servers, move |servers| servers.copy_nats_store(&to).unwrap()).await;
    tell(24).await;
    world.settled().await;
    while_nats_is_down(&world.servers, move |servers| servers.restore_nats_store(&copy).unwrap()).await;
    world.settled().await;

    let jetstream = async_nats::jetstream::new(async_nats::connect(world.servers.nats_url()).await.unwrap());
    jetstream.get_stream(STREAM).await.unwrap().purge().await.unwrap();
    world.settled().await;

    jetstream.delete_stream(STREAM).await.unwrap();
    tell(12).await;
    world.settled().await.assert_in_order();
    replica.kill().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_away_under_load_costs_no_memory_and_no_message() {
    let world = World::new().await;
    let replica = world.replica().await;
    world.tell(&replica, 0).await;
    world.settled().await;
    world.servers.kill_nats();
    for step in 0..UNACKNOWLEDGED_MAX + 500 {
        world.tell(&replica, step % 8).await;
    }
    world.servers.start_nats().unwrap();
    world.settled().await.assert_in_order();
}
