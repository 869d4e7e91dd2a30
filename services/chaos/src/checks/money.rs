//! Money by the provider's own journal, against the orders as their log tells them. No code of payment has a say in it.

use std::collections::BTreeMap;
use std::path::Path;

use farmera::failure::Failure;
use serde::Deserialize;
use uuid::Uuid;

use crate::checks::{Evidence, Found, unreadable};

/// A line of the journal, as much of it as moves money.
#[derive(Deserialize)]
struct Line {
    payment_id: Uuid,
    amount: Amount,
    fact: String,
}

#[derive(Deserialize)]
struct Amount {
    minor_units: i64,
}

/// What became of one payment's money, in cents; all of it is in one currency.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    authorized: u32,
    captured: u32,
    held: i64,
    taken: i64,
}

impl Tally {
    fn add(&mut self, fact: &str, amount: i64) {
        match fact {
            "authorized" => {
                self.authorized += 1;
                self.held += amount;
            }
            "captured" => {
                self.captured += 1;
                self.held -= amount;
                self.taken += amount;
            }
            "voided" => self.held -= amount,
            "refunded" => self.taken -= amount,
            _ => {} // words of the journal, not a variant of ours: nothing else moves money
        }
    }
}

/// The money of every payment in the journal. What follows its last line's end is being written.
fn read(journal: &Path) -> Result<BTreeMap<Uuid, Tally>, Failure> {
    let failed = |error: &dyn std::fmt::Display| Failure::Failed(format!("{}: {error}", journal.display()));
    let text = std::fs::read_to_string(journal).map_err(|error| failed(&error))?;
    let mut tallies: BTreeMap<Uuid, Tally> = BTreeMap::new();
    for line in text.rsplit_once('\n').map_or("", |(whole, _)| whole).lines() {
        let line: Line = serde_json::from_str(line).map_err(|error| failed(&error))?;
        tallies.entry(line.payment_id).or_default().add(&line.fact, line.amount.minor_units);
    }
    Ok(tallies)
}

/// What the journal says of money and of charges.
#[derive(Debug, Default)]
pub(super) struct Books {
    pub(super) money: Found,
    pub(super) charges: Found,
}

/// I1 and I3: for each order that was completed the card was charged once, its total, and kept; for no other is anything
/// held or kept; and nothing is in the journal that no order knows of.
pub(super) async fn judge(evidence: &mut Evidence<'_>) -> Result<Books, Failure> {
    let mut tallies = read(evidence.journal)?;
    let payments: Vec<(Uuid, Uuid)> = sqlx::query_as(
        "select stream_id, (payload->'AuthorizationStarted'->'terms'->>'order_id')::uuid
         from event
         where category = 'payment'
         and type = 'AuthorizationStarted'",
    )
    .fetch_all(evidence.of("payment")?)
    .await
    .map_err(unreadable)?;
    let orders: Vec<(Uuid, bool, i64)> = sqlx::query_as(
        "select
            placed.stream_id,
            exists (
                select from event as ended
                where ended.category = 'order'
                and ended.stream_id = placed.stream_id
                and ended.type = 'OrderCompleted'
            ) and not exists (
                select from event as ended
                where ended.category = 'order'
                and ended.stream_id = placed.stream_id
                and ended.type = 'OrderCancelled'
            ),
            (
                select sum((line->>'quantity')::bigint * (line->'unit_price'->>'minor_units')::bigint)::bigint
                from jsonb_array_elements(placed.payload::jsonb->'OrderPlaced'->'facts'->'lines') as line
            )
         from event as placed
         where placed.category = 'order'
         and placed.type = 'OrderPlaced'",
    )
    .fetch_all(evidence.of("orders")?)
    .await
    .map_err(unreadable)?;
    let mut of_order: BTreeMap<Uuid, Vec<Tally>> = BTreeMap::new();
    for (payment, order) in payments {
        of_order.entry(order).or_default().extend(tallies.remove(&payment));
    }
    let mut books = Books::default();
    for (order, completed, total) in orders {
        let known = of_order.remove(&order).unwrap_or_default();
        books.of_one(order, if completed { total } else { 0 }, &known);
    }
    let strays = tallies.keys().map(|payment| format!("the provider knows of payment {payment}, and payment does not"));
    books.charges.wrong.extend(strays);
    let strays = of_order.keys().map(|order| format!("money moved for order {order}, which nobody placed"));
    books.charges.wrong.extend(strays);
    Ok(books)
}

impl Books {
    fn of_one(&mut self, order: Uuid, due: i64, tallies: &[Tally]) {
        self.money.checked += 1;
        self.charges.checked += 1;
        let (kept, held) = tallies.iter().fold((0, 0), |(kept, held), one| (kept + one.taken, held + one.held));
        if (kept, held) != (due, 0) {
            self.money.wrong.push(format!("order {order}: the provider kept {kept} and holds {held}, due is {due}"));
        }
        let (authorized, captured) =
            tallies.iter().fold((0, 0), |(held, taken), one| (held + one.authorized, taken + one.captured));
        if authorized > 1 || captured > 1 || (due > 0 && captured != 1) {
            let wrong = format!("order {order}: money was held {authorized} times and taken {captured} times");
            self.charges.wrong.push(wrong);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(due: i64, tallies: &[Tally]) -> (usize, usize) {
        let mut books = Books::default();
        books.of_one(Uuid::nil(), due, tallies);
        (books.money.wrong.len(), books.charges.wrong.len())
    }

    #[test]
    fn one_charge_that_is_kept_is_right_and_any_other_is_found() {
        let after = |facts: &[&str]| {
            let mut tally = Tally::default();
            facts.iter().for_each(|fact| tally.add(fact, 300));
            tally
        };
        let charged = after(&["failing", "authorized", "captured", "repeated"]);
        let given_back = after(&["authorized", "captured", "refunded"]);
        let held = after(&["authorized"]);
        assert_eq!(found(0, &[after(&["authorized", "voided"])]), (0, 0));
        assert_eq!(found(300, &[charged]), (0, 0));
        assert_eq!(found(0, &[]), (0, 0));
        assert_eq!(found(0, &[given_back]), (0, 0));
        assert_eq!(found(0, &[charged]), (1, 0), "charged, and nothing was sold");
        assert_eq!(found(300, &[charged, charged]), (1, 1), "charged twice");
        assert_eq!(found(300, &[charged, given_back]), (0, 1), "charged twice, given back once");
        assert_eq!(found(300, &[]), (1, 1), "never charged");
        assert_eq!(found(0, &[held]), (1, 0), "money is still held");
    }
}
