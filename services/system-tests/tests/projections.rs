//! Every read model can be made anew from the log while the system runs, and is the same.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod support;

use std::collections::BTreeMap;
use std::time::Duration;

use chassis::projection::{Projection, Rebuild, Report};
use farmera::clients::Clients;
use farmera::services::SERVICES;
use farmera::up::Stack;
use farmera_proto::orders::v1 as orders;
use farmera_proto::orders::v1::order::State;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use support::{catalogue, end_of, order_of, place, stack, until};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// One row of each table, changed behind the service's back.
const DRIFTS: [(&str, &str, &str); 6] = [
    (
        "orders",
        "order_view",
        "update order_view set state = 1 where order_id = (select max(order_id::text)::uuid from order_view)",
    ),
    ("orders", "saga_view", "delete from saga_view where saga_id = (select max(saga_id::text)::uuid from saga_view)"),
    ("products", "catalogue", "update product_view set available = available + 1 where name = 'Linden honey, 500 g'"),
    ("products", "catalogue", "insert into farm_view values (gen_random_uuid(), 'No such farm', 'nobody@example.org')"),
    (
        "payment",
        "payment_view",
        "update payment_view set charge = null where payment_id = (select max(payment_id::text)::uuid from payment_view where charge is not null)",
    ),
    (
        "notification",
        "notification_view",
        "update notification_view set recipients = '{}' where id = (select max(id::text)::uuid from notification_view)",
    ),
];

fn owner_url(stack: &Stack, service: &str) -> String {
    stack.servers().owner_url(&format!("farmera_{service}")).unwrap()
}

async fn owner(stack: &Stack, service: &str) -> PgConnection {
    PgConnection::connect(&owner_url(stack, service)).await.unwrap()
}

fn projections() -> Vec<(&'static str, Box<dyn Projection>)> {
    let of = |service: &farmera::services::Service| {
        let name = service.name;
        (service.projections)().into_iter().map(move |projection| (name, projection))
    };
    SERVICES.iter().flat_map(of).collect()
}

fn projection(service: &str, name: &str) -> Box<dyn Projection> {
    let found = projections().into_iter().find(|(of, found)| *of == service && found.name() == name);
    found.expect("a projection of the list").1
}

/// In small batches: what the live one took in one may fall into two.
async fn rebuild(stack: &Stack, service: &str, projection: &dyn Projection, switch: bool) -> Report {
    let url = owner_url(stack, service);
    let rebuild = Rebuild { projection, url: &url, batch: 7, progress: &|_| () };
    if switch { rebuild.switch().await.unwrap() } else { rebuild.check().await.unwrap() }
}

/// Orders of every fate, all ended.
async fn workload(clients: &Clients) {
    let goods = catalogue(clients).await;
    let tokens = ["tok_success", "tok_declined", "tok_flaky", "tok_insufficient_funds", "tok_success"];
    let mut completed = None;
    for (number, product) in goods.iter().enumerate().take(15) {
        let quantity = if number == 7 { 10_000 } else { 1 };
        let token = tokens.get(number % tokens.len()).unwrap();
        let order = place(clients, order_of(&product.id, quantity, token)).await.unwrap();
        let ended = end_of(clients, &order.id).await;
        if ended.state() == State::Completed {
            completed = Some(ended.id);
        }
    }
    let order_id = completed.expect("one was completed");
    let request = orders::CancelOrderRequest { order_id: order_id.clone(), ..Default::default() };
    clients.orders.clone().cancel_order(request).await.unwrap();
    until(clients, &order_id, &[State::Cancelled]).await;
}

/// Everything about the tables of a service but their rows, and everything that a rebuild must not touch.
async fn shape(connection: &mut PgConnection) -> Vec<String> {
    let mut shape = Vec::new();
    for question in [
        "select indexdef from pg_indexes where schemaname = 'public' order by indexdef",
        "select format('%s %s %s %s', relname, pg_get_userbyid(relowner), relacl, reloptions) from pg_class
         where relnamespace = 'public'::regnamespace order by relname",
        "select format('%s %s %s', conrelid::regclass, conname, pg_get_constraintdef(oid)) from pg_constraint
         where connamespace = 'public'::regnamespace order by conrelid::regclass::text, conname",
        "select nspname::text from pg_namespace where nspname like 'rebuild%'",
    ] {
        shape.extend(sqlx::query_scalar::<_, String>(question).fetch_all(&mut *connection).await.unwrap());
    }
    shape
}

async fn untouched(connection: &mut PgConnection) -> String {
    let question = "select format('%s %s %s %s', (select count(*) from event), (select count(*) from inbox),
                           (select array_agg(timer order by stream_id) from timer),
                           (select array_agg(dead_letter order by id) from dead_letter))";
    sqlx::query_scalar(question).fetch_one(connection).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuilt_read_model_is_the_live_one_and_a_drifted_one_is_found_and_mended() {
    let stack = stack().await;
    workload(&stack.clients).await;
    let mut before = BTreeMap::new();
    for service in &SERVICES {
        let mut owner = owner(&stack, service.name).await;
        before.insert(service.name, (shape(&mut owner).await, untouched(&mut owner).await));
        let mut known: Vec<&str> = (service.projections)().iter().map(|projection| projection.name()).collect();
        known.sort_unstable();
        let running: Vec<String> =
            sqlx::query_scalar("select name from projection order by name").fetch_all(&mut owner).await.unwrap();
        assert_eq!(running, known, "{}: what follows the log is what can be rebuilt", service.name);
    }
    for (service, projection) in projections() {
        let report = rebuild(&stack, service, &*projection, false).await;
        assert_eq!((report.differences, report.first), (0, vec![]), "{}", projection.name());
        assert!(report.rows > 0 && report.events >= report.rows && !report.switched, "{}", projection.name());
    }
    for (service, name, drift) in DRIFTS {
        let changed = sqlx::query(AssertSqlSafe(drift)).execute(&mut owner(&stack, service).await).await.unwrap();
        assert_eq!(changed.rows_affected(), 1, "{drift}");
        let projection = projection(service, name);
        assert_eq!(rebuild(&stack, service, &*projection, false).await.differences, 1, "{drift}");
        let mended = rebuild(&stack, service, &*projection, true).await;
        assert_eq!((mended.differences, mended.first.len(), mended.switched), (1, 1, true), "{drift}");
        assert_eq!(rebuild(&stack, service, &*projection, false).await.differences, 0, "{drift}");
    }
    for service in &SERVICES {
        let mut owner = owner(&stack, service.name).await;
        let after = (shape(&mut owner).await, untouched(&mut owner).await);
        assert_eq!(before.remove(service.name).unwrap(), after, "{}", service.name);
    }
    stack.stop().await;
}

/// Places orders until told to stop; all of them.
async fn write(clients: Clients, stop: watch::Receiver<bool>) -> Vec<String> {
    let goods = catalogue(&clients).await;
    let mut placed = Vec::new();
    while !*stop.borrow() {
        for product in &goods {
            placed.push(place(&clients, order_of(&product.id, 1, "tok_success")).await.unwrap().id);
        }
    }
    placed
}

/// Reads lists until told to stop: they never fail, and never shrink. How often it read.
async fn read(clients: Clients, stop: watch::Receiver<bool>) -> usize {
    let (mut reads, mut known) = (0, 0);
    let goods = catalogue(&clients).await.len();
    while !*stop.borrow() {
        assert_eq!(catalogue(&clients).await.len(), goods);
        let found = listed(&clients).await.len();
        assert!(found >= known, "{found} orders after {known}");
        (reads, known) = (reads + 1, found);
    }
    reads
}

async fn listed(clients: &Clients) -> BTreeMap<String, State> {
    let mut found = BTreeMap::new();
    let mut page_token = String::new();
    loop {
        let request = orders::ListOrdersRequest { page_size: 1_000, page_token, ..Default::default() };
        let page = clients.orders.clone().list_orders(request).await.unwrap().into_inner();
        found.extend(page.orders.into_iter().map(|order| (order.id.clone(), order.state())));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return found;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn writers_and_readers_do_not_notice_a_rebuild() {
    let stack = stack().await;
    workload(&stack.clients).await;
    let (stop, stopped) = watch::channel(false);
    let (mut writer, mut reader) = (JoinSet::new(), JoinSet::new());
    writer.spawn(write(stack.clients.clone(), stopped.clone()));
    reader.spawn(read(stack.clients.clone(), stopped));
    for round in 0..2 {
        for (service, projection) in projections() {
            let name = projection.name();
            let url = owner_url(&stack, service);
            let rebuild = Rebuild { projection: &*projection, url: &url, batch: 500, progress: &|_| () };
            let report = rebuild.switch().await.unwrap_or_else(|error| panic!("{name}: {error:?}"));
            assert_eq!((report.differences, report.first), (0, vec![]), "{name}, round {round}");
        }
    }
    stop.send(true).unwrap();
    let placed = writer.join_next().await.unwrap().unwrap();
    let reads = reader.join_next().await.unwrap().unwrap();
    assert!(reads > 10, "only {reads} reads");
    for order in &placed {
        assert_eq!(end_of(&stack.clients, order).await.state(), State::Completed);
    }
    let caught_up = async {
        loop {
            let found = listed(&stack.clients).await;
            if placed.iter().all(|order| found.get(order) == Some(&State::Completed)) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(support::END_LIMIT, caught_up).await.expect("the follower goes on after the switch");
    for (service, projection) in projections() {
        assert_eq!(rebuild_at_once(&stack, service, &*projection).await.differences, 0, "{}", projection.name());
    }
    stack.stop().await;
}

async fn rebuild_at_once(stack: &Stack, service: &str, projection: &dyn Projection) -> Report {
    let url = owner_url(stack, service);
    Rebuild { projection, url: &url, batch: 5_000, progress: &|_| () }.check().await.unwrap()
}
