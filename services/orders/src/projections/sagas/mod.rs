//! The list of sagas: where each stands, what it holds, how long its steps take. Operators ask it, and the open ones are
//! what the reconciler walks over.

mod change;
mod count;
mod list;
mod statement;
mod usual;
mod write;

use std::collections::HashMap;

use chassis::projection::{Projection, ProjectionError};
use eventstore::{Aggregate as _, Category, DomainEvent as _, Recorded};
use saga::{Saga, SagaEvent};
use sqlx::postgres::PgConnection;
use uuid::Uuid;

use self::change::Change;
use self::usual::Marks;
use super::held;
use crate::sagas::OrderProcess;

pub use count::{Counted, Group};
pub use list::{Order, Page, Row, SagaList};
pub use usual::Usual;

/// Writes `saga_view`, `saga_ended`, `step_begun` and `step_usual`.
pub struct SagaProjection;

#[async_trait::async_trait]
impl Projection for SagaProjection {
    fn name(&self) -> &'static str {
        "saga_view"
    }

    fn categories(&self) -> &'static [Category] {
        &[Saga::<OrderProcess>::CATEGORY]
    }

    fn tables(&self) -> &'static [&'static str] {
        &["saga_view", "saga_ended", "saga_held", "step_begun", "step_usual"]
    }

    async fn apply(&self, connection: &mut PgConnection, events: &[Recorded]) -> Result<(), ProjectionError> {
        let mut changes: HashMap<Uuid, Change> = HashMap::new();
        let mut marks = Marks::default();
        for event in events {
            SagaEvent::<OrderProcess>::check(event)?;
            let change = changes.entry(event.stream.id).or_default();
            if let Some(mark) = change.take(event)? {
                marks.take(mark);
            }
        }
        let (mut new, mut old, mut ended) = (Vec::new(), Vec::new(), Vec::new());
        for (saga_id, mut change) in changes {
            if let Some(at) = change.ended {
                marks.over(saga_id);
                ended.push((saga_id, at));
            }
            match change.started.take() {
                Some(start) => new.push((saga_id, change, start)),
                None => old.push((saga_id, change)),
            }
        }
        write::insert(connection, &new).await?;
        write::update(connection, &old).await?;
        write::count_ended(connection, &ended).await?;
        marks.write(connection).await?;
        held::apply(connection, events).await
    }
}
