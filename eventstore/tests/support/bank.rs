//! A bank for tests of the batch loop: accounts, and a worker with its clients.

use std::sync::Arc;

use eventstore::memory::{CountingIds, MemoryClock};
use eventstore::worker::{CommitListener, Done, Handler, Limits, Shell, SubmitError, Worker, WorkerHandle};
use eventstore::{EventStore, Unit};
use futures::future::join_all;

use crate::support::{Account, AccountEvent, Refusal, account, cause};
use crate::watched::Watched;

#[derive(Clone, Debug)]
pub enum Input {
    /// Opens an account that most likely is new.
    Open(u64, String),
    Deposit(u64, i64),
    Withdraw(u64, i64),
    /// Between two accounts.
    Transfer(u64, u64, i64),
    /// A deposit that came as a message.
    Told(u64, i64),
    Balance(u64),
    /// What two accounts hold together.
    Sum(u64, u64),
}

pub struct Bank;

impl Handler for Bank {
    type Input = Input;
    type Output = i64;
    type Error = Refusal;

    fn handle(&self, unit: &mut Unit<'_>, input: &Input) -> Result<i64, Refusal> {
        match input {
            Input::Open(number, owner) => {
                if unit.get_or_new::<Account>(account(*number))?.opened {
                    return Err(Refusal::AlreadyOpen);
                }
                let event = AccountEvent::Opened { owner: owner.clone() };
                unit.record::<Account>(account(*number), &[event])?;
            }
            Input::Deposit(number, amount) => deposit(unit, *number, *amount)?,
            Input::Withdraw(number, amount) => withdraw(unit, *number, *amount)?,
            Input::Transfer(from, to, amount) => {
                deposit(unit, *to, *amount)?;
                withdraw(unit, *from, *amount)?;
            }
            Input::Told(number, amount) => {
                unit.done_with("bank", unit.cause().causation);
                deposit(unit, *number, *amount)?;
            }
            Input::Balance(_) => {}
            Input::Sum(one, other) => {
                let one = unit.get::<Account>(account(*one))?.balance;
                return Ok(one + unit.get::<Account>(account(*other))?.balance);
            }
        }
        let (Input::Open(number, _)
        | Input::Deposit(number, _)
        | Input::Withdraw(number, _)
        | Input::Transfer(number, ..)
        | Input::Told(number, _)
        | Input::Balance(number)
        | Input::Sum(number, _)) = input;
        Ok(unit.get::<Account>(account(*number))?.balance)
    }
}

fn deposit(unit: &mut Unit<'_>, number: u64, amount: i64) -> Result<(), Refusal> {
    unit.get::<Account>(account(number))?;
    Ok(unit.record::<Account>(account(number), &[AccountEvent::Deposited { amount }])?)
}

fn withdraw(unit: &mut Unit<'_>, number: u64, amount: i64) -> Result<(), Refusal> {
    let balance = unit.get::<Account>(account(number))?.balance;
    if balance < amount {
        return Err(Refusal::Overdrawn { balance });
    }
    Ok(unit.record::<Account>(account(number), &[AccountEvent::Withdrawn { amount }])?)
}

pub type Outcome = Result<Done<i64>, SubmitError<Refusal>>;

/// A bank on one store; several banks may share it.
pub struct Branch {
    pub worker: Worker<Bank>,
    pub handle: WorkerHandle<Bank>,
}

impl Branch {
    pub fn on(store: &Arc<Watched>, series: u16) -> Self {
        Self::with(store, series, Limits::default(), vec![])
    }

    pub fn with(store: &Arc<Watched>, series: u16, limits: Limits, listeners: Vec<Arc<dyn CommitListener>>) -> Self {
        let shell = Shell {
            store: Arc::clone(store) as Arc<dyn EventStore>,
            clock: Arc::new(MemoryClock::of(&store.memory)),
            ids: Arc::new(CountingIds::new(series)),
            listeners,
        };
        let (worker, handle) = Worker::new(Bank, shell, limits);
        Self { worker, handle }
    }

    /// Hands in the batches one after the other, each at once, and ends.
    pub async fn run(self, batches: impl IntoIterator<Item = Vec<Input>>) -> Vec<Outcome> {
        let Self { worker, handle } = self;
        let clients = async move {
            let mut outcomes = Vec::new();
            for (inputs, batch) in batches.into_iter().zip(0_u64..) {
                let submit = |(input, number)| handle.submit(input, cause(batch * 1_000 + number));
                outcomes.extend(join_all(inputs.into_iter().zip(1_u64..).map(submit)).await);
            }
            outcomes
        };
        tokio::join!(worker.run(), clients).1
    }
}
