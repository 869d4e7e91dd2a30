//! `sagactl top`: everything that matters on one screen, again and again.

use std::time::{Duration, Instant};

use clap::Args;
use farmera_proto::saga::v1 as pb;
use farmera_proto::saga::v1::count_sagas_request::GroupBy;
use farmera_proto::saga::v1::list_sagas_request::Order;
use serde::Serialize;

use crate::connection::Server;
use crate::failure::Failure;
use crate::output::paint::Tone;
use crate::output::words::{age, counted, grouped, parse_length, time};
use crate::output::{Format, Out, json_line};
use crate::saga::{exposure, watching};
use crate::session::Session;

const OPEN: &str = "state = OPEN";
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
    transport: pb::GetTransportStatusResponse,
    /// Per second, between this screen and the one before.
    started_rate: Option<f64>,
    ended_rate: Option<f64>,
}

/// Draws until Ctrl-C.
///
/// # Errors
/// [`Failure`] of the server.
pub async fn command(arguments: Arguments, session: &mut Session) -> Result<(), Failure> {
    let server = session.server()?;
    if arguments.once {
        return once(&server, &mut None, session).await;
    }
    let mut before = None;
    watching::again(arguments.every, session, async |session| once(&server, &mut before, session).await).await
}

/// Looks and draws; `before` is what was seen the last time.
async fn once(server: &Server, before: &mut Option<(Instant, Screen)>, session: &mut Session) -> Result<(), Failure> {
    let mut screen = look(server).await?;
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
    let count =
        |query: &str, group_by: GroupBy| pb::CountSagasRequest { query: query.to_owned(), group_by: group_by.into() };
    let oldest = pb::ListSagasRequest {
        page_size: OLDEST,
        query: OPEN.to_owned(),
        order: Order::Oldest.into(),
        ..pb::ListSagasRequest::default()
    };
    let machinery = || server.machinery();
    Ok(Screen {
        all: server.ask(server.sagas().count_sagas(count("", GroupBy::State))).await?,
        open: server.ask(server.sagas().count_sagas(count(OPEN, GroupBy::StateAndStep))).await?,
        oldest: server.ask(server.sagas().list_sagas(oldest)).await?.sagas,
        letters: server.ask(machinery().group_dead_letters(pb::GroupDeadLettersRequest {})).await?,
        projections: server.ask(machinery().list_projections(pb::ListProjectionsRequest {})).await?,
        transport: server.ask(machinery().get_transport_status(pb::GetTransportStatusRequest {})).await?,
        started_rate: None,
        ended_rate: None,
    })
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
    let clock = out.now.format("%H:%M:%S UTC");
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
    let missing: u64 = screen.transport.streams.iter().map(|stream| stream.missing).sum();
    out.line(format!(
        "dead letters {}  outbox {}  missing at the broker {}  read models: lag {} events, {} parked streams",
        grouped(letters),
        grouped(screen.transport.outbox_pending),
        grouped(missing),
        grouped(lag),
        grouped(streams)
    ))?;
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
