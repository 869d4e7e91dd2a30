//! `farmera demo`: one order of every fate, told by the timelines of their sagas, and the books afterwards.

mod fates;

use std::time::{Duration, Instant};

use clap::Args;
use farmera_proto::payment::v1::ProviderCharge;

use crate::failure::Failure;
use crate::invariants::{self, Judged};
use crate::output::{self, Paint};
use crate::saga;
use crate::up::{Options, Stack};
use fates::{FATES, Fate, Told};

/// Read models catch up within milliseconds; a machine under load may need more.
const SETTLE_LIMIT: Duration = Duration::from_secs(15);

/// What `farmera demo` is told: nothing.
#[derive(Args, Debug)]
pub struct Arguments {}

/// Starts everything, enacts every fate, judges, stops.
///
/// # Errors
/// [`Failure::Setup`] when it cannot start here, [`Failure::Failed`] when a fate or an invariant is not as expected.
pub async fn command(_: Arguments) -> Result<(), Failure> {
    // A provider that does not answer is part of the play.
    chassis::telemetry::init_logs("error");
    let paint = Paint::of_stdout();
    output::line(
        paint.strong("Starting a private Postgres, a private nats-server and all services, in a temporary folder"),
    );
    let folder = format!(".farmera/demo-{}", std::process::id());
    let options = Options {
        progress: |what, elapsed| output::line(format!("  {:>6.2} s  {what}", elapsed.as_secs_f64())),
        variables: fates::impatience(),
        ..Options::throwaway(farmera_local::project_root().join(folder))
    };
    let started = Instant::now();
    let stack = tokio::select! {
        stack = Stack::start(options) => stack?,
        _ = chassis::shutdown::signal() => return Err(Failure::Failed("interrupted while starting".to_owned())),
    };
    let played = tokio::select! {
        played = play(&stack, paint) => played,
        _ = chassis::shutdown::signal() => Err(Failure::Failed("interrupted".to_owned())),
    };
    stack.stop().await;
    let wrong = played?;
    if !wrong.is_empty() {
        return Err(Failure::Failed(format!("not as expected: {}", wrong.join("; "))));
    }
    let seconds = started.elapsed().as_secs_f64();
    output::line(format!("\n{}", paint.good(&format!("Everything as expected, in {seconds:.1} s."))));
    look_next(paint);
    Ok(())
}

/// What was not as expected.
async fn play(stack: &Stack, paint: Paint) -> Result<Vec<String>, Failure> {
    let clients = &stack.clients;
    let mut told = Vec::new();
    for (index, fate) in FATES.iter().enumerate() {
        output::line(format!("\n{}", paint.strong(&format!("{}. {}", index + 1, fate.title))));
        output::line(format!("   {}", fate.story));
        let one = fate.enact(clients).await?;
        for timeline in &one.sagas {
            saga::print(timeline, paint);
        }
        output::line(format!("  {}", one.ending(paint)));
        told.push((fate, one));
    }
    output::line(format!("\n{}", paint.strong("The books, read through the edges and from the payment provider")));
    let judged = invariants::settle(clients, SETTLE_LIMIT).await?;
    for (fate, one) in &told {
        output::line(format!("  {:<52} {}", fate.title, charges_of(&judged, one)));
    }
    output::line("");
    judged.print(paint);
    let mut wrong: Vec<String> = told.iter().flat_map(|(fate, one)| surprises(fate, one, &judged)).collect();
    let broken = judged.verdicts.iter().filter(|verdict| !verdict.holds);
    wrong.extend(broken.map(|verdict| format!("{}: {}", verdict.claim, verdict.detail)));
    Ok(wrong)
}

/// The provider's own records about an order.
fn records<'a>(judged: &'a Judged, told: &Told) -> Vec<&'a ProviderCharge> {
    let payments = judged.books.payments.iter().filter(|payment| payment.order_id == told.order.id);
    let ids: Vec<&str> = payments.map(|payment| payment.id.as_str()).collect();
    judged.books.charges.iter().filter(|charge| ids.contains(&charge.payment_id.as_str())).collect()
}

fn charges_of(judged: &Judged, told: &Told) -> String {
    let one = |charge: &&ProviderCharge| {
        let amount = output::amount(charge.amount.as_ref());
        format!("{amount} {}, {} requests", charge.status, charge.requests)
    };
    let records: Vec<String> = records(judged, told).iter().map(one).collect();
    if records.is_empty() { "the provider has no record".to_owned() } else { records.join(", ") }
}

fn surprises(fate: &Fate, told: &Told, judged: &Judged) -> Vec<String> {
    let mut surprises = told.surprises(fate);
    let statuses: Vec<&str> = records(judged, told).iter().map(|charge| charge.status.as_str()).collect();
    let expected = fate.charge.as_slice();
    if !statuses.iter().all(|status| expected.contains(status)) || statuses.len() > 1 {
        surprises.push(format!("{}: the provider has {statuses:?}, expected one of {expected:?}", fate.title));
    }
    surprises
}

fn look_next(paint: Paint) {
    output::line(format!("\n{}", paint.strong("Where to look next")));
    for (command, what) in [
        ("make up", "the same services to play with; it prints commands to try"),
        ("make bench", "how fast, with CPU and memory per process, and the same books afterwards"),
        ("make help", "everything else"),
        ("docs/ARCHITECTURE.md", "how it works: one event log per service, sagas as pure decisions"),
        ("services/orders/src/sagas/place_order.rs", "the process you just watched, as data"),
    ] {
        output::line(format!("  {command:<42} {what}"));
    }
}
