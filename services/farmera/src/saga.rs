//! `farmera saga`: a look into sagas.

use clap::Subcommand;
use farmera_proto::orders::v1::GetOrderRequest;
use farmera_proto::saga::v1 as pb;
use farmera_proto::saga::v1::saga::State;

use crate::addresses::Target;
use crate::check_upgrade;
use crate::clients::{Clients, Peer};
use crate::failure::Failure;
use crate::output::{self, Format, Paint};
use crate::timeline::{render, state_name};

const LOOK_AGAIN_AFTER: std::time::Duration = std::time::Duration::from_millis(20);

/// What can be asked about sagas.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// The timeline of a saga, or of every saga of an order.
    Show {
        /// A saga's id, or an order's.
        id: String,
        /// The form of the answer.
        #[arg(short, long, value_enum, default_value_t)]
        output: Format,
        #[command(flatten)]
        #[expect(missing_docs, reason = "clap would show it")]
        target: Target,
    },
    /// What this program makes of the open sagas that another one has begun; before it is deployed.
    CheckUpgrade(check_upgrade::Arguments),
    /// Sagas, newest first.
    List {
        /// Only sagas in this state: running, compensating, parked, completed, compensated, abandoned.
        #[arg(long, value_parser = parse_state)]
        state: Option<State>,
        /// At most so many.
        #[arg(long, default_value_t = 50)]
        limit: usize,
        /// The form of the answer.
        #[arg(short, long, value_enum, default_value_t)]
        output: Format,
        #[command(flatten)]
        #[expect(missing_docs, reason = "clap would show it")]
        target: Target,
    },
}

/// Asks and prints.
///
/// # Errors
/// [`Failure`] of the orders service.
pub async fn command(command: Command) -> Result<(), Failure> {
    match command {
        Command::Show { id, output, target } => show(&Clients::connect(target.endpoints()?)?, &id, output).await,
        Command::CheckUpgrade(arguments) => check_upgrade::command(arguments).await,
        Command::List { state, limit, output, target } => {
            list(&Clients::connect(target.endpoints()?)?, state, limit, output).await
        }
    }
}

async fn show(clients: &Clients, id: &str, format: Format) -> Result<(), Failure> {
    let found = match get(clients, id).await {
        Ok(saga) => vec![saga],
        Err(Failure::NotFound(_)) => of_order(clients, id).await?,
        Err(failure) => return Err(failure),
    };
    for (index, saga) in found.iter().enumerate() {
        match format {
            Format::Json => output::json(saga),
            Format::Table => {
                if index > 0 {
                    output::line("");
                }
                print(saga, Paint::of_stdout());
            }
        }
    }
    Ok(())
}

/// One saga with its timeline.
///
/// # Errors
/// [`Failure`] of the orders service.
pub async fn get(clients: &Clients, saga_id: &str) -> Result<pb::GetSagaResponse, Failure> {
    let request = pb::GetSagaRequest { saga_id: saga_id.to_owned(), ..pb::GetSagaRequest::default() };
    clients.ask(Peer::Orders, clients.sagas.clone().get_saga(request)).await
}

/// The sagas of an order: the one that made it happen, then the one that undid it after completion, if there is one.
///
/// # Errors
/// [`Failure`] of the orders service.
pub async fn of_order(clients: &Clients, order_id: &str) -> Result<Vec<pb::GetSagaResponse>, Failure> {
    let request = GetOrderRequest { order_id: order_id.to_owned() };
    let asked = clients.ask(Peer::Orders, clients.orders.clone().get_order(request)).await;
    let order = match asked {
        Ok(answer) => answer.order.unwrap_or_default(),
        Err(Failure::NotFound(_)) => {
            return Err(Failure::NotFound(format!(
                "{order_id} is neither a saga nor an order; see `farmera order list`"
            )));
        }
        Err(failure) => return Err(failure),
    };
    let mut sagas = Vec::new();
    for id in [&order.saga_id, &order.cancel_saga_id] {
        if !id.is_empty() {
            sagas.push(get(clients, id).await?);
        }
    }
    Ok(sagas)
}

/// The sagas of an order once they have ended: an order may be seen to end a moment before its saga. The caller sets the
/// deadline.
///
/// # Errors
/// [`Failure`] of the orders service.
pub async fn ended(clients: &Clients, order_id: &str) -> Result<Vec<pb::GetSagaResponse>, Failure> {
    loop {
        let sagas = of_order(clients, order_id).await?;
        if sagas.iter().filter_map(|answer| answer.saga.as_ref()).all(|saga| has_ended(saga.state())) {
            return Ok(sagas);
        }
        tokio::time::sleep(LOOK_AGAIN_AFTER).await;
    }
}

fn has_ended(state: State) -> bool {
    match state {
        State::Completed | State::Compensated | State::Abandoned => true,
        State::Unspecified | State::Running | State::Compensating | State::Parked | State::Paused => false,
    }
}

/// Prints a saga's timeline.
pub fn print(answer: &pb::GetSagaResponse, paint: Paint) {
    output::line(render(&answer.saga.clone().unwrap_or_default(), &answer.timeline, paint));
}

async fn list(clients: &Clients, state: Option<State>, limit: usize, format: Format) -> Result<(), Failure> {
    let page_size = i32::try_from(limit.clamp(1, 1_000)).unwrap_or(50);
    let state = state.unwrap_or(State::Unspecified).into();
    let request = pb::ListSagasRequest { page_size, state, as_of_now: true, ..pb::ListSagasRequest::default() };
    let answer = clients.ask(Peer::Orders, clients.sagas.clone().list_sagas(request)).await?;
    output::tell_lag(answer.lags);
    match format {
        Format::Json => output::json(&answer),
        Format::Table => {
            let mut table = Paint::of_stdout().table(&["saga", "definition", "state", "order", "version"], &[4]);
            for saga in &answer.sagas {
                let (state, version) = (state_name(saga.state()), saga.version.to_string());
                table.add_row([&saga.id, &saga.definition, state, saga.order_id.as_str(), &version]);
            }
            output::table(&table);
        }
    }
    Ok(())
}

fn parse_state(text: &str) -> Result<State, String> {
    State::from_str_name(&format!("STATE_{}", text.to_uppercase()))
        .filter(|state| *state != State::Unspecified)
        .ok_or_else(|| "expected running, compensating, parked, completed, compensated or abandoned".to_owned())
}
