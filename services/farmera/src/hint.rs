//! What an order waits for, said to whoever watches it and sees nothing happen.

use std::io::Write as _;
use std::time::Duration;

use farmera_proto::orders::v1 as pb;
use farmera_proto::saga::v1 as sagas;

use crate::clients::{Clients, Peer};
use crate::output::local;
use crate::timeline;

/// An order that has not changed for so long is asked about, and again after as long.
pub const AFTER: Duration = Duration::from_secs(5);

/// What was said of an order that stands still: each thing once.
#[derive(Debug, Default)]
pub struct Hints(String);

impl Hints {
    /// Asks why `order` stands where it stands, and says it on stderr if it was not said before. Who cannot be asked is
    /// asked later: the watch itself goes on.
    pub async fn look(&mut self, clients: &Clients, order: &pb::Order) {
        let saga = if order.cancel_saga_id.is_empty() { &order.saga_id } else { &order.cancel_saga_id };
        let request = sagas::ExplainSagaRequest { saga_id: saga.clone() };
        let Ok(answer) = clients.ask(Peer::Orders, clients.sagas.clone().explain_saga(request)).await else { return };
        let hint = hint(&answer, saga);
        if hint != self.0 {
            // Nobody reads it, then.
            drop(writeln!(std::io::stderr().lock(), "{hint}"));
            self.0 = hint;
        }
    }
}

fn hint(answer: &sagas::ExplainSagaResponse, saga_id: &str) -> String {
    let summary = format!("nothing new for {} s: {}", AFTER.as_secs(), answer.summary);
    let held = answer.waiting.iter().filter_map(|waiting| waiting.held_by.as_ref()).map(held);
    let told: Vec<String> = std::iter::once(summary).chain(held).collect();
    // What people typed somewhere else is no command to this terminal.
    let told: String = told.join("; ").chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    format!("{told}; more: sagactl saga explain {saga_id}")
}

fn held(held: &sagas::HeldBy) -> String {
    let until = match (held.releasing, timeline::time(held.until.as_ref())) {
        (true, _) => "it is being released".to_owned(),
        (false, Some(until)) => format!("until {} at the latest", text::moment(local(until))),
        (false, None) => "until somebody releases it".to_owned(),
    };
    let stopped = if held.stopped.is_empty() { String::new() } else { format!("; {}", held.stopped) };
    format!("{} is held by {}: {}, {until}{stopped}", held.target, held.actor, held.reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_watches_an_order_that_is_held_learns_who_holds_it_why_and_until_when() {
        let held = sagas::HeldBy {
            target: "payment".to_owned(),
            actor: "operator:ana".to_owned(),
            reason: "INC-204\u{1b}[2J".to_owned(),
            until: Some(pbjson_types::Timestamp { seconds: 3_600, nanos: 0 }),
            ..sagas::HeldBy::default()
        };
        let answer = sagas::ExplainSagaResponse {
            summary: "waits for the end of the hold of payment for authorize-payment".to_owned(),
            waiting: vec![sagas::Waiting { held_by: Some(held), ..sagas::Waiting::default() }],
            ..sagas::ExplainSagaResponse::default()
        };
        let until = text::moment(local(chrono::DateTime::UNIX_EPOCH + chrono::TimeDelta::hours(1)));
        let expected = format!(
            "nothing new for 5 s: waits for the end of the hold of payment for authorize-payment; payment is held by \
             operator:ana: INC-204 [2J, until {until} at the latest; more: sagactl saga explain s1"
        );
        assert_eq!(hint(&answer, "s1"), expected);
    }
}
