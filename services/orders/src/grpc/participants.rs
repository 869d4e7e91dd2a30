//! The participants of sagas, asked for what they know of one.

use std::time::Duration;

use eventstore::Aggregate as _;
use farmera_proto::saga::v1 as pb;
use farmera_proto::saga::v1::correlation_query_service_client::CorrelationQueryServiceClient;
use futures::future::join_all;
use saga::Saga;
use tokio::time::timeout;
use tonic::Status;
use tonic::transport::Channel;
use tracing::warn;
use uuid::Uuid;

use crate::sagas::OrderProcess;

/// A participant may take this long; whoever is later is missing.
const DEADLINE: Duration = Duration::from_secs(3);
/// The last of the messages by which a question was put, in one request.
const MESSAGES_MAX: usize = 64;

type Client = CorrelationQueryServiceClient<Channel>;

/// The participants of sagas, each asked for its own log.
#[derive(Clone)]
pub struct Participants([(&'static str, Client); 3]);

impl Participants {
    /// Over these channels.
    #[must_use]
    pub fn new(products: Channel, payment: Channel, notification: Channel) -> Self {
        let named = [("products", products), ("payment", payment), ("notification", notification)];
        let bytes_max = chassis::grpc::MESSAGE_BYTES_MAX;
        Self(named.map(|(name, channel)| (name, Client::new(channel).max_decoding_message_size(bytes_max))))
    }

    /// What each of them did for a saga that is about these; of whoever does not answer, or not with everything, the
    /// name is told, too.
    pub(super) async fn events(&self, saga_id: Uuid, subjects: &[Uuid]) -> (Vec<pb::Event>, Vec<String>) {
        let asked = self.0.iter().map(|(name, client)| async move {
            let request = pb::ListCorrelatedEventsRequest {
                correlation_id: saga_id.to_string(),
                subject_ids: subjects.iter().map(Uuid::to_string).collect(),
            };
            let mut client = client.clone();
            let answer = timeout(DEADLINE, client.list_correlated_events(request)).await;
            (*name, answer.unwrap_or_else(|_| Err(Status::deadline_exceeded("no answer in time"))))
        });
        let (mut events, mut missing) = (Vec::new(), Vec::new());
        for (name, answer) in join_all(asked).await {
            match answer.map(tonic::Response::into_inner) {
                Ok(told) => {
                    events.extend(told.events);
                    missing.extend(told.has_more.then(|| name.to_owned()));
                }
                Err(why) => {
                    warn!(service = name, error = &why as &dyn std::error::Error, "a participant cannot be asked");
                    missing.push(name.to_owned());
                }
            }
        }
        (events, missing)
    }

    /// How far a question of a saga that is about these has come at `participant`; `None` when nobody of that name can
    /// be asked.
    pub(super) async fn locate(
        &self,
        participant: &str,
        saga_id: Uuid,
        subjects: &[Uuid],
        messages: &[Uuid],
    ) -> Option<Result<pb::LocateQuestionResponse, Status>> {
        let (_, client) = self.0.iter().find(|(name, _)| *name == participant)?;
        let last = messages.iter().skip(messages.len().saturating_sub(MESSAGES_MAX));
        let request = pb::LocateQuestionRequest {
            correlation_id: saga_id.to_string(),
            subject_ids: subjects.iter().map(Uuid::to_string).collect(),
            message_ids: last.map(Uuid::to_string).collect(),
            line: format!("{}/{saga_id}", Saga::<OrderProcess>::CATEGORY),
        };
        let mut client = client.clone();
        let answer = timeout(DEADLINE, client.locate_question(request)).await;
        let answer = answer.unwrap_or_else(|_| Err(Status::deadline_exceeded("no answer in time")));
        Some(answer.map(tonic::Response::into_inner))
    }
}
