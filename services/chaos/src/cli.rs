//! What can be typed.

use clap::{Parser, Subcommand};
use farmera::failure::Failure;

use crate::{load, plants, run};

/// Kills, wipes, cuts and repeats, then judges from outside.
#[derive(Debug, Parser)]
#[command(name = "chaos", max_term_width = 110, args_conflicts_with_subcommands = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: run::Arguments,
}

/// Other roles of this program.
#[derive(Debug, Subcommand)]
enum Command {
    /// Name the crash points and the bugs that can be planted.
    Names,
    /// Plant each bug in turn and run the test that must notice.
    Plants,
    /// The load client, as a process of its own.
    #[command(hide = true)]
    Load(load::Arguments),
    /// A service: `farmera` as it is, with crash points, ending with its standard input.
    #[command(hide = true)]
    Farmera {
        /// What `farmera` is told.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
}

impl Cli {
    /// Does it.
    ///
    /// # Errors
    /// [`Failure::Failed`] when something was lost, doubled or skipped, or a fault did not happen.
    pub async fn execute(self) -> Result<(), Failure> {
        match self.command {
            None => Box::pin(run::command(self.run)).await,
            Some(Command::Names) => {
                names();
                Ok(())
            }
            Some(Command::Plants) => plants::command().await,
            Some(Command::Load(arguments)) => load::command(arguments).await,
            Some(Command::Farmera { arguments }) => {
                end_with_standard_input();
                let typed = std::iter::once("farmera".to_owned()).chain(arguments);
                let cli =
                    farmera::cli::Cli::try_parse_from(typed).map_err(|error| Failure::Setup(error.to_string()))?;
                Box::pin(cli.execute()).await
            }
        }
    }
}

fn names() {
    for point in faults::Point::ALL {
        farmera::output::line(format!("point  {}", point.name()));
    }
    for plant in faults::Plant::ALL {
        farmera::output::line(format!("plant  {}", plant.name()));
    }
}

/// Whoever started us holds the other end; should it die in whatever way, no service is left behind.
fn end_with_standard_input() {
    std::thread::spawn(|| {
        drop(std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink()));
        std::process::exit(9);
    });
}
