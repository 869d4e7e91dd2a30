//! The same answer again and again, on the same place of the screen.
//!
//! On a terminal the answers are frames of a screen of their own, each written in one piece over the one before: nothing
//! flickers, and what is typed asks for something instead of standing in it. However it ends (Ctrl-C, SIGTERM, an error), the terminal is as it was before.

use std::pin::pin;
use std::time::Duration;

use tokio::time::sleep;

use crate::failure::Failure;
use crate::output::keys::{Key, Keys};
use crate::output::paint::Tone;
use crate::output::screen::{ENTER, LEAVE, to_terminal};
use crate::output::words::harmless_lines;
use crate::session::Session;

/// Nobody reads faster than this.
const INTERVAL_MIN: Duration = Duration::from_millis(100);

/// Draws until somebody ends it. A server that is away for a moment is said on the screen, and asked again.
///
/// # Errors
/// What drawing failed with; without a screen that a server is away, too.
pub async fn again(
    interval: Duration,
    session: &mut Session,
    mut draw: impl AsyncFnMut(&mut Session) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut ended = pin!(ended());
    let on_screen = session.out.is_on_terminal();
    let _terminal = on_screen.then(Terminal::enter);
    let keys = on_screen.then(Keys::open).flatten();
    let mut helped = false;
    loop {
        session.out.now = crate::clock::now();
        if on_screen {
            session.out.begin_frame();
        }
        if helped {
            let help = session.out.tint(Tone::Strong, Key::HELP);
            session.out.line(help)?;
        }
        let drawn = tokio::select! {
            drawn = draw(session) => drawn,
            () = &mut ended => return Ok(()),
        };
        match drawn {
            Err(Failure::Unavailable(why)) if on_screen => {
                let why = session.out.tint(Tone::Bad, &harmless_lines(&why));
                session.out.line(why)?;
            }
            drawn => drawn?,
        }
        session.out.end_frame()?;
        tokio::select! {
            () = sleep(interval.max(INTERVAL_MIN)) => {}
            () = &mut ended => return Ok(()),
            key = pressed(keys.as_ref()) => match key {
                Key::Quit => return Ok(()),
                Key::Help => helped = !helped,
                Key::Refresh => {}
            }
        }
    }
}

/// The next key, where there are any.
async fn pressed(keys: Option<&Keys>) -> Key {
    if let Some(keys) = keys
        && let Some(key) = keys.next().await
    {
        return key;
    }
    std::future::pending().await
}

/// Somebody pressed Ctrl-C, or wants the program to end.
async fn ended() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminate) = signal(SignalKind::terminate()) {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = terminate.recv() => {}
            }
            return;
        }
    }
    drop(tokio::signal::ctrl_c().await);
}

/// The terminal, as long as it shows a screen of ours.
struct Terminal;

impl Terminal {
    fn enter() -> Self {
        to_terminal(ENTER);
        Self
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        to_terminal(LEAVE);
    }
}
