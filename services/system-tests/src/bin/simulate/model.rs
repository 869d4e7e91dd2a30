//! The protocol, tried out in full: two orchestrators on one saga, messages that are lost, repeated and overtake each
//! other, crashes. And the same with a part left out, which must be refused.

use std::io::{self, Write};
use std::time::Instant;

use saga::prover::{Decider, End, Proof, Prover, Side, Unsound};
use saga::{
    Definition, DefinitionError, Facts, Input, Lane, Outcome, Process, Rejection, Status, ask, decide_given, local,
    pending, retriable, saga,
};

/// States at most, of one model.
const STATES_MAX: usize = 12_000_000;

#[derive(Clone, Debug, PartialEq)]
struct Order;

impl Process for Order {
    type Input = ();
    type Request = String;
    type Output = ();
}

fn request(_: &Facts<'_, Order>) -> String {
    String::new()
}

/// Reserve, authorize, then capture.
fn three_steps() -> Result<Definition<Order>, DefinitionError> {
    saga("three-steps", 1)
        .compensatable("reserve", ask(request).undo(request))
        .compensatable("authorize", ask(request).undo(request))
        .retriable("capture", ask(request))
        .build()
}

/// The shape of an order: two steps, the pivot, two at the same time, one more.
fn whole_order() -> Result<Definition<Order>, DefinitionError> {
    saga("whole-order", 1)
        .compensatable("reserve", ask(request).undo(request))
        .compensatable("authorize", ask(request).undo(request))
        .pivot("confirm", local())
        .in_parallel([retriable("capture", ask(request)), retriable("commit", ask(request))])
        .retriable("notify", ask(request))
        .build()
}

fn captured_in_vain(end: &End) -> bool {
    end.side("capture") == Side::Done && end.status != Status::Completed
}

fn prover(definition: &Definition<Order>, retries: u32) -> Prover<'_, Order> {
    Prover::new(definition, ())
        .without_operators()
        .two_orchestrators()
        .retries(retries)
        .states_max(STATES_MAX)
        .never("captured, and not completed", captured_in_vain)
}

/// The bug: a step without answer counts as refused.
const SILENCE_IS_NO: Decider<Order> = |definition, id, saga, input, now, given| {
    let waited_for = pending(saga).wanted.into_iter().find(|wanted| wanted.lane == Lane::Forward);
    let input = match (input, waited_for) {
        (Input::Wake, Some(wanted)) => {
            Input::Reply { step: wanted.step, outcome: Outcome::Rejected(Rejection::new("NO_ANSWER", "")) }
        }
        (input, _) => input,
    };
    decide_given(definition, id, saga, input, now, given)
};

/// Tries the models out; true when the whole ones hold and the others are refused.
///
/// # Errors
/// The output cannot be written.
pub fn check(out: &mut impl Write) -> io::Result<bool> {
    let (Ok(three), Ok(whole)) = (three_steps(), whole_order()) else { return Ok(false) };
    let mut sound = true;
    for (name, definition, retries) in [
        ("three steps, two tries", &three, 2),
        ("three steps, thirty tries", &three, 30),
        ("a whole order, two tries", &whole, 2),
        ("a whole order, five tries", &whole, 5),
    ] {
        let began = Instant::now();
        let proof = prover(definition, retries).prove();
        sound &= proof.is_ok();
        told(out, name, &proof, began)?;
    }
    for (name, definition) in [("three steps, with operators", &three), ("a whole order, with operators", &whole)] {
        let began = Instant::now();
        let proof = Prover::new(definition, ()).never("captured, and not completed", captured_in_vain).prove();
        sound &= proof.is_ok();
        told(out, name, &proof, began)?;
    }
    let broken = [
        ("without the fence of expected versions", prover(&three, 2).without_fence()),
        ("without the participants' barrier", prover(&three, 2).without_barrier()),
        ("with silence taken for a no", prover(&three, 2).decided_by(SILENCE_IS_NO)),
    ];
    for (name, prover) in broken {
        let began = Instant::now();
        let proof = prover.prove();
        sound &= matches!(proof, Err(Unsound::Counterexample { .. }));
        told(out, name, &proof, began)?;
    }
    Ok(sound)
}

fn told(out: &mut impl Write, name: &str, proof: &Result<Proof, Unsound>, began: Instant) -> io::Result<()> {
    let took = began.elapsed().as_secs_f64();
    match proof {
        Ok(Proof { states, sagas, transitions }) => writeln!(
            out,
            "{name}: {states} states ({sagas} of the saga), {transitions} transitions, no counterexample, {took:.1} s"
        ),
        Err(unsound) => writeln!(out, "{name}: refused after {took:.1} s: {unsound}"),
    }
}
