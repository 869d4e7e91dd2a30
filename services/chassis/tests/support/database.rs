//! A database of one's own in the servers that a test process shares.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use eventstore_postgres::MIGRATOR;
use farmera_local::TestServers;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

/// The URL of a new database with an event store, as its owner.
pub async fn database(name: &str) -> String {
    let admin = tokio::task::spawn_blocking(|| TestServers::shared().unwrap().admin_url()).await.unwrap();
    let mut connection = PgConnection::connect(&admin).await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(format!("create database {name}"))).execute(&mut connection).await.unwrap();
    let url = format!("{}/{name}", admin.rsplit_once('/').unwrap().0);
    MIGRATOR.run(&mut PgConnection::connect(&url).await.unwrap()).await.unwrap();
    url
}
