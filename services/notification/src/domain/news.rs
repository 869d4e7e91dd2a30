use money::Money;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// What kind of thing there is to tell.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The order is on its way.
    OrderCompleted,
    /// The money is on its way back.
    OrderRefunded,
    /// The order was not possible.
    OrderFailed,
    /// The order was undone before it was completed.
    OrderCancelled,
    /// A product runs out.
    StockLow,
}

impl Kind {
    /// The name, as in the contracts; also the label of the notification's derived id. Never changes.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OrderCompleted => "order_completed",
            Self::OrderRefunded => "order_refunded",
            Self::OrderFailed => "order_failed",
            Self::OrderCancelled => "order_cancelled",
            Self::StockLow => "stock_low",
        }
    }
}

/// What a notification is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Subject {
    /// The order, or the product for stock notices.
    pub id: Uuid,
    /// What there is to tell of it.
    pub kind: Kind,
}

/// Something to tell, with everything the letters need. Texts hold no control characters: see `messages`.
///
/// Each recipient gets a letter of its own. Recipients are numbered from 0, in an order that follows from the news
/// alone: the customer first, then the farms.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum News {
    /// The order is on its way: to the customer, and to every farm its lines.
    OrderCompleted(OrderNews),
    /// The money is on its way back and the goods stay: to the customer and the farms.
    OrderRefunded(OrderNews),
    /// The order was not possible: to the customer.
    OrderFailed(FailureNews),
    /// The order was undone before it was completed: to the customer.
    OrderCancelled(FailureNews),
    /// A product runs out: to its farm.
    StockLow(StockNews),
}

/// News that a saga asked for.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct OrderNews {
    /// The saga that is to be answered.
    pub saga_id: Uuid,
    /// The order.
    pub order_id: Uuid,
    /// The customer's address.
    pub email: String,
    /// What comes from where; every farm once.
    pub farms: Vec<FarmShare>,
    /// What the customer pays.
    pub total: Money,
}

/// A farm's part of an order.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct FarmShare {
    /// The farm's name.
    pub name: String,
    /// The farm's address.
    pub email: String,
    /// Its lines.
    pub lines: Vec<Line>,
}

/// A product and how much of it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Line {
    /// The product's name.
    pub name: String,
    /// Units.
    pub quantity: u32,
}

/// Why an order ended otherwise than completed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct FailureNews {
    /// The order.
    pub order_id: Uuid,
    /// The customer's address.
    pub email: String,
    /// UPPER_SNAKE.
    pub reason: String,
    /// For people.
    pub message: String,
}

/// A product that runs out.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct StockNews {
    /// The product.
    pub product_id: Uuid,
    /// Its name.
    pub product_name: String,
    /// The farm's address.
    pub farm_email: String,
    /// Units left.
    pub available: u64,
}

impl News {
    /// What it is about.
    #[must_use]
    pub const fn subject(&self) -> Subject {
        match self {
            Self::OrderCompleted(news) => Subject { id: news.order_id, kind: Kind::OrderCompleted },
            Self::OrderRefunded(news) => Subject { id: news.order_id, kind: Kind::OrderRefunded },
            Self::OrderFailed(news) => Subject { id: news.order_id, kind: Kind::OrderFailed },
            Self::OrderCancelled(news) => Subject { id: news.order_id, kind: Kind::OrderCancelled },
            Self::StockLow(news) => Subject { id: news.product_id, kind: Kind::StockLow },
        }
    }

    /// The saga that waits for an answer.
    #[must_use]
    pub const fn saga_id(&self) -> Option<Uuid> {
        match self {
            Self::OrderCompleted(news) | Self::OrderRefunded(news) => Some(news.saga_id),
            Self::OrderFailed(_) | Self::OrderCancelled(_) | Self::StockLow(_) => None,
        }
    }

    /// The addresses, by recipient number.
    #[must_use]
    pub fn recipients(&self) -> Vec<&str> {
        match self {
            Self::OrderCompleted(news) | Self::OrderRefunded(news) => {
                let farms = news.farms.iter().map(|farm| farm.email.as_str());
                std::iter::once(news.email.as_str()).chain(farms).collect()
            }
            Self::OrderFailed(news) | Self::OrderCancelled(news) => vec![&news.email],
            Self::StockLow(news) => vec![&news.farm_email],
        }
    }
}
