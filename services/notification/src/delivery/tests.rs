//! Delivery over a real worker, a store in memory, real files, and a mail server of our own.

use std::fs;
use std::path::Path;
use std::sync::Mutex;

use chassis::health::Health;
use chassis::shutdown::Trigger;
use eventstore::derived_id;
use eventstore::memory::{CountingIds, MemoryClock, MemoryStore};
use eventstore::worker::{Limits, Shell, Worker};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use uuid::Uuid;

use super::mail::Composer;
use super::mailbox::Mailbox;
use super::post::Transport;
use super::smtp::Smtp;
use super::*;
use crate::domain::{FarmShare, Line, News, OrderNews};
use crate::handler::Output;

const ORDER: Uuid = Uuid::from_u128(0x0199_0000_0001_7000_8000_0000_0000_0001);

fn news() -> News {
    let line = |name: &str| Line { name: name.to_owned(), quantity: 2 };
    News::OrderCompleted(OrderNews {
        saga_id: Uuid::from_u128(1),
        order_id: ORDER,
        email: "ana@example.org".to_owned(),
        farms: vec![FarmShare {
            name: "Hill".to_owned(),
            email: "hill@example.org".to_owned(),
            lines: vec![line("Eggs")],
        }],
        total: money::Money::new(1250, money::Currency::EUR),
    })
}

fn id() -> Uuid {
    derived_id(ORDER, "order_completed")
}

/// One process: a worker, and what a deliverer needs.
struct Process {
    store: Arc<MemoryStore>,
    worker: WorkerHandle<NotificationHandler>,
    handed: Option<HandedOver>,
    tasks: JoinSet<()>,
    trigger: Trigger,
    shutdown: Shutdown,
}

impl Process {
    fn start(store: &Arc<MemoryStore>, series: u16) -> Self {
        let (handoff, handed) = handoff();
        let shell = Shell {
            store: Arc::clone(store) as _,
            clock: Arc::new(MemoryClock::of(store)),
            ids: Arc::new(CountingIds::new(series)),
            listeners: vec![Arc::new(handoff)],
        };
        let (worker, handle) = Worker::new(NotificationHandler, shell, Limits::default());
        let mut tasks = JoinSet::new();
        tasks.spawn(worker.run());
        let (trigger, shutdown) = Shutdown::new();
        Self { store: Arc::clone(store), worker: handle, handed: Some(handed), tasks, trigger, shutdown }
    }

    async fn ask(&self) -> Output {
        let input = Input::Accept { id: id(), news: Arc::new(news()) };
        self.worker.submit(input, cause(None)).await.unwrap().output
    }

    fn deliverer(&mut self, post: Post) -> Deliverer {
        let clock = Arc::new(MemoryClock::of(&self.store));
        let component = Health::new().component("delivery");
        let handed = self.handed.take().unwrap();
        Deliverer::new(post, Arc::clone(&self.store) as _, clock, self.worker.clone(), handed, component)
    }

    async fn stop(mut self) {
        self.trigger.trigger();
        drop(self.worker);
        while let Some(ended) = self.tasks.join_next().await {
            ended.unwrap();
        }
    }
}

fn store() -> Arc<MemoryStore> {
    Arc::new(MemoryStore::new(DateTime::from_timestamp(1_700_000_000, 0).unwrap()))
}

fn composer() -> Composer {
    Composer::new("Farmera <no-reply@farmera.test>".parse().unwrap()).unwrap()
}

fn to_folder(folder: &Path, number: u128) -> Post {
    let mailbox = Mailbox::open(folder, Uuid::from_u128(number)).unwrap();
    Post::new(composer(), Transport::File(Arc::new(Mutex::new(mailbox))))
}

fn mails_in(folder: &Path) -> Vec<String> {
    let mut ids = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let text = fs::read_to_string(entry.unwrap().path()).unwrap();
        ids.extend(text.lines().filter_map(|line| line.strip_prefix("Message-ID: ")).map(str::to_owned));
    }
    ids.sort();
    ids
}

fn both_mails() -> Vec<String> {
    vec![format!("<{}.0@farmera>", id()), format!("<{}.1@farmera>", id())]
}

fn event_names(store: &MemoryStore) -> Vec<String> {
    store.events().into_iter().map(|event| event.type_name).collect()
}

/// Delivers what was handed over and what is due, once.
async fn deliver(deliverer: &mut Deliverer, shutdown: &mut Shutdown) {
    let mut handed = Vec::new();
    while let Ok(next) = deliverer.handed.try_recv() {
        handed.push(next);
    }
    deliverer.deliver_handed(&mut handed, shutdown).await.unwrap();
    deliverer.deliver_due(shutdown).await.unwrap().1.unwrap();
}

#[tokio::test]
async fn the_same_request_ten_times_is_one_mail_to_each() {
    let (store, folder) = (store(), tempfile::tempdir().unwrap());
    let mut process = Process::start(&store, 1);
    let mut deliverer = process.deliverer(to_folder(folder.path(), 1));
    assert_eq!(process.ask().await, Output::Recorded);
    assert_eq!(store.armed(Notification::stream(id())), Some(store.time() + LEASE));
    for round in 0..9 {
        assert_eq!(process.ask().await, Output::Known, "round {round}");
        deliver(&mut deliverer, &mut process.shutdown).await;
    }
    assert_eq!(mails_in(folder.path()), both_mails());
    assert_eq!(event_names(&store), ["NotificationAccepted", "NotificationDelivered"]);
    assert_eq!(store.armed(Notification::stream(id())), None);
    drop(deliverer);
    process.stop().await;
}

#[tokio::test]
async fn a_crash_between_write_and_record_does_not_write_twice() {
    let (store, folder) = (store(), tempfile::tempdir().unwrap());
    let mut first = Process::start(&store, 1);
    first.ask().await;
    let post = to_folder(folder.path(), 1);
    let event = store.events().remove(0);
    let Found::Pending(pending) = pending(std::slice::from_ref(&event), begin_by(event.time)).unwrap() else {
        panic!()
    };
    let tried = post.go(&mut VecDeque::from([pending])).await.unwrap();
    assert_eq!(tried[0].results.len(), 2);
    // Here it dies: the mails are written, nobody has recorded it.
    first.handed = None;
    first.stop().await;

    let mut second = Process::start(&store, 2);
    let mut deliverer = second.deliverer(to_folder(folder.path(), 2));
    deliver(&mut deliverer, &mut second.shutdown).await;
    assert_eq!(event_names(&store), ["NotificationAccepted"], "the lease of the first lasts");
    store.advance(LEASE);
    deliver(&mut deliverer, &mut second.shutdown).await;
    assert_eq!(event_names(&store), ["NotificationAccepted", "NotificationDelivered"]);
    assert_eq!(mails_in(folder.path()), both_mails());
    drop(deliverer);
    second.stop().await;
}

#[tokio::test]
async fn what_waited_too_long_in_memory_is_left_to_its_timer() {
    let (store, folder) = (store(), tempfile::tempdir().unwrap());
    let mut process = Process::start(&store, 1);
    let mut deliverer = process.deliverer(to_folder(folder.path(), 1));
    process.ask().await;
    store.advance(Duration::from_secs(9));
    deliver(&mut deliverer, &mut process.shutdown).await;
    assert_eq!(mails_in(folder.path()), Vec::<String>::new());
    store.advance(LEASE);
    deliver(&mut deliverer, &mut process.shutdown).await;
    assert_eq!(mails_in(folder.path()), both_mails());
    drop(deliverer);
    process.stop().await;
}

#[tokio::test]
async fn a_mailbox_that_cannot_be_written_is_tried_again() {
    let (store, folder) = (store(), tempfile::tempdir().unwrap());
    let mailbox_folder = folder.path().join("mailbox");
    let mut process = Process::start(&store, 1);
    let mut deliverer = process.deliverer(to_folder(&mailbox_folder, 1));
    fs::remove_dir(&mailbox_folder).unwrap();
    process.ask().await;
    deliver(&mut deliverer, &mut process.shutdown).await;
    assert_eq!(event_names(&store), ["NotificationAccepted", "DeliveryTryFailed"]);
    assert_eq!(store.armed(Notification::stream(id())), Some(store.time() + TimeDelta::seconds(1)));
    fs::create_dir(&mailbox_folder).unwrap();
    store.advance(Duration::from_secs(1));
    deliver(&mut deliverer, &mut process.shutdown).await;
    assert_eq!(mails_in(&mailbox_folder), both_mails());
    drop(deliverer);
    process.stop().await;
}

#[tokio::test]
async fn a_running_deliverer_delivers_what_is_accepted_and_ends_with_the_shutdown() {
    let (store, folder) = (store(), tempfile::tempdir().unwrap());
    let mut process = Process::start(&store, 1);
    let deliverer = process.deliverer(to_folder(folder.path(), 1));
    process.tasks.spawn(deliverer.run(process.shutdown.clone()));
    process.ask().await;
    process.stop().await;
    assert_eq!(mails_in(folder.path()), both_mails());
    assert_eq!(event_names(&store), ["NotificationAccepted", "NotificationDelivered"]);
}

/// A mail server that answers `RCPT TO` for the customer from a script, and takes everything else.
struct MailServer {
    tasks: JoinSet<()>,
    url: String,
    taken: Arc<Mutex<Vec<String>>>,
}

impl MailServer {
    async fn start(answers: &[&'static str]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("smtp://{}", listener.local_addr().unwrap());
        let taken = Arc::new(Mutex::new(Vec::new()));
        let answers = Arc::new(Mutex::new(VecDeque::from(answers.to_vec())));
        let mut tasks = JoinSet::new();
        let kept = Arc::clone(&taken);
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((connection, _)) = listener.accept().await {
                connections.spawn(converse(connection, Arc::clone(&answers), Arc::clone(&kept)));
            }
        });
        Self { tasks, url, taken }
    }

    fn taken(&self) -> Vec<String> {
        let mut taken = self.taken.lock().unwrap().clone();
        taken.sort();
        taken
    }
}

async fn converse(connection: TcpStream, answers: Arc<Mutex<VecDeque<&'static str>>>, taken: Arc<Mutex<Vec<String>>>) {
    let (read, mut write) = connection.into_split();
    let mut lines = BufReader::new(read).lines();
    write.write_all(b"220 test\r\n").await.unwrap();
    let mut in_data = false;
    while let Ok(Some(line)) = lines.next_line().await {
        let answer = match line.as_str() {
            "." if in_data => {
                in_data = false;
                "250 taken"
            }
            header if in_data => {
                taken.lock().unwrap().extend(header.strip_prefix("Message-ID: ").map(str::to_owned));
                continue;
            }
            "DATA" => {
                in_data = true;
                "354 go on"
            }
            "QUIT" => "221 bye",
            to if to.starts_with("RCPT TO:<ana@") => answers.lock().unwrap().pop_front().unwrap_or("250 fine"),
            _ => "250 fine",
        };
        if write.write_all(format!("{answer}\r\n").as_bytes()).await.is_err() {
            return;
        }
    }
}

/// Delivers until nothing is armed any more; says what the log holds then.
async fn deliver_by_mail(server: &MailServer) -> Vec<String> {
    let store = store();
    let mut process = Process::start(&store, 1);
    let mut deliverer = process.deliverer(Post::new(composer(), Transport::Smtp(Smtp::new(&server.url).unwrap())));
    process.ask().await;
    while let Some(due) = store.armed(Notification::stream(id())) {
        deliver(&mut deliverer, &mut process.shutdown).await;
        if store.time() < due {
            store.set_time(due);
        }
    }
    deliverer.post.close().await;
    drop(deliverer);
    process.stop().await;
    event_names(&store)
}

#[tokio::test]
async fn a_mail_server_that_takes_everything_is_told_once() {
    let mut server = MailServer::start(&[]).await;
    let events = deliver_by_mail(&server).await;
    assert_eq!(events, ["NotificationAccepted", "NotificationDelivered"]);
    assert_eq!(server.taken(), both_mails());
    server.tasks.shutdown().await;
}

#[tokio::test]
async fn a_mail_that_is_put_off_is_tried_again_and_the_others_are_not() {
    let mut server = MailServer::start(&["451 later", "450 later"]).await;
    let events = deliver_by_mail(&server).await;
    let tried = ["DeliveryTryFailed"; 2];
    assert_eq!(events, [&["NotificationAccepted"][..], &tried, &["NotificationDelivered"]].concat());
    assert_eq!(server.taken(), both_mails());
    server.tasks.shutdown().await;
}

#[tokio::test]
async fn a_mail_that_is_refused_for_good_fails_the_notification_at_once() {
    let mut server = MailServer::start(&["550 nobody here"]).await;
    let events = deliver_by_mail(&server).await;
    assert_eq!(events, ["NotificationAccepted", "NotificationFailed"]);
    assert_eq!(server.taken(), both_mails()[1..]);
    server.tasks.shutdown().await;
}

#[tokio::test]
async fn a_mail_server_that_is_away_is_given_up_after_the_last_try() {
    let mut server = MailServer::start(&[]).await;
    server.tasks.shutdown().await;
    let events = deliver_by_mail(&server).await;
    assert_eq!(events.len(), 1 + crate::domain::TRIES_MAX as usize);
    assert_eq!(events.last().map(String::as_str), Some("NotificationFailed"));
}
