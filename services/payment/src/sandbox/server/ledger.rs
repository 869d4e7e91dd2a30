//! The server's books: folded from the journal, and asked what comes next. Pure.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use money::Money;
use uuid::Uuid;

use super::entry::{Entry, Fact};
use crate::sandbox::{Standing, Token, Transition};

/// A request with effect.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    /// The idempotency key.
    pub(super) key: String,
    /// Stands for the whole request.
    pub(super) fingerprint: Uuid,
    pub(super) what: What,
}

#[derive(Clone, Debug)]
pub(super) enum What {
    Create {
        payment_id: Uuid,
        amount: Money,
        payment_method: String,
    },
    /// `payment_id`, when given, must be the charge's own.
    Change {
        charge: String,
        payment_id: Option<Uuid>,
        transition: Transition,
    },
}

/// Whether a key is made useless by this request, and what became of the effect.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Spend {
    No,
    WithoutEffect,
    WithEffect,
}

/// Why nothing was written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(super) enum Misasked {
    #[error("the idempotency key came before with other parameters")]
    KeyReused,
    #[error("there is no such payment intent")]
    Missing,
    #[error("the books are full")]
    Full,
}

/// A charge.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Intent {
    pub(super) id: String,
    pub(super) payment_id: Uuid,
    pub(super) amount: Money,
    /// The key it was made under.
    pub(super) key: String,
    pub(super) token: Token,
    pub(super) standing: Standing,
    /// Requests that named it, refused and repeated ones included.
    pub(super) requests: u32,
}

/// The recorded answer of a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Said {
    Stands(Standing),
    Refused(Transition, Standing),
    Failed,
}

#[derive(Debug)]
struct Recorded {
    charge: String,
    fingerprint: Uuid,
    /// None while nothing came of it.
    said: Option<Said>,
}

/// What a request is told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Answer {
    /// None when nothing came of it.
    pub(super) said: Option<Said>,
    /// None when the key failed before there was a charge.
    pub(super) intent: Option<Intent>,
    pub(super) is_replay: bool,
}

/// What is to be written about a request: facts about one charge.
#[derive(Debug)]
pub(super) struct Decision {
    pub(super) charge: String,
    pub(super) payment_id: Uuid,
    pub(super) amount: Money,
    pub(super) facts: Vec<Fact>,
}

/// Which charges of a list.
#[derive(Clone, Debug, Default)]
pub(super) struct Filter {
    pub(super) key: Option<String>,
    pub(super) payment_id: Option<Uuid>,
    pub(super) after: Option<String>,
}

#[derive(Debug, Default)]
pub(super) struct Ledger {
    intents: BTreeMap<String, Intent>,
    of_payment: BTreeSet<(Uuid, String)>,
    keys: HashMap<String, Recorded>,
}

/// The charge that is made under a key. It keeps the time in the payment's id, so charges list in the order of payments.
fn charge_of(payment_id: Uuid, key: &str) -> String {
    format!("pi_{}", eventstore::derived_id(payment_id, key).simple())
}

impl Ledger {
    /// What follows from a request; nothing is changed yet.
    pub(super) fn decide(&self, asked: &Asked, spend: Spend) -> Result<Decision, Misasked> {
        let recorded = self.keys.get(&asked.key);
        if recorded.is_some_and(|recorded| recorded.fingerprint != asked.fingerprint) {
            return Err(Misasked::KeyReused);
        }
        let is_answered = recorded.is_some_and(|recorded| recorded.said.is_some());
        let mut decision = match &asked.what {
            What::Create { payment_id, amount, payment_method } => {
                let charge = charge_of(*payment_id, &asked.key);
                let fact = self.created(&charge, payment_method.clone());
                Decision { charge, payment_id: *payment_id, amount: *amount, facts: vec![fact] }
            }
            What::Change { charge, payment_id, transition } => {
                let intent = self.find(charge).ok_or(Misasked::Missing)?;
                if payment_id.is_some_and(|payment_id| payment_id != intent.payment_id) {
                    return Err(Misasked::Missing);
                }
                let facts = vec![changed(intent, *transition)];
                Decision { charge: charge.clone(), payment_id: intent.payment_id, amount: intent.amount, facts }
            }
        };
        match (is_answered, spend) {
            (true, _) => decision.facts = vec![Fact::Repeated {}],
            (false, Spend::No) => {}
            (false, Spend::WithoutEffect) => decision.facts = vec![Fact::Failed {}],
            (false, Spend::WithEffect) => decision.facts.push(Fact::Failed {}),
        }
        Ok(decision)
    }

    fn created(&self, charge: &str, payment_method: String) -> Fact {
        let token = Token::of(&payment_method);
        let request = self.intents.get(charge).map_or(1, |intent| intent.requests.saturating_add(1));
        match token.first_standing() {
            Standing::Declined => Fact::Declined { payment_method },
            Standing::Failing if request < token.answers_from().unsigned_abs().into() => {
                Fact::Failing { payment_method }
            }
            Standing::Failing | Standing::Authorized | Standing::Captured | Standing::Voided | Standing::Refunded => {
                Fact::Authorized { payment_method }
            }
        }
    }

    /// Takes a line of the journal in.
    pub(super) fn apply(&mut self, entry: &Entry) {
        match &entry.fact {
            Fact::Failing { payment_method } => self.create(entry, payment_method, Standing::Failing),
            Fact::Authorized { payment_method } => self.create(entry, payment_method, Standing::Authorized),
            Fact::Declined { payment_method } => self.create(entry, payment_method, Standing::Declined),
            Fact::Captured {} => self.stands(entry, Standing::Captured),
            Fact::Voided {} => self.stands(entry, Standing::Voided),
            Fact::Refunded {} => self.stands(entry, Standing::Refunded),
            Fact::Refused { asked, stood } => {
                self.count(entry);
                self.record(entry, Some(Said::Refused(*asked, *stood)));
            }
            // Comes with the effect of the same request, or alone.
            Fact::Failed {} => self.record(entry, Some(Said::Failed)),
            Fact::Repeated {} => {
                self.count(entry);
            }
        }
    }

    fn create(&mut self, entry: &Entry, payment_method: &str, standing: Standing) {
        let intent = self.intents.entry(entry.charge.clone()).or_insert_with(|| Intent {
            id: entry.charge.clone(),
            payment_id: entry.payment_id,
            amount: entry.amount,
            key: entry.key.clone(),
            token: Token::of(payment_method),
            standing,
            requests: 0,
        });
        intent.standing = standing;
        intent.requests = intent.requests.saturating_add(1);
        self.of_payment.insert((entry.payment_id, entry.charge.clone()));
        self.record(entry, (standing != Standing::Failing).then_some(Said::Stands(standing)));
    }

    fn stands(&mut self, entry: &Entry, standing: Standing) {
        if let Some(intent) = self.count(entry) {
            intent.standing = standing;
        }
        self.record(entry, Some(Said::Stands(standing)));
    }

    fn count(&mut self, entry: &Entry) -> Option<&mut Intent> {
        let intent = self.intents.get_mut(&entry.charge)?;
        intent.requests = intent.requests.saturating_add(1);
        Some(intent)
    }

    fn record(&mut self, entry: &Entry, said: Option<Said>) {
        let recorded = Recorded { charge: entry.charge.clone(), fingerprint: entry.fingerprint, said };
        self.keys.insert(entry.key.clone(), recorded);
    }

    /// What the request of a key is told, once its facts are applied.
    pub(super) fn answer(&self, key: &str, is_replay: bool) -> Answer {
        let recorded = self.keys.get(key);
        let intent = recorded.and_then(|recorded| self.intents.get(&recorded.charge)).cloned();
        Answer { said: recorded.and_then(|recorded| recorded.said), intent, is_replay }
    }

    /// A charge by its name.
    pub(super) fn find(&self, charge: &str) -> Option<&Intent> {
        self.intents.get(charge).filter(|intent| is_visible(intent))
    }

    /// Charges by name, at most `limit`.
    pub(super) fn list(&self, filter: &Filter, limit: usize) -> Vec<Intent> {
        let after = |charge: &str| filter.after.as_deref().is_none_or(|after| charge > after);
        let of_payment = |intent: &Intent| filter.payment_id.is_none_or(|id| id == intent.payment_id);
        let wanted = |intent: &&Intent| is_visible(intent) && after(&intent.id) && of_payment(intent);
        if let Some(key) = &filter.key {
            // The charge that was made under the key, not one that the key changed.
            let intent = self.keys.get(key).and_then(|recorded| self.intents.get(&recorded.charge));
            return intent
                .into_iter()
                .filter(|intent| intent.key == *key)
                .filter(wanted)
                .take(limit)
                .cloned()
                .collect();
        }
        if let Some(payment_id) = filter.payment_id {
            let own = self.of_payment.range((payment_id, String::new())..).take_while(|(id, _)| *id == payment_id);
            return own.filter_map(|(_, id)| self.intents.get(id)).filter(wanted).take(limit).cloned().collect();
        }
        let from = match &filter.after {
            Some(after) => std::ops::Bound::Excluded(after.as_str()),
            None => std::ops::Bound::Unbounded,
        };
        let range = self.intents.range::<str, _>((from, std::ops::Bound::Unbounded));
        range.map(|(_, intent)| intent).filter(wanted).take(limit).cloned().collect()
    }
}

fn is_visible(intent: &Intent) -> bool {
    intent.standing != Standing::Failing
}

fn changed(intent: &Intent, transition: Transition) -> Fact {
    if intent.standing != transition.from() {
        return Fact::Refused { asked: transition, stood: intent.standing };
    }
    match transition {
        Transition::Capture => Fact::Captured {},
        Transition::Void => Fact::Voided {},
        Transition::Refund => Fact::Refunded {},
    }
}
