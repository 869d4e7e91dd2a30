//! `sagactl`: see `sagactl --help`.

use std::process::ExitCode;

use clap::Parser as _;
use sagactl::cli::Cli;

fn main() -> ExitCode {
    // Two providers in one process would have to be told apart; there is one.
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            sagactl::output::tell(format!("error: cannot start: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let code = runtime.block_on(cli.run());
    // A thread may still be reading from standard input; nobody waits for it.
    runtime.shutdown_background();
    ExitCode::from(code)
}
