//! `sagactl saga count`.

use std::time::Duration;

use chrono::{DateTime, Utc};
use clap::{Args, ValueEnum};
use farmera_proto::saga::v1 as pb;
use farmera_proto::saga::v1::count_sagas_request::GroupBy;
use farmera_proto::saga::v1::count_sagas_response::Group;

use crate::connection::Server;
use crate::failure::Failure;
use crate::output::Listed;
use crate::output::table::{Cell, Column};
use crate::output::words::{age, counted, grouped, or_dash, parse_length, time};
use crate::session::Session;

use super::list::tell_lag;
use super::{exposure, watching};

/// Which sagas, and how they are counted.
#[derive(Args, Debug)]
pub struct Count {
    /// Only sagas that this query admits; `sagactl cheat` shows how queries are written.
    #[arg(short, long, default_value = "", hide_default_value = true)]
    pub query: String,
    /// Counted apart by this.
    #[arg(long, value_enum, default_value_t)]
    pub by: By,
    /// Count again and again, as often as this.
    #[arg(long, value_name = "TIME", value_parser = parse_length, num_args = 0..=1, default_missing_value = "2s", require_equals = true)]
    pub watch: Option<Duration>,
}

/// What sagas are counted apart by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum By {
    /// By state.
    #[default]
    State,
    /// By the step they are at.
    Step,
    /// By their last error.
    Error,
    /// By definition and version.
    Saga,
    /// By definition, state and step.
    StateStep,
}

impl By {
    fn to_contract(self) -> GroupBy {
        match self {
            Self::State => GroupBy::State,
            Self::Step => GroupBy::Step,
            Self::Error => GroupBy::Error,
            Self::Saga => GroupBy::Saga,
            Self::StateStep => GroupBy::StateAndStep,
        }
    }
}

impl Listed for Group {
    const COLUMNS: &'static [Column] = &[
        Column::left("NAME"),
        Column::right("COUNT"),
        Column::right("EXPOSURE"),
        Column::right("FIRST"),
        Column::right("LAST"),
    ];

    fn name(&self) -> String {
        self.key.clone()
    }

    fn cells(&self, now: DateTime<Utc>) -> Vec<Cell> {
        vec![
            or_dash(&self.key).into(),
            grouped(self.count).into(),
            exposure::shown(&self.exposures).into(),
            age(time(self.first_start_time.as_ref()), now).into(),
            age(time(self.last_update_time.as_ref()), now).into(),
        ]
    }
}

/// Asks and prints, once or again and again.
///
/// # Errors
/// [`Failure`] of the server; [`Failure::Usage`] for a query that means nothing.
pub async fn command(count: Count, session: &mut Session) -> Result<(), Failure> {
    let server = session.server()?;
    let Some(interval) = count.watch else { return once(&count, &server, session).await };
    watching::again(interval, session, async |session| once(&count, &server, session).await).await
}

async fn once(count: &Count, server: &Server, session: &mut Session) -> Result<(), Failure> {
    let request = pb::CountSagasRequest {
        query: count.query.clone(),
        group_by: count.by.to_contract().into(),
        as_of_now: true,
        ..pb::CountSagasRequest::default()
    };
    let answer = server.ask_for(&count.query, server.sagas().count_sagas(request)).await?;
    tell_lag(answer.lags, &mut session.out)?;
    let out = &mut session.out;
    if out.whole(&answer.count.to_string(), &answer)? {
        return Ok(());
    }
    out.list(&answer.groups)?;
    let oldest = match time(answer.oldest_open_time.as_ref()) {
        Some(oldest) => format!(", the oldest open one {} old", age(Some(oldest), out.now)),
        None => String::new(),
    };
    out.line(format!("{}, exposure {}{oldest}", counted(answer.count, "saga"), exposure::shown(&answer.exposures)))
}
