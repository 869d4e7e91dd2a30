//! The list of sagas follows the log, however the log is cut, and answers queries.

use chassis::page;
use farmera_proto::orders::v1::ListOrdersRequest;
use farmera_proto::saga::v1::ListSagasRequest;
use orders::grpc::lists;
use orders::operations::query::parse;
use orders::projections::orders::OrderList;
use orders::projections::sagas::{Group, Order, Page, Row};
use orders::sagas::{AUTHORIZE_PAYMENT, CAPTURE_PAYMENT, COMMIT_INVENTORY, NOTIFY, RESERVE_INVENTORY};
use saga::Outcome;
use tonic::{Code, Status};
use uuid::Uuid;

use crate::support::Market;

/// Sagas at every kind of place; their ids in the order of their start.
pub async fn busy() -> (Market, Vec<Uuid>) {
    let market = Market::open().await;
    let completed = market.place(1, 1_000).await;
    for step in [RESERVE_INVENTORY, AUTHORIZE_PAYMENT, CAPTURE_PAYMENT, COMMIT_INVENTORY, NOTIFY] {
        market.done(completed, step).await;
    }
    let refused = market.place(1, 2_000).await;
    market.done(refused, RESERVE_INVENTORY).await;
    market.rejected(refused, AUTHORIZE_PAYMENT, "CARD_DECLINED").await;
    market.undone(refused, RESERVE_INVENTORY).await;
    let paying = market.place(2, 3_000).await;
    market.done(paying, RESERVE_INVENTORY).await;
    market.reply(paying, AUTHORIZE_PAYMENT, Outcome::Unknown("PROVIDER_DOWN: away".to_owned())).await;
    let captured = market.place(2, 4_000).await;
    for step in [RESERVE_INVENTORY, AUTHORIZE_PAYMENT, CAPTURE_PAYMENT] {
        market.done(captured, step).await;
    }
    (market, vec![completed, refused, paying, captured])
}

pub async fn all(market: &Market) -> Vec<Row> {
    find(market, "", Order::Oldest).await
}

pub async fn find(market: &Market, query: &str, order: Order) -> Vec<Row> {
    let page = Page { order, after: None, size: 100 };
    market.sagas().find(&parse(query).unwrap(), page, market.clock.now()).await.unwrap().0
}

#[tokio::test(flavor = "multi_thread")]
async fn the_list_is_the_same_however_the_log_is_cut_into_batches() {
    let (market, ids) = busy().await;
    market.project(10_000).await;
    let at_once = all(&market).await;
    let usual = market.sagas().usual().await.unwrap();
    assert_eq!(at_once.iter().map(|row| row.saga_id).collect::<Vec<_>>(), ids);
    assert!(
        usual.contains_key(&(AUTHORIZE_PAYMENT.to_owned(), 1))
            && usual.contains_key(&(RESERVE_INVENTORY.to_owned(), 2))
    );
    for batch in [1, 2, 7] {
        market.project(batch).await;
        assert_eq!(all(&market).await, at_once, "in batches of {batch}");
        assert_eq!(market.sagas().usual().await.unwrap(), usual, "in batches of {batch}");
    }
}

/// What counting these one by one would say.
fn grouped(rows: &[Row]) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for row in rows {
        let like = |group: &&mut Group| {
            (group.state, &group.step, &group.error_code) == (row.state, &row.step, &row.error_code)
        };
        match groups.iter_mut().find(like) {
            Some(group) => {
                group.count += 1;
                group.first_started = group.first_started.min(Some(row.started_at));
                group.last_updated = group.last_updated.max(Some(row.updated_at));
            }
            None => groups.push(Group {
                definition: row.definition.clone(),
                definition_version: row.definition_version,
                state: row.state,
                step: row.step.clone(),
                error_code: row.error_code.clone(),
                currency: row.currency.clone(),
                count: 1,
                authorized: row.authorized,
                captured: row.captured,
                reserved: row.reserved,
                reserved_units: row.reserved_units,
                first_started: Some(row.started_at),
                last_updated: Some(row.updated_at),
            }),
        }
    }
    groups.sort_by_key(|group| (group.state, group.step.clone(), group.error_code.clone()));
    groups
}

#[tokio::test(flavor = "multi_thread")]
async fn those_that_ended_are_counted_once_however_the_log_is_cut_into_batches() {
    let (market, _) = busy().await;
    let again = market.place(3, 5_000).await;
    market.rejected(again, RESERVE_INVENTORY, "OUT_OF_STOCK").await;
    for batch in [1, 2, 7, 10_000] {
        market.project(batch).await;
        let groups = [
            "",
            "state = ENDED",
            "state = COMPLETED",
            "error = CARD_DECLINED",
            "saga = place-order@1",
            "saga = place-order@2",
            "step = notify",
            "state != COMPLETED and error in (OUT_OF_STOCK, PROVIDER_DOWN)",
        ];
        for query in groups {
            let listed = find(&market, query, Order::Oldest).await;
            let mut counted = market.sagas().count(&parse(query).unwrap(), market.clock.now()).await.unwrap().0;
            counted.sort_by_key(|group| (group.state, group.step.clone(), group.error_code.clone()));
            assert_eq!(counted, grouped(&listed), "{query:?} in batches of {batch}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_saga_that_is_not_over_shows_what_it_holds() {
    let (market, _) = busy().await;
    market.project(3).await;
    let held: Vec<_> =
        all(&market).await.iter().map(|row| (row.authorized, row.captured, row.reserved, row.reserved_units)).collect();
    assert_eq!(held, [(0, 0, 0, 0), (0, 0, 0, 0), (3_000, 0, 3_000, 2), (0, 4_000, 4_000, 2)]);
    let counted = market.sagas().count(&parse("").unwrap(), market.clock.now()).await.unwrap();
    let sum = |field: fn(&orders::projections::sagas::Group) -> i64| counted.0.iter().map(field).sum::<i64>();
    assert_eq!(
        (sum(|g| g.count), sum(|g| g.authorized), sum(|g| g.captured), sum(|g| g.reserved)),
        (4, 3_000, 4_000, 7_000)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn queries_find_what_they_mean_and_counts_agree_with_lists() {
    let (market, ids) = busy().await;
    market.project(5).await;
    let customer = Uuid::from_u128(2);
    for (query, expected) in [
        ("state = OPEN", vec![2, 3]),
        ("state != COMPLETED", vec![1, 2, 3]),
        ("state in (COMPLETED, COMPENSATED)", vec![0, 1]),
        ("error = CARD_DECLINED", vec![1]),
        ("error ~ 'down' and state = running", vec![2]),
        ("step = authorize-payment", vec![2]),
        ("amount >= 30EUR", vec![2, 3]),
        ("exposure > 30EUR", vec![3]),
        ("NOT (amount = 10EUR OR state = COMPENSATED)", vec![2, 3]),
        ("age > 1h", vec![]),
        ("age < 1h and saga = place-order@1", vec![0, 1, 2, 3]),
        (&format!("customer = {customer}"), vec![2, 3]),
        (&format!("customer = {customer} and amount < 35EUR"), vec![2]),
        (&format!("id = {}", ids[1]), vec![1]),
        ("saga = cancel-order", vec![]),
        ("amount >= 30EUR and amount <= 39.99EUR", vec![2]),
        ("exposure > 30EUR and error ~ DOWN", vec![]),
        ("error ~ 'DOWN' and amount > 1EUR", vec![2]),
        ("amount > 1USD", vec![]),
        ("state = ENDED and saga = place-order@1", vec![0, 1]),
    ] {
        let found: Vec<_> = find(&market, query, Order::Oldest).await.into_iter().map(|row| row.saga_id).collect();
        let expected: Vec<_> = expected.into_iter().map(|index: usize| ids[index]).collect();
        assert_eq!(found, expected, "{query}");
        let counted = market.sagas().count(&parse(query).unwrap(), market.clock.now()).await.unwrap();
        let count: i64 = counted.0.iter().map(|group| group.count).sum();
        assert_eq!(usize::try_from(count).unwrap(), found.len(), "{query}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_in_every_order_hold_each_saga_once() {
    let (market, ids) = busy().await;
    market.project(5).await;
    for order in [Order::Newest, Order::Oldest, Order::Updated, Order::Idle, Order::Amount] {
        for query in ["", "amount > 0", "state in (COMPLETED, COMPENSATED, RUNNING)"] {
            let mut page = Page { order, after: None, size: 1 };
            let mut found = Vec::new();
            loop {
                let now = market.clock.now();
                let (rows, has_more) = market.sagas().find(&parse(query).unwrap(), page, now).await.unwrap();
                page.after = rows.last().map(|row| (row.key, row.saga_id));
                found.extend(rows);
                if !has_more {
                    break;
                }
            }
            let at_once = find(&market, query, order).await;
            assert_eq!(found, at_once, "{order:?} {query}");
            assert_eq!(found.len(), ids.len(), "{order:?} {query}");
        }
    }
    let amounts: Vec<_> = find(&market, "", Order::Amount).await.iter().map(|row| row.amount).collect();
    assert_eq!(amounts, [4_000, 3_000, 2_000, 1_000]);
}

/// A client may make its ids as it likes: one of version 4 says nothing about time.
#[tokio::test(flavor = "multi_thread")]
async fn newest_and_oldest_are_said_of_times_whatever_the_ids_are() {
    let market = Market::open().await;
    let mut sagas = Vec::new();
    let orders = [9, 2, 7, 1, 8].map(Uuid::from_u128);
    for order_id in orders {
        sagas.push(market.place_as(order_id, 1, 1_000).await);
    }
    market.project(10).await;
    let listed = async |order| find(&market, "", order).await.iter().map(|row| row.saga_id).collect::<Vec<_>>();
    assert_eq!(listed(Order::Oldest).await, sagas);
    sagas.reverse();
    assert_eq!(listed(Order::Newest).await, sagas);

    let customer = all(&market).await[0].customer_id.to_string();
    for customer_id in [String::new(), customer] {
        let mut request = ListOrdersRequest { page_size: 2, customer_id, ..ListOrdersRequest::default() };
        let mut newest_first = Vec::new();
        loop {
            let page = OrderList::new(market.pool.clone()).page(&request).await.unwrap();
            newest_first.extend(page.orders.into_iter().map(|order| order.id.parse::<Uuid>().unwrap()));
            request.page_token = page.next_page_token;
            if request.page_token.is_empty() {
                break;
            }
        }
        assert_eq!(newest_first, orders.into_iter().rev().collect::<Vec<_>>(), "{:?}", request.customer_id);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_token_that_was_made_up_is_named_in_the_refusal_whatever_is_in_it() {
    let market = Market::open().await;
    for order in 0..=5 {
        for key in [i64::MIN, i64::MAX, i64::MIN + 1] {
            let token = page::token(&format!("sagas/2/0/{order}/"), &format!("{key}/{}", Uuid::nil()));
            let request = ListSagasRequest { order, page_token: token, ..ListSagasRequest::default() };
            let answer = lists::page(&market.sagas(), &request, market.clock.now()).await;
            // Every amount can be asked for but the one without a counterpart.
            let is_amount = order == 5 && key != i64::MIN;
            assert_eq!(
                answer.as_ref().err().map(Status::code),
                (!is_amount).then_some(Code::InvalidArgument),
                "{answer:?}"
            );
        }
    }
    let token = page::token("orders/2//0", &format!("{}/{}", i64::MIN, Uuid::nil()));
    let request = ListOrdersRequest { page_token: token, ..ListOrdersRequest::default() };
    let refused = OrderList::new(market.pool.clone()).page(&request).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument, "{refused:?}");
}

/// What lists were sorted by before was a number, too.
#[tokio::test(flavor = "multi_thread")]
async fn a_page_token_of_an_older_program_is_refused_instead_of_answered_wrongly() {
    let market = Market::open().await;
    for order in 0..=5 {
        let old = page::token(&format!("sagas/0/{order}/"), &format!("0/{}", Uuid::nil()));
        let request = ListSagasRequest { order, page_token: old, ..ListSagasRequest::default() };
        let refused = lists::page(&market.sagas(), &request, market.clock.now()).await.unwrap_err();
        assert_eq!((refused.code(), refused.message().contains("page_token")), (Code::InvalidArgument, true));
        let new = page::token(&format!("sagas/2/0/{order}/"), &format!("0/{}", Uuid::nil()));
        let request = ListSagasRequest { page_token: new, ..request };
        assert!(lists::page(&market.sagas(), &request, market.clock.now()).await.is_ok(), "{order}");
    }
    let old = page::token("orders//0", &format!("0/{}", Uuid::nil()));
    let request = ListOrdersRequest { page_token: old, ..ListOrdersRequest::default() };
    let refused = OrderList::new(market.pool.clone()).page(&request).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument, "{refused:?}");
}
