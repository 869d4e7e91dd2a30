//! What is refused is told, whole or in part: through real gRPC, to clients that take no more than the usual 16 KiB of headers.

mod support;

use farmera_proto::common::v1::Money;
use farmera_proto::orders::v1 as orders;
use farmera_proto::orders::v1::orders_query_service_client::OrdersQueryServiceClient;
use farmera_proto::products::v1 as products;
use farmera_proto::products::v1::products_query_service_client::ProductsQueryServiceClient;
use farmera_proto::saga::v1 as saga;
use farmera_proto::saga::v1::operator_service_client::OperatorServiceClient;
use farmera_proto::saga::v1::saga_query_service_client::SagaQueryServiceClient;
use support::{catalogue, id, order_of, place, stack};
use tonic::{Code, Request, Status};
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

fn reason(status: &Status) -> String {
    status.get_error_details().error_info().map(|info| info.reason.clone()).unwrap_or_default()
}

fn money(minor_units: i64, currency: &str) -> Option<Money> {
    Some(Money { currency_code: currency.to_owned(), minor_units })
}

#[tokio::test(flavor = "multi_thread")]
async fn five_hundred_bad_lines_are_refused_in_an_answer_that_arrives() {
    let stack = stack().await;
    let clients = &stack.clients;
    let bad: Vec<String> = (0..500).map(|number| format!("{number}\u{1F600}{}", "x".repeat(60))).collect();
    let mut order = order_of(&id(), 1, "tok_success");
    order.lines = bad.iter().map(|bad| orders::PlaceOrderLine { product_id: bad.clone(), quantity: 0 }).collect();
    let wish = |bad: &String| products::check_availability_request::Wish { product_id: bad.clone(), quantity: 0 };
    let asked = products::CheckAvailabilityRequest { wishes: bad.iter().map(wish).collect() };
    let products_channel = farmera::clients::channel(&clients.endpoints.products).expect("a URL");
    let orders_channel = farmera::clients::channel(&clients.endpoints.orders).expect("a URL");
    let mut catalogue = ProductsQueryServiceClient::new(products_channel);
    let mut found = OrdersQueryServiceClient::new(orders_channel.clone());
    let selection = saga::Selection { saga_ids: bad.clone(), ..Default::default() };
    let act = saga::Act { kind: saga::act::Kind::Pause.into(), ..Default::default() };
    let plan = saga::CreatePlanRequest { act: Some(act), selection: Some(selection), reason: "why".to_owned() };
    let mut plan = Request::new(plan);
    plan.metadata_mut().insert("x-farmera-actor", "ana".parse().expect("a name"));
    let answers = [
        ("PlaceOrder", clients.orders.clone().place_order(order).await.map(drop)),
        ("GetOrders", found.get_orders(orders::GetOrdersRequest { order_ids: bad.clone() }).await.map(drop)),
        ("GetProducts", catalogue.get_products(products::GetProductsRequest { product_ids: bad }).await.map(drop)),
        ("CheckAvailability", catalogue.check_availability(asked).await.map(drop)),
        ("CreatePlan", OperatorServiceClient::new(orders_channel).create_plan(plan).await.map(drop)),
    ];
    for (method, answer) in answers {
        let refused = answer.expect_err(method);
        assert_eq!(refused.code(), Code::InvalidArgument, "{method}: {refused:?}");
        let told = refused.get_error_details().bad_request().expect("violations").field_violations.clone();
        assert!(told.len() > 5, "{method} tells {}", told.len());
        let last = told.last().expect("a violation").description.clone();
        assert!(last.contains("more"), "{method} says how many more there are: {last}");
        let bytes = refused.details().len() + refused.message().len();
        assert!(bytes < 8 * 1024, "{method}: {bytes} bytes");
    }
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_id_stands_for_one_content() {
    let stack = stack().await;
    let known = catalogue(&stack.clients).await;
    let (one, other) = (&known[0], known.iter().find(|two| two.id != known[0].id).expect("two products"));
    let mut catalogue = stack.clients.products.clone();
    let delivery = |request: &str, product: &products::Product| products::AddStockRequest {
        request_id: request.to_owned(),
        product_id: product.id.clone(),
        quantity: 5,
    };
    let request = id();
    for _ in 0..2 {
        let stocked = catalogue.add_stock(delivery(&request, one)).await.expect("a delivery").into_inner();
        assert_eq!(stocked.product.expect("a product").available, one.available + 5);
    }
    let elsewhere = catalogue.add_stock(delivery(&request, other)).await.expect_err("the id is used");
    assert_eq!((elsewhere.code(), reason(&elsewhere).as_str()), (Code::AlreadyExists, "REQUEST_ID_REUSED"));
    let more = products::AddStockRequest { quantity: 6, ..delivery(&request, one) };
    let more = catalogue.add_stock(more).await.expect_err("the id is used");
    assert_eq!((more.code(), reason(&more).as_str()), (Code::AlreadyExists, "REQUEST_ID_REUSED"));
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_money_that_people_pay_with_is_taken() {
    let stack = stack().await;
    let known = catalogue(&stack.clients).await.remove(0);
    let mut catalogue = stack.clients.products.clone();
    let product = |minor_units, currency: &str| products::CreateProductRequest {
        request_id: id(),
        farm_id: known.farm_id.clone(),
        name: format!("Saffron in {currency}"),
        price: money(minor_units, currency),
    };
    for currency in ["XXX", "XTS", "XAU", "CLF", "XDR", "CHE", "HRK", "eur", "EURO"] {
        let refused = catalogue.create_product(product(100, currency)).await.expect_err(currency);
        assert_eq!(fields(&refused), ["price.currency_code"], "{currency}: {}", refused.message());
    }
    let price = products::SetPriceRequest { product_id: known.id.clone(), price: money(300, "JPY") };
    let refused = catalogue.set_price(price).await.expect_err("a product keeps its currency");
    assert_eq!((refused.code(), fields(&refused)), (Code::InvalidArgument, vec!["price.currency_code".to_owned()]));

    let dear = catalogue.create_product(product(1_000_000_000, "EUR")).await.expect("a product").into_inner();
    let dear = dear.product.expect("a product").id;
    let yen = catalogue.create_product(product(100, "JPY")).await.expect("a product").into_inner();
    let yen = yen.product.expect("a product").id;
    let refused = place(&stack.clients, order_of(&dear, 10_000, "tok_success")).await.expect_err("10^13 cents");
    assert_eq!((refused.code(), fields(&refused)), (Code::InvalidArgument, vec!["lines[0].quantity".to_owned()]));
    let mut mixed = order_of(&known.id, 1, "tok_success");
    mixed.lines.push(orders::PlaceOrderLine { product_id: yen, quantity: 1 });
    let refused = place(&stack.clients, mixed).await.expect_err("two currencies");
    assert_eq!((refused.code(), fields(&refused)), (Code::InvalidArgument, vec!["lines[1].product_id".to_owned()]));
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_amount_that_a_currency_cannot_have_is_a_mistake_in_a_query() {
    let stack = stack().await;
    let channel = farmera::clients::channel(&stack.clients.endpoints.orders).expect("a URL");
    let mut sagas = SagaQueryServiceClient::new(channel);
    let mut ask = async |query: &str| {
        let asked = saga::ListSagasRequest { query: query.to_owned(), ..Default::default() };
        sagas.list_sagas(asked).await.map(drop)
    };
    for query in ["amount > 25.5JPY", "amount = 1.234EUR", "amount < 0.5JPY"] {
        let refused = ask(query).await.expect_err(query);
        assert_eq!((refused.code(), reason(&refused).as_str()), (Code::InvalidArgument, "INVALID_QUERY"), "{query}");
    }
    for query in ["amount > 25JPY", "amount < 2.00JPY", "amount = 1.2EUR", "amount >= 0"] {
        ask(query).await.expect(query);
    }
    stack.stop().await;
}
