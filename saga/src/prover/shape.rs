//! What is proven of a definition before anybody knows what its sagas are about: its shape.

use super::world::{STEPS_MAX, Steps};
use super::{Prover, Unsound};
use crate::definition::{Action, Ask, ChildOf, Condition, Definition, Step};
use crate::{Facts, Process};

/// A process about nothing: a saga's input says which of its conditional steps are taken, a bit for each.
#[derive(Clone, PartialEq, Debug)]
struct Shape;

impl Process for Shape {
    type Input = Steps;
    type Request = ();
    type Output = ();
}

/// More conditional steps than these are all taken, none of them, or all but one.
const COMBINED_MAX: usize = 3;

/// Up to so many steps, and so many choices of conditional ones, each choice has all the moments that are allowed. What is
/// larger has less of them: it takes no longer to build.
const WHOLE_STEPS_MAX: usize = 16;
const WHOLE_CHOICES_MAX: usize = 1 << COMBINED_MAX;

/// Proves the shape of `definition`, as far as `states_max` moments of it go. What is beyond them is left to
/// [`Prover`]: nearest first is tried first, so what is wrong with a few steps is found.
///
/// # Errors
/// The shortest story that breaks a promise.
pub(crate) fn prove_shape<P: Process>(definition: &Definition<P>, states_max: usize) -> Result<(), Unsound> {
    let shape = shape(definition);
    let choices = combinations(&shape);
    let size = shape.steps().len().max(WHOLE_STEPS_MAX) * choices.len().max(WHOLE_CHOICES_MAX);
    let states_max = states_max * WHOLE_STEPS_MAX * WHOLE_CHOICES_MAX / size;
    for taken in choices {
        match Prover::new(&shape, taken).without_operators().states_max(states_max).prove() {
            Ok(_) | Err(Unsound::TooLarge { .. }) => {}
            Err(unsound @ (Unsound::NoUndo { .. } | Unsound::Counterexample { .. })) => return Err(unsound),
        }
    }
    Ok(())
}

fn combinations(shape: &Definition<Shape>) -> Vec<Steps> {
    let conditional = shape.steps().iter().enumerate().filter(|(_, step)| step.ask().is_some_and(Ask::is_conditional));
    let bits: Vec<Steps> = conditional.map(|(index, _)| bit(index)).collect();
    if bits.len() <= COMBINED_MAX {
        let of = |chosen: usize| bits.iter().enumerate().filter(move |(place, _)| chosen & (1 << place) != 0);
        return (0..1 << bits.len()).map(|chosen: usize| of(chosen).map(|(_, bit)| bit).sum()).collect();
    }
    [Steps::MAX, 0].into_iter().chain(bits.iter().map(|bit| !bit)).collect()
}

fn bit(index: usize) -> Steps {
    u32::try_from(index).ok().and_then(|index| (1 as Steps).checked_shl(index)).unwrap_or(0)
}

fn shape<P: Process>(definition: &Definition<P>) -> Definition<Shape> {
    definition.in_other_words(|index, step| {
        let action = match &step.action {
            Action::Local => Action::Local,
            Action::Ask(ask) => Action::Ask(Ask {
                request: ask.request.map(|_| word as fn(&Facts<'_, Shape>)),
                child: ask.child.as_ref().map(|child| ChildOf { definition: child.definition, input: same }),
                only_if: ask.only_if.and_then(|_| CONDITIONS.get(index).copied()),
                timeout: ask.timeout,
                retry: ask.retry,
                undo: ask.undo.map(|_| word as fn(&Facts<'_, Shape>)),
                undo_retry: ask.undo_retry,
                participant: ask.participant,
            }),
        };
        Step { name: step.name.clone(), kind: step.kind, action }
    })
}

fn word(_: &Facts<'_, Shape>) {}

fn same(facts: &Facts<'_, Shape>) -> Steps {
    *facts.input()
}

fn is_taken<const INDEX: usize>(facts: &Facts<'_, Shape>) -> bool {
    facts.input() & bit(INDEX) != 0
}

macro_rules! conditions {
    ($($index:literal)+) => { [$(is_taken::<$index>,)+] };
}

/// Conditions are plain functions: one for each place.
const CONDITIONS: [Condition<Shape>; STEPS_MAX] = conditions![
    0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15
    16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31
    32 33 34 35 36 37 38 39 40 41 42 43 44 45 46 47
    48 49 50 51 52 53 54 55 56 57 58 59 60 61 62 63
];
