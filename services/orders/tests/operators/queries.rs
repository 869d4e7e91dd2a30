//! What queries of customers, texts and times find.

use orders::operations::query::parse;
use orders::projections::sagas::{Order, Page};
use orders::sagas::{AUTHORIZE_PAYMENT, RESERVE_INVENTORY};
use saga::Outcome;

use crate::support::Market;

/// How many sagas a list and a count of them say there are.
async fn found(market: &Market, query: &str) -> (usize, usize) {
    let asked = parse(query).unwrap();
    let mut page = Page { order: Order::Oldest, after: None, size: 7_000 };
    let mut listed = 0;
    loop {
        let (rows, has_more) = market.sagas().find(&asked, page, market.clock.now()).await.unwrap();
        page.after = rows.last().map(|row| (row.key, row.saga_id));
        listed += rows.len();
        if !has_more {
            break;
        }
    }
    let counted = market.sagas().count(&asked, market.clock.now()).await.unwrap();
    (listed, counted.0.iter().map(|group| usize::try_from(group.count).unwrap()).sum())
}

/// The database folds as the program does, whatever its locale is.
#[tokio::test(flavor = "multi_thread")]
async fn a_part_of_an_error_is_found_in_every_case_and_script() {
    let market = Market::open().await;
    let errors = ["PROVIDER_DOWN: Ärger bei Müller", "PROVIDER_DOWN: ΛΆΘΟΣ, 5 K", "PROVIDER_DOWN: İstanbul 10\u{212a}"];
    for error in errors {
        let saga = market.place(1, 1_000).await;
        market.done(saga, RESERVE_INVENTORY).await;
        market.reply(saga, AUTHORIZE_PAYMENT, Outcome::Unknown(error.to_owned())).await;
    }
    market.project(10).await;
    for (part, expected) in [
        ("Ä", 1),
        ("ä", 1),
        ("ärger BEI mÜLLER", 1),
        ("down", 3),
        ("λάθος", 1),
        ("5 k", 1),
        ("10k", 0),
        ("İSTANBUL", 1),
        ("istanbul", 0),
        ("ö", 0),
    ] {
        for query in [format!("error ~ '{part}'"), format!("error ~ '{part}' and state = RUNNING")] {
            assert_eq!(found(&market, &query).await, (expected, expected), "{query}");
        }
    }
}
