//! `sagactl saga list`.

use std::time::Duration;

use chrono::{DateTime, Utc};
use clap::{Args, ValueEnum};
use farmera_proto::saga::v1 as pb;
use farmera_proto::saga::v1::count_sagas_request::GroupBy;
use farmera_proto::saga::v1::list_sagas_request::Order;

use crate::connection::Server;
use crate::failure::Failure;
use crate::output::paint::Tone;
use crate::output::table::{Cell, Column};
use crate::output::words::{age, amount, grouped, or_dash, parse_length, time};
use crate::output::{Listed, Listing, Out};
use crate::session::Session;

use super::state::{is_over, state_name, state_tone, step_name};
use super::{exposure, watching};

/// A page is as large as the server lets it be.
const PAGE_MAX: usize = 1_000;

/// Which sagas, and how they are sorted.
#[derive(Args, Debug)]
pub struct List {
    /// Only sagas that this query admits; `sagactl cheat` shows how queries are written.
    #[arg(short, long, default_value = "", hide_default_value = true)]
    pub query: String,
    /// How they are sorted.
    #[arg(long, value_enum, default_value_t)]
    pub sort: Sort,
    /// At most so many; 0 for all, page by page.
    #[arg(long, default_value_t = 50)]
    pub limit: usize,
    /// List again and again, as often as this.
    #[arg(long, value_name = "TIME", value_parser = parse_length, num_args = 0..=1, default_missing_value = "2s", require_equals = true)]
    pub watch: Option<Duration>,
}

/// How sagas are sorted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Sort {
    /// Last started first.
    #[default]
    Newest,
    /// First started first.
    Oldest,
    /// Last changed first.
    Updated,
    /// Longest unchanged first.
    Idle,
    /// Highest amount first.
    Amount,
}

impl Sort {
    fn to_contract(self) -> Order {
        match self {
            Self::Newest => Order::Newest,
            Self::Oldest => Order::Oldest,
            Self::Updated => Order::Updated,
            Self::Idle => Order::Idle,
            Self::Amount => Order::Amount,
        }
    }
}

impl Listed for pb::Saga {
    const COLUMNS: &'static [Column] = &[
        Column::left("NAME"),
        Column::left("STATE"),
        Column::left("STEP"),
        Column::right("TRIES"),
        Column::left("ERROR"),
        Column::right("EXPOSURE"),
        Column::right("AGE"),
        Column::left("SAGA").wide(),
        Column::left("ORDER").wide(),
        Column::left("CUSTOMER").wide(),
        Column::right("AMOUNT").wide(),
        Column::right("IDLE").wide(),
    ];

    fn name(&self) -> String {
        format!("saga/{}", self.id)
    }

    fn cells(&self, now: DateTime<Utc>) -> Vec<Cell> {
        let tries = if self.attempt == 0 { "-".to_owned() } else { self.attempt.to_string() };
        let error = if self.error.is_empty() { &self.cause } else { &self.error };
        let tone = if is_over(self.state()) { Tone::Plain } else { Tone::Uneasy };
        vec![
            self.id.as_str().into(),
            Cell::toned(state_name(self.state()), state_tone(self.state())),
            step_name(&self.step, self.lane()).into(),
            tries.into(),
            Cell::toned(or_dash(error), tone),
            exposure::shown(self.exposure.as_slice()).into(),
            age(time(self.start_time.as_ref()), now).into(),
            format!("{}@{}", self.definition, self.definition_version).into(),
            or_dash(&self.order_id).into(),
            or_dash(&self.customer_id).into(),
            amount(self.amount.as_ref()).into(),
            age(time(self.update_time.as_ref()), now).into(),
        ]
    }
}

/// How many to ask for next; `limit` 0 is all.
#[must_use]
pub fn rest(limit: usize, had: usize) -> i32 {
    let missing = if limit == 0 { PAGE_MAX } else { limit.saturating_sub(had).clamp(1, PAGE_MAX) };
    i32::try_from(missing).unwrap_or(1)
}

/// Asks and prints, once or again and again.
///
/// # Errors
/// [`Failure`] of the server; [`Failure::Usage`] for a query that means nothing.
pub async fn command(list: List, session: &mut Session) -> Result<(), Failure> {
    let server = session.server()?;
    let Some(interval) = list.watch else { return once(&list, &server, session).await };
    watching::again(interval, session, async |session| once(&list, &server, session).await).await
}

async fn once(list: &List, server: &Server, session: &mut Session) -> Result<(), Failure> {
    let mut listing = Listing::begin::<pb::Saga>(&session.out);
    let mut page_token = String::new();
    loop {
        let request = pb::ListSagasRequest {
            page_size: rest(list.limit, listing.count()),
            // What was done before this was typed is in it.
            as_of_now: page_token.is_empty(),
            page_token,
            query: list.query.clone(),
            order: list.sort.to_contract().into(),
            ..pb::ListSagasRequest::default()
        };
        let page = server.ask_for(&list.query, server.sagas().list_sagas(request)).await?;
        listing.page(&mut session.out, &page.sagas)?;
        tell_lag(page.lags, &mut session.out)?;
        page_token = page.next_page_token;
        if page_token.is_empty() || (list.limit > 0 && listing.count() >= list.limit) {
            break;
        }
    }
    let shown = listing.count();
    listing.end(&mut session.out)?;
    if session.out.is_for_people() {
        let request = pb::CountSagasRequest {
            query: list.query.clone(),
            group_by: GroupBy::State.into(),
            ..pb::CountSagasRequest::default()
        };
        let counted = server.ask_for(&list.query, server.sagas().count_sagas(request)).await?;
        session.out.tell(footer(shown, &counted, list.query.is_empty()))?;
    }
    Ok(())
}

/// Says that a list is not as of now, where it is not.
///
/// # Errors
/// The output cannot be written.
pub fn tell_lag(lags: bool, out: &mut Out) -> Result<(), Failure> {
    if !lags {
        return Ok(());
    }
    out.tell("it lags: what was done in the last moments may be missing; ask again, or see: sagactl projection list")
}

fn footer(shown: usize, counted: &pb::CountSagasResponse, is_all: bool) -> String {
    if counted.count == 0 {
        let hint = if is_all { "place an order: farmera order place --help" } else { "see all: sagactl saga list" };
        return format!("no sagas; {hint}");
    }
    let parked = counted.groups.iter().find(|group| group.key == "PARKED").map_or(0, |group| group.count);
    let parked = if parked == 0 { String::new() } else { format!("{} parked, ", grouped(parked)) };
    let shown = grouped(u64::try_from(shown).unwrap_or(u64::MAX));
    format!(
        "{shown} of {} ({parked}exposure {}). Next: sagactl saga explain ID",
        grouped(counted.count),
        exposure::shown(&counted.exposures)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_never_ask_for_more_than_is_wanted() {
        assert_eq!([rest(50, 0), rest(50, 45), rest(0, 7), rest(5_000, 0)], [50, 5, 1_000, 1_000]);
    }

    #[test]
    fn the_footer_counts_what_is_parked_and_held() {
        let group =
            |key: &str, count| pb::count_sagas_response::Group { key: key.to_owned(), count, ..Default::default() };
        let held = pb::Exposure { currency_code: "EUR".to_owned(), captured_minor_units: 26_500, ..Default::default() };
        let counted = pb::CountSagasResponse {
            count: 3,
            exposures: vec![held],
            groups: vec![group("RUNNING", 2), group("PARKED", 1)],
            oldest_open_time: None,
            lags: false,
        };
        let expected = "3 of 3 (1 parked, exposure money 265.00 EUR). Next: sagactl saga explain ID";
        assert_eq!(footer(3, &counted, true), expected);
    }
}
