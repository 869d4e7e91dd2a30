//! Bugs that the shells around the rules can be given, to see that the judges notice. (Bugs of the rules themselves are
//! planted by whoever binds them.)

/// A classic bug of a shell.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Bug {
    /// An append that met a conflict says that it succeeded.
    ConflictSwallowed,
    /// An append goes to the end of the stream, wherever that is.
    ExpectedVersionIgnored,
    /// Messages go out before what they tell is stored.
    PublishedBeforeCommit,
    /// A transaction leaves the outbox whether the broker has acknowledged its messages or not.
    OutboxBeforeAck,
    /// A message is acknowledged when it is taken up.
    AckBeforeCommit,
    /// A commit without answer is taken for stored.
    UnknownTakenForStored,
    /// What was concluded from a cached state is believed without a look at the store.
    StaleBelieved,
    /// An answer that was given is not given again.
    AnsweredOnce,
}
