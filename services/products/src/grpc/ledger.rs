//! What happened to reservations, for whoever holds them against the sagas. Straight from the log: no read model keeps it.

use chassis::page;
use chassis::problem::{self, Violations};
use eventstore::{Aggregate as _, Cursor, DomainEvent as _, EventStore, ReadError, Recorded, TxId};
use farmera_proto::products::v1 as pb;
use pb::ledger_entry::Kind;
use tonic::Status;

use crate::domain::{Lines, Reservation, ReservationEvent};
use crate::status::DOMAIN;

const QUESTION: &str = "ledger";

/// A page of it.
///
/// # Errors
/// INVALID_ARGUMENT, or UNAVAILABLE.
pub(super) async fn page(
    store: &dyn EventStore,
    request: &pb::ListLedgerRequest,
) -> Result<pb::ListLedgerResponse, Status> {
    let mut violations = Violations::new();
    let size = page::size(&mut violations, request.page_size);
    let after = page::key(&mut violations, QUESTION, &request.page_token, |key| {
        let (tx, position) = key.split_once('/')?;
        Some(Cursor { tx: TxId(tx.parse().ok()?), position: position.parse().ok()? })
    });
    violations.finish(DOMAIN)?;
    let read = store.read_log(after.unwrap_or(Cursor::START), &[Reservation::CATEGORY], size + 1).await;
    let mut events = read.map_err(|error| match error {
        ReadError::Unavailable(_) => problem::unavailable(DOMAIN, "the event store does not answer; try again"),
        ReadError::Corrupt(reason) => {
            tracing::error!(reason, "a stored row is corrupt");
            problem::internal(DOMAIN)
        }
    })?;
    let has_more = events.len() > size;
    events.truncate(size);
    let next = events.last().filter(|_| has_more).map(|last| format!("{}/{}", last.cursor.tx.0, last.cursor.position));
    let entries = events.iter().map(entry).collect::<Result<_, _>>();
    Ok(pb::ListLedgerResponse {
        entries: entries.map_err(|error| problem::undecodable(DOMAIN, error))?,
        next_page_token: next.map(|key| page::token(QUESTION, &key)).unwrap_or_default(),
    })
}

fn entry(recorded: &Recorded) -> Result<pb::LedgerEntry, eventstore::DecodeError> {
    let units = |lines: &Lines| lines.iter().map(|line| u64::from(line.quantity)).sum();
    let (kind, order_id, units) = match ReservationEvent::from_recorded(recorded)? {
        ReservationEvent::InventoryReserved { order_id, lines, .. } => (Kind::Reserved, order_id, units(&lines)),
        ReservationEvent::InventoryRejected { order_id, lines, .. } => (Kind::Rejected, order_id, units(&lines)),
        ReservationEvent::InventoryReleased { order_id, .. } => (Kind::Released, order_id, 0),
        ReservationEvent::InventoryCommitted { order_id, .. } => (Kind::Committed, order_id, 0),
        ReservationEvent::InventoryRestocked { order_id, .. } => (Kind::Restocked, order_id, 0),
    };
    Ok(pb::LedgerEntry {
        reservation_id: recorded.stream.id.to_string(),
        order_id: order_id.to_string(),
        kind: kind.into(),
        units,
        time: Some(recorded.time.into()),
    })
}
