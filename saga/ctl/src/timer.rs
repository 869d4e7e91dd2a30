//! `sagactl timer`: deadlines as data.

use std::time::Duration;

use chrono::{DateTime, Utc};
use clap::{Args, Subcommand};
use farmera_proto::saga::v1 as pb;
use farmera_proto::saga::v1::act::Kind;

use crate::act::selection::Sagas;
use crate::act::{self, Course, Wanted};
use crate::clock::local;
use crate::failure::Failure;
use crate::output::paint::Tone;
use crate::output::table::{Cell, Column};
use crate::output::words::{length, or_dash, parse_length, time};
use crate::output::{Listed, Listing, tell};
use crate::saga::AtStep;
use crate::saga::list::rest;
use crate::saga::state::{state_name, state_tone};
use crate::session::Session;

/// What can be done with timers.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List timers, earliest first.
    List {
        /// Only those that are overdue.
        #[arg(long)]
        overdue: bool,
        /// At most so many; 0 for all.
        #[arg(long, default_value_t = 50)]
        limit: usize,
    },
    /// Move what is due.
    Shift(Shift),
    /// Take the timer of a step away, or the saga's deadline. Such a step is parked: it waits for its answer, or for you.
    Cancel(AtStep),
    /// Let nothing become due until it is thawed.
    Freeze(Plain),
    /// Let what is frozen become due again.
    Thaw(Plain),
}

/// An act on timers.
#[derive(Args, Debug)]
pub struct Plain {
    /// Of which sagas.
    #[command(flatten)]
    pub sagas: Sagas,
    /// Preview, then act.
    #[command(flatten)]
    pub course: Course,
}

/// Moving timers.
#[derive(Args, Debug)]
pub struct Shift {
    /// By how much: 2h is later, -2h is sooner.
    #[arg(long, value_name = "TIME", value_parser = parse_shift, allow_hyphen_values = true, required_unless_present = "apply")]
    pub by: Option<By>,
    /// Only of this step; of all steps and the saga's deadline unless said otherwise.
    #[arg(long)]
    pub step: Option<String>,
    /// Of which sagas.
    #[command(flatten)]
    pub sagas: Sagas,
    /// Preview, then act.
    #[command(flatten)]
    pub course: Course,
}

/// A length of time in either direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct By {
    /// Sooner instead of later.
    pub is_sooner: bool,
    /// How far.
    pub length: Duration,
}

fn parse_shift(text: &str) -> Result<By, String> {
    let (is_sooner, rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    Ok(By { is_sooner, length: parse_length(rest)? })
}

impl By {
    fn to_contract(self) -> pbjson_types::Duration {
        let sign = if self.is_sooner { -1 } else { 1 };
        let seconds = i64::try_from(self.length.as_secs()).unwrap_or(i64::MAX);
        let nanos = i32::try_from(self.length.subsec_nanos()).unwrap_or(0);
        pbjson_types::Duration { seconds: seconds.saturating_mul(i64::from(sign)), nanos: nanos * sign }
    }
}

impl Listed for pb::Timer {
    const COLUMNS: &'static [Column] = &[
        Column::left("NAME"),
        Column::left("SAGA"),
        Column::left("STATE"),
        Column::left("STEP"),
        Column::right("DUE"),
        Column::left("AT").wide(),
    ];

    fn name(&self) -> String {
        format!("saga/{}", self.saga_id)
    }

    fn cells(&self, now: DateTime<Utc>) -> Vec<Cell> {
        let due = time(self.due_time.as_ref());
        let shown = match due {
            Some(due) if due > now => Cell::from(format!("in {}", length((due - now).to_std().unwrap_or_default()))),
            Some(due) => {
                let late = length((now - due).to_std().unwrap_or_default());
                Cell::toned(format!("{late} late"), Tone::Uneasy)
            }
            None => "-".into(),
        };
        vec![
            self.saga_id.as_str().into(),
            or_dash(&self.definition).into(),
            Cell::toned(state_name(self.state()), state_tone(self.state())),
            or_dash(&self.step).into(),
            shown,
            due.map_or_else(|| "-".to_owned(), |due| text::moment(local(due))).into(),
        ]
    }
}

/// Does it.
///
/// # Errors
/// [`Failure`] of the server.
pub async fn command(command: Command, session: &mut Session) -> Result<(), Failure> {
    match command {
        Command::List { overdue, limit } => list(overdue, limit, session).await,
        Command::Cancel(AtStep { step, sagas, course }) => {
            act::run(Wanted::at_step("timer cancel", Kind::CancelTimer, step), sagas.selection(), course, session).await
        }
        Command::Shift(Shift { by, step, sagas, course }) => {
            let shift = by.map(By::to_contract);
            let step = step.unwrap_or_default();
            let act = pb::Act { kind: Kind::ShiftTimer.into(), step, shift, ..pb::Act::default() };
            act::run(Wanted::of("timer shift", act), sagas.selection(), course, session).await
        }
        Command::Freeze(Plain { sagas, course }) => {
            act::run(Wanted::plain("timer freeze", Kind::FreezeTimer), sagas.selection(), course, session).await
        }
        Command::Thaw(Plain { sagas, course }) => {
            act::run(Wanted::plain("timer thaw", Kind::ThawTimer), sagas.selection(), course, session).await
        }
    }
}

async fn list(overdue_only: bool, limit: usize, session: &mut Session) -> Result<(), Failure> {
    let server = session.server()?;
    let mut listing = Listing::begin::<pb::Timer>(&session.out);
    let mut page_token = String::new();
    loop {
        let request = pb::ListTimersRequest { page_size: rest(limit, listing.count()), page_token, overdue_only };
        let page = server.ask(server.machinery().list_timers(request)).await?;
        listing.page(&mut session.out, &page.timers)?;
        page_token = page.next_page_token;
        if page_token.is_empty() || (limit > 0 && listing.count() >= limit) {
            break;
        }
    }
    let count = listing.count();
    listing.end(&mut session.out)?;
    if session.out.is_for_people() {
        tell(if count == 0 { "no timers: nothing acts by itself" } else { "Next: sagactl saga explain ID" });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timers_move_in_both_directions() {
        let shift = |text| parse_shift(text).map(|by| by.to_contract().seconds);
        assert_eq!([shift("2h"), shift("-90s"), shift("+1m")], [Ok(7_200), Ok(-90), Ok(60)]);
        assert!(shift("--2h").is_err());
    }
}
