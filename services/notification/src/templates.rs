//! The words. Plain text, compiled once; the first line of each is the subject.

use minijinja::Environment;
use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use serde::Serialize;
use uuid::Uuid;

use crate::domain::{FarmShare, Line, News, OrderNews};

const SOURCES: [(&str, &str); 7] = [
    (ORDER_COMPLETED_CUSTOMER, include_str!("../templates/order_completed_customer.txt")),
    (ORDER_COMPLETED_FARM, include_str!("../templates/order_completed_farm.txt")),
    (ORDER_REFUNDED_CUSTOMER, include_str!("../templates/order_refunded_customer.txt")),
    (ORDER_REFUNDED_FARM, include_str!("../templates/order_refunded_farm.txt")),
    (ORDER_FAILED_CUSTOMER, include_str!("../templates/order_failed_customer.txt")),
    (ORDER_CANCELLED_CUSTOMER, include_str!("../templates/order_cancelled_customer.txt")),
    (STOCK_LOW_FARM, include_str!("../templates/stock_low_farm.txt")),
];

const ORDER_COMPLETED_CUSTOMER: &str = "order_completed_customer";
const ORDER_COMPLETED_FARM: &str = "order_completed_farm";
const ORDER_REFUNDED_CUSTOMER: &str = "order_refunded_customer";
const ORDER_REFUNDED_FARM: &str = "order_refunded_farm";
const ORDER_FAILED_CUSTOMER: &str = "order_failed_customer";
const ORDER_CANCELLED_CUSTOMER: &str = "order_cancelled_customer";
const STOCK_LOW_FARM: &str = "stock_low_farm";

/// All templates, ready to be filled in.
pub struct Templates(Environment<'static>);

/// What a recipient reads.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Words {
    /// One line.
    pub subject: String,
    /// The text, lines ending with LF.
    pub body: String,
}

#[derive(Serialize)]
struct CustomerView<'a> {
    order_id: Uuid,
    lines: Vec<&'a Line>,
    total: String,
}

#[derive(Serialize)]
struct FarmView<'a> {
    order_id: Uuid,
    farm_name: &'a str,
    lines: &'a [Line],
}

impl Templates {
    /// Compiles them. The templates are part of the program, so an error here is a defect that every test would show.
    ///
    /// # Errors
    /// A template is wrong.
    pub fn new() -> Result<Self, minijinja::Error> {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(minijinja::UndefinedBehavior::Strict);
        environment.set_syntax(SyntaxConfig::builder().trim_blocks(true).build()?);
        for (name, source) in SOURCES {
            environment.add_template(name, source)?;
        }
        Ok(Self(environment))
    }

    /// What the recipient with this number reads; `None` when the news is not for so many.
    ///
    /// # Errors
    /// A template does not fit its news.
    pub fn words(&self, news: &News, recipient: u16) -> Result<Option<Words>, minijinja::Error> {
        match (news, recipient) {
            (News::OrderCompleted(order), 0) => self.fill(ORDER_COMPLETED_CUSTOMER, customer(order)),
            (News::OrderRefunded(order), 0) => self.fill(ORDER_REFUNDED_CUSTOMER, customer(order)),
            (News::OrderCompleted(order), farm) => self.fill_for_farm(ORDER_COMPLETED_FARM, order, farm),
            (News::OrderRefunded(order), farm) => self.fill_for_farm(ORDER_REFUNDED_FARM, order, farm),
            (News::OrderFailed(failure), 0) => self.fill(ORDER_FAILED_CUSTOMER, failure),
            (News::OrderCancelled(failure), 0) => self.fill(ORDER_CANCELLED_CUSTOMER, failure),
            (News::StockLow(stock), 0) => self.fill(STOCK_LOW_FARM, stock),
            (News::OrderFailed(_) | News::OrderCancelled(_) | News::StockLow(_), _) => Ok(None),
        }
    }

    fn fill_for_farm(&self, name: &str, order: &OrderNews, number: u16) -> Result<Option<Words>, minijinja::Error> {
        let farm = usize::from(number).checked_sub(1).and_then(|index| order.farms.get(index));
        farm.map_or(Ok(None), |farm| self.fill(name, farm_view(order.order_id, farm)))
    }

    fn fill(&self, name: &str, view: impl Serialize) -> Result<Option<Words>, minijinja::Error> {
        // News that were stored before names had a rule, too.
        let text = text::shown_lines(&self.0.get_template(name)?.render(Serde(view))?);
        let (subject, body) = text.split_once('\n').unwrap_or((&text, ""));
        let body = body.trim_start_matches('\n');
        let body = if body.ends_with('\n') { body.to_owned() } else { format!("{body}\n") };
        Ok(Some(Words { subject: subject.trim().to_owned(), body }))
    }
}

fn customer(order: &OrderNews) -> CustomerView<'_> {
    CustomerView {
        order_id: order.order_id,
        lines: order.farms.iter().flat_map(|farm| &farm.lines).collect(),
        total: order.total.to_string(),
    }
}

fn farm_view(order_id: Uuid, farm: &FarmShare) -> FarmView<'_> {
    FarmView { order_id, farm_name: &farm.name, lines: &farm.lines }
}

#[cfg(test)]
mod tests {
    use money::{Currency, Money};

    use super::*;
    use crate::domain::{FailureNews, StockNews};

    fn order() -> OrderNews {
        let line = |name: &str| Line { name: name.to_owned(), quantity: 2 };
        let farm = |name: &str, lines| FarmShare { name: name.to_owned(), email: String::new(), lines };
        OrderNews {
            saga_id: Uuid::nil(),
            order_id: Uuid::from_u128(7),
            email: String::new(),
            farms: vec![farm("Hill", vec![line("Eggs"), line("Milk & <Honey>")]), farm("Dale", vec![line("Leek")])],
            total: Money::new(1250, Currency::EUR),
        }
    }

    #[test]
    fn a_customer_reads_all_lines_and_a_farm_its_own() {
        let templates = Templates::new().unwrap();
        let news = News::OrderCompleted(order());
        let customer = templates.words(&news, 0).unwrap().unwrap();
        assert!(customer.subject.contains(&Uuid::from_u128(7).to_string()));
        assert!(customer.body.contains("2 x Eggs\n2 x Milk & <Honey>\n2 x Leek\n"), "{}", customer.body);
        assert!(customer.body.contains("12.50 EUR"));
        let farm = templates.words(&news, 2).unwrap().unwrap();
        assert!(farm.body.contains("Dale") && farm.body.contains("2 x Leek") && !farm.body.contains("Eggs"));
        assert_eq!(templates.words(&news, 3).unwrap(), None);
    }

    #[test]
    fn a_name_that_was_stored_before_there_was_a_rule_turns_no_line_around() {
        let templates = Templates::new().unwrap();
        let name = "Eggs\u{202e}ggE".to_owned();
        let stock = StockNews { product_id: Uuid::nil(), product_name: name, farm_email: String::new(), available: 3 };
        let words = templates.words(&News::StockLow(stock), 0).unwrap().unwrap();
        let all = words.subject + &words.body;
        assert!(all.contains("Eggs\\u{202e}ggE") && !all.contains('\u{202e}'), "{all}");
    }

    #[test]
    fn every_kind_of_news_has_words_for_every_recipient() {
        let templates = Templates::new().unwrap();
        let failure = FailureNews {
            order_id: Uuid::nil(),
            email: "a@b.c".to_owned(),
            reason: "OUT_OF_STOCK".to_owned(),
            message: "no eggs left".to_owned(),
        };
        let stock = StockNews {
            product_id: Uuid::nil(),
            product_name: "Eggs".to_owned(),
            farm_email: "a@b.c".to_owned(),
            available: 3,
        };
        let all = [
            News::OrderCompleted(order()),
            News::OrderRefunded(order()),
            News::OrderFailed(failure.clone()),
            News::OrderCancelled(failure),
            News::StockLow(stock),
        ];
        for news in all {
            for recipient in 0..news.recipients().len() {
                let words = templates.words(&news, u16::try_from(recipient).unwrap()).unwrap().unwrap();
                assert!(!words.subject.is_empty() && words.body.ends_with("Farmera\n"), "{words:?}");
            }
        }
    }
}
