//! `farmera up` as typed.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;

use crate::addresses::{self, Addresses};
use crate::failure::Failure;
use crate::output::{self, Paint};
use crate::up::{Options, Stack};

/// The last line that `farmera up` prints when everything is ready; programs that start it wait for its first word.
pub const READY: &str = "ready";

/// More in one process would only share what it has.
const REPLICAS_MAX: usize = 6;

/// What `farmera up` is told.
#[derive(Args, Debug)]
pub struct Arguments {
    /// Wipe all data first.
    #[arg(long)]
    fresh: bool,
    /// Take free ports instead of 50051, 50052, 50054, 50055 and 9600.
    #[arg(long)]
    free_ports: bool,
    /// Run every service so many times, as a cluster would: what one replica remembers, another has changed.
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = replicas)]
    replicas: usize,
    /// Where to keep data, logs and addresses (default: .farmera/up in the project).
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// Remove the state at the end.
    #[arg(long, hide = true)]
    temporary: bool,
    /// End when standard input does: for programs that start this one.
    #[arg(long, hide = true)]
    until_stdin_closes: bool,
}

/// Runs everything until a signal.
///
/// # Errors
/// [`Failure::Setup`] when it cannot start here, [`Failure::Failed`] when a service ends by itself or is cut off.
pub async fn command(arguments: Arguments) -> Result<(), Failure> {
    chassis::telemetry::init_logs("warn,sqlx=error");
    let paint = Paint::of_stdout();
    let state = arguments.state.unwrap_or_else(addresses::default_state);
    let options = Options {
        fresh: arguments.fresh,
        temporary: arguments.temporary,
        free_ports: arguments.free_ports,
        replicas: arguments.replicas,
        progress: report,
        ..Options::new(state)
    };
    let started = Instant::now();
    let mut stack = tokio::select! {
        stack = Stack::start(options) => stack?,
        _ = chassis::shutdown::signal() => return Err(Failure::Failed("interrupted while starting".to_owned())),
    };
    print_addresses(&stack.addresses, paint);
    output::line(format!("{READY} in {:.1} s; Ctrl-C drains and stops", started.elapsed().as_secs_f64()));
    let ended = tokio::select! {
        failure = stack.first_to_end() => Err(failure),
        signal = chassis::shutdown::signal() => signal.map_err(|error| Failure::Failed(format!("no signals: {error}"))),
        () = stdin_closed(arguments.until_stdin_closes) => Ok(()),
    };
    output::line("draining; press Ctrl-C again to end at once");
    let drained = tokio::select! {
        drained = stack.stop() => drained,
        // The servers' guard stops them when we are gone.
        _ = chassis::shutdown::signal() => return Err(Failure::Failed("ended at once; the next start takes up what was in work".to_owned())),
    };
    ended?;
    if !drained {
        return Err(Failure::Failed("work was cut off after its time to drain; the next start takes it up".to_owned()));
    }
    output::line("stopped");
    Ok(())
}

fn replicas(text: &str) -> Result<usize, String> {
    let replicas = text.parse().ok().filter(|replicas| (1..=REPLICAS_MAX).contains(replicas));
    replicas.ok_or_else(|| format!("expected a number from 1 to {REPLICAS_MAX}"))
}

fn report(what: &str, elapsed: Duration) {
    output::line(format!("  {:>6.2} s  {what}", elapsed.as_secs_f64()));
}

async fn stdin_closed(wanted: bool) {
    if !wanted {
        return std::future::pending().await;
    }
    // A thread of its own, as reading from standard input cannot be called off.
    let end = tokio::task::spawn_blocking(|| std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink()));
    drop(end.await);
}

fn print_addresses(addresses: &Addresses, paint: Paint) {
    let endpoints = &addresses.endpoints;
    let mut table = paint.table(&["what", "where"], &[]);
    table.add_row(["products (gRPC)", endpoints.products.as_str()]);
    table.add_row(["orders (gRPC)", &endpoints.orders]);
    table.add_row(["payment (gRPC)", &endpoints.payment]);
    table.add_row(["notification (gRPC)", &endpoints.notification]);
    table.add_row(["admin (HTTP)", &format!("{}/readyz  /livez  /metrics", addresses.admin)]);
    table.add_row(["Postgres", &addresses.postgres.address]);
    table.add_row(["NATS", &addresses.nats.url]);
    table.add_row(["mails", &addresses.mailbox.display().to_string()]);
    table.add_row(["state, logs", &addresses.state.display().to_string()]);
    for (number, replica) in (2..).zip(&addresses.replicas) {
        let of = |what: &str| format!("{what}, replica {number}");
        table.add_row([of("products").as_str(), &replica.endpoints.products]);
        table.add_row([of("orders").as_str(), &replica.endpoints.orders]);
        table.add_row([of("payment").as_str(), &replica.endpoints.payment]);
        table.add_row([of("notification").as_str(), &replica.endpoints.notification]);
        table.add_row([of("admin").as_str(), &format!("{}/readyz", replica.admin)]);
    }
    output::line("");
    output::table(&table);
    let farmera = std::env::args().next().unwrap_or_else(|| "farmera".to_owned());
    output::line(format!("\n{}", paint.strong("Try, in another terminal:")));
    for example in [
        "product list",
        "order place --product honey:2 --watch",
        "order place --product milk:1 --token tok_declined --watch",
        "saga show <the order's id>",
        "order list",
    ] {
        output::line(format!("  {farmera} {example}"));
    }
    output::line("");
}
