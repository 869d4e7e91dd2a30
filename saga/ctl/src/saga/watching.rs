//! The same answer again and again, on the same place of the screen.

use std::io::IsTerminal as _;
use std::time::Duration;

use crate::failure::Failure;
use crate::session::Session;

/// Nobody reads faster than this.
const INTERVAL_MIN: Duration = Duration::from_millis(100);

/// Clears the screen, where there is one.
///
/// # Errors
/// The output cannot be written.
pub fn begin(session: &mut Session) -> Result<(), Failure> {
    session.out.now = crate::clock::now();
    if session.out.is_for_people() && std::io::stdout().is_terminal() {
        session.out.clear()?;
    }
    Ok(())
}

/// Waits; false when somebody pressed Ctrl-C.
pub async fn pause(interval: Duration, session: &mut Session) -> bool {
    if session.out.flush().is_err() {
        return false;
    }
    tokio::select! {
        () = tokio::time::sleep(interval.max(INTERVAL_MIN)) => true,
        interrupted = tokio::signal::ctrl_c() => {
            drop(interrupted);
            false
        }
    }
}
