//! `sagactl saga wait`, for scripts.

use std::time::Duration;

use clap::Args;
use farmera_proto::saga::v1 as pb;
use farmera_proto::saga::v1::saga::State;

use crate::connection::Server;
use crate::failure::Failure;
use crate::output::words::{length, parse_length};
use crate::session::Session;

use super::state::{state_name, step_name};
use super::{find, get};

const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(200);

/// For whose end to wait.
#[derive(Args, Debug)]
pub struct Wait {
    /// A saga's id, or its order's.
    pub id: String,
    /// Give up after this long (exit code 7).
    #[arg(long, value_name = "TIME", value_parser = parse_length, default_value = "5m")]
    pub within: Duration,
}

/// Waits until the saga is over, or needs an operator.
///
/// # Errors
/// [`Failure::Compensated`] when it ended undone or abandoned, [`Failure::Stuck`] when it needs an operator,
/// [`Failure::Unavailable`] when it is still at it.
pub async fn command(wait: Wait, session: &mut Session) -> Result<(), Failure> {
    let server = session.server()?;
    let saga = find(&server, &wait.id).await?.saga.unwrap_or_default();
    let over = async {
        let mut saga = saga;
        while !is_settled(saga.state()) {
            tokio::time::sleep(LOOK_AGAIN_AFTER).await;
            saga = look(&server, &saga).await?;
        }
        Ok::<_, Failure>(saga)
    };
    let Ok(over) = tokio::time::timeout(wait.within, over).await else {
        let within = length(wait.within);
        return Err(Failure::Unavailable(format!(
            "not over after {within}; see why: sagactl saga explain {}",
            wait.id
        )));
    };
    let saga = over?;
    let name = format!("saga/{}", saga.id);
    if !session.out.whole(&name, &saga)? {
        session.out.line(format!("{name} {}", state_name(saga.state())))?;
    }
    verdict(&saga)
}

/// A server that is away for a moment is asked again; the caller's deadline ends that.
async fn look(server: &Server, before: &pb::Saga) -> Result<pb::Saga, Failure> {
    match get(server, &before.id).await {
        Ok(answer) => Ok(answer.saga.unwrap_or_default()),
        Err(Failure::Unavailable(_)) => Ok(before.clone()),
        Err(failure) => Err(failure),
    }
}

fn is_settled(state: State) -> bool {
    match state {
        State::Completed | State::Compensated | State::Abandoned | State::Parked | State::Paused => true,
        State::Unspecified | State::Running | State::Compensating => false,
    }
}

fn verdict(saga: &pb::Saga) -> Result<(), Failure> {
    let more = format!("see why: sagactl saga explain {}", saga.id);
    match saga.state() {
        State::Completed => Ok(()),
        State::Compensated => Err(Failure::Compensated(format!("ended compensated: {}; {more}", saga.cause))),
        State::Abandoned => Err(Failure::Compensated(format!("an operator abandoned it; {more}"))),
        State::Parked => Err(Failure::Stuck(format!("{} is parked; {more}", step_name(&saga.step, saga.lane())))),
        State::Paused => Err(Failure::Stuck(format!("an operator paused it; {more}"))),
        State::Unspecified | State::Running | State::Compensating => {
            Err(Failure::Unavailable(format!("not over yet; {more}")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_end_has_its_exit_code() {
        let code = |state: State| {
            let saga = pb::Saga { state: state.into(), ..pb::Saga::default() };
            verdict(&saga).err().map_or(0, |failure| failure.exit_code())
        };
        let states =
            [State::Completed, State::Compensated, State::Abandoned, State::Parked, State::Paused, State::Running];
        assert_eq!(states.map(code), [0, 8, 8, 9, 9, 7]);
    }
}
