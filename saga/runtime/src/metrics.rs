use std::marker::PhantomData;
use std::sync::Arc;

use eventstore::worker::CommitListener;
use eventstore::{Aggregate, Committed, Recorded};
use faults::Point;
use saga::{Process, Saga};

/// Counts what becomes of sagas. A listener, so that what is decided twice and stored once is counted once.
#[derive(Clone, Copy, Debug, Default)]
pub struct SagaMetrics<P>(PhantomData<fn() -> P>);

impl<P> SagaMetrics<P> {
    /// The listener.
    #[must_use]
    pub fn new() -> Self {
        Self(PhantomData)
    }
}

impl<P: Process> CommitListener for SagaMetrics<P> {
    fn committed(&self, events: &Arc<[Recorded]>, _committed: Committed) {
        for event in events.iter().filter(|event| event.stream.category == Saga::<P>::CATEGORY) {
            match event.type_name.as_str() {
                "SagaStarted" => metrics::counter!("farmera_saga_started_total").increment(1),
                "SagaParked" => metrics::counter!("farmera_saga_parked_total").increment(1),
                "SagaCompleted" => ended("completed"),
                "SagaCompensated" => ended("compensated"),
                "SagaAbandoned" => ended("abandoned"),
                "CompensationRequested" => faults::reach(Point::CompensationAfter),
                _ => {} // names of events, not a variant of ours: most of them say nothing of the saga as a whole
            }
        }
    }
}

fn ended(outcome: &'static str) {
    metrics::counter!("farmera_saga_ended_total", "outcome" => outcome).increment(1);
}
