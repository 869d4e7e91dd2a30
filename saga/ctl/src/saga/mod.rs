//! `sagactl saga`: see, understand and repair sagas.

pub mod count;
pub mod diff;
pub mod explain;
pub mod exposure;
pub mod graph;
pub mod list;
pub mod moment;
pub mod show;
pub mod state;
pub mod trace;
pub mod wait;
pub mod watching;

use clap::{Args, Subcommand};
use farmera_proto::saga::v1 as pb;
use farmera_proto::saga::v1::act::Kind;

use crate::act::selection::{Sagas, bare};
use crate::act::{self, Course, Wanted};
use crate::connection::Server;
use crate::failure::Failure;
use crate::session::Session;

/// What can be done with sagas.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List sagas, with what they hold.
    List(list::List),
    /// Count sagas, with what they hold.
    Count(count::Count),
    /// Show a saga's steps, forward and undo.
    Show(show::Show),
    /// Say why a saga stands where it stands, and what can be done.
    Explain(explain::Explain),
    /// Draw a saga's definition with its progress.
    Graph(graph::Graph),
    /// Show what changed in a saga's state between two versions.
    Diff(diff::Diff),
    /// Show every event that a saga led to, across services, as a tree.
    Trace(trace::Trace),
    /// Wait until a saga is over: exit code 0 completed, 8 compensated or abandoned, 9 stuck, 7 still at it.
    Wait(wait::Wait),
    /// Try a step again now, with a fresh policy; of a saga that is over: have the step undone.
    Retry(AtStep),
    /// Go on without the answer of a step, or settle what an abandoned saga owes: somebody has seen to it.
    Skip(AtStep),
    /// Undo what is done.
    Cancel(Plain),
    /// End it as it stands; nothing is undone, what is owed is listed until it is settled.
    Abandon(Plain),
    /// Stop it where it stands.
    Pause(Plain),
    /// Let it go on after a pause.
    Unpause(Plain),
    /// Try every parked step again.
    Resume(Plain),
    /// Bind it to another version of its definition.
    Migrate(Migrate),
}

/// An act on sagas.
#[derive(Args, Debug)]
pub struct Plain {
    /// Which.
    #[command(flatten)]
    pub sagas: Sagas,
    /// Preview, then act.
    #[command(flatten)]
    pub course: Course,
}

/// An act on a step of sagas.
#[derive(Args, Debug)]
pub struct AtStep {
    /// The step; left out: the one each saga is at (for `timer cancel`: the saga's deadline).
    #[arg(long)]
    pub step: Option<String>,
    /// Which.
    #[command(flatten)]
    pub sagas: Sagas,
    /// Preview, then act.
    #[command(flatten)]
    pub course: Course,
}

/// A move to another version.
#[derive(Args, Debug)]
pub struct Migrate {
    /// The version to move to.
    #[arg(long, value_name = "VERSION", required_unless_present = "apply")]
    pub to: Option<u32>,
    /// Which.
    #[command(flatten)]
    pub sagas: Sagas,
    /// Preview, then act.
    #[command(flatten)]
    pub course: Course,
}

/// Does it.
///
/// # Errors
/// [`Failure`] of the server.
pub async fn command(command: Command, session: &mut Session) -> Result<(), Failure> {
    match command {
        Command::List(list) => list::command(list, session).await,
        Command::Count(count) => count::command(count, session).await,
        Command::Show(show) => show::command(show, session).await,
        Command::Explain(explain) => explain::command(explain, session).await,
        Command::Graph(graph) => graph::command(graph, session).await,
        Command::Diff(diff) => diff::command(diff, session).await,
        Command::Trace(trace) => trace::command(trace, session).await,
        Command::Wait(wait) => wait::command(wait, session).await,
        Command::Retry(AtStep { step, sagas, course }) => {
            act::run(Wanted::at_step("saga retry", Kind::Retry, step), sagas.selection(), course, session).await
        }
        Command::Skip(AtStep { step, sagas, course }) => {
            act::run(Wanted::at_step("saga skip", Kind::Skip, step), sagas.selection(), course, session).await
        }
        Command::Cancel(plain) => act_on("saga cancel", Kind::Cancel, plain, session).await,
        Command::Abandon(plain) => act_on("saga abandon", Kind::Abandon, plain, session).await,
        Command::Pause(plain) => act_on("saga pause", Kind::Pause, plain, session).await,
        Command::Unpause(plain) => act_on("saga unpause", Kind::Unpause, plain, session).await,
        Command::Resume(plain) => act_on("saga resume", Kind::Resume, plain, session).await,
        Command::Migrate(Migrate { to, sagas, course }) => {
            let definition_version = to.unwrap_or(0);
            let act = pb::Act { kind: Kind::Migrate.into(), definition_version, ..pb::Act::default() };
            act::run(Wanted::of("saga migrate", act), sagas.selection(), course, session).await
        }
    }
}

async fn act_on(command: &'static str, kind: Kind, plain: Plain, session: &mut Session) -> Result<(), Failure> {
    act::run(Wanted::plain(command, kind), plain.sagas.selection(), plain.course, session).await
}

/// A saga by its id, as it is now.
///
/// # Errors
/// [`Failure`] of the server.
pub async fn get(server: &Server, id: &str) -> Result<pb::GetSagaResponse, Failure> {
    let request = pb::GetSagaRequest { saga_id: bare(id, "saga/").to_owned(), ..pb::GetSagaRequest::default() };
    server.ask(server.sagas().get_saga(request)).await
}

/// A saga by its id, or by the id of its order when that has only one.
///
/// # Errors
/// [`Failure::NotFound`] when it is neither; [`Failure::Usage`] when the order has several.
pub async fn find(server: &Server, id: &str) -> Result<pb::GetSagaResponse, Failure> {
    match get(server, id).await {
        Err(Failure::NotFound(line)) => {
            let id = id_of_order(server, id).await?.ok_or(Failure::NotFound(line))?;
            get(server, &id).await
        }
        Ok(answer) => Ok(answer),
        Err(failure) => Err(failure),
    }
}

/// The id of a saga, given that or its order's.
///
/// # Errors
/// As [`find`].
pub async fn find_id(server: &Server, id: &str) -> Result<String, Failure> {
    Ok(find(server, id).await?.saga.unwrap_or_default().id)
}

async fn id_of_order(server: &Server, id: &str) -> Result<Option<String>, Failure> {
    let order = bare(id, "order/");
    let request = pb::ListSagasRequest { query: format!("order = {order}"), as_of_now: true, ..Default::default() };
    let mut sagas = server.ask(server.sagas().list_sagas(request)).await?.sagas;
    if sagas.len() > 1 {
        let each: Vec<_> = sagas.iter().map(|saga| format!("{} ({})", saga.id, saga.definition)).collect();
        return Err(Failure::Usage(format!("order {order} has several sagas, name one: {}", each.join(", "))));
    }
    Ok(sagas.pop().map(|saga| saga.id))
}
