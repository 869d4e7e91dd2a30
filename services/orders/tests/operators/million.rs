//! With a million sagas in the database. By hand, on a release build:
//!
//! ```text
//! cargo test --release --workspace --test operators -- --ignored --nocapture --test-threads 1
//! ```

use std::sync::Arc;
use std::time::{Duration, Instant};

use orders::operations::query::parse;
use orders::projections::sagas::{Order, Page};
use sqlx::postgres::PgPool;

use chassis::scan::LogScan;
use chassis::shutdown::Shutdown;
use eventstore::{Actor, Aggregate as _, EventStore as _};
use farmera_proto::saga::v1 as pb;
use farmera_proto::saga::v1::replay_service_server::ReplayService as _;
use farmera_proto::saga::v1::saga_query_service_server::SagaQueryService as _;
use futures::StreamExt as _;
use futures::future::join_all;
use orders::grpc::{Participants, Reads, Replay, Sagas};
use orders::operations::act::{Act, Mandate};
use orders::operations::check::Checker;
use orders::operations::plan::Planner;
use orders::operations::reconcile::{Ledgers, Reconciliation};
use orders::projections::held::HeldList;
use orders::sagas::{AUTHORIZE_PAYMENT, CAPTURE_PAYMENT, COMMIT_INVENTORY, NOTIFY, OrderProcess, RESERVE_INVENTORY};
use saga::{Outcome, Saga};
use saga_runtime::HoldsInForce;
use tonic::Request;
use uuid::Uuid;

use crate::support::Market;

const SAGAS: i32 = 1_000_000;

/// What an index answers.
const INDEXED: &[&str] = &[
    "",
    "state = PARKED",
    "state = OPEN",
    "state != COMPLETED",
    "state = COMPENSATED",
    "state = COMPENSATED and error = OUT_OF_STOCK",
    "state = PARKED and step = notify",
    "state = RUNNING and age > 10m",
    "state = OPEN and amount > 150EUR",
    "state in (PARKED, PAUSED) and error ~ down",
    "customer = c4ca4238-a0b9-2382-0dcc-509a6f75849b",
    "order = 0199c4ca-4238-7000-8000-000000000001",
    "customer in (c4ca4238-a0b9-2382-0dcc-509a6f75849b, c81e728d-9d4c-2f63-6f06-7f89cc14862c) and state != COMPLETED",
    "started > 2026-08-20T09:00:00Z and updated < 2026-08-20T12:00:00+01:00",
    "started between 2026-03-01T00:00:00Z and 2026-03-02T00:00:00Z",
    "age < 1h",
    "age < 1d",
    "saga = cancel-order and state != COMPLETED",
    "saga = place-order@1",
    "state = COMPLETED",
    "error = CARD_DECLINED and amount > 150EUR",
    "exposure > 200EUR",
    "amount > 204EUR",
];

/// 88 % completed, 10 % undone, the others at every place a saga can be.
async fn seed(pool: &PgPool) {
    sqlx::query(
        "insert into saga_view (
             saga_id, definition, definition_version, order_id, customer_id, amount, currency, units, started_at, state,
             updated_at, version, step, lane, attempt, error_code, error, authorized, captured, reserved, reserved_units
         )
         select (lpad(to_hex((extract(epoch from at) * 1000)::bigint), 12, '0') || '8' || substr(md5(n::text), 1, 19))::uuid,
                case when n % 50 = 0 then 'cancel-order' else 'place-order' end, 1,
                (lpad(to_hex((extract(epoch from at) * 1000)::bigint), 12, '0') || '7' || substr(md5(n::text), 2, 19))::uuid,
                md5((n % 20000)::text)::uuid, 500 + n % 20000, 'EUR', 2, at, state, at + interval '1 second', 14,
                case when state in (4, 5, 6) then '' else (array['authorize-payment', 'capture-payment', 'notify'])[1 + n % 3] end,
                case when state in (4, 5, 6) then 0 else 1 end, 1,
                case when state in (3, 5) then (array['CARD_DECLINED', 'OUT_OF_STOCK', 'PROVIDER_DOWN'])[1 + n % 3] else '' end,
                case when state in (3, 5) then (array['CARD_DECLINED', 'OUT_OF_STOCK', 'PROVIDER_DOWN'])[1 + n % 3] || ': no' else '' end,
                case when state in (4, 5, 6) then 0 else 500 + n % 20000 end, 0,
                case when state in (4, 5, 6) then 0 else 500 + n % 20000 end, case when state in (4, 5, 6) then 0 else 2 end
         from (
             select n, timestamptz '2026-01-01' + n * interval '20 seconds' as at,
                    case when n % 100 < 88 then 4 when n % 100 < 98 then 5 when n % 100 < 99 then 1
                         when n / 100 % 10 < 5 then 2 when n / 100 % 10 < 8 then 3 when n / 100 % 10 < 9 then 7 else 6 end as state
             from generate_series(1, $1) as n
         ) as made",
    )
    .bind(SAGAS)
    .execute(pool)
    .await
    .unwrap();
    sqlx::query(
        "insert into saga_ended (
             state, definition, definition_version, error_code, currency, count, first_started, last_updated
         )
         select state, definition, definition_version, error_code, currency, count(*), min(started_at), max(updated_at)
         from saga_view
         where state in (4, 5, 6)
         group by state, definition, definition_version, error_code, currency",
    )
    .execute(pool)
    .await
    .unwrap();
    sqlx::query("vacuum analyze saga_view").execute(pool).await.unwrap();
}

/// A saga that got no answer from the provider, like some of the million.
async fn late(market: &Market) -> Uuid {
    let saga_id = market.place(1, 1_000).await;
    market.done(saga_id, RESERVE_INVENTORY).await;
    market.reply(saga_id, AUTHORIZE_PAYMENT, Outcome::Unknown("PROVIDER_DOWN: away".to_owned())).await;
    market.project(100).await;
    saga_id
}

fn sagas(market: &Market) -> Sagas {
    let nowhere = || chassis::grpc::channel("http://127.0.0.1:1").unwrap();
    Sagas {
        reads: Reads::new(market.store.clone()).0,
        participants: Participants::new(nowhere(), nowhere(), nowhere()),
        list: market.sagas(),
        library: Arc::clone(&market.library),
        holds: HoldsInForce::new(),
        health: chassis::health::Health::new(),
        abreast: market.lists(),
        clock: Arc::clone(&market.clock),
    }
}

/// The median of nine, after one to warm up.
async fn median<F: Future<Output = usize>>(ask: impl Fn() -> F) -> (Duration, usize) {
    let mut found = ask().await;
    let mut times = Vec::new();
    for _ in 0..9 {
        let begun = Instant::now();
        found = ask().await;
        times.push(begun.elapsed());
    }
    times.sort();
    (times.get(4).copied().unwrap_or_default(), found)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "makes a million rows and measures; by hand"]
async fn a_million_sagas_are_listed_and_counted_in_time() {
    let market = Market::open().await;
    let late = late(&market).await;
    seed(&market.pool).await;
    let list = market.sagas();
    let now = chrono::DateTime::parse_from_rfc3339("2026-08-20T12:00:00Z").unwrap().to_utc();
    let mut slow = Vec::new();
    for query in INDEXED {
        let asked = parse(query).unwrap();
        for order in [Order::Newest, Order::Updated, Order::Amount] {
            let page = Page { order, after: None, size: 50 };
            let (time, found) = median(|| async { list.find(&asked, page, now).await.unwrap().0.len() }).await;
            println!("list  {:>8.1} ms {found:>8}  {order:?} {query}", time.as_secs_f64() * 1e3);
            // Where most of the sagas are admitted, only the order of their starts is an index.
            let admits_most = ["", "saga = place-order@1", "state = COMPLETED"].contains(query);
            if time > Duration::from_millis(200) && (order == Order::Newest || !admits_most) {
                slow.push(format!("{order:?} {query}: {time:?}"));
            }
        }
        let (time, found) = median(|| async {
            let counted = list.count(&asked, now).await.unwrap();
            counted.0.iter().map(|group| usize::try_from(group.count).unwrap()).sum()
        })
        .await;
        println!("count {:>8.1} ms {found:>8}  {query}", time.as_secs_f64() * 1e3);
        if time > Duration::from_millis(200) {
            slow.push(format!("count {query}: {time:?}"));
        }
    }
    let sagas = sagas(&market);
    let (shown, _) = median(|| async {
        let request = pb::GetSagaRequest { saga_id: late.to_string(), with_events: true, ..Default::default() };
        sagas.get_saga(Request::new(request)).await.unwrap().into_inner().events.len()
    })
    .await;
    let (explained, alike) = median(|| async {
        let request = pb::ExplainSagaRequest { saga_id: late.to_string() };
        let answer = sagas.explain_saga(Request::new(request)).await.unwrap().into_inner();
        usize::try_from(answer.alike).unwrap()
    })
    .await;
    println!("show    {:>6.1} ms", shown.as_secs_f64() * 1e3);
    println!("explain {:>6.1} ms {alike:>8} alike", explained.as_secs_f64() * 1e3);
    for (what, time) in [("show", shown), ("explain", explained)] {
        if time > Duration::from_millis(200) {
            slow.push(format!("{what}: {time:?}"));
        }
    }
    assert!(slow.is_empty(), "slower than 200 ms: {slow:#?}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "places ten thousand orders and measures; by hand"]
async fn a_plan_for_ten_thousand_sagas_is_made_in_time_and_a_log_is_folded_fast() {
    let market = Market::open().await;
    let mut placed = Vec::new();
    for _ in 0..20 {
        placed.extend(join_all((0..500).map(|_| market.place(1, 1_000))).await);
    }
    market.project(2_000).await;
    let planner = Planner {
        store: market.store.clone(),
        list: market.sagas(),
        library: Arc::clone(&market.library),
        holds: HoldsInForce::new(),
        held: HeldList::new(market.pool.clone()),
    };
    let (selection, actor) =
        (pb::Selection { query: "state = RUNNING".to_owned(), ..Default::default() }, Actor::new("operator:ana"));
    let (time, planned) = median(|| async {
        let (now, reason) = (market.clock.now(), "why".to_owned());
        let mandate = Mandate { actor: actor.clone(), reason };
        let foreseen = planner.sagas(&Act::Cancel, &selection, &mandate, now).await.unwrap();
        foreseen.items.iter().filter(|item| item.refused.is_empty()).count()
    })
    .await;
    println!("plan  {:>8.1} ms {planned:>8}", time.as_secs_f64() * 1e3);
    assert_eq!(planned, 10_000);
    assert!(time < Duration::from_secs(5), "{time:?}");

    // Whole histories, as a log is made of.
    for step in [RESERVE_INVENTORY, AUTHORIZE_PAYMENT, CAPTURE_PAYMENT, COMMIT_INVENTORY, NOTIFY] {
        for sagas in placed.chunks(500) {
            join_all(sagas.iter().map(|saga_id| market.done(*saga_id, step))).await;
        }
    }
    market.project(2_000).await;
    let last = folded(&market).await;
    let elapsed = last.elapsed.unwrap();
    let seconds = f64::from(u32::try_from(elapsed.seconds).unwrap()) + f64::from(elapsed.nanos) / 1e9;
    let a_second = f64::from(u32::try_from(last.events).unwrap()) / seconds;
    println!("check {} events, {a_second:.0} a second, {} findings", last.events, last.findings_total);
    assert_eq!(last.findings_total, 0);
    assert!(a_second >= 100_000.0 || cfg!(debug_assertions), "{a_second:.0} a second");

    // An event in the middle of it, by its id alone.
    let (scan, categories) = (LogScan::new(Arc::clone(&market.store)), [Saga::<OrderProcess>::CATEGORY]);
    let middle = scan.before_end(last.events / 2).await.unwrap();
    let event = market.store.read_log(middle, &categories, 1).await.unwrap().remove(0);
    let find = || async { usize::from(scan.find(event.id.0, &categories).await.unwrap().is_some()) };
    let (time, found) = median(find).await;
    println!("event {:>8.1} ms {found:>8}", time.as_secs_f64() * 1e3);
    assert!(found == 1 && time < Duration::from_millis(200), "{time:?}");
}

/// Everything folded, as the service does it; its last word.
async fn folded(market: &Market) -> pb::ReplayCheckResponse {
    let (_trigger, shutdown) = Shutdown::new();
    let scan = LogScan::new(Arc::clone(&market.store));
    // Nobody is asked for a ledger.
    let nowhere = || chassis::grpc::channel("http://127.0.0.1:1").unwrap();
    let ledgers = Ledgers::new(nowhere(), nowhere());
    let replay = Replay {
        store: market.store.clone(),
        scan: scan.clone(),
        checker: Checker { pool: market.pool.clone(), library: Arc::clone(&market.library) },
        reconciliation: Reconciliation { ledgers, pool: market.pool.clone(), scan },
        clock: Arc::clone(&market.clock),
        shutdown,
    };
    let mut words = replay.replay_check(Request::new(pb::ReplayCheckRequest::default())).await.unwrap().into_inner();
    let mut last = pb::ReplayCheckResponse::default();
    while let Some(word) = words.next().await {
        last = word.unwrap();
    }
    assert!(last.done);
    last
}
