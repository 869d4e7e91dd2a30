//! A card provider with books of its own, which no service can write. It keeps its one promise (the same key has one
//! effect and one answer), and is as bad as that allows.

use std::collections::BTreeMap;

use money::Money;
use payment::domain::{Effect, Operation, Reference, Refusal};
use payment::provider::{Charge, ChargeStatus, Key, ProviderError};
use saga_simulator::Chance;
use uuid::Uuid;

use super::plan::DECLINED_CARD;

/// What was done to money, in the order it was done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// The payment it was done for.
    pub payment_id: Uuid,
    /// The charge.
    pub reference: String,
    /// What was done.
    pub operation: Operation,
    /// With how much.
    pub amount: Money,
}

/// What a payment asks of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Call {
    /// Which payment.
    pub payment_id: Uuid,
    /// What is to be done.
    pub effect: Effect,
}

/// What it answers.
pub type Answer = Result<Option<Charge>, ProviderError>;

/// The provider.
pub struct Provider {
    charges: BTreeMap<String, Charge>,
    /// Which charge was made under an authorization's key.
    authorized: BTreeMap<String, String>,
    /// Keys that are of no more use.
    spent: BTreeMap<String, String>,
    /// The books.
    pub entries: Vec<Entry>,
    chance: Chance,
    /// How often a key is spent, in 10,000.
    spends: u32,
    made: u64,
}

impl Provider {
    /// The provider of a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let mut chance = Chance::new(seed ^ 0x5072_6f76);
        let spends = chance.pick(&[0, 0, 300, 1_500]).copied().unwrap_or(0);
        let (charges, authorized, spent) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Self { charges, authorized, spent, entries: Vec::new(), chance, spends, made: 0 }
    }

    /// The charges as they stand.
    pub fn charges(&self) -> impl Iterator<Item = &Charge> {
        self.charges.values()
    }

    /// Does what is asked, if it can be done.
    pub fn call(&mut self, call: &Call) -> Answer {
        let key = |operation, epoch| Key { payment_id: call.payment_id, operation, epoch }.to_string();
        match &call.effect {
            Effect::Authorize { epoch, amount, token } => {
                self.authorize(call.payment_id, key(Operation::Authorize, *epoch), *amount, token)
            }
            Effect::Capture { epoch, charge } => {
                let key = key(Operation::Capture, *epoch);
                self.change(key, charge, Operation::Capture, &ChargeStatus::Authorized, ChargeStatus::Captured)
            }
            Effect::Void { epoch, charge } => {
                let key = key(Operation::Void, *epoch);
                self.change(key, charge, Operation::Void, &ChargeStatus::Authorized, ChargeStatus::Voided)
            }
            Effect::Refund { epoch, charge } => {
                let key = key(Operation::Refund, *epoch);
                self.change(key, charge, Operation::Refund, &ChargeStatus::Captured, ChargeStatus::Refunded)
            }
            Effect::Lookup { authorization, .. } => {
                let made = self.authorized.get(&key(Operation::Authorize, *authorization));
                Ok(made.and_then(|reference| self.charges.get(reference)).cloned())
            }
        }
    }

    /// Fails, for good as far as this key is concerned; the third key always works.
    fn spend(&mut self, key: &str) -> Result<(), ProviderError> {
        if self.spent.contains_key(key) {
            return Err(ProviderError::KeySpent(key.to_owned()));
        }
        let patient = key.ends_with(":1") || key.ends_with(":2");
        if patient && self.chance.strikes(self.spends) {
            self.spent.insert(key.to_owned(), String::new());
            return Err(ProviderError::KeySpent(key.to_owned()));
        }
        Ok(())
    }

    fn authorize(&mut self, payment_id: Uuid, key: String, amount: Money, token: &str) -> Answer {
        if let Some(known) = self.authorized.get(&key).and_then(|reference| self.charges.get(reference)) {
            let spent = self.spent.contains_key(&key);
            return if spent { Err(ProviderError::KeySpent(key)) } else { Ok(Some(known.clone())) };
        }
        // Half of the keys that are spent are spent with effect.
        let spent = self.spend(&key);
        if spent.is_err() && (self.chance.strikes(5_000) || self.spent.get(&key).is_some_and(|once| !once.is_empty())) {
            self.spent.insert(key.clone(), "in vain".to_owned());
            return spent.map(|()| None);
        }
        self.made += 1;
        let reference = format!("ch_{}", self.made);
        let declined = token == DECLINED_CARD;
        let status = if declined {
            ChargeStatus::Declined(Refusal::new("CARD_DECLINED", "the bank says no"))
        } else {
            self.enter(payment_id, &reference, Operation::Authorize, amount);
            ChargeStatus::Authorized
        };
        let charge = Charge { reference: Reference(reference.clone()), payment_id, amount, status, requests: 0 };
        self.authorized.insert(key, reference.clone());
        self.charges.insert(reference, charge.clone());
        spent.map(|()| Some(charge))
    }

    fn change(
        &mut self,
        key: String,
        charge: &Reference,
        operation: Operation,
        from: &ChargeStatus,
        to: ChargeStatus,
    ) -> Answer {
        self.spend(&key)?;
        let Some(known) = self.charges.get_mut(&charge.0) else { return Err(ProviderError::Malformed(key)) };
        if known.status == to {
            return Ok(Some(known.clone()));
        }
        if known.status != *from {
            return Err(ProviderError::Refused(Refusal::new("WRONG_STATUS", known.status.as_str())));
        }
        known.status = to;
        let known = known.clone();
        self.enter(known.payment_id, &charge.0, operation, known.amount);
        Ok(Some(known))
    }

    fn enter(&mut self, payment_id: Uuid, reference: &str, operation: Operation, amount: Money) {
        self.entries.push(Entry { payment_id, reference: reference.to_owned(), operation, amount });
    }
}
