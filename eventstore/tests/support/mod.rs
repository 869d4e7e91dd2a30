//! A small domain to try units and workers on: accounts that cannot be overdrawn.
#![allow(dead_code, clippy::allow_attributes, reason = "not every test file uses all of it")]

use std::sync::Arc;

use chrono::{DateTime, Utc};
use eventstore::memory::{CountingIds, MemoryStore};
use eventstore::{Actor, Aggregate, Category, Cause, Need, SnapshotShape, StreamId};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AccountEvent {
    #[serde(rename = "AccountOpened")]
    Opened { owner: String },
    #[serde(rename = "MoneyDeposited")]
    Deposited { amount: i64 },
    #[serde(rename = "MoneyWithdrawn")]
    Withdrawn { amount: i64 },
}

eventstore::event_types! {
    AccountEvent {
        Self::Opened { .. } => "AccountOpened";
        Self::Deposited { .. } => "MoneyDeposited";
        Self::Withdrawn { .. } => "MoneyWithdrawn";
    }
}

/// Open once `opened`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    pub opened: bool,
    pub balance: i64,
}

impl Aggregate for Account {
    const CATEGORY: Category = Category::new("account");
    type Event = AccountEvent;

    const SNAPSHOT: Option<SnapshotShape<Self>> = Some(SnapshotShape::json(2));

    fn evolve(mut self, event: &AccountEvent) -> Self {
        match event {
            AccountEvent::Opened { .. } => self.opened = true,
            AccountEvent::Deposited { amount } => self.balance += amount,
            AccountEvent::Withdrawn { amount } => self.balance -= amount,
        }
        self
    }
}

/// The same category by mistake.
#[derive(Clone, Debug, Default)]
pub struct Impostor;

impl Aggregate for Impostor {
    const CATEGORY: Category = Account::CATEGORY;
    type Event = AccountEvent;

    fn evolve(self, _event: &AccountEvent) -> Self {
        self
    }
}

#[derive(Debug, PartialEq, Eq)]
pub enum Refusal {
    Overdrawn { balance: i64 },
    AlreadyOpen,
    Need(Need),
}

impl From<Need> for Refusal {
    fn from(need: Need) -> Self {
        Self::Need(need)
    }
}

/// The `number`th account.
pub fn account(number: u64) -> Uuid {
    CountingIds::id(1, number)
}

pub fn stream(number: u64) -> StreamId {
    Account::stream(account(number))
}

pub fn message(number: u64) -> Uuid {
    CountingIds::id(2, number)
}

pub fn cause(number: u64) -> Cause {
    Cause { correlation: message(number), causation: message(number), trace: None, actor: Actor::new("customer:ana") }
}

pub fn noon() -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + chrono::Duration::hours(12)
}

pub fn memory() -> Arc<MemoryStore> {
    Arc::new(MemoryStore::new(noon()))
}
