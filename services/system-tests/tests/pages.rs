//! Page tokens, at every list of every service: what was made up is refused as such, and wakes nobody.

#![expect(clippy::expect_used, reason = "a test fails by panicking")]

mod support;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use chassis::page;
use farmera::clients::Clients;
use prost::Message as _;
use support::{catalogue, end_of, order_of, place, stack};
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};
use tonic_prost::ProstCodec;
use tonic_types::StatusExt as _;
use tracing::{Level, Metadata, Subscriber, span, subscriber::Interest};

const NIL: &str = "00000000-0000-0000-0000-000000000000";

/// Every list with pages: what a token of it is bound to when nothing else is asked for, and a key that could be in one.
const LISTS: &[(&str, &str, &str)] = &[
    ("farmera.notification.v1.NotificationService/ListNotifications", "notifications", NIL),
    ("farmera.orders.v1.OrdersService/ListOrders", "orders/2//0", "0/00000000-0000-0000-0000-000000000000"),
    ("farmera.payment.v1.PaymentQueryService/ListLedger", "ledger", NIL),
    (
        "farmera.payment.v1.PaymentQueryService/ListProviderCharges",
        "provider-charges",
        "ch_00000000000000000000000000000000",
    ),
    ("farmera.payment.v1.PaymentService/ListPayments", "payments/order=", NIL),
    ("farmera.products.v1.ProductsQueryService/ListLedger", "ledger", "1/1"),
    ("farmera.products.v1.ProductsService/ListProducts", "products", NIL),
    ("farmera.saga.v1.MachineryQueryService/ListDeadLetters", "letters/false//", "1"),
    ("farmera.saga.v1.MachineryQueryService/ListTimers", "timers/false", "0/00000000-0000-0000-0000-000000000000"),
    ("farmera.saga.v1.OperatorService/ListOperations", "operations", NIL),
    ("farmera.saga.v1.OperatorService/ListPlanItems", "plan/", "0"),
    ("farmera.saga.v1.SagaQueryService/ListSagas", "sagas/2/0/0/", "0/00000000-0000-0000-0000-000000000000"),
];

/// Keys that nobody was given.
const KEYS: &[&str] = &[
    "",
    "x",
    "'",
    "\0",
    "-1",
    "0/0/0",
    "../refunds",
    "pi_1?limit=1",
    "ch_",
    "-9223372036854775808",
    "9223372036854775807",
    "9223372036854775808",
    "18446744073709551615/18446744073709551615",
    "18446744073709551615/1",
    "1/9223372036854775808",
    "-9223372036854775808/00000000-0000-0000-0000-000000000000",
    "9223372036854775807/00000000-0000-0000-0000-000000000000",
    "-9223372036854775807/ffffffff-ffff-ffff-ffff-ffffffffffff",
];

/// Tokens that were not made by anybody.
const TOKENS: &[&str] = &["x", "zz", "00", "0", "ffffffffffffffffffff", "ä", "2f2f", "deadbeef00000000", "\u{0}"];

/// The parts of descriptors that are looked at here.
mod descriptors {
    #[derive(prost::Message)]
    pub struct Files {
        #[prost(message, repeated, tag = "1")]
        pub files: Vec<File>,
    }

    #[derive(prost::Message)]
    pub struct File {
        #[prost(string, tag = "2")]
        pub package: String,
        #[prost(message, repeated, tag = "4")]
        pub messages: Vec<Message>,
        #[prost(message, repeated, tag = "6")]
        pub services: Vec<Service>,
    }

    #[derive(prost::Message)]
    pub struct Message {
        #[prost(string, tag = "1")]
        pub name: String,
        #[prost(message, repeated, tag = "2")]
        pub fields: Vec<Field>,
    }

    #[derive(prost::Message)]
    pub struct Field {
        #[prost(string, tag = "1")]
        pub name: String,
        #[prost(int32, tag = "3")]
        pub number: i32,
    }

    #[derive(prost::Message)]
    pub struct Service {
        #[prost(string, tag = "1")]
        pub name: String,
        #[prost(message, repeated, tag = "2")]
        pub methods: Vec<Method>,
    }

    #[derive(prost::Message)]
    pub struct Method {
        #[prost(string, tag = "1")]
        pub name: String,
        #[prost(string, tag = "2")]
        pub input: String,
    }
}

/// A request with a page token and nothing else, whatever its field's number is.
#[derive(prost::Message)]
struct Asked {
    #[prost(string, tag = "1")]
    first: String,
    #[prost(string, tag = "2")]
    second: String,
    #[prost(string, tag = "3")]
    third: String,
}

impl Asked {
    fn of(number: i32, token: &str) -> Self {
        let at = |own: i32| if own == number { token.to_owned() } else { String::new() };
        assert!((1..=3).contains(&number), "a page token in field {number}");
        Self { first: at(1), second: at(2), third: at(3) }
    }
}

/// The methods whose requests have a page token, and its field's number.
fn paged() -> BTreeMap<String, i32> {
    let files = descriptors::Files::decode(farmera_proto::DESCRIPTORS).expect("descriptors").files;
    let mut numbers = BTreeMap::new();
    for file in &files {
        for message in &file.messages {
            let token = message.fields.iter().find(|field| field.name == "page_token");
            numbers.extend(token.map(|token| (format!(".{}.{}", file.package, message.name), token.number)));
        }
    }
    let mut paged = BTreeMap::new();
    for file in &files {
        for service in &file.services {
            for method in &service.methods {
                let name = format!("{}.{}/{}", file.package, service.name, method.name);
                paged.extend(numbers.get(&method.input).map(|number| (name, *number)));
            }
        }
    }
    paged
}

/// Where an operator would be woken.
#[derive(Clone, Default)]
struct Errors(Arc<Mutex<Vec<String>>>);

impl Errors {
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().expect("nobody panics with it"))
    }
}

impl Subscriber for Errors {
    fn register_callsite(&self, _: &'static Metadata<'static>) -> Interest {
        Interest::always()
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() == Level::ERROR
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        let metadata = event.metadata();
        if *metadata.level() == Level::ERROR {
            let place = format!("{}:{}", metadata.file().unwrap_or_default(), metadata.line().unwrap_or_default());
            self.0.lock().expect("nobody panics with it").push(place);
        }
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

async fn ask(channel: &Channel, method: &str, number: i32, token: &str) -> Result<(), Status> {
    let mut client = tonic::client::Grpc::new(channel.clone());
    client.ready().await.expect("the service answers");
    let mut request = Request::new(Asked::of(number, token));
    request.metadata_mut().insert("x-farmera-actor", "ana".parse().expect("a name"));
    let path: PathAndQuery = format!("/{method}").parse().expect("a path");
    client.unary(request, path, ProstCodec::<Asked, ()>::default()).await.map(drop)
}

fn refuses_the_token(answer: &Result<(), Status>) -> bool {
    let Err(status) = answer else { return false };
    let details = status.get_error_details();
    let fields = details.bad_request().map(|bad| bad.field_violations.clone()).unwrap_or_default();
    status.code() == Code::InvalidArgument && fields.iter().any(|violation| violation.field == "page_token")
}

/// What is wrong with the answers of one list.
async fn faults(channel: &Channel, (method, question, key): (&str, &str, &str), number: i32) -> Vec<String> {
    let mut faults = Vec::new();
    let sound = ask(channel, method, number, &page::token(question, key)).await;
    if refuses_the_token(&sound) {
        faults.push(format!("{method}: a token of {question:?} is refused: this test knows another: {sound:?}"));
    }
    for token in TOKENS.iter().copied().map(str::to_owned).chain([page::token("another", key), "61".repeat(5_000)]) {
        let answer = ask(channel, method, number, &token).await;
        if !refuses_the_token(&answer) {
            faults.push(format!("{method}: {:?}: {answer:?}", token.chars().take(40).collect::<String>()));
        }
    }
    for key in KEYS {
        let answer = ask(channel, method, number, &page::token(question, key)).await;
        // Some of them could be somebody's, and there is nothing after them.
        let is_sound = answer.is_ok() || answer.as_ref().is_err_and(|status| status.code() == Code::NotFound);
        if !is_sound && !refuses_the_token(&answer) {
            faults.push(format!("{method}: {key:?}: {answer:?}"));
        }
    }
    faults
}

fn channels(clients: &Clients) -> Vec<Channel> {
    let at = &clients.endpoints;
    let urls = [&at.orders, &at.products, &at.payment, &at.notification];
    urls.into_iter().map(|url| farmera::clients::channel(url).expect("a URL")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_made_up_page_token_is_refused_as_such_at_every_list_and_wakes_nobody() {
    let errors = Errors::default();
    tracing::subscriber::set_global_default(errors.clone()).expect("the first to log");
    let paged = paged();
    let known: Vec<_> = LISTS.iter().map(|(method, _, _)| (*method).to_owned()).collect();
    assert_eq!(paged.keys().cloned().collect::<Vec<_>>(), known, "the lists of the contracts");

    let stack = stack().await;
    let product = catalogue(&stack.clients).await.remove(0).id;
    let order = place(&stack.clients, order_of(&product, 1, "tok_success")).await.expect("a sound order");
    end_of(&stack.clients, &order.id).await;
    errors.take();
    let mut found = Vec::new();
    for list in LISTS {
        let number = paged.get(list.0).copied().expect("a list of the contracts");
        let mut servers = 0;
        for channel in channels(&stack.clients) {
            let answer = ask(&channel, list.0, number, "").await;
            if answer.is_err_and(|status| status.code() == Code::Unimplemented) {
                continue;
            }
            servers += 1;
            found.extend(faults(&channel, *list, number).await);
            found.extend(errors.take().into_iter().map(|place| format!("{}: ERROR at {place}", list.0)));
        }
        assert!(servers > 0, "{} is served by nobody", list.0);
    }
    assert!(found.is_empty(), "{found:#?}");
    stack.stop().await;
}
