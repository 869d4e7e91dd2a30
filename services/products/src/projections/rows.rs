//! The only SQL over `farm_view` and `product_view`.

use sqlx::postgres::{PgConnection, PgPool};
use uuid::Uuid;

use super::changes::Changes;
use farmera_proto::common::v1::Money;
use farmera_proto::products::v1 as pb;

/// Adds the farms that are new.
pub async fn insert_farms(connection: &mut PgConnection, changes: &Changes) -> Result<(), sqlx::Error> {
    if changes.farms.is_empty() {
        return Ok(());
    }
    let ids: Vec<Uuid> = changes.farms.keys().copied().collect();
    let (names, emails): (Vec<&str>, Vec<&str>) =
        changes.farms.values().map(|farm| (farm.name.as_str(), farm.email.as_str())).unzip();
    sqlx::query(
        "insert into farm_view (id, name, email)
         select id, name, email
         from unnest($1::uuid[], $2::text[], $3::text[]) as farm (id, name, email)",
    )
    .bind(ids)
    .bind(names)
    .bind(emails)
    .execute(connection)
    .await
    .map(|_| ())
}

/// Adds the products that are new, as they were listed: open, without stock.
pub async fn insert_products(connection: &mut PgConnection, changes: &Changes) -> Result<(), sqlx::Error> {
    if changes.listed.is_empty() {
        return Ok(());
    }
    let listed = || changes.listed.values();
    sqlx::query(
        "insert into product_view (
             id, farm_id, price_minor_units, available, reserved, shipped, version,
             active, currency, name, farm_name, farm_email
         )
         select id, farm_id, price, 0, 0, 0, 1, true, currency, name, farm_name, farm_email
         from unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::text[], $5::text[], $6::text[], $7::text[])
             as product (id, farm_id, price, currency, name, farm_name, farm_email)",
    )
    .bind(changes.listed.keys().copied().collect::<Vec<Uuid>>())
    .bind(listed().map(|listing| listing.farm_id).collect::<Vec<_>>())
    .bind(listed().map(|listing| listing.price_first.minor_units).collect::<Vec<_>>())
    .bind(listed().map(|listing| listing.price_first.currency.code()).collect::<Vec<_>>())
    .bind(listed().map(|listing| listing.name.as_str()).collect::<Vec<_>>())
    .bind(listed().map(|listing| listing.farm_name.as_str()).collect::<Vec<_>>())
    .bind(listed().map(|listing| listing.farm_email.as_str()).collect::<Vec<_>>())
    .execute(connection)
    .await
    .map(|_| ())
}

/// Moves the products that changed. Rows are locked in the order of their ids: another replica that applies the same
/// batch waits instead of dead-locking.
pub async fn update_products(connection: &mut PgConnection, changes: &Changes) -> Result<(), sqlx::Error> {
    if changes.changed.is_empty() {
        return Ok(());
    }
    let changed = || changes.changed.values();
    sqlx::query(
        "with locked as materialized (
             select id
             from product_view
             where id = any($1::uuid[])
             order by id
             for update
         )
         update product_view as product
         set available = product.available + change.available,
             reserved = product.reserved + change.reserved,
             shipped = product.shipped + change.shipped,
             price_minor_units = coalesce(change.price, product.price_minor_units),
             currency = coalesce(change.currency, product.currency),
             active = coalesce(change.active, product.active),
             version = change.version
         from unnest(
             $1::uuid[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::text[], $7::bool[], $8::bigint[]
         ) as change (id, available, reserved, shipped, price, currency, active, version)
         join locked on locked.id = change.id
         where product.id = locked.id",
    )
    .bind(changes.changed.keys().copied().collect::<Vec<Uuid>>())
    .bind(changed().map(|change| change.available).collect::<Vec<_>>())
    .bind(changed().map(|change| change.reserved).collect::<Vec<_>>())
    .bind(changed().map(|change| change.shipped).collect::<Vec<_>>())
    .bind(changed().map(|change| change.price.map(|price| price.minor_units)).collect::<Vec<_>>())
    .bind(changed().map(|change| change.price.map(|price| price.currency.code())).collect::<Vec<_>>())
    .bind(changed().map(|change| change.active).collect::<Vec<_>>())
    .bind(changed().map(|change| i64::try_from(change.version).unwrap_or(i64::MAX)).collect::<Vec<_>>())
    .execute(connection)
    .await
    .map(|_| ())
}

/// A row of `product_view`.
#[derive(sqlx::FromRow)]
struct ProductRow {
    id: Uuid,
    farm_id: Uuid,
    price_minor_units: i64,
    available: i64,
    reserved: i64,
    shipped: i64,
    version: i64,
    active: bool,
    currency: String,
    name: String,
    farm_name: String,
    farm_email: String,
}

impl ProductRow {
    fn into_proto(self) -> (Uuid, pb::Product) {
        let units = |column: i64| u64::try_from(column).unwrap_or(0);
        let (available, reserved, shipped) = (units(self.available), units(self.reserved), units(self.shipped));
        let product = pb::Product {
            id: self.id.to_string(),
            farm_id: self.farm_id.to_string(),
            name: self.name,
            price: Some(Money { currency_code: self.currency, minor_units: self.price_minor_units }),
            active: self.active,
            available,
            reserved,
            shipped,
            stocked: available.saturating_add(reserved).saturating_add(shipped),
            version: units(self.version),
            farm_name: self.farm_name,
            farm_email: self.farm_email,
        };
        (self.id, product)
    }
}

/// Products by id; those that are unknown are left out.
pub async fn select(pool: &PgPool, ids: &[Uuid]) -> Result<Vec<(Uuid, pb::Product)>, sqlx::Error> {
    let rows: Vec<ProductRow> = sqlx::query_as(
        "select id, farm_id, price_minor_units, available, reserved, shipped, version,
             active, currency, name, farm_name, farm_email
         from product_view
         where id = any($1::uuid[])",
    )
    .bind(ids)
    .fetch_all(pool)
    .await?;
    Ok(rows.into_iter().map(ProductRow::into_proto).collect())
}

/// The products behind `after` in the order of their ids, at most `limit`.
pub async fn select_page(pool: &PgPool, after: Uuid, limit: i64) -> Result<Vec<(Uuid, pb::Product)>, sqlx::Error> {
    let rows: Vec<ProductRow> = sqlx::query_as(
        "select id, farm_id, price_minor_units, available, reserved, shipped, version,
             active, currency, name, farm_name, farm_email
         from product_view
         where id > $1
         order by id
         limit $2",
    )
    .bind(after)
    .bind(limit)
    .fetch_all(pool)
    .await?;
    Ok(rows.into_iter().map(ProductRow::into_proto).collect())
}
