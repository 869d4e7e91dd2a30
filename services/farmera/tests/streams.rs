//! Streams as they were, and as files: the real program over a real Postgres.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, and so do its helpers")]

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::str::FromStr as _;
use std::sync::atomic::{AtomicU32, Ordering};

use chrono::{DateTime, TimeDelta, Utc};
use eventstore::memory::CountingIds;
use eventstore::{
    Actor, Append, Category, Cause, Commit, EventId, EventStore as _, NewEvent, Recorded, StreamId, Version,
};
use eventstore_postgres::{MIGRATOR, PostgresStore, StoreOptions};
use farmera_local::TestServers;
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, PgConnection};
use tokio::sync::OnceCell;

const PRODUCT: Category = Category::new("product");
const FARM: Category = Category::new("farm");

/// A products service's database.
struct Log {
    url: String,
    admin: String,
}

async fn connect(url: &str) -> PgConnection {
    PgConnectOptions::from_str(url).unwrap().connect().await.unwrap()
}

async fn run(url: &str, sql: String) {
    let mut connection = connect(url).await;
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

impl Log {
    async fn new() -> Self {
        static SERVER: OnceCell<String> = OnceCell::const_new();
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let server = SERVER.get_or_init(|| async {
            let start = || TestServers::shared().map(farmera_local::Servers::admin_url);
            let url = tokio::task::spawn_blocking(start).await.unwrap().unwrap();
            run(&url, "create role streams_service login password 'secret'".to_owned()).await;
            url
        });
        let server = server.await;
        let name = format!("streams_{}", NEXT.fetch_add(1, Ordering::Relaxed));
        run(server, format!("create database {name}")).await;
        let place = server.split_once('@').unwrap().1.split_once('/').unwrap().0;
        let url = format!("postgres://streams_service:secret@{place}/{name}");
        let admin = format!("{}/{name}", server.rsplit_once('/').unwrap().0);
        let mut owner = connect(&admin).await;
        MIGRATOR.run(&mut owner).await.unwrap();
        owner.close().await.unwrap();
        Self { url, admin }
    }

    /// A log with two farms and three products that have seen something.
    async fn filled() -> Self {
        let log = Self::new().await;
        let store = log.store();
        for number in 1..=2 {
            grow(
                &store,
                StreamId::new(FARM, id(number)),
                &[r#"{"FarmRegistered":{"name":"Sunny \n ä","email":"a@b.example"}}"#.to_owned()],
            )
            .await;
        }
        for number in 10..=12 {
            let stream = StreamId::new(PRODUCT, id(number));
            let listed = format!(
                r#"{{"ProductListed":{{"farm_id":"{}","farm_name":"Sunny","farm_email":"a@b.example","name":"Carrots","price":{{"minor_units":250,"currency":"EUR"}}}}}}"#,
                id(1)
            );
            let added = |quantity: u64| {
                format!(r#"{{"StockAdded":{{"request_id":"{}","quantity":{quantity}}}}}"#, id(900 + quantity))
            };
            grow(&store, stream, &[listed, added(10)]).await;
            grow(&store, stream, &(1..=number).map(added).collect::<Vec<_>>()).await;
        }
        log
    }

    fn store(&self) -> PostgresStore {
        PostgresStore::connect(&StoreOptions::new(&self.url)).unwrap()
    }

    async fn all(&self) -> Vec<Recorded> {
        let streams = [(FARM, 1), (FARM, 2), (PRODUCT, 10), (PRODUCT, 11), (PRODUCT, 12)];
        let streams = streams.map(|(category, number)| (StreamId::new(category, id(number)), Version::NONE));
        self.store().read_streams(&streams, 1_000).await.unwrap()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_farmera"));
        command.arg("stream").args(arguments).env_clear().env("FARMERA_PRODUCTS__DATABASE_URL", &self.url);
        command
    }

    fn farmera(&self, arguments: &[&str]) -> (i32, String, String) {
        let Output { status, stdout, stderr } = self.command(arguments).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (status.code().unwrap(), text(stdout), text(stderr))
    }

    fn export(&self) -> String {
        let (code, file, error) = self.farmera(&["export", "products"]);
        assert_eq!(code, 0, "{error}");
        file
    }

    fn import(&self, file: &str, more: &[&str]) -> (i32, String, String) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("products.ndjson");
        std::fs::write(&path, file).unwrap();
        let path = path.to_string_lossy().into_owned();
        self.farmera(&[&["import", "products", &path], more].concat())
    }

    async fn count(&self, table: &str) -> i64 {
        let mut connection = connect(&self.admin).await;
        sqlx::query_scalar(AssertSqlSafe(format!("select count(*) from {table}")))
            .fetch_one(&mut connection)
            .await
            .unwrap()
    }
}

fn id(number: u64) -> uuid::Uuid {
    CountingIds::id(1, number)
}

fn noon() -> DateTime<Utc> {
    DateTime::from_timestamp_micros(1_800_000_000_123_456).unwrap()
}

/// Appends events, a minute apart.
async fn grow(store: &PostgresStore, stream: StreamId, payloads: &[String]) {
    let last = store.read_stream_backwards(stream, 1).await.unwrap().pop();
    let expected = last.as_ref().map_or(Version::NONE, |event| event.version);
    let event = |(index, payload): (usize, &String)| {
        let version = expected.plus(index + 1).get();
        NewEvent {
            id: EventId(eventstore::derived_id(stream.id, &format!("{} {version}", stream.category))),
            type_name: if payload.contains("Listed") {
                "ProductListed"
            } else if payload.contains("Farm") {
                "FarmRegistered"
            } else {
                "StockAdded"
            },
            schema_version: 1,
            payload: payload.clone(),
            time: noon() + TimeDelta::minutes(i64::try_from(version).unwrap()),
            cause: Cause { correlation: id(7), causation: id(8), trace: None, actor: Actor::new("client") },
        }
    };
    let events = payloads.iter().enumerate().map(event).collect();
    let append = Append::new(stream, expected, last.and_then(|event| event.digest), events);
    store.commit(Commit { appends: vec![append], ..Commit::default() }).await.unwrap();
}

fn without_places(events: Vec<Recorded>) -> Vec<Recorded> {
    events.into_iter().map(|event| Recorded { cursor: eventstore::Cursor::START, ..event }).collect()
}

#[tokio::test]
async fn an_export_imported_into_an_empty_log_is_exported_as_the_same_file() {
    let (old, new) = (Log::filled().await, Log::new().await);
    let file = old.export();
    assert_eq!(file.lines().count(), 2 + 2 + 3 * 2 + 10 + 11 + 12);
    let (code, said, error) = new.import(&file, &[]);
    assert_eq!((code, said.as_str()), (0, "41 events of 5 streams: 41 imported, 0 were there already\n"), "{error}");
    assert_eq!(new.export(), file);
    assert_eq!(without_places(new.all().await), without_places(old.all().await));
    assert_eq!(new.count("outbox").await, 0, "nobody is told again");
    let (_, said, _) = new.import(&file, &[]);
    assert_eq!(said, "41 events of 5 streams: 0 imported, 41 were there already\n");
    assert_eq!(new.export(), file);
}

#[tokio::test]
async fn an_import_that_was_interrupted_is_finished_by_the_same_command() {
    let (old, new) = (Log::filled().await, Log::new().await);
    let part: Vec<Recorded> = old.all().await.into_iter().filter(|event| event.version <= Version::new(3)).collect();
    new.store().bring_in(&part, false).await.unwrap();
    let file = old.export();
    let (_, said, _) = new.import(&file, &["--dry-run"]);
    assert_eq!(said, "41 events of 5 streams are sound: 30 new, 11 there already\n");
    let (code, said, error) = new.import(&file, &[]);
    assert_eq!((code, said.as_str()), (0, "41 events of 5 streams: 30 imported, 11 were there already\n"), "{error}");
    assert_eq!(new.export(), file);
}

#[tokio::test]
async fn a_dry_run_writes_nothing_and_publishing_tells_everybody() {
    let (old, new) = (Log::filled().await, Log::new().await);
    let file = old.export();
    let (code, said, _) = new.import(&file, &["--dry-run"]);
    assert_eq!((code, said.as_str()), (0, "41 events of 5 streams are sound: 41 new, 0 there already\n"));
    assert_eq!(new.count("event").await, 0);
    assert_eq!(new.import(&file, &["--publish"]).0, 0);
    assert_eq!((new.count("event").await, new.count("outbox").await), (41, 1));
}

#[tokio::test]
async fn one_stream_or_one_category_can_be_exported() {
    let log = Log::filled().await;
    let carrots = format!("product/{}", id(11));
    let (_, file, said) = log.farmera(&["export", "products", "--stream", &carrots]);
    assert_eq!((file.lines().count(), said.as_str()), (2 + 13, "13 events of 1 streams\n"));
    let (_, file, _) = log.farmera(&["export", "products", "--category", "farm"]);
    assert_eq!(file.lines().count(), 2 + 2);
    let (code, _, error) = log.farmera(&["export", "products", "--stream", &format!("product/{}", id(99))]);
    assert_eq!((code, error.lines().count()), (3, 1), "{error}");
    let (code, _, error) = log.farmera(&["export", "products", "--category", "order"]);
    assert_eq!(
        (code, error.as_str()),
        (2, "error: products has no streams of \"order\": it has farm, product, delivery, reservation\n")
    );
}

/// The file's lines.
fn lines(file: &str) -> Vec<String> {
    file.lines().map(|line| format!("{line}\n")).collect()
}

#[tokio::test]
async fn a_file_that_is_not_as_it_was_written_is_refused_by_line_and_nothing_is_written() {
    let (old, new) = (Log::filled().await, Log::new().await);
    let file = old.export();
    let whole = lines(&file);
    let swapped = |one: usize, other: usize| {
        let mut lines = whole.clone();
        lines.swap(one, other);
        lines.concat()
    };
    let without = |line: usize| {
        let mut lines = whole.clone();
        lines.remove(line);
        lines.concat()
    };
    let cases = [
        ("", "line 1: the file is cut off"),
        ("{\"order\":1}\n", "line 1: this is no line of an export"),
        (&whole[..30].concat(), "line 31: the file is cut off"),
        (&file[..file.len() - 200], "line 42: the line is cut off"),
        (&file.replacen("Carrots", "Parrots", 1), "line 4: product-"),
        (&swapped(7, 8), "line 8: product-"),
        (&swapped(2, 3), "line 4: farm-"),
        (&without(7), "line 8: product-"),
        (&without(2), "line 42: the trailer speaks of 41 events of 5 streams, there are 40 of 4"),
        (&without(0), "line 1: the file does not begin with a header"),
        (&file.replacen("products", "orders", 1), "line 1: the file holds streams of orders, not of products"),
        (&file.replacen("\"format\":1", "\"format\":2", 1), "line 1: the file has format 2, this program knows 1"),
        (&file.replacen("\"category\":\"farm\"", "\"category\":\"barn\"", 1), "line 2: \"barn\" is no category"),
        (&format!("{file}{file}"), "line 44: there is more after the trailer"),
        (&file.replacen("\"actor\":\"client\"", "\"actor\":\"client\",\"more\":1", 1), "line 2: this is no line"),
    ];
    for (file, reason) in cases {
        let (code, said, error) = new.import(file, &[]);
        assert_eq!((code, said.as_str(), error.lines().count()), (1, "", 1), "{reason}: {error}");
        assert!(error.contains(reason), "{reason}: {error}");
    }
    assert_eq!(new.count("event").await, 0);
}

#[tokio::test]
async fn another_event_in_the_same_place_refuses_the_import() {
    let (old, new) = (Log::filled().await, Log::new().await);
    let carrots = StreamId::new(PRODUCT, id(12));
    grow(&new.store(), carrots, &[r#"{"ActiveSet":{"active":true}}"#.to_owned()]).await;
    let (code, _, error) = new.import(&old.export(), &[]);
    assert_eq!(code, 1);
    assert!(error.contains(&format!("the log has another event as version 1 of {carrots}")), "{error}");
    assert_eq!(new.count("event").await, 1, "and nothing is written of any stream");
}

#[tokio::test]
async fn a_full_disk_and_a_reader_that_went_away_are_one_clear_line() {
    let log = Log::filled().await;
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = log.command(&["export", "products"]).stdout(full).stderr(Stdio::piped()).output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), error.lines().count()), (Some(1), 1), "{error}");
    assert!(error.starts_with("error: the export cannot be written: "), "{error}");

    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = log.command(&["export", "products"]).stdout(writer).stderr(Stdio::piped()).output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), error.lines().count()), (Some(1), 1), "{error}");
}

#[tokio::test]
async fn a_stream_is_shown_as_it_was() {
    let log = Log::filled().await;
    let carrots = format!("product/{}", id(10));
    let show = |more: &[&str]| log.farmera(&[&["show", "products", &carrots, "-o", "json"], more].concat());
    let shown = |more: &[&str]| -> (serde_json::Value, u64) {
        let (code, answer, error) = show(more);
        assert_eq!(code, 0, "{error}");
        let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
        (answer["state"].clone(), answer["version"].as_u64().unwrap())
    };
    let (now, version) = shown(&[]);
    assert_eq!((version, &now["Listed"]["stock"]["available"]), (12, &65.into()));
    let (then, version) = shown(&["--at", "2"]);
    assert_eq!((version, &then["Listed"]["stock"]["available"]), (2, &10.into()));
    let time = (noon() + TimeDelta::minutes(2)).to_rfc3339();
    assert_eq!(shown(&["--at", &time]), (then, 2));

    let (_, text, _) = log.farmera(&["show", "products", &carrots, "--at", "2", "--events", "--limit", "1"]);
    assert!(text.starts_with(&format!("product-{}  version 2 of 12, 2027-01-15T", id(10))), "{text}");
    assert!(text.contains("StockAdded") && !text.contains("ProductListed"), "{text}");

    for missing in ["0", "13", "2020-01-01T00:00:00Z"] {
        let (code, _, error) = show(&["--at", missing]);
        assert_eq!((code, error.lines().count()), (3, 1), "{error}");
    }
    let (code, _, error) = log.farmera(&["show", "products", &format!("product-{}", id(99))]);
    assert_eq!((code, error), (3, format!("error: products has no stream product-{}\n", id(99))));
    assert_eq!(log.farmera(&["show", "products", "order/1"]).0, 2);
}

#[tokio::test]
async fn a_log_restored_from_a_dump_is_not_exported_as_if_it_were_empty() {
    let log = Log::filled().await;
    run(&log.admin, "update event set tx = '18446744073709000000'".to_owned()).await;
    let (code, file, error) = log.farmera(&["export", "products"]);
    assert_eq!((code, file.as_str(), error.lines().count()), (1, "", 1), "{error}");
    assert!(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/runbooks/streams.md").exists());
}
