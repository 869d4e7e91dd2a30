//! `sagactl hold`: what is held back on purpose.

use chrono::{DateTime, Utc};
use clap::Subcommand;
use farmera_proto::saga::v1 as pb;
use farmera_proto::saga::v1::list_holds_response::Hold;

use crate::failure::Failure;
use crate::output::table::{Cell, Column};
use crate::output::words::{age, grouped, length, or_dash, time};
use crate::output::{Listed, tell};
use crate::session::Session;

/// What can be asked about holds.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List holds.
    List,
}

impl Listed for Hold {
    const COLUMNS: &'static [Column] = &[
        Column::left("NAME"),
        Column::left("STATE"),
        Column::left("UNTIL"),
        Column::right("SAGAS"),
        Column::left("ACTOR"),
        Column::left("REASON"),
        Column::right("AGE"),
    ];

    fn name(&self) -> String {
        self.target.clone()
    }

    fn cells(&self, now: DateTime<Utc>) -> Vec<Cell> {
        let until = time(self.until.as_ref()).map_or_else(
            || "released".to_owned(),
            |until| format!("in {}", length((until - now).to_std().unwrap_or_default())),
        );
        vec![
            self.target.as_str().into(),
            if self.releasing { format!("releasing, {} let go", self.let_go) } else { "standing".to_owned() }.into(),
            until.into(),
            grouped(self.sagas).into(),
            or_dash(&self.actor).into(),
            or_dash(&self.reason).into(),
            age(time(self.since.as_ref()), now).into(),
        ]
    }
}

/// Asks and prints.
///
/// # Errors
/// [`Failure`] of the server.
pub async fn command(command: Command, session: &mut Session) -> Result<(), Failure> {
    let Command::List = command;
    let server = session.server()?;
    let answer = server.ask(server.machinery().list_holds(pb::ListHoldsRequest {})).await?;
    session.out.list(&answer.holds)?;
    if answer.holds.is_empty() && session.out.is_for_people() {
        tell("no holds: every step is asked for as soon as it is its turn");
    }
    Ok(())
}
