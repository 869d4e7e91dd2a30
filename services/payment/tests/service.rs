//! The whole service: messages in from JetStream, answers out, questions by gRPC.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests may panic, too")]

use std::time::Duration;

use chassis::broker::Broker;
use chassis::config::{Env, Secret};
use chassis::envelope::{Incoming, Outgoing, seal_repeat};
use chassis::health::Health;
use chassis::service::Surroundings;
use chassis::shutdown::Shutdown;
use chrono::DateTime;
use eventstore::{Actor, Cause};
use farmera_local::TestServers;
use farmera_proto::common::v1::Money;
use farmera_proto::payment::v1::payment_query_service_client::PaymentQueryServiceClient;
use farmera_proto::payment::v1::payment_service_client::PaymentServiceClient;
use farmera_proto::{orders::v1 as orders, payment::v1 as pb};
use futures::StreamExt as _;
use sqlx::postgres::PgPoolOptions;
use tokio::net::TcpListener;
use tokio::time::timeout;
use uuid::Uuid;

/// A database with all tables; its address and the broker's.
async fn servers() -> (String, String) {
    let servers = tokio::task::spawn_blocking(|| TestServers::shared().expect("the test servers start"));
    let servers = servers.await.unwrap();
    let admin = PgPoolOptions::new().max_connections(1).connect(&servers.admin_url()).await.unwrap();
    sqlx::query("create database payment_service").execute(&admin).await.unwrap();
    let (address, _) = servers.admin_url().rsplit_once('/').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
    let url = format!("{address}/payment_service");
    let pool = PgPoolOptions::new().max_connections(1).connect(&url).await.unwrap();
    eventstore_postgres::MIGRATOR.run(&pool).await.unwrap();
    payment::migrator().run(&pool).await.unwrap();
    (url, servers.nats_url())
}

fn body(token: &str, order_id: Uuid, payment_id: Uuid) -> Vec<u8> {
    let requested = orders::PaymentAuthorizationRequested {
        saga_id: order_id.to_string(),
        order_id: order_id.to_string(),
        payment_id: payment_id.to_string(),
        customer_id: Uuid::from_u128(3).to_string(),
        amount: Some(Money { currency_code: "EUR".to_owned(), minor_units: 1250 }),
        payment_token: token.to_owned(),
    };
    serde_json::to_vec(&requested).unwrap()
}

struct Orders {
    broker: Broker,
    answers: async_nats::Subscriber,
    saga_id: Uuid,
    asked: u128,
}

impl Orders {
    /// Asks, and waits for the answer.
    async fn ask(&mut self, subject: &'static str, body: Vec<u8>) -> Incoming {
        self.asked += 1;
        let causation = Uuid::from_u128(1_000 + self.asked);
        let cause = Cause { correlation: self.saga_id, causation, trace: None, actor: Actor::new("test") };
        let (message_type, _) = farmera_proto::events::ALL.iter().find(|(_, known)| *known == subject).unwrap();
        let outgoing = Outgoing { subject, message_type, body };
        let message = eventstore::derived_id(causation, outgoing.message_type);
        let sealed = seal_repeat("/farmera/orders", outgoing, "saga/1", DateTime::default(), &cause);
        let published = self.broker.jetstream.publish_with_headers(subject, sealed.headers(), sealed.body.into());
        published.await.unwrap().await.unwrap();
        timeout(Duration::from_secs(20), self.answer_to(message)).await.expect("an answer")
    }

    /// Every message may come twice, so those that answer older questions are passed over.
    async fn answer_to(&mut self, question: Uuid) -> Incoming {
        loop {
            let message = self.answers.next().await.unwrap();
            let headers = message.headers.unwrap_or_default();
            let answer = Incoming::open(&message.subject, &headers, &message.payload).unwrap();
            if answer.causation == question {
                return answer;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_paid_for_and_whoever_asks_is_told() {
    let (database_url, nats_url) = servers().await;
    let env = Env::default().with("FARMERA_PAYMENT__DATABASE_URL", &database_url).with("FARMERA_NATS_URL", &nats_url);
    let env = env.with("FARMERA_PAYMENT__SANDBOX", "true");
    let config = payment::Config::from_env(&env).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let (trigger, shutdown) = Shutdown::new();
    let health = Health::new();
    let around = Surroundings { health: health.clone(), shutdown };
    let mut running = tokio::task::JoinSet::new();
    running.spawn(async move { payment::run(config, listener, around).await.unwrap() });

    let broker = Broker::connect("test", &Secret::new(nats_url), Health::new().component("test")).await.unwrap();
    while broker.ensure_stream("FARMERA_ORDERS").await.is_err() {
        tokio::task::yield_now().await;
    }
    let answers = broker.client.subscribe("farmera.payment.>").await.unwrap();
    let (order_id, payment_id) = (Uuid::from_u128(1), Uuid::from_u128(2));
    let mut orders = Orders { broker, answers, saga_id: order_id, asked: 0 };

    let requested = "farmera.orders.payment_authorization_requested";
    let answer = orders.ask(requested, body("tok_flaky", order_id, payment_id)).await;
    assert_eq!((answer.subject.as_str(), answer.correlation), ("farmera.payment.payment_authorized", order_id));
    let told: pb::PaymentAuthorized = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!((told.payment_id, told.amount.unwrap().minor_units), (payment_id.to_string(), 1250));

    let again = orders.ask(requested, body("tok_flaky", order_id, payment_id)).await;
    assert_eq!((again.subject, again.body), (answer.subject, answer.body));

    let capture = orders::PaymentCaptureRequested {
        saga_id: order_id.to_string(),
        order_id: order_id.to_string(),
        payment_id: payment_id.to_string(),
    };
    let answer = orders.ask("farmera.orders.payment_capture_requested", serde_json::to_vec(&capture).unwrap()).await;
    assert_eq!(answer.subject, "farmera.payment.payment_captured");

    let mut edge = PaymentServiceClient::connect(address.clone()).await.unwrap();
    let asked = pb::GetPaymentRequest { payment_id: payment_id.to_string() };
    let payment = edge.get_payment(asked).await.unwrap().into_inner().payment.unwrap();
    assert_eq!((payment.state(), payment.version), (pb::payment::State::Captured, 4));
    let unknown = edge.get_payment(pb::GetPaymentRequest { payment_id: Uuid::from_u128(9).to_string() }).await;
    assert_eq!(unknown.unwrap_err().code(), tonic::Code::NotFound);

    let report = health.report();
    assert!(report.contains("[+]payment/provider (SANDBOX: no money moves) ok\n"), "{report}");

    let mut queries = PaymentQueryServiceClient::connect(address).await.unwrap();
    let books = queries.list_provider_charges(pb::ListProviderChargesRequest::default()).await.unwrap().into_inner();
    assert_eq!(books.charges.len(), 1);
    assert!(books.charges.iter().all(|charge| charge.status == "captured" && charge.requests == 4));

    trigger.trigger();
    drop((edge, queries));
    assert!(timeout(Duration::from_secs(15), running.join_next()).await.unwrap().unwrap().unwrap());
}
