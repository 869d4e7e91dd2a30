use chrono::{DateTime, Utc};
use uuid::Uuid;

/// What time it is, by the store's clock: deadlines are compared there, so they are reckoned there.
pub trait Clock: Send + Sync + 'static {
    /// The store's time as far as this process knows it.
    fn now(&self) -> DateTime<Utc>;

    /// Takes note of what the store's clock just said.
    fn observe(&self, _store_now: DateTime<Utc>) {}
}

/// Where new event ids come from: UUIDv7 in production, a counter in tests and in the simulator.
///
/// Ids are random, so the pure core may not make them; the shell hands in a source.
pub trait IdSource: Send + Sync + 'static {
    /// A fresh id, never returned before.
    fn next_id(&self) -> Uuid;
}

/// An id that follows from another id and a label: the saga of an order, the payment of a saga.
///
/// The same `parent` and `label` always give the same id, so whoever asks twice meets the same stream. The first six
/// bytes (the time of a UUIDv7) are kept: children of ids made at the same time lie side by side in an index. The rest
/// is the SHA-1 of RFC 9562's name-based UUIDv5; the version nibble says 8, "custom".
#[must_use]
pub fn derived_id(parent: Uuid, label: &str) -> Uuid {
    let mut bytes = *Uuid::new_v5(&parent, label.as_bytes()).as_bytes();
    for (byte, of_parent) in bytes.iter_mut().zip(parent.as_bytes()).take(6) {
        *byte = *of_parent;
    }
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: Uuid = Uuid::from_u128(0x0199_0000_0001_7000_8000_0000_0000_0001);

    #[test]
    fn a_derived_id_is_always_the_same_and_differs_by_label() {
        assert_eq!(derived_id(PARENT, "saga"), derived_id(PARENT, "saga"));
        assert_ne!(derived_id(PARENT, "saga"), derived_id(PARENT, "payment"));
    }

    #[test]
    fn a_derived_id_keeps_the_time_of_its_parent() {
        let child = derived_id(PARENT, "saga");
        assert_eq!(child.as_bytes().get(..6), PARENT.as_bytes().get(..6));
        assert_eq!(child.get_version_num(), 8);
    }
}
