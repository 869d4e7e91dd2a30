use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use super::{Accepted, Command, LetterResult, News, Notification, NotificationEvent, Outcome};

/// Delivery is tried this often; then the notification has failed for good.
pub const TRIES_MAX: u32 = 20;
const RETRY_FIRST: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(300);
/// What a transport says is kept up to this many characters.
const REASON_LENGTH_MAX: usize = 300;

/// Why a command has no effect.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Rejection {
    /// One order, one kind, one saga. Somebody makes up ids.
    #[error("the notification was asked for by saga {recorded:?}, not {asking:?}")]
    AskedByAnother {
        /// Who asked first.
        recorded: Option<Uuid>,
        /// Who asks now.
        asking: Option<Uuid>,
    },
    /// Nothing was accepted that could have been delivered.
    #[error("there is no such notification")]
    NotAccepted,
}

/// What follows when `command` meets this notification.
///
/// # Errors
/// [`Rejection`]: nothing follows.
pub fn decide(notification: &Notification, command: &Command) -> Result<Vec<NotificationEvent>, Rejection> {
    match command {
        Command::Accept { news } => accept(notification, news),
        Command::NoteTry { results } => note_try(notification, results),
    }
}

/// How long to wait after so many tries in vain: 1 s, doubling, at most 5 min.
#[must_use]
pub fn retry_delay(failed_tries: u32) -> Duration {
    let doublings = failed_tries.saturating_sub(1).min(16);
    RETRY_MAX.min(RETRY_FIRST * 2_u32.pow(doublings))
}

fn accept(notification: &Notification, news: &Arc<News>) -> Result<Vec<NotificationEvent>, Rejection> {
    match notification.told() {
        None => Ok(vec![NotificationEvent::NotificationAccepted { news: Arc::clone(news) }]),
        Some(told) if told.saga_id == news.saga_id() => Ok(Vec::new()),
        Some(told) => Err(Rejection::AskedByAnother { recorded: told.saga_id, asking: news.saga_id() }),
    }
}

fn note_try(notification: &Notification, results: &[LetterResult]) -> Result<Vec<NotificationEvent>, Rejection> {
    match notification {
        Notification::Absent => Err(Rejection::NotAccepted),
        Notification::Accepted(accepted) => Ok(tried(accepted, results)),
        // Another replica was faster.
        Notification::Delivered(_) | Notification::Failed(_) => Ok(Vec::new()),
    }
}

fn tried(accepted: &Accepted, results: &[LetterResult]) -> Vec<NotificationEvent> {
    let (mut told, mut refused, mut reason) = (Vec::new(), Vec::new(), None);
    for result in results.iter().filter(|result| accepted.open.contains(&result.recipient)) {
        match &result.outcome {
            Outcome::Told => told.push(result.recipient),
            Outcome::Refused { reason: why } => {
                refused.push(result.recipient);
                reason = Some(said(result.recipient, why));
            }
            Outcome::NotNow { reason: why } => reason = Some(said(result.recipient, why)),
        }
    }
    if told.is_empty() && reason.is_none() {
        return Vec::new();
    }
    let subject = accepted.news.subject();
    let all_answered = told.len() + refused.len() >= accepted.open.len();
    let some_refused = accepted.some_refused || !refused.is_empty();
    let given_up = accepted.failed_tries + 1 >= TRIES_MAX;
    let reason = reason.unwrap_or_else(|| "a recipient was refused before".to_owned());
    vec![match (all_answered, some_refused) {
        (true, false) => NotificationEvent::NotificationDelivered { subject },
        (true, true) => NotificationEvent::NotificationFailed { subject, told, reason },
        (false, _) if given_up => NotificationEvent::NotificationFailed { subject, told, reason },
        (false, _) => NotificationEvent::DeliveryTryFailed { subject, told, refused, reason },
    }]
}

fn said(recipient: u16, why: &str) -> String {
    let why = text::shown(&why.chars().take(REASON_LENGTH_MAX).collect::<String>());
    format!("recipient {recipient}: {why}")
}

#[cfg(test)]
mod tests {
    use eventstore::Aggregate as _;
    use money::{Currency, Money};

    use super::*;
    use crate::domain::{FarmShare, OrderNews};

    fn news(saga: u128) -> Arc<News> {
        let farm = |name: &str| FarmShare { name: name.to_owned(), email: format!("{name}@farm.test"), lines: vec![] };
        Arc::new(News::OrderCompleted(OrderNews {
            saga_id: Uuid::from_u128(saga),
            order_id: Uuid::from_u128(7),
            email: "ana@example.org".to_owned(),
            farms: vec![farm("a"), farm("b")],
            total: Money::new(1250, Currency::EUR),
        }))
    }

    fn accepted() -> NotificationEvent {
        NotificationEvent::NotificationAccepted { news: news(1) }
    }

    fn given(events: &[NotificationEvent]) -> Notification {
        events.iter().fold(Notification::default(), Notification::evolve)
    }

    fn when(notification: &Notification, outcomes: &[(u16, Outcome)]) -> Vec<NotificationEvent> {
        let results = outcomes
            .iter()
            .map(|(recipient, outcome)| LetterResult { recipient: *recipient, outcome: outcome.clone() });
        decide(notification, &Command::NoteTry { results: results.collect() }).unwrap()
    }

    fn not_now() -> Outcome {
        Outcome::NotNow { reason: "451 later".to_owned() }
    }

    fn refused() -> Outcome {
        Outcome::Refused { reason: "550 nobody".to_owned() }
    }

    #[test]
    fn a_request_is_accepted_once_and_repeated_without_effect() {
        let accept = Command::Accept { news: news(1) };
        let first = decide(&Notification::Absent, &accept).unwrap();
        assert_eq!(first, [accepted()]);
        assert_eq!(decide(&given(&first), &accept).unwrap(), []);
        let told = when(&given(&first), &[(0, Outcome::Told), (1, Outcome::Told), (2, Outcome::Told)]);
        let ended = given(&[accepted(), told[0].clone()]);
        assert_eq!(decide(&ended, &accept).unwrap(), []);
        assert_eq!(ended.told().unwrap().saga_id, Some(Uuid::from_u128(1)));
    }

    #[test]
    fn another_saga_may_not_ask_for_the_same_notification() {
        let rejection = decide(&given(&[accepted()]), &Command::Accept { news: news(2) }).unwrap_err();
        assert!(matches!(rejection, Rejection::AskedByAnother { .. }));
    }

    #[test]
    fn only_who_was_not_told_is_told_again() {
        let first = when(&given(&[accepted()]), &[(0, Outcome::Told), (1, not_now()), (2, Outcome::Told)]);
        assert!(matches!(&first[0], NotificationEvent::DeliveryTryFailed { told, .. } if *told == [0, 2]));
        let waiting = given(&[accepted(), first[0].clone()]);
        assert!(matches!(&waiting, Notification::Accepted(a) if a.open == [1] && a.failed_tries == 1));
        let second = when(&waiting, &[(1, Outcome::Told)]);
        assert!(matches!(second[..], [NotificationEvent::NotificationDelivered { .. }]));
    }

    #[test]
    fn a_refused_recipient_fails_the_notification_when_the_others_are_told() {
        let first = when(&given(&[accepted()]), &[(0, refused()), (1, not_now()), (2, Outcome::Told)]);
        let waiting = given(&[accepted(), first[0].clone()]);
        let second = when(&waiting, &[(1, Outcome::Told)]);
        assert!(matches!(second[..], [NotificationEvent::NotificationFailed { .. }]));
    }

    #[test]
    fn delivery_is_given_up_after_the_last_try() {
        let mut events = vec![accepted()];
        for _ in 1..TRIES_MAX {
            let tried = when(&given(&events), &[(0, not_now()), (1, not_now()), (2, not_now())]);
            assert!(matches!(tried[..], [NotificationEvent::DeliveryTryFailed { .. }]));
            events.extend(tried);
        }
        let last = when(&given(&events), &[(0, not_now()), (1, not_now()), (2, not_now())]);
        assert!(matches!(last[..], [NotificationEvent::NotificationFailed { .. }]));
    }

    #[test]
    fn a_late_result_changes_nothing() {
        let told = [(0, Outcome::Told), (1, Outcome::Told), (2, Outcome::Told)];
        let delivered = given(&[accepted(), when(&given(&[accepted()]), &told)[0].clone()]);
        assert_eq!(when(&delivered, &[(0, not_now())]), []);
        assert_eq!(decide(&Notification::Absent, &Command::NoteTry { results: vec![] }), Err(Rejection::NotAccepted));
    }

    #[test]
    fn retries_double_from_a_second_to_five_minutes() {
        assert_eq!([1, 2, 3, 9, 10, 40].map(|tries| retry_delay(tries).as_secs()), [1, 2, 4, 256, 300, 300]);
    }
}
