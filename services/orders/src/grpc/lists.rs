//! Lists and counts of sagas, in the contract's words.

use std::collections::BTreeMap;

use chassis::page;
use chassis::problem::Violations;
use chrono::{DateTime, Utc};
use farmera_proto::common::v1::Money;
use farmera_proto::saga::v1 as pb;
use pb::count_sagas_request::GroupBy;
use pb::list_sagas_request::Order as Sorted;
use tonic::Status;
use uuid::Uuid;

use crate::operations::plan::parse_query as query;
use crate::operations::query::{Condition, Query, States};
use crate::projections::sagas::{Counted, Group, Order, Page, Row, SagaList};
use crate::status::DOMAIN;

/// Groups of one answer at most.
const GROUPS_MAX: usize = 1_000;

/// One saga, whichever comes first.
pub const ONE: Page = Page { order: Order::Newest, after: None, size: 1 };

/// A page of sagas.
///
/// # Errors
/// INVALID_ARGUMENT, or UNAVAILABLE.
pub async fn page(
    list: &SagaList,
    request: &pb::ListSagasRequest,
    now: DateTime<Utc>,
) -> Result<pb::ListSagasResponse, Status> {
    let mut violations = Violations::new();
    let size = page::size(&mut violations, request.page_size);
    // 2: what is in a token of 1 is another key.
    let question = format!("sagas/2/{}/{}/{}", request.state, request.order, request.query);
    let order = Sorted::try_from(request.order).map(order_of);
    if order.is_err() {
        violations.add("order", format!("is {}: there is no such order", request.order));
    }
    let order = order.unwrap_or(Order::Newest);
    let after = page::key(&mut violations, &question, &request.page_token, |key| place(order, key));
    let state = match pb::saga::State::try_from(request.state) {
        Ok(pb::saga::State::Unspecified) => None,
        Ok(_) => i16::try_from(request.state).ok(),
        Err(_) => {
            violations.add("state", format!("is {}: there is no such state", request.state));
            None
        }
    };
    violations.finish(DOMAIN)?;
    let asked = match (query(&request.query)?, state) {
        (asked, None) => asked,
        (Query::All, Some(state)) => Query::Is(Condition::State(States::one(state))),
        (asked, Some(state)) => Query::And(vec![asked, Query::Is(Condition::State(States::one(state)))]),
    };
    let page = Page { order, after, size };
    let (rows, has_more) = list.find(&asked, page, now).await?;
    let next = rows.last().filter(|_| has_more).map(|row| format!("{}/{}", row.key, row.saga_id));
    Ok(pb::ListSagasResponse {
        next_page_token: next.map(|key| page::token(&question, &key)).unwrap_or_default(),
        sagas: rows.iter().map(saga).collect(),
        lags: false,
    })
}

/// What a list is sorted by, at its last row, and that row's saga. Times that come last first are negative.
fn place(order: Order, key: &str) -> Option<(i64, Uuid)> {
    let (key, id) = key.split_once('/')?;
    let (key, id) = (key.parse::<i64>().ok()?, id.parse().ok()?);
    let can_be_asked_for = match order {
        Order::Newest | Order::Updated => page::time(key.checked_neg()?).is_some(),
        Order::Oldest | Order::Idle => page::time(key).is_some(),
        Order::Amount => key.checked_neg().is_some(),
    };
    can_be_asked_for.then_some((key, id))
}

fn order_of(order: Sorted) -> Order {
    match order {
        Sorted::Unspecified | Sorted::Newest => Order::Newest,
        Sorted::Oldest => Order::Oldest,
        Sorted::Updated => Order::Updated,
        Sorted::Idle => Order::Idle,
        Sorted::Amount => Order::Amount,
    }
}

/// A row in the contract's words.
#[must_use]
pub fn saga(row: &Row) -> pb::Saga {
    pb::Saga {
        id: row.saga_id.to_string(),
        definition: row.definition.clone(),
        definition_version: u32::try_from(row.definition_version).unwrap_or(0),
        order_id: row.order_id.to_string(),
        state: row.state.into(),
        version: u64::try_from(row.version).unwrap_or(0),
        start_time: Some(row.started_at.into()),
        update_time: Some(row.updated_at.into()),
        step: row.step.clone(),
        lane: row.lane.into(),
        attempt: u32::try_from(row.attempt).unwrap_or(0),
        error: row.error.clone(),
        customer_id: row.customer_id.to_string(),
        amount: Some(Money { currency_code: row.currency.clone(), minor_units: row.amount }),
        exposure: Some(exposure(row)),
        ..pb::Saga::default()
    }
}

/// What the saga of a row holds.
#[must_use]
pub fn exposure(row: &Row) -> pb::Exposure {
    pb::Exposure {
        currency_code: row.currency.clone(),
        authorized_minor_units: row.authorized,
        captured_minor_units: row.captured,
        reserved_minor_units: row.reserved,
        reserved_units: row.reserved_units,
    }
}

/// How many sagas there are.
///
/// # Errors
/// INVALID_ARGUMENT, or UNAVAILABLE.
pub async fn count(
    list: &SagaList,
    request: &pb::CountSagasRequest,
    now: DateTime<Utc>,
) -> Result<pb::CountSagasResponse, Status> {
    let mut violations = Violations::new();
    let group_by = GroupBy::try_from(request.group_by);
    if group_by.is_err() {
        violations.add("group_by", format!("is {}: sagas cannot be counted by that", request.group_by));
    }
    violations.finish(DOMAIN)?;
    let group_by = group_by.unwrap_or(GroupBy::Unspecified);
    let asked = query(&request.query)?;
    let counted = list.count(&asked, now).await?;
    Ok(grouped(&counted, group_by))
}

fn grouped(Counted(rows): &Counted, group_by: GroupBy) -> pb::CountSagasResponse {
    let mut groups: BTreeMap<String, Vec<&Group>> = BTreeMap::new();
    for row in rows {
        groups.entry(key(row, group_by)).or_default().push(row);
    }
    let mut groups: Vec<_> = groups.into_iter().map(|(key, rows)| group(key, &rows)).collect();
    groups.sort_by(|one, other| other.count.cmp(&one.count).then_with(|| one.key.cmp(&other.key)));
    groups.truncate(GROUPS_MAX);
    let all: Vec<_> = rows.iter().collect();
    let open = rows.iter().filter(|row| States::OPEN.has(row.state));
    pb::CountSagasResponse {
        count: all.iter().map(|row| u64::try_from(row.count).unwrap_or(0)).sum(),
        exposures: exposures(&all),
        groups: if group_by == GroupBy::Unspecified { Vec::new() } else { groups },
        oldest_open_time: open.filter_map(|row| row.first_started).min().map(Into::into),
        lags: false,
    }
}

fn key(row: &Group, group_by: GroupBy) -> String {
    let state = || {
        let state = pb::saga::State::try_from(i32::from(row.state)).unwrap_or(pb::saga::State::Unspecified);
        state.as_str_name().trim_start_matches("STATE_").to_owned()
    };
    let or_none = |text: &str| if text.is_empty() { "-".to_owned() } else { text.to_owned() };
    match group_by {
        GroupBy::Unspecified => String::new(),
        GroupBy::State => state(),
        GroupBy::Step => or_none(&row.step),
        GroupBy::Error => or_none(&row.error_code),
        GroupBy::Saga => format!("{}@{}", or_none(&row.definition), row.definition_version),
        GroupBy::StateAndStep => format!("{} {} {}", or_none(&row.definition), state(), or_none(&row.step)),
    }
}

fn group(key: String, rows: &[&Group]) -> pb::count_sagas_response::Group {
    pb::count_sagas_response::Group {
        key,
        count: rows.iter().map(|row| u64::try_from(row.count).unwrap_or(0)).sum(),
        exposures: exposures(rows),
        first_start_time: rows.iter().filter_map(|row| row.first_started).min().map(Into::into),
        last_update_time: rows.iter().filter_map(|row| row.last_updated).max().map(Into::into),
    }
}

/// What they hold, per currency; currencies of which nothing is held are left out.
#[must_use]
pub fn exposures(rows: &[&Group]) -> Vec<pb::Exposure> {
    let mut sums: BTreeMap<&str, pb::Exposure> = BTreeMap::new();
    for row in rows {
        let sum = sums.entry(&row.currency).or_default();
        sum.currency_code.clone_from(&row.currency);
        sum.authorized_minor_units = sum.authorized_minor_units.saturating_add(row.authorized);
        sum.captured_minor_units = sum.captured_minor_units.saturating_add(row.captured);
        sum.reserved_minor_units = sum.reserved_minor_units.saturating_add(row.reserved);
        sum.reserved_units = sum.reserved_units.saturating_add(row.reserved_units);
    }
    let holds_something = |sum: &pb::Exposure| {
        sum.authorized_minor_units != 0
            || sum.captured_minor_units != 0
            || sum.reserved_minor_units != 0
            || sum.reserved_units != 0
    };
    sums.into_values().filter(holds_something).collect()
}
