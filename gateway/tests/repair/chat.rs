//! All tiers over a bus that loses, and somebody who talks and listens.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hubbub_adapters::accounts::{BuiltIn, BuiltInOptions};
use hubbub_adapters::bus::LocalBus;
use hubbub_adapters::leases::LocalLeases;
use hubbub_adapters::store::embedded::{EmbeddedStore, Options};
use hubbub_client::raw::Raw;
use hubbub_client::{Client, Event, Events};
use hubbub_core::ids::{NodeId, Partitions, RoomId, User, UserId};
use hubbub_core::limits::Content;
use hubbub_core::ports::PortFuture;
use hubbub_core::ports::accounts::{Accounts, Registration, Secret};
use hubbub_core::ports::bus::{
    Answered, Bus, BusError, Listener, LossWatcher, Message, Payload, Server, Subject, Subscription,
};
use hubbub_core::ports::store::Store;
use hubbub_core::room::Verb;
use hubbub_gateway::config::Config;
use hubbub_gateway::http::{HttpState, Readiness, router};
use hubbub_gateway::{Gateway, Ports, listener};
use hubbub_wire::tier::act::{Ask, What};
use hubbub_wire::tier::parcel;
use hubbub_wire::tier::query::Query;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

pub const DEADLINE: Duration = Duration::from_secs(20);

/// A bus that loses what it is told to lose.
#[derive(Default)]
pub struct Lossy {
    pub inner: LocalBus,
    pub loses_events: AtomicBool,
    pub loses_heads: AtomicBool,
    pub loses_joins: AtomicBool,
    watchers: Mutex<Vec<LossWatcher>>,
    /// Holds the answer to the next question for a room's head until it is sent on.
    pub holds_sync: Mutex<Option<oneshot::Receiver<()>>>,
    /// Questions for the heads of these rooms get no answer.
    pub loses_syncs: Mutex<Vec<RoomId>>,
    /// Reads that were answered.
    pub reads: Arc<AtomicUsize>,
    /// What is answered to whoever asks for a user's rooms, however old it is.
    pub stale_rooms: Mutex<Option<Payload>>,
}

impl Lossy {
    pub fn tell_of_losses(&self) {
        self.watchers.lock().unwrap().iter().for_each(|watcher| watcher());
    }
}

impl Bus for Lossy {
    fn publish(&self, subject: &Subject, message: Message) -> Result<(), BusError> {
        let is_lost = match subject {
            Subject::Events(..) => self.loses_events.load(SeqCst),
            Subject::Heads(_) => self.loses_heads.load(SeqCst),
            Subject::Memberships => self.loses_joins.load(SeqCst),
            _ => false,
        };
        if is_lost { Ok(()) } else { self.inner.publish(subject, message) }
    }

    fn listen(&self, subject: Subject, listener: Listener) -> PortFuture<'_, Result<Subscription, BusError>> {
        self.inner.listen(subject, listener)
    }

    fn watch_losses(&self, watcher: LossWatcher) -> Subscription {
        self.watchers.lock().unwrap().push(watcher);
        Subscription::new(())
    }

    fn serve(&self, subject: Subject, server: Server) -> PortFuture<'_, Result<Subscription, BusError>> {
        self.inner.serve(subject, server)
    }

    fn ask(&self, subject: &Subject, message: Message, timeout: Duration, answered: Answered) {
        let ask = parcel::header::<Ask>(&mut message.payload.clone()).ok();
        let sync = ask.filter(|ask| matches!(ask.what, What::Sync { .. }));
        let is_sync = sync.is_some();
        if sync.is_some_and(|ask| self.loses_syncs.lock().unwrap().contains(&ask.room)) {
            return answered(Err(BusError::TimedOut));
        }
        let held = if is_sync { self.holds_sync.lock().unwrap().take() } else { None };
        let of_rooms = parcel::header::<Query>(&mut message.payload.clone())
            .is_ok_and(|query| matches!(query, Query::RoomsOf { .. }));
        if let Some(stale) = self.stale_rooms.lock().unwrap().clone().filter(|_| of_rooms) {
            return answered(Ok(stale));
        }
        let reads = (*subject == Subject::Query).then(|| self.reads.clone());
        let answer = self.inner.request(subject, message, timeout);
        tokio::spawn(async move {
            let answer = answer.await;
            if let Some(held) = held {
                held.await.expect("it is sent on");
            }
            if let Some(reads) = reads {
                reads.fetch_add(1, SeqCst);
            }
            answered(answer);
        });
    }
}

/// All tiers over a bus that loses, and one member who talks and listens.
pub struct Chat {
    pub bus: Arc<Lossy>,
    pub gateway: Arc<Gateway>,
    pub client: Client,
    pub events: Events,
    pub url: String,
    pub token: String,
    end: CancellationToken,
    _folder: tempfile::TempDir,
}

impl Chat {
    pub async fn start(config: Config) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(EmbeddedStore::open(folder.path(), Options::default()).unwrap());
        let accounts = BuiltIn::open(store.clone(), BuiltInOptions::default()).await.unwrap();
        let token = token_of(&accounts).await;
        let partitions = Partitions::new(2).unwrap();
        let (bus, end) = (Arc::new(Lossy::default()), CancellationToken::new());
        let leases = Arc::new(LocalLeases::default());
        let ports = hubbub_room_worker::Ports { bus: bus.clone(), store: store.clone(), leases };
        let worker = hubbub_room_worker::Config::new(NodeId::parse("test").unwrap(), partitions);
        tokio::spawn(hubbub_room_worker::serve(ports, worker, end.clone()));
        let (history, log) = (hubbub_history_service::Config::new(partitions), store.log_id());
        tokio::spawn(hubbub_history_service::serve(bus.clone(), store.clone(), history, end.clone()));
        let gateway = Gateway::new(
            config,
            Ports {
                bus: bus.clone(),
                accounts: Arc::new(accounts),
                partitions,
                log,
                banned: Arc::default(),
                revoked: Arc::default(),
                revocations: store.clone(),
                cluster: None,
            },
        );
        let state = HttpState {
            gateway: gateway.clone(),
            health: Arc::new(Readiness::default),
            metrics: Arc::new(String::new),
        };
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("ws://{}/v1/ws", socket.local_addr().unwrap());
        tokio::spawn(listener::serve(gateway.clone(), socket, router(state), end.clone()));
        let options = hubbub_client::Options { token: token.clone(), ..hubbub_client::Options::new(&url) };
        let (client, events) = Client::connect(options).await.unwrap();
        Self { bus, gateway, client, events, url, token, end, _folder: folder }
    }

    /// Has a room's head asked for, and holds the answer.
    pub async fn hold_a_head(&self) -> oneshot::Sender<()> {
        let (send_on, held) = oneshot::channel();
        *self.bus.holds_sync.lock().unwrap() = Some(held);
        self.bus.tell_of_losses();
        let asked = async {
            while self.bus.holds_sync.lock().unwrap().is_some() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(DEADLINE, asked).await.expect("the head is asked for");
        send_on
    }

    /// The next entry of the stream. The client itself finds a gap, a repeat and a wrong order.
    pub async fn next_text(&mut self) -> String {
        let next = async {
            loop {
                match self.events.next().await.expect("the connection stays") {
                    Event::Entry(entry) => {
                        if let hubbub_client::entry::What::Text(text) = &entry.what {
                            return text.to_string();
                        }
                    }
                    wrong @ (Event::Violation(_) | Event::Reset(_)) => panic!("{wrong:?}"),
                    _ => {}
                }
            }
        };
        tokio::time::timeout(DEADLINE, next).await.expect("the lost entry comes after all")
    }
}

impl Drop for Chat {
    fn drop(&mut self) {
        self.end.cancel();
    }
}

pub async fn token_of(accounts: &BuiltIn) -> String {
    let (email, password) = ("ann@example.org".to_owned(), Secret::new("correct horse".into()));
    let registration = Registration { name: "Ann".into(), email: email.clone(), password: password.clone() };
    let (accounts, here) = (accounts.built_in().unwrap(), IpAddr::from([127, 0, 0, 1]));
    accounts.register(registration, here).await.unwrap();
    accounts.log_in(email, password, here).await.unwrap().reveal().to_owned()
}

/// Does something in a room as somebody at another gateway does.
pub async fn elsewhere(chat: &Chat, room: &RoomId, user: &User, verb: Verb) {
    chat.gateway.asker.act(room.clone(), user.clone(), verb, None).await.unwrap();
}

pub fn says(text: &str) -> Verb {
    Verb::Send { content: Content::text(text.into()).unwrap(), key: None, after: None }
}

/// A room that is not live here, and who made it.
pub async fn made_elsewhere(chat: &Chat, id: &str) -> (RoomId, User) {
    let room = RoomId::parse(id).unwrap();
    let bob = User { id: UserId::parse("bob").unwrap(), name: "Bob".into() };
    elsewhere(chat, &room, &bob, Verb::Create { name: "tea".into(), topic: "".into() }).await;
    (room, bob)
}

/// The frames up to one of this type, as one text.
pub async fn up_to(raw: &mut Raw, last: &str) -> String {
    let mut heard = Vec::new();
    let read = async {
        while heard.last().is_none_or(|frame: &Value| frame["type"] != last) {
            heard.push(raw.next_json().await.unwrap());
        }
    };
    tokio::time::timeout(DEADLINE, read).await.unwrap_or_else(|_| panic!("no {last} in {heard:?}"));
    json!(heard).to_string()
}

/// The answer to the request with this `ref`.
pub async fn answer_to(raw: &mut Raw, reference: u64) -> Value {
    let read = async {
        loop {
            let frame = raw.next_json().await.unwrap();
            if frame["ref"] == json!(reference) {
                return frame;
            }
        }
    };
    tokio::time::timeout(DEADLINE, read).await.expect("it is answered")
}
