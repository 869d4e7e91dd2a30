//! `sagactl top`: everything that matters on one screen, again and again.

use std::time::{Duration, Instant};

use clap::Args;
use farmera_proto::saga::v1 as pb;
use farmera_proto::saga::v1::count_sagas_request::GroupBy;
use farmera_proto::saga::v1::list_sagas_request::Order;
use serde::Serialize;

use crate::clock::local;
use crate::connection::Server;
use crate::failure::Failure;
use crate::output::paint::Tone;
use crate::output::words::{age, counted, grouped, parse_length, time};
use crate::output::{Format, Out, json_line};
use crate::saga::{exposure, watching};
use crate::session::Session;

const OPEN: &str = "state = OPEN";
const OWED: &str = "state = ABANDONED and exposure > 0";
const OLDEST: i32 = 5;

/// How often, and whether more than once.
#[derive(Args, Debug)]
pub struct Arguments {
    /// How often the screen is drawn.
    #[arg(long, value_name = "TIME", value_parser = parse_length, default_value = "2s")]
    pub every: Duration,
    /// Only once.
    #[arg(long)]
    pub once: bool,
}

/// What is on the screen.
#[derive(Serialize)]
struct Screen {
    all: pb::CountSagasResponse,
    open: pb::CountSagasResponse,
    oldest: Vec<pb::Saga>,
    letters: pb::GroupDeadLettersResponse,
    projections: pb::ListProjectionsResponse,
    /// One for each service.
    transport: Vec<pb::GetTransportStatusResponse>,
    /// Abandoned sagas that owe what nobody has seen to.
    owed: pb::CountSagasResponse,
    /// Services that did not answer: what they have is not counted.
    away: Vec<String>,
    /// Per second, between this screen and the one before.
    started_rate: Option<f64>,
    ended_rate: Option<f64>,
}

/// Draws until Ctrl-C or `q`.
///
/// # Errors
/// [`Failure`] of the server.
pub async fn command(arguments: Arguments, session: &mut Session) -> Result<(), Failure> {
    let (server, all) = (session.server()?, session.servers()?);
    if arguments.once {
        return once(&server, &all, &mut None, session).await;
    }
    let mut before = None;
    watching::again(arguments.every, session, async |session| once(&server, &all, &mut before, session).await).await
}

/// Looks and draws; `before` is what was seen the last time.
async fn once(
    server: &Server,
    all: &[Server],
    before: &mut Option<(Instant, Screen)>,
    session: &mut Session,
) -> Result<(), Failure> {
    let mut screen = look(server).await?;
    for server in all {
        if machinery(server, &mut screen).await.is_err() {
            screen.away.push(server.name.to_owned());
        }
    }
    let at = Instant::now();
    if let Some((then, before)) = before {
        screen.rate(before, at.duration_since(*then));
    }
    match session.out.format {
        Format::Json | Format::Jsonl => session.out.line(json_line(&screen)?)?,
        Format::Table | Format::Wide | Format::Yaml | Format::Name => {
            if !session.out.whole("top", &screen)? {
                draw(&screen, &mut session.out)?;
            }
        }
    }
    *before = Some((at, screen));
    Ok(())
}

async fn look(server: &Server) -> Result<Screen, Failure> {
    let count = |query: &str, group_by: GroupBy| pb::CountSagasRequest {
        query: query.to_owned(),
        group_by: group_by.into(),
        ..pb::CountSagasRequest::default()
    };
    let oldest = pb::ListSagasRequest {
        page_size: OLDEST,
        query: OPEN.to_owned(),
        order: Order::Oldest.into(),
        ..pb::ListSagasRequest::default()
    };
    Ok(Screen {
        all: server.ask(server.sagas().count_sagas(count("", GroupBy::State))).await?,
        open: server.ask(server.sagas().count_sagas(count(OPEN, GroupBy::StateAndStep))).await?,
        oldest: server.ask(server.sagas().list_sagas(oldest)).await?.sagas,
        owed: server.ask(server.sagas().count_sagas(count(OWED, GroupBy::Unspecified))).await?,
        letters: pb::GroupDeadLettersResponse::default(),
        projections: pb::ListProjectionsResponse::default(),
        transport: Vec::new(),
        away: Vec::new(),
        started_rate: None,
        ended_rate: None,
    })
}

/// What one service's machinery says: letters, read models and the outbox are every service's own.
async fn machinery(server: &Server, screen: &mut Screen) -> Result<(), Failure> {
    let machinery = || server.machinery();
    let letters = server.ask(machinery().group_dead_letters(pb::GroupDeadLettersRequest {})).await?;
    let projections = server.ask(machinery().list_projections(pb::ListProjectionsRequest {})).await?;
    let transport = server.ask(machinery().get_transport_status(pb::GetTransportStatusRequest {})).await?;
    screen.letters.groups.extend(letters.groups);
    screen.projections.projections.extend(projections.projections);
    screen.transport.push(transport);
    Ok(())
}

impl Screen {
    fn ended(&self) -> u64 {
        self.all.count.saturating_sub(self.open.count)
    }

    fn rate(&mut self, before: &Self, passed: Duration) {
        let per_second = |now: u64, then: u64| {
            let more = u32::try_from(now.saturating_sub(then)).unwrap_or(u32::MAX);
            f64::from(more) / passed.as_secs_f64().max(0.001)
        };
        self.started_rate = Some(per_second(self.all.count, before.all.count));
        self.ended_rate = Some(per_second(self.ended(), before.ended()));
    }
}

fn draw(screen: &Screen, out: &mut Out) -> Result<(), Failure> {
    let rate = |rate: Option<f64>| rate.map_or_else(|| "-".to_owned(), |rate| format!("{rate:.1}/s"));
    let parked = screen.all.groups.iter().find(|group| group.key == "PARKED").map_or(0, |group| group.count);
    let parked = match parked {
        0 => out.tint(Tone::Good, "0 parked"),
        parked => out.tint(Tone::Bad, &format!("{} parked", grouped(parked))),
    };
    let clock = text::moment(local(out.now));
    out.line(format!(
        "{clock}  {}  started {}  ended {}  open {}  {parked}  exposure {}",
        counted(screen.all.count, "saga"),
        rate(screen.started_rate),
        rate(screen.ended_rate),
        grouped(screen.open.count),
        exposure::shown(&screen.open.exposures)
    ))?;
    let lag: u64 = screen.projections.projections.iter().map(|projection| projection.lag_events).sum();
    let streams: u64 = screen.projections.projections.iter().map(|projection| projection.parked_streams).sum();
    let letters: u64 = screen.letters.groups.iter().map(|group| group.count).sum();
    let streams_of =
        |status: &pb::GetTransportStatusResponse| status.streams.iter().map(|one| one.missing).sum::<u64>();
    let missing: u64 = screen.transport.iter().map(streams_of).sum();
    let outbox: u64 = screen.transport.iter().map(|status| status.outbox_pending).sum();
    out.line(format!(
        "dead letters {}  outbox {}  missing at the broker {}  read models: lag {} events, {} parked streams",
        grouped(letters),
        grouped(outbox),
        grouped(missing),
        grouped(lag),
        grouped(streams)
    ))?;
    if screen.owed.count > 0 {
        let debts = counted(screen.owed.count, "abandoned saga");
        let owed = format!("{debts} owe {}: sagactl reconcile", exposure::shown(&screen.owed.exposures));
        out.line(out.tint(Tone::Bad, &owed))?;
    }
    if !screen.away.is_empty() {
        let away = format!("not counted, no answer: {}", screen.away.join(", "));
        out.line(out.tint(Tone::Bad, &away))?;
    }
    out.line("")?;
    let heading = out.tint(Tone::Strong, "IN FLIGHT");
    out.line(heading)?;
    out.list(&screen.open.groups)?;
    out.line("")?;
    let oldest = age(time(screen.open.oldest_open_time.as_ref()), out.now);
    let heading = out.tint(Tone::Strong, &format!("OLDEST ({oldest})"));
    out.line(heading)?;
    out.list(&screen.oldest)
}
