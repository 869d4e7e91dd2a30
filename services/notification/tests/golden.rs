//! Every released shape of the events that notification stores.

use std::path::Path;
use std::sync::Arc;

use eventstore::golden;
use money::{Currency, Money};
use notification::domain::{
    FailureNews, FarmShare, Line, News, Notification, NotificationEvent, OrderNews, StockNews, Subject,
};
use uuid::Uuid;

fn id(number: u128) -> Uuid {
    Uuid::from_u128(0x0199_0000_0000_7000_8000_0000_0000_0000 + number)
}

fn news() -> Vec<(&'static str, News)> {
    let order = || OrderNews {
        saga_id: id(9),
        order_id: id(10),
        email: "ana@example.org".to_owned(),
        farms: vec![FarmShare {
            name: "Hof Brühl".to_owned(),
            email: "hof@example.org".to_owned(),
            lines: vec![Line { name: "Eggs".to_owned(), quantity: 2 }],
        }],
        total: Money::new(500, Currency::EUR),
    };
    let failure = || FailureNews {
        order_id: id(10),
        email: "ana@example.org".to_owned(),
        reason: "OUT_OF_STOCK".to_owned(),
        message: "Eggs: 2 wanted, 1 available".to_owned(),
    };
    let stock = StockNews {
        product_id: id(20),
        product_name: "Eggs".to_owned(),
        farm_email: "hof@example.org".to_owned(),
        available: 3,
    };
    vec![
        ("", News::OrderCompleted(order())),
        ("refunded", News::OrderRefunded(order())),
        ("failed", News::OrderFailed(failure())),
        ("cancelled", News::OrderCancelled(failure())),
        ("stock_low", News::StockLow(stock)),
    ]
}

fn events() -> Vec<(&'static str, NotificationEvent)> {
    let subjects: Vec<(&str, Subject)> = news().iter().map(|(variant, news)| (*variant, news.subject())).collect();
    let delivered =
        subjects.iter().map(|(v, subject)| (*v, NotificationEvent::NotificationDelivered { subject: *subject }));
    let accepted =
        news().into_iter().map(|(v, news)| (v, NotificationEvent::NotificationAccepted { news: Arc::new(news) }));
    let mut events: Vec<_> = accepted.chain(delivered).collect();
    if let Some((_, subject)) = subjects.first() {
        let (subject, reason) = (*subject, "450 try later".to_owned());
        let failed = NotificationEvent::DeliveryTryFailed {
            subject,
            told: vec![0],
            refused: vec![1, 2],
            reason: reason.clone(),
        };
        let given_up = NotificationEvent::NotificationFailed { subject, told: Vec::new(), reason };
        events.extend([("", failed), ("", given_up)]);
    }
    events
}

#[test]
fn every_event_of_a_notification_is_read_as_it_was_released() {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden"));
    golden::check::<Notification>(folder, &events()).unwrap_or_else(|findings| panic!("{findings}"));
}
