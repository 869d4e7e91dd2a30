//! A wire to the database that can be cut at the worst moment.
#![expect(clippy::indexing_slicing, reason = "helpers of tests")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// What happens to the next thing that a client sends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Fault {
    /// Nothing: it arrives, and so does the answer.
    None = 0,
    /// The connection breaks before the server hears of it.
    LoseRequest = 1,
    /// The server hears and answers; the answer is lost and the connection breaks.
    LoseAnswer = 2,
    /// The server hears, and nothing comes back ever; the connection stays open. Lasts until it is changed.
    Silence = 3,
}

/// Forwards bytes to the database until it is told otherwise. Ends when dropped.
pub struct Wire {
    fault: Arc<AtomicU8>,
    address: String,
    _tasks: JoinSet<()>,
}

impl Wire {
    /// A wire to the server in `url`.
    pub async fn to(url: &str) -> Self {
        let server = host_of(url).to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address").to_string();
        let fault = Arc::new(AtomicU8::new(Fault::None as u8));
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, server, Arc::clone(&fault)));
        Self { fault, address, _tasks: tasks }
    }

    /// `url`, but through this wire.
    pub fn url(&self, url: &str) -> String {
        url.replace(host_of(url), &self.address)
    }

    /// From now on; all but [`Fault::Silence`] happen once.
    pub fn set(&self, fault: Fault) {
        self.fault.store(fault as u8, Ordering::SeqCst);
    }
}

fn host_of(url: &str) -> &str {
    let (_, place) = url.split_once('@').expect("a URL with a password");
    place.split_once('/').expect("a URL with a database").0
}

async fn accept(listener: TcpListener, server: String, fault: Arc<AtomicU8>) {
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        let Ok(server) = TcpStream::connect(&server).await else { continue };
        connections.spawn(forward(client, server, Arc::clone(&fault)));
    }
}

async fn forward(client: TcpStream, server: TcpStream, fault: Arc<AtomicU8>) {
    let (mut from_client, to_client) = client.into_split();
    let (from_server, mut to_server) = server.into_split();
    let mut answers = JoinSet::new();
    let muted = Arc::new(AtomicU8::new(Fault::None as u8));
    answers.spawn(answer(from_server, to_client, Arc::clone(&muted)));
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(length @ 1..) = from_client.read(&mut buffer).await {
        let now = fault.load(Ordering::SeqCst);
        if now != Fault::Silence as u8 {
            fault.store(Fault::None as u8, Ordering::SeqCst);
        }
        if now == Fault::LoseRequest as u8 {
            return;
        }
        muted.store(now, Ordering::SeqCst);
        if to_server.write_all(&buffer[..length]).await.is_err() {
            return;
        }
        if muted.load(Ordering::SeqCst) == Fault::LoseAnswer as u8 {
            // Until the answer has come and was thrown away.
            answers.join_next().await;
            return;
        }
    }
}

async fn answer(mut from_server: OwnedReadHalf, mut to_client: OwnedWriteHalf, muted: Arc<AtomicU8>) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(length @ 1..) = from_server.read(&mut buffer).await {
        match muted.load(Ordering::SeqCst) {
            fault if fault == Fault::LoseAnswer as u8 => return,
            fault if fault == Fault::Silence as u8 => {}
            _ => {
                if to_client.write_all(&buffer[..length]).await.is_err() {
                    return;
                }
            }
        }
    }
}
