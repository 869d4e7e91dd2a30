//! What can go wrong, how often it does in one run, and how often it did.

use std::time::Duration;

use crate::Chance;

macro_rules! faults {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)+) => {
        /// One thing that can go wrong.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub enum Fault {
            $($(#[$doc])* $variant,)+
        }

        impl Fault {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The name for reports.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }
        }
    };
}

faults! {
    /// A process dies when it has decided; nothing is stored.
    CrashBeforeCommit = "crash before commit",
    /// A process dies when its commit is stored; nobody was told.
    CrashAfterCommit = "crash after commit",
    /// A process dies between committing and telling the broker that it has handled a message.
    CrashBeforeAck = "crash before ack",
    /// A commit is not stored, and the process does not learn that.
    CommitLost = "commit lost, unknown",
    /// A commit is stored, and the process does not learn that.
    CommitAnswerLost = "commit stored, unknown",
    /// Another replica commits between a decision and its commit.
    Race = "overtaken by a replica",
    /// A process' clock is off.
    ClockStep = "clock stepped",
    /// A message does not reach the broker.
    PublishLost = "publish lost",
    /// A message reaches the broker, and its publisher does not learn that.
    PubAckLost = "publish stored, unknown",
    /// A delivery is lost; the broker repeats it after a while.
    DeliveryLost = "delivery lost",
    /// A message is delivered twice.
    DeliveredTwice = "delivered twice",
    /// A delivery takes very long: its youngers overtake it.
    DeliveredLate = "delivered late",
    /// The broker forgets everything it holds.
    Wiped = "broker wiped",
    /// The broker goes back to what it was some time ago.
    RolledBack = "broker rolled back",
    /// The broker cannot be reached for a while.
    BrokerAway = "broker away",
    /// A timer's row is lost.
    TimerLost = "timer lost",
    /// A call to the outside does not arrive.
    CallLost = "call lost",
    /// A call arrives, its answer does not.
    CallAnswerLost = "call answer lost",
    /// A call arrives after its caller has given up.
    CallLate = "call late",
    /// A client asks for the same thing twice.
    AskedTwice = "asked twice",
}

/// How often each fault fires, in 10,000 chances; 0 is never.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rates([u32; Fault::ALL.len()]);

impl Rates {
    /// Nothing goes wrong.
    pub const NONE: Self = Self([0; Fault::ALL.len()]);

    /// Half of the faults are off; each of the others is rare, common or very common.
    #[must_use]
    pub fn drawn(chance: &mut Chance) -> Self {
        let calm = chance.strikes(300);
        Self(std::array::from_fn(|_| {
            if calm || chance.strikes(5_000) { 0 } else { chance.pick(&[20, 150, 600, 2_000]).copied().unwrap_or(0) }
        }))
    }

    /// How often `fault` fires.
    #[must_use]
    pub fn of(&self, fault: Fault) -> u32 {
        self.0.get(fault as usize).copied().unwrap_or(0)
    }

    /// With `fault` firing so often.
    #[must_use]
    pub fn with(mut self, fault: Fault, rate: u32) -> Self {
        if let Some(of_fault) = self.0.get_mut(fault as usize) {
            *of_fault = rate;
        }
        self
    }
}

/// How often each fault has fired.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fired([u64; Fault::ALL.len()]);

impl Default for Fired {
    fn default() -> Self {
        Self([0; Fault::ALL.len()])
    }
}

impl Fired {
    /// How often `fault` has.
    #[must_use]
    pub fn of(&self, fault: Fault) -> u64 {
        self.0.get(fault as usize).copied().unwrap_or(0)
    }

    /// All of them together.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// Once more.
    pub fn add(&mut self, fault: Fault) {
        if let Some(of_fault) = self.0.get_mut(fault as usize) {
            *of_fault += 1;
        }
    }

    /// What happened in another run, too.
    pub fn join(&mut self, other: &Self) {
        self.0.iter_mut().zip(other.0).for_each(|(mine, theirs)| *mine += theirs);
    }
}

/// How the world is made: the measures that a run draws, from reasonable to extreme.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Knobs {
    /// Inputs in one commit at most.
    pub batch_max: usize,
    /// How long inputs wait for company.
    pub gather: Duration,
    /// The longest way of a message that is not late.
    pub delivery_max: Duration,
    /// How long the broker waits before it delivers again.
    pub ack_wait: Duration,
    /// For how long the broker knows what it was given.
    pub dedupe_window: Duration,
    /// How often the outbox is swept.
    pub sweep: Duration,
    /// How old a row must be to be swept.
    pub sweep_age: Duration,
    /// For how long a timer that was claimed is nobody else's.
    pub lease: Duration,
    /// How long a dead process stays dead at most.
    pub restart_max: Duration,
    /// Streams a process keeps folded.
    pub cached_streams: usize,
    /// How far a clock that is off is off, at most. Not more: a process reckons by the store's clock, carried on by one
    /// that does not jump, so it is off by a round trip; here by much more than that.
    pub clock_step_max: Duration,
    /// How often whatever has not ended is woken, in case that its timer is lost.
    pub reconcile: Duration,
    /// How long an outside call takes at most, when it is not late.
    pub call_max: Duration,
    /// When a caller gives up.
    pub call_timeout: Duration,
}

impl Knobs {
    /// What a run is made of.
    #[must_use]
    pub fn drawn(chance: &mut Chance) -> Self {
        let mut millis = |of: &[u64]| Duration::from_millis(chance.pick(of).copied().unwrap_or(1));
        let (gather, delivery_max) = (millis(&[0, 1, 20]), millis(&[1, 20, 400]));
        let (ack_wait, dedupe_window) = (millis(&[50, 2_000, 30_000]), millis(&[1, 5_000, 120_000]));
        let (sweep, sweep_age) = (millis(&[100, 1_000, 5_000]), millis(&[0, 500, 10_000]));
        let (lease, restart_max) = (millis(&[10, 1_000, 10_000]), millis(&[10, 1_000, 20_000]));
        let (clock_step_max, reconcile) = (millis(&[5, 500, 5_000]), millis(&[1_000, 10_000, 60_000]));
        let (call_max, call_timeout) = (millis(&[1, 100, 900]), millis(&[1_000, 3_000]));
        let batch_max = chance.pick(&[1, 4, 64]).copied().unwrap_or(1);
        let cached_streams = chance.pick(&[1, 8, 1_000]).copied().unwrap_or(1);
        Self {
            batch_max,
            gather,
            delivery_max,
            ack_wait,
            dedupe_window,
            sweep,
            sweep_age,
            lease,
            restart_max,
            cached_streams,
            clock_step_max,
            reconcile,
            call_max,
            call_timeout,
        }
    }
}
