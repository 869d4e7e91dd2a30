//! `sagactl projection rebuild --check`: read models compared with the log, in the server; nothing is changed.

use chrono::{DateTime, Utc};
use farmera_proto::saga::v1 as pb;
use pb::check_projection_response::{Difference, Found};
use serde::Serialize;

use crate::failure::Failure;
use crate::machinery::of_one_service;
use crate::output::paint::Tone;
use crate::output::table::{Cell, Column};
use crate::output::words::{counted, grouped, harmless, or_dash};
use crate::output::{Listed, has_audience, tell};
use crate::session::Session;

/// A read model that was compared.
#[derive(Serialize)]
struct Checked {
    name: String,
    rows: u64,
    events: u64,
    differences: u64,
    parked_streams: u64,
    first: Vec<Difference>,
}

impl Listed for Checked {
    const COLUMNS: &'static [Column] = &[
        Column::left("NAME"),
        Column::right("ROWS"),
        Column::right("EVENTS"),
        Column::right("DIFFER"),
        Column::right("PARKED"),
    ];

    fn name(&self) -> String {
        self.name.clone()
    }

    fn cells(&self, _now: DateTime<Utc>) -> Vec<Cell> {
        let unless = |number: u64, tone| Cell::toned(grouped(number), if number == 0 { Tone::Good } else { tone });
        vec![
            self.name.as_str().into(),
            grouped(self.rows).into(),
            grouped(self.events).into(),
            unless(self.differences, Tone::Bad),
            unless(self.parked_streams, Tone::Uneasy),
        ]
    }
}

/// Compares them one after the other and prints what was found.
///
/// # Errors
/// [`Failure::Failed`] when one does not follow from the log; [`Failure`] of a server.
pub async fn command(names: &[String], session: &mut Session) -> Result<(), Failure> {
    let whose = names.iter().map(|name| of_one_service(std::slice::from_ref(name)));
    let whose = whose.collect::<Result<Vec<_>, _>>()?;
    let mut checked = Vec::new();
    for (name, (service, selection)) in names.iter().zip(whose) {
        let projection = selection.projection_names.into_iter().next().unwrap_or_default();
        checked.push(check(name, &service, projection, session).await?);
    }
    session.out.list(&checked)?;
    if session.out.is_for_people() {
        for difference in checked.iter().flat_map(|one| &one.first) {
            lines(difference).into_iter().try_for_each(|line| session.out.line(line))?;
        }
    }
    match checked.iter().find(|one| one.differences > 0) {
        None => Ok(()),
        Some(Checked { name, differences, .. }) => Err(Failure::Failed(format!(
            "{} of {name} not as the log has it; mend: sagactl projection rebuild {name} --reason WHY --plan",
            counted(*differences, "row")
        ))),
    }
}

async fn check(name: &str, service: &str, projection: String, session: &Session) -> Result<Checked, Failure> {
    let server = session.server_of(service)?;
    let request = pb::CheckProjectionRequest { name: projection };
    let mut stream = server.ask(server.machinery().check_projection(request)).await?;
    while let Some(pb::CheckProjectionResponse { events, total, found }) = server.next(&mut stream).await? {
        if let Some(Found { rows, differences, first, parked_streams }) = found {
            return Ok(Checked { name: name.to_owned(), rows, events, differences, parked_streams, first });
        }
        if has_audience() {
            tell(format!("{name}: {} of {} events applied", grouped(events), grouped(total)));
        }
    }
    Err(Failure::Unavailable(format!("{service} stopped telling before it was done; try again")))
}

fn lines(difference: &Difference) -> [String; 3] {
    let row = |json: &str| if json.is_empty() { "no row".to_owned() } else { harmless(json) };
    [
        or_dash(&difference.table),
        format!("  in use    {}", row(&difference.in_use_json)),
        format!("  from log  {}", row(&difference.from_log_json)),
    ]
}
