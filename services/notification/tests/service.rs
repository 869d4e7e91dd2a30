//! The whole service over real servers: a saga asks, is answered, mails lie in the folder, clients see it.

#![expect(clippy::unwrap_used, reason = "a test fails where it stands")]

use std::path::Path;
use std::time::Duration;

use async_nats::jetstream::consumer::pull;
use chassis::broker::Broker;
use chassis::config::{Env, Secret};
use chassis::envelope::{Incoming, Outgoing, seal_repeat};
use chassis::health::Health;
use chassis::service::Surroundings;
use chassis::shutdown::Shutdown;
use chrono::DateTime;
use eventstore::{Actor, Cause, derived_id};
use farmera_local::{DatabaseSpec, Servers, TestServers};
use farmera_proto::notification::v1::notification::State;
use farmera_proto::notification::v1::notification_service_client::NotificationServiceClient;
use farmera_proto::notification::v1::{ListNotificationsRequest, WatchNotificationsRequest};
use futures::StreamExt as _;
use sqlx::postgres::PgPool;
use tokio::task::JoinSet;
use tokio::time::timeout;
use uuid::Uuid;

const ORDER: Uuid = Uuid::from_u128(0x0199_0000_0001_7000_8000_0000_0000_0001);
const SAGA: Uuid = Uuid::from_u128(0x0199_0000_0001_7000_8000_0000_0000_0002);
const PATIENCE: Duration = Duration::from_secs(20);

fn servers() -> Servers {
    let database = DatabaseSpec::new("notification", "notification_owner", "notification_service");
    TestServers::start(|options| options.databases.push(database)).unwrap()
}

async fn migrate(servers: &Servers) {
    let pool = PgPool::connect(&servers.owner_url("notification").unwrap()).await.unwrap();
    eventstore_postgres::MIGRATOR.run(&pool).await.unwrap();
    notification::migrator().run(&pool).await.unwrap();
    pool.close().await;
}

fn request(order: Uuid, causation: u128) -> (Outgoing, Cause) {
    let body = format!(
        r#"{{"sagaId":"{SAGA}","orderId":"{order}","kind":"KIND_ORDER_COMPLETED","email":"ana@example.org",
            "lines":[{{"productName":"Eggs","quantity":2,"farmId":"f","farmName":"Hill","farmEmail":"hill@example.org"}}],
            "total":{{"currencyCode":"EUR","minorUnits":"1250"}}}}"#
    );
    let outgoing = Outgoing {
        subject: notification::messages::REQUESTED,
        message_type: "farmera.orders.v1.NotificationRequested",
        body: body.into_bytes(),
    };
    let actor = Actor::new("service:orders");
    (outgoing, Cause { correlation: SAGA, causation: Uuid::from_u128(causation), trace: None, actor })
}

async fn ask(broker: &Broker, order: Uuid, causation: u128) {
    let (outgoing, cause) = request(order, causation);
    let sealed = seal_repeat("/farmera/orders", outgoing, "saga/1", DateTime::default(), &cause);
    let published = broker.jetstream.publish_with_headers(sealed.subject, sealed.headers(), sealed.body.into());
    published.await.unwrap().await.unwrap();
}

async fn answers(broker: &Broker) -> pull::Stream {
    broker.ensure_stream("FARMERA_NOTIFICATION").await.unwrap();
    let stream = broker.jetstream.get_stream("FARMERA_NOTIFICATION").await.unwrap();
    let consumer = stream.create_consumer(pull::Config::default()).await.unwrap();
    consumer.messages().await.unwrap()
}

async fn next(answers: &mut pull::Stream) -> Incoming {
    let message = timeout(PATIENCE, answers.next()).await.unwrap().unwrap().unwrap();
    message.ack().await.unwrap();
    Incoming::open(&message.subject, message.headers.as_ref().unwrap(), &message.payload).unwrap()
}

fn mails(folder: &Path) -> usize {
    let files = std::fs::read_dir(folder).unwrap();
    let text: String = files.map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap()).collect();
    text.matches("\nMessage-ID:").count()
}

async fn connected(servers: &Servers) -> Broker {
    let component = Health::new().component("test");
    let broker = Broker::connect("test", &Secret::new(servers.nats_url()), component).await.unwrap();
    broker.client.flush().await.unwrap();
    broker
}

#[tokio::test(flavor = "multi_thread")]
async fn a_saga_is_answered_at_once_and_again_and_everybody_is_told_once() {
    let servers = tokio::task::spawn_blocking(servers).await.unwrap();
    migrate(&servers).await;
    let folder = tempfile::tempdir().unwrap();
    let env = Env::default()
        .with("FARMERA_DATABASE_URL", servers.service_url("notification").unwrap())
        .with("FARMERA_NATS_URL", servers.nats_url())
        .with("FARMERA_MAILBOX_DIR", folder.path().to_str().unwrap());
    let config = notification::Config::from_env(&env).unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (trigger, shutdown) = Shutdown::new();
    let around = Surroundings { health: Health::new(), shutdown };
    let mut tasks = JoinSet::new();
    tasks.spawn(notification::run(config, listener, around));

    let mut client = NotificationServiceClient::new(chassis::grpc::channel(&url).unwrap());
    let watch = WatchNotificationsRequest { subject_id: ORDER.to_string() };
    let mut watched = client.watch_notifications(watch).await.unwrap().into_inner();
    let broker = connected(&servers).await;
    broker.ensure_stream("FARMERA_ORDERS").await.unwrap();
    let mut answered = answers(&broker).await;

    ask(&broker, ORDER, 1).await;
    let accepted = next(&mut answered).await;
    assert_eq!(accepted.subject, "farmera.notification.notification_accepted");
    assert_eq!(accepted.correlation, SAGA);
    let delivered = next(&mut answered).await;
    assert_eq!(delivered.subject, "farmera.notification.notification_delivered");
    ask(&broker, ORDER, 2).await;
    let repeated = next(&mut answered).await;
    assert_eq!((&repeated.subject, &repeated.body), (&accepted.subject, &accepted.body));
    assert_eq!(mails(folder.path()), 2);

    for expected in [State::Accepted, State::Delivered] {
        let told = timeout(PATIENCE, watched.next()).await.unwrap().unwrap().unwrap();
        assert_eq!(told.notification.unwrap().state(), expected);
    }

    ask(&broker, derived_id(ORDER, "another"), 3).await;
    next(&mut answered).await;
    next(&mut answered).await;
    let listed = timeout(PATIENCE, async {
        loop {
            let first =
                client.list_notifications(ListNotificationsRequest { page_size: 1, ..Default::default() }).await;
            let first = first.unwrap().into_inner();
            if !first.next_page_token.is_empty() && first.notifications[0].state() == State::Delivered {
                break first;
            }
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
    assert_eq!(listed.notifications[0].recipients, ["ana@example.org", "hill@example.org"]);
    let rest = ListNotificationsRequest { page_size: 1, page_token: listed.next_page_token, ..Default::default() };
    let rest = client.list_notifications(rest).await.unwrap().into_inner();
    assert_eq!((rest.notifications.len(), rest.next_page_token.as_str()), (1, ""));
    let one = ListNotificationsRequest { subject_id: ORDER.to_string(), ..Default::default() };
    let one = client.list_notifications(one).await.unwrap().into_inner();
    assert_eq!(one.notifications[0].id, derived_id(ORDER, "order_completed").to_string());

    trigger.trigger();
    let ended = timeout(PATIENCE, watched.next()).await.unwrap().unwrap().unwrap_err();
    assert_eq!(ended.code(), tonic::Code::Unavailable);
    drop(client);
    assert!(timeout(PATIENCE, tasks.join_next()).await.unwrap().unwrap().unwrap().unwrap(), "drained");
}
