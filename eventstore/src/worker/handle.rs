//! Where inputs are handed in, and what whoever does is told.

use tokio::sync::{mpsc, oneshot};

use super::Handler;
use crate::{Cause, Committed, DeadLetter, Need};

/// An answer, and the commit that made it durable. `None` when there was nothing to store.
#[derive(Debug)]
pub struct Done<O> {
    /// The handler's answer.
    pub output: O,
    /// The commit.
    pub committed: Option<Committed>,
}

/// Why an input has no effect, or none that is known.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError<E> {
    /// The rules refuse it. Do not try again unchanged.
    #[error("refused")]
    Rejected(E),
    /// It is about a stream that this program cannot use: of a newer program ([`Need::Newer`]; try again when that is
    /// deployed), or damaged ([`Need::Broken`]; an operator must look). Park it, or give it back; never drop it.
    #[error(transparent)]
    Parked(Need),
    /// The store will never take what it leads to. Park it.
    #[error("the outcome cannot be stored: {0}")]
    Unstorable(String),
    /// It was handled before. Drop it.
    #[error("handled before")]
    Duplicate,
    /// The store does not answer, or too many writers compete. Try again with backoff; handling is idempotent.
    #[error("not available now: {0}")]
    Unavailable(String),
    /// The service is shutting down. Try again elsewhere or later.
    #[error("the service is stopping")]
    Stopping,
}

pub(super) enum Work<H: Handler> {
    Input(H::Input),
    Park(DeadLetter),
}

pub(super) type Answer<H> = Result<Done<Option<<H as Handler>::Output>>, SubmitError<<H as Handler>::Error>>;

pub(super) struct Request<H: Handler> {
    pub(super) work: Work<H>,
    pub(super) cause: Cause,
    pub(super) answer: oneshot::Sender<Answer<H>>,
}

/// Where inputs are handed in. Cheap to clone; the worker ends when the last handle is gone.
pub struct WorkerHandle<H: Handler>(pub(super) mpsc::Sender<Request<H>>);

impl<H: Handler> Clone for WorkerHandle<H> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<H: Handler> WorkerHandle<H> {
    /// Hands in one input and waits until its effects are durable. A caller that goes away changes nothing: the input
    /// is handled all the same.
    ///
    /// # Errors
    /// [`SubmitError`] says what to do.
    pub async fn submit(&self, input: H::Input, cause: Cause) -> Result<Done<H::Output>, SubmitError<H::Error>> {
        let done = self.request(Work::Input(input), cause).await?;
        match done.output {
            Some(output) => Ok(Done { output, committed: done.committed }),
            None => Err(SubmitError::Stopping),
        }
    }

    /// Parks a message that cannot be handled, in the transaction of whatever else is in the batch.
    ///
    /// # Errors
    /// [`SubmitError`] says what to do.
    pub async fn park(&self, letter: DeadLetter, cause: Cause) -> Result<(), SubmitError<H::Error>> {
        self.request(Work::Park(letter), cause).await.map(|_| ())
    }

    async fn request(&self, work: Work<H>, cause: Cause) -> Answer<H> {
        let (answer, answered) = oneshot::channel();
        self.0.send(Request { work, cause, answer }).await.map_err(|_| SubmitError::Stopping)?;
        answered.await.map_err(|_| SubmitError::Stopping)?
    }
}
