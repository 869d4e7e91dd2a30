//! A wire to Postgres that can lose the answer to a commit: the statement arrives and takes place, and the connection
//! breaks before anybody hears of it.
//!
//! It reads the client's half of the protocol far enough to know a commit when it sees one: a `Bind` of a statement
//! whose text was prepared on this connection and writes events. So every cut is a commit's, and none a query's.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// What a commit's statement says, and no other.
const COMMIT: &[u8] = b"insert into event (";
/// `ReadyForQuery`: the transaction is over.
const READY: [u8; 5] = [b'Z', 0, 0, 0, 5];
/// An answer that takes longer is not waited for.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);
const BUFFER_BYTES: usize = 64 * 1024;
/// A client that sends a longer message is none of ours.
const MESSAGE_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Protocol numbers of requests that come before the session's own start: TLS, GSSAPI, cancel.
const BEFORE_START: [u32; 3] = [80_877_103, 80_877_104, 80_877_102];

#[derive(Default)]
struct Fate {
    armed: AtomicU64,
    lost: AtomicU64,
}

/// The wire. It ends when dropped.
pub struct Wire {
    address: String,
    fate: Arc<Fate>,
    _tasks: JoinSet<()>,
}

impl Wire {
    /// A wire to `server`, a host and port.
    ///
    /// # Errors
    /// There is no free port.
    pub async fn to(server: String) -> std::io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?.to_string();
        let fate = Arc::new(Fate::default());
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, server, Arc::clone(&fate)));
        Ok(Self { address, fate, _tasks: tasks })
    }

    /// Host and port of this end.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The next commit's answer is lost. Several calls add up.
    pub fn lose_next(&self) {
        self.fate.armed.fetch_add(1, Ordering::SeqCst);
    }

    /// No further answer is lost.
    pub fn calm(&self) {
        self.fate.armed.store(0, Ordering::SeqCst);
    }

    /// How many answers were lost so far.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.fate.lost.load(Ordering::SeqCst)
    }
}

async fn accept(listener: TcpListener, server: String, fate: Arc<Fate>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((client, _)) = accepted else { return };
                let Ok(server) = TcpStream::connect(&server).await else { continue };
                drop((client.set_nodelay(true), server.set_nodelay(true)));
                connections.spawn(forward(client, server, Arc::clone(&fate)));
            }
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
        }
    }
}

async fn forward(client: TcpStream, server: TcpStream, fate: Arc<Fate>) {
    let (mut from_client, to_client) = client.into_split();
    let (from_server, mut to_server) = server.into_split();
    let cut = Arc::new(AtomicBool::new(false));
    let mut answers = JoinSet::new();
    answers.spawn(answer(from_server, to_client, Arc::clone(&cut)));
    let mut session = Session::default();
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let length = tokio::select! {
            read = from_client.read(&mut buffer) => match read {
                Ok(length @ 1..) => length,
                Ok(0) | Err(_) => return,
            },
            // The server is gone.
            _ = answers.join_next() => return,
        };
        let Some(bytes) = buffer.get(..length) else { return };
        let lose = session.sees_commit(bytes) && take_one(&fate.armed);
        cut.store(lose, Ordering::SeqCst);
        if to_server.write_all(bytes).await.is_err() {
            return;
        }
        if lose {
            // Until the answer has come and was thrown away; then both ends are dropped.
            drop(tokio::time::timeout(ANSWER_LIMIT, answers.join_next()).await);
            fate.lost.fetch_add(1, Ordering::SeqCst);
            return;
        }
    }
}

fn take_one(armed: &AtomicU64) -> bool {
    armed.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |armed| armed.checked_sub(1)).is_ok()
}

async fn answer(mut from_server: OwnedReadHalf, mut to_client: OwnedWriteHalf, cut: Arc<AtomicBool>) {
    let mut buffer = vec![0; BUFFER_BYTES];
    while let Ok(length @ 1..) = from_server.read(&mut buffer).await {
        let Some(bytes) = buffer.get(..length) else { return };
        if !cut.load(Ordering::SeqCst) {
            if to_client.write_all(bytes).await.is_err() {
                return;
            }
        } else if ends_the_transaction(bytes) {
            return;
        }
    }
}

/// The last six bytes are a `ReadyForQuery`.
fn ends_the_transaction(bytes: &[u8]) -> bool {
    bytes.len() >= 6 && bytes.get(bytes.len() - 6..bytes.len() - 1) == Some(&READY)
}

/// What a client has said so far on one connection.
#[derive(Default)]
struct Session {
    pending: Vec<u8>,
    started: bool,
    commits: HashMap<Vec<u8>, bool>,
    /// It says nothing that we understand; nothing is cut any more.
    lost_track: bool,
}

impl Session {
    /// True when `bytes` complete a `Bind` of a commit.
    fn sees_commit(&mut self, bytes: &[u8]) -> bool {
        if self.lost_track {
            return false;
        }
        self.pending.extend_from_slice(bytes);
        let mut seen = false;
        while let Some((kind, body)) = self.next_message() {
            seen |= self.understand(kind, &body);
        }
        seen
    }

    fn next_message(&mut self) -> Option<(u8, Vec<u8>)> {
        let head = usize::from(self.started);
        let length = self.pending.get(head..head + 4)?;
        let length = usize::try_from(u32::from_be_bytes(length.try_into().ok()?)).ok()?;
        if !(4..=MESSAGE_BYTES_MAX).contains(&length) {
            self.lost_track = true;
            self.pending.clear();
            return None;
        }
        if self.pending.len() < head + length {
            return None;
        }
        let message: Vec<u8> = self.pending.drain(..head + length).collect();
        let kind = if self.started { *message.first()? } else { 0 };
        Some((kind, message.get(head + 4..)?.to_vec()))
    }

    fn understand(&mut self, kind: u8, body: &[u8]) -> bool {
        match kind {
            0 => {
                let code = body.get(..4).and_then(|code| Some(u32::from_be_bytes(code.try_into().ok()?)));
                self.started = !code.is_some_and(|code| BEFORE_START.contains(&code));
                false
            }
            b'P' => {
                let Some((name, rest)) = word(body) else { return false };
                let is_commit = rest.windows(COMMIT.len()).any(|window| window == COMMIT);
                self.commits.insert(name.to_vec(), is_commit);
                false
            }
            b'B' => {
                let statement = word(body).and_then(|(_portal, rest)| word(rest));
                statement.is_some_and(|(name, _)| self.commits.get(name).copied().unwrap_or(false))
            }
            _ => false,
        }
    }
}

/// Up to the NUL byte, and what follows it.
fn word(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.iter().position(|byte| *byte == 0)?;
    Some((bytes.get(..end)?, bytes.get(end + 1..)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u8, body: &[u8]) -> Vec<u8> {
        let mut message = if kind == 0 { vec![] } else { vec![kind] };
        message.extend(u32::try_from(body.len() + 4).unwrap().to_be_bytes());
        message.extend(body);
        message
    }

    fn started() -> Session {
        let mut session = Session::default();
        session.sees_commit(&message(0, &80_877_103_u32.to_be_bytes()));
        session.sees_commit(&message(0, b"\0\x03\0\0user\0x\0\0"));
        session
    }

    #[test]
    fn a_commit_is_known_by_the_statement_it_binds_and_a_query_is_not() {
        let mut session = started();
        assert!(!session.sees_commit(&message(b'P', b"one\0with x as (insert into event (version) ..)\0\0\0")));
        assert!(!session.sees_commit(&message(b'P', b"two\0select 1\0\0\0")));
        assert!(!session.sees_commit(&message(b'B', b"\0two\0\0\0")));
        assert!(session.sees_commit(&message(b'B', b"\0one\0\0\0")));
    }

    #[test]
    fn a_commit_that_comes_in_pieces_is_seen_with_its_last_byte() {
        let mut session = started();
        session.sees_commit(&message(b'P', b"one\0insert into event (version)\0\0\0"));
        let bind = message(b'B', b"\0one\0\0\0");
        let (last, before) = bind.split_last().unwrap();
        assert!(before.iter().all(|byte| !session.sees_commit(&[*byte])));
        assert!(session.sees_commit(&[*last]));
    }

    #[test]
    fn the_end_of_a_transaction_is_told_by_the_last_message() {
        assert!(ends_the_transaction(b"Dxxx\x5a\0\0\0\x05I"));
        assert!(!ends_the_transaction(b"\x5a\0\0\0\x05I more"));
    }
}
