//! What is typed while a screen is drawn, at a real terminal.

#![cfg(unix)]
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::process::{Child, ExitStatus};
use std::sync::mpsc::{Receiver, channel};
use std::thread::spawn;
use std::time::{Duration, Instant};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, tcgetattr};
use support::command;

const PATIENCE: Duration = Duration::from_secs(20);

/// A program at a terminal of its own.
struct Terminal {
    child: Child,
    keyboard: File,
    screen: Receiver<Vec<u8>>,
    shown: String,
    line: File,
}

impl Terminal {
    fn running(arguments: &[&str]) -> Self {
        let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&ours).unwrap();
        unlockpt(&ours).unwrap();
        let name = ptsname(&ours, Vec::new()).unwrap().into_string().unwrap();
        let line = File::options().read(true).write(true).open(name).unwrap();
        let nowhere = [("FARMERA_ORDERS_URL", "http://127.0.0.1:1"), ("TERM", "xterm")];
        let mut command = command(arguments, &nowhere);
        let end = || OwnedFd::from(line.try_clone().unwrap());
        let child = command.stdin(end()).stdout(end()).stderr(end()).spawn().unwrap();
        let keyboard = File::from(ours);
        let (sender, screen) = channel();
        let mut reading = keyboard.try_clone().unwrap();
        spawn(move || {
            let mut part = [0; 4_096];
            while let Ok(length @ 1..) = reading.read(&mut part) {
                if sender.send(part.iter().take(length).copied().collect()).is_err() {
                    return;
                }
            }
        });
        Self { child, keyboard, screen, shown: String::new(), line }
    }

    fn types(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
    }

    /// Waits until the screen shows something that it has not shown before this call.
    fn shows(&mut self, what: &str) {
        let mut new = String::new();
        let end = Instant::now() + PATIENCE;
        while !new.contains(what) {
            let left = end.saturating_duration_since(Instant::now());
            let part = self.screen.recv_timeout(left).unwrap_or_else(|_| panic!("no {what:?} in {new:?}"));
            new.push_str(&String::from_utf8_lossy(&part));
        }
        self.shown.push_str(&new);
    }

    fn ends(&mut self) -> ExitStatus {
        let end = Instant::now() + PATIENCE;
        loop {
            match self.screen.recv_timeout(Duration::from_millis(20)) {
                Ok(part) => self.shown.push_str(&String::from_utf8_lossy(&part)),
                Err(_) => {
                    if let Some(status) = self.child.try_wait().unwrap() {
                        return status;
                    }
                }
            }
            assert!(Instant::now() < end, "it goes on: {:?}", self.shown);
        }
    }

    fn echoes(&self) -> bool {
        tcgetattr(&self.line).unwrap().local_modes.contains(LocalModes::ECHO | LocalModes::ICANON)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[test]
fn what_is_typed_at_a_screen_is_heard_and_does_not_stand_in_it() {
    let mut terminal = Terminal::running(&["top", "--every", "100ms"]);
    terminal.shows("\u{1b}[?2026l");
    terminal.types("xyzzy");
    terminal.types("?");
    terminal.shows("q: quit");
    terminal.types("q");
    let status = terminal.ends();
    assert!(status.success(), "{status}: {:?}", terminal.shown);
    assert!(!terminal.shown.contains('z'), "{:?}", terminal.shown);
    assert!(terminal.shown.contains("\u{1b}[?1049l"), "the screen of before is back: {:?}", terminal.shown);
    assert!(terminal.echoes(), "the terminal is as it was");
}

#[test]
fn control_c_ends_a_screen_and_leaves_the_terminal_as_it_was() {
    let mut terminal = Terminal::running(&["top", "--every", "100ms"]);
    terminal.shows("\u{1b}[?2026l");
    assert!(!terminal.echoes());
    let pid = rustix::process::Pid::from_child(&terminal.child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    assert!(terminal.ends().success());
    assert!(terminal.echoes());
}
