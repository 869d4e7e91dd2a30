//! Single keys of whoever watches a screen.

/// What a key asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Key {
    /// The end.
    Quit,
    /// Which keys there are, or the screen again.
    Help,
    /// Another look, now.
    Refresh,
}

impl Key {
    /// Every key, for people.
    pub const HELP: &str = "q: quit   space: look again now   ?: hide or show this line";

    const fn of(byte: u8) -> Option<Self> {
        match byte {
            b'q' | b'Q' => Some(Self::Quit),
            b'?' | b'h' => Some(Self::Help),
            b' ' | b'r' => Some(Self::Refresh),
            _ => None,
        }
    }
}

#[cfg(unix)]
pub use self::terminal::Keys;

#[cfg(unix)]
mod terminal {
    use std::io::stdin;
    use std::time::Duration;

    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
    use tokio::time::sleep;

    use super::Key;

    /// Bytes read at once at most.
    const TYPED_MAX: usize = 64;
    /// How often the keyboard is looked at: a thread that waits for it would outlive the screen.
    const LOOK_EVERY: Duration = Duration::from_millis(50);

    /// The keyboard, without what is typed being shown; as it was before when dropped. Ctrl-C stays the signal it is.
    pub struct Keys {
        before: Termios,
    }

    impl Keys {
        /// `None` where nobody types: standard input is no terminal.
        #[must_use]
        pub fn open() -> Option<Self> {
            let before = tcgetattr(stdin()).ok()?;
            let mut silent = before.clone();
            silent.local_modes.remove(LocalModes::ECHO | LocalModes::ICANON);
            tcsetattr(stdin(), OptionalActions::Now, &silent).ok()?;
            Some(Self { before })
        }

        /// The next key that asks for something; `None` once the terminal is gone.
        pub async fn next(&self) -> Option<Key> {
            let mut typed = [0_u8; TYPED_MAX];
            loop {
                let stdin = stdin();
                let mut readable = [PollFd::new(&stdin, PollFlags::IN)];
                if poll(&mut readable, Some(&Timespec::default())).ok()? == 0 {
                    sleep(LOOK_EVERY).await;
                    continue;
                }
                let length = rustix::io::read(&stdin, &mut typed).ok().filter(|length| *length > 0)?;
                if let Some(key) = typed.iter().take(length).copied().find_map(Key::of) {
                    return Some(key);
                }
            }
        }
    }

    impl Drop for Keys {
        fn drop(&mut self) {
            // Should it fail, the terminal is gone.
            let _gone = tcsetattr(stdin(), OptionalActions::Now, &self.before);
        }
    }
}

/// Where there are no terminals of this kind, only Ctrl-C is heard.
#[cfg(not(unix))]
pub struct Keys;

#[cfg(not(unix))]
impl Keys {
    /// None.
    #[must_use]
    pub fn open() -> Option<Self> {
        None
    }

    /// Never.
    pub async fn next(&self) -> Option<Key> {
        None
    }
}
