//! How much of everything.

use clap::Args;

use crate::phases::Pace;
use crate::weather::BrokerFaults;

/// As in production: what one replica remembers, another has changed.
const REPLICAS: usize = 2;
const REPLICAS_MAX: usize = 6;

fn parse_replicas(text: &str) -> Result<usize, String> {
    let replicas = text.parse().ok().filter(|replicas| (1..=REPLICAS_MAX).contains(replicas));
    replicas.ok_or_else(|| format!("expected a number from 1 to {REPLICAS_MAX}"))
}

/// Counts of a run. The default is the tier of `make chaos`; `--minute` is the one of `make test`.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "How much (of each, at least)")]
pub struct Plan {
    /// Replicas of every service.
    #[arg(long, default_value_t = REPLICAS, value_parser = parse_replicas)]
    pub replicas: usize,
    /// Orders placed.
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    pub orders: u64,
    /// Orders per second at most.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=5_000))]
    pub rate: u64,
    /// Orders on their way at a time at most: whoever is slow is asked for less.
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    pub open: u64,
    /// SIGKILLs of services chosen at random.
    #[arg(long, default_value_t = 200)]
    pub kills: u64,
    /// Deaths at each named crash point.
    #[arg(long, default_value_t = 10)]
    pub crashes: u64,
    /// SIGKILLs of nats-server.
    #[arg(long, default_value_t = 30)]
    pub nats_kills: u64,
    /// Times its store is wiped.
    #[arg(long, default_value_t = 20)]
    pub nats_wipes: u64,
    /// Times its store is rolled back to an older copy.
    #[arg(long, default_value_t = 20)]
    pub nats_rollbacks: u64,
    /// Times a stream or a consumer is deleted.
    #[arg(long, default_value_t = 20)]
    pub nats_deletions: u64,
    /// Times a byte of a stream's messages is flipped.
    #[arg(long, default_value_t = 10)]
    pub nats_flips: u64,
    /// SIGKILLs of Postgres.
    #[arg(long, default_value_t = 20)]
    pub postgres_kills: u64,
    /// Commits whose answer is lost.
    #[arg(long, default_value_t = 200)]
    pub lost_commits: u64,
    /// Messages repeated by the gossip, late and out of order.
    #[arg(long, default_value_t = 1_000)]
    pub repeats: u64,
    /// Orders that are open when everything the broker knows is wiped; 0 leaves the scene out.
    #[arg(long, default_value_t = 2_000)]
    pub open_orders: u64,
}

impl Plan {
    /// Load until it is told to end.
    #[must_use]
    pub fn steady(&self) -> Pace {
        Pace { orders: u64::MAX, rate: self.rate, open: self.open }
    }

    /// What befalls the broker.
    #[must_use]
    pub fn broker(&self) -> BrokerFaults {
        BrokerFaults {
            kills: self.nats_kills,
            wipes: self.nats_wipes,
            rollbacks: self.nats_rollbacks,
            deletions: self.nats_deletions,
            flips: self.nats_flips,
        }
    }

    /// A minute's worth: every fault and every crash point at least once.
    #[must_use]
    pub fn minute() -> Self {
        Self {
            replicas: REPLICAS,
            orders: 400,
            rate: 40,
            open: 200,
            kills: 4,
            crashes: 1,
            nats_kills: 1,
            nats_wipes: 1,
            nats_rollbacks: 1,
            nats_deletions: 2,
            nats_flips: 1,
            postgres_kills: 1,
            lost_commits: 5,
            repeats: 20,
            open_orders: 0,
        }
    }
}
