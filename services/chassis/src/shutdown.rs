//! The end of the world, as an argument.

use tokio::sync::watch;

/// Tells whoever holds a [`Shutdown`] that it is time to finish. Dropping it does the same.
#[derive(Debug)]
pub struct Trigger(watch::Sender<bool>);

impl Trigger {
    /// Says so. Saying it twice changes nothing.
    pub fn trigger(&self) {
        self.0.send_replace(true);
    }
}

/// Knows whether it is time to finish. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Shutdown(watch::Receiver<bool>);

impl Shutdown {
    /// A world, and the means to end it.
    #[must_use]
    pub fn new() -> (Trigger, Self) {
        let (sender, receiver) = watch::channel(false);
        (Trigger(sender), Self(receiver))
    }

    /// True once it has been triggered.
    #[must_use]
    pub fn is_triggered(&self) -> bool {
        *self.0.borrow() || self.0.has_changed().is_err()
    }

    /// Waits until it is triggered. Safe to drop and call again.
    pub async fn triggered(&mut self) {
        // An error means that the trigger is gone: the end, too.
        drop(self.0.wait_for(|triggered| *triggered).await);
    }

    /// The watch itself, for crates that do not know the chassis.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<bool> {
        self.0.clone()
    }
}

/// Waits for SIGINT (Ctrl-C) or SIGTERM.
///
/// # Errors
/// The process may not listen for signals.
pub async fn signal() -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted,
        _ = terminate.recv() => Ok(()),
    }
}
