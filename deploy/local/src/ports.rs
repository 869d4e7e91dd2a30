//! Which ports the servers listen on.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::folder;
use crate::guard::Role;

const FILE: &str = "ports.json";
/// Below what systems hand out to outgoing connections (Linux from 32768, macOS from 49152).
/// A port of that range could be taken by any client while a server is down, even by the very
/// client that tries to reach it: TCP then connects the client to itself.
const RANGE: std::ops::Range<u16> = 15_000..32_000;
const ATTEMPTS_MAX: usize = 64;

/// The ports of one state folder: remembered, and used again while they are free.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ports {
    pub(crate) postgres: u16,
    pub(crate) nats: u16,
    pub(crate) nats_monitor: u16,
}

impl Ports {
    /// The folder's ports, each replaced when something else listens on it.
    pub(crate) fn load(folder: &Path) -> io::Result<Self> {
        let stored: Option<Self> = fs::read(folder.join(FILE)).ok().and_then(|text| serde_json::from_slice(&text).ok());
        let or_free = |port: Option<u16>| port.filter(|port| is_free(*port)).map_or_else(free_port, Ok);
        let ports = Self {
            postgres: or_free(stored.map(|ports| ports.postgres))?,
            nats: or_free(stored.map(|ports| ports.nats))?,
            nats_monitor: or_free(stored.map(|ports| ports.nats_monitor))?,
        };
        ports.saved(folder)
    }

    /// Other ports for one server.
    pub(crate) fn replaced(self, role: Role) -> io::Result<Self> {
        Ok(match role {
            Role::Postgres => Self { postgres: free_port()?, ..self },
            Role::Nats => Self { nats: free_port()?, nats_monitor: free_port()?, ..self },
        })
    }

    /// Remembers them in the folder.
    pub(crate) fn saved(self, folder: &Path) -> io::Result<Self> {
        let text = serde_json::to_vec(&self).map_err(io::Error::from)?;
        folder::write_private(&folder.join(FILE), &text)?;
        Ok(self)
    }
}

/// True when a server could listen on this port of 127.0.0.1 now.
pub(crate) fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

/// A port that was free a moment ago; whoever binds it must cope with having lost it.
fn free_port() -> io::Result<u16> {
    let mut random = [0_u8; 2 * ATTEMPTS_MAX];
    io::Read::read_exact(&mut fs::File::open("/dev/urandom")?, &mut random)?;
    let width = RANGE.end - RANGE.start;
    let candidate = random
        .as_chunks::<2>()
        .0
        .iter()
        .map(|pair| RANGE.start + u16::from_ne_bytes(*pair) % width)
        .find(|port| is_free(*port));
    match candidate {
        Some(port) => Ok(port),
        None => Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port()),
    }
}

#[cfg(test)]
mod tests {
    use super::{Ports, RANGE, free_port};
    use std::net::{Ipv4Addr, TcpListener};

    #[test]
    fn a_free_port_is_outside_of_what_outgoing_connections_use() {
        assert!(RANGE.contains(&free_port().unwrap()));
    }

    #[test]
    fn remembered_ports_are_used_again_unless_taken() {
        let folder = tempfile::tempdir().unwrap();
        let first = Ports::load(folder.path()).unwrap();
        assert_eq!(Ports::load(folder.path()).unwrap(), first);
        let _taken = TcpListener::bind((Ipv4Addr::LOCALHOST, first.nats)).unwrap();
        let second = Ports::load(folder.path()).unwrap();
        assert_ne!(second.nats, first.nats);
        assert_eq!(second.postgres, first.postgres);
    }
}
