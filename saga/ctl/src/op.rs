//! `sagactl op`: plans that are carried out, and their approval.

use std::cmp::Reverse;

use clap::Subcommand;
use farmera_proto::saga::v1 as pb;
use farmera_proto::saga::v1::act::Kind;

use crate::act::operation::{Interruption, watch};
use crate::act::place;
use crate::act::plan::{command_of, lines, short};
use crate::act::selection::bare;
use crate::connection::Server;
use crate::failure::Failure;
use crate::output::words::{harmless, time};
use crate::output::{Listing, tell};
use crate::saga::list::rest;
use crate::session::Session;

/// What can be done with operations.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List operations, newest first.
    List {
        /// At most so many.
        #[arg(long, default_value_t = 50)]
        limit: usize,
    },
    /// Show an operation and what failed.
    Show {
        /// Its id.
        id: String,
    },
    /// Watch an operation to its end. Ctrl-C stops watching, not the job.
    Watch {
        /// Its id.
        id: String,
    },
    /// Stop an operation. What it has done stays done.
    Stop {
        /// Its id.
        id: String,
        /// Why.
        #[arg(long)]
        reason: String,
    },
    /// Show a plan and what it would do to each saga or letter.
    Plan {
        /// Its name.
        hash: String,
    },
    /// Approve somebody else's plan.
    Approve {
        /// The plan's name.
        hash: String,
    },
}

/// Does it.
///
/// # Errors
/// [`Failure`] of the server.
pub async fn command(command: Command, session: &mut Session) -> Result<(), Failure> {
    match command {
        Command::List { limit } => list(limit, session).await,
        Command::Show { id } => show(bare(&id, "op/"), session).await,
        Command::Watch { id } => {
            let interruption = Interruption::listen()?;
            let (server, _) = place::of_operation(bare(&id, "op/"), session).await?;
            watch(bare(&id, "op/"), interruption, &server, session).await
        }
        Command::Stop { id, reason } => {
            let (server, _) = place::of_operation(bare(&id, "op/"), session).await?;
            let request = pb::StopOperationRequest { operation_id: bare(&id, "op/").to_owned(), reason };
            let stopped = server.ask(server.operators().stop_operation(request)).await?.operation.unwrap_or_default();
            tell(format!(
                "op/{} stopped after {} of {}; what it has done stays done",
                stopped.id,
                stopped.succeeded.saturating_add(stopped.failed),
                stopped.total
            ));
            Ok(())
        }
        Command::Plan { hash } => plan(hash, session).await,
        Command::Approve { hash } => {
            let (server, _) = place::of_plan(&hash, session).await?;
            let request = pb::ApprovePlanRequest { hash };
            let plan = server.ask(server.operators().approve_plan(request)).await?.plan.unwrap_or_default();
            let kind = plan.act.as_ref().map_or(Kind::Unspecified, pb::Act::kind);
            tell(format!(
                "plan {} approved by {}; apply: sagactl {} --apply {}",
                short(&plan.hash),
                harmless(&plan.approved_by),
                command_of(kind),
                short(&plan.hash)
            ));
            Ok(())
        }
    }
}

/// The newest of every service; whoever is away is told of at the end.
async fn list(limit: usize, session: &mut Session) -> Result<(), Failure> {
    let (mut operations, mut away) = (Vec::new(), None);
    for server in session.servers()? {
        match of_service(&server, limit).await {
            Ok(found) => operations.extend(found),
            Err(failure) => away = away.or(Some(failure)),
        }
    }
    operations.sort_by_key(|operation| Reverse(time(operation.create_time.as_ref())));
    operations.truncate(limit);
    session.out.list(&operations)?;
    if session.out.is_for_people() && away.is_none() {
        tell(if operations.is_empty() { "no operations" } else { "Next: sagactl op show ID" });
    }
    away.map_or(Ok(()), Err)
}

async fn of_service(server: &Server, limit: usize) -> Result<Vec<pb::Operation>, Failure> {
    let mut found = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = pb::ListOperationsRequest { page_size: rest(limit, found.len()), page_token };
        let page = server.ask(server.operators().list_operations(request)).await?;
        found.extend(page.operations);
        page_token = page.next_page_token;
        if page_token.is_empty() || found.len() >= limit {
            return Ok(found);
        }
    }
}

async fn show(id: &str, session: &mut Session) -> Result<(), Failure> {
    let (_, answer) = place::of_operation(id, session).await?;
    let out = &mut session.out;
    if out.whole(&format!("op/{id}"), &answer)? {
        return Ok(());
    }
    let operation = answer.operation.unwrap_or_default();
    out.list(std::slice::from_ref(&operation))?;
    out.line(format!("service   {}", harmless(&operation.service)))?;
    out.line(format!("reason    {}", harmless(&operation.reason)))?;
    out.line(format!("plan      {} (sagactl op plan {})", short(&operation.plan_hash), short(&operation.plan_hash)))?;
    if !operation.detail.is_empty() {
        out.line(format!("detail    {}", harmless(&operation.detail)))?;
    }
    for item in &answer.failures {
        out.line(format!("failed    {}  {}", harmless(&item.id), harmless(&item.failure)))?;
    }
    Ok(())
}

async fn plan(hash: String, session: &mut Session) -> Result<(), Failure> {
    let (server, plan) = place::of_plan(&hash, session).await?;
    let kind = plan.act.as_ref().map_or(Kind::Unspecified, pb::Act::kind);
    if session.out.is_for_people() {
        for line in lines(&plan, command_of(kind), session.out.now) {
            session.out.line(line)?;
        }
        session.out.line("")?;
    }
    let mut listing = Listing::begin::<pb::PlanItem>(&session.out);
    let mut page_token = String::new();
    loop {
        let request = pb::ListPlanItemsRequest { hash: hash.clone(), page_size: 1_000, page_token };
        let page = server.ask(server.operators().list_plan_items(request)).await?;
        listing.page(&mut session.out, &page.items)?;
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    listing.end(&mut session.out)
}
