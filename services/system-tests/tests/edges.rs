//! What comes in at the edges: texts that are what they look like, through real gRPC.

#![expect(clippy::expect_used, reason = "a test fails by panicking")]

mod support;

use farmera::clients::Clients;
use farmera_proto::common::v1::Money;
use farmera_proto::orders::v1 as orders;
use farmera_proto::products::v1 as products;
use farmera_proto::saga::v1 as saga;
use farmera_proto::saga::v1::operator_service_client::OperatorServiceClient;
use support::{catalogue, id, order_of, place, stack};
use tonic::{Code, Request, Status};
use tonic_reflection::pb::v1alpha as reflection;
use tonic_reflection::pb::v1alpha::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1alpha::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1alpha::server_reflection_response::MessageResponse;
use tonic_types::StatusExt as _;

fn fields(status: &Status) -> Vec<String> {
    let details = status.get_error_details();
    details
        .bad_request()
        .map(|bad| bad.field_violations.clone())
        .unwrap_or_default()
        .into_iter()
        .map(|v| v.field)
        .collect()
}

fn farm(name: &str, email: &str) -> products::CreateFarmRequest {
    products::CreateFarmRequest { request_id: id(), name: name.to_owned(), email: email.to_owned() }
}

fn product(farm_id: &str, name: &str, minor_units: i64, currency: &str) -> products::CreateProductRequest {
    let price = Some(Money { currency_code: currency.to_owned(), minor_units });
    products::CreateProductRequest { request_id: id(), farm_id: farm_id.to_owned(), name: name.to_owned(), price }
}

/// Tries `text` wherever people write what others read; says who took it.
async fn takers_of(clients: &Clients, text: &str) -> Vec<&'static str> {
    let known = catalogue(clients).await.remove(0);
    let order = place(clients, order_of(&known.id, 1, "tok_success")).await.expect("a sound order");
    let mut operator = OperatorServiceClient::new(farmera::clients::channel(&clients.endpoints.orders).expect("a URL"));
    let mut plan = Request::new(saga::CreatePlanRequest { reason: text.to_owned(), ..Default::default() });
    plan.metadata_mut().insert("x-farmera-actor", "ana".parse().expect("a name"));
    let cancel = orders::CancelOrderRequest { order_id: order.id, reason: text.to_owned() };
    let mut catalogue = clients.products.clone();
    let answers = [
        ("farm", "name", catalogue.create_farm(farm(text, "a@farm.example")).await.map(drop)),
        ("product", "name", catalogue.create_product(product(&known.farm_id, text, 100, "EUR")).await.map(drop)),
        ("cancel", "reason", clients.orders.clone().cancel_order(cancel).await.map(drop)),
        ("plan", "reason", operator.create_plan(plan).await.map(drop)),
    ];
    let took = |(who, field, answer): (&'static str, &str, Result<(), Status>)| match answer {
        Err(status) if status.code() == Code::InvalidArgument && fields(&status) == [field] => None,
        Err(_) | Ok(()) => Some(who),
    };
    answers.into_iter().filter_map(took).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_that_nobody_sees_or_that_lies_is_taken_nowhere() {
    let stack = stack().await;
    let hidden = [
        "\u{200b}",
        "\u{feff}",
        "Eggs \u{202e}sggE",
        "Eggs \u{2066}x\u{2069}",
        "Eggs\u{2028}Milk",
        "Eg\u{ad}gs",
        "\u{3164}",
        "\u{2800}",
        "Eggs\u{1b}[2J",
        "Eggs\u{e0041}",
        "Eggs \u{e000}",
    ];
    for text in hidden {
        assert_eq!(takers_of(&stack.clients, text).await, Vec::<&str>::new(), "{text:?}");
    }
    // A reason may quote what a name must not be.
    let mixed = takers_of(&stack.clients, "Sunny F\u{430}rm").await;
    assert_eq!(mixed, ["cancel", "plan"]);
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_is_stored_as_one_form_of_what_was_written() {
    let stack = stack().await;
    let mut catalogue = stack.clients.products.clone();
    let made = catalogue.create_farm(farm(" Ka\u{308}se\u{a0}\u{a0}Hof ", "a@farm.example")).await;
    assert_eq!(made.expect("a sound name").into_inner().farm.expect("a farm").name, "K\u{e4}se Hof");
    stack.stop().await;
}

/// What a loose rule takes for an address, and no mail reaches.
const NO_ADDRESSES: [&str; 8] = [
    "a..b@example.org",
    ".a@example.org",
    "a@-example.org",
    "a@exa_mple.org",
    "a,b@example.org",
    "<a@example.org>",
    "ana@b\u{fc}cher.example",
    "a\u{202e}b@example.org",
];

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_no_mail_can_be_sent_to_is_taken_from_nobody() {
    let stack = stack().await;
    let product = catalogue(&stack.clients).await.remove(0).id;
    for address in NO_ADDRESSES {
        let mut order = order_of(&product, 1, "tok_success");
        order.email = address.to_owned();
        let as_customer = place(&stack.clients, order).await.map(drop);
        let as_farm = stack.clients.products.clone().create_farm(farm("Sunny", address)).await.map(drop);
        for answer in [as_customer, as_farm] {
            let refused = answer.expect_err(address);
            assert_eq!(
                (refused.code(), fields(&refused)),
                (Code::InvalidArgument, vec!["email".to_owned()]),
                "{address}"
            );
        }
    }
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tools_that_ask_by_the_old_name_of_reflection_find_every_service() {
    let stack = stack().await;
    let channel = farmera::clients::channel(&stack.clients.endpoints.orders).expect("a URL");
    let asked = reflection::ServerReflectionRequest {
        message_request: Some(MessageRequest::ListServices(String::new())),
        ..Default::default()
    };
    let answers = ServerReflectionClient::new(channel).server_reflection_info(futures::stream::iter([asked])).await;
    let answer = answers.expect("a stream").into_inner().message().await.expect("an answer").expect("one answer");
    let Some(MessageResponse::ListServicesResponse(list)) = answer.message_response else { panic!("{answer:?}") };
    let names: Vec<_> = list.service.into_iter().map(|service| service.name).collect();
    assert!(names.iter().any(|name| name == "farmera.orders.v1.OrdersService"), "{names:?}");
    stack.stop().await;
}
