use std::sync::atomic::{AtomicU64, Ordering};

use uuid::Uuid;

use crate::IdSource;

/// Ids in the shape of UUIDv7 that count: the same in every run, in order, never the same twice.
#[derive(Debug)]
pub struct CountingIds {
    series: u16,
    next: AtomicU64,
}

impl CountingIds {
    /// Ids of a series of their own: two sources with different numbers never give the same id.
    #[must_use]
    pub const fn new(series: u16) -> Self {
        Self { series, next: AtomicU64::new(1) }
    }

    /// The `count`th id (from 1) of `series`.
    #[must_use]
    pub fn id(series: u16, count: u64) -> Uuid {
        // The time of a UUIDv7 counts up, so that ids sort in the order they were made; the rest tells series apart.
        let mut random = [0; 10];
        random.iter_mut().zip(series.to_be_bytes()).for_each(|(byte, of_series)| *byte = of_series);
        uuid::Builder::from_unix_timestamp_millis(count, &random).into_uuid()
    }
}

impl Default for CountingIds {
    fn default() -> Self {
        Self::new(0)
    }
}

impl IdSource for CountingIds {
    fn next_id(&self) -> Uuid {
        Self::id(self.series, self.next.fetch_add(1, Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counted_ids_are_ordered_distinct_and_of_version_7() {
        let ids = CountingIds::new(3);
        let (one, two) = (ids.next_id(), ids.next_id());
        assert!(one < two);
        assert_eq!(one.get_version_num(), 7);
        assert_ne!(one, CountingIds::new(4).next_id());
        assert_eq!(one, CountingIds::id(3, 1));
    }
}
