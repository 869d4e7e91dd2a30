//! `sagactl reconcile`: what no saga explains.

use std::time::Duration;

use chrono::{DateTime, Utc};
use clap::Args;
use farmera_proto::saga::v1 as pb;
use farmera_proto::saga::v1::reconcile_response::Orphan;

use crate::failure::Failure;
use crate::output::paint::Tone;
use crate::output::table::{Cell, Column};
use crate::output::words::{age, counted, grouped, or_dash, parse_length, time};
use crate::output::{Listed, tell};
use crate::saga::exposure;
use crate::session::Session;

/// How to look.
#[derive(Args, Debug)]
pub struct Arguments {
    /// Only what is older than this: what is under way looks like an orphan for a moment.
    #[arg(long, value_name = "TIME", value_parser = parse_length, default_value = "5m")]
    pub older_than: Duration,
}

impl Listed for Orphan {
    const COLUMNS: &'static [Column] = &[
        Column::left("NAME"),
        Column::left("FINDING"),
        Column::right("EXPOSURE"),
        Column::left("PROPOSAL"),
        Column::right("AGE"),
        Column::left("ORDER").wide(),
        Column::left("SAGA").wide(),
        Column::left("DETAIL").wide(),
    ];

    fn name(&self) -> String {
        format!("{}/{}", self.service, self.id)
    }

    fn cells(&self, now: DateTime<Utc>) -> Vec<Cell> {
        vec![
            Listed::name(self).into(),
            Cell::toned(&self.kind, Tone::Bad),
            exposure::shown(self.exposure.as_slice()).into(),
            or_dash(&self.proposal).into(),
            age(time(self.since.as_ref()), now).into(),
            or_dash(&self.order_id).into(),
            or_dash(&self.saga_id).into(),
            or_dash(&self.detail).into(),
        ]
    }
}

/// Asks and prints.
///
/// # Errors
/// [`Failure::Failed`] when something was found, [`Failure::Partly`] when a participant could not be asked.
pub async fn command(arguments: Arguments, session: &mut Session) -> Result<(), Failure> {
    let server = session.server()?;
    let older_than = pbjson_types::Duration {
        seconds: i64::try_from(arguments.older_than.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(arguments.older_than.subsec_nanos()).unwrap_or(0),
    };
    let answer = server.ask(server.replay().reconcile(pb::ReconcileRequest { older_than: Some(older_than) })).await?;
    if !session.out.whole("reconcile", &answer)? {
        session.out.list(&answer.orphans)?;
    }
    tell(format!(
        "looked at {}, {} and {}",
        counted(answer.payments, "payment"),
        counted(answer.reservations, "reservation"),
        counted(answer.sagas, "saga")
    ));
    if !answer.missing_services.is_empty() {
        let missing = answer.missing_services.join(", ");
        return Err(Failure::Partly(format!("{missing} could not be asked: what they hold is not known; try again")));
    }
    match answer.total {
        0 => Ok(()),
        total => Err(Failure::Failed(format!("{} that no saga explains", grouped(total)))),
    }
}
