//! The way in over a real nats-server: what cannot be handled is isolated, what is behind it keeps its order, and the
//! consumer is what is declared.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::jetstream::consumer::{self, DeliverPolicy, pull};
use chassis::broker::Broker;
use chassis::config::Secret;
use chassis::envelope::Incoming;
use chassis::health::Health;
use chassis::reactor::{self, ConsumerSpec, NotHandled, React};
use chassis::shutdown::{Shutdown, Trigger};
use eventstore::memory::MemoryStore;
use eventstore::{Commit, DeadLetter, DeadLetters as _, EventStore as _, LetterState, StoredDeadLetter};
use farmera_local::{Servers, TestServers};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use uuid::Uuid;

const PATIENCE: Duration = Duration::from_secs(60);
const STREAM: &str = "FARMERA_ORDERS";
const SUBJECT: &str = "farmera.orders.order_placed";
const TYPE: &str = "farmera.orders.v1.OrderPlaced";
const SPEC: ConsumerSpec = ConsumerSpec { stream: STREAM, durable: "test-orders", subjects: &[SUBJECT] };

/// Longer than a message may be in a process's hands without a word from it.
const BEYOND_ACK_WAIT: Duration = Duration::from_secs(14);
/// The first message that comes again after its process died has come by then.
const SECOND_HANDS: Duration = Duration::from_secs(20);

/// What is told after the broker has forgotten everything is heard by then: sooner than a subscription that is dead
/// notices by itself (two heartbeats, 10 s).
const BEFORE_THE_HEARTBEAT: Duration = Duration::from_secs(5);

/// Handles every message but those that say `poison`, and those only while it is not healed; what says `later` has to
/// come twice. What says `long` takes [`BEYOND_ACK_WAIT`].
struct Ear {
    store: Arc<MemoryStore>,
    heard: Mutex<Vec<String>>,
    healed: Mutex<bool>,
}

#[async_trait::async_trait]
impl React for Ear {
    async fn react(&self, message: Incoming) -> Result<(), NotHandled> {
        let said = String::from_utf8(message.body.to_vec()).unwrap();
        if said.contains("poison") && !*self.healed.lock().unwrap() {
            return Err(NotHandled::Poison("nobody can digest this".to_owned()));
        }
        if said.contains("stuck") && !*self.healed.lock().unwrap() {
            return Err(NotHandled::Later("the store is away".to_owned()));
        }
        if said.contains("stray") {
            return Err(NotHandled::Stray("nobody has asked".to_owned()));
        }
        let known = self.heard.lock().unwrap().contains(&said);
        self.heard.lock().unwrap().push(said.clone());
        if said.contains("later") && !known {
            return Err(NotHandled::Later("not now".to_owned()));
        }
        if said.contains("long") {
            sleep(BEYOND_ACK_WAIT).await;
        }
        Ok(())
    }

    async fn park(&self, letter: DeadLetter) -> Result<(), NotHandled> {
        let commit = Commit { dead_letters: vec![letter], ..Commit::default() };
        self.store.commit(commit).await.map(drop).map_err(|error| NotHandled::Later(error.to_string()))
    }
}

/// A server, a store, and a reactor between them.
struct World {
    servers: Servers,
    broker: Broker,
    store: Arc<MemoryStore>,
    ear: Arc<Ear>,
    health: Health,
    running: Option<(Trigger, JoinHandle<()>)>,
}

impl World {
    async fn new() -> Self {
        let start = || TestServers::start(|options| options.databases = vec![]);
        let servers = tokio::task::spawn_blocking(start).await.unwrap().unwrap();
        let url = Secret::new(servers.nats_url());
        let broker = Broker::connect("test", &url, Health::new().component("test")).await.unwrap();
        broker.client.flush().await.unwrap();
        broker.ensure_stream(STREAM).await.unwrap();
        let store = Arc::new(MemoryStore::new(chrono::DateTime::UNIX_EPOCH));
        let ear = Ear { store: Arc::clone(&store), heard: Mutex::default(), healed: Mutex::default() };
        Self { servers, broker, store, ear: Arc::new(ear), health: Health::new(), running: None }
    }

    #[expect(clippy::disallowed_methods, reason = "the test ends what it starts")]
    fn start(&mut self) {
        let (trigger, shutdown) = Shutdown::new();
        let (ear, store, broker) = (self.ear.clone(), self.store.clone(), self.broker.clone());
        let component = self.health.component("ear");
        self.running = Some((trigger, tokio::spawn(reactor::run(SPEC, broker, store, ear, component, shutdown))));
    }

    async fn stop(&mut self) {
        if let Some((trigger, running)) = self.running.take() {
            trigger.trigger();
            timeout(PATIENCE, running).await.unwrap().unwrap();
        }
    }

    async fn publish(&self, headers: HeaderMap, body: impl Into<Vec<u8>>) {
        let body: Vec<u8> = body.into();
        self.broker.jetstream.publish_with_headers(SUBJECT, headers, body.into()).await.unwrap().await.unwrap();
    }

    /// A sound message of one order.
    async fn tell(&self, order: u128, said: &str) {
        self.publish(envelope(order, said), said).await;
    }

    /// These events in one message.
    async fn tell_together(&self, events: &[String]) {
        let mut headers = HeaderMap::new();
        headers.insert("content-type", "application/cloudevents-batch+json");
        self.publish(headers, format!("[{}]", events.join(","))).await;
    }

    fn heard(&self) -> Vec<String> {
        self.ear.heard.lock().unwrap().clone()
    }

    async fn letters(&self) -> Vec<StoredDeadLetter> {
        self.store.dead_letters(0, 1_000).await.unwrap()
    }

    /// Waits until something is true.
    async fn until(&self, what: &str, holds: impl AsyncFn(&Self) -> bool) {
        let end = Instant::now() + PATIENCE;
        while !holds(self).await {
            assert!(Instant::now() < end, "{what}: heard {:?}, letters {:#?}", self.heard(), self.letters().await);
            sleep(Duration::from_millis(20)).await;
        }
    }

    async fn hears(&self, said: &str) {
        self.until(said, async |world| world.heard().iter().any(|heard| heard == said)).await;
    }

    async fn keeps(&self, count: usize) {
        self.until("letters", async |world| world.letters().await.len() == count).await;
    }
}

fn order(number: u128) -> Uuid {
    Uuid::from_u128(0x0199_0000_0001_7000_8000_0000_0000_0000 + number)
}

fn envelope(number: u128, said: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert("ce-specversion", "1.0");
    headers.insert("ce-id", Uuid::new_v5(&order(number), said.as_bytes()).to_string());
    headers.insert("ce-source", "/farmera/orders");
    headers.insert("ce-type", TYPE);
    headers.insert("ce-subject", format!("order/{}", order(number)));
    headers.insert("ce-correlationid", order(number).to_string());
    headers.insert("ce-causationid", order(number).to_string());
    headers
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_overtakes_a_message_that_nobody_can_handle_and_others_go_on() {
    let mut world = World::new().await;
    world.start();
    for said in ["a1", "a2 poison", "a3"] {
        world.tell(1, said).await;
    }
    world.tell(2, "b1").await;
    world.keeps(2).await;
    world.hears("b1").await;

    // A new process knows it, too.
    world.stop().await;
    world.start();
    world.tell(1, "a4").await;
    world.tell(2, "b2").await;
    world.keeps(3).await;
    world.hears("b2").await;
    assert_eq!(world.heard(), ["a1", "b1", "b2"]);

    // It fails again: its line waits.
    let first = world.letters().await.remove(0);
    assert_eq!(first.letter.key, Some(format!("order/{}", order(1))));
    assert!(world.store.ask_redrive(first.id, "ana").await.unwrap());
    world.until("it fails again", async |world| world.letters().await[0].attempts == 1).await;
    assert_eq!(world.heard(), ["a1", "b1", "b2"]);
    assert!(world.letters().await.iter().all(|stored| stored.state == LetterState::Waiting));

    // Healed, the line is handled in its order, and what comes then is not parked any more.
    *world.ear.healed.lock().unwrap() = true;
    assert!(world.store.ask_redrive(first.id, "ana").await.unwrap());
    world.hears("a4").await;
    world.tell(1, "a5").await;
    world.hears("a5").await;
    assert_eq!(world.heard(), ["a1", "b1", "b2", "a2 poison", "a3", "a4", "a5"]);
    world.keeps(3).await;
    world.stop().await;
}

/// A sound event of one order, as it stands in a body.
fn event(number: u128, said: &str) -> String {
    let (order, id) = (order(number), Uuid::new_v5(&order(number), said.as_bytes()));
    format!(
        r#"{{"specversion":"1.0","id":"{id}","source":"/farmera/orders","type":"{TYPE}","subject":"order/{order}","#
    ) + &format!(r#""correlationid":"{order}","causationid":"{order}","data":"{said}"}}"#)
}

#[tokio::test(flavor = "multi_thread")]
async fn each_event_of_a_batch_is_handled_as_if_it_had_come_alone() {
    let mut world = World::new().await;
    world.start();
    let poison = event(2, "b1 poison");
    let events = [event(1, "a1"), poison.clone(), "{\"id\":7}".to_owned(), event(3, "c1 later"), event(1, "a2")];
    world.tell_together(&events).await;
    world.tell_together(&[event(2, "b2"), event(4, "d1")]).await;
    world.until("all", async |world| world.letters().await.len() == 3 && world.heard().len() >= 7).await;

    // One could not be handled at once, so all came again; who handles them for real recognises them.
    let heard = world.heard();
    let count = |said: &str| heard.iter().filter(|heard| heard.contains(said)).count();
    assert_eq!(["a1", "b1", "c1", "a2", "b2", "d1"].map(count), [2, 0, 2, 2, 0, 1], "{heard:?}");
    assert!(heard.iter().position(|heard| heard.contains("a1")) < heard.iter().position(|heard| heard.contains("a2")));

    // What nobody can handle is kept by itself, in its line.
    let letters = world.letters().await;
    let kept = |body: &str| letters.iter().find(|stored| stored.letter.body == body.as_bytes()).unwrap();
    assert_eq!(kept(&poison).letter.key, Some(format!("order/{}", order(2))));
    assert_eq!(kept(&poison).letter.headers, r#"{"content-type":["application/cloudevents+json"]}"#);
    assert_eq!(kept(&event(2, "b2")).letter.key, kept(&poison).letter.key);
    assert_eq!(kept("{\"id\":7}").letter.key, None);
    *world.ear.healed.lock().unwrap() = true;
    assert!(world.store.ask_redrive(kept(&poison).id, "ana").await.unwrap());
    world.hears("\"b2\"").await;
    assert_eq!(world.heard()[heard.len()..], ["\"b1 poison\"", "\"b2\""]);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_stranger_publishes_blocks_nobody_and_is_kept_for_an_operator() {
    let mut world = World::new().await;
    world.start();
    let with = |name: &'static str, value: &str| {
        let mut headers = envelope(1, "forged");
        headers.insert(name, value);
        headers
    };
    world.publish(HeaderMap::new(), "no headers").await;
    world.publish(HeaderMap::new(), "no headers").await;
    world.publish(with("ce-id", "seven"), "no id").await;
    world.publish(with("ce-source", "/stranger"), "another source").await;
    world.publish(with("ce-type", "farmera.orders.v1.OrderCancelled"), "another type").await;
    world.publish(with("ce-subject", "whatever"), "poison without a key").await;
    world.publish(HeaderMap::new(), vec![b'x'; 1024 * 1024 - 200]).await;
    world.tell_together(&[]).await;
    world.tell_together(&vec![event(1, "one of too many"); 65]).await;
    world.tell(1, "stray").await;
    world.tell(1, "a1").await;
    world.hears("a1").await;
    world.keeps(9).await;
    let reasons: Vec<String> = world.letters().await.into_iter().map(|stored| stored.letter.reason).collect();
    for expected in [
        "attribute specversion is missing",
        "attribute id is \"seven\": expected a UUID",
        "it says that it is from \"/stranger\": FARMERA_ORDERS does not publish for others",
        "its type is \"farmera.orders.v1.OrderCancelled\": on farmera.orders.order_placed only farmera.orders.v1.OrderPlaced travels",
        "nobody can digest this",
        "nobody has asked",
        "the body is no CloudEvent: invalid length 0, expected an array of 1 to 64 events at line 1 column 2",
    ] {
        assert!(reasons.iter().any(|reason| reason == expected), "{expected}: {reasons:#?}");
    }
    assert!(world.letters().await.iter().all(|stored| stored.letter.key.is_none()));
    let blocked = world.store.blocked(SPEC.durable, 10).await.unwrap();
    assert_eq!((blocked.keys.len(), blocked.lines), (0, 9), "seen, and in nobody's way");

    // More than the broker takes does not even leave the publisher.
    let over = vec![b'x'; 2 * 1024 * 1024];
    let refused = world.broker.jetstream.publish_with_headers(SUBJECT, envelope(1, "huge"), over.into()).await;
    assert!(match refused {
        Err(_) => true,
        Ok(ack) => ack.await.is_err(),
    });
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_that_is_not_what_is_declared_is_repaired_or_replaced() {
    let mut world = World::new().await;
    let jetstream = world.broker.jetstream.clone();
    let config = pull::Config {
        durable_name: Some(SPEC.durable.to_owned()),
        ack_policy: consumer::AckPolicy::Explicit,
        filter_subject: "farmera.orders.order_failed".to_owned(),
        max_deliver: 3,
        max_ack_pending: 1,
        ..pull::Config::default()
    };
    let told = async |world: &World, said: &str| {
        world.tell(1, said).await;
        world.hears(said).await;
        let found = jetstream
            .get_consumer_from_stream::<pull::Config, _, _>(SPEC.durable, STREAM)
            .await
            .unwrap()
            .cached_info()
            .config
            .clone();
        assert_eq!((found.max_deliver, found.max_ack_pending), (-1, 4_096));
        assert_eq!(found.deliver_policy, DeliverPolicy::All);
        assert_eq!(found.filter_subjects, [SUBJECT]);
    };

    // What can be changed is changed.
    jetstream.create_consumer_on_stream(config.clone(), STREAM).await.unwrap();
    world.start();
    told(&world, "after a repair").await;

    // Somebody deletes it while it is in use.
    jetstream.delete_consumer_from_stream(SPEC.durable, STREAM).await.unwrap();
    told(&world, "after it was deleted").await;
    world.stop().await;

    // What cannot be changed is replaced, from the first message on.
    jetstream.delete_consumer_from_stream(SPEC.durable, STREAM).await.unwrap();
    let config = pull::Config { deliver_policy: DeliverPolicy::New, ..config };
    jetstream.create_consumer_on_stream(config, STREAM).await.unwrap();
    world.ear.heard.lock().unwrap().clear();
    world.start();
    world.hears("after a repair").await;
    told(&world, "after a replacement").await;

    // It was put to sleep: the watchdog sees that messages wait and none come, and the declaration has no pause.
    let until = chrono::DateTime::from_timestamp(4_000_000_000, 0).unwrap();
    jetstream.get_stream_no_info(STREAM).await.unwrap().pause_consumer(SPEC.durable, until).await.unwrap();
    told(&world, "after it was put to sleep").await;
    world.stop().await;
    world.servers.kill_nats();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_takes_long_is_not_given_to_somebody_else_and_what_a_dead_process_held_is() {
    let mut world = World::new().await;
    world.start();
    world.tell(1, "long work").await;
    world.hears("long work").await;
    world.tell(1, "after it").await;
    world.hears("after it").await;
    assert_eq!(world.heard(), ["long work", "after it"], "nobody was told twice");

    world.tell(2, "long work that is cut off").await;
    world.hears("long work that is cut off").await;
    let (_trigger, cut_off) = world.running.take().unwrap();
    cut_off.abort();
    let died = Instant::now();
    world.start();
    world
        .until("it comes again", async |world| {
            world.heard().iter().filter(|heard| heard.contains("cut off")).count() == 2
        })
        .await;
    assert!(died.elapsed() < SECOND_HANDS, "{:?}", died.elapsed());
    let (_trigger, second) = world.running.take().unwrap();
    second.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_has_forgotten_its_consumers_is_listened_to_again_at_once() {
    let mut world = World::new().await;
    world.start();
    world.tell(1, "before").await;
    world.hears("before").await;
    world.servers.kill_nats();
    world.servers.wipe_nats_store().unwrap();
    world.servers.start_nats().unwrap();
    let back = Instant::now();
    world.broker.client.flush().await.unwrap();
    world.broker.ensure_stream(STREAM).await.unwrap();
    world.tell(1, "after").await;
    world.hears("after").await;
    assert!(back.elapsed() < BEFORE_THE_HEARTBEAT, "{:?}", back.elapsed());

    // The connection stays, and somebody deletes the consumer.
    let deleted = Instant::now();
    world.broker.jetstream.delete_consumer_from_stream(SPEC.durable, STREAM).await.unwrap();
    world.tell(1, "after that").await;
    world.hears("after that").await;
    assert!(deleted.elapsed() < BEFORE_THE_HEARTBEAT, "{:?}", deleted.elapsed());
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_that_wait_while_none_is_handled_are_told_by_health_with_the_reason() {
    let mut world = World::new().await;
    world.start();
    world.tell(1, "first").await;
    world.hears("first").await;
    world.tell(2, "stuck").await;
    let part = |world: &World| world.health.part("ear").unwrap();
    world.until("health says so", async |world| !part(world).is_up()).await;
    let reason = part(&world).reason.unwrap();
    assert!(reason.starts_with("no message has been handled for 2"), "{reason}");
    assert!(reason.ends_with(" s, and 1 wait: the store is away"), "{reason}");

    *world.ear.healed.lock().unwrap() = true;
    world.until("it is well again", async |world| part(world).is_up()).await;
    assert_eq!(world.heard(), ["first", "stuck"]);
    world.stop().await;
}
