//! What leaves together: whatever may go now on one subject, up to a limit. Nobody waits for company. No I/O here.

use super::lanes::Parcel;

/// Parcels whose first messages leave as one.
struct Batch {
    subject: &'static str,
    bytes: usize,
    parcels: Vec<Parcel>,
}

/// Puts parcels together whose first messages go to the same subject, in the order they come in: of at most so many
/// events, and bytes if it is more than one. A parcel without a message is nobody's business and left out.
pub(super) fn gather(parcels: Vec<Parcel>, events_max: usize, bytes_max: usize) -> Vec<Vec<Parcel>> {
    let mut batches: Vec<Batch> = Vec::new();
    for parcel in parcels {
        let Some(first) = parcel.messages.front() else { continue };
        let (subject, bytes) = (first.subject, first.body.len());
        // Of one subject only the last has room.
        let open = batches.iter_mut().rfind(|batch| batch.subject == subject);
        match open.filter(|open| open.parcels.len() < events_max && open.bytes + bytes <= bytes_max) {
            Some(open) => {
                open.bytes += bytes;
                open.parcels.push(parcel);
            }
            None => batches.push(Batch { subject, bytes, parcels: vec![parcel] }),
        }
    }
    batches.into_iter().map(|batch| batch.parcels).collect()
}

#[cfg(test)]
mod tests {
    use eventstore::{Category, StreamId, TxId, Version};
    use uuid::Uuid;

    use super::*;
    use crate::envelope::Sealed;
    use crate::envelope::batch::{BYTES_MAX, EVENTS_MAX};

    /// A parcel of one message of so many bytes.
    fn parcel(number: u64, subject: &'static str, bytes: usize) -> Parcel {
        Parcel {
            tx: Some(TxId(number)),
            stream: StreamId::new(Category::new("apple"), Uuid::from_u128(u128::from(number))),
            first: Version::new(1),
            last: Version::new(1),
            messages: [Sealed::sample(subject, number, bytes)].into(),
        }
    }

    /// Which parcels leave together, by number.
    fn gathered(parcels: Vec<Parcel>) -> Vec<Vec<u64>> {
        let numbers = |batch: Vec<Parcel>| batch.iter().filter_map(|parcel| parcel.tx).map(|tx| tx.0).collect();
        gather(parcels, EVENTS_MAX, BYTES_MAX).into_iter().map(numbers).collect()
    }

    #[test]
    fn what_goes_to_one_subject_leaves_together_in_its_order() {
        let parcels = vec![parcel(1, "a", 2), parcel(2, "b", 2), parcel(3, "a", 2), parcel(4, "a", 2)];
        assert_eq!(gathered(parcels), [vec![1, 3, 4], vec![2]]);
        assert_eq!(gathered(vec![]), [[0; 0]; 0]);
    }

    #[test]
    fn a_batch_has_a_limit_of_events_and_of_bytes_and_what_is_larger_leaves_alone() {
        let many = (0..EVENTS_MAX as u64 + 2).map(|number| parcel(number, "a", 2)).collect();
        assert_eq!(gathered(many).iter().map(Vec::len).collect::<Vec<_>>(), [EVENTS_MAX, 2]);
        let large =
            vec![parcel(1, "a", BYTES_MAX - 3), parcel(2, "a", 3), parcel(3, "a", 1), parcel(4, "a", 2 * BYTES_MAX)];
        assert_eq!(gathered(large), [vec![1, 2], vec![3], vec![4]]);
        let after = vec![parcel(1, "a", 2 * BYTES_MAX), parcel(2, "a", 2), parcel(3, "a", 2)];
        assert_eq!(gathered(after), [vec![1], vec![2, 3]]);
    }
}
