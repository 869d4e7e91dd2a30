//! Participants' ledgers, asked for a page at a time.

use std::collections::HashMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use farmera_proto::payment::v1 as payment;
use farmera_proto::payment::v1::payment_query_service_client::PaymentQueryServiceClient;
use farmera_proto::products::v1 as products;
use farmera_proto::products::v1::products_query_service_client::ProductsQueryServiceClient;
use products::ledger_entry::Kind;
use tokio::time::timeout;
use tonic::Status;
use tonic::transport::Channel;
use uuid::Uuid;

/// Rows of a page.
const PAGE: i32 = 1_000;
/// A page may take this long.
const DEADLINE: Duration = Duration::from_secs(10);
/// Pages of one ledger at most: ten million rows.
const PAGES_MAX: usize = 10_000;

/// A payment that holds money, or has taken some.
#[derive(Clone, Debug, PartialEq)]
pub struct HeldPayment {
    /// The payment.
    pub id: String,
    /// Its order.
    pub order_id: Uuid,
    /// Where it stands.
    pub state: payment::payment::State,
    /// How much, minor units.
    pub amount: i64,
    /// Of this currency.
    pub currency: String,
    /// Since when.
    pub since: Option<DateTime<Utc>>,
}

/// A reservation that holds goods.
#[derive(Clone, Debug, PartialEq)]
pub struct HeldGoods {
    /// The reservation.
    pub id: String,
    /// Its order.
    pub order_id: Uuid,
    /// How many units.
    pub units: i64,
    /// Since when.
    pub since: Option<DateTime<Utc>>,
}

/// The reservations that hold goods, and how many there are in all.
#[derive(Clone, Debug, PartialEq)]
pub struct Reservations {
    /// Those that hold goods.
    pub held: Vec<HeldGoods>,
    /// All that were looked at.
    pub looked_at: u64,
}

/// Asks participants for their ledgers.
#[derive(Clone)]
pub struct Ledgers {
    payment: PaymentQueryServiceClient<Channel>,
    products: ProductsQueryServiceClient<Channel>,
}

impl Ledgers {
    /// Over these channels.
    #[must_use]
    pub fn new(payment: Channel, products: Channel) -> Self {
        let bytes_max = chassis::grpc::MESSAGE_BYTES_MAX;
        Self {
            payment: PaymentQueryServiceClient::new(payment).max_decoding_message_size(bytes_max),
            products: ProductsQueryServiceClient::new(products).max_decoding_message_size(bytes_max),
        }
    }

    /// The payments that hold money, or have taken some.
    ///
    /// # Errors
    /// Whatever payment answers, or DEADLINE_EXCEEDED.
    pub async fn payments(&self) -> Result<Vec<HeldPayment>, Status> {
        let (mut client, mut page_token, mut found) = (self.payment.clone(), String::new(), Vec::new());
        for _ in 0..PAGES_MAX {
            let asked = client.list_ledger(payment::ListLedgerRequest { page_size: PAGE, page_token });
            let page = timeout(DEADLINE, asked).await.map_err(|_| late())??.into_inner();
            found.extend(page.payments.into_iter().filter_map(held_payment));
            page_token = page.next_page_token;
            if page_token.is_empty() {
                break;
            }
        }
        Ok(found)
    }

    /// The reservations that hold goods.
    ///
    /// # Errors
    /// Whatever products answers, or DEADLINE_EXCEEDED.
    pub async fn reservations(&self) -> Result<Reservations, Status> {
        let (mut client, mut page_token) = (self.products.clone(), String::new());
        let mut held: HashMap<String, HeldGoods> = HashMap::new();
        let mut looked_at = 0;
        for _ in 0..PAGES_MAX {
            let asked = client.list_ledger(products::ListLedgerRequest { page_size: PAGE, page_token });
            let page = timeout(DEADLINE, asked).await.map_err(|_| late())??.into_inner();
            for entry in page.entries {
                looked_at += u64::from(matches!(entry.kind(), Kind::Reserved | Kind::Rejected));
                note(&mut held, entry);
            }
            page_token = page.next_page_token;
            if page_token.is_empty() {
                break;
            }
        }
        Ok(Reservations { held: held.into_values().collect(), looked_at })
    }
}

/// In the order of the log: what was reserved is held until it is released or has left.
fn note(held: &mut HashMap<String, HeldGoods>, entry: products::LedgerEntry) {
    match entry.kind() {
        Kind::Reserved => {
            let Ok(order_id) = entry.order_id.parse() else { return };
            let goods = HeldGoods {
                id: entry.reservation_id.clone(),
                order_id,
                units: i64::try_from(entry.units).unwrap_or(i64::MAX),
                since: entry.time.as_ref().and_then(time),
            };
            held.insert(entry.reservation_id, goods);
        }
        Kind::Released | Kind::Committed | Kind::Restocked | Kind::Rejected => {
            held.remove(&entry.reservation_id);
        }
        Kind::Unspecified => {}
    }
}

fn held_payment(payment: payment::Payment) -> Option<HeldPayment> {
    use payment::payment::State;
    let state = payment.state();
    match state {
        State::Authorized | State::Capturing | State::Captured => {}
        State::Unspecified
        | State::Authorizing
        | State::Declined
        | State::Voiding
        | State::Voided
        | State::Refunding
        | State::Refunded => return None,
    }
    let amount = payment.amount.unwrap_or_default();
    Some(HeldPayment {
        id: payment.id,
        order_id: payment.order_id.parse().ok()?,
        state,
        amount: amount.minor_units,
        currency: amount.currency_code,
        since: payment.update_time.as_ref().and_then(time),
    })
}

fn time(time: &pbjson_types::Timestamp) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp(time.seconds, u32::try_from(time.nanos).ok()?)
}

fn late() -> Status {
    Status::deadline_exceeded("no answer in time")
}
