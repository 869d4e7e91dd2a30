//! `farmera order`: a customer at the terminal.

use chassis::clock::Uuids;
use chrono::SecondsFormat;
use clap::{Args, Subcommand};
use eventstore::IdSource as _;
use farmera_proto::orders::v1 as pb;
use farmera_proto::orders::v1::order::State;
use uuid::Uuid;

use crate::addresses::Target;
use crate::catalogue;
use crate::clients::{Clients, Peer};
use crate::failure::Failure;
use crate::hint::{self, Hints};
use crate::output::{self, Format, Paint};
use crate::timeline;

/// The customer of whoever does not say which.
const CUSTOMER: Uuid = Uuid::from_u128(0x0199_f000_0000_7000_8000_6375_7374_6f6d);

/// A watch ends with the order; who waits for more asks again.
const WATCH_AGAIN_AFTER: std::time::Duration = std::time::Duration::from_millis(50);

const TOKENS: &str = "\
Payment tokens of the sandbox provider: tok_success, tok_declined, tok_insufficient_funds, tok_timeout_charged (no
answer, yet the charge happened), tok_timeout_not_charged (no answer, and none happened), tok_flaky.";

/// What can be done with orders.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Place an order.
    Place(Place),
    /// Show one order.
    Get(One),
    /// Orders, newest first.
    List(List),
    /// Follow an order until it ends.
    Watch(One),
    /// Cancel: in flight it is undone, completed it is refunded and restocked.
    Cancel(Cancel),
}

/// A new order.
#[derive(Args, Debug)]
#[command(after_help = TOKENS)]
pub struct Place {
    /// A product and a number of units; the product by id, name or a part of its name (default: one unit of the
    /// first product that is in stock).
    #[arg(long = "product", value_name = "PRODUCT[:UNITS]", value_parser = parse_wish)]
    products: Vec<(String, u32)>,
    /// The payment provider's token for the customer's card.
    #[arg(long, default_value = "tok_success")]
    token: String,
    /// Who orders.
    #[arg(long, value_name = "UUID", default_value_t = CUSTOMER, hide_default_value = true)]
    customer: Uuid,
    /// Where the customer is told.
    #[arg(long, default_value = "customer@example.org")]
    email: String,
    /// Keep it over retries: the order is placed once (default: a new one).
    #[arg(long, value_name = "UUID")]
    request_id: Option<Uuid>,
    /// Follow the order until it ends.
    #[arg(long)]
    watch: bool,
    /// The form of the answer.
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
    #[command(flatten)]
    target: Target,
}

/// One order.
#[derive(Args, Debug)]
pub struct One {
    /// Its id.
    order_id: String,
    /// The form of the answer.
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
    #[command(flatten)]
    target: Target,
}

/// Many orders.
#[derive(Args, Debug)]
pub struct List {
    /// Only this customer's.
    #[arg(long, value_name = "UUID")]
    customer: Option<Uuid>,
    /// Only orders in this state: pending, product-reserved, confirmed, completed, failed, cancelled.
    #[arg(long, value_parser = parse_state)]
    state: Option<State>,
    /// At most so many.
    #[arg(long, default_value_t = 50)]
    limit: usize,
    /// The form of the answer.
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
    #[command(flatten)]
    target: Target,
}

/// An order that shall not be.
#[derive(Args, Debug)]
pub struct Cancel {
    /// Its id.
    order_id: String,
    /// Why, for people.
    #[arg(long, default_value = "changed my mind")]
    reason: String,
    /// Follow the order until it ends.
    #[arg(long)]
    watch: bool,
    /// The form of the answer.
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
    #[command(flatten)]
    target: Target,
}

/// Does it and prints the result.
///
/// # Errors
/// [`Failure`] of the orders or products service.
pub async fn command(command: Command) -> Result<(), Failure> {
    match command {
        Command::Place(arguments) => place(arguments).await,
        Command::Get(one) => {
            let clients = Clients::connect(one.target.endpoints()?)?;
            print(&get(&clients, &one.order_id).await?, one.output);
            Ok(())
        }
        Command::List(arguments) => list(arguments).await,
        Command::Watch(one) => {
            let clients = Clients::connect(one.target.endpoints()?)?;
            follow(&clients, &one.order_id, one.output).await
        }
        Command::Cancel(arguments) => cancel(arguments).await,
    }
}

async fn place(arguments: Place) -> Result<(), Failure> {
    let clients = Clients::connect(arguments.target.endpoints()?)?;
    let lines = lines(&clients, &arguments.products).await?;
    let request_id = arguments.request_id.unwrap_or_else(|| Uuids.next_id());
    let request = pb::PlaceOrderRequest {
        request_id: request_id.to_string(),
        customer_id: arguments.customer.to_string(),
        lines,
        payment_token: arguments.token,
        email: arguments.email,
    };
    let answer = clients.ask(Peer::Orders, clients.orders.clone().place_order(request)).await?;
    let order = answer.order.unwrap_or_default();
    if arguments.watch {
        return follow(&clients, &order.id, arguments.output).await;
    }
    print(&order, arguments.output);
    Ok(())
}

/// Ids are taken as they are; only names need the catalogue.
async fn lines(clients: &Clients, wishes: &[(String, u32)]) -> Result<Vec<pb::PlaceOrderLine>, Failure> {
    let line = |product_id: &str, quantity| pb::PlaceOrderLine { product_id: product_id.to_owned(), quantity };
    if !wishes.is_empty() && wishes.iter().all(|(product, _)| product.parse::<Uuid>().is_ok()) {
        return Ok(wishes.iter().map(|(product, quantity)| line(product, *quantity)).collect());
    }
    let products = catalogue::products(clients).await?;
    if wishes.is_empty() {
        let first = products.iter().find(|product| product.active && product.available > 0);
        let first = first.ok_or_else(|| Failure::NotFound("no product is in stock".to_owned()))?;
        return Ok(vec![line(&first.id, 1)]);
    }
    let found = wishes.iter().map(|(wanted, quantity)| Ok(line(&catalogue::find(&products, wanted)?.id, *quantity)));
    found.collect()
}

/// One order, as of now.
///
/// # Errors
/// [`Failure`] of the orders service.
pub async fn get(clients: &Clients, order_id: &str) -> Result<pb::Order, Failure> {
    let request = pb::GetOrderRequest { order_id: order_id.to_owned() };
    let answer = clients.ask(Peer::Orders, clients.orders.clone().get_order(request)).await?;
    Ok(answer.order.unwrap_or_default())
}

async fn cancel(arguments: Cancel) -> Result<(), Failure> {
    let clients = Clients::connect(arguments.target.endpoints()?)?;
    let request = pb::CancelOrderRequest { order_id: arguments.order_id, reason: arguments.reason };
    let answer = clients.ask(Peer::Orders, clients.orders.clone().cancel_order(request)).await?;
    let order = answer.order.unwrap_or_default();
    if arguments.watch {
        return follow(&clients, &order.id, arguments.output).await;
    }
    print(&order, arguments.output);
    Ok(())
}

async fn list(arguments: List) -> Result<(), Failure> {
    let clients = Clients::connect(arguments.target.endpoints()?)?;
    let mut request = pb::ListOrdersRequest {
        page_size: i32::try_from(arguments.limit.clamp(1, 1_000)).unwrap_or(50),
        page_token: String::new(),
        customer_id: arguments.customer.map(|id| id.to_string()).unwrap_or_default(),
        state: arguments.state.unwrap_or(State::Unspecified).into(),
        // What was done before this was typed is in it.
        as_of_now: true,
        written_token: String::new(),
    };
    let mut answer = clients.ask(Peer::Orders, clients.orders.clone().list_orders(request.clone())).await?;
    while answer.orders.len() < arguments.limit && !answer.next_page_token.is_empty() {
        request.page_token = answer.next_page_token;
        request.as_of_now = false;
        let next = clients.ask(Peer::Orders, clients.orders.clone().list_orders(request.clone())).await?;
        answer.orders.extend(next.orders);
        answer.next_page_token = next.next_page_token;
    }
    output::tell_lag(answer.lags);
    match arguments.output {
        Format::Json => output::json(&answer),
        Format::Table => {
            let mut table = Paint::of_stdout().table(&["order", "state", "total", "placed", "why"], &[2]);
            for order in answer.orders.iter().take(arguments.limit) {
                let placed = timeline::time(order.create_time.as_ref());
                let placed = placed.map(|time| text::moment(output::local(time))).unwrap_or_default();
                let why = order.failure.as_ref().map(|failure| failure.reason.clone()).unwrap_or_default();
                let total = output::amount(order.total.as_ref());
                table.add_row([order.id.clone(), state_name(order.state()).to_owned(), total, placed, why]);
            }
            output::table(&table);
        }
    }
    Ok(())
}

/// Waits until the order is as `wanted`; gives it back as it is then. The caller sets the deadline.
///
/// # Errors
/// [`Failure`] of the orders service.
pub async fn until(
    clients: &Clients,
    order_id: &str,
    wanted: impl Fn(&pb::Order) -> bool,
) -> Result<pb::Order, Failure> {
    let mut seen_version = 0;
    loop {
        let request = pb::WatchOrderRequest { order_id: order_id.to_owned(), seen_version };
        let mut changes = clients.ask(Peer::Orders, clients.orders.clone().watch_order(request)).await?;
        loop {
            let change = changes.message().await.map_err(|status| clients.failure(Peer::Orders, &status))?;
            match change.and_then(|change| change.order) {
                Some(order) if wanted(&order) => return Ok(order),
                Some(order) => seen_version = order.version,
                // It ended otherwise, for now: a completed order may still be cancelled.
                None => break,
            }
        }
        tokio::time::sleep(WATCH_AGAIN_AFTER).await;
    }
}

/// Prints the order now and after every change, until it ends. Where nothing changes for a while, what it waits for is
/// said on stderr.
async fn follow(clients: &Clients, order_id: &str, format: Format) -> Result<(), Failure> {
    let request = pb::WatchOrderRequest { order_id: order_id.to_owned(), seen_version: 0 };
    let mut changes = clients.ask(Peer::Orders, clients.orders.clone().watch_order(request)).await?;
    let (mut hints, mut last) = (Hints::default(), None);
    loop {
        let Ok(change) = tokio::time::timeout(hint::AFTER, changes.message()).await else {
            if let Some(order) = &last {
                hints.look(clients, order).await;
            }
            continue;
        };
        let change = change.map_err(|status| clients.failure(Peer::Orders, &status))?;
        let Some(order) = change.and_then(|change| change.order) else { return Ok(()) };
        let order = last.insert(order);
        match format {
            Format::Json => output::json_line(order),
            Format::Table => output::line(summary(order, Paint::of_stdout())),
        }
    }
}

fn summary(order: &pb::Order, paint: Paint) -> String {
    let time = timeline::time(order.update_time.as_ref());
    let time = time.map(|time| output::local(time).to_rfc3339_opts(SecondsFormat::Millis, true)).unwrap_or_default();
    let why = order.failure.as_ref().map(|failure| format!("  {}: {}", failure.reason, failure.message));
    format!(
        "{}  {}  {:<16}  {}{}",
        paint.faint(&time),
        order.id,
        state_name(order.state()),
        output::amount(order.total.as_ref()),
        why.unwrap_or_default()
    )
}

fn print(order: &pb::Order, format: Format) {
    if format == Format::Json {
        return output::json(order);
    }
    let paint = Paint::of_stdout();
    output::line(summary(order, paint));
    let mut table = paint.table(&["product", "units", "price"], &[1, 2]);
    for line in &order.lines {
        let price = output::amount(line.unit_price.as_ref());
        table.add_row([line.product_name.clone(), line.quantity.to_string(), price]);
    }
    output::table(&table);
    output::line(format!("sagas: {} {}", order.saga_id, order.cancel_saga_id).trim_end());
}

/// An order's state as people write it.
#[must_use]
pub fn state_name(state: State) -> &'static str {
    match state {
        State::Unspecified => "unknown",
        State::Pending => "pending",
        State::ProductReserved => "product-reserved",
        State::Confirmed => "confirmed",
        State::Completed => "completed",
        State::Failed => "failed",
        State::Cancelled => "cancelled",
    }
}

/// True when nothing more happens to an order by itself.
#[must_use]
pub fn has_ended(state: State) -> bool {
    match state {
        State::Completed | State::Failed | State::Cancelled => true,
        State::Unspecified | State::Pending | State::ProductReserved | State::Confirmed => false,
    }
}

fn parse_state(text: &str) -> Result<State, String> {
    State::from_str_name(&format!("STATE_{}", text.to_uppercase().replace('-', "_")))
        .filter(|state| *state != State::Unspecified)
        .ok_or_else(|| "expected pending, product-reserved, confirmed, completed, failed or cancelled".to_owned())
}

/// `honey:2`; without a number it is one unit. The services judge the number.
fn parse_wish(text: &str) -> Result<(String, u32), String> {
    let (product, units) = text.rsplit_once(':').unwrap_or((text, "1"));
    let units = units.parse().map_err(|_| format!("{units:?} is no number of units"))?;
    Ok((product.to_owned(), units))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wish_is_a_product_and_a_number_of_units() {
        assert_eq!(parse_wish("honey:2").unwrap(), ("honey".to_owned(), 2));
        assert_eq!(parse_wish("goat cheese").unwrap(), ("goat cheese".to_owned(), 1));
        assert!(parse_wish("honey:many").is_err());
    }

    #[test]
    fn a_state_is_written_as_it_is_shown() {
        assert_eq!(parse_state("product-reserved"), Ok(State::ProductReserved));
        assert!(parse_state("unspecified").is_err());
    }
}
