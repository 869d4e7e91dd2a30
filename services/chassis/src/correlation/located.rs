//! How far a question that was put to this service has come.
//!
//! What the log holds is the answer: an event that the question caused says that it was taken in, one that others hear
//! of says that it was answered, and the outbox says whether they have heard. What keeps it where it is, the parts of
//! this service know.

use std::time::Duration;

use eventstore::{EventStore, ReadError, Recorded, TxId};
use farmera_proto::saga::v1 as pb;
use pb::waiting::Place;
use uuid::Uuid;

use super::Correlated;
use crate::health::Part;

/// A question of a saga.
pub(super) struct Question {
    pub(super) correlation: Uuid,
    pub(super) subjects: Vec<Uuid>,
    pub(super) messages: Vec<Uuid>,
    pub(super) line: String,
}

/// True while this transaction waits to be told.
///
/// # Errors
/// [`ReadError`].
pub async fn is_untold(store: &dyn EventStore, tx: TxId) -> Result<bool, ReadError> {
    let before = TxId(tx.0.saturating_sub(1));
    Ok(store.outbox_pending(before, Duration::ZERO, 1).await?.contains(&tx))
}

impl Correlated {
    /// Where `question` is, and what keeps it there.
    pub(super) async fn locate(&self, question: &Question) -> Result<pb::LocateQuestionResponse, ReadError> {
        let own = self.of_streams(question.correlation, &question.subjects).await?;
        let caused: Vec<_> = own.iter().filter(|event| question.messages.contains(&event.cause.causation)).collect();
        let parts = self.health.parts_of(self.name);
        let (place, reason) = match caused.iter().rev().find(|event| self.is_told(event)) {
            Some(answer) if is_untold(&*self.store, answer.cursor.tx).await? => {
                (Place::AnswerOutbox, self.culprits(&parts, is_way_out))
            }
            Some(_) => (Place::Answered, String::new()),
            None if !caused.is_empty() => (Place::Participant, self.culprits(&parts, is_work)),
            None => match self.letter(&parts, &question.line).await? {
                Some(letter) => (Place::Parked, letter),
                None => (Place::OnTheWay, self.culprits(&parts, is_way_in)),
            },
        };
        Ok(pb::LocateQuestionResponse { place: place.into(), reason })
    }

    /// Whether others hear of an event. One that this program cannot read is nobody's answer.
    fn is_told(&self, event: &Recorded) -> bool {
        self.relay.categories.contains(&event.stream.category)
            && (self.relay.translate)(event).is_ok_and(|told| told.is_some())
    }

    /// The first dead letter of a line.
    async fn letter(&self, parts: &[(String, Part)], line: &str) -> Result<Option<String>, ReadError> {
        let consumers: Vec<_> = parts.iter().filter_map(|(name, _)| name.strip_prefix(CONSUMER)).collect();
        let found: Option<(i64, String)> = sqlx::query_as(
            "select id, reason
             from dead_letter
             where consumer = any($1)
               and key = $2
               and status = 'waiting'
             order by id
             limit 1",
        )
        .bind(&consumers[..])
        .bind(line)
        .fetch_optional(&self.pool)
        .await
        .map_err(|error| ReadError::Unavailable(Box::new(error)))?;
        Ok(found.map(|(id, reason)| format!("dead letter {id} of {}: {reason}", self.name)))
    }

    /// Those of the parts that are on the way and down, since when and why.
    fn culprits(&self, parts: &[(String, Part)], is_on_the_way: fn(&str) -> bool) -> String {
        let down = parts.iter().filter(|(name, _)| is_on_the_way(name)).filter_map(|(name, part)| {
            let (reason, seconds) = (part.reason.as_ref()?, part.since.elapsed().as_secs());
            Some(format!("{}/{name} is down for {seconds} s: {reason}", self.name))
        });
        down.collect::<Vec<_>>().join("; ")
    }
}

/// How the parts that listen are named.
const CONSUMER: &str = "consumer ";

fn is_way_in(part: &str) -> bool {
    matches!(part, "nats" | "canary" | "postgres" | "log") || part.starts_with(CONSUMER)
}

fn is_way_out(part: &str) -> bool {
    matches!(part, "nats" | "canary" | "postgres" | "relay")
}

/// Whatever is no way out and no read model: what the service has of its own, and its ways in. A message that is not done
/// comes again.
fn is_work(part: &str) -> bool {
    part != "relay" && !part.starts_with("projection ")
}
