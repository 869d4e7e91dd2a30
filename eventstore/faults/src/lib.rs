//! Places to die at, and bugs to plant: how the chaos harness proves that nothing depends on luck.
//!
//! * [`reach`] stands at the named [`Point`]s of production code. A process that was started with
//!   `FARMERA_CRASH_AT=<point>:<nth>` kills itself there, at the nth pass: SIGKILL, so nothing is unwound or flushed.
//! * [`planted`] stands beside the few lines whose absence would be a classic bug ([`Plant`]). A process that was
//!   started with `FARMERA_PLANT=<plant>` has that bug, so that checks can be seen to fail.
//!
//! Without the feature `planted` both are constants that compile to nothing, and neither variable is looked at: a
//! program that is released cannot be told to crash. Only the harness (`services/chaos`) switches the feature on.

#[cfg(feature = "planted")]
mod armed;

/// The variable that arms a crash point: `<point>:<nth>`, nth from 1.
#[cfg(feature = "planted")]
pub const CRASH_AT: &str = "FARMERA_CRASH_AT";
/// The variable that names the file to which a process adds the name of the point it dies at.
#[cfg(feature = "planted")]
pub const CRASH_LOG: &str = "FARMERA_CRASH_LOG";
/// The variable that plants a bug.
#[cfg(feature = "planted")]
pub const PLANT: &str = "FARMERA_PLANT";

/// Names in code, names for people, and the list of all of them.
macro_rules! named {
    ($(#[$doc:meta])* $type:ident { $($(#[$said:meta])* $variant:ident = $name:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
        pub enum $type {
            $($(#[$said])* $variant,)+
        }

        impl $type {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The name for variables and reports.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }

            /// The one of this name.
            #[must_use]
            pub fn named(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|one| one.name() == name)
            }
        }
    };
}

named! {
    /// A place to die at.
    Point {
        /// The worker has decided a batch; the store does not know of it.
        AppendBefore = "append-before",
        /// The store has said that it is durable; nobody was told.
        AppendAfter = "append-after",
        /// The commit's statement is about to be sent.
        CommitBefore = "commit-before",
        /// Its answer has come.
        CommitAfter = "commit-after",
        /// The relay has a committed event in hand.
        PublishBefore = "publish-before",
        /// A message is on its way to the broker.
        PublishAfter = "publish-after",
        /// A message is on its way, and not acknowledged.
        PubAckBefore = "puback-before",
        /// It is acknowledged; its transaction still stands in the outbox.
        PubAckAfter = "puback-after",
        /// Its row has left the outbox.
        OutboxAfter = "outbox-after",
        /// A new process has found what an older one left in the outbox.
        SweepBefore = "sweep-before",
        /// It has taken it up; the rows are still there.
        SweepAfter = "sweep-after",
        /// A consumer is open; no message has come.
        ReceiveBefore = "receive-before",
        /// A message has come; nobody has looked at it.
        ReceiveAfter = "receive-after",
        /// An input is about to meet the states that tell whether it is a duplicate.
        InboxBefore = "inbox-before",
        /// It has met them.
        InboxAfter = "inbox-after",
        /// What a message led to is durable; the broker does not know.
        AckBefore = "ack-before",
        /// It was told.
        AckAfter = "ack-after",
        /// Timers are about to be claimed.
        TimerClaimBefore = "timer-claim-before",
        /// They are claimed; nobody was woken.
        TimerClaimAfter = "timer-claim-after",
        /// A due timer is about to wake its saga.
        TimerFireBefore = "timer-fire-before",
        /// The saga was woken, and what follows is durable.
        TimerFireAfter = "timer-fire-after",
        /// A saga has decided to undo a step; it is not stored.
        CompensationBefore = "compensation-before",
        /// It is stored; nobody was told.
        CompensationAfter = "compensation-after",
    }
}

named! {
    /// A classic bug.
    Plant {
        /// Readers of the log go by position alone.
        CursorOnPosition = "cursor-on-position",
        /// Readers of the log do not stop below the oldest open transaction.
        NoOpenTransactionBarrier = "no-open-transaction-barrier",
        /// An append that met a conflict says that it succeeded.
        SwallowConflict = "swallow-conflict",
        /// An append goes to the end of the stream, wherever that is.
        ExpectedVersionIgnored = "expected-version-ignored",
        /// A commit whose answer was lost is taken for somebody else's.
        LostAnswerIsConflict = "lost-answer-is-conflict",
        /// A message is noted as handled before, and apart from, what it leads to.
        InboxOutsideTransaction = "inbox-outside-transaction",
        /// Messages go out before what they tell is durable.
        PublishBeforeCommit = "publish-before-commit",
        /// A transaction leaves the outbox when its messages are sent, not when they are acknowledged.
        OutboxBeforeAck = "outbox-before-ack",
        /// A message is acknowledged before it is handled.
        AckBeforeCommit = "ack-before-commit",
        /// A message that cannot be handled is acknowledged and forgotten.
        PoisonDropped = "poison-dropped",
        /// A timer that found nothing due is not armed again.
        TimerNotRearmed = "timer-not-rearmed",
        /// A charge without answer is tried again under another idempotency key.
        ChargeWithNewKey = "charge-with-new-key",
        /// An undo that comes before its action leaves no trace.
        NoBarrier = "no-barrier",
        /// Goods are said to be released, and stay reserved.
        ReleaseWithoutEffect = "release-without-effect",
        /// A read model's cursor moves in a transaction of its own, before the rows.
        CursorBeforeRows = "cursor-before-rows",
    }
}

/// Dies here if this process was told to.
#[cfg(feature = "planted")]
pub fn reach(point: Point) {
    armed::reach(point);
}

/// Nothing: the feature is off.
#[cfg(not(feature = "planted"))]
#[inline(always)]
pub const fn reach(_point: Point) {}

/// True when this process was told to have this bug.
#[cfg(feature = "planted")]
#[must_use]
pub fn planted(plant: Plant) -> bool {
    armed::planted(plant)
}

/// False: the feature is off.
#[cfg(not(feature = "planted"))]
#[inline(always)]
#[must_use]
pub const fn planted(_plant: Plant) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_found_and_means_one_thing() {
        for point in Point::ALL {
            assert_eq!(Point::named(point.name()), Some(*point));
        }
        for plant in Plant::ALL {
            assert_eq!(Plant::named(plant.name()), Some(*plant));
        }
    }
}
