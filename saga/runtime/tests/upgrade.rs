//! Before a program goes on with what another has begun.

#![expect(clippy::unwrap_used, reason = "a helper of tests may fail as a test does")]

#[expect(dead_code, reason = "other tests need the rest of it")]
mod service;

use std::time::Duration;

use eventstore::memory::{CountingIds, MemoryClock};
use eventstore::{ReadError, Recorded, Version};
use saga::{DefinitionRef, Facts, Library, ask, retriable, saga};
use saga_runtime::{BoundSagas, DefinitionsError, Verdict, check_upgrade, record_definitions};
use service::{Ask, Come, Orders, SAGA, Service, TIMEOUT, all_agree, done, library, store, stream};
use uuid::Uuid;

fn said(text: &str) -> Ask {
    Ask(text.to_owned())
}

/// What `library()` has, in other words.
fn other_words() -> Library<Orders> {
    let changed = |_: &Facts<'_, Orders>| said("something else");
    let like = library();
    let known = like.newest("place-order").unwrap();
    let patience = known.step("reserve").unwrap().ask().unwrap().policy(saga::Lane::Forward);
    let place_order = saga::<Orders>("place-order", 1)
        .compensatable("reserve", ask(changed).undo(changed).within(TIMEOUT).retry(patience))
        .compensatable("authorize", ask(changed).undo(changed).within(TIMEOUT).retry(patience))
        .pivot("confirm", saga::local())
        .in_parallel([
            retriable("capture", ask(changed).within(TIMEOUT).retry(patience)),
            retriable("commit", ask(changed).within(TIMEOUT).retry(patience)),
        ])
        .retriable("notify", ask(changed).within(TIMEOUT).retry(patience))
        .build()
        .unwrap();
    assert_eq!(place_order.id(), known.id(), "words are code and not part of the hash");
    Library::new([place_order]).unwrap()
}

fn changed() -> Library<Orders> {
    Library::new([saga::<Orders>("place-order", 1).pivot("all", saga::local()).build().unwrap()]).unwrap()
}

fn recorded(service: &Service) -> Vec<Recorded> {
    service.store.events().into_iter().filter(|event| event.stream == stream()).collect()
}

#[tokio::test]
async fn the_same_program_goes_on_as_it_did_wherever_a_saga_stands() {
    let mut service = Service::over(&store(), 1, library());
    service.start().await;
    service
        .live(
            |step, lane, attempt| {
                (step != "authorize" || attempt > 1).then_some(lane == saga::Lane::Undo || step != "authorize")
            },
            false,
        )
        .await;
    let all = recorded(&service);
    let mut cut = 1;
    while cut <= all.len() {
        let last = &all[cut - 1];
        let is_whole =
            all.get(cut).is_none_or(|next| next.cause.causation != last.cause.causation || next.time != last.time);
        let verdict = check_upgrade(&library(), &all[..cut]);
        let expected = if cut == all.len() { Verdict::Ended } else { Verdict::Same };
        assert!(!is_whole || verdict == expected, "after {cut}: {verdict:?}");
        cut += 1;
    }
}

#[tokio::test]
async fn a_program_that_asks_for_something_else_is_told_apart() {
    let service = Service::over(&store(), 1, library());
    service.start().await;
    service.submit(Come::Input(SAGA, done("reserve"))).await.unwrap();
    let Verdict::Different { after, recorded, concluded } = check_upgrade(&other_words(), &recorded(&service)) else {
        panic!("it is not told apart");
    };
    assert_eq!(after, Version::new(2));
    assert!(
        recorded[1].contains("authorize 7") && concluded[1].contains("something else"),
        "{recorded:?} {concluded:?}"
    );
}

#[tokio::test]
async fn a_program_that_lacks_the_definition_cannot_go_on() {
    let service = Service::over(&store(), 1, library());
    service.start().await;
    let verdict = check_upgrade(&changed(), &recorded(&service));
    assert!(matches!(verdict, Verdict::Undecodable { .. }), "{verdict:?}");
    let missing = check_upgrade(&Library::<Orders>::new([]).unwrap(), &recorded(&service));
    assert!(matches!(missing, Verdict::Undecodable { .. }), "{missing:?}");
}

struct Listed(Vec<Uuid>);

impl BoundSagas for Listed {
    async fn bound(&self, _definition: &DefinitionRef, limit: usize) -> Result<Vec<Uuid>, ReadError> {
        Ok(self.0.iter().copied().take(limit).collect())
    }
}

async fn starts(service: &Service, library: &Library<Orders>, open: Vec<Uuid>) -> Result<(), DefinitionsError> {
    let clock = MemoryClock::of(&service.store);
    record_definitions(&*service.store, &clock, &CountingIds::new(9), library, &Listed(open)).await
}

#[tokio::test]
async fn a_definition_that_was_changed_under_its_version_is_refused_while_sagas_are_bound_to_it() {
    let mut service = Service::over(&store(), 1, library());
    starts(&service, &library(), vec![]).await.unwrap();
    starts(&service, &library(), vec![]).await.unwrap();
    let count =
        |service: &Service, name: &str| service.store.events().iter().filter(|event| event.type_name == name).count();
    assert_eq!(count(&service, "DefinitionRecorded"), 1, "once is enough");
    service.start().await;
    let refused = starts(&service, &changed(), vec![SAGA]).await.unwrap_err();
    assert!(matches!(refused, DefinitionsError::Changed { sagas: 1, version: 1, .. }), "{refused}");
    service.live(all_agree, false).await;
    starts(&service, &changed(), vec![SAGA]).await.unwrap();
    assert_eq!(count(&service, "DefinitionReplaced"), 1, "nobody is bound to it any more");
    assert!(service.store.time() >= saga::testing::DAWN + Duration::ZERO);
}
