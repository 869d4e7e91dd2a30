//! The durable consumer: declared here once, compared and repaired whenever a reactor opens it.

use std::time::Duration;

use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::consumer::{self, PullConsumer, pull};
use async_nats::jetstream::stream::{ConsumerError, ConsumerErrorKind};
use tracing::{info, warn};

use super::{ACK_WAIT, ConsumerSpec, FETCH_MAX, IN_WORK_MAX};
use crate::broker::Broker;

/// A durable consumer at the broker.
pub(super) type Durable = PullConsumer;

/// Messages that all replicas together may have in work.
pub(super) const UNACKNOWLEDGED_MAX: usize = 2 * IN_WORK_MAX;
const HEARTBEAT: Duration = Duration::from_secs(5);
const FETCH_EXPIRES: Duration = Duration::from_secs(30);
const REQUESTS_WAITING_MAX: i64 = 512;

/// Brings the consumer in line with its declaration. What cannot be changed is replaced: the new one begins with the
/// first message there is, and whatever was handled before is recognised by those who handle it.
///
/// # Errors
/// The broker does not answer or refuses; to be tried again.
pub(super) async fn ensure(spec: &ConsumerSpec, broker: &Broker) -> Result<Durable, String> {
    let (durable, stream) = (spec.durable, spec.stream);
    let wanted = declared(spec);
    let found = broker.jetstream.get_consumer_from_stream::<pull::Config, _, _>(durable, stream).await;
    match found {
        Ok(consumer) => {
            let drift = differences(&consumer.cached_info().config, &wanted);
            if drift.is_empty() {
                return Ok(consumer);
            }
            report(spec, &drift);
        }
        Err(error) if error.kind() == ConsumerErrorKind::InvalidConsumerType => report(spec, &["deliver_subject"]),
        Err(error) if is_unknown(&error) => info!(consumer = durable, "the consumer is created"),
        Err(error) => return Err(error.to_string()),
    }
    match broker.jetstream.create_consumer_on_stream(wanted.clone(), stream).await {
        Ok(consumer) if differences(&consumer.cached_info().config, &wanted).is_empty() => return Ok(consumer),
        // It cannot be brought in line as it is.
        Ok(_) => {}
        Err(error)
            if matches!(error.kind(), ConsumerErrorKind::JetStream(_) | ConsumerErrorKind::InvalidConsumerType) => {}
        Err(error) => return Err(error.to_string()),
    }
    warn!(consumer = durable, "the consumer cannot be changed to what is declared and is replaced");
    broker.jetstream.delete_consumer_from_stream(durable, stream).await.map_err(|error| error.to_string())?;
    let created = broker.jetstream.create_consumer_on_stream(wanted, stream).await;
    created.map_err(|error| error.to_string())
}

/// Opens the way in.
///
/// # Errors
/// The broker does not answer; to be tried again.
pub(super) async fn messages(consumer: &Durable) -> Result<pull::Stream, String> {
    let stream = consumer.stream().max_messages_per_batch(FETCH_MAX).expires(FETCH_EXPIRES).heartbeat(HEARTBEAT);
    stream.messages().await.map_err(|error| error.to_string())
}

fn declared(spec: &ConsumerSpec) -> pull::Config {
    pull::Config {
        durable_name: Some(spec.durable.to_owned()),
        ack_policy: consumer::AckPolicy::Explicit,
        ack_wait: ACK_WAIT,
        deliver_policy: consumer::DeliverPolicy::All,
        filter_subjects: spec.subjects.iter().map(|subject| (*subject).to_owned()).collect(),
        max_ack_pending: UNACKNOWLEDGED_MAX as i64,
        max_deliver: -1,
        max_waiting: REQUESTS_WAITING_MAX,
        ..pull::Config::default()
    }
}

/// The fields in which a consumer is not what is declared. Everything that decides which messages come, when, how often,
/// and to whom.
fn differences(found: &consumer::Config, wanted: &pull::Config) -> Vec<&'static str> {
    let mut subjects = found.filter_subjects.clone();
    subjects.extend(Some(found.filter_subject.clone()).filter(|subject| !subject.is_empty()));
    subjects.sort_unstable();
    let mut wanted_subjects = wanted.filter_subjects.clone();
    wanted_subjects.sort_unstable();
    let fields = [
        ("deliver_subject", found.deliver_subject.is_some()),
        ("ack_policy", found.ack_policy != wanted.ack_policy),
        ("ack_wait", found.ack_wait != wanted.ack_wait),
        ("deliver_policy", found.deliver_policy != wanted.deliver_policy),
        ("filter_subjects", subjects != wanted_subjects),
        ("max_ack_pending", found.max_ack_pending != wanted.max_ack_pending),
        ("max_deliver", found.max_deliver != wanted.max_deliver),
        ("max_waiting", found.max_waiting != wanted.max_waiting),
        ("backoff", found.backoff != wanted.backoff),
        ("replay_policy", found.replay_policy != wanted.replay_policy),
        ("rate_limit_bps", found.rate_limit != wanted.rate_limit),
        ("headers_only", found.headers_only != wanted.headers_only),
        ("max_batch", found.max_batch != wanted.max_batch),
        ("max_bytes", found.max_bytes != wanted.max_bytes),
        ("max_expires", found.max_expires != wanted.max_expires),
        ("inactive_threshold", found.inactive_threshold != wanted.inactive_threshold),
        ("mem_storage", found.memory_storage != wanted.memory_storage),
        ("priority_groups", found.priority_groups != wanted.priority_groups),
        ("pause_until", found.pause_until != wanted.pause_until),
    ];
    fields.into_iter().filter_map(|(name, differs)| differs.then_some(name)).collect()
}

fn report(spec: &ConsumerSpec, drift: &[&'static str]) {
    warn!(consumer = spec.durable, ?drift, "the consumer is not what is declared and is repaired");
    metrics::counter!("farmera_consumer_drift_total", "consumer" => spec.durable).increment(1);
}

fn is_unknown(error: &ConsumerError) -> bool {
    matches!(error.kind(), ConsumerErrorKind::JetStream(error) if error.error_code() == ErrorCode::CONSUMER_NOT_FOUND)
}
