//! What can be typed.

use clap::{Parser, Subcommand};

use crate::failure::Failure;
use crate::{
    bench, demo, dlq, doctor, migrate, order, parked, product, projection, run, saga, sandbox_provider, store, stream,
    transport, up, verify,
};

const AFTER_HELP: &str = "\
Exit codes: 0 ok, 1 failed, 2 wrong usage, configuration or surroundings, 3 not found, 7 unavailable.

The client commands (order, product, saga) find the services by --orders-url and its relatives, by FARMERA_ORDERS_URL
and its relatives, by a running `farmera up` of this project, or on the default ports, in this order.
FARMERA_LOG sets what is logged to standard error (`info`, `orders=debug,warn`); FARMERA_LOG_FORMAT=json for machines.";

/// Farmera: an order system around a persistent, event-sourced saga orchestrator.
#[derive(Debug, Parser)]
#[command(name = "farmera", version, after_help = AFTER_HELP, max_term_width = 110)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Everything `farmera` does.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run everything on this machine: private Postgres and NATS, migrations, all services in one process.
    Up(up::Arguments),
    /// Watch orders complete, compensate, fail and be cancelled, and check the books afterwards.
    Demo(demo::Arguments),
    /// Measure: orders per second, latency, CPU and memory, and the books afterwards.
    Bench(bench::Arguments),
    /// Run one or more services, configured by the environment.
    Run(run::Arguments),
    /// Create or update the tables of the services' databases. Safe to repeat.
    Migrate(migrate::Arguments),
    /// Prove that the logs still say what was written.
    Verify(verify::Arguments),
    /// List streams that read models cannot follow: they hold events of a newer program, or damaged ones.
    Parked(parked::Arguments),
    /// Say what is missing or wrong on this machine and how to mend it.
    Doctor(doctor::Arguments),
    /// Run a card processor for tests, with misbehaviour on demand and a journal that cannot forget.
    SandboxProvider(sandbox_provider::Arguments),
    /// List, show, redrive and discard messages that no service could handle.
    #[command(subcommand)]
    Dlq(dlq::Command),
    /// Place, show, list, watch and cancel orders.
    #[command(subcommand)]
    Order(order::Command),
    /// Add products and stock, list the catalogue.
    #[command(subcommand)]
    Product(product::Command),
    /// Look at read models, check them against the log, make them anew.
    #[command(subcommand)]
    Projection(projection::Command),
    /// Look into sagas.
    #[command(subcommand)]
    Saga(saga::Command),
    /// Compare the services' logs with what the broker holds, and restore what it lost.
    #[command(subcommand)]
    Transport(transport::Command),
    /// See what a database lacks that was put back to an older state, and let its service go on.
    #[command(subcommand)]
    Store(store::Command),
    /// Look at streams of events as they were, take them out, bring them in.
    #[command(subcommand)]
    Stream(stream::Command),
}

impl Cli {
    /// Does it.
    ///
    /// # Errors
    /// [`Failure`]: a line for people and an exit code.
    pub async fn execute(self) -> Result<(), Failure> {
        match self.command {
            Command::Up(arguments) => Box::pin(up::command(arguments)).await,
            Command::Demo(arguments) => Box::pin(demo::command(arguments)).await,
            Command::Bench(arguments) => Box::pin(bench::command(arguments)).await,
            Command::Run(arguments) => Box::pin(run::command(arguments)).await,
            Command::Migrate(arguments) => Box::pin(migrate::command(arguments)).await,
            Command::Verify(arguments) => Box::pin(verify::command(arguments)).await,
            Command::Parked(arguments) => Box::pin(parked::command(arguments)).await,
            Command::Doctor(arguments) => Box::pin(doctor::command(arguments)).await,
            Command::SandboxProvider(arguments) => Box::pin(sandbox_provider::command(arguments)).await,
            Command::Dlq(command) => Box::pin(dlq::command(command)).await,
            Command::Order(command) => Box::pin(order::command(command)).await,
            Command::Product(command) => Box::pin(product::command(command)).await,
            Command::Projection(command) => Box::pin(projection::command(command)).await,
            Command::Saga(command) => Box::pin(saga::command(command)).await,
            Command::Transport(command) => Box::pin(transport::command(command)).await,
            Command::Store(command) => Box::pin(store::command(command)).await,
            Command::Stream(command) => Box::pin(stream::command(command)).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_commands_are_sound() {
        Cli::command().debug_assert();
    }
}
