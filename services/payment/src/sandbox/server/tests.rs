//! The rules of the books, without sockets and disks.

use std::collections::BTreeMap;

use chrono::DateTime;
use money::{Currency, Money};
use proptest::prelude::*;
use uuid::Uuid;

use super::entry::{Entry, Fact};
use super::ledger::{Answer, Asked, Filter, Ledger, Misasked, Said, Spend, What};
use crate::sandbox::{Standing, Transition};

const KEYS: usize = 24;

/// Books with their journal.
#[derive(Default)]
struct Books {
    ledger: Ledger,
    journal: Vec<Entry>,
}

impl Books {
    fn ask(&mut self, asked: &Asked, spend: Spend) -> Result<Answer, Misasked> {
        let decision = self.ledger.decide(asked, spend)?;
        let is_replay = decision.facts.contains(&Fact::Repeated {});
        for fact in decision.facts {
            let entry = Entry {
                number: self.journal.len() as u64 + 1,
                time: DateTime::default(),
                charge: decision.charge.clone(),
                payment_id: decision.payment_id,
                amount: decision.amount,
                key: asked.key.clone(),
                fingerprint: asked.fingerprint,
                fact,
            };
            self.ledger.apply(&entry);
            self.journal.push(entry);
        }
        Ok(self.ledger.answer(&asked.key, is_replay))
    }

    /// As after a restart.
    fn replayed(&self) -> Ledger {
        let mut ledger = Ledger::default();
        self.journal.iter().for_each(|entry| ledger.apply(entry));
        ledger
    }
}

fn asked(key: &str, what: What) -> Asked {
    Asked { key: key.to_owned(), fingerprint: Uuid::new_v5(&Uuid::nil(), format!("{what:?}").as_bytes()), what }
}

fn hold(key: &str, token: &str, minor_units: i64) -> Asked {
    let (amount, payment_method) = (Money::new(minor_units, Currency::EUR), token.to_owned());
    asked(key, What::Create { payment_id: Uuid::from_u128(1), amount, payment_method })
}

fn change(key: &str, charge: &str, transition: Transition) -> Asked {
    asked(key, What::Change { charge: charge.to_owned(), payment_id: None, transition })
}

#[test]
fn a_key_is_told_what_it_was_told_whatever_has_happened_since() {
    let mut books = Books::default();
    let held = books.ask(&hold("a", "tok_success", 5), Spend::No).unwrap();
    let charge = held.intent.unwrap().id;
    let refused = books.ask(&change("b", &charge, Transition::Refund), Spend::No).unwrap();
    assert_eq!(refused.said, Some(Said::Refused(Transition::Refund, Standing::Authorized)));
    books.ask(&change("c", &charge, Transition::Capture), Spend::No).unwrap();
    let again = books.ask(&hold("a", "tok_success", 5), Spend::No).unwrap();
    assert_eq!((again.said, again.is_replay), (Some(Said::Stands(Standing::Authorized)), true));
    let again = books.ask(&change("b", &charge, Transition::Refund), Spend::No).unwrap();
    assert_eq!((again.said, again.is_replay), (Some(Said::Refused(Transition::Refund, Standing::Authorized)), true));
    let new = books.ask(&change("d", &charge, Transition::Refund), Spend::No).unwrap();
    assert_eq!((new.said, new.is_replay), (Some(Said::Stands(Standing::Refunded)), false));
}

#[test]
fn a_key_with_other_parameters_and_a_charge_of_another_payment_are_refused_and_leave_no_line() {
    let mut books = Books::default();
    let charge = books.ask(&hold("a", "tok_success", 5), Spend::No).unwrap().intent.unwrap().id;
    assert_eq!(books.ask(&hold("a", "tok_success", 6), Spend::No), Err(Misasked::KeyReused));
    assert_eq!(books.ask(&change("a", &charge, Transition::Capture), Spend::No), Err(Misasked::KeyReused));
    let payment_id = Some(Uuid::from_u128(2));
    let foreign = asked("b", What::Change { charge, payment_id, transition: Transition::Void });
    assert_eq!(books.ask(&foreign, Spend::No), Err(Misasked::Missing));
    assert_eq!(books.ask(&change("c", "pi_x", Transition::Void), Spend::No), Err(Misasked::Missing));
    assert_eq!(books.journal.len(), 1);
}

#[test]
fn nobody_sees_a_charge_before_it_is_held() {
    let mut books = Books::default();
    let seen = |books: &Books| books.ledger.list(&Filter { key: Some("a".to_owned()), ..Filter::default() }, 10).len();
    for (request, visible) in [(1, 0), (2, 0), (3, 1), (4, 1)] {
        let answer = books.ask(&hold("a", "tok_flaky", 5), Spend::No).unwrap();
        assert_eq!((answer.intent.unwrap().requests, seen(&books)), (request, visible));
    }
}

#[test]
fn a_spent_key_repeats_its_failure_and_the_books_say_whether_it_had_an_effect() {
    for (spend, charges) in [(Spend::WithEffect, 1), (Spend::WithoutEffect, 0)] {
        let mut books = Books::default();
        for is_replay in [false, true] {
            let answer = books.ask(&hold("a", "tok_success", 5), spend).unwrap();
            assert_eq!((answer.said, answer.is_replay), (Some(Said::Failed), is_replay));
        }
        assert_eq!(books.ledger.list(&Filter::default(), 10).len(), charges);
    }
}

#[derive(Clone, Debug)]
enum Act {
    Hold(usize, usize),
    Change(usize, usize, Transition),
}

fn acts() -> impl Strategy<Value = Vec<(Act, Spend)>> {
    let transition = prop_oneof![Just(Transition::Capture), Just(Transition::Void), Just(Transition::Refund)];
    let act = prop_oneof![
        (0..KEYS, 0..TOKENS.len()).prop_map(|(key, token)| Act::Hold(key, token)),
        (0..KEYS, 0..KEYS, transition).prop_map(|(key, of, transition)| Act::Change(key, of, transition)),
    ];
    let spend = prop_oneof![8 => Just(Spend::No), 1 => Just(Spend::WithEffect), 1 => Just(Spend::WithoutEffect)];
    prop::collection::vec((act, spend), 0..200)
}

const TOKENS: [&str; 5] =
    ["tok_success", "tok_declined", "tok_flaky", "tok_timeout_charged", "tok_timeout_not_charged"];

proptest! {
    #[test]
    fn whatever_is_asked_no_charge_moves_twice_and_a_restart_forgets_nothing(acts in acts()) {
        let mut books = Books::default();
        let mut told: BTreeMap<String, Said> = BTreeMap::new();
        for (act, spend) in acts {
            let asked = match act {
                Act::Hold(key, token) => hold(&format!("hold-{key}"), TOKENS[token], 5),
                Act::Change(key, of, transition) => {
                    let filter = Filter { key: Some(format!("hold-{of}")), ..Filter::default() };
                    let Some(intent) = books.ledger.list(&filter, 1).pop() else { continue };
                    change(&format!("change-{key}"), &intent.id, transition)
                }
            };
            let Ok(answer) = books.ask(&asked, spend) else { continue };
            let Some(said) = answer.said else { continue };
            prop_assert_eq!(*told.entry(asked.key).or_insert(said), said);
        }
        let mut effects: BTreeMap<(&str, &str), u32> = BTreeMap::new();
        for entry in books.journal.iter().filter(|entry| entry.fact.is_effect()) {
            let effect = match &entry.fact {
                Fact::Authorized { .. } => "held",
                Fact::Captured {} | Fact::Voided {} => "taken or let go",
                Fact::Refunded {} => "given back",
                Fact::Failing { .. }
                | Fact::Declined { .. }
                | Fact::Refused { .. }
                | Fact::Failed {}
                | Fact::Repeated {} => continue,
            };
            *effects.entry((&entry.charge, effect)).or_default() += 1;
        }
        prop_assert!(effects.values().all(|count| *count == 1), "{:?}", effects);
        let (live, replayed) = (&books.ledger, books.replayed());
        prop_assert_eq!(live.list(&Filter::default(), 1_000), replayed.list(&Filter::default(), 1_000));
        for key in told.keys() {
            prop_assert_eq!(live.answer(key, false), replayed.answer(key, false));
        }
    }
}
