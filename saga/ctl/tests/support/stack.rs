//! Everything, running, and `sagactl` as a process beside it.

#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::panic,
    reason = "each test file uses its part of it, and fails by panicking"
)]

use std::ops::Deref;
use std::sync::atomic::{AtomicU32, Ordering};

use farmera::up::{Options, Stack};
use tokio::sync::{Mutex, MutexGuard};

use crate::support::operator::Operator;

/// Payment cannot reach its processor: sagas wait at `authorize-payment`, for longer than any test.
pub const PROVIDER_AWAY: [(&str, &str); 2] =
    [("FARMERA_PAYMENT__PROVIDER_URL", "http://127.0.0.1:1"), ("FARMERA_ORDERS__PAYMENT_TIMEOUT_MS", "120000")];

/// Tests of a file take turns: several of everything at the same time are too much for a small machine.
static TURN: Mutex<()> = Mutex::const_new(());

/// A running Farmera, and an operator in front of it.
pub struct Ground {
    turn: MutexGuard<'static, ()>,
    operator: Operator,
    /// Everything.
    pub stack: Stack,
}

impl Deref for Ground {
    type Target = Operator;

    fn deref(&self) -> &Operator {
        &self.operator
    }
}

impl Ground {
    /// Starts everything, with variables for the services.
    pub async fn start(variables: &[(&str, &str)]) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let turn = TURN.lock().await;
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let state = farmera_local::project_root().join(format!(".farmera/sagactl-{}-{number}", std::process::id()));
        chassis::telemetry::init_logs("error");
        let mut options = Options::throwaway(state);
        options.variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let stack = Self::stack(options).await;
        let ground = Self { turn, operator: Operator::new(stack.clients.clone()), stack };
        // Services take calls before a message has gone out and come back, and say so.
        ground.until(&["service", "list"], |said| said.code == 0).await;
        ground
    }

    /// On a machine that builds at the same time, a server may not answer in time: that is not what is tested here.
    async fn stack(options: Options) -> Stack {
        for _ in 0..2 {
            if let Ok(stack) = Stack::start(options.clone()).await {
                return stack;
            }
        }
        Stack::start(options).await.unwrap()
    }

    /// Publishes what is no message of ours.
    pub async fn publish(&self, subject: &str, body: &'static str) {
        let client = async_nats::connect(&self.stack.addresses.nats.url).await.unwrap();
        client.publish(subject.to_owned(), body.into()).await.unwrap();
        client.flush().await.unwrap();
    }

    /// Stops everything.
    pub async fn stop(self) {
        self.stack.stop().await;
        drop(self.turn);
    }
}
