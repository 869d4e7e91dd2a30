//! `farmera`: see `farmera --help`.

use std::process::ExitCode;

use clap::Parser;
use farmera::cli::Cli;
use tikv_jemallocator::Jemalloc;

/// Under load a third of the CPU went into the system's allocator; what is freed by another thread than made it costs
/// this one least.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

fn main() -> ExitCode {
    // Two providers in one process would have to be told apart; there is one.
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    let ended = runtime.block_on(cli.execute());
    // A thread may still be reading from standard input; nobody waits for it.
    runtime.shutdown_background();
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("error: {}", text::shown_lines(&failure.to_string()));
            failure.exit_code()
        }
    }
}
