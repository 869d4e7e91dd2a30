//! What is happening: an operation in the server, watched from here.

use std::io::Write as _;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use farmera_proto::saga::v1 as pb;
use farmera_proto::saga::v1::act::Kind;
use farmera_proto::saga::v1::operation::State;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::connection::Server;
use crate::failure::Failure;
use crate::output::paint::Tone;
use crate::output::table::{Cell, Column};
use crate::output::words::{age, counted, harmless, length, or_dash, time};
use crate::output::{Format, Listed, has_audience, tell};
use crate::session::Session;

use super::plan::{command_of, short, thing_of};

/// A server that is away for longer is not waited for; the job goes on when it is back.
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(500);
const BAR: usize = 30;

/// An operation's state, one word.
#[must_use]
pub fn state_name(state: State) -> &'static str {
    match state {
        State::Unspecified => "UNKNOWN",
        State::Running => "RUNNING",
        State::Done => "DONE",
        State::Stopped => "STOPPED",
        State::Failed => "FAILED",
    }
}

impl Listed for pb::Operation {
    const COLUMNS: &'static [Column] = &[
        Column::left("NAME"),
        Column::left("ACT"),
        Column::left("STATE"),
        Column::right("TOTAL"),
        Column::right("OK"),
        Column::right("FAILED"),
        Column::left("ACTOR"),
        Column::left("REASON"),
        Column::right("AGE"),
        Column::left("SERVICE").wide(),
        Column::left("PLAN").wide(),
        Column::left("APPROVED-BY").wide(),
        Column::right("RATE").wide(),
        Column::left("DETAIL").wide(),
    ];

    fn name(&self) -> String {
        format!("op/{}", self.id)
    }

    fn cells(&self, now: DateTime<Utc>) -> Vec<Cell> {
        let tone = match self.state() {
            State::Done if self.failed == 0 => Tone::Good,
            State::Running => Tone::Plain,
            State::Done | State::Stopped | State::Unspecified => Tone::Uneasy,
            State::Failed => Tone::Bad,
        };
        let kind = self.act.as_ref().map_or(Kind::Unspecified, pb::Act::kind);
        vec![
            self.id.as_str().into(),
            command_of(kind).into(),
            Cell::toned(state_name(self.state()), tone),
            self.total.to_string().into(),
            self.succeeded.to_string().into(),
            self.failed.to_string().into(),
            or_dash(&self.actor).into(),
            or_dash(&self.reason).into(),
            age(time(self.create_time.as_ref()), now).into(),
            or_dash(&self.service).into(),
            short(&self.plan_hash).into(),
            or_dash(&self.approved_by).into(),
            self.rate.to_string().into(),
            or_dash(&self.detail).into(),
        ]
    }
}

/// Hears Ctrl-C from the moment it is made.
pub struct Interruption(Signal);

impl Interruption {
    /// Listens from now on.
    ///
    /// # Errors
    /// [`Failure::Failed`] when the system refuses.
    pub fn listen() -> Result<Self, Failure> {
        let unheard = |error| Failure::Failed(format!("cannot listen for Ctrl-C: {error}"));
        signal(SignalKind::interrupt()).map(Self).map_err(unheard)
    }
}

/// Watches an operation to its end. Ctrl-C stops watching, not the job.
///
/// # Errors
/// [`Failure::Partly`] when not everything succeeded, [`Failure::Failed`] when nothing did,
/// [`Failure::Unavailable`] when the server stays away: the job goes on when it is back.
pub async fn watch(
    id: &str,
    mut interruption: Interruption,
    server: &Server,
    session: &mut Session,
) -> Result<(), Failure> {
    let mut drawn = Progress::new(session);
    let ended = tokio::select! {
        ended = until_over(id, server, &mut drawn) => ended,
        _ = interruption.0.recv() => {
            drawn.end();
            return Err(Failure::Interrupted(format!(
                "no longer watching; op/{id} goes on. Watch again: sagactl op watch {id}"
            )));
        }
    };
    drawn.end();
    let operation = ended?;
    if !session.out.whole(&operation.name(), &operation)? {
        session.out.line(summary(&operation))?;
        if let Some(next) = next(&operation) {
            session.out.tell(next)?;
        }
    }
    verdict(&operation)
}

/// How to go on after an operation that is over, but not the end of it.
fn next(operation: &pb::Operation) -> Option<String> {
    let kind = operation.act.as_ref().map_or(Kind::Unspecified, pb::Act::kind);
    let left = operation.total.saturating_sub(operation.succeeded).saturating_sub(operation.failed);
    match operation.state() {
        State::Stopped | State::Failed if left > 0 => Some(format!(
            "{} not seen to, as they were before. To go on: see why (sagactl op show {}), then plan anew what is left",
            counted(left.into(), thing_of(kind)),
            operation.id
        )),
        State::Done if kind == Kind::Release && operation.succeeded > 0 => Some(
            "those who wait are let go by and by, and too many failures stop it: look with sagactl hold list"
                .to_owned(),
        ),
        State::Done | State::Stopped | State::Failed | State::Running | State::Unspecified => None,
    }
}

fn summary(operation: &pb::Operation) -> String {
    let kind = operation.act.as_ref().map_or(Kind::Unspecified, pb::Act::kind);
    let detail =
        if operation.detail.is_empty() { String::new() } else { format!(" ({})", harmless(&operation.detail)) };
    format!(
        "op/{} {}{detail}: {} of {} {}s ok, {} failed",
        operation.id,
        state_name(operation.state()).to_lowercase(),
        operation.succeeded,
        operation.total,
        thing_of(kind),
        operation.failed
    )
}

fn verdict(operation: &pb::Operation) -> Result<(), Failure> {
    let more = format!("see why: sagactl op show {}", operation.id);
    match operation.state() {
        State::Done if operation.failed == 0 => Ok(()),
        State::Done | State::Stopped | State::Failed if operation.succeeded > 0 => {
            Err(Failure::Partly(format!("not everything was done; {more}")))
        }
        State::Done | State::Stopped | State::Failed => Err(Failure::Failed(format!("nothing was done; {more}"))),
        State::Running | State::Unspecified => Err(Failure::Unavailable(format!("it is still at work; {more}"))),
    }
}

async fn until_over(id: &str, server: &Server, drawn: &mut Progress) -> Result<pb::Operation, Failure> {
    let mut away_since: Option<Instant> = None;
    loop {
        match follow(id, server, drawn).await {
            Ok(Some(operation)) => return Ok(operation),
            Ok(None) => away_since = None,
            Err(failure @ Failure::Unavailable(_)) => {
                let since = *away_since.get_or_insert_with(Instant::now);
                if since.elapsed() > PATIENCE {
                    return Err(Failure::Unavailable(format!("{failure}. The job goes on when the server is back")));
                }
            }
            Err(failure) => return Err(failure),
        }
        tokio::time::sleep(LOOK_AGAIN_AFTER).await;
    }
}

/// The operation when it is over; `None` when the server stopped telling before that.
async fn follow(id: &str, server: &Server, drawn: &mut Progress) -> Result<Option<pb::Operation>, Failure> {
    let request = pb::WatchOperationRequest { operation_id: id.to_owned() };
    let mut stream = server.ask(server.operators().watch_operation(request)).await?;
    while let Some(told) = server.next(&mut stream).await? {
        let operation = told.operation.unwrap_or_default();
        drawn.draw(&operation);
        match operation.state() {
            State::Running | State::Unspecified => {}
            State::Done | State::Stopped | State::Failed => return Ok(Some(operation)),
        }
    }
    Ok(None)
}

/// A line on standard error that is drawn over itself; nothing at all where nobody looks.
struct Progress {
    is_drawn: bool,
    began: Instant,
}

impl Progress {
    fn new(session: &Session) -> Self {
        let for_people = session.out.format == Format::Table || session.out.format == Format::Wide;
        Self { is_drawn: for_people && has_audience(), began: Instant::now() }
    }

    fn draw(&self, operation: &pb::Operation) {
        if self.is_drawn {
            let line = bar(operation, self.began.elapsed());
            drop(write!(std::io::stderr().lock(), "\r\u{1b}[K {line}"));
        }
    }

    fn end(&self) {
        if self.is_drawn {
            tell("");
        }
    }
}

fn bar(operation: &pb::Operation, elapsed: Duration) -> String {
    let total = operation.total.max(1);
    let done = operation.succeeded.saturating_add(operation.failed).min(total);
    let filled = BAR * usize::try_from(done).unwrap_or(0) / usize::try_from(total).unwrap_or(1).max(1);
    let rate = f64::from(done) / elapsed.as_secs_f64().max(0.001);
    let eta = match done {
        0 => "-".to_owned(),
        _ => length(Duration::from_secs_f64(f64::from(total - done) / rate.max(0.001))),
    };
    if total == 1 && !operation.detail.is_empty() {
        return harmless(&operation.detail);
    }
    format!(
        "{}{}  {done}/{}  ok {}  failed {}  {rate:.1}/s  eta {eta}",
        "#".repeat(filled),
        "-".repeat(BAR - filled),
        operation.total,
        operation.succeeded,
        operation.failed
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operation(state: State, succeeded: u32, failed: u32) -> pb::Operation {
        pb::Operation {
            id: "7".to_owned(),
            state: state.into(),
            total: 37,
            succeeded,
            failed,
            ..pb::Operation::default()
        }
    }

    #[test]
    fn the_bar_shows_how_far_it_is() {
        let shown = bar(&operation(State::Running, 14, 0), Duration::from_secs(2));
        assert_eq!(shown, "###########-------------------  14/37  ok 14  failed 0  7.0/s  eta 3.285s");
    }

    #[test]
    fn whoever_applied_what_did_not_come_to_its_end_is_told_how_to_go_on() {
        let of = |kind: Kind, operation: pb::Operation| {
            next(&pb::Operation { act: Some(pb::Act { kind: kind.into(), ..pb::Act::default() }), ..operation })
        };
        let failed = of(Kind::Retry, operation(State::Failed, 3, 1)).unwrap();
        assert!(failed.starts_with("33 sagas not seen to, as they were before."), "{failed}");
        assert!(failed.contains("sagactl op show 7"), "{failed}");
        assert_eq!(of(Kind::Retry, operation(State::Done, 36, 1)), None);
        let released = of(Kind::Release, operation(State::Done, 1, 0)).unwrap();
        assert!(released.contains("sagactl hold list"), "{released}");
    }

    #[test]
    fn a_part_of_the_work_is_not_all_of_it() {
        assert!(verdict(&operation(State::Done, 37, 0)).is_ok());
        assert_eq!(verdict(&operation(State::Done, 36, 1)).unwrap_err().exit_code(), 6);
        assert_eq!(verdict(&operation(State::Stopped, 3, 0)).unwrap_err().exit_code(), 6);
        assert_eq!(verdict(&operation(State::Failed, 0, 3)).unwrap_err().exit_code(), 1);
    }
}
