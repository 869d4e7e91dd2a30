use super::{Decision, Refusal, advance};
use crate::policy::later;
use crate::{Deadline, Parent, Process, SagaEvent, Shared};

/// Starting the same saga twice is starting it once: whoever did not hear the answer may ask again.
pub(super) fn start<P: Process>(
    decision: &mut Decision<'_, P>,
    input: P::Input,
    parent: Option<Parent>,
) -> Result<(), Refusal> {
    match decision.saga.origin() {
        None => {
            let definition = decision.definition.id().clone();
            let binds = decision.definition.no_return();
            let deadline = decision.definition.deadline();
            let deadline = deadline.map(|within| Deadline { at: later(decision.now, within), binds });
            decision.record(SagaEvent::Started { definition, input: Shared::from(input), deadline, parent });
            advance::advance(decision);
            Ok(())
        }
        Some(origin)
            if origin.definition.name == decision.definition.id().name
                && *origin.input == input
                && origin.parent == parent =>
        {
            Ok(())
        }
        Some(origin) => Err(Refusal::StartedOtherwise { definition: origin.definition.clone() }),
    }
}
