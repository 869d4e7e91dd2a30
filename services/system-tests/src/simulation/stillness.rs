//! Bugs about sagas that stand still: paused, frozen, at a hold.

use eventstore::{Aggregate as _, Unit};
use orders::handler::HandleError;
use orders::sagas::OrderProcess;
use saga::{Circumstances, Holds, Input as SagaInput, Lane, Library, Saga, SagaEvent, Until, decide_given, pending};
use uuid::Uuid;

use super::desk::operator;
use super::gate::stands_at;

/// The bug: what follows on the answers that came during a pause is not kept until the saga goes on.
///
/// # Errors
/// The saga is not at hand.
pub fn goes_on_while_paused(
    unit: &mut Unit<'_>,
    library: &Library<OrderProcess>,
    saga_id: Uuid,
) -> Result<(), HandleError> {
    let at = unit.now();
    let saga = unit.get::<Saga<OrderProcess>>(saga_id)?;
    if !saga.is_paused() {
        return Ok(());
    }
    let going = saga.clone().evolve(&SagaEvent::Unpaused { actor: operator(), reason: String::new(), at });
    let events = decided(unit, library, saga_id, &going, SagaInput::Wake)?;
    Ok(unit.record::<Saga<OrderProcess>>(saga_id, &events)?)
}

/// The bug: whoever waits at a hold passes it when anybody looks, and does not say so.
///
/// # Errors
/// The saga is not at hand.
pub fn passes_its_hold(unit: &mut Unit<'_>, library: &Library<OrderProcess>, saga_id: Uuid) -> Result<(), HandleError> {
    let saga = unit.get::<Saga<OrderProcess>>(saga_id)?.clone();
    let Some((hold, _)) = stands_at(&saga).into_iter().next() else { return Ok(()) };
    let mut events = decided(unit, library, saga_id, &saga, SagaInput::Release { hold: hold.clone() })?;
    events.retain(|event| !matches!(event, SagaEvent::StepReleased { .. }));
    Ok(unit.record::<Saga<OrderProcess>>(saga_id, &events)?)
}

/// The bug: an answer is late even though time stands still. What is too late then, if anything.
///
/// # Errors
/// The saga is not at hand.
pub fn late_while_frozen(unit: &mut Unit<'_>, saga_id: Uuid) -> Result<Option<SagaInput<OrderProcess>>, HandleError> {
    let now = unit.now();
    let saga = unit.get::<Saga<OrderProcess>>(saga_id)?;
    if !saga.is_frozen() || saga.is_paused() {
        return Ok(None);
    }
    let late = pending(saga).wanted.into_iter().find(|wanted| match wanted.until {
        Until::Deadline(due) => wanted.lane == Lane::Forward && due <= now,
        Until::Retry(_) | Until::Operator | Until::Release => false,
    });
    let outcome = saga::Outcome::Unknown(saga::NO_ANSWER.to_owned());
    Ok(late.map(|wanted| SagaInput::Reply { step: wanted.step, outcome }))
}

/// What follows for `saga` where nothing is held.
fn decided(
    unit: &Unit<'_>,
    library: &Library<OrderProcess>,
    saga_id: Uuid,
    saga: &Saga<OrderProcess>,
    input: SagaInput<OrderProcess>,
) -> Result<Vec<SagaEvent<OrderProcess>>, HandleError> {
    let Some(pinned) = saga.definition() else { return Ok(Vec::new()) };
    let definition = library.pinned(pinned).map_err(|unknown| HandleError::Undecidable(unknown.to_string()))?;
    let circumstances = Circumstances { holds: Holds::NONE, successor: None };
    Ok(decide_given(definition, saga_id, saga, input, unit.now(), circumstances)?)
}
