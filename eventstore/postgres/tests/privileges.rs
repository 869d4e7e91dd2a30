//! Append-only by privilege, not by promise.

mod support;

use eventstore_postgres::MIGRATOR;
use sqlx::{AssertSqlSafe, PgConnection};
use support::Database;

const INSUFFICIENT_PRIVILEGE: &str = "42501";

async fn refusal(connection: &mut PgConnection, statement: &str) -> Option<String> {
    let result = sqlx::raw_sql(AssertSqlSafe(statement)).execute(connection).await;
    let error = result.err()?;
    Some(error.as_database_error()?.code()?.into_owned())
}

#[tokio::test]
async fn the_service_cannot_change_or_remove_what_happened() {
    let database = Database::new().await;
    let mut service = database.connection().await;
    for statement in [
        "update event set payload = '{}'",
        "delete from event",
        "truncate event",
        "drop table event",
        "alter table event drop column payload",
        "alter table event disable trigger all",
        "create table mine (id int)",
        "select setval('event_position_seq', 1)",
    ] {
        assert_eq!(refusal(&mut service, statement).await.as_deref(), Some(INSUFFICIENT_PRIVILEGE), "{statement}");
    }
}

#[tokio::test]
async fn the_service_may_use_the_small_tables() {
    let database = Database::new().await;
    let mut service = database.connection().await;
    for table in ["outbox", "inbox", "timer", "dead_letter", "blocked", "projection", "snapshot"] {
        assert_eq!(refusal(&mut service, &format!("delete from {table}")).await, None, "{table}");
    }
}

#[tokio::test]
async fn migrations_may_run_again_beside_those_of_a_service() {
    let database = Database::new().await;
    let mut owner = database.admin().await;
    MIGRATOR.run(&mut owner).await.expect("nothing left to do");
    let service = "insert into _sqlx_migrations (version, description, success, checksum, execution_time)
        values (1000, 'of the service', true, '', 0)";
    sqlx::raw_sql(service).execute(&mut owner).await.expect("a service's migration");
    MIGRATOR.run(&mut owner).await.expect("a service's migration is none of ours");
}
