//! Known bugs, planted one at a time, to see that the judges notice each.
//!
//! Shells have theirs from the simulator ([`Bug`]). Those of the rules are planted where the rules are bound: between an
//! input and the production rules ([`super::rules`]), or between payment and its provider. The rules themselves have no
//! switch that could be left on.

use saga_simulator::Bug;

macro_rules! plants {
    ($($(#[$doc:meta])* $variant:ident = $name:literal, $place:literal;)+) => {
        /// A bug that can be planted.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub enum Plant {
            $($(#[$doc])* $variant,)+
        }

        impl Plant {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The name for reports.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }

            /// Whose bug it is.
            #[must_use]
            pub const fn place(self) -> &'static str {
                match self {
                    $(Self::$variant => $place,)+
                }
            }
        }
    };
}

plants! {
    /// A step without answer counts as refused.
    TimeoutIsNo = "timeout-is-no", "core: sagas";
    /// An undo that was asked for counts as done.
    UndoTakenForDone = "undo-taken-for-done", "core: sagas";
    /// A cancellation turns a saga that is past its pivot.
    CancelPastPivot = "cancel-past-pivot", "core: sagas";
    /// A saga is complete when the first of its parallel steps is done.
    CompletedEarly = "completed-early", "core: sagas";
    /// Time passes unnoticed.
    WakeIgnored = "wake-ignored", "core: sagas";
    /// A refusal is taken for a yes.
    RefusalTakenForYes = "refusal-taken-for-yes", "core: orders";
    /// A saga forgets that it has ended.
    GoesOnAfterItsEnd = "goes-on-after-its-end", "core: sagas";
    /// What follows on an answer is asked for although the saga is paused.
    GoesOnWhilePaused = "goes-on-while-paused", "core: sagas";
    /// An answer is late although time stands still.
    FrozenTimePasses = "frozen-time-passes", "core: sagas";
    /// Whoever waits at a hold is asked for when somebody looks.
    HoldPassed = "hold-passed", "core: holds";
    /// Whoever is let go from a hold does not hear it.
    ReleaseUnheard = "release-unheard", "core: holds";
    /// A release that comes before its reservation leaves no trace.
    NoBarrier = "no-barrier", "barrier: products";
    /// Goods are said to be released, and stay reserved.
    ReleaseWithoutEffect = "release-without-effect", "participant: products";
    /// A release that comes twice frees twice.
    ReleasedTwice = "released-twice", "participant: products";
    /// Goods are held that are not there.
    Oversell = "oversell", "participant: products";
    /// A call without answer is made again under another key.
    ChargeWithNewKey = "charge-with-new-key", "participant: payment";
    /// A call without answer counts as declined.
    SilenceIsNo = "silence-is-no", "participant: payment";
    /// Nobody looks again after a void that found no charge.
    NoSecondLook = "no-second-look", "barrier: payment";
    /// An append that met a conflict says that it succeeded.
    ConflictSwallowed = "conflict-swallowed", "core: log";
    /// An append goes to the end of the stream, wherever that is.
    ExpectedVersionIgnored = "expected-version-ignored", "core: log";
    /// Messages go out before what they tell is stored.
    PublishedBeforeCommit = "published-before-commit", "core: outbox";
    /// A transaction leaves the outbox whether or not its messages were acknowledged.
    OutboxBeforeAck = "outbox-before-ack", "core: outbox";
    /// A message is acknowledged when it is taken up.
    AckBeforeCommit = "ack-before-commit", "core: inbox";
    /// A commit without answer is taken for stored.
    UnknownTakenForStored = "unknown-taken-for-stored", "core: log";
    /// What was concluded from a cached state is believed.
    StaleBelieved = "stale-believed", "core: log";
    /// An answer is not given a second time.
    AnsweredOnce = "answered-once", "participant: all";
}

impl Plant {
    /// The shells' part of it.
    #[must_use]
    pub const fn bug(self) -> Option<Bug> {
        match self {
            Self::ConflictSwallowed => Some(Bug::ConflictSwallowed),
            Self::ExpectedVersionIgnored => Some(Bug::ExpectedVersionIgnored),
            Self::PublishedBeforeCommit => Some(Bug::PublishedBeforeCommit),
            Self::OutboxBeforeAck => Some(Bug::OutboxBeforeAck),
            Self::AckBeforeCommit => Some(Bug::AckBeforeCommit),
            Self::UnknownTakenForStored => Some(Bug::UnknownTakenForStored),
            Self::StaleBelieved => Some(Bug::StaleBelieved),
            Self::AnsweredOnce => Some(Bug::AnsweredOnce),
            Self::TimeoutIsNo
            | Self::UndoTakenForDone
            | Self::CancelPastPivot
            | Self::CompletedEarly
            | Self::WakeIgnored
            | Self::RefusalTakenForYes
            | Self::GoesOnAfterItsEnd
            | Self::GoesOnWhilePaused
            | Self::FrozenTimePasses
            | Self::HoldPassed
            | Self::ReleaseUnheard
            | Self::NoBarrier
            | Self::ReleaseWithoutEffect
            | Self::ReleasedTwice
            | Self::Oversell
            | Self::ChargeWithNewKey
            | Self::SilenceIsNo
            | Self::NoSecondLook => None,
        }
    }

    /// The one of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|plant| plant.name() == name)
    }
}
