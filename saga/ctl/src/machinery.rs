//! `sagactl projection`, `transport`, `service`: what sagas run on.

use chrono::{DateTime, Utc};
use clap::{Args, Subcommand};
use farmera_proto::saga::v1 as pb;
use farmera_proto::saga::v1::act::Kind;
use farmera_proto::saga::v1::get_transport_status_response::BrokerStream;
use farmera_proto::saga::v1::list_projections_response::ProjectionStatus;
use serde::Serialize;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::act::{self, PlainCourse, Wanted};
use crate::connection::Server;
use crate::failure::Failure;
use crate::output::paint::Tone;
use crate::output::table::{Cell, Column};
use crate::output::words::{age, grouped, harmless, or_dash, time};
use crate::output::{Listed, tell};
use crate::saga::moment::{Moment, parse_moment};
use crate::session::Session;
use crate::{projection_check, replay};

/// What can be asked about read models.
#[derive(Debug, Subcommand)]
pub enum ProjectionCommand {
    /// List them and how far they have come.
    List {
        /// Only of this service.
        #[arg(long, value_name = "NAME")]
        service: Option<String>,
    },
    /// Make read models of one service anew from the log, in the server, while it runs.
    Rebuild(RebuildProjection),
}

/// Which to make anew.
#[derive(Args, Debug)]
pub struct RebuildProjection {
    /// By name, as `projection list` shows them: orders/order_view.
    #[arg(value_name = "NAME", required_unless_present = "apply", conflicts_with = "apply")]
    pub names: Vec<String>,
    /// Build them beside those in use and compare; change nothing. Exit code 1 when they differ.
    #[arg(long, conflicts_with_all = ["plan", "apply", "reason", "detach"])]
    pub check: bool,
    /// Preview, then act.
    #[command(flatten)]
    pub course: PlainCourse,
}

/// Whose messages to tell again.
#[derive(Args, Debug)]
pub struct RebuildTransport {
    /// The service whose stream it is.
    #[arg(required_unless_present = "apply", conflicts_with = "apply")]
    pub service: Option<String>,
    /// Only events that happened then or later (12:30 of TZ's zone, 2026-11-26T12:30:00Z).
    #[arg(long, value_name = "TIME", value_parser = parse_moment, conflicts_with = "apply")]
    pub from: Option<Moment>,
    /// Preview, then act.
    #[command(flatten)]
    pub course: PlainCourse,
}

/// Whose stream to make anew.
#[derive(Args, Debug)]
pub struct RenewTransport {
    /// The service whose stream it is.
    #[arg(required_unless_present = "apply", conflicts_with = "apply")]
    pub service: Option<String>,
    /// Preview, then act.
    #[command(flatten)]
    pub course: PlainCourse,
}

/// What can be asked about the way to the broker.
#[derive(Debug, Subcommand)]
pub enum TransportCommand {
    /// Show what waits to be published and what the broker is known to have lost.
    Status {
        /// Only of this service.
        #[arg(long, value_name = "NAME")]
        service: Option<String>,
    },
    /// Compare a service's log with what the broker holds, and tell again what is missing.
    Rebuild(RebuildTransport),
    /// Delete a service's stream and make it anew: for one that keeps refusing messages, as after a full disk.
    Renew(RenewTransport),
}

/// What can be asked about services.
#[derive(Debug, Subcommand)]
pub enum ServiceCommand {
    /// List the services and whether they serve.
    List,
}

/// Those that are asked: the one that is named, or all.
fn asked(service: Option<&str>, session: &Session) -> Result<Vec<Server>, Failure> {
    match service {
        Some(name) => Ok(vec![session.server_of(name)?]),
        None => session.servers(),
    }
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
        format!("{}/{}", self.service, self.name)
    }

    fn cells(&self, now: DateTime<Utc>) -> Vec<Cell> {
        let uneasy = |number: u64| Cell::toned(grouped(number), if number == 0 { Tone::Good } else { Tone::Uneasy });
        vec![
            Listed::name(self).into(),
            uneasy(self.lag_events),
            uneasy(self.parked_streams),
            or_dash(&self.cursor).into(),
            age(time(self.update_time.as_ref()), now).into(),
        ]
    }
}

/// Asks and prints, or plans and applies.
///
/// # Errors
/// [`Failure`] of a server.
pub async fn projections(command: ProjectionCommand, session: &mut Session) -> Result<(), Failure> {
    let service = match command {
        ProjectionCommand::List { service } => service,
        ProjectionCommand::Rebuild(RebuildProjection { names, check: true, course: _ }) => {
            return projection_check::command(&names, session).await;
        }
        ProjectionCommand::Rebuild(RebuildProjection { names, check: false, course }) => {
            let wanted = Wanted::plain("projection rebuild", Kind::RebuildProjection);
            return match of_one_service(&names) {
                Ok((service, selection)) => {
                    act::run(Wanted { service, ..wanted }, Ok(selection), course.into(), session).await
                }
                Err(failure) => act::run(wanted, Err(failure), course.into(), session).await,
            };
        }
    };
    let (mut found, mut away) = (Vec::new(), None);
    for server in asked(service.as_deref(), session)? {
        match server.ask(server.machinery().list_projections(pb::ListProjectionsRequest {})).await {
            Ok(answer) => found.extend(answer.projections),
            Err(failure) => away = away.or(Some(failure)),
        }
    }
    session.out.list(&found)?;
    if session.out.is_for_people() && away.is_none() {
        tell(
            "LAG is in events, PARKED in streams that wait for a newer program. Make one anew: sagactl projection rebuild NAME --reason WHY --plan",
        );
    }
    away.map_or(Ok(()), Err)
}

/// Read models of one service: `orders/order_view`.
///
/// # Errors
/// [`Failure::Usage`] for a name without a service, or two services.
pub fn of_one_service(names: &[String]) -> Result<(String, pb::Selection), Failure> {
    let (mut whose, mut projection_names) = (None, Vec::new());
    for name in names {
        let Some((service, projection)) = name.split_once('/') else {
            return Err(Failure::Usage(format!("{name:?} is no read model; expected one such as orders/order_view")));
        };
        if whose.get_or_insert(service) != &service {
            return Err(Failure::Usage("a plan is one of one service: name read models of one".to_owned()));
        }
        projection_names.push(projection.to_owned());
    }
    let service = whose.unwrap_or_default().to_owned();
    Ok((service, pb::Selection { projection_names, ..pb::Selection::default() }))
}

/// A stream of the broker, and what waits to be told there.
#[derive(Serialize)]
struct Way {
    service: String,
    outbox_pending: u64,
    oldest_pending_time: Option<pbjson_types::Timestamp>,
    trouble: String,
    stream: BrokerStream,
}

impl Listed for Way {
    const COLUMNS: &'static [Column] = &[
        Column::left("NAME"),
        Column::left("STREAM"),
        Column::right("OUTBOX"),
        Column::right("SINCE"),
        Column::right("EPOCH"),
        Column::right("LAST"),
        Column::right("MISSING"),
        Column::left("CONSUMERS").wide(),
        Column::right("AGE"),
    ];

    fn name(&self) -> String {
        self.service.clone()
    }

    fn cells(&self, now: DateTime<Utc>) -> Vec<Cell> {
        let Self { service, outbox_pending, oldest_pending_time, stream, trouble } = self;
        let tone = if stream.missing == 0 { Tone::Good } else { Tone::Bad };
        vec![
            service.as_str().into(),
            or_dash(&stream.name).into(),
            Cell::toned(grouped(*outbox_pending), if trouble.is_empty() { Tone::Good } else { Tone::Bad }),
            age(time(oldest_pending_time.as_ref()), now).into(),
            stream.epoch.to_string().into(),
            grouped(stream.last_sequence).into(),
            Cell::toned(grouped(stream.missing), tone),
            or_dash(&stream.consumers.join(",")).into(),
            age(time(stream.update_time.as_ref()), now).into(),
        ]
    }
}

/// Asks and prints, or plans and applies.
///
/// # Errors
/// [`Failure`] of a server.
pub async fn transport(command: TransportCommand, session: &mut Session) -> Result<(), Failure> {
    let service = match command {
        TransportCommand::Status { service } => service,
        TransportCommand::Renew(RenewTransport { service, course }) => {
            let wanted = Wanted::plain("transport renew", Kind::RenewTransport);
            let wanted = Wanted { service: service.unwrap_or_default(), ..wanted };
            return act::run(wanted, Ok(pb::Selection::default()), course.into(), session).await;
        }
        TransportCommand::Rebuild(RebuildTransport { service, from, course }) => {
            let service = service.unwrap_or_default();
            let from_time = replay::time_at(from, session)?;
            let event_range = from_time.map(|at| pb::EventRange { from_time: Some(at), ..pb::EventRange::default() });
            let act = pb::Act { kind: Kind::RebuildTransport.into(), event_range, ..pb::Act::default() };
            let wanted = Wanted { service, ..Wanted::of("transport rebuild", act) };
            return act::run(wanted, Ok(pb::Selection::default()), course.into(), session).await;
        }
    };
    let (mut ways, mut away) = (Vec::new(), None);
    for server in asked(service.as_deref(), session)? {
        match server.ask(server.machinery().get_transport_status(pb::GetTransportStatusRequest {})).await {
            Ok(answer) => ways.extend(answer.streams.into_iter().map(|stream| Way {
                service: answer.service.clone(),
                outbox_pending: answer.outbox_pending,
                oldest_pending_time: answer.oldest_pending_time,
                trouble: answer.trouble.clone(),
                stream,
            })),
            Err(failure) => away = away.or(Some(failure)),
        }
    }
    session.out.list(&ways)?;
    if session.out.is_for_people() {
        let mut troubles: Vec<_> = ways.iter().filter(|way| !way.trouble.is_empty()).collect();
        troubles.dedup_by_key(|way| &way.service);
        troubles.iter().for_each(|way| tell(format!("{}: {}", harmless(&way.service), harmless(&way.trouble))));
    }
    if session.out.is_for_people() && away.is_none() {
        tell(
            "OUTBOX is transactions to be published, MISSING what the broker is known to have lost. Tell it again: sagactl transport rebuild SERVICE --reason WHY --plan",
        );
    }
    away.map_or(Ok(()), Err)
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
    if session.out.is_for_people() {
        // The first one is in the failure.
        let down = away.iter().skip(1).filter(|row| row.health == "NOT_SERVING");
        down.for_each(|row| tell(format!("{}: {}", row.name, row.trouble.as_deref().unwrap_or_default())));
    }
    match away.first() {
        None => Ok(()),
        Some(first) => {
            let trouble = match (&first.trouble, first.health) {
                (Some(trouble), "NOT_SERVING") => format!("{}: {trouble}", first.name),
                (Some(trouble), _) => trouble.clone(),
                (None, _) => format!("{} is {}", first.name, first.health),
            };
            Err(Failure::Unavailable(format!("{} of {} do not serve: {trouble}", away.len(), rows.len())))
        }
    }
}

/// What is down, and why.
fn down(info: &pb::GetServiceInfoResponse) -> String {
    let parts = info.parts.iter().filter(|part| !part.reason.is_empty());
    let told: Vec<_> = parts.map(|part| format!("{}: {}", harmless(&part.name), harmless(&part.reason))).collect();
    // It may have come up between the two questions, and is draining when all of them are up.
    if told.is_empty() {
        "every part is up: it is stopping, or was down a moment ago".to_owned()
    } else {
        told.join("; ")
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
    let info = match health {
        "AWAY" => None,
        _ => server.ask(server.machinery().get_service_info(pb::GetServiceInfoRequest {})).await.ok(),
    };
    let trouble = match health {
        "NOT_SERVING" => info.as_ref().map(down),
        _ => trouble,
    };
    Row { name: server.name, url: server.url.clone(), health, info, trouble }
}
