//! The small catalogue that `farmera up` starts with: 3 farms, 20 products.
//!
//! It goes in through the edge like everything else. Its request ids are always the same, so that putting it in again
//! changes nothing.

use eventstore::derived_id;
use farmera_proto::common::v1::Money;
use farmera_proto::products::v1 as pb;
use futures::future::try_join_all;
use uuid::Uuid;

use crate::clients::{Clients, Peer};
use crate::failure::Failure;
use crate::output;

/// The parent of the catalogue's request ids.
const REQUESTS: Uuid = Uuid::from_u128(0x0199_f000_0000_7000_8000_6661_726d_6572);

struct Farm {
    name: &'static str,
    email: &'static str,
    goods: &'static [Good],
}

struct Good {
    name: &'static str,
    price_cents: i64,
    stock: u64,
}

const fn good(name: &'static str, price_cents: i64, stock: u64) -> Good {
    Good { name, price_cents, stock }
}

static FARMS: [Farm; 3] = [
    Farm {
        name: "Sonnenfeld Market Garden",
        email: "orders@sonnenfeld.example",
        goods: &[
            good("Waxy potatoes, 2 kg", 390, 800),
            good("Carrots with greens, bunch", 240, 600),
            good("Beetroot, 1 kg", 280, 400),
            good("Red onions, 1 kg", 260, 500),
            good("Garlic, three bulbs", 290, 300),
            good("Lacinato kale, 500 g", 320, 250),
            good("Butternut squash", 380, 200),
        ],
    },
    Farm {
        name: "Lindenau Orchard",
        email: "hello@lindenau.example",
        goods: &[
            good("Topaz apples, 2 kg", 580, 700),
            good("Conference pears, 1 kg", 420, 350),
            good("Cloudy apple juice, 1 l", 360, 480),
            good("Cider vinegar, 0.5 l", 490, 240),
            good("Walnuts in the shell, 500 g", 650, 180),
            good("Linden honey, 500 g", 890, 160),
            good("Plum jam, 340 g", 450, 220),
        ],
    },
    Farm {
        name: "Rosental Dairy",
        email: "dairy@rosental.example",
        goods: &[
            good("Whole milk, 1 l", 195, 900),
            good("Yoghurt, 500 g", 285, 420),
            good("Butter, 250 g", 440, 380),
            good("Mountain cheese aged 12 months, 300 g", 960, 60),
            good("Goat cheese, 150 g", 520, 140),
            good("Free-range eggs, ten", 480, 500),
        ],
    },
];

/// Puts the catalogue in.
///
/// # Errors
/// [`Failure`] of the products service.
pub async fn seed(clients: &Clients) -> Result<(), Failure> {
    try_join_all(FARMS.iter().map(|farm| seed_farm(clients, farm))).await?;
    Ok(())
}

async fn seed_farm(clients: &Clients, farm: &Farm) -> Result<(), Failure> {
    let request_id = derived_id(REQUESTS, &format!("farm {}", farm.name));
    let farm_id = create_farm(clients, request_id, farm.name, farm.email).await?;
    try_join_all(farm.goods.iter().map(|good| seed_good(clients, &farm_id, good))).await?;
    Ok(())
}

async fn seed_good(clients: &Clients, farm_id: &str, good: &Good) -> Result<(), Failure> {
    let request_id = derived_id(REQUESTS, &format!("product {}", good.name));
    let price = Money { currency_code: "EUR".to_owned(), minor_units: good.price_cents };
    let product = create_product(clients, request_id, farm_id, good.name, price).await?;
    let request_id = derived_id(REQUESTS, &format!("stock {}", good.name));
    add_stock(clients, request_id, &product.id, good.stock).await?;
    Ok(())
}

/// Registers a farm; its id.
///
/// # Errors
/// [`Failure`] of the products service.
pub async fn create_farm(clients: &Clients, request_id: Uuid, name: &str, email: &str) -> Result<String, Failure> {
    let request =
        pb::CreateFarmRequest { request_id: request_id.to_string(), name: name.to_owned(), email: email.to_owned() };
    let answer = clients.ask(Peer::Products, clients.products.clone().create_farm(request)).await?;
    Ok(answer.farm.unwrap_or_default().id)
}

/// Lists a product.
///
/// # Errors
/// [`Failure`] of the products service.
pub async fn create_product(
    clients: &Clients,
    request_id: Uuid,
    farm_id: &str,
    name: &str,
    price: Money,
) -> Result<pb::Product, Failure> {
    let request = pb::CreateProductRequest {
        request_id: request_id.to_string(),
        farm_id: farm_id.to_owned(),
        name: name.to_owned(),
        price: Some(price),
    };
    let answer = clients.ask(Peer::Products, clients.products.clone().create_product(request)).await?;
    Ok(answer.product.unwrap_or_default())
}

/// Adds units to a product's stock.
///
/// # Errors
/// [`Failure`] of the products service.
pub async fn add_stock(
    clients: &Clients,
    request_id: Uuid,
    product_id: &str,
    quantity: u64,
) -> Result<pb::Product, Failure> {
    let product_id = product_id.to_owned();
    let request = pb::AddStockRequest { request_id: request_id.to_string(), product_id, quantity };
    let answer = clients.ask(Peer::Products, clients.products.clone().add_stock(request)).await?;
    Ok(answer.product.unwrap_or_default())
}

/// Every product.
///
/// # Errors
/// [`Failure`] of the products service.
pub async fn products(clients: &Clients) -> Result<Vec<pb::Product>, Failure> {
    let mut all = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = pb::ListProductsRequest { page_size: 1_000, page_token };
        let page = clients.ask(Peer::Products, clients.products.clone().list_products(request)).await?;
        all.extend(page.products);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return Ok(all);
        }
    }
}

/// Candidates that are named when several products are meant.
const NAMED_MAX: usize = 5;

/// The product meant by an id, a name, whole words of a name, or a part of one: the first of these that any product has.
///
/// # Errors
/// [`Failure::NotFound`] when none is meant, [`Failure::Failed`] with the candidates when several are: two farms may sell
/// under one name, at two prices.
pub fn find<'a>(products: &'a [pb::Product], wanted: &str) -> Result<&'a pb::Product, Failure> {
    let folded = wanted.trim().to_lowercase();
    if let Some(product) = products.iter().find(|product| product.id == folded) {
        return Ok(product);
    }
    let called: [fn(&str, &str) -> bool; 3] =
        [|name, wanted| name == wanted, has_words, |name, part| name.contains(part)];
    for fits in called {
        let meant: Vec<_> = products.iter().filter(|product| fits(&product.name.to_lowercase(), &folded)).collect();
        match meant.as_slice() {
            [] => {}
            [product] => return Ok(product),
            several => return Err(Failure::Failed(which_of(wanted, several))),
        }
    }
    Err(Failure::NotFound(format!("no product is called {wanted:?}; see `farmera product list`")))
}

fn which_of(wanted: &str, several: &[&pb::Product]) -> String {
    let mut lines = vec![format!("{wanted:?} may be {} products; say more of the name, or the id:", several.len())];
    lines.extend(several.iter().take(NAMED_MAX).map(|product| {
        let (name, farm) = (text::shown(&product.name), text::shown(&product.farm_name));
        format!("  {}  {name}, {}, {farm}", product.id, output::amount(product.price.as_ref()))
    }));
    if several.len() > NAMED_MAX {
        lines.push(format!("  and {} more: see `farmera product list`", several.len() - NAMED_MAX));
    }
    lines.join("\n")
}

/// True when `words` stand in `name`, not in the middle of a longer word.
fn has_words(name: &str, words: &str) -> bool {
    let is_inside = |letter: Option<char>| letter.is_some_and(char::is_alphanumeric);
    name.match_indices(words).any(|(start, _)| {
        let (before, rest) = name.split_at(start);
        let after = rest.get(words.len()..).and_then(|rest| rest.chars().next());
        !is_inside(before.chars().next_back()) && !is_inside(after)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_farms_sell_twenty_products() {
        assert_eq!(FARMS.iter().map(|farm| farm.goods.len()).sum::<usize>(), 20);
    }

    #[test]
    fn a_whole_word_is_meant_before_a_part_of_one() {
        let named =
            |name: &str| pb::Product { id: name.len().to_string(), name: name.to_owned(), ..Default::default() };
        let products = [named("Butternut squash"), named("Butter, 250 g")];
        assert_eq!(find(&products, "butter").unwrap().name, "Butter, 250 g");
        assert_eq!(find(&products, "butternut").unwrap().name, "Butternut squash");
        assert_eq!(find(&products, "squa").unwrap().name, "Butternut squash");
    }

    #[test]
    fn a_part_of_a_name_is_enough_when_only_one_product_has_it() {
        let named =
            |name: &str| pb::Product { id: name.len().to_string(), name: name.to_owned(), ..Default::default() };
        let products = [named("Goat cheese"), named("Mountain cheese"), named("Kale")];
        assert_eq!(find(&products, "GOAT").unwrap().name, "Goat cheese");
        assert_eq!(find(&products, "4").unwrap().name, "Kale");
        assert!(matches!(find(&products, "cheese"), Err(Failure::Failed(_))));
        assert!(matches!(find(&products, "milk"), Err(Failure::NotFound(_))));
    }

    #[test]
    fn two_products_of_one_name_are_told_apart_by_price_and_farm_and_none_of_them_is_taken() {
        let twin = |id: &str, minor_units, farm: &str| pb::Product {
            id: id.to_owned(),
            name: "Twin pears".to_owned(),
            farm_name: farm.to_owned(),
            price: Some(Money { currency_code: "EUR".to_owned(), minor_units }),
            ..Default::default()
        };
        let products = [twin("a1", 900, "Upper farm"), twin("b2", 195, "Lower farm")];
        let Err(Failure::Failed(told)) = find(&products, "Twin Pears") else { unreachable!("one of them was taken") };
        for part in ["2 products", "a1", "b2", "9.00", "1.95", "Upper farm", "Lower farm"] {
            assert!(told.contains(part), "{part}: {told}");
        }
        assert_eq!(find(&products, "b2").unwrap().farm_name, "Lower farm");
    }
}
