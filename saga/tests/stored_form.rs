//! Stored events are for ever: their text may grow, not change.
#![expect(clippy::unwrap_used, reason = "a helper of tests may fail as a test does")]

use chrono::DateTime;
use eventstore::{Actor, DomainEvent};
use saga::{
    ByHand, CompensationCause, Deadline, Facts, HoldTarget, Lane, Process, Rejection, SagaEvent, Shared, StepName, ask,
    local, saga,
};

#[derive(Clone, Debug, PartialEq)]
struct Any;

impl Process for Any {
    type Input = String;
    type Request = String;
    type Output = u32;
}

fn word(_: &Facts<'_, Any>) -> String {
    "please".to_owned()
}

fn events() -> Vec<(SagaEvent<Any>, &'static str)> {
    let step = || StepName::new("pay");
    let at = || DateTime::from_timestamp_millis(1_767_225_600_250).unwrap();
    let words = |text: &str| Shared::from(text.to_owned());
    let cause = || CompensationCause::Rejected { step: step(), rejection: Rejection::new("NO", "money") };
    let by = || CompensationCause::Cancelled { reason: "why".to_owned(), actor: Actor::new("customer:1") };
    let spent = || CompensationCause::Exhausted { step: step(), detail: "late".to_owned() };
    let (actor, reason) = (|| Actor::new("operator:ana"), || "why".to_owned());
    vec![
        (
            SagaEvent::StepRequested { step: step(), attempt: 1, request: words("please"), deadline: at() },
            r#"{"StepRequested":{"step":"pay","attempt":1,"request":"please","deadline":"2026-01-01T00:00:00.250Z"}}"#,
        ),
        (SagaEvent::StepSucceeded { step: step(), output: None }, r#"{"StepSucceeded":{"step":"pay"}}"#),
        (
            SagaEvent::StepSucceeded { step: step(), output: Some(Shared::from(7)) },
            r#"{"StepSucceeded":{"step":"pay","output":7}}"#,
        ),
        (
            SagaEvent::StepRejected { step: step(), reason: Rejection::new("NO", "money") },
            r#"{"StepRejected":{"step":"pay","reason":{"code":"NO","message":"money"}}}"#,
        ),
        (
            SagaEvent::StepUnknown { step: step(), attempt: 2, detail: "late".to_owned(), retry_at: Some(at()) },
            r#"{"StepUnknown":{"step":"pay","attempt":2,"detail":"late","retry_at":"2026-01-01T00:00:00.250Z"}}"#,
        ),
        (
            SagaEvent::CompensationStarted { cause: cause() },
            r#"{"CompensationStarted":{"cause":{"rejected":{"step":"pay","rejection":{"code":"NO","message":"money"}}}}}"#,
        ),
        (
            SagaEvent::CompensationRequested { step: step(), attempt: 1, request: words("undo"), deadline: at() },
            r#"{"CompensationRequested":{"step":"pay","attempt":1,"request":"undo","deadline":"2026-01-01T00:00:00.250Z"}}"#,
        ),
        (SagaEvent::CompensationSucceeded { step: step() }, r#"{"CompensationSucceeded":{"step":"pay"}}"#),
        (
            SagaEvent::CompensationFailed { step: step(), attempt: 3, detail: "late".to_owned(), retry_at: None },
            r#"{"CompensationFailed":{"step":"pay","attempt":3,"detail":"late"}}"#,
        ),
        (
            SagaEvent::CancelRequested { reason: reason(), actor: actor() },
            r#"{"CancelRequested":{"reason":"why","actor":"operator:ana"}}"#,
        ),
        (
            SagaEvent::Parked { step: step(), lane: Lane::Undo, detail: "late".to_owned() },
            r#"{"SagaParked":{"step":"pay","lane":"undo","detail":"late"}}"#,
        ),
        (
            SagaEvent::Resumed { actor: actor(), reason: reason() },
            r#"{"SagaResumed":{"actor":"operator:ana","reason":"why"}}"#,
        ),
        (
            SagaEvent::Abandoned { actor: actor(), reason: reason(), owed: vec![step()] },
            r#"{"SagaAbandoned":{"actor":"operator:ana","reason":"why","owed":["pay"]}}"#,
        ),
        (SagaEvent::Completed, r#""SagaCompleted""#),
        (
            SagaEvent::Compensated { cause: by() },
            r#"{"SagaCompensated":{"cause":{"cancelled":{"reason":"why","actor":"customer:1"}}}}"#,
        ),
        (
            SagaEvent::Compensated { cause: spent() },
            r#"{"SagaCompensated":{"cause":{"exhausted":{"step":"pay","detail":"late"}}}}"#,
        ),
    ]
}

/// Those of steps that are awaited or left out, deadlines, pauses.
fn later_events() -> Vec<(SagaEvent<Any>, &'static str)> {
    let step = || StepName::new("pay");
    let at = || DateTime::from_timestamp_millis(1_767_225_600_250).unwrap();
    let input = Shared::from("in".to_owned());
    let definition = saga::<Any>("s", 1).pivot("pay", ask(word)).retriable("file", local()).build().unwrap();
    let (actor, reason) = (|| Actor::new("operator:ana"), || "why".to_owned());
    vec![
        (
            SagaEvent::Started {
                definition: definition.id().clone(),
                input,
                deadline: Some(Deadline { at: at(), binds: 2 }),
                parent: None,
            },
            r#"{"SagaStarted":{"definition":{"name":"s","version":1,"hash":"HASH"},"input":"in","deadline":{"at":"2026-01-01T00:00:00.250Z","binds":2}}}"#,
        ),
        (
            SagaEvent::StepAwaited { step: step(), attempt: 1, deadline: at() },
            r#"{"StepAwaited":{"step":"pay","attempt":1,"deadline":"2026-01-01T00:00:00.250Z"}}"#,
        ),
        (
            SagaEvent::StepSkipped { step: step(), lane: Lane::Forward, by_hand: None },
            r#"{"StepSkipped":{"step":"pay","lane":"forward"}}"#,
        ),
        (
            SagaEvent::StepSkipped {
                step: step(),
                lane: Lane::Undo,
                by_hand: Some(ByHand { actor: actor(), reason: reason() }),
            },
            r#"{"StepSkipped":{"step":"pay","lane":"undo","by_hand":{"actor":"operator:ana","reason":"why"}}}"#,
        ),
        (
            SagaEvent::StepRetried { step: step(), lane: Lane::Forward, actor: actor(), reason: reason() },
            r#"{"StepRetried":{"step":"pay","lane":"forward","actor":"operator:ana","reason":"why"}}"#,
        ),
        (
            SagaEvent::Paused { actor: actor(), reason: reason(), at: at() },
            r#"{"SagaPaused":{"actor":"operator:ana","reason":"why","at":"2026-01-01T00:00:00.250Z"}}"#,
        ),
        (
            SagaEvent::Unpaused { actor: actor(), reason: reason(), at: at() },
            r#"{"SagaUnpaused":{"actor":"operator:ana","reason":"why","at":"2026-01-01T00:00:00.250Z"}}"#,
        ),
        (
            SagaEvent::CompensationStarted { cause: CompensationCause::Late { deadline: at() } },
            r#"{"CompensationStarted":{"cause":{"late":{"deadline":"2026-01-01T00:00:00.250Z"}}}}"#,
        ),
    ]
}

/// Those of starts, holds, timers and migrations.
fn latest_events() -> Vec<(SagaEvent<Any>, &'static str)> {
    let step = || StepName::new("pay");
    let at = || DateTime::from_timestamp_millis(1_767_225_600_250).unwrap();
    let definition = saga::<Any>("s", 1).pivot("pay", ask(word)).retriable("file", local()).build().unwrap();
    let (actor, reason) = (|| Actor::new("operator:ana"), || "why".to_owned());
    vec![
        (
            SagaEvent::Started {
                definition: definition.id().clone(),
                input: Shared::from("in".to_owned()),
                deadline: None,
                parent: None,
            },
            r#"{"SagaStarted":{"definition":{"name":"s","version":1,"hash":"HASH"},"input":"in"}}"#,
        ),
        (
            SagaEvent::StepHeld {
                step: step(),
                lane: Lane::Undo,
                hold: HoldTarget::Participant("payment".to_owned()),
                actor: actor(),
                reason: reason(),
                at: at(),
            },
            r#"{"StepHeld":{"step":"pay","lane":"undo","hold":{"participant":"payment"},"actor":"operator:ana","reason":"why","at":"2026-01-01T00:00:00.250Z"}}"#,
        ),
        (
            SagaEvent::StepReleased { step: step(), lane: Lane::Forward, at: at() },
            r#"{"StepReleased":{"step":"pay","lane":"forward","at":"2026-01-01T00:00:00.250Z"}}"#,
        ),
        (
            SagaEvent::TimersShifted { step: None, by_ms: -5, actor: actor(), reason: reason() },
            r#"{"TimersShifted":{"by_ms":-5,"actor":"operator:ana","reason":"why"}}"#,
        ),
        (
            SagaEvent::TimersFrozen { actor: actor(), reason: reason(), at: at() },
            r#"{"TimersFrozen":{"actor":"operator:ana","reason":"why","at":"2026-01-01T00:00:00.250Z"}}"#,
        ),
        (
            SagaEvent::TimersThawed { actor: actor(), reason: reason(), at: at() },
            r#"{"TimersThawed":{"actor":"operator:ana","reason":"why","at":"2026-01-01T00:00:00.250Z"}}"#,
        ),
        (
            SagaEvent::TimerCancelled { step: Some(step()), actor: actor(), reason: reason() },
            r#"{"TimerCancelled":{"step":"pay","actor":"operator:ana","reason":"why"}}"#,
        ),
        (
            SagaEvent::Migrated { definition: definition.id().clone(), binds: 2, actor: actor(), reason: reason() },
            r#"{"SagaMigrated":{"definition":{"name":"s","version":1,"hash":"HASH"},"binds":2,"actor":"operator:ana","reason":"why"}}"#,
        ),
    ]
}

#[test]
fn every_event_is_stored_as_it_always_was_and_read_back_the_same() {
    for (event, expected) in events().into_iter().chain(later_events()).chain(latest_events()) {
        let hash = if let SagaEvent::Started { definition, .. } | SagaEvent::Migrated { definition, .. } = &event {
            definition.hash.to_string()
        } else {
            String::new()
        };
        let expected = expected.replace("HASH", &hash);
        let text = serde_json::to_string(&event).unwrap();
        assert_eq!(text, expected);
        assert_eq!(SagaEvent::<Any>::decode(event.type_name(), 1, &text).unwrap(), event);
    }
}
