use std::future::Future;

use eventstore::{
    Actor, Aggregate, Append, Cause, Clock, Commit, CommitError, DecodeError, DomainEvent, EventId, EventStore,
    IdSource, NewEvent, ReadError, Recorded, StreamId, Version,
};
use saga::{DefinitionEvent, DefinitionHash, DefinitionRef, Library, Process, RecordedDefinition, Saga};
use uuid::Uuid;

/// Where to find the open sagas of a definition: a service's read model, most likely.
pub trait BoundSagas: Send + Sync + 'static {
    /// Open sagas that are bound to `definition`, whatever its hash; at most `limit`.
    ///
    /// # Errors
    /// [`ReadError`].
    fn bound(
        &self,
        definition: &DefinitionRef,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<Uuid>, ReadError>> + Send;
}

/// Why a program must not start with its definitions.
#[derive(Debug, thiserror::Error)]
pub enum DefinitionsError {
    /// A definition was changed and kept its version, while sagas run that are bound to it as it was. Give it a new
    /// version and keep the old one in the library, or start the program that has it as it was.
    #[error(
        "{name} v{version} was changed, but {sagas} open sagas or more are bound to it as it was ({recorded}): \
         give it a new version and keep this one"
    )]
    Changed {
        /// Its name.
        name: String,
        /// Its version.
        version: u32,
        /// What the sagas are bound to.
        recorded: DefinitionHash,
        /// How many of them were found.
        sagas: usize,
    },
    /// The store cannot be read. Try again.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// What is recorded is of a newer program. Start that one.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// It could not be recorded. Try again.
    #[error(transparent)]
    Commit(#[from] CommitError),
}

/// The most open sagas that are looked at for each definition that was changed.
const SAGAS_MAX: usize = 1_000;

/// Compares every definition of `library` with what the store knows under its name and version, and records what it does
/// not know. One that was changed under its version replaces what is recorded only while no open saga is bound to it.
///
/// # Errors
/// [`DefinitionsError`]: the program must not decide for sagas.
pub async fn record_definitions<P: Process>(
    store: &dyn EventStore,
    clock: &dyn Clock,
    ids: &dyn IdSource,
    library: &Library<P>,
    bound: &impl BoundSagas,
) -> Result<(), DefinitionsError> {
    for definition in library.definitions() {
        // Another replica may be as far: then it is compared with what that one recorded.
        loop {
            match record_one::<P>(store, clock, ids, definition.id(), bound).await {
                Err(DefinitionsError::Commit(CommitError::Conflict { .. })) => {}
                other => break other,
            }
        }?;
    }
    Ok(())
}

async fn record_one<P: Process>(
    store: &dyn EventStore,
    clock: &dyn Clock,
    ids: &dyn IdSource,
    known: &DefinitionRef,
    bound: &impl BoundSagas,
) -> Result<(), DefinitionsError> {
    let stream = RecordedDefinition::stream(RecordedDefinition::id_of(known));
    let stored = store.read_streams(&[(stream, Version::NONE)], 1_000).await?;
    let mut recorded = RecordedDefinition::default();
    for event in &stored {
        recorded = recorded.evolve(&DefinitionEvent::from_recorded(event)?);
    }
    let event = match recorded.definition {
        Some(recorded) if recorded.hash == known.hash => return Ok(()),
        Some(recorded) => {
            let sagas = bound_otherwise::<P>(store, known, bound).await?;
            if sagas > 0 {
                let (name, version) = (known.name.to_string(), known.version);
                return Err(DefinitionsError::Changed { name, version, recorded: recorded.hash, sagas });
            }
            DefinitionEvent::Replaced { definition: known.clone() }
        }
        None => DefinitionEvent::Recorded { definition: known.clone() },
    };
    let event = new_event(clock, ids, stream, &event)?;
    let (expected, previous) = stored.last().map_or((Version::NONE, None), |last| (last.version, last.digest));
    let append = Append::new(stream, expected, previous, vec![event]);
    store.commit(Commit { appends: vec![append], ..Commit::default() }).await?;
    Ok(())
}

/// How many open sagas are bound to the name and version of `known`, but to another hash.
async fn bound_otherwise<P: Process>(
    store: &dyn EventStore,
    known: &DefinitionRef,
    bound: &impl BoundSagas,
) -> Result<usize, DefinitionsError> {
    let mut otherwise = 0;
    for saga_id in bound.bound(known, SAGAS_MAX).await? {
        let stored = store.read_streams(&[(Saga::<P>::stream(saga_id), Version::NONE)], 10_000).await?;
        let saga = folded::<P>(&stored)?;
        let differs = saga.definition().is_some_and(|pinned| pinned.hash != known.hash);
        otherwise += usize::from(differs && !saga.is_ended());
    }
    Ok(otherwise)
}

fn folded<P: Process>(stored: &[Recorded]) -> Result<Saga<P>, DecodeError> {
    stored.iter().try_fold(Saga::default(), |saga: Saga<P>, event| {
        saga::SagaEvent::<P>::from_recorded(event).map(|event| saga.evolve(&event))
    })
}

fn new_event(
    clock: &dyn Clock,
    ids: &dyn IdSource,
    stream: StreamId,
    event: &DefinitionEvent,
) -> Result<NewEvent, ReadError> {
    let payload = serde_json::to_string(event).map_err(|error| ReadError::Corrupt(error.to_string()))?;
    let actor = Actor::new("service:start");
    Ok(NewEvent {
        id: EventId(ids.next_id()),
        type_name: event.type_name(),
        schema_version: event.event_type().version(),
        payload,
        time: clock.now(),
        cause: Cause { correlation: stream.id, causation: ids.next_id(), trace: None, actor },
    })
}
