//! The sandbox's books: one row per charge, one statement for all that is asked at a time.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use money::{Currency, Money};
use sqlx::{FromRow, PgPool};
use tokio::time::timeout;
use uuid::Uuid;

use super::{Standing, Token, Transition, reference};
use crate::domain::Refusal;
use crate::provider::{Charge, ProviderError};

const DEADLINE: Duration = Duration::from_secs(5);

/// A charge, and the number of the request that it answers.
pub(super) type Answered = Result<(Charge, u32), ProviderError>;

pub(super) struct Authorization {
    pub(super) charge_id: Uuid,
    pub(super) payment_id: Uuid,
    pub(super) amount: Money,
    pub(super) token: String,
    pub(super) kind: Token,
}

pub(super) struct Move {
    pub(super) charge_id: Uuid,
    pub(super) payment_id: Uuid,
    pub(super) transition: Transition,
    pub(super) epoch: i32,
}

#[derive(FromRow)]
struct Row {
    charge_id: Uuid,
    payment_id: Uuid,
    minor_units: i64,
    currency: String,
    status: String,
    refusal: Option<String>,
    requests: i32,
    capture_epoch: Option<i32>,
    void_epoch: Option<i32>,
    refund_epoch: Option<i32>,
}

impl Row {
    fn charge(self) -> Result<Charge, ProviderError> {
        let Some(standing) = Standing::of(&self.status) else { return Err(corrupt(self.charge_id, &self.status)) };
        let Some(currency) = Currency::from_code(&self.currency) else {
            return Err(corrupt(self.charge_id, &self.currency));
        };
        Ok(Charge {
            reference: reference(self.charge_id),
            payment_id: self.payment_id,
            amount: Money::new(self.minor_units, currency),
            status: standing.status(self.refusal),
            requests: u32::try_from(self.requests).unwrap_or(0),
        })
    }

    const fn epoch_of(&self, transition: Transition) -> Option<i32> {
        match transition {
            Transition::Capture => self.capture_epoch,
            Transition::Void => self.void_epoch,
            Transition::Refund => self.refund_epoch,
        }
    }
}

#[derive(Clone)]
pub(super) struct Books(PgPool);

impl Books {
    pub(super) const fn new(pool: PgPool) -> Self {
        Self(pool)
    }

    /// Holds money for each, or repeats what was answered before.
    pub(super) async fn authorize(&self, asked: Vec<Authorization>) -> Vec<Answered> {
        let mut answers: Vec<Answered> = asked.iter().map(|_| Err(unanswered("not asked"))).collect();
        for round in rounds(asked.iter().map(|one| one.charge_id)) {
            let ones: Vec<&Authorization> = round.iter().filter_map(|index| asked.get(*index)).collect();
            let rows = within(self.insert(&ones)).await;
            let mut by_id = rows.map(by_id);
            for (index, one) in round.iter().zip(ones) {
                let answer = match &mut by_id {
                    Ok(rows) => rows
                        .remove(&one.charge_id)
                        .ok_or_else(|| ProviderError::Malformed("the key came before with other parameters".to_owned()))
                        .and_then(Row::charge)
                        .map(|charge| {
                            let requests = charge.requests;
                            (charge, requests)
                        }),
                    Err(failed) => Err(failed.clone()),
                };
                put(&mut answers, *index, answer);
            }
        }
        answers
    }

    async fn insert(&self, asked: &[&Authorization]) -> Result<Vec<Row>, sqlx::Error> {
        sqlx::query_as(
            "insert into sandbox_charge as charge
                 (charge_id, payment_id, minor_units, currency, token, answers_from, requests, status, refusal)
             select charge_id, payment_id, minor_units, currency, token, answers_from, 1, status, refusal
             from unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::text[], $5::text[], $6::smallint[], $7::text[],
                         $8::text[])
                 as asked (charge_id, payment_id, minor_units, currency, token, answers_from, status, refusal)
             order by charge_id
             on conflict (charge_id) do update
             set requests = charge.requests + 1,
                 status = case
                     when charge.status = 'failing' and charge.requests + 1 >= charge.answers_from then 'authorized'
                     else charge.status
                 end
             where charge.payment_id = excluded.payment_id
                 and charge.minor_units = excluded.minor_units
                 and charge.currency = excluded.currency
                 and charge.token = excluded.token
             returning charge_id, payment_id, minor_units, currency, status, refusal, requests,
                 capture_epoch, void_epoch, refund_epoch",
        )
        .bind(asked.iter().map(|one| one.charge_id).collect::<Vec<_>>())
        .bind(asked.iter().map(|one| one.payment_id).collect::<Vec<_>>())
        .bind(asked.iter().map(|one| one.amount.minor_units).collect::<Vec<_>>())
        .bind(asked.iter().map(|one| one.amount.currency.code()).collect::<Vec<_>>())
        .bind(asked.iter().map(|one| one.token.as_str()).collect::<Vec<_>>())
        .bind(asked.iter().map(|one| one.kind.answers_from()).collect::<Vec<_>>())
        .bind(asked.iter().map(|one| one.kind.first_standing().as_str()).collect::<Vec<_>>())
        .bind(asked.iter().map(|one| one.kind.refusal()).collect::<Vec<_>>())
        .fetch_all(&self.0)
        .await
    }

    /// Captures, voids and refunds.
    pub(super) async fn apply(&self, asked: Vec<Move>) -> Vec<Answered> {
        let mut answers: Vec<Answered> = asked.iter().map(|_| Err(unanswered("not asked"))).collect();
        for round in rounds(asked.iter().map(|one| one.charge_id)) {
            let ones: Vec<&Move> = round.iter().filter_map(|index| asked.get(*index)).collect();
            let mut by_id = within(self.update(&ones)).await.map(by_id);
            for (index, one) in round.iter().zip(ones) {
                let answer = match &mut by_id {
                    Ok(rows) => moved(one, rows.remove(&one.charge_id)),
                    Err(failed) => Err(failed.clone()),
                };
                put(&mut answers, *index, answer);
            }
        }
        answers
    }

    async fn update(&self, asked: &[&Move]) -> Result<Vec<Row>, sqlx::Error> {
        // Locked in one order first: two replicas that were asked the same must not wait for each other.
        sqlx::query_as(
            "with locked as (
                 select charge.charge_id, asked.from_status, asked.to_status, asked.epoch
                 from unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::integer[])
                     as asked (charge_id, payment_id, from_status, to_status, epoch)
                 join sandbox_charge as charge using (charge_id, payment_id)
                 where charge.status <> 'failing'
                 order by charge.charge_id
                 for update of charge
             )
             update sandbox_charge as charge
             set requests = charge.requests + 1,
                 status = case when charge.status = from_status then to_status else charge.status end,
                 capture_epoch = case
                     when charge.status = from_status and to_status = 'captured' then epoch
                     else charge.capture_epoch
                 end,
                 void_epoch = case
                     when charge.status = from_status and to_status = 'voided' then epoch
                     else charge.void_epoch
                 end,
                 refund_epoch = case
                     when charge.status = from_status and to_status = 'refunded' then epoch
                     else charge.refund_epoch
                 end
             from locked
             where charge.charge_id = locked.charge_id
             returning charge.charge_id, payment_id, minor_units, currency, status, refusal, requests,
                 capture_epoch, void_epoch, refund_epoch",
        )
        .bind(asked.iter().map(|one| one.charge_id).collect::<Vec<_>>())
        .bind(asked.iter().map(|one| one.payment_id).collect::<Vec<_>>())
        .bind(asked.iter().map(|one| one.transition.from().as_str()).collect::<Vec<_>>())
        .bind(asked.iter().map(|one| one.transition.to().as_str()).collect::<Vec<_>>())
        .bind(asked.iter().map(|one| one.epoch).collect::<Vec<_>>())
        .fetch_all(&self.0)
        .await
    }

    /// The charges that exist, in the order of the questions.
    pub(super) async fn find(&self, asked: Vec<Uuid>) -> Vec<Result<Option<Charge>, ProviderError>> {
        let query = sqlx::query_as::<_, Row>(
            "select charge_id, payment_id, minor_units, currency, status, refusal, requests,
                 capture_epoch, void_epoch, refund_epoch
             from sandbox_charge
             where charge_id = any($1) and status <> 'failing'",
        )
        .bind(&asked)
        .fetch_all(&self.0);
        match within(query).await {
            Ok(rows) => {
                let found: HashMap<Uuid, _> = rows.into_iter().map(|row| (row.charge_id, row.charge())).collect();
                asked.iter().map(|id| found.get(id).cloned().transpose()).collect()
            }
            Err(failed) => asked.iter().map(|_| Err(failed.clone())).collect(),
        }
    }

    /// A page of charges.
    pub(super) async fn list(&self, after: Uuid, limit: usize) -> Result<Vec<Charge>, ProviderError> {
        let query = sqlx::query_as::<_, Row>(
            "select charge_id, payment_id, minor_units, currency, status, refusal, requests,
                 capture_epoch, void_epoch, refund_epoch
             from sandbox_charge
             where charge_id > $1 and status <> 'failing'
             order by charge_id
             limit $2",
        )
        .bind(after)
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .fetch_all(&self.0);
        within(query).await?.into_iter().map(Row::charge).collect()
    }
}

fn moved(asked: &Move, row: Option<Row>) -> Answered {
    let row = row.ok_or_else(|| ProviderError::Malformed("the payment has no such charge".to_owned()))?;
    if row.epoch_of(asked.transition) != Some(asked.epoch) {
        let message = format!("the charge is {}", row.status);
        return Err(ProviderError::Refused(Refusal::new(asked.transition.refusal(), message)));
    }
    let charge = row.charge()?;
    let requests = charge.requests;
    Ok((charge, requests))
}

/// The questions in rounds, each with no charge twice: a statement changes a row once only.
fn rounds(ids: impl Iterator<Item = Uuid>) -> Vec<Vec<usize>> {
    let mut of_charge: BTreeMap<Uuid, usize> = BTreeMap::new();
    let mut rounds: Vec<Vec<usize>> = Vec::new();
    for (index, id) in ids.enumerate() {
        let seen = of_charge.entry(id).or_insert(0);
        if let Some(round) = rounds.get_mut(*seen) {
            round.push(index);
        } else {
            rounds.push(vec![index]);
        }
        *seen += 1;
    }
    rounds
}

fn put(answers: &mut [Answered], index: usize, answer: Answered) {
    if let Some(place) = answers.get_mut(index) {
        *place = answer;
    }
}

fn by_id(rows: Vec<Row>) -> HashMap<Uuid, Row> {
    rows.into_iter().map(|row| (row.charge_id, row)).collect()
}

async fn within<T>(query: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, ProviderError> {
    match timeout(DEADLINE, query).await {
        Ok(Ok(rows)) => Ok(rows),
        Ok(Err(error)) => Err(unanswered(&format!("the sandbox's books cannot be used: {error}"))),
        Err(_) => Err(unanswered("the sandbox's books do not answer")),
    }
}

fn unanswered(reason: &str) -> ProviderError {
    ProviderError::Unanswered(reason.to_owned())
}

fn corrupt(charge_id: Uuid, found: &str) -> ProviderError {
    ProviderError::Malformed(format!("charge {charge_id} holds {found:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_charge_that_is_asked_for_twice_at_a_time_is_served_in_two_rounds() {
        let ids = [1, 2, 1, 3, 1].map(Uuid::from_u128);
        assert_eq!(rounds(ids.into_iter()), [vec![0, 1, 3], vec![2], vec![4]]);
    }
}
