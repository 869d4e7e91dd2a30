//! Making a stream of the broker anew, as an operation: the cure for one that keeps a fault.
//!
//! A nats-server whose disk was full goes on answering nothing for some streams after there is room again; what it holds
//! can be read, looks and changes of the stream succeed, and a purge fails like a message. A stream that is deleted and
//! made anew stores. The log is the truth: the relay makes the stream, notices that it is another one, and tells again
//! whatever some consumer may not have handled ([`crate::transport::memory`]).

use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::context::{DeleteStreamError, DeleteStreamErrorKind};
use chrono::{DateTime, Utc};
use eventstore::Transport;
use farmera_proto::saga::v1 as pb;
use pb::act::Kind;
use tokio::time::{sleep, timeout};
use tonic::Status;

use super::{Acts, Became, Foreseen, Item, Job, Later, Mandate, only, unreadable};
use crate::broker::Broker;
use crate::problem::{self, Violations};
use crate::relay::RelaySpec;

/// A relay looks every 5 s.
const NOTICED_LIMIT: Duration = Duration::from_secs(30);
const GLANCE_INTERVAL: Duration = Duration::from_millis(250);

/// Acts on the broker's stream itself.
pub struct StreamActs {
    /// What this service tells the world.
    pub spec: RelaySpec,
    /// Its log.
    pub store: Arc<dyn Transport>,
    /// Where the stream is.
    pub broker: Broker,
    /// Whose: `orders.farmera.dev`.
    pub domain: &'static str,
}

#[async_trait::async_trait]
impl Acts for StreamActs {
    fn include(&self, kind: Kind) -> bool {
        kind == Kind::RenewTransport
    }

    async fn foresee(
        &self,
        act: &pb::Act,
        selection: &pb::Selection,
        _mandate: &Mandate,
        _now: DateTime<Utc>,
    ) -> Result<Foreseen, Status> {
        let mut violations = Violations::new();
        only(&mut violations, selection, &pb::Selection::default(), "the service's own stream");
        if act.event_range.is_some() {
            violations.add("act.event_range", "is nothing that a stream is made anew with: all of it is");
        }
        violations.finish(self.domain)?;
        let epoch = self.epoch().await.map_err(|error| unreadable(self.domain, error))?;
        let found = self.broker.ensure_stream(self.spec.stream).await;
        let found = found.map_err(|error| problem::unavailable(self.domain, error.to_string()))?;
        let event = format!(
            "the stream is deleted with its {} messages and made anew, with the settings that it has; whatever some \
             consumer may not have handled is told again; the rest is in the log: transport rebuild",
            found.cached_info().state.messages
        );
        let item = pb::PlanItem {
            id: self.spec.stream.to_owned(),
            version: epoch.into(),
            events: vec![event],
            ..pb::PlanItem::default()
        };
        Ok(Foreseen { items: vec![item], repeated_requests: 0 })
    }

    fn select(&self, _items: &[pb::PlanItem]) -> pb::Selection {
        pb::Selection::default()
    }

    async fn carry_out(&self, _job: Job<'_>, items: &[Item]) -> Vec<Became> {
        let mut became = Vec::with_capacity(items.len());
        for item in items {
            became.push(self.renew(u64::try_from(item.version).unwrap_or_default()).await);
        }
        became
    }
}

impl StreamActs {
    /// Deletes the stream if no relay has noticed yet that it is another one than in epoch `planned`, and waits until one
    /// does. Whoever dies in between is followed by one who deletes a stream that is new: nothing is lost by that.
    async fn renew(&self, planned: u64) -> Became {
        let later = |error: &dyn std::error::Error| Later(error.to_string());
        if u64::from(self.epoch().await.map_err(|error| later(&error))?) > planned {
            return Ok(None);
        }
        let found = self.broker.ensure_stream(self.spec.stream).await.map_err(|error| later(&error))?;
        let config = found.cached_info().config.clone();
        match self.broker.jetstream.delete_stream(self.spec.stream).await {
            Ok(_) => {}
            Err(error) if is_unknown(&error) => {} // somebody was faster
            Err(error) => return Err(later(&error)),
        }
        // What an operator has set stays, also where a relay was faster.
        self.broker.jetstream.create_or_update_stream(config).await.map_err(|error| later(&error))?;
        let noticed = async {
            while self.epoch().await.is_ok_and(|epoch| u64::from(epoch) <= planned) {
                sleep(GLANCE_INTERVAL).await;
            }
            self.epoch().await
        };
        match timeout(NOTICED_LIMIT, noticed).await {
            Ok(Ok(_)) => Ok(None),
            Ok(Err(error)) => Err(later(&error)),
            Err(_) => Err(Later("no relay has noticed yet that the stream is another one".to_owned())),
        }
    }

    /// How often the broker was found to have lost something.
    async fn epoch(&self) -> Result<u32, eventstore::ReadError> {
        Ok(self.store.broker_mark(self.spec.stream).await?.map_or(0, |mark| mark.epoch))
    }
}

fn is_unknown(error: &DeleteStreamError) -> bool {
    let code = ErrorCode::STREAM_NOT_FOUND;
    matches!(error.kind(), DeleteStreamErrorKind::JetStream(answer) if answer.error_code() == code)
}
