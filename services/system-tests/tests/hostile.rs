//! A hostile publisher: what it repeats changes nothing, what it contradicts holds up nobody else.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::jetstream::consumer::{PullConsumer, pull};
use async_nats::jetstream::{self, consumer};
use farmera::clients::Clients;
use farmera_proto::orders::v1 as orders;
use farmera_proto::orders::v1::order::State;
use farmera_proto::saga::v1 as saga;
use futures::StreamExt as _;
use support::{catalogue, end_of, id, invariants_hold, order_of, place, stack};
use tokio::time::{Instant, sleep};

const STREAMS: [&str; 4] = ["FARMERA_ORDERS", "FARMERA_PRODUCTS", "FARMERA_PAYMENT", "FARMERA_NOTIFICATION"];
const QUIET_LIMIT: Duration = Duration::from_secs(60);

/// Everything that travels and has travelled, oldest first.
async fn history(jetstream: &jetstream::Context, stream: &str) -> Vec<jetstream::Message> {
    let mut stream = jetstream.get_stream(stream).await.unwrap();
    let count = usize::try_from(stream.info().await.unwrap().state.messages).unwrap();
    let config = pull::Config { ack_policy: consumer::AckPolicy::None, ..pull::Config::default() };
    let reader: PullConsumer = stream.create_consumer(config).await.unwrap();
    let messages = reader.messages().await.unwrap();
    messages.take(count).map(Result::unwrap).collect().await
}

/// Publishes a message under a name that the broker has not seen.
async fn publish(jetstream: &jetstream::Context, subject: &str, headers: HeaderMap, body: &[u8]) {
    let mut headers = headers;
    headers.insert(async_nats::header::NATS_MESSAGE_ID, id());
    let published = jetstream.publish_with_headers(subject.to_owned(), headers, body.to_vec().into());
    published.await.unwrap().await.unwrap();
}

/// The message under an id of its own and with other attributes.
fn forged(message: &jetstream::Message, attributes: &[(&str, String)]) -> Vec<u8> {
    let mut event: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(&message.payload).unwrap();
    for (name, value) in attributes.iter().chain([&("id", id())]) {
        assert!(event.insert((*name).to_owned(), value.as_str().into()).is_some(), "{name}");
    }
    serde_json::to_vec(&event).unwrap()
}

/// Waits until every durable consumer has had every message, and given none back.
async fn quiet(jetstream: &jetstream::Context) {
    let end = Instant::now() + QUIET_LIMIT;
    loop {
        let mut left = Vec::new();
        for stream in STREAMS {
            let stream = jetstream.get_stream(stream).await.unwrap();
            let mut consumers = stream.consumers();
            while let Some(info) = consumers.next().await {
                let info = info.unwrap();
                if info.config.durable_name.is_some() && (info.num_pending > 0 || info.num_ack_pending > 0) {
                    left.push((info.name, info.num_pending, info.num_ack_pending));
                }
            }
        }
        if left.is_empty() {
            return;
        }
        assert!(Instant::now() < end, "{left:?}");
        sleep(Duration::from_millis(50)).await;
    }
}

/// Order and saga, versions and all.
async fn seen(clients: &Clients, order_id: &str) -> (orders::Order, saga::GetSagaResponse) {
    let asked = orders::GetOrderRequest { order_id: order_id.to_owned() };
    let order = clients.orders.clone().get_order(asked).await.unwrap().into_inner().order.unwrap();
    let asked = saga::GetSagaRequest { saga_id: order.saga_id.clone(), ..saga::GetSagaRequest::default() };
    let mut saga = clients.sagas.clone().get_saga(asked).await.unwrap().into_inner();
    // How long its steps usually take is not about this saga, and is counted by and by.
    for step in saga.stages.iter_mut().flat_map(|stage| &mut stage.steps) {
        step.usual = None;
    }
    (order, saga)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_whole_history_told_again_changes_nothing() {
    let stack = stack().await;
    let jetstream = jetstream::new(async_nats::connect(stack.servers().nats_url()).await.unwrap());
    let product = catalogue(&stack.clients).await.remove(0).id;
    let mut placed = Vec::new();
    for token in ["tok_success", "tok_declined", "tok_success"] {
        placed.push(place(&stack.clients, order_of(&product, 1, token)).await.unwrap().id);
    }
    for order in &placed {
        end_of(&stack.clients, order).await;
    }
    invariants_hold(&stack.clients).await;
    quiet(&jetstream).await;
    let stock = catalogue(&stack.clients).await;
    let mut before = Vec::new();
    for order in &placed {
        before.push(seen(&stack.clients, order).await);
    }

    for stream in STREAMS {
        for message in history(&jetstream, stream).await {
            let headers = message.headers.clone().unwrap_or_default();
            publish(&jetstream, &message.subject, headers, &message.payload).await;
        }
    }
    quiet(&jetstream).await;

    for (order, before) in placed.iter().zip(&before) {
        assert_eq!(&seen(&stack.clients, order).await, before);
    }
    assert_eq!(catalogue(&stack.clients).await, stock);
    invariants_hold(&stack.clients).await;
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn contradictions_hold_up_nobody_else() {
    let stack = stack().await;
    let jetstream = jetstream::new(async_nats::connect(stack.servers().nats_url()).await.unwrap());
    let product = catalogue(&stack.clients).await.remove(0).id;
    let order = place(&stack.clients, order_of(&product, 1, "tok_success")).await.unwrap().id;
    end_of(&stack.clients, &order).await;
    quiet(&jetstream).await;
    let before = seen(&stack.clients, &order).await;

    // The opposite of what was answered, and a step that was never asked for, under every appearance of being genuine.
    for answer in history(&jetstream, "FARMERA_PAYMENT").await {
        let headers = answer.headers.clone().unwrap_or_default();
        for (name, subject) in [("PaymentDeclined", "payment_declined"), ("PaymentRefunded", "payment_refunded")] {
            let forged = forged(&answer, &[("type", format!("farmera.payment.v1.{name}"))]);
            publish(&jetstream, &format!("farmera.payment.{subject}"), headers.clone(), &forged).await;
        }
    }
    // Another amount for the same payment, and another saga's answer.
    for request in history(&jetstream, "FARMERA_ORDERS").await {
        let headers = request.headers.clone().unwrap_or_default();
        let text = String::from_utf8(forged(&request, &[])).unwrap();
        if request.subject.as_str() == "farmera.orders.payment_authorization_requested" {
            let other = text.replace("\"minorUnits\":\"", "\"minorUnits\":\"9");
            assert_ne!(other, text);
            publish(&jetstream, &request.subject, headers, other.as_bytes()).await;
        }
    }
    for answer in history(&jetstream, "FARMERA_PRODUCTS").await {
        let headers = answer.headers.clone().unwrap_or_default();
        publish(&jetstream, &answer.subject, headers, &forged(&answer, &[("correlationid", id())])).await;
    }
    quiet(&jetstream).await;

    assert_eq!(seen(&stack.clients, &order).await, before);
    for _ in 0..5 {
        let other = place(&stack.clients, order_of(&product, 1, "tok_success")).await.unwrap();
        assert_eq!(end_of(&stack.clients, &other.id).await.state(), State::Completed);
    }
    invariants_hold(&stack.clients).await;
    stack.stop().await;
}
