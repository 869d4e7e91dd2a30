//! What is proven of a definition before anybody knows what its sagas are about: its shape.

use super::{Prover, Unsound};
use crate::definition::{Action, Ask, ChildOf, Condition, Definition, Step};
use crate::{Facts, Process};

/// A process about nothing: a saga's input says which of its conditional steps are taken, a bit for each.
#[derive(Clone, PartialEq, Debug)]
struct Shape;

impl Process for Shape {
    type Input = u16;
    type Request = ();
    type Output = ();
}

/// More conditional steps than these are all taken, none of them, or all but one.
const COMBINED_MAX: usize = 3;

/// Proves the shape of `definition`, as far as `states_max` moments of it go. What is beyond them is left to
/// [`Prover`]: nearest first is tried first, so what is wrong with a few steps is found.
///
/// # Errors
/// The shortest story that breaks a promise.
pub(crate) fn prove_shape<P: Process>(definition: &Definition<P>, states_max: usize) -> Result<(), Unsound> {
    let shape = shape(definition);
    for taken in combinations(&shape) {
        match Prover::new(&shape, taken).without_operators().states_max(states_max).prove() {
            Ok(_) | Err(Unsound::TooLarge { .. }) => {}
            Err(unsound @ (Unsound::NoUndo { .. } | Unsound::Counterexample { .. })) => return Err(unsound),
        }
    }
    Ok(())
}

fn combinations(shape: &Definition<Shape>) -> Vec<u16> {
    let conditional = shape.steps().iter().enumerate().filter(|(_, step)| step.ask().is_some_and(Ask::is_conditional));
    let bits: Vec<u16> = conditional.map(|(index, _)| bit(index)).collect();
    if bits.len() <= COMBINED_MAX {
        let of = |chosen: usize| bits.iter().enumerate().filter(move |(place, _)| chosen & (1 << place) != 0);
        return (0..1 << bits.len()).map(|chosen: usize| of(chosen).map(|(_, bit)| bit).sum()).collect();
    }
    [u16::MAX, 0].into_iter().chain(bits.iter().map(|bit| !bit)).collect()
}

fn bit(index: usize) -> u16 {
    u32::try_from(index).ok().and_then(|index| 1_u16.checked_shl(index)).unwrap_or(0)
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

fn same(facts: &Facts<'_, Shape>) -> u16 {
    *facts.input()
}

fn is_taken<const INDEX: usize>(facts: &Facts<'_, Shape>) -> bool {
    facts.input() & bit(INDEX) != 0
}

/// Conditions are plain functions: one for each place.
const CONDITIONS: [Condition<Shape>; super::world::STEPS_MAX] = [
    is_taken::<0>,
    is_taken::<1>,
    is_taken::<2>,
    is_taken::<3>,
    is_taken::<4>,
    is_taken::<5>,
    is_taken::<6>,
    is_taken::<7>,
    is_taken::<8>,
    is_taken::<9>,
    is_taken::<10>,
    is_taken::<11>,
    is_taken::<12>,
    is_taken::<13>,
    is_taken::<14>,
    is_taken::<15>,
];
