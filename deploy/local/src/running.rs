//! The two child processes and the guard that watches them.

use std::process::Child;

use crate::guard::{Guard, Role};
use crate::process::{self, Signal};

/// What runs at this moment.
#[derive(Debug)]
pub(crate) struct Running {
    postgres: Option<Child>,
    nats: Option<Child>,
    guard: Guard,
}

impl Running {
    pub(crate) fn new(guard: Guard) -> Self {
        Self { postgres: None, nats: None, guard }
    }

    pub(crate) fn guard(&self) -> &Guard {
        &self.guard
    }

    pub(crate) fn put(&mut self, role: Role, child: Child) {
        *self.slot(role) = Some(child);
    }

    /// Process id; `None` when the server was never started or was taken down.
    pub(crate) fn pid(&self, role: Role) -> Option<u32> {
        match role {
            Role::Postgres => self.postgres.as_ref().map(Child::id),
            Role::Nats => self.nats.as_ref().map(Child::id),
        }
    }

    /// False also for a server that ended by itself.
    pub(crate) fn is_up(&mut self, role: Role) -> bool {
        self.slot(role).as_mut().is_some_and(|child| process::exited(child).is_none())
    }

    pub(crate) fn kill(&mut self, role: Role) {
        if let Some(mut child) = self.slot(role).take() {
            process::kill_child(&mut child);
            self.guard.forget(role);
        }
    }

    /// Postgres first: what it still sends to clients may be about messages.
    pub(crate) fn stop_all(&mut self) {
        for (role, signal) in [(Role::Postgres, Signal::Interrupt), (Role::Nats, Signal::Terminate)] {
            if let Some(mut child) = self.slot(role).take() {
                process::stop_child(&mut child, signal);
                self.guard.forget(role);
            }
        }
        self.guard.finish();
    }

    fn slot(&mut self, role: Role) -> &mut Option<Child> {
        match role {
            Role::Postgres => &mut self.postgres,
            Role::Nats => &mut self.nats,
        }
    }
}
