//! The load client: a process of its own, and a witness. What it is about to ask is on disk before it asks, and what it
//! was answered as soon as it was answered; whatever the services say later is held against that.
//!
//! It behaves as a good client does: asks again under the same key until it knows, at most [`PATIENCE`]. Now and then it
//! asks twice, contradicts itself under the same key, or cancels.

use std::fs::File;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use chassis::clock::Uuids;
use clap::Args;
use eventstore::IdSource as _;
use farmera::clients;
use farmera::failure::Failure;
use farmera_proto::orders::v1 as pb;
use farmera_proto::orders::v1::orders_query_service_client::OrdersQueryServiceClient;
use farmera_proto::orders::v1::orders_service_client::OrdersServiceClient;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};
use tonic::transport::Channel;
use tonic::{Code, Status};
use uuid::Uuid;

use crate::chance::Chance;
use crate::open::{Open, Place};
use crate::witness::Line;

/// How long a client asks for the same order.
pub const PATIENCE: Duration = Duration::from_secs(45);
/// One request.
const REQUEST_LIMIT: Duration = Duration::from_secs(5);
const BACKOFF: Duration = Duration::from_millis(100);
const LINES_MAX: usize = 4_096;
/// Cards, and how many of a thousand orders use them.
const CARDS: [(&str, u64); 6] = [
    ("tok_declined", 80),
    ("tok_insufficient_funds", 20),
    ("tok_timeout_charged", 15),
    ("tok_timeout_not_charged", 15),
    ("tok_flaky", 10),
    ("tok_success", 1_000),
];
/// Of a thousand accepted orders: asked for once more, contradicted, cancelled.
const AGAIN: u64 = 30;
const CONTRADICTED: u64 = 20;
const CANCELLED: u64 = 40;

/// What the client is told.
#[derive(Args, Clone, Debug)]
pub struct Arguments {
    /// Where orders are placed, one or more times: replicas, asked by turns.
    #[arg(long = "orders-url", required = true)]
    pub orders_urls: Vec<String>,
    /// The products to choose from, one or more times.
    #[arg(long = "product", required = true)]
    pub products: Vec<Uuid>,
    /// The witness's log.
    #[arg(long)]
    pub log: PathBuf,
    /// Orders at most; it ends earlier when standard input does.
    #[arg(long)]
    pub orders: u64,
    /// Orders per second.
    #[arg(long)]
    pub rate: u64,
    /// Orders that may be on their way at a time.
    #[arg(long)]
    pub open: usize,
    /// What it chooses follows from this.
    #[arg(long)]
    pub seed: u64,
}

/// Places orders until there are enough or standard input ends, then waits for every answer.
///
/// # Errors
/// [`Failure::Failed`]: the log cannot be written.
pub async fn command(arguments: Arguments) -> Result<(), Failure> {
    let log = File::create(&arguments.log).map_err(|error| Failure::Failed(error.to_string()))?;
    let journal = Journal::start(log);
    let channels: Vec<Channel> =
        arguments.orders_urls.iter().map(|url| clients::channel(url)).collect::<Result<_, _>>()?;
    let open = Open::start(channels.iter().cloned().map(OrdersQueryServiceClient::new).collect(), arguments.open);
    let client = Client {
        replicas: channels.into_iter().map(OrdersServiceClient::new).collect(),
        turns: Arc::default(),
        open: open.accepted(),
        journal,
        products: arguments.products.into(),
    };
    let mut chance = Chance::new(arguments.seed, "load");
    let mut ticks = interval(Duration::from_secs(1) / u32::try_from(arguments.rate.max(1)).unwrap_or(u32::MAX));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut in_flight = JoinSet::new();
    let mut told_to_end = end_of_standard_input();
    for _ in 0..arguments.orders {
        let place = tokio::select! {
            place = async { ticks.tick().await; open.place().await } => place,
            _ = &mut told_to_end => break,
        };
        let Some(place) = place else { break };
        let (client, chance) = (client.clone(), Chance::new(chance.draw(), "order"));
        in_flight.spawn(client.one_order(chance, place));
        while in_flight.try_join_next().is_some() {}
    }
    while in_flight.join_next().await.is_some() {}
    Ok(())
}

/// Heard when whoever started us wants no more orders.
fn end_of_standard_input() -> oneshot::Receiver<()> {
    let (ended, heard) = oneshot::channel();
    std::thread::spawn(move || {
        drop(std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink()));
        ended.send(()).unwrap_or_default();
    });
    heard
}

/// The log: lines that wait at the same time are synced together.
#[derive(Clone)]
struct Journal(mpsc::Sender<(Line, oneshot::Sender<()>)>);

impl Journal {
    fn start(mut log: File) -> Self {
        let (sender, mut lines) = mpsc::channel::<(Line, oneshot::Sender<()>)>(LINES_MAX);
        std::thread::spawn(move || {
            let mut waiting = Vec::new();
            while lines.blocking_recv_many(&mut waiting, LINES_MAX) > 0 {
                let mut text = String::new();
                for (line, _) in &waiting {
                    text.push_str(&serde_json::to_string(line).unwrap_or_default());
                    text.push('\n');
                }
                if log.write_all(text.as_bytes()).and_then(|()| log.sync_data()).is_err() {
                    // Without a witness there is no evidence; the run fails on the exit code.
                    std::process::exit(1);
                }
                waiting.drain(..).for_each(|(_, done)| done.send(()).unwrap_or_default());
            }
        });
        Self(sender)
    }

    /// Returns when the line is on disk.
    async fn write(&self, line: Line) {
        let (done, written) = oneshot::channel();
        if self.0.send((line, done)).await.is_ok() {
            drop(written.await);
        }
    }
}

#[derive(Clone)]
struct Client {
    replicas: Arc<[OrdersServiceClient<Channel>]>,
    turns: Arc<AtomicUsize>,
    open: mpsc::Sender<(Uuid, Place)>,
    journal: Journal,
    products: Arc<[Uuid]>,
}

impl Client {
    /// The next replica: whoever asks again asks another one.
    fn orders(&self) -> Result<OrdersServiceClient<Channel>, Status> {
        let turn = self.turns.fetch_add(1, Ordering::Relaxed);
        let replica = self.replicas.get(turn % self.replicas.len().max(1)).cloned();
        replica.ok_or_else(|| Status::internal("there is no replica"))
    }

    async fn one_order(self, mut chance: Chance, place: Place) {
        let (request, customer) = (Uuids.next_id(), Uuids.next_id());
        let wish = self.wish(request, customer, &mut chance);
        self.journal.write(Line::Asked { request, customer, token: wish.payment_token.clone() }).await;
        let started = Instant::now();
        let mut tries = 0;
        let order = loop {
            tries += 1;
            match self.place(&wish).await {
                Ok(order) => {
                    self.journal.write(Line::Accepted { request, order, tries }).await;
                    break order;
                }
                Err(status) if is_temporary(status.code()) => {
                    if started.elapsed() > PATIENCE {
                        let last = format!("{:?}: {}", status.code(), status.message());
                        return self.journal.write(Line::Unanswered { request, last }).await;
                    }
                    sleep(BACKOFF).await;
                }
                Err(status) => {
                    let code = format!("{:?}: {}", status.code(), status.message());
                    return self.journal.write(Line::Refused { request, code }).await;
                }
            }
        };
        drop(self.open.send((order, place)).await);
        if chance.happens(AGAIN)
            && let Ok(order) = self.place(&wish).await
        {
            self.journal.write(Line::Again { request, order }).await;
        }
        if chance.happens(CONTRADICTED) {
            self.contradict(wish).await;
        } else if chance.happens(CANCELLED) {
            self.cancel(order, &mut chance).await;
        }
    }

    fn wish(&self, request: Uuid, customer: Uuid, chance: &mut Chance) -> pb::PlaceOrderRequest {
        let product = chance.one_of(&self.products).copied().unwrap_or_default();
        let draw = chance.below(1_000);
        let mut below = 0;
        let card = CARDS.iter().find(|(_, share)| {
            below += share;
            draw < below
        });
        pb::PlaceOrderRequest {
            request_id: request.to_string(),
            customer_id: customer.to_string(),
            lines: vec![pb::PlaceOrderLine {
                product_id: product.to_string(),
                quantity: u32::try_from(1 + chance.below(3)).unwrap_or(1),
            }],
            payment_token: card.map_or("tok_success", |(token, _)| token).to_owned(),
            email: "chaos@customer.example".to_owned(),
        }
    }

    async fn place(&self, wish: &pb::PlaceOrderRequest) -> Result<Uuid, Status> {
        let placed = timeout(REQUEST_LIMIT, self.orders()?.place_order(wish.clone())).await;
        let answer = placed.unwrap_or_else(|_| Err(Status::deadline_exceeded("no answer in time")))?;
        let order = answer.into_inner().order.unwrap_or_default();
        order.id.parse().map_err(|_| Status::data_loss(format!("{:?} is no order", order.id)))
    }

    /// The same key, another wish: must be refused.
    async fn contradict(&self, mut wish: pb::PlaceOrderRequest) {
        let request = wish.request_id.parse().unwrap_or_default();
        wish.lines.iter_mut().for_each(|line| line.quantity += 1);
        let code = match self.place(&wish).await {
            Ok(_) => Code::Ok,
            Err(status) => status.code(),
        };
        if !is_temporary(code) {
            self.journal.write(Line::Contradicted { request, code: format!("{code:?}") }).await;
        }
    }

    async fn cancel(&self, order: Uuid, chance: &mut Chance) {
        sleep(Duration::from_millis(chance.below(400))).await;
        let ask = pb::CancelOrderRequest { order_id: order.to_string(), reason: "changed my mind".to_owned() };
        let asked = async { self.orders()?.cancel_order(ask).await };
        let asked = timeout(REQUEST_LIMIT, asked).await;
        let code = match asked.unwrap_or_else(|_| Err(Status::deadline_exceeded("no answer in time"))) {
            Ok(_) => Code::Ok,
            Err(status) => status.code(),
        };
        self.journal.write(Line::Cancelled { order, code: format!("{code:?}") }).await;
    }
}

/// Nobody knows, or nobody was there: ask again under the same key.
fn is_temporary(code: Code) -> bool {
    matches!(
        code,
        Code::Unavailable
            | Code::DeadlineExceeded
            | Code::Unknown
            | Code::Cancelled
            | Code::ResourceExhausted
            | Code::Aborted
            | Code::Internal
    )
}
