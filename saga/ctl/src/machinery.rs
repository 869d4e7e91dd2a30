//! `sagactl projection`, `transport`, `service`: what sagas run on.

use chrono::{DateTime, Utc};
use clap::Subcommand;
use farmera_proto::saga::v1 as pb;
use farmera_proto::saga::v1::get_transport_status_response::BrokerStream;
use farmera_proto::saga::v1::list_projections_response::ProjectionStatus;
use serde::Serialize;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::connection::Server;
use crate::failure::Failure;
use crate::output::paint::Tone;
use crate::output::table::{Cell, Column};
use crate::output::words::{age, counted, grouped, or_dash, time};
use crate::output::{Listed, tell};
use crate::session::Session;

/// What can be asked about read models.
#[derive(Debug, Subcommand)]
pub enum ProjectionCommand {
    /// List them and how far they have come.
    List,
}

/// What can be asked about the way to the broker.
#[derive(Debug, Subcommand)]
pub enum TransportCommand {
    /// Show what waits to be published and what the broker is known to have lost.
    Status,
}

/// What can be asked about services.
#[derive(Debug, Subcommand)]
pub enum ServiceCommand {
    /// List the services and whether they serve.
    List,
}

impl Listed for ProjectionStatus {
    const COLUMNS: &'static [Column] = &[
        Column::left("NAME"),
        Column::right("LAG"),
        Column::right("PARKED"),
        Column::left("CURSOR").wide(),
        Column::right("AGE"),
    ];

    fn name(&self) -> String {
        self.name.clone()
    }

    fn cells(&self, now: DateTime<Utc>) -> Vec<Cell> {
        let uneasy = |number: u64| Cell::toned(grouped(number), if number == 0 { Tone::Good } else { Tone::Uneasy });
        vec![
            self.name.as_str().into(),
            uneasy(self.lag_events),
            uneasy(self.parked_streams),
            or_dash(&self.cursor).into(),
            age(time(self.update_time.as_ref()), now).into(),
        ]
    }
}

/// Asks and prints.
///
/// # Errors
/// [`Failure`] of the server.
pub async fn projections(command: ProjectionCommand, session: &mut Session) -> Result<(), Failure> {
    let ProjectionCommand::List = command;
    let server = session.server()?;
    let answer = server.ask(server.machinery().list_projections(pb::ListProjectionsRequest {})).await?;
    session.out.list(&answer.projections)?;
    if session.out.is_for_people() {
        tell(
            "LAG is in events, PARKED in streams that wait for a newer program. Make one anew: docs/runbooks/read-models.md",
        );
    }
    Ok(())
}

impl Listed for BrokerStream {
    const COLUMNS: &'static [Column] = &[
        Column::left("NAME"),
        Column::right("EPOCH"),
        Column::right("LAST"),
        Column::right("MISSING"),
        Column::left("CONSUMERS"),
        Column::right("AGE"),
    ];

    fn name(&self) -> String {
        self.name.clone()
    }

    fn cells(&self, now: DateTime<Utc>) -> Vec<Cell> {
        vec![
            self.name.as_str().into(),
            self.epoch.to_string().into(),
            grouped(self.last_sequence).into(),
            Cell::toned(grouped(self.missing), if self.missing == 0 { Tone::Good } else { Tone::Bad }),
            or_dash(&self.consumers.join(",")).into(),
            age(time(self.update_time.as_ref()), now).into(),
        ]
    }
}

/// Asks and prints.
///
/// # Errors
/// [`Failure`] of the server.
pub async fn transport(command: TransportCommand, session: &mut Session) -> Result<(), Failure> {
    let TransportCommand::Status = command;
    let server = session.server()?;
    let answer = server.ask(server.machinery().get_transport_status(pb::GetTransportStatusRequest {})).await?;
    if session.out.whole("transport", &answer)? {
        return Ok(());
    }
    session.out.list(&answer.streams)?;
    let pending = counted(answer.outbox_pending, "transaction");
    let oldest = match time(answer.oldest_pending_time.as_ref()) {
        Some(oldest) => format!(", the oldest for {}", age(Some(oldest), session.out.now)),
        None => String::new(),
    };
    session.out.line(format!("outbox: {pending} to be published{oldest}"))
}

#[derive(Serialize)]
struct Row {
    name: &'static str,
    url: String,
    health: &'static str,
    info: Option<pb::GetServiceInfoResponse>,
    trouble: Option<String>,
}

impl Listed for Row {
    const COLUMNS: &'static [Column] = &[
        Column::left("NAME"),
        Column::left("HEALTH"),
        Column::left("ADDRESS"),
        Column::left("VERSION"),
        Column::left("SAGAS"),
        Column::right("AGE"),
        Column::left("TROUBLE").wide(),
    ];

    fn name(&self) -> String {
        self.name.to_owned()
    }

    fn cells(&self, now: DateTime<Utc>) -> Vec<Cell> {
        let tone = if self.health == "SERVING" { Tone::Good } else { Tone::Bad };
        let info = self.info.as_ref();
        vec![
            self.name.into(),
            Cell::toned(self.health, tone),
            self.url.as_str().into(),
            or_dash(info.map_or("", |info| &info.version)).into(),
            or_dash(&info.map(|info| info.definitions.join(",")).unwrap_or_default()).into(),
            age(info.and_then(|info| time(info.start_time.as_ref())), now).into(),
            or_dash(self.trouble.as_deref().unwrap_or_default()).into(),
        ]
    }
}

/// Asks every service whether it serves.
///
/// # Errors
/// [`Failure::Unavailable`] when one of them does not; all are listed first.
pub async fn services(command: ServiceCommand, session: &mut Session) -> Result<(), Failure> {
    let ServiceCommand::List = command;
    let mut rows = Vec::new();
    for server in session.servers()? {
        rows.push(look_at(&server).await);
    }
    session.out.list(&rows)?;
    let away: Vec<_> = rows.iter().filter(|row| row.health != "SERVING").collect();
    match away.first() {
        None => Ok(()),
        Some(first) => {
            let trouble = first.trouble.clone().unwrap_or_else(|| format!("{} is {}", first.name, first.health));
            Err(Failure::Unavailable(format!("{} of {} do not serve: {trouble}", away.len(), rows.len())))
        }
    }
}

async fn look_at(server: &Server) -> Row {
    let mut health = HealthClient::new(server.wire());
    let asked = server.ask(health.check(HealthCheckRequest { service: String::new() })).await;
    let (health, trouble) = match asked.as_ref().map(tonic_health::pb::HealthCheckResponse::status) {
        Ok(ServingStatus::Serving) => ("SERVING", None),
        Ok(ServingStatus::NotServing) => ("NOT_SERVING", None),
        Ok(ServingStatus::Unknown | ServingStatus::ServiceUnknown) => ("UNKNOWN", None),
        Err(failure) => ("AWAY", Some(failure.to_string())),
    };
    let info = if server.name == "orders" {
        server.ask(server.machinery().get_service_info(pb::GetServiceInfoRequest {})).await.ok()
    } else {
        None
    };
    Row { name: server.name, url: server.url.clone(), health, info, trouble }
}
