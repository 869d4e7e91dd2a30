//! `farmera product`: the catalogue.

use chassis::clock::Uuids;
use clap::Subcommand;
use eventstore::{IdSource as _, derived_id};
use farmera_proto::common::v1::Money;
use farmera_proto::products::v1 as pb;
use uuid::Uuid;

use crate::addresses::Target;
use crate::catalogue;
use crate::clients::{Clients, Peer};
use crate::failure::Failure;
use crate::output::{self, Format, Paint};

/// What can be done to the catalogue.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List a new product.
    Add(Add),
    /// Add units to a product's stock.
    Stock(Stock),
    /// The catalogue with its stock.
    List(List),
}

/// A new product.
#[derive(Debug, clap::Args)]
pub struct Add {
    /// Its name, 1 to 120 characters.
    name: String,
    /// The price of one unit: 3.90.
    #[arg(long, value_name = "AMOUNT")]
    price: String,
    /// The price's currency, ISO 4217.
    #[arg(long, default_value = "EUR", value_name = "CODE")]
    currency: String,
    /// The farm that sells it: its id, or the name of a farm in the catalogue; with --farm-email a new farm's name.
    #[arg(long, value_name = "FARM")]
    farm: String,
    /// Register a new farm with this address.
    #[arg(long, value_name = "EMAIL")]
    farm_email: Option<String>,
    /// Units in stock.
    #[arg(long, default_value_t = 0, value_name = "UNITS")]
    stock: u64,
    /// Keep it over retries: the product is added once (default: a new one).
    #[arg(long, value_name = "UUID")]
    request_id: Option<Uuid>,
    /// The form of the answer.
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
    #[command(flatten)]
    target: Target,
}

/// More of a product.
#[derive(Debug, clap::Args)]
pub struct Stock {
    /// The product: its id, its name, or a part of its name.
    product: String,
    /// How many units to add.
    units: u64,
    /// Keep it over retries: the units are added once (default: a new one).
    #[arg(long, value_name = "UUID")]
    request_id: Option<Uuid>,
    /// The form of the answer.
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
    #[command(flatten)]
    target: Target,
}

/// The catalogue.
#[derive(Debug, clap::Args)]
pub struct List {
    /// The form of the answer.
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
    #[command(flatten)]
    target: Target,
}

/// Does it and prints the result.
///
/// # Errors
/// [`Failure`] of the products service.
pub async fn command(command: Command) -> Result<(), Failure> {
    match command {
        Command::Add(arguments) => add(arguments).await,
        Command::Stock(arguments) => stock(arguments).await,
        Command::List(arguments) => {
            let clients = Clients::connect(arguments.target.endpoints()?)?;
            let products = catalogue::products(&clients).await?;
            print(products, arguments.output);
            Ok(())
        }
    }
}

async fn add(arguments: Add) -> Result<(), Failure> {
    let price = parse_price(&arguments.price, &arguments.currency)?;
    let clients = Clients::connect(arguments.target.endpoints()?)?;
    let request_id = arguments.request_id.unwrap_or_else(|| Uuids.next_id());
    let farm_id = match &arguments.farm_email {
        Some(email) => catalogue::create_farm(&clients, derived_id(request_id, "farm"), &arguments.farm, email).await?,
        None => find_farm(&clients, &arguments.farm).await?,
    };
    let mut product = catalogue::create_product(&clients, request_id, &farm_id, &arguments.name, price).await?;
    if arguments.stock > 0 {
        let request_id = derived_id(request_id, "stock");
        product = catalogue::add_stock(&clients, request_id, &product.id, arguments.stock).await?;
    }
    print(vec![product], arguments.output);
    Ok(())
}

async fn find_farm(clients: &Clients, farm: &str) -> Result<String, Failure> {
    if farm.parse::<Uuid>().is_ok() {
        return Ok(farm.to_owned());
    }
    let products = catalogue::products(clients).await?;
    let folded = farm.to_lowercase();
    let known = products.into_iter().find(|product| product.farm_name.to_lowercase() == folded);
    known.map(|product| product.farm_id).ok_or_else(|| {
        Failure::NotFound(format!(
            "no product is sold by a farm {farm:?}; register it with --farm-email, or give its id"
        ))
    })
}

async fn stock(arguments: Stock) -> Result<(), Failure> {
    let clients = Clients::connect(arguments.target.endpoints()?)?;
    let product_id = match arguments.product.parse::<Uuid>() {
        Ok(id) => id.to_string(),
        Err(_) => catalogue::find(&catalogue::products(&clients).await?, &arguments.product)?.id.clone(),
    };
    let request_id = arguments.request_id.unwrap_or_else(|| Uuids.next_id());
    let request = pb::AddStockRequest { request_id: request_id.to_string(), product_id, quantity: arguments.units };
    let answer = clients.ask(Peer::Products, clients.products.clone().add_stock(request)).await?;
    print(answer.product.into_iter().collect(), arguments.output);
    Ok(())
}

fn print(products: Vec<pb::Product>, format: Format) {
    match format {
        Format::Json => output::json(&pb::ListProductsResponse { products, next_page_token: String::new() }),
        Format::Table => {
            let headings = ["product", "farm", "price", "available", "reserved", "shipped", "id"];
            let mut table = Paint::of_stdout().table(&headings, &[2, 3, 4, 5]);
            for product in products {
                let [available, reserved, shipped] =
                    [product.available, product.reserved, product.shipped].map(output::grouped);
                let name = if product.active { product.name } else { format!("{} (closed)", product.name) };
                let price = output::amount(product.price.as_ref());
                table.add_row([name, product.farm_name, price, available, reserved, shipped, product.id]);
            }
            output::table(&table);
        }
    }
}

/// `3.90` and `EUR` is 390 minor units; never by way of a float.
fn parse_price(text: &str, code: &str) -> Result<Money, Failure> {
    let wrong =
        || Failure::Setup(format!("--price is {text:?}: expected an amount such as 3.90 in a known --currency"));
    let currency = money::Currency::from_code(code).ok_or_else(wrong)?;
    let digits = currency.exponent() as usize;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let plain = |part: &str| part.chars().all(|letter| letter.is_ascii_digit());
    if whole.is_empty() || fraction.len() > digits || !plain(whole) || !plain(fraction) {
        return Err(wrong());
    }
    let minor_units = format!("{whole}{fraction:0<digits$}").parse().map_err(|_| wrong())?;
    Ok(Money { currency_code: code.to_owned(), minor_units })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_price_is_read_exactly() {
        let minor = |text, code| parse_price(text, code).map(|money| money.minor_units).ok();
        assert_eq!(minor("3.9", "EUR"), Some(390));
        assert_eq!(minor("12", "EUR"), Some(1_200));
        assert_eq!(minor("1250", "JPY"), Some(1_250));
        assert_eq!(minor("12.5", "JPY"), None);
        assert_eq!(minor("3.999", "EUR"), None);
        assert_eq!(minor("-1", "EUR"), None);
        assert_eq!(minor("1", "euro"), None);
    }
}
