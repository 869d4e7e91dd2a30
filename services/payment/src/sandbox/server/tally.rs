//! What a journal says about each payment's money, by plain sums: for whoever checks others by it.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::entry::{Entry, Fact};

/// What became of one payment's money. Amounts in minor units.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Tally {
    /// How often money was held.
    pub authorized: u32,
    /// How often it was taken.
    pub captured: u32,
    /// How often it was let go.
    pub voided: u32,
    /// How often it was given back.
    pub refunded: u32,
    /// Held and neither taken nor let go.
    pub held: i64,
    /// Taken and not given back.
    pub taken: i64,
    /// Requests that got to the books, those without effect included.
    pub requests: u32,
}

/// The money of every payment in a journal.
#[must_use]
pub fn tally<'a>(entries: impl IntoIterator<Item = &'a Entry>) -> BTreeMap<Uuid, Tally> {
    let mut tallies: BTreeMap<Uuid, Tally> = BTreeMap::new();
    for entry in entries {
        let tally = tallies.entry(entry.payment_id).or_default();
        let amount = entry.amount.minor_units;
        match &entry.fact {
            Fact::Authorized { .. } => {
                tally.authorized += 1;
                tally.held += amount;
            }
            Fact::Captured {} => {
                tally.captured += 1;
                tally.held -= amount;
                tally.taken += amount;
            }
            Fact::Voided {} => {
                tally.voided += 1;
                tally.held -= amount;
            }
            Fact::Refunded {} => {
                tally.refunded += 1;
                tally.taken -= amount;
            }
            // Follows its effect, if it has had one.
            Fact::Failed {} => continue,
            Fact::Failing { .. } | Fact::Declined { .. } | Fact::Refused { .. } | Fact::Repeated {} => {}
        }
        tally.requests += 1;
    }
    tallies
}
