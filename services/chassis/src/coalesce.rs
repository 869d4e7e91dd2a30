//! Many callers, one call: what is asked while a call is under way is asked together in the next.
//!
//! Idle, a question leaves at once; under load batches form by themselves. No timer.

use std::future::Future;

use tokio::sync::{mpsc, oneshot};

/// The call behind a [`Coalescer`] is gone: the service is stopping.
#[derive(Debug, thiserror::Error, Clone, Copy, PartialEq, Eq)]
#[error("the service is stopping")]
pub struct Stopped;

type Question<Q, A> = (Q, oneshot::Sender<A>);

/// Where questions are asked. Cheap to clone.
pub struct Coalescer<Q, A>(mpsc::Sender<Question<Q, A>>);

impl<Q, A> Clone for Coalescer<Q, A> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<Q: Send + 'static, A: Send + 'static> Coalescer<Q, A> {
    /// A coalescer and the loop that must run for it. `call` answers up to `batch_max` questions at once, in their
    /// order; a missing answer tells its caller [`Stopped`]. At most `batch_max` more questions wait.
    pub fn new<F, R>(batch_max: usize, call: F) -> (Self, impl Future<Output = ()> + Send)
    where
        F: Fn(Vec<Q>) -> R + Send + 'static,
        R: Future<Output = Vec<A>> + Send,
    {
        let (sender, mut questions) = mpsc::channel::<Question<Q, A>>(batch_max);
        let run = async move {
            let mut batch = Vec::new();
            while questions.recv_many(&mut batch, batch_max).await > 0 {
                let (asked, askers): (Vec<Q>, Vec<oneshot::Sender<A>>) = batch.drain(..).unzip();
                for (answer, asker) in call(asked).await.into_iter().zip(askers) {
                    drop(asker.send(answer));
                }
            }
        };
        (Self(sender), run)
    }

    /// Asks.
    ///
    /// # Errors
    /// [`Stopped`].
    pub async fn ask(&self, question: Q) -> Result<A, Stopped> {
        let (asker, answer) = oneshot::channel();
        self.0.send((question, asker)).await.map_err(|_| Stopped)?;
        answer.await.map_err(|_| Stopped)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn questions_asked_at_the_same_time_share_a_call_and_get_their_own_answers() {
        let calls = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&calls);
        let (coalescer, run) = Coalescer::new(64, move |questions: Vec<u32>| {
            counted.fetch_add(1, Ordering::Relaxed);
            async move { questions.into_iter().map(|question| question * 2).collect() }
        });
        let ask_all = async move { futures::future::join_all((0..32).map(|question| coalescer.ask(question))).await };
        let (answers, ()) = tokio::join!(ask_all, run);
        assert_eq!(answers, (0..32).map(|question| Ok(question * 2)).collect::<Vec<_>>());
        assert!(calls.load(Ordering::Relaxed) <= 2);
    }
}
