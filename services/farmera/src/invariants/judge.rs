//! The invariants, as pure functions over the books.

use std::collections::{BTreeMap, HashMap, HashSet};

use farmera_proto::common::v1::Money;
use farmera_proto::orders::v1::Order;
use farmera_proto::orders::v1::order::State;
use farmera_proto::payment::v1::payment::State as PaymentState;
use farmera_proto::payment::v1::{Payment, ProviderCharge};

use crate::invariants::{Books, Verdict};
use crate::order::{has_ended, state_name};
use crate::output::grouped;

/// How many examples of what is wrong are named.
const EXAMPLES_MAX: usize = 3;
const CAPTURED: &str = "captured";
const AUTHORIZED: &str = "authorized";

/// Every invariant.
pub(super) fn judge(books: &Books) -> Vec<Verdict> {
    vec![every_order_ended(books), stock_is_conserved(books), money_is_conserved(books), one_charge_each(books)]
}

fn verdict(claim: &'static str, wrong: &[String], fine: String) -> Verdict {
    if wrong.is_empty() {
        return Verdict { claim, holds: true, detail: fine };
    }
    let mut examples: Vec<&str> = wrong.iter().take(EXAMPLES_MAX).map(String::as_str).collect();
    let more = format!("and {} more", wrong.len().saturating_sub(EXAMPLES_MAX));
    if wrong.len() > EXAMPLES_MAX {
        examples.push(&more);
    }
    Verdict { claim, holds: false, detail: examples.join("; ") }
}

fn every_order_ended(books: &Books) -> Verdict {
    let open = books.orders.iter().filter(|order| !has_ended(order.state()));
    let mut wrong: Vec<String> =
        open.map(|order| format!("order {} is {}", order.id, state_name(order.state()))).collect();
    wrong.extend(
        books
            .open_sagas
            .iter()
            .map(|saga| format!("saga {} is {}", saga.id, crate::timeline::state_name(saga.state()))),
    );
    let of = |state| grouped(books.count(state) as u64);
    let fine = format!(
        "{} orders: {} completed, {} failed, {} cancelled",
        grouped(books.orders.len() as u64),
        of(State::Completed),
        of(State::Failed),
        of(State::Cancelled)
    );
    verdict("every order ended", &wrong, fine)
}

fn stock_is_conserved(books: &Books) -> Verdict {
    let mut sold: HashMap<&str, u64> = HashMap::new();
    let completed = || books.orders.iter().filter(|order| order.state() == State::Completed);
    for line in completed().flat_map(|order| &order.lines) {
        *sold.entry(&line.product_id).or_default() += u64::from(line.quantity);
    }
    let mut wrong: Vec<String> = completed()
        .filter(|order| order.lines.is_empty())
        .map(|order| format!("completed order {} shows no lines", order.id))
        .collect();
    let mut sums = [0_u64; 4];
    for product in &books.products {
        let parts = [product.stocked, product.available, product.reserved, product.shipped];
        sums.iter_mut().zip(parts).for_each(|(sum, part)| *sum += part);
        let sold = sold.remove(product.id.as_str()).unwrap_or(0);
        let name = &product.name;
        if product.stocked != product.available + product.reserved + product.shipped {
            let [stocked, available, reserved, shipped] = parts;
            wrong.push(format!("{name}: {stocked} stocked is not {available} + {reserved} + {shipped}"));
        }
        if product.reserved != 0 {
            wrong.push(format!("{name}: {} are still reserved", product.reserved));
        }
        if product.shipped != sold {
            wrong.push(format!("{name}: {} shipped, but completed orders have {sold}", product.shipped));
        }
    }
    wrong.extend(sold.keys().map(|id| format!("product {id} was sold and is not in the catalogue")));
    let [stocked, available, reserved, shipped] = sums.map(grouped);
    let fine = format!("{stocked} stocked = {available} available + {reserved} reserved + {shipped} shipped");
    verdict("stock is conserved", &wrong, fine)
}

type Sums = BTreeMap<String, i128>;

fn add(sums: &mut Sums, money: Option<&Money>) {
    if let Some(money) = money {
        *sums.entry(money.currency_code.clone()).or_default() += i128::from(money.minor_units);
    }
}

fn shown(sums: &Sums) -> String {
    if sums.is_empty() {
        return "nothing".to_owned();
    }
    let one = |(code, units): (&String, &i128)| {
        let money = i64::try_from(*units).ok().map(|minor_units| Money { currency_code: code.clone(), minor_units });
        money.map_or_else(|| format!("{units} {code}"), |money| crate::output::amount(Some(&money)))
    };
    sums.iter().map(one).collect::<Vec<_>>().join(" + ")
}

fn money_is_conserved(books: &Books) -> Verdict {
    let mut owed = Sums::new();
    for order in books.orders.iter().filter(|order| order.state() == State::Completed) {
        add(&mut owed, order.total.as_ref());
    }
    let mut kept = Sums::new();
    let mut refunded = Sums::new();
    let mut wrong = Vec::new();
    for charge in &books.charges {
        match charge.status.as_str() {
            CAPTURED => add(&mut kept, charge.amount.as_ref()),
            "refunded" => add(&mut refunded, charge.amount.as_ref()),
            AUTHORIZED => wrong.push(format!("charge {} still holds money", charge.reference)),
            _ => {}
        }
    }
    if kept != owed {
        let (kept, owed) = (shown(&kept), shown(&owed));
        wrong.push(format!("the provider took and kept {kept}, completed orders come to {owed}"));
    }
    let mut fine = format!("the provider took and kept {} = totals of completed orders", shown(&kept));
    if !refunded.is_empty() {
        fine = format!("{fine}; {} went back", shown(&refunded));
    }
    verdict("money is conserved", &wrong, fine)
}

fn one_charge_each(books: &Books) -> Verdict {
    let mut charges: HashMap<&str, Vec<&ProviderCharge>> = HashMap::new();
    for charge in books.charges.iter().filter(|charge| [CAPTURED, AUTHORIZED].contains(&charge.status.as_str())) {
        charges.entry(&charge.payment_id).or_default().push(charge);
    }
    let mut payments: HashMap<&str, Vec<&Payment>> = HashMap::new();
    for payment in &books.payments {
        payments.entry(&payment.order_id).or_default().push(payment);
    }
    let mut wrong = Vec::new();
    let mut known = HashSet::new();
    for order in &books.orders {
        let paid = payments.get(order.id.as_str()).map(Vec::as_slice).unwrap_or_default();
        known.extend(paid.iter().map(|payment| payment.id.as_str()));
        let taken: Vec<&ProviderCharge> =
            paid.iter().filter_map(|payment| charges.get(payment.id.as_str())).flatten().copied().collect();
        wrong.extend(misfit(order, paid, &taken));
    }
    let strays = charges.keys().filter(|payment_id| !known.contains(*payment_id));
    wrong.extend(strays.map(|payment_id| format!("a charge for payment {payment_id} belongs to no order")));
    let count = grouped(books.count(State::Completed) as u64);
    verdict("one charge per completed order", &wrong, format!("{count} completed orders, {count} charges kept"))
}

/// What is wrong with the charges of one order.
fn misfit(order: &Order, payments: &[&Payment], taken: &[&ProviderCharge]) -> Option<String> {
    let (id, state) = (&order.id, state_name(order.state()));
    if order.state() != State::Completed {
        return (!taken.is_empty()).then(|| format!("order {id} is {state} and was charged"));
    }
    match (payments, taken) {
        ([payment], [charge]) => {
            let fits = payment.state() == PaymentState::Captured && charge.amount == order.total;
            (!fits).then(|| format!("order {id}: its charge is not its total, or its payment is not captured"))
        }
        (payments, taken) => {
            let (payments, taken) = (payments.len(), taken.len());
            Some(format!("order {id} is completed with {payments} payments and {taken} charges"))
        }
    }
}

#[cfg(test)]
mod tests {
    use farmera_proto::orders::v1::Line;
    use farmera_proto::products::v1::Product;

    use super::*;

    fn euros(minor_units: i64) -> Option<Money> {
        Some(Money { currency_code: "EUR".to_owned(), minor_units })
    }

    fn order(id: &str, state: State) -> Order {
        let lines = vec![Line { product_id: "kale".to_owned(), quantity: 3, ..Default::default() }];
        Order { id: id.to_owned(), state: state.into(), total: euros(960), lines, ..Default::default() }
    }

    fn payment(order_id: &str, state: PaymentState) -> Payment {
        let id = format!("pay-{order_id}");
        Payment { id, order_id: order_id.to_owned(), state: state.into(), ..Default::default() }
    }

    fn charge(order_id: &str, status: &str) -> ProviderCharge {
        let payment_id = format!("pay-{order_id}");
        ProviderCharge { payment_id, amount: euros(960), status: status.to_owned(), ..Default::default() }
    }

    fn kale(available: u64, reserved: u64, shipped: u64) -> Product {
        let id = "kale".to_owned();
        Product { name: id.clone(), id, stocked: 10, available, reserved, shipped, ..Default::default() }
    }

    /// One completed and one failed order.
    fn sound() -> Books {
        Books {
            products: vec![kale(7, 0, 3)],
            orders: vec![order("a", State::Completed), order("b", State::Failed)],
            open_sagas: Vec::new(),
            payments: vec![payment("a", PaymentState::Captured), payment("b", PaymentState::Declined)],
            charges: vec![charge("a", CAPTURED), charge("b", "declined")],
        }
    }

    fn broken(books: &Books) -> Vec<&'static str> {
        judge(books).into_iter().filter(|verdict| !verdict.holds).map(|verdict| verdict.claim).collect()
    }

    #[test]
    fn sound_books_are_found_sound() {
        assert_eq!(broken(&sound()), [""; 0]);
    }

    #[test]
    fn an_open_order_is_found() {
        let mut books = sound();
        books.orders.push(order("c", State::Confirmed));
        assert_eq!(broken(&books), ["every order ended"]);
    }

    #[test]
    fn goods_that_are_still_held_or_got_lost_are_found() {
        let products = [kale(5, 2, 3), kale(6, 0, 3), kale(6, 0, 4)];
        for product in products {
            let books = Books { products: vec![product], ..sound() };
            assert_eq!(broken(&books), ["stock is conserved"]);
        }
    }

    #[test]
    fn a_double_charge_is_found_twice() {
        let mut books = sound();
        books.charges.push(charge("a", CAPTURED));
        assert_eq!(broken(&books), ["money is conserved", "one charge per completed order"]);
    }

    #[test]
    fn money_held_for_a_failed_order_is_found() {
        let mut books = sound();
        books.charges.push(charge("b", AUTHORIZED));
        assert_eq!(broken(&books), ["money is conserved", "one charge per completed order"]);
    }

    #[test]
    fn money_that_went_back_is_not_missed() {
        let mut books = sound();
        books.orders.push(order("c", State::Cancelled));
        books.payments.push(payment("c", PaymentState::Refunded));
        books.charges.push(charge("c", "refunded"));
        assert_eq!(broken(&books), [""; 0]);
    }

    #[test]
    fn a_completed_order_without_a_charge_is_found() {
        let mut books = sound();
        books.charges.clear();
        assert_eq!(broken(&books), ["money is conserved", "one charge per completed order"]);
    }
}
