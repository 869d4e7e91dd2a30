//! What is asked of the database: fixed text for each order and each way, whatever the query.

use std::collections::BTreeSet;

use sqlx::postgres::{PgArguments, Postgres};
use sqlx::query::QueryAs;

use super::list::Order;
use crate::operations::query::{Bounds, Range, States};

macro_rules! columns {
    () => {
        "saga_id, definition, definition_version, order_id, customer_id, state, started_at, updated_at, version, amount,
         currency, authorized, captured, reserved, reserved_units, step, lane, attempt, error_code, error"
    };
}

/// What the database can tell, beside the way. `$4` to `$20`.
macro_rules! within {
    () => {
        " and state = any($4)
          and ($5::text[] is null or definition = any($5))
          and ($6::text[] is null or step = any($6))
          and ($7::text[] is null or error_code = any($7))
          and ($8::timestamptz is null or started_at >= $8)
          and ($9::timestamptz is null or started_at <= $9)
          and ($10::timestamptz is null or updated_at >= $10)
          and ($11::timestamptz is null or updated_at <= $11)
          and ($12::text[] is null or currency = any($12))
          and ($13::bigint is null or amount >= $13)
          and ($14::bigint is null or amount <= $14)
          and ($15::bigint is null or greatest(authorized + captured, reserved) >= $15)
          and ($16::bigint is null or greatest(authorized + captured, reserved) <= $16)
          and ($17::text is null or position($17 in lower(error collate \"C\")) > 0)
          and ($18::bigint is null or definition_version >= $18)
          and ($19::bigint is null or definition_version <= $19)
          and ($20::uuid[] is null or customer_id = any($20)) "
    };
}

pub(super) use within;

/// The key is worked out for the rows of the page alone: the order is that of the columns.
macro_rules! statement {
    ($way:literal, $key:literal, $after:literal, $order:literal) => {
        concat!(
            "select found.*, ",
            $key,
            " as key from (select ",
            columns!(),
            " from saga_view where ",
            $way,
            within!(),
            $after,
            $order,
            " limit $21) as found ",
            $order
        )
    };
}

macro_rules! statements {
    ($name:ident, $key:literal, $after:literal, $order:literal) => {
        /// By id, not completed, all.
        const $name: [&str; 3] = [
            statement!("saga_id = any($3)", $key, $after, $order),
            statement!("state <> 4 and $3::uuid[] is null", $key, $after, $order),
            statement!("$3::uuid[] is null", $key, $after, $order),
        ];
    };
}

// `$1` and `$2`: key and id of the last row of the page before.
statements!(
    NEWEST,
    "-(extract(epoch from started_at) * 1000000)::bigint",
    "and ($2::uuid is null
          or (started_at, saga_id) < (timestamptz 'epoch' - $1::bigint * interval '1 microsecond', $2))",
    "order by started_at desc, saga_id desc"
);
statements!(
    OLDEST,
    "(extract(epoch from started_at) * 1000000)::bigint",
    "and ($2::uuid is null
          or (started_at, saga_id) > (timestamptz 'epoch' + $1::bigint * interval '1 microsecond', $2))",
    "order by started_at, saga_id"
);
statements!(
    UPDATED,
    "-(extract(epoch from updated_at) * 1000000)::bigint",
    "and ($2::uuid is null
          or updated_at < timestamptz 'epoch' - $1::bigint * interval '1 microsecond'
          or updated_at = timestamptz 'epoch' - $1::bigint * interval '1 microsecond' and saga_id > $2)",
    "order by updated_at desc, saga_id"
);
statements!(
    IDLE,
    "(extract(epoch from updated_at) * 1000000)::bigint",
    "and ($2::uuid is null
          or updated_at > timestamptz 'epoch' + $1::bigint * interval '1 microsecond'
          or updated_at = timestamptz 'epoch' + $1::bigint * interval '1 microsecond' and saga_id > $2)",
    "order by updated_at, saga_id"
);
statements!(
    AMOUNT,
    "-amount",
    "and ($2::uuid is null or amount < -$1::bigint or amount = -$1::bigint and saga_id > $2)",
    "order by amount desc, saga_id"
);

/// The way to the sagas of a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Ids,
    NotCompleted,
    All,
}

impl Way {
    pub(super) fn of(bounds: &Bounds) -> Self {
        match &bounds.ids {
            Some(_) => Self::Ids,
            None if bounds.states.within(States::NOT_COMPLETED) => Self::NotCompleted,
            None => Self::All,
        }
    }
}

pub(super) fn statement(order: Order, way: Way) -> &'static str {
    let [ids, not_completed, all] = match order {
        Order::Newest => NEWEST,
        Order::Oldest => OLDEST,
        Order::Updated => UPDATED,
        Order::Idle => IDLE,
        Order::Amount => AMOUNT,
    };
    match way {
        Way::Ids => ids,
        Way::NotCompleted => not_completed,
        Way::All => all,
    }
}

/// Binds `$3` to `$20`.
pub(super) fn bind<'q, T>(
    query: QueryAs<'q, Postgres, T, PgArguments>,
    bounds: &Bounds,
) -> QueryAs<'q, Postgres, T, PgArguments> {
    query
        .bind(bounds.ids.as_ref().map(|ids| ids.iter().copied().collect::<Vec<_>>()))
        .bind(bounds.states.numbers())
        .bind(texts(&bounds.definitions))
        .bind(texts(&bounds.steps))
        .bind(texts(&bounds.errors))
        .bind(bounds.started.from)
        .bind(bounds.started.to)
        .bind(bounds.updated.from)
        .bind(bounds.updated.to)
        .bind(texts(&bounds.currencies))
        .bind(low(bounds.amount))
        .bind(high(bounds.amount))
        .bind(low(bounds.exposure))
        .bind(high(bounds.exposure))
        .bind(bounds.error_part.clone())
        .bind(low(bounds.version))
        .bind(high(bounds.version))
        .bind(bounds.customers.as_ref().map(|ids| ids.iter().copied().collect::<Vec<_>>()))
}

pub(super) fn low(range: Range) -> Option<i64> {
    Some(range.low).filter(|low| *low > i64::MIN)
}

pub(super) fn high(range: Range) -> Option<i64> {
    Some(range.high).filter(|high| *high < i64::MAX)
}

/// The elements of a set, where there is one.
pub(super) fn texts(set: &Option<BTreeSet<String>>) -> Option<Vec<String>> {
    set.as_ref().map(|set| set.iter().cloned().collect())
}
