//! Which message may go next: per stream one at a time, in the order of versions. No I/O here.

use std::collections::{HashMap, VecDeque};

use eventstore::{StreamId, TxId, Version};
use foldhash::fast::RandomState;

use crate::envelope::Sealed;

/// Streams whose last told version is remembered, at least; twice as many at most. Of others the outbox is asked.
const REMEMBERED_MAX: usize = 16_384;

/// What one transaction tells of one stream; or what is to be told before another parcel may go.
pub(super) struct Parcel {
    /// Whose share this is; none for elders that another relay, or the sweep, answers for.
    pub(super) tx: Option<TxId>,
    pub(super) stream: StreamId,
    pub(super) first: Version,
    pub(super) last: Version,
    /// In the order of versions; none when all of it is nobody's business. The first goes next.
    pub(super) messages: VecDeque<Sealed>,
}

/// What is to be done now.
pub(super) enum Step {
    /// Send its first message and report with [`Lanes::sent`].
    Send(Parcel),
    /// Look whether something of this stream before this version waits in the outbox; report with [`Lanes::elders`].
    Ask(StreamId, Version),
}

/// What the outbox says of a stream's elders.
pub(super) enum Elders {
    /// All of them are told.
    Told,
    /// These have to go first.
    First(Parcel),
    /// Nobody knows, or they cannot be told: whatever waits behind them stays in the outbox.
    Unclear,
}

struct Shares {
    left: usize,
    whole: bool,
}

/// The streams that something is told of.
#[derive(Default)]
pub(super) struct Lanes {
    told: Recent,
    /// Streams with a parcel or a question under way, and what waits behind it.
    busy: HashMap<StreamId, VecDeque<Parcel>, RandomState>,
    shares: HashMap<TxId, Shares, RandomState>,
    steps: Vec<Step>,
    whole: Vec<TxId>,
    failed: bool,
}

impl Lanes {
    /// Transactions in work.
    pub(super) fn len(&self) -> usize {
        self.shares.len()
    }

    /// What is to be done now; each is said once.
    pub(super) fn steps(&mut self) -> Vec<Step> {
        std::mem::take(&mut self.steps)
    }

    /// Transactions of which everything is told; each is said once.
    pub(super) fn whole(&mut self) -> Vec<TxId> {
        std::mem::take(&mut self.whole)
    }

    /// True once after something could not be told.
    pub(super) fn failed(&mut self) -> bool {
        std::mem::take(&mut self.failed)
    }

    /// Takes what a transaction tells. `complete` is false when a part of it cannot be told by this program: then the
    /// transaction stays in the outbox. True unless the transaction is in work already.
    pub(super) fn take(&mut self, tx: TxId, parcels: Vec<Parcel>, complete: bool) -> bool {
        if self.shares.contains_key(&tx) {
            return false;
        }
        if parcels.is_empty() {
            if complete {
                self.whole.push(tx);
            }
            return true;
        }
        self.shares.insert(tx, Shares { left: parcels.len(), whole: complete });
        for parcel in parcels {
            match self.busy.get_mut(&parcel.stream) {
                Some(waiting) => waiting.push_back(parcel),
                None => self.advance(parcel.stream, VecDeque::from([parcel])),
            }
        }
        true
    }

    /// What was sent of a parcel is on the broker, or it is not known to be; the parcel holds what is left of it.
    pub(super) fn sent(&mut self, parcel: Parcel, acknowledged: bool) {
        if acknowledged && !parcel.messages.is_empty() {
            self.steps.push(Step::Send(parcel));
            return;
        }
        let Parcel { tx, stream, last, .. } = parcel;
        let waiting = self.busy.remove(&stream).unwrap_or_default();
        self.share_done(tx, acknowledged);
        if acknowledged {
            self.told.insert(stream, last);
            self.advance(stream, waiting);
        } else {
            self.told.remove(stream);
            self.drop_all(waiting);
        }
    }

    /// What the outbox says of what comes before the first parcel that waits.
    pub(super) fn elders(&mut self, stream: StreamId, elders: Elders) {
        let mut waiting = self.busy.remove(&stream).unwrap_or_default();
        match elders {
            Elders::Unclear => self.drop_all(waiting),
            Elders::Told => {
                if let Some(next) = waiting.front() {
                    self.told.insert(stream, Version::new(next.first.get() - 1));
                }
                self.advance(stream, waiting);
            }
            Elders::First(parcel) => {
                self.told.insert(stream, Version::new(parcel.first.get() - 1));
                waiting.push_front(parcel);
                self.advance(stream, waiting);
            }
        }
    }

    /// The broker's memory is not what it was: nothing is known to be told, and what waits, or was about to go, stays in
    /// the outbox.
    pub(super) fn forget(&mut self) {
        self.told = Recent::default();
        for step in std::mem::take(&mut self.steps) {
            let (stream, parcel) = match step {
                Step::Send(parcel) => (parcel.stream, Some(parcel)),
                Step::Ask(stream, _) => (stream, None),
            };
            let waiting = self.busy.remove(&stream).unwrap_or_default();
            self.drop_all(parcel.into_iter().chain(waiting));
        }
        let waiting: Vec<Parcel> = self.busy.values_mut().flat_map(std::mem::take).collect();
        self.drop_all(waiting);
    }

    /// Sends what may go, or asks what it depends on, until something is under way or nothing waits.
    fn advance(&mut self, stream: StreamId, mut waiting: VecDeque<Parcel>) {
        while let Some(parcel) = waiting.pop_front() {
            let told = self.told.get(stream);
            if told.is_some_and(|told| parcel.last <= told) {
                self.share_done(parcel.tx, true);
                continue;
            }
            let ready = parcel.first.get() == 1 || told.is_some_and(|told| parcel.first <= told.plus(1));
            if !ready {
                self.steps.push(Step::Ask(stream, parcel.first));
                waiting.push_front(parcel);
            } else if parcel.messages.is_empty() {
                self.told.insert(stream, parcel.last);
                self.share_done(parcel.tx, true);
                continue;
            } else {
                self.steps.push(Step::Send(parcel));
            }
            self.busy.insert(stream, waiting);
            return;
        }
    }

    fn drop_all(&mut self, parcels: impl IntoIterator<Item = Parcel>) {
        for parcel in parcels {
            self.share_done(parcel.tx, false);
        }
        self.failed = true;
    }

    fn share_done(&mut self, tx: Option<TxId>, told: bool) {
        self.failed |= !told;
        let Some(tx) = tx else { return };
        let Some(shares) = self.shares.get_mut(&tx) else { return };
        shares.left -= 1;
        shares.whole &= told;
        if shares.left == 0 {
            if shares.whole {
                self.whole.push(tx);
            }
            self.shares.remove(&tx);
        }
    }
}

/// What was told last of each stream; what was not used for long is forgotten.
#[derive(Default)]
struct Recent {
    young: HashMap<StreamId, Version, RandomState>,
    old: HashMap<StreamId, Version, RandomState>,
}

impl Recent {
    fn get(&self, stream: StreamId) -> Option<Version> {
        self.young.get(&stream).or_else(|| self.old.get(&stream)).copied()
    }

    fn insert(&mut self, stream: StreamId, version: Version) {
        if self.young.len() >= REMEMBERED_MAX {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(stream, version);
    }

    fn remove(&mut self, stream: StreamId) {
        self.young.remove(&stream);
        self.old.remove(&stream);
    }
}

#[cfg(test)]
mod tests {
    use eventstore::Category;
    use eventstore::memory::CountingIds;

    use super::*;

    fn stream(number: u64) -> StreamId {
        StreamId::new(Category::new("apple"), CountingIds::id(1, number))
    }

    fn parcel(tx: u64, stream: StreamId, first: u64, last: u64) -> Parcel {
        let (first, last) = (Version::new(first), Version::new(last));
        let messages = VecDeque::from([Sealed::sample("farmera.test", tx, 2)]);
        Parcel { tx: (tx > 0).then_some(TxId(tx)), stream, first, last, messages }
    }

    /// All of a parcel is sent.
    fn told(tx: u64, stream: StreamId, last: u64) -> Parcel {
        Parcel { messages: VecDeque::new(), ..parcel(tx, stream, 1, last) }
    }

    /// `send 3` or `ask 3`, by the first version.
    fn steps(lanes: &mut Lanes) -> Vec<String> {
        let say = |step: Step| match step {
            Step::Send(parcel) => format!("send {}", parcel.first),
            Step::Ask(_, version) => format!("ask {version}"),
        };
        lanes.steps().into_iter().map(say).collect()
    }

    fn take(lanes: &mut Lanes, tx: u64, first: u64, last: u64) -> Vec<String> {
        assert!(lanes.take(TxId(tx), vec![parcel(tx, stream(1), first, last)], true));
        steps(lanes)
    }

    #[test]
    fn a_stream_s_next_message_waits_for_the_acknowledgement_of_the_one_before() {
        let mut lanes = Lanes::default();
        assert_eq!(take(&mut lanes, 1, 1, 1), ["send 1"]);
        assert_eq!(take(&mut lanes, 2, 2, 3), [""; 0]);
        lanes.sent(told(1, stream(1), 1), true);
        assert_eq!(steps(&mut lanes), ["send 2"]);
        assert_eq!(lanes.whole(), [TxId(1)]);
    }

    #[test]
    fn a_parcel_s_messages_go_one_after_another_and_what_follows_waits_for_the_last() {
        let mut lanes = Lanes::default();
        assert_eq!(take(&mut lanes, 1, 1, 2), ["send 1"]);
        assert_eq!(take(&mut lanes, 2, 3, 3), [""; 0]);
        lanes.sent(parcel(1, stream(1), 1, 2), true);
        assert_eq!((steps(&mut lanes), lanes.whole()), (vec!["send 1".to_owned()], vec![]), "one is left");
        lanes.sent(told(1, stream(1), 2), true);
        assert_eq!((steps(&mut lanes), lanes.whole()), (vec!["send 3".to_owned()], vec![TxId(1)]));
    }

    #[test]
    fn what_follows_a_message_that_failed_stays_in_the_outbox() {
        let mut lanes = Lanes::default();
        take(&mut lanes, 1, 1, 1);
        take(&mut lanes, 2, 2, 2);
        lanes.sent(told(1, stream(1), 1), false);
        assert_eq!((steps(&mut lanes).len(), lanes.whole().len(), lanes.len()), (0, 0, 0));
        assert!(lanes.failed() && !lanes.failed());
        assert_eq!(take(&mut lanes, 3, 3, 3), ["ask 3"]);
    }

    #[test]
    fn an_unknown_stream_s_elders_are_asked_for_and_go_first() {
        let mut lanes = Lanes::default();
        assert_eq!(take(&mut lanes, 6, 6, 6), ["ask 6"]);
        lanes.elders(stream(1), Elders::First(parcel(0, stream(1), 4, 5)));
        assert_eq!(steps(&mut lanes), ["send 4"]);
        lanes.sent(told(0, stream(1), 5), true);
        assert_eq!(steps(&mut lanes), ["send 6"]);
    }

    #[test]
    fn a_version_written_by_another_replica_in_between_is_asked_for() {
        let mut lanes = Lanes::default();
        take(&mut lanes, 1, 1, 1);
        take(&mut lanes, 3, 3, 3);
        lanes.sent(told(1, stream(1), 1), true);
        assert_eq!(steps(&mut lanes), ["ask 3"]);
        lanes.elders(stream(1), Elders::Told);
        assert_eq!(steps(&mut lanes), ["send 3"]);
    }

    #[test]
    fn what_is_told_already_is_not_told_again() {
        let mut lanes = Lanes::default();
        take(&mut lanes, 1, 1, 2);
        lanes.sent(told(1, stream(1), 2), true);
        lanes.whole();
        assert_eq!(take(&mut lanes, 1, 1, 2), [""; 0]);
        assert_eq!(lanes.whole(), [TxId(1)]);
    }

    #[test]
    fn a_transaction_is_whole_when_all_of_its_streams_are_told() {
        let mut lanes = Lanes::default();
        lanes.take(TxId(1), vec![parcel(1, stream(1), 1, 1), parcel(1, stream(2), 1, 1)], true);
        assert!(!lanes.take(TxId(1), vec![parcel(1, stream(1), 1, 1)], true), "it is in work");
        lanes.sent(told(1, stream(1), 1), true);
        assert_eq!(lanes.whole(), []);
        lanes.sent(told(1, stream(2), 1), true);
        assert_eq!(lanes.whole(), [TxId(1)]);
    }

    #[test]
    fn what_this_program_cannot_tell_keeps_its_transaction_in_the_outbox() {
        let mut lanes = Lanes::default();
        lanes.take(TxId(1), vec![parcel(1, stream(1), 1, 1)], false);
        lanes.sent(told(1, stream(1), 1), true);
        assert_eq!((lanes.whole(), lanes.len()), (vec![], 0));
    }

    #[test]
    fn a_broker_that_forgot_is_told_nothing_on_old_knowledge() {
        let mut lanes = Lanes::default();
        take(&mut lanes, 1, 1, 1);
        take(&mut lanes, 2, 2, 2);
        lanes.forget();
        lanes.sent(told(1, stream(1), 1), false);
        assert_eq!((lanes.whole(), lanes.len()), (vec![], 0));
        assert_eq!(take(&mut lanes, 3, 3, 3), ["ask 3"]);
    }
    #[test]
    fn what_was_about_to_go_to_a_broker_that_forgot_stays_in_the_outbox() {
        let mut lanes = Lanes::default();
        lanes.take(TxId(1), vec![parcel(1, stream(1), 1, 1), parcel(1, stream(2), 6, 6)], true);
        lanes.take(TxId(2), vec![parcel(2, stream(1), 2, 2), parcel(2, stream(2), 7, 7)], true);
        lanes.forget();
        assert_eq!((steps(&mut lanes).len(), lanes.whole().len(), lanes.len()), (0, 0, 0));
        assert!(lanes.failed());
        assert_eq!(take(&mut lanes, 3, 1, 1), ["send 1"], "the stream is free again");
    }
}
