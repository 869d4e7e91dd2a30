//! `farmera bench`: real clients against running services, from PlaceOrder to the saga's end.

mod load;
mod processes;
mod report;
mod target;

use std::time::Duration;

use chassis::clock::Uuids;
use clap::Args;
use eventstore::{IdSource as _, derived_id};
use farmera_proto::common::v1::Money;
use futures::future::try_join_all;
use indicatif::{ProgressBar, ProgressStyle};
use tonic::transport::Channel;
use uuid::Uuid;

use crate::addresses::Target;
use crate::catalogue;
use crate::clients::{self, Clients};
use crate::failure::Failure;
use crate::invariants;
use crate::output::{Format, Paint};
use load::{Load, Measured};
use processes::Watch;
use report::Report;
use target::Running;

/// Reading the books of many orders takes a while, and every order may still be on its way.
const SETTLE_LIMIT: Duration = Duration::from_secs(120);
/// One order in twenty is placed before anything is measured: connections, caches and plans warm up.
const WARM_UP_SHARE: u64 = 20;
/// The parent of the request ids of bench's own farm and products.
const REQUESTS: Uuid = Uuid::from_u128(0x0199_f000_0000_7000_8000_0000_6265_6e63);
/// Never sold out.
const STOCK: u64 = 1_000_000_000;

/// What `farmera bench` is told.
#[derive(Args, Debug)]
#[command(
    after_help = "Without addresses it starts a `farmera up` of its own in a temporary folder, and stops it afterwards."
)]
pub struct Arguments {
    /// Orders to measure.
    #[arg(long, default_value_t = 2_000, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    orders: u64,
    /// Orders in flight at most.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=4_096))]
    concurrency: u32,
    /// Open loop: orders per second to start, whatever becomes of the earlier ones; latency counts from the intended
    /// start.
    #[arg(long, value_parser = parse_rate)]
    rate: Option<f64>,
    /// The share of orders whose card is declined, so that they are compensated.
    #[arg(long, default_value_t = 0.1, value_parser = parse_share)]
    declined: f64,
    /// Lines per order.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=500))]
    lines: u16,
    /// Products that the orders choose from.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    products: u16,
    /// HTTP/2 connections.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..=64))]
    connections: u8,
    /// The form of the report.
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
    #[command(flatten)]
    target: Target,
}

/// Measures and reports.
///
/// # Errors
/// [`Failure::Failed`] when an order went wrong or an invariant does not hold.
pub async fn command(arguments: Arguments) -> Result<(), Failure> {
    chassis::telemetry::init_logs("error");
    if arguments.lines > arguments.products {
        return Err(Failure::Setup("--lines is more than --products: an order has each product once".to_owned()));
    }
    let running = tokio::select! {
        running = Running::start(&arguments.target) => running?,
        _ = chassis::shutdown::signal() => return Err(Failure::Failed("interrupted while starting".to_owned())),
    };
    let measured = tokio::select! {
        measured = measure(&arguments, &running) => measured,
        _ = chassis::shutdown::signal() => Err(Failure::Failed("interrupted".to_owned())),
    };
    running.stop().await;
    let report = measured?;
    report.print(arguments.output, Paint::of_stdout());
    match report.wrong() {
        Some(wrong) => Err(Failure::Failed(wrong)),
        None => Ok(()),
    }
}

async fn measure(arguments: &Arguments, running: &Running) -> Result<Report, Failure> {
    let clients = Clients::connect(running.endpoints.clone())?;
    let products = stock_up(&clients, arguments.products).await?;
    let channels = (0..arguments.connections).map(|_| clients::channel(&running.endpoints.orders));
    let channels: Vec<Channel> = channels.collect::<Result<_, _>>()?;
    let warm_up = (arguments.orders / WARM_UP_SHARE).max(1);
    let load = |orders, rate| Load {
        channels: channels.clone(),
        products: products.clone(),
        orders,
        concurrency: arguments.concurrency,
        rate,
        declined: arguments.declined,
        lines: usize::from(arguments.lines),
    };
    let bar = progress(arguments.orders);
    bar.set_message("warming up");
    load(warm_up, None).drive(&bar).await?;
    bar.reset();
    bar.set_message("measuring");
    let watch = Watch::start(&running.processes());
    let measured: Measured = load(arguments.orders, arguments.rate).drive(&bar).await?;
    let usage = watch.finish(measured.elapsed).await;
    bar.set_message("reading the books");
    let judged = invariants::settle(&clients, SETTLE_LIMIT).await?;
    bar.finish_and_clear();
    Ok(Report::new(arguments, running, &measured, usage, judged.verdicts))
}

/// Bench's own farm and products, made once; their stock never runs out.
async fn stock_up(clients: &Clients, count: u16) -> Result<Vec<String>, Failure> {
    let farm = derived_id(REQUESTS, "farm");
    let farm_id = catalogue::create_farm(clients, farm, "Bench farm", "bench@farm.example").await?;
    let (clients, farm_id) = (clients, &farm_id);
    let made = (0..count).map(|number| async move {
        let price = Money { currency_code: "EUR".to_owned(), minor_units: 100 + i64::from(number) };
        let name = format!("Bench product {number}");
        let request_id = derived_id(REQUESTS, &name);
        let product = catalogue::create_product(clients, request_id, farm_id, &name, price).await?;
        if product.available < STOCK / 2 {
            catalogue::add_stock(clients, Uuids.next_id(), &product.id, STOCK).await?;
        }
        Ok(product.id)
    });
    try_join_all(made).await
}

/// On a terminal; nothing on a pipe.
fn progress(orders: u64) -> ProgressBar {
    let bar = ProgressBar::new(orders);
    let style = ProgressStyle::with_template("{msg:18} {bar:40} {pos}/{len} orders  {per_sec}  {elapsed}");
    if let Ok(style) = style {
        bar.set_style(style);
    }
    bar
}

fn parse_share(text: &str) -> Result<f64, String> {
    text.parse().ok().filter(|share| (0.0..=1.0).contains(share)).ok_or_else(|| "expected 0 to 1".to_owned())
}

fn parse_rate(text: &str) -> Result<f64, String> {
    let rate = text.parse().ok().filter(|rate| (0.1..=1_000_000.0).contains(rate));
    rate.ok_or_else(|| "expected orders per second, 0.1 to 1000000".to_owned())
}
