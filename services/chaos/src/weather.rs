//! The faults themselves. Each function makes one kind happen so many times and says how many did.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use chassis::broker::STREAMS;
use farmera::failure::Failure;
use farmera_local::Servers;
use faults::Point;
use futures::StreamExt as _;
use futures::future::join_all;
use tokio::time::{Instant, sleep, timeout};

use crate::chance::Chance;
use crate::ground::{Ground, blocking};
use crate::report::Fault;
use crate::supervisor::{Keeper, Supervisor};

/// A process that was told to die at a point has so long to get there; then it is told again.
const POINT_LIMIT: Duration = Duration::from_secs(20);
/// How often it is told, for one death.
const POINT_TRIES: u64 = 4;
/// Who is not there cannot be killed; so another one is chosen, so many times as many as there are kills at most.
const KILL_TRIES_MAX: u64 = 4;
/// Passes of a point that may be survived: enough that a life between two deaths gets some work done.
const PASSES_MAX: u64 = 64;
/// A lost answer has so long to be asked for.
const LOST_LIMIT: Duration = Duration::from_secs(60);
/// A trouble of the broker that finds nothing to do is tried again, so many times as many as there are at most.
const TRIES_MAX: usize = 4;
const ADMIN_LIMIT: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(20);

/// SIGKILL of services chosen at random, `pause` apart on average. How many ran and were killed.
pub async fn kill_services(services: &Supervisor, mut chance: Chance, count: u64, pause: Duration) -> u64 {
    let span = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX).saturating_mul(2).max(1);
    let mut killed = 0;
    for _ in 0..KILL_TRIES_MAX.saturating_mul(count) {
        if killed == count {
            break;
        }
        sleep(Duration::from_millis(chance.below(span))).await;
        if let Some(keeper) = chance.one_of(services.keepers()) {
            killed += u64::from(keeper.kill().await);
        }
    }
    killed
}

/// True when only the orders service passes there.
const fn is_of_sagas(point: Point) -> bool {
    match point {
        Point::TimerClaimBefore
        | Point::TimerClaimAfter
        | Point::TimerFireBefore
        | Point::TimerFireAfter
        | Point::CompensationBefore
        | Point::CompensationAfter => true,
        Point::AppendBefore
        | Point::AppendAfter
        | Point::CommitBefore
        | Point::CommitAfter
        | Point::PublishBefore
        | Point::PublishAfter
        | Point::PubAckBefore
        | Point::PubAckAfter
        | Point::OutboxAfter
        | Point::SweepBefore
        | Point::SweepAfter
        | Point::ReceiveBefore
        | Point::ReceiveAfter
        | Point::InboxBefore
        | Point::InboxAfter
        | Point::AckBefore
        | Point::AckAfter => false,
    }
}

/// Points that are passed once in a process's life, or nearly: they are hit at the first pass.
const fn is_rare(point: Point) -> bool {
    matches!(point, Point::ReceiveBefore | Point::SweepBefore | Point::SweepAfter) || is_of_sagas(point)
}

/// Death at every named point, `each` times or more; the services take turns, all at the same time.
pub async fn crash_at_every_point(services: &Supervisor, chance: &mut Chance, each: u64) -> Vec<Fault> {
    let mut lanes: Vec<(Keeper, Vec<Point>)> =
        services.keepers().iter().map(|keeper| (keeper.clone(), Vec::new())).collect();
    let all: Vec<Point> = (0..each).flat_map(|_| Point::ALL.iter().copied()).collect();
    for (turn, point) in all.into_iter().enumerate() {
        let mut takers: Vec<&mut (Keeper, Vec<Point>)> =
            lanes.iter_mut().filter(|(keeper, _)| (keeper.service == "orders") || !is_of_sagas(point)).collect();
        // The shortest lane takes it; what only orders can take goes there anyway.
        let count = takers.len().max(1);
        takers.rotate_left(turn % count);
        if let Some((_, points)) = takers.into_iter().min_by_key(|(_, points)| points.len()) {
            points.push(point);
        }
    }
    let work = lanes.into_iter().map(|(keeper, mut points)| {
        chance.shuffle(&mut points);
        crash_lane(keeper, points, Chance::new(chance.draw(), "lane"))
    });
    join_all(work).await;
    let fired = |point: &Point| -> u64 {
        let of = |keeper: &Keeper| keeper.tally().crashes.get(point.name()).copied().unwrap_or(0);
        services.keepers().iter().map(of).sum()
    };
    Point::ALL.iter().map(|point| Fault::new(format!("death at {}", point.name()), each, fired(point))).collect()
}

async fn crash_lane(keeper: Keeper, points: Vec<Point>, mut chance: Chance) {
    for point in points {
        for round in 0..POINT_TRIES {
            let nth = if is_rare(point) || round > 0 { 1 } else { 1 + chance.below(PASSES_MAX) };
            if keeper.die_at(point, nth, POINT_LIMIT).await {
                break;
            }
        }
    }
}

/// What can befall the broker.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Befalls {
    Kill,
    Wipe,
    Rollback,
    Deletion,
    Flip,
}

/// How often each befalls it.
#[derive(Clone, Copy, Debug)]
pub struct BrokerFaults {
    /// SIGKILL.
    pub kills: u64,
    /// Its store is gone.
    pub wipes: u64,
    /// Its store is an older copy.
    pub rollbacks: u64,
    /// A stream or a consumer is gone.
    pub deletions: u64,
    /// A bit of a stream's messages is another.
    pub flips: u64,
}

impl BrokerFaults {
    /// True when there is something to do.
    #[must_use]
    pub fn any(&self) -> bool {
        self.kills + self.wipes + self.rollbacks + self.deletions + self.flips > 0
    }
}

/// All of them in a chance order, `pause` apart.
///
/// # Errors
/// [`Failure`]: nats-server does not start again.
pub async fn trouble_the_broker(
    ground: &Ground,
    mut chance: Chance,
    faults: BrokerFaults,
    pause: Duration,
) -> Result<Vec<Fault>, Failure> {
    let of = |count, what| (0..count).map(move |_| what);
    let mut all: Vec<Befalls> = of(faults.kills, Befalls::Kill)
        .chain(of(faults.wipes, Befalls::Wipe))
        .chain(of(faults.rollbacks, Befalls::Rollback))
        .chain(of(faults.deletions, Befalls::Deletion))
        .chain(of(faults.flips, Befalls::Flip))
        .collect();
    chance.shuffle(&mut all);
    let copy = ground.folder.join("older-nats");
    let mut fired: Vec<Befalls> = Vec::new();
    let (servers, to) = (Arc::clone(&ground.servers), copy.clone());
    blocking(move || servers.copy_nats_store(&to).map_err(|error| Failure::Failed(error.to_string()))).await?;
    let tries_max = TRIES_MAX * all.len();
    let mut queue = VecDeque::from(all);
    for turn in 0..tries_max {
        let Some(what) = queue.pop_front() else { break };
        sleep(pause).await;
        let draw = chance.draw();
        let happened = match what {
            Befalls::Deletion => delete_something(&ground.servers.nats_url(), draw).await,
            Befalls::Kill | Befalls::Wipe | Befalls::Rollback | Befalls::Flip => {
                let (servers, copy) = (Arc::clone(&ground.servers), copy.clone());
                // Every fourth time the copy that is rolled back to becomes a younger one.
                blocking(move || strike(&servers, what, draw, &copy, turn % 4 == 3)).await?
            }
        };
        if happened {
            fired.push(what);
        } else {
            // There was nothing to delete or to flip yet: after the others.
            queue.push_back(what);
        }
    }
    let count = |what| fired.iter().filter(|fired| **fired == what).count() as u64;
    let all = vec![
        Fault::new("nats-server killed", faults.kills, count(Befalls::Kill)),
        Fault::new("nats store wiped", faults.wipes, count(Befalls::Wipe)),
        Fault::new("nats store rolled back", faults.rollbacks, count(Befalls::Rollback)),
        Fault::new("stream or consumer deleted", faults.deletions, count(Befalls::Deletion)),
        Fault::new("byte flipped in a block file", faults.flips, count(Befalls::Flip)),
    ];
    Ok(all.into_iter().filter(|fault| fault.wanted > 0).collect())
}

/// Kills nats-server, does to its store what is to be done, and starts it again.
fn strike(servers: &Servers, what: Befalls, draw: u64, copy: &std::path::Path, renew: bool) -> Result<bool, Failure> {
    servers.kill_nats();
    let failed = |error: farmera_local::FaultError| Failure::Failed(error.to_string());
    if renew && what != Befalls::Rollback {
        servers.copy_nats_store(copy).map_err(failed)?;
    }
    let happened = match what {
        Befalls::Kill => true,
        Befalls::Wipe => servers.wipe_nats_store().is_ok(),
        Befalls::Rollback => servers.restore_nats_store(copy).is_ok(),
        Befalls::Flip => {
            let mut streams = STREAMS.iter().cycle().skip(usize::try_from(draw % 4).unwrap_or(0)).take(STREAMS.len());
            streams.any(|(stream, ..)| servers.flip_nats_byte(stream, draw >> 8).is_ok())
        }
        Befalls::Deletion => false,
    };
    servers.start_nats().map_err(|error| Failure::Failed(error.to_string()))?;
    Ok(happened)
}

/// Deletes a stream, or one of its consumers.
async fn delete_something(url: &str, draw: u64) -> bool {
    let deleted = async {
        let client = async_nats::connect(url).await.ok()?;
        let jetstream = async_nats::jetstream::new(client);
        let streams: Vec<String> = jetstream.stream_names().filter_map(|name| async move { name.ok() }).collect().await;
        let stream = streams.get(usize::try_from(draw).unwrap_or(usize::MAX) % streams.len().max(1))?;
        if draw & 1 << 40 == 0 {
            return jetstream.delete_stream(stream).await.ok().map(|status| status.success);
        }
        let held = jetstream.get_stream(stream).await.ok()?;
        let consumers: Vec<String> = held.consumer_names().filter_map(|name| async move { name.ok() }).collect().await;
        let consumer = consumers.first()?;
        held.delete_consumer(consumer).await.ok().map(|status| status.success)
    };
    timeout(ADMIN_LIMIT, deleted).await.ok().flatten().unwrap_or(false)
}

/// SIGKILL of the postmaster, and a start through crash recovery, `pause` apart.
///
/// # Errors
/// [`Failure`]: Postgres does not start again.
pub async fn kill_postgres(ground: &Ground, count: u64, pause: Duration) -> Result<u64, Failure> {
    for _ in 0..count {
        sleep(pause).await;
        let servers = Arc::clone(&ground.servers);
        blocking(move || {
            servers.kill_postgres();
            servers.start_postgres().map_err(|error| Failure::Failed(error.to_string()))
        })
        .await?;
    }
    Ok(count)
}

/// Commits take place, and nobody hears of it.
pub async fn lose_commits(ground: &Ground, count: u64, pause: Duration) -> u64 {
    let before = ground.wire.lost();
    for wanted in 1..=count {
        ground.wire.lose_next();
        let deadline = Instant::now() + LOST_LIMIT;
        while ground.wire.lost() < before + wanted && Instant::now() < deadline {
            sleep(POLL).await;
        }
        sleep(pause).await;
    }
    ground.wire.calm();
    ground.wire.lost() - before
}
