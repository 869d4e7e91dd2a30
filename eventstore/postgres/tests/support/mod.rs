//! A database of its own for each test, on the servers of this test process.
#![allow(dead_code, clippy::allow_attributes, reason = "not every test file uses all of it")]
#![expect(clippy::expect_used, reason = "helpers of tests")]

use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use eventstore_postgres::{MIGRATOR, PostgresStore, StoreOptions};
use farmera_local::TestServers;
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgConnection};
use tokio::sync::OnceCell;

/// Owns nothing, like a service's role.
const SERVICE: &str = "test_service";
const TEMPLATE: &str = "test_template";

/// An empty event store's database.
pub struct Database {
    /// For the superuser.
    pub admin_url: String,
    /// For the service.
    pub service_url: String,
}

impl Database {
    pub async fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let server = server().await;
        let name = format!("test_{}", NEXT.fetch_add(1, Ordering::Relaxed));
        run(server, &format!("create database {name} template {TEMPLATE}")).await;
        Self::at(server, &name)
    }

    /// The database `name` on the server whose superuser's URL this is.
    pub fn at(server: &str, name: &str) -> Self {
        let (_, place) = server.split_once('@').expect("a URL with a password");
        let (address, _) = place.split_once('/').expect("a URL with a database");
        let (admin, _) = server.rsplit_once('/').expect("a URL with a database");
        let service_url = format!("postgres://{SERVICE}:secret@{address}/{name}");
        Self { admin_url: format!("{admin}/{name}"), service_url }
    }

    pub fn store(&self) -> PostgresStore {
        PostgresStore::connect(&StoreOptions::new(&self.service_url)).expect("valid options")
    }

    /// A connection of the service's role.
    pub async fn connection(&self) -> PgConnection {
        connect(&self.service_url).await
    }

    /// A connection of the superuser.
    pub async fn admin(&self) -> PgConnection {
        connect(&self.admin_url).await
    }
}

/// For the contract suite.
pub async fn fresh() -> Arc<PostgresStore> {
    Arc::new(Database::new().await.store())
}

/// Makes the service's role and an empty store's database to copy from.
pub async fn prepare(server: &str) {
    run(server, &format!("create role {SERVICE} login password 'secret'")).await;
    run(server, &format!("create database {TEMPLATE}")).await;
    let mut connection = connect(&Database::at(server, TEMPLATE).admin_url).await;
    MIGRATOR.run(&mut connection).await.expect("migrations run");
    connection.close().await.expect("closed");
}

pub async fn connect(url: &str) -> PgConnection {
    PgConnectOptions::from_str(url).expect("a URL").connect().await.expect("a connection")
}

pub async fn run(url: &str, sql: &str) {
    let mut connection = connect(url).await;
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await.expect("the statement runs");
    connection.close().await.expect("closed");
}

/// The superuser's URL of the server that all tests of this process share.
async fn server() -> &'static str {
    static SERVER: OnceCell<String> = OnceCell::const_new();
    SERVER
        .get_or_init(|| async {
            let start = || TestServers::shared().map(farmera_local::Servers::admin_url);
            let url = tokio::task::spawn_blocking(start).await.expect("not cancelled").expect("servers start");
            prepare(&url).await;
            url
        })
        .await
}
