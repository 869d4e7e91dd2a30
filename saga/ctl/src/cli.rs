//! What can be typed.

use clap::{Parser, Subcommand};

use crate::failure::Failure;
use crate::output::Out;
use crate::output::paint::Paint;
use crate::output::tell;
use crate::session::{Globals, Session};
use crate::{
    context_command, definition, dlq, event, hold, machinery, manual, op, reconcile, replay, saga, timer, top,
};

const AFTER_HELP: &str = "\
Exit codes: 0 ok, 1 failed, 2 usage, 3 not found, 4 plan stale or conflict, 5 denied, 6 partly failed, 7 unavailable or
timeout; `saga wait`: 8 ended compensated or abandoned, 9 stuck; 130 interrupted.

People see times in the zone of TZ, or else of this machine, which every time says; what they type without a zone is of
the same one. Queries take times with their zone only. json, jsonl and yaml are UTC.

Data goes to standard output, messages to standard error. Flags stand over environment, environment over the context
file, that over the addresses of `farmera up`. Begin with: sagactl saga list -q 'state = PARKED'";

/// See, understand, preview and repair sagas.
#[derive(Debug, Parser)]
#[command(name = "sagactl", version, after_help = AFTER_HELP, max_term_width = 110, infer_subcommands = false)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// What can be said to every command.
    #[command(flatten)]
    pub globals: Globals,
}

/// Everything `sagactl` does.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List, show, explain and repair sagas.
    #[command(subcommand)]
    Saga(saga::Command),
    /// Follow the operations that carry plans out; approve plans.
    #[command(subcommand)]
    Op(op::Command),
    /// List timers, and move or freeze them by plan.
    #[command(subcommand)]
    Timer(timer::Command),
    /// Hold a participant or a step back on purpose, and let go again by and by.
    #[command(subcommand)]
    Hold(hold::Command),
    /// Look at messages that nobody could handle, and redrive or discard them by plan.
    #[command(subcommand)]
    Dlq(dlq::Command),
    /// Look into the log.
    #[command(subcommand)]
    Event(event::Command),
    /// Look at the definitions of sagas.
    #[command(subcommand)]
    Def(definition::Command),
    /// Fold history again: as it was, with this program, with other policies.
    #[command(subcommand)]
    Replay(replay::Command),
    /// List payments, goods and orders that no saga explains, with a proposed act for each.
    Reconcile(reconcile::Arguments),
    /// Look at the read models.
    #[command(subcommand)]
    Projection(machinery::ProjectionCommand),
    /// Look at the way to the broker.
    #[command(subcommand)]
    Transport(machinery::TransportCommand),
    /// Look at the services.
    #[command(subcommand)]
    Service(machinery::ServiceCommand),
    /// A live screen: rates, what is in flight by step, the oldest, what is parked, lag. q quits, ? tells the keys.
    Top(top::Arguments),
    /// Choose whom to talk to.
    #[command(subcommand)]
    Context(context_command::Command),
    /// Print a completion script for a shell.
    Completion(manual::CompletionArguments),
    /// Print the manual page, or write all of them into a folder.
    Man(manual::ManArguments),
    /// Print what is typed most on one page.
    Cheat,
    /// Print the versions of this program and of the server.
    Version(manual::VersionArguments),
}

impl Cli {
    /// Does it, says what went wrong, and tells the exit code.
    pub async fn run(self) -> u8 {
        let paint = Paint::new(self.globals.color);
        let out = Out::standard(self.globals.output, paint, crate::clock::now());
        let mut session = Session { out, globals: self.globals };
        let done = Box::pin(self.command.execute(&mut session)).await;
        let done = done.and_then(|()| session.out.flush());
        match done {
            Ok(()) => 0,
            Err(failure) => {
                // What is there is still shown; a second failure of the same output would say nothing new.
                drop(session.out.flush());
                let code = failure.exit_code();
                if code != 0 {
                    tell(format!("error: {failure}"));
                }
                code
            }
        }
    }
}

impl Command {
    async fn execute(self, session: &mut Session) -> Result<(), Failure> {
        match self {
            Self::Saga(command) => Box::pin(saga::command(command, session)).await,
            Self::Op(command) => Box::pin(op::command(command, session)).await,
            Self::Timer(command) => Box::pin(timer::command(command, session)).await,
            Self::Hold(command) => Box::pin(hold::command(command, session)).await,
            Self::Dlq(command) => Box::pin(dlq::command(command, session)).await,
            Self::Event(command) => Box::pin(event::command(command, session)).await,
            Self::Def(command) => Box::pin(definition::command(command, session)).await,
            Self::Replay(command) => Box::pin(replay::command(command, session)).await,
            Self::Reconcile(arguments) => Box::pin(reconcile::command(arguments, session)).await,
            Self::Projection(command) => Box::pin(machinery::projections(command, session)).await,
            Self::Transport(command) => Box::pin(machinery::transport(command, session)).await,
            Self::Service(command) => Box::pin(machinery::services(command, session)).await,
            Self::Top(arguments) => Box::pin(top::command(arguments, session)).await,
            Self::Context(command) => context_command::command(command, session),
            Self::Completion(arguments) => manual::completion(arguments, session),
            Self::Man(arguments) => manual::man(arguments, session),
            Self::Cheat => manual::cheat(session),
            Self::Version(arguments) => Box::pin(manual::version(arguments, session)).await,
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
