use eventstore::Aggregate;
use money::{Currency, Money};
use proptest::prelude::*;

use super::{LOW, added, asked, euros, fold, id, lines, listed, stocked};
use crate::domain::{
    AddStock, Contradiction, Decision, Delivery, Farm, FarmEvent, ListProduct, Product, ProductEvent,
    REQUESTS_REMEMBERED_MAX, Reason, RegisterFarm, Rejection, Reservation, ReservationEvent, SetActive, SetPrice,
    Shortage, Step, UNITS_MAX, Wish, add_stock, decide, held, list_product, register_farm, rejected, reserve,
    set_active, set_price, settle,
};

fn reserved(product: Product, quantity: u32) -> (Product, Vec<ProductEvent>) {
    let events = reserve(&product, id(20), id(30), quantity, LOW).unwrap();
    (events.iter().fold(product, Product::evolve), events)
}

fn is_told(events: &[ProductEvent]) -> bool {
    events.iter().any(|event| matches!(event, ProductEvent::StockRanLow { .. }))
}

fn stock_of(product: &Product) -> (u64, u64, u64) {
    match product {
        Product::Unlisted => (0, 0, 0),
        Product::Listed(listed) => (listed.stock.available, listed.stock.reserved, listed.stock.shipped),
    }
}

#[test]
fn a_shortage_names_the_product_what_was_wanted_and_what_there_is() {
    let short = reserve(&stocked(2), id(20), id(30), 3, LOW).unwrap_err();
    assert_eq!(short, Shortage::OutOfStock { name: "Carrots".to_owned(), wanted: 3, available: 2 });
    assert_eq!(short.to_string(), "Carrots: 3 wanted, 2 available");
    let unknown = reserve(&Product::Unlisted, id(20), id(30), 3, LOW).unwrap_err();
    assert_eq!(unknown.reason(), Reason::UnknownProduct);
    let closed = fold(&[listed("Carrots"), added(9, 5), ProductEvent::ActiveSet { active: false }]);
    assert_eq!(reserve(&closed, id(20), id(30), 3, LOW).unwrap_err().reason(), Reason::ProductClosed);
}

#[test]
fn units_go_from_available_to_reserved_to_shipped_and_back() {
    let (product, _) = reserved(stocked(50), 20);
    assert_eq!(stock_of(&product), (30, 20, 0));
    let step = |product: Product, quantity, step| {
        let event = settle(&product, id(20), id(30), quantity, step).unwrap();
        product.evolve(&event)
    };
    let product = step(product, 5, Step::Release);
    assert_eq!(stock_of(&product), (35, 15, 0));
    let product = step(product, 15, Step::Ship);
    assert_eq!(stock_of(&product), (35, 0, 15));
    let product = step(product, 15, Step::Return);
    assert_eq!(stock_of(&product), (50, 0, 0));
}

#[test]
fn what_is_not_there_is_not_moved() {
    for step in [Step::Release, Step::Ship, Step::Return] {
        assert!(settle(&stocked(50), id(20), id(30), 1, step).is_err());
        assert!(settle(&Product::Unlisted, id(20), id(30), 1, step).is_err());
    }
}

#[test]
fn a_farm_is_told_once_that_a_product_runs_out_until_it_is_restocked_above_the_threshold() {
    let (product, events) = reserved(stocked(13), 2);
    assert!(!is_told(&events));
    let (product, events) = reserved(product, 1);
    assert!(is_told(&events));
    let (product, events) = reserved(product, 1);
    assert!(!is_told(&events));
    let (product, events) = reserved(product.evolve(&added(10, 1)), 1);
    assert!(!is_told(&events), "10 units are not above the threshold");
    let (_, events) = reserved(product.evolve(&added(11, 5)), 5);
    assert!(is_told(&events));
}

#[test]
fn a_release_is_no_restocking() {
    let (product, events) = reserved(stocked(13), 13);
    assert!(is_told(&events));
    let event = settle(&product, id(20), id(30), 13, Step::Release).unwrap();
    let (_, events) = reserved(product.evolve(&event), 13);
    assert!(!is_told(&events));
}

/// A delivery of a product before request ids had streams of their own.
fn known_before(product: &Product, wish: AddStock) -> Result<Vec<ProductEvent>, Rejection> {
    add_stock(product, Delivery::Unknown, id(1), wish)
}

#[test]
fn a_request_id_stands_for_one_delivery_of_one_product_for_ever() {
    let taken = Delivery::Taken { product_id: id(1), quantity: 5 };
    let wish = |quantity| AddStock { request_id: id(10), quantity };
    // The product has long forgotten it.
    let product = stocked(50);
    assert_eq!(add_stock(&product, taken, id(1), wish(5)), Ok(Vec::new()));
    assert_eq!(add_stock(&product, taken, id(1), wish(6)), Err(Rejection::RequestIdReused));
    assert_eq!(add_stock(&product, taken, id(2), wish(5)), Err(Rejection::RequestIdReused));
    assert_eq!(add_stock(&Product::Unlisted, taken, id(1), wish(5)), Err(Rejection::ProductUnknown));
}

#[test]
fn a_product_keeps_its_currency() {
    let price = Money::new(300, Currency::from_code("JPY").unwrap());
    let refused = set_price(&stocked(1), SetPrice { price }).unwrap_err();
    assert!(matches!(refused, Rejection::OtherCurrency { .. }), "{refused}");
}

#[test]
fn a_delivery_is_taken_in_once_and_its_id_is_not_for_another() {
    let product = stocked(50);
    assert_eq!(known_before(&product, AddStock { request_id: id(9), quantity: 50 }), Ok(Vec::new()));
    let other = known_before(&product, AddStock { request_id: id(9), quantity: 51 });
    assert_eq!(other, Err(Rejection::RequestIdReused));
    assert_eq!(known_before(&product, AddStock { request_id: id(10), quantity: 1 }), Ok(vec![added(10, 1)]));
}

#[test]
fn a_delivery_is_remembered_until_a_thousand_others_have_come() {
    let others = |count: usize| (0..count as u128).map(|number| added(100 + number, 1));
    let again = AddStock { request_id: id(9), quantity: 50 };
    let product = others(REQUESTS_REMEMBERED_MAX - 1).fold(stocked(50), |product, event| product.evolve(&event));
    assert_eq!(known_before(&product, again), Ok(Vec::new()));
    let product = product.evolve(&added(99, 1));
    assert_eq!(known_before(&product, again), Ok(vec![added(9, 50)]));
}

#[test]
fn a_product_has_a_largest_number_of_units() {
    let product = stocked(UNITS_MAX - 1);
    assert!(known_before(&product, AddStock { request_id: id(10), quantity: 1 }).is_ok());
    let too_much = known_before(&product, AddStock { request_id: id(10), quantity: 2 });
    assert_eq!(too_much, Err(Rejection::StockTooLarge { stocked: UNITS_MAX - 1, wanted: 2 }));
}

#[test]
fn a_create_that_comes_again_changes_nothing_and_with_other_content_is_refused() {
    let wish = RegisterFarm { name: "Sunny".to_owned(), email: "farm@sunny.example".to_owned() };
    let events = register_farm(&Farm::default(), &wish).unwrap();
    let farm: Farm = fold(&events);
    assert_eq!(events, [FarmEvent::FarmRegistered { name: wish.name.clone(), email: wish.email.clone() }]);
    assert_eq!(register_farm(&farm, &wish), Ok(Vec::new()));
    let other = RegisterFarm { name: "Moony".to_owned(), ..wish };
    assert_eq!(register_farm(&farm, &other), Err(Rejection::RequestIdReused));

    let wish = ListProduct { farm_id: id(1), name: "Carrots".to_owned(), price: euros(250) };
    assert_eq!(list_product(&Farm::default(), &Product::default(), &wish), Err(Rejection::FarmUnknown));
    let events = list_product(&farm, &Product::default(), &wish).unwrap();
    assert_eq!(events, [listed("Carrots")]);
    let product = fold::<Product>(&events).evolve(&ProductEvent::PriceSet { price: euros(300) });
    assert_eq!(list_product(&farm, &product, &wish), Ok(Vec::new()), "a price set later is no other content");
    let other = ListProduct { price: euros(300), ..wish };
    assert_eq!(list_product(&farm, &product, &other), Err(Rejection::RequestIdReused));
}

#[test]
fn setting_what_is_set_changes_nothing() {
    let product = stocked(1);
    assert_eq!(set_price(&product, SetPrice { price: euros(250) }), Ok(Vec::new()));
    assert_eq!(set_active(&product, SetActive { active: true }), Ok(Vec::new()));
    assert_eq!(set_active(&product, SetActive { active: false }), Ok(vec![ProductEvent::ActiveSet { active: false }]));
    assert_eq!(set_price(&Product::Unlisted, SetPrice { price: euros(1) }), Err(Rejection::ProductUnknown));
}

/// What a reservation answers, in a word.
fn answer(reservation: &Reservation, wish: &Wish) -> &'static str {
    match decide(reservation, &asked(1, wish.clone())) {
        Ok(Decision::Hold(_)) => "hold",
        Ok(Decision::Settle(Step::Release, ..)) => "release",
        Ok(Decision::Settle(Step::Ship, ..)) => "ship",
        Ok(Decision::Settle(Step::Return, ..)) => "return",
        Ok(Decision::Record(_)) => "record",
        Ok(Decision::Repeat(ReservationEvent::InventoryReserved { .. })) => "reserved before",
        Ok(Decision::Repeat(ReservationEvent::InventoryRejected { reason, .. })) => reason.code(),
        Ok(Decision::Repeat(ReservationEvent::InventoryReleased { .. })) => "released before",
        Ok(Decision::Repeat(ReservationEvent::InventoryCommitted { .. })) => "committed before",
        Ok(Decision::Repeat(ReservationEvent::InventoryRestocked { .. })) => "restocked before",
        Err(Contradiction::OtherOrder { .. }) => "other order",
        Err(Contradiction::OtherItems) => "other items",
        Err(Contradiction::LeftAlready) => "left already",
        Err(Contradiction::NotHeld) => "not held",
        Err(Contradiction::NotCommitted) => "not committed",
    }
}

#[test]
fn every_wish_has_an_answer_in_every_state() {
    let wanted = lines(&[(20, 3)]);
    let request = asked(1, Wish::Reserve(wanted.clone()));
    let (saga_id, order_id) = (request.saga_id, request.order_id);
    let held = held(&request, &wanted);
    let short = Shortage::OutOfStock { name: "Carrots".to_owned(), wanted: 3, available: 2 };
    let refused = rejected(&request, &wanted, &short);
    let released = ReservationEvent::InventoryReleased { saga_id, order_id };
    let committed = ReservationEvent::InventoryCommitted { saga_id, order_id };
    let restocked = ReservationEvent::InventoryRestocked { saga_id, order_id };
    let wishes = [Wish::Reserve(wanted), Wish::Release, Wish::Commit, Wish::Restock];
    let cases: [(Vec<&ReservationEvent>, [&str; 4]); 7] = [
        (vec![], ["hold", "record", "not held", "not committed"]),
        (vec![&held], ["reserved before", "release", "ship", "not committed"]),
        (vec![&refused], ["OUT_OF_STOCK", "released before", "not held", "not committed"]),
        (vec![&released], ["RELEASED_BEFORE", "released before", "not held", "not committed"]),
        (vec![&held, &released], ["RELEASED_BEFORE", "released before", "not held", "not committed"]),
        (vec![&held, &committed], ["reserved before", "left already", "committed before", "return"]),
        (
            vec![&held, &committed, &restocked],
            ["reserved before", "left already", "committed before", "restocked before"],
        ),
    ];
    for (events, expected) in cases {
        let reservation = events.into_iter().fold(Reservation::default(), Reservation::evolve);
        let answers: Vec<&str> = wishes.iter().map(|wish| answer(&reservation, wish)).collect();
        assert_eq!(answers, expected, "{reservation:?}");
    }
}

#[test]
fn a_reservation_belongs_to_its_order_and_its_items() {
    let request = asked(1, Wish::Reserve(lines(&[(20, 3)])));
    let reservation: Reservation = fold(&[held(&request, &lines(&[(20, 3)]))]);
    assert_eq!(answer(&reservation, &Wish::Reserve(lines(&[(20, 4)]))), "other items");
    let mut other = asked(1, Wish::Commit);
    other.order_id = id(77);
    assert!(matches!(decide(&reservation, &other), Err(Contradiction::OtherOrder { .. })));
}

#[test]
fn what_is_recorded_can_be_read_again() {
    let request = asked(1, Wish::Reserve(lines(&[(20, 3)])));
    let event = held(&request, &lines(&[(20, 3)]));
    let json = serde_json::to_string(&event).unwrap();
    assert_eq!(serde_json::from_str::<ReservationEvent>(&json).unwrap(), event);
    assert!(json.starts_with(r#"{"InventoryReserved":{"saga_id":"#), "{json}");
}

proptest! {
    /// I2: whatever is asked in whatever order, units are neither lost nor made.
    #[test]
    fn stock_is_conserved(steps in proptest::collection::vec((0_u8..5, 1_u32..40), 0..200)) {
        let mut product: Product = fold(&[listed("Carrots")]);
        let (mut model, mut added_in_all) = ((0_u64, 0_u64, 0_u64), 0);
        for (number, (kind, quantity)) in steps.into_iter().enumerate() {
            let units = u64::from(quantity);
            let (step, from, to) = match kind {
                0 => {
                    product = product.evolve(&added(number as u128, units));
                    model.0 += units;
                    added_in_all += units;
                    continue;
                }
                1 => {
                    let events = reserve(&product, id(20), id(30), quantity, LOW);
                    prop_assert_eq!(events.is_ok(), model.0 >= units);
                    for event in events.unwrap_or_default() {
                        product = product.evolve(&event);
                        if matches!(event, ProductEvent::StockReserved { .. }) {
                            (model.0, model.1) = (model.0 - units, model.1 + units);
                        }
                    }
                    continue;
                }
                2 => (Step::Release, model.1, &mut model.0),
                3 => (Step::Ship, model.1, &mut model.2),
                _ => (Step::Return, model.2, &mut model.0),
            };
            let event = settle(&product, id(20), id(30), quantity, step);
            prop_assert_eq!(event.is_ok(), from >= units);
            if let Ok(event) = event {
                *to += units;
                if step == Step::Return { model.2 -= units } else { model.1 -= units }
                product = product.evolve(&event);
            }
        }
        prop_assert_eq!(stock_of(&product), model);
        prop_assert_eq!(model.0 + model.1 + model.2, added_in_all);
    }
}
