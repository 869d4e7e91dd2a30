use eventstore::Aggregate as _;

use super::*;
use crate::{Ask, CompensationCause, Facts, Outcome, Rejection, RetryPolicy, Step, UndoOutcome, ask, local, pending};

#[derive(Clone, PartialEq, Debug)]
struct Trip;

impl Process for Trip {
    type Input = u32;
    type Request = String;
    type Output = ();
}

fn book(_: &Facts<'_, Trip>) -> String {
    "book".to_owned()
}

fn free(_: &Facts<'_, Trip>) -> String {
    "free".to_owned()
}

fn large(facts: &Facts<'_, Trip>) -> bool {
    *facts.input() > 100
}

fn trip() -> Definition<Trip> {
    crate::saga("trip", 1)
        .compensatable("seat", ask(book).undo(free))
        .compensatable("room", ask(book).undo(free))
        .retriable("ticket", ask(book))
        .build()
        .unwrap()
}

fn seat_and_pivot() -> Definition<Trip> {
    crate::saga("trip", 1)
        .compensatable("seat", ask(book).undo(free))
        .pivot("confirm", local())
        .retriable("pay", ask(book))
        .build()
        .unwrap()
}

/// A definition as the builder would never build it.
fn unsound(steps: &[(&'static str, Kind, Ask<Trip>)]) -> Definition<Trip> {
    let steps: Vec<Step<Trip>> = steps
        .iter()
        .map(|(name, kind, ask)| Step { name: StepName::new(name), kind: *kind, action: Action::Ask(ask.clone()) })
        .collect();
    Definition::assemble("unsound", 1, crate::definition::Terms::default(), steps.chunks(1))
}

fn refused(prover: Prover<'_, Trip>) -> (String, Vec<String>) {
    match prover.prove() {
        Err(Unsound::Counterexample { promise, story }) => (promise, story),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_sound_definition_is_proven_and_everything_was_tried() {
    let proof = Prover::new(&trip(), 1).prove().unwrap_or_else(|unsound| panic!("{unsound}"));
    assert!(proof.states > 150, "{proof:?}");
    let more = Prover::new(&trip(), 1).retries(3).prove().unwrap_or_else(|unsound| panic!("{unsound}"));
    assert!(more.sagas > proof.sagas, "{more:?} against {proof:?}");
}

#[test]
fn a_compensatable_step_without_an_undo_is_refused_at_once() {
    let definition = unsound(&[("seat", Kind::Compensatable, ask(book)), ("pay", Kind::Pivot, ask(book))]);
    let refused = Prover::new(&definition, 1).prove().unwrap_err();
    assert_eq!(refused, Unsound::NoUndo { step: StepName::new("seat") });
}

#[test]
fn money_taken_before_the_goods_are_sure_is_refused_with_a_story() {
    // The retriable step comes before the compensatable one: what is taken is not given back.
    let definition =
        unsound(&[("capture", Kind::Retriable, ask(book)), ("reserve", Kind::Compensatable, ask(book).undo(free))]);
    let captured = |end: &End| end.side("capture") == Side::Done && end.status != Status::Completed;
    let (promise, story) = refused(Prover::new(&definition, 1).never("captured, and not completed", captured));
    // That somebody is compensated with something done is wrong whatever it is, so that is what is found.
    assert_eq!(promise, "whoever is compensated has nothing done");
    let told = story.join("\n");
    assert!(told.starts_with("the saga is started: SagaStarted, StepRequested capture"), "{told}");
    assert!(told.contains("the answer \"refused\" of reserve comes") || told.contains("cancels"), "{told}");
    assert!(told.ends_with("SagaCompensated"), "{told}");
}

#[test]
fn a_promise_of_ones_own_is_kept_too() {
    let definition = seat_and_pivot();
    let sound = Prover::new(&definition, 1)
        .never("paid, and not completed", |end| end.side("pay") == Side::Done && end.status != Status::Completed);
    assert!(sound.prove().is_ok());
    let (promise, story) = refused(
        Prover::new(&definition, 1)
            .without_operators()
            .never("completed at all", |end| end.status == Status::Completed),
    );
    assert_eq!(promise, "never: completed at all");
    assert!(story.last().unwrap().ends_with("StepSucceeded pay, SagaCompleted"), "{story:#?}");
}

#[test]
fn participants_without_a_barrier_are_refused() {
    let (promise, story) = refused(Prover::new(&trip(), 1).without_barrier());
    assert_eq!(promise, "whoever is compensated has nothing done");
    // The undo overtakes its step, which is done when everything is over.
    let place = |what: &str| story.iter().position(|line| line.starts_with(what));
    let (undone, done) = (place("(the request to undo seat arrives)"), place("(the request to seat arrives: done)"));
    assert!(undone.is_some() && undone < done, "{story:#?}");
}

#[test]
fn taking_silence_for_a_no_is_refused() {
    let (promise, _) =
        refused(Prover::new(&trip(), 1).without_operators().decided_by(|definition, id, saga, input, now, given| {
            let late = pending(saga).wanted.into_iter().find(|wanted| wanted.lane == crate::Lane::Forward);
            match (input, late) {
                (Input::Wake, Some(wanted)) => {
                    let outcome = Outcome::Rejected(Rejection::new("NO_ANSWER", ""));
                    decide_given(definition, id, saga, Input::Reply { step: wanted.step, outcome }, now, given)
                }
                (input, _) => decide_given(definition, id, saga, input, now, given),
            }
        }));
    assert_eq!(promise, "whoever is compensated has nothing done");
}

#[test]
fn a_decider_that_is_deaf_in_one_state_is_refused() {
    let (promise, story) = refused(Prover::new(&trip(), 1).decided_by(|definition, id, saga, input, now, given| {
        let deaf = matches!((&input, saga), (Input::UndoReply { .. }, Saga::Compensating(_)));
        if deaf { Ok(Vec::new()) } else { decide_given(definition, id, saga, input, now, given) }
    }));
    assert_eq!(promise, "an answer that is sought is heard");
    assert_eq!(story.last().unwrap(), "the answer \"undone\" of seat comes", "{story:#?}");
}

#[test]
fn a_decider_that_undoes_what_nobody_asked_for_is_refused() {
    let (promise, _) = refused(Prover::new(&trip(), 1).decided_by(|definition, id, saga, input, now, given| {
        let mut events = decide_given(definition, id, saga, input, now, given)?;
        if events.iter().any(|event| matches!(event, SagaEvent::CompensationStarted { .. })) {
            let (step, request) = (StepName::new("ticket"), crate::Shared::from("free".to_owned()));
            events.push(SagaEvent::CompensationRequested { step, attempt: 1, request, deadline: now });
        }
        Ok(events)
    }));
    assert_eq!(promise, "nothing is undone that was never asked for");
}

fn parked_at_once(now: DateTime<Utc>) -> Vec<SagaEvent<Trip>> {
    let cause = CompensationCause::Cancelled { reason: String::new(), actor: crate::testing::tester() };
    let (step, request) = (StepName::new("seat"), crate::Shared::from("free".to_owned()));
    vec![
        SagaEvent::CompensationStarted { cause },
        SagaEvent::CompensationRequested { step: step.clone(), attempt: 1, request, deadline: now },
        SagaEvent::Parked { step, lane: crate::Lane::Undo, detail: String::new() },
    ]
}

#[test]
fn a_saga_that_parks_and_hears_nothing_is_refused() {
    let (promise, _) = refused(Prover::new(&seat_and_pivot(), 1).without_operators().decided_by(
        |definition, id, saga, input, now, given| {
            // It parks its undo, and does not listen any more.
            let parks = matches!((&input, saga), (Input::Cancel { .. }, Saga::Running(_)));
            let deaf = matches!(&input, Input::UndoReply { outcome: UndoOutcome::Done, .. });
            match (parks, deaf) {
                (true, _) => Ok(parked_at_once(now)),
                (false, true) => Ok(Vec::new()),
                (false, false) => decide_given(definition, id, saga, input, now, given),
            }
        },
    ));
    assert_eq!(promise, "an answer that is sought is heard");
}

#[test]
fn two_orchestrators_on_one_saga_are_as_good_as_one() {
    let proof = Prover::new(&trip(), 1)
        .without_operators()
        .two_orchestrators()
        .prove()
        .unwrap_or_else(|unsound| panic!("{unsound}"));
    assert!(proof.states > 3_500, "{proof:?}");
}

#[test]
fn without_the_fence_two_orchestrators_are_refused() {
    let (promise, story) = refused(Prover::new(&trip(), 1).without_operators().two_orchestrators().without_fence());
    assert!(story.iter().any(|line| line.starts_with("orchestrator 2")), "{promise}: {story:#?}");
}

/// Word from outside, a step that may be left out, two at the same time.
fn everything() -> Definition<Trip> {
    crate::saga("everything", 1)
        .deadline(std::time::Duration::from_hours(1))
        .compensatable("visa", ask(book).undo(free).only_if(|facts| *facts.input() > 1))
        .in_parallel([
            crate::compensatable("seat", ask(book).undo(free)),
            crate::compensatable("word", crate::await_word(std::time::Duration::from_secs(9))),
        ])
        .pivot("pay", ask(book))
        .retriable("ticket", ask(book))
        .build()
        .unwrap()
}

#[test]
fn what_operators_may_do_is_tried_out_too() {
    let definition = everything();
    for input in [1, 2] {
        let few = Prover::new(&definition, input).without_operators().prove().unwrap_or_else(|wrong| panic!("{wrong}"));
        let all = Prover::new(&definition, input).prove().unwrap_or_else(|wrong| panic!("{wrong}"));
        assert!(all.states > 10 * few.states, "{all:?} against {few:?}");
    }
}

#[test]
fn a_pause_that_does_not_stop_is_refused() {
    let (promise, story) = refused(Prover::new(&trip(), 1).decided_by(|definition, id, saga, input, now, given| {
        let mut events = decide_given(definition, id, saga, input.clone(), now, given)?;
        if matches!(input, Input::Reply { .. }) && saga.is_paused() && !events.is_empty() {
            let (step, request) = (StepName::new("room"), crate::Shared::from("book".to_owned()));
            events.push(SagaEvent::StepRequested { step, attempt: 1, request, deadline: now });
        }
        Ok(events)
    }));
    assert_eq!(promise, "nothing is asked for while it is paused");
    assert!(story.contains(&"an operator pauses: SagaPaused".to_owned()), "{story:#?}");
}

#[test]
fn a_pause_without_an_end_is_refused() {
    let (promise, story) = refused(Prover::new(&trip(), 1).decided_by(|definition, id, saga, input, now, given| {
        let goes_on = matches!(input, Input::Unpause { .. });
        if goes_on { Err(Refusal::NotPaused) } else { decide_given(definition, id, saga, input, now, given) }
    }));
    assert_eq!(promise, "whatever is paused can go on");
    assert_eq!(story.last().unwrap(), "an operator lets it go on");
}

#[test]
fn time_that_goes_on_while_it_stands_still_is_refused() {
    let (promise, story) = refused(Prover::new(&trip(), 1).decided_by(|definition, id, saga, input, now, given| {
        let (actor, reason, at) = (crate::testing::tester(), String::new(), crate::testing::DAWN);
        let thawed = saga.clone().evolve(&SagaEvent::TimersThawed { actor, reason, at });
        let believed = if matches!(input, Input::Wake) { &thawed } else { saga };
        decide_given(definition, id, believed, input, now, given)
    }));
    assert_eq!(promise, "nobody is given up while time stands still");
    assert!(story.contains(&"an operator lets time stand still: TimersFrozen".to_owned()), "{story:#?}");
}

#[test]
fn time_that_stands_still_for_ever_is_refused() {
    let (promise, story) = refused(Prover::new(&trip(), 1).decided_by(|definition, id, saga, input, now, given| {
        let goes_on = matches!(input, Input::ThawTimers { .. });
        if goes_on { Err(Refusal::NotFrozen) } else { decide_given(definition, id, saga, input, now, given) }
    }));
    assert_eq!(promise, "whatever stands still can go on");
    assert_eq!(story.last().unwrap(), "an operator lets time go on");
}

#[test]
fn a_hold_that_is_not_heeded_is_refused() {
    let (promise, story) = refused(
        Prover::new(&trip(), 1)
            .decided_by(|definition, id, saga, input, now, _| crate::decide(definition, id, saga, input, now)),
    );
    assert_eq!(promise, "nothing is asked for that is held");
    assert!(story.first().unwrap().starts_with("(an operator holds seat)"), "{story:#?}");
}

#[test]
fn a_hold_that_nobody_leaves_is_refused() {
    let (promise, _) = refused(Prover::new(&trip(), 1).decided_by(|definition, id, saga, input, now, given| {
        let waits = saga.steps().iter().any(|step| step.phase == crate::StepPhase::Held);
        let sleeps = waits && matches!(input, Input::Wake);
        if sleeps { Ok(Vec::new()) } else { decide_given(definition, id, saga, input, now, given) }
    }));
    assert_eq!(promise, "whatever was held goes on after the hold");
}

#[test]
fn an_abandoned_saga_that_forgets_what_it_owes_is_refused() {
    let (promise, story) = refused(Prover::new(&trip(), 1).decided_by(|definition, id, saga, input, now, given| {
        let mut events = decide_given(definition, id, saga, input, now, given)?;
        for event in &mut events {
            if let SagaEvent::Abandoned { owed, .. } = event {
                owed.clear();
            }
        }
        Ok(events)
    }));
    assert_eq!(promise, "whoever is abandoned owes what is done");
    // What was asked for arrives when it is all over: it was owed already.
    assert!(story.contains(&"an operator abandons: SagaAbandoned".to_owned()), "{story:#?}");
}

#[test]
fn a_skipped_step_that_is_not_undone_is_refused() {
    let (promise, story) = refused(Prover::new(&trip(), 1).decided_by(|definition, id, saga, input, now, given| {
        // What somebody has seen to is taken for never asked for.
        let forgets = |saga: &Saga<Trip>| match saga {
            Saga::Running(state) => {
                let mut state = state.clone();
                for step in &mut state.steps {
                    if let crate::Phase::Skipped { attempts } = &mut step.phase {
                        *attempts = 0;
                    }
                }
                Saga::Running(state)
            }
            Saga::NotStarted | Saga::Compensating(_) | Saga::Ended(_) => saga.clone(),
        };
        if matches!(input, Input::Abandon { .. }) {
            return Ok(Vec::new());
        }
        decide_given(definition, id, &forgets(saga), input, now, given)
    }));
    assert_eq!(promise, "whoever is compensated has nothing done");
    assert!(story.iter().any(|line| line.starts_with("an operator skips seat")), "{story:#?}");
}

#[test]
fn the_shape_of_an_unsound_definition_is_refused_without_knowing_what_it_is_about() {
    let definition =
        unsound(&[("capture", Kind::Retriable, ask(book)), ("reserve", Kind::Compensatable, ask(book).undo(free))]);
    let refused = prove_shape(&definition, crate::PROVEN_STATES_MAX).unwrap_err();
    let error = crate::DefinitionError {
        name: "unsound",
        version: 1,
        problems: vec![crate::Problem::Unsound(Box::new(refused))],
    };
    let told = error.to_string();
    assert!(told.starts_with("saga unsound v1 cannot be: whoever is compensated has nothing done -- is not kept:\n"));
    assert!(told.contains("\n  the saga is started: SagaStarted, StepRequested capture\n"), "{told}");
    assert!(told.ends_with("SagaCompensated"), "{told}");
}

#[test]
fn a_definition_of_as_many_steps_as_there_may_be_is_refused_like_a_short_one() {
    let begins = [
        ("capture", Kind::Retriable, ask(book)),
        ("reserve", Kind::Compensatable, ask(book).undo(free).only_if(large)),
    ];
    let name = |number: usize| -> &'static str { format!("step-{number}").leak() };
    let goes_on = (begins.len()..world::STEPS_MAX).map(|number| (name(number), Kind::Retriable, ask(book)));
    let steps: Vec<_> = begins.into_iter().chain(goes_on).collect();
    assert_eq!(steps.len(), Definition::<Trip>::STEPS_MAX);
    let refused = prove_shape(&unsound(&steps), crate::PROVEN_STATES_MAX).unwrap_err();
    let Unsound::Counterexample { promise, story } = refused else { panic!("{refused}") };
    assert_eq!(promise, "whoever is compensated has nothing done");
    assert!(story.len() < 10, "{story:#?}");
}

#[test]
fn what_is_too_large_is_not_called_proven() {
    let refused = Prover::new(&trip(), 1).states_max(100).prove().unwrap_err();
    assert!(matches!(refused, Unsound::TooLarge { states } if states > 100), "{refused}");
    let policy = RetryPolicy::new(9, std::time::Duration::from_millis(1), std::time::Duration::from_secs(1));
    let many = crate::saga::<Trip>("many", 1).retriable("one", ask(book).retry(policy)).build().unwrap();
    assert!(Prover::new(&many, 1).prove().is_ok());
}
