//! The catalogue's read models: `farm_view` and `product_view`, kept in step with the log by one projection.

mod changes;
mod lookup;
mod rows;

use std::time::Duration;

use chassis::projection::{Projection, ProjectionError};
use eventstore::{Aggregate, Category, Recorded};
use sqlx::postgres::PgConnection;

use crate::domain::{Farm, Product};
use changes::Changes;
pub use lookup::{Catalogue, CatalogueError};

/// Follows farms and products.
#[derive(Clone, Copy, Debug)]
pub struct CatalogueProjection;

#[async_trait::async_trait]
impl Projection for CatalogueProjection {
    fn name(&self) -> &'static str {
        "catalogue"
    }

    fn categories(&self) -> &'static [Category] {
        &[Farm::CATEGORY, Product::CATEGORY]
    }

    fn tables(&self) -> &'static [&'static str] {
        &["farm_view", "product_view"]
    }

    /// Whoever adds a product waits until it can be ordered.
    fn pause(&self) -> Duration {
        Duration::from_millis(50)
    }

    async fn apply(&self, connection: &mut PgConnection, events: &[Recorded]) -> Result<(), ProjectionError> {
        let changes = Changes::of(events)?;
        rows::insert_farms(connection, &changes).await?;
        rows::insert_products(connection, &changes).await?;
        rows::update_products(connection, &changes).await?;
        Ok(())
    }
}

#[cfg(test)]
pub(crate) fn changes_of(events: &[Recorded]) -> Result<Changes, eventstore::DecodeError> {
    Changes::of(events)
}
