//! How many connections are open at a time.

use std::sync::Arc;

use tokio::sync::Semaphore;

use crate::gathered::Gathered;

/// Lets connections in while there is room.
#[derive(Clone)]
pub(super) struct Admission(Arc<Semaphore>);

impl Admission {
    /// At most `max` at a time.
    pub(super) fn new(max: usize) -> Self {
        Self(Arc::new(Semaphore::new(max)))
    }

    /// The connection, which keeps its place as long as it lives; `None` when there is no room: dropped, it is closed, and
    /// its client may come again.
    pub(super) fn admit<S>(&self, connection: S) -> Option<Gathered<S>> {
        match Arc::clone(&self.0).try_acquire_owned() {
            Ok(place) => Some(Gathered::new(connection).holding(place)),
            Err(_) => {
                metrics::counter!("farmera_grpc_connections_refused_total").increment(1);
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_too_many_is_refused_until_another_ends() {
        let admission = Admission::new(2);
        let (first, second) = (admission.admit(()), admission.admit(()));
        assert!(first.is_some() && second.is_some());
        assert!(admission.admit(()).is_none());
        drop(first);
        assert!(admission.admit(()).is_some());
    }
}
