//! Messages in from JetStream.
//!
//! # Theory of operation
//!
//! A durable pull consumer with explicit acknowledgement: a message is acknowledged after the commit that its handling
//! led to, given back with a delay when it cannot be handled now, and parked when it never can. Its neighbours go on.
//! Several events that came in one message are handled, and parked, each by itself; the message is acknowledged when all
//! are done ([`delivery`]), and all come again when one has to.
//! Any error of the message stream means: drop it, bring stream and consumer in line ([`consumer`]), open anew; and so
//! does a consumer that has messages and sends none ([`watchdog`]).
//!
//! Messages of one key (the stream their publisher told of) are handled one after another in the order they come in
//! ([`lanes`]), those of different keys at the same time. A message that is parked blocks its key ([`blockade`]): what
//! comes later for it is parked behind, until an operator has the line redriven ([`redrive`]) or discarded. Whatever is
//! no sound message of its publisher ([`message`]), or no part of what goes on ([`NotHandled::Stray`]), has no key and
//! blocks nobody.
//!
//! Where messages wait and none is handled, by whichever replica, health says so, and why ([`arrears`]).
//!
//! Bounded: at most [`IN_WORK_MAX`] events in work, and what came with them in one message; each with a deadline at the
//! broker ([`ACK_WAIT`]) that is put off while it is handled or waits for its elder.

mod arrears;
mod blockade;
mod consumer;
mod delivery;
mod lanes;
mod message;
mod redrive;
mod watchdog;

pub(crate) use self::message::saga_of;

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::consumer::pull;
use eventstore::{DeadLetter, DeadLetters};
use faults::{Plant, Point};
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tracing::{debug, error, warn};

use self::arrears::Arrears;
use self::blockade::Blockade;
use self::delivery::Delivery;
use self::lanes::Lanes;
use self::message::Received;
use self::redrive::Redriver;
use self::watchdog::{Seen, Watchdog};
use crate::broker::{Broker, GLANCE_INTERVAL};
use crate::envelope::{EnvelopeError, Incoming};
use crate::health::Component;
use crate::shutdown::Shutdown;

/// Events of one consumer that may be in work when another message is taken.
const IN_WORK_MAX: usize = 2_048;
/// Messages fetched with one request.
const FETCH_MAX: usize = 128;
/// A message that was neither acknowledged nor given back for this long comes again: whatever a process that died had
/// in its hands waits so long for another.
const ACK_WAIT: Duration = Duration::from_secs(10);
/// The broker is told this often that a message is still in work.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(3);
const REOPEN_DELAY: Duration = Duration::from_millis(500);
const REDELIVERY_FIRST: Duration = Duration::from_millis(200);
const REDELIVERY_MAX: Duration = Duration::from_secs(10);

/// Which messages of which stream a service listens to.
#[derive(Clone, Copy, Debug)]
pub struct ConsumerSpec {
    /// The stream of the service that publishes them.
    pub stream: &'static str,
    /// The durable consumer: letters, digits, `-`; at most 32 characters.
    pub durable: &'static str,
    /// The subjects.
    pub subjects: &'static [&'static str],
}

/// Why a message was not handled.
#[derive(Debug, thiserror::Error)]
pub enum NotHandled {
    /// It never can be. It is parked with this reason.
    #[error("{0}")]
    Poison(String),
    /// It is no part of anything that goes on here: it contradicts itself, or answers what nobody asked. It is parked
    /// with this reason, alone: whatever else is told under its key is not held up by what a stranger may have written.
    #[error("{0}")]
    Stray(String),
    /// Not now. It comes again.
    #[error("{0}")]
    Later(String),
}

impl From<EnvelopeError> for NotHandled {
    fn from(malformed: EnvelopeError) -> Self {
        Self::Poison(malformed.to_string())
    }
}

/// A service's way in for messages. When a method returns `Ok`, what it did is durable.
#[async_trait::async_trait]
pub trait React: Send + Sync + 'static {
    /// Handles one message. The same message may come again, late, and at the same time as those of other keys.
    ///
    /// # Errors
    /// [`NotHandled`] says whether it may come again.
    async fn react(&self, message: Incoming) -> Result<(), NotHandled>;

    /// Keeps a message that cannot be handled, and blocks its key.
    ///
    /// # Errors
    /// The store does not answer; the message comes again.
    async fn park(&self, letter: DeadLetter) -> Result<(), NotHandled>;
}

/// Listens until `shutdown`; then finishes what is in work.
pub async fn run(
    spec: ConsumerSpec,
    broker: Broker,
    letters: Arc<dyn DeadLetters>,
    react: Arc<dyn React>,
    component: Component,
    shutdown: Shutdown,
) {
    let blockade = Blockade::new(spec.durable, Arc::clone(&letters));
    let redriver = Redriver { consumer: spec.durable, letters, react: &*react, blockade: &blockade };
    let arrears = Arrears::new(spec.durable, Instant::now());
    let reactor = Reactor { spec, react: &*react, blockade: &blockade, lanes: Lanes::default(), arrears };
    tokio::join!(redriver.run(shutdown.clone()), reactor.run(&broker, &component, shutdown));
}

/// One consumer of one service.
struct Reactor<'a> {
    spec: ConsumerSpec,
    react: &'a dyn React,
    blockade: &'a Blockade,
    lanes: Lanes<Received>,
    arrears: Arrears,
}

impl Reactor<'_> {
    async fn run(&self, broker: &Broker, component: &Component, mut shutdown: Shutdown) {
        while !shutdown.is_triggered() {
            let connects = broker.connects();
            match self.open(broker).await {
                Ok((consumer, messages)) => {
                    component.tell(self.arrears.reason(Instant::now()));
                    faults::reach(Point::ReceiveBefore);
                    let watchdog = Watchdog::new(self.spec.durable, consumer, broker.clone(), connects);
                    self.listen(messages, watchdog, component, &mut shutdown).await;
                }
                Err(reason) => {
                    debug!(consumer = self.spec.durable, %reason, "cannot listen yet");
                    component.down(reason);
                }
            }
            tokio::select! {
                () = shutdown.triggered() => {}
                () = tokio::time::sleep(REOPEN_DELAY) => {}
            }
        }
    }

    /// Nothing is heard before it is known which keys are blocked.
    async fn open(&self, broker: &Broker) -> Result<(consumer::Durable, pull::Stream), String> {
        self.blockade.refresh().await.map_err(|error| error.to_string())?;
        broker.ensure_stream(self.spec.stream).await.map_err(|error| error.to_string())?;
        let consumer = consumer::ensure(&self.spec, broker).await?;
        let messages = consumer::messages(&consumer).await?;
        Ok((consumer, messages))
    }

    async fn listen(
        &self,
        mut messages: pull::Stream,
        mut watchdog: Watchdog,
        component: &Component,
        shutdown: &mut Shutdown,
    ) {
        let mut glance = interval(GLANCE_INTERVAL);
        glance.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut progress = interval(PROGRESS_INTERVAL);
        progress.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut in_work = FuturesUnordered::new();
        loop {
            tokio::select! {
                biased;
                () = shutdown.triggered() => break,
                Some(()) = in_work.next(), if !in_work.is_empty() => {}
                next = messages.next(), if self.lanes.in_work() < IN_WORK_MAX => match next {
                    Some(Ok(message)) => {
                        watchdog.heard();
                        for received in message::receive(&self.spec, message) {
                            let key = received.key.clone();
                            if let Some(first) = self.lanes.enter(key.as_ref(), received) {
                                in_work.push(self.follow(key, first));
                            }
                        }
                    }
                    Some(Err(failed)) => {
                        warn!(consumer = self.spec.durable, error = &failed as &dyn std::error::Error, "listening again from the start");
                        break;
                    }
                    None => break,
                },
                _ = progress.tick() => for waiting in self.lanes.behind(|waiting| Arc::clone(&waiting.origin.delivery)) {
                    waiting.progress().await;
                },
                _ = glance.tick() => match watchdog.look(self.lanes.in_work()).await {
                    Seen::Nothing => {}
                    Seen::Work { floor, waiting } => component.tell(self.arrears.looked(floor, waiting, Instant::now())),
                    Seen::Stalled => break,
                },
            }
        }
        while let Some(()) = in_work.next().await {}
    }

    /// Handles an event, then those of the same key that have come in meanwhile.
    async fn follow(&self, key: Option<Arc<str>>, first: Received) {
        let mut next = Some(first);
        while let Some(received) = next {
            self.handle(received).await;
            next = self.lanes.leave(key.as_ref());
        }
    }

    async fn handle(&self, received: Received) {
        let delivery = Arc::clone(&received.origin.delivery);
        faults::reach(Point::ReceiveAfter);
        if faults::planted(Plant::AckBeforeCommit) {
            drop(delivery.message().ack().await);
        }
        let again = match in_progress(&delivery, self.decide(received)).await {
            Ok(()) => {
                self.arrears.handled(Instant::now());
                false
            }
            Err(NotHandled::Poison(reason) | NotHandled::Stray(reason) | NotHandled::Later(reason)) => {
                debug!(consumer = self.spec.durable, reason, "an event cannot be handled now");
                self.arrears.failed(reason);
                true
            }
        };
        let Some(ack) = delivery.done(again) else { return };
        faults::reach(Point::AckBefore);
        let acknowledged = delivery.message().ack_with(ack).await;
        faults::reach(Point::AckAfter);
        if let Err(failed) = acknowledged {
            debug!(
                consumer = self.spec.durable,
                error = &*failed as &dyn std::error::Error,
                "an acknowledgement is lost; the message comes again"
            );
        }
    }

    /// Handled, parked, or parked behind.
    async fn decide(&self, received: Received) -> Result<(), NotHandled> {
        let Received { origin, key, sound } = received;
        // What is not sound has no say in whose line it stands.
        let key = key.as_deref().filter(|_| sound.is_ok());
        if let Some(key) = key
            && self.blockade.may_block(key)
        {
            let reason = format!("waits behind an earlier message of {key}");
            if self.blockade.park_behind(key, message::letter(&self.spec, &origin, Some(key), reason)).await? {
                return Ok(());
            }
        }
        let (key, reason) = match sound {
            Ok(incoming) => match self.react.react(incoming).await {
                Err(NotHandled::Poison(_)) if faults::planted(Plant::PoisonDropped) => return Ok(()),
                Err(NotHandled::Poison(reason)) => (key, reason),
                Err(NotHandled::Stray(reason)) => (None, reason),
                handled @ (Ok(()) | Err(NotHandled::Later(_))) => return handled,
            },
            Err(unsound) => (None, unsound),
        };
        let subject = &origin.delivery.message().subject;
        error!(consumer = self.spec.durable, %subject, key, reason, "a message cannot be handled and is parked");
        metrics::counter!("farmera_dead_letters_total", "consumer" => self.spec.durable).increment(1);
        self.react.park(message::letter(&self.spec, &origin, key, reason)).await?;
        if let Some(key) = key {
            self.blockade.block(key);
        }
        Ok(())
    }
}

/// Does `work`, and says so to the broker as long as it takes.
async fn in_progress<T>(delivery: &Delivery, work: impl Future<Output = T>) -> T {
    let mut work = pin!(work);
    loop {
        match timeout(PROGRESS_INTERVAL, work.as_mut()).await {
            Ok(done) => return done,
            Err(_) => delivery.progress().await,
        }
    }
}

/// 0.2 s, doubling with every delivery, at most 10 s.
fn redelivery_delay(delivered: i64) -> Duration {
    let doublings = u32::try_from(delivered.clamp(1, 16)).unwrap_or(1) - 1;
    REDELIVERY_MAX.min(REDELIVERY_FIRST * 2_u32.pow(doublings))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redelivery_backs_off_to_its_limit() {
        let delays = [0, 1, 2, 3, 60].map(redelivery_delay);
        let millis = delays.map(|delay| delay.as_millis());
        assert_eq!(millis, [200, 200, 400, 800, 10_000]);
    }
}
