//! What a gateway does about messages that the bus lost: a reader's stream is whole again, by each of the ways in which a
//! loss can be seen.

#![allow(clippy::unwrap_used, reason = "a test that can't go on is to fail")]

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hubbub_adapters::accounts::{BuiltIn, BuiltInOptions};
use hubbub_adapters::bus::LocalBus;
use hubbub_adapters::leases::LocalLeases;
use hubbub_adapters::store::embedded::{EmbeddedStore, Options};
use hubbub_client::answer::Range;
use hubbub_client::raw::Raw;
use hubbub_client::{Client, Event, Events};
use hubbub_core::code::Code;
use hubbub_core::entry::{Entry, Says};
use hubbub_core::ids::{Millis, NodeId, Partitions, RoomId, Seq, User, UserId};
use hubbub_core::limits::Content;
use hubbub_core::ports::PortFuture;
use hubbub_core::ports::accounts::{Accounts, Registration, Secret};
use hubbub_core::ports::bus::{
    Answered, Bus, BusError, Listener, LossWatcher, Message, Payload, Server, Subject, Subscription,
};
use hubbub_core::room::Verb;
use hubbub_gateway::config::Config;
use hubbub_gateway::http::{HttpState, Readiness, router};
use hubbub_gateway::{Gateway, Ports, listener};
use hubbub_wire::tier::act::{Ask, What};
use hubbub_wire::tier::event::Committed;
use hubbub_wire::tier::parcel;
use hubbub_wire::tier::query::Query;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

const DEADLINE: Duration = Duration::from_secs(20);

/// A bus that loses what it is told to lose.
#[derive(Default)]
struct Lossy {
    inner: LocalBus,
    loses_events: AtomicBool,
    loses_heads: AtomicBool,
    loses_joins: AtomicBool,
    watchers: Mutex<Vec<LossWatcher>>,
    /// Holds the answer to the next question for a room's head until it is sent on.
    holds_sync: Mutex<Option<oneshot::Receiver<()>>>,
    /// Questions for the heads of these rooms get no answer.
    loses_syncs: Mutex<Vec<RoomId>>,
    /// Reads that were answered.
    reads: Arc<AtomicUsize>,
    /// What is answered to whoever asks for a user's rooms, however old it is.
    stale_rooms: Mutex<Option<Payload>>,
}

impl Lossy {
    fn tell_of_losses(&self) {
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
struct Chat {
    bus: Arc<Lossy>,
    gateway: Arc<Gateway>,
    client: Client,
    events: Events,
    url: String,
    token: String,
    end: CancellationToken,
    _folder: tempfile::TempDir,
}

impl Chat {
    async fn start(config: Config) -> Self {
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
        let history = hubbub_history_service::Config::new(partitions);
        tokio::spawn(hubbub_history_service::serve(bus.clone(), store, history, end.clone()));
        let gateway = Gateway::new(
            config,
            Ports {
                bus: bus.clone(),
                accounts: Arc::new(accounts),
                partitions,
                banned: Arc::default(),
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
    async fn hold_a_head(&self) -> oneshot::Sender<()> {
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
    async fn next_text(&mut self) -> String {
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

async fn token_of(accounts: &BuiltIn) -> String {
    let (email, password) = ("ann@example.org".to_owned(), Secret::new("correct horse".into()));
    let registration = Registration { name: "Ann".into(), email: email.clone(), password: password.clone() };
    let (accounts, here) = (accounts.built_in().unwrap(), IpAddr::from([127, 0, 0, 1]));
    accounts.register(registration, here).await.unwrap();
    accounts.log_in(email, password, here).await.unwrap().reveal().to_owned()
}

/// Loses the events of one message, has `notice` make the loss visible, and reads on.
async fn lost_and_found(chat: &mut Chat, notice: impl AsyncFnOnce(&Chat)) {
    let room = chat.client.create("tea", "").await.unwrap().id;
    chat.client.send_text(&room, "heard", None).await.unwrap();
    assert_eq!(chat.next_text().await, "heard");
    chat.bus.loses_events.store(true, SeqCst);
    chat.client.send_text(&room, "lost", None).await.unwrap();
    chat.bus.loses_events.store(false, SeqCst);
    notice(chat).await;
    assert_eq!(chat.next_text().await, "lost");
    chat.client.send_text(&room, "after", None).await.unwrap();
    assert_eq!(chat.next_text().await, "after");
}

#[tokio::test]
async fn a_gap_is_filled() {
    let mut chat = Chat::start(Config::default()).await;
    chat.bus.loses_heads.store(true, SeqCst);
    let room = chat.client.create("tea", "").await.unwrap().id;
    chat.bus.loses_events.store(true, SeqCst);
    chat.client.send_text(&room, "lost", None).await.unwrap();
    chat.bus.loses_events.store(false, SeqCst);
    chat.client.send_text(&room, "after", None).await.unwrap();
    assert_eq!(chat.next_text().await, "lost");
    assert_eq!(chat.next_text().await, "after");
}

#[tokio::test]
async fn a_lost_last_entry_is_seen_by_its_head() {
    let mut chat = Chat::start(Config::default()).await;
    lost_and_found(&mut chat, async |_| {}).await;
}

#[tokio::test]
async fn what_the_bus_says_it_may_have_lost_is_read() {
    let mut chat = Chat::start(Config::default()).await;
    chat.bus.loses_heads.store(true, SeqCst);
    lost_and_found(&mut chat, async |chat| chat.bus.tell_of_losses()).await;
}

/// A head that was true when it was told is no other log because the stream went on meanwhile.
#[tokio::test]
async fn a_head_that_comes_late_resets_nobody() {
    let mut chat = Chat::start(Config::default()).await;
    let room = chat.client.create("tea", "").await.unwrap().id;
    chat.client.send_text(&room, "before", None).await.unwrap();
    assert_eq!(chat.next_text().await, "before");
    let send_on = chat.hold_a_head().await;
    chat.client.send_text(&room, "meanwhile", None).await.unwrap();
    assert_eq!(chat.next_text().await, "meanwhile");
    send_on.send(()).unwrap();
    for n in 0..10 {
        let text = n.to_string();
        chat.client.send_text(&room, &text, None).await.unwrap();
        assert_eq!(chat.next_text().await, text);
    }
}

/// What another gateway showed a client before this one heard it is no other log, also while an older head is on its way.
#[tokio::test]
async fn one_who_saw_more_at_another_gateway_resumes() {
    let mut chat = Chat::start(Config::default()).await;
    chat.bus.loses_heads.store(true, SeqCst);
    let room = chat.client.create("tea", "").await.unwrap().id;
    chat.client.send_text(&room, "before", None).await.unwrap();
    assert_eq!(chat.next_text().await, "before");
    let send_on = chat.hold_a_head().await;
    chat.bus.loses_events.store(true, SeqCst);
    let seen = chat.client.send_text(&room, "seen elsewhere", None).await.unwrap().seq().unwrap();
    chat.bus.loses_events.store(false, SeqCst);
    let mut other = Raw::connect(&chat.url, None).await.unwrap();
    let reads = chat.bus.reads.load(SeqCst);
    let hello = json!({"type": "hello", "token": chat.token, "rooms": {room.as_str(): seen.0}});
    other.send_json(&hello).await.unwrap();
    // Its rooms are asked for first; in the same turn it finds that it must ask for the head once more.
    let looked = async {
        while chat.bus.reads.load(SeqCst) == reads {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(DEADLINE, looked).await.expect("the hello is looked at");
    send_on.send(()).unwrap();
    assert_eq!(chat.next_text().await, "seen elsewhere");
    chat.client.send_text(&room, "after", None).await.unwrap();
    let mut types = Vec::new();
    let told = async {
        while types.last().is_none_or(|last| last != "message") {
            types.push(other.next_json().await.unwrap()["type"].as_str().unwrap().to_owned());
        }
    };
    tokio::time::timeout(DEADLINE, told).await.expect("the stream goes on");
    assert!(!types.contains(&"reset".to_owned()), "{types:?}");
}

#[tokio::test]
async fn what_nobody_noticed_is_found_by_reading_again_in_time() {
    let config = Config { resync_every: Some(Duration::from_secs(2)), ..Config::default() };
    let mut chat = Chat::start(config).await;
    chat.bus.loses_heads.store(true, SeqCst);
    lost_and_found(&mut chat, async |_| {}).await;
}

/// Does something in a room as somebody at another gateway does.
async fn elsewhere(chat: &Chat, room: &RoomId, user: &User, verb: Verb) {
    chat.gateway.asker.act(room.clone(), user.clone(), verb, None).await.unwrap();
}

fn says(text: &str) -> Verb {
    Verb::Send { content: Content::text(text.into()).unwrap(), key: None, after: None }
}

/// A room that is not live here, and who made it.
async fn made_elsewhere(chat: &Chat, id: &str) -> (RoomId, User) {
    let room = RoomId::parse(id).unwrap();
    let bob = User { id: UserId::parse("bob").unwrap(), name: "Bob".into() };
    elsewhere(chat, &room, &bob, Verb::Create { name: "tea".into(), topic: "".into() }).await;
    (room, bob)
}

/// A room that can't be read, perhaps for long, keeps nobody out of the others.
#[tokio::test]
async fn a_lost_join_is_found_beside_one_whose_room_can_not_be_read() {
    let config = Config { action_timeout: Duration::from_millis(500), ..Config::default() };
    let mut chat = Chat::start(config).await;
    chat.bus.loses_joins.store(true, SeqCst);
    let ann = User { id: chat.client.welcome().user.id.clone(), name: "Ann".into() };
    let (unread, bob) = made_elsewhere(&chat, "a").await;
    let (room, _) = made_elsewhere(&chat, "b").await;
    for room in [&unread, &room] {
        elsewhere(&chat, room, &ann, Verb::Join).await;
    }
    chat.bus.loses_syncs.lock().unwrap().push(unread);
    chat.bus.tell_of_losses();
    elsewhere(&chat, &room, &bob, says("hello")).await;
    assert_eq!(chat.next_text().await, "hello");
}

/// The room is not live here, so that nothing that comes later shows that a join was missed.
#[tokio::test]
async fn a_join_that_was_lost_is_found_once_it_is_known_that_something_was() {
    let mut chat = Chat::start(Config::default()).await;
    let (room, bob) = made_elsewhere(&chat, "tea").await;
    let ann = User { id: chat.client.welcome().user.id.clone(), name: "Ann".into() };
    chat.bus.loses_joins.store(true, SeqCst);
    elsewhere(&chat, &room, &ann, Verb::Join).await;
    elsewhere(&chat, &room, &bob, says("before it is known")).await;
    chat.bus.tell_of_losses();
    assert_eq!(chat.next_text().await, "before it is known");
    elsewhere(&chat, &room, &bob, says("after")).await;
    assert_eq!(chat.next_text().await, "after");
}

/// The bus did not notice.
#[tokio::test]
async fn a_join_that_was_lost_is_said_again_or_found_by_the_number_of_the_next() {
    let mut chat = Chat::start(Config::default()).await;
    let ann = User { id: chat.client.welcome().user.id.clone(), name: "Ann".into() };
    // Of one partition, whose first announcements are heard.
    let partition = chat.gateway.asker.partition(&RoomId::parse("0").unwrap());
    let mut ids = (0..).map(|n: u32| n.to_string());
    let mut room = async || {
        let id = ids.find(|id| chat.gateway.asker.partition(&RoomId::parse(id).unwrap()) == partition);
        made_elsewhere(&chat, &id.unwrap()).await
    };
    let ((room, bob), (by_number, _), (next, _)) = (room().await, room().await, room().await);
    chat.bus.loses_joins.store(true, SeqCst);
    elsewhere(&chat, &room, &ann, Verb::Join).await;
    chat.bus.loses_joins.store(false, SeqCst);
    elsewhere(&chat, &room, &bob, says("by being said again")).await;
    assert_eq!(chat.next_text().await, "by being said again");

    chat.bus.loses_joins.store(true, SeqCst);
    elsewhere(&chat, &by_number, &ann, Verb::Join).await;
    chat.bus.loses_joins.store(false, SeqCst);
    elsewhere(&chat, &next, &User { id: UserId::parse("eve").unwrap(), name: "Eve".into() }, Verb::Join)
        .await;
    elsewhere(&chat, &by_number, &bob, says("by the number")).await;
    assert_eq!(chat.next_text().await, "by the number");
}

#[tokio::test]
async fn a_room_that_could_not_be_followed_is_followed_later() {
    let config = Config { action_timeout: Duration::from_millis(500), ..Config::default() };
    let mut chat = Chat::start(config).await;
    chat.bus.loses_joins.store(true, SeqCst);
    let (room, bob) = made_elsewhere(&chat, "tea").await;
    chat.bus.loses_syncs.lock().unwrap().push(room.clone());
    chat.client.join(&room).await.unwrap();
    chat.bus.loses_syncs.lock().unwrap().clear();
    elsewhere(&chat, &room, &bob, says("hello")).await;
    assert_eq!(chat.next_text().await, "hello");
}

/// The list that a hello reads may be from before a leave that was heard already.
#[tokio::test]
async fn who_left_is_not_let_in_again_by_a_list_that_is_behind() {
    let mut chat = Chat::start(Config::default()).await;
    let room = chat.client.create("tea", "").await.unwrap().id;
    chat.client.send_text(&room, "before", None).await.unwrap();
    assert_eq!(chat.next_text().await, "before");
    let user = chat.client.welcome().user.id.clone();
    let ask = Payload::whole(Query::RoomsOf { user });
    let listed = chat.bus.request(&Subject::Query, ask.into(), DEADLINE).await.unwrap();
    *chat.bus.stale_rooms.lock().unwrap() = Some(listed);
    chat.client.leave(&room).await.unwrap();
    let mut other = Raw::connect(&chat.url, None).await.unwrap();
    other.send_json(&json!({"type": "hello", "token": chat.token})).await.unwrap();
    let welcome = other.next_json().await.unwrap();
    assert_eq!((&welcome["type"], &welcome["rooms"]), (&json!("welcome"), &json!([])));
}

/// A leave that fills its turn, and the same user's join behind it: the turn that ends with the leave is sent first.
#[tokio::test]
async fn who_leaves_with_a_full_turn_and_comes_back_is_there() {
    let mut chat = Chat::start(Config::default()).await;
    let batches: Arc<Mutex<Vec<Committed>>> = Arc::default();
    let room = chat.client.create("tea", "").await.unwrap().id;
    let subject = Subject::Events(Partitions::new(2).unwrap().of(&room), room.clone());
    let (heard, of) = (batches.clone(), room.clone());
    let listener = move |message: Message| {
        heard.lock().unwrap().push(Committed::read(&of, message.payload).unwrap());
    };
    let _listens = chat.bus.listen(subject.clone(), Arc::new(listener)).await.unwrap();
    // What the worker says is kept back, and said all in one.
    chat.client.send_text(&room, "before", None).await.unwrap();
    assert_eq!(chat.next_text().await, "before");
    let first = batches.lock().unwrap().pop().unwrap();
    let user = User { id: first.entries[0].user.clone(), name: "Ann".into() };
    let next = |n: u64, says: Says<'_>| {
        Entry::new(&room, Seq(first.entries[0].seq.0 + n), Millis(1), &user, None, says)
    };
    let long = Content::text("x".repeat(4_000)).unwrap();
    let mut entries: Vec<_> = (1..=15).map(|n| next(n, Says::Message(&long))).collect();
    let lengths: usize = entries.iter().map(|entry| entry.json.len()).sum();
    let rest = Content::text("x".repeat(65_536 - lengths - 200)).unwrap();
    entries.push(next(16, Says::Message(&rest)));
    entries.extend([next(17, Says::Leave { by: None }), next(18, Says::Join(None))]);
    let after = Content::text("after".into()).unwrap();
    let say = |entries| {
        chat.bus
            .inner
            .publish(&subject, Payload::whole(Committed { batch: first.batch.clone(), entries }).into())
    };
    let before_leave: usize = entries[..16].iter().map(|entry| entry.json.len()).sum();
    assert!(before_leave < 65_536 && before_leave + entries[16].json.len() >= 65_536, "the leave fills it");
    say(entries).unwrap();
    say(vec![next(19, Says::Message(&after))]).unwrap();
    while chat.next_text().await != "after" {}
}

/// Who was told elsewhere that a message is kept, and reads here, finds it.
#[tokio::test]
async fn a_page_has_all_that_is_kept_though_it_was_not_heard_here() {
    let mut chat = Chat::start(Config::default()).await;
    chat.bus.loses_heads.store(true, SeqCst);
    let room = chat.client.create("tea", "").await.unwrap().id;
    chat.client.send_text(&room, "heard", None).await.unwrap();
    assert_eq!(chat.next_text().await, "heard");
    chat.bus.loses_events.store(true, SeqCst);
    let kept = chat.client.send_text(&room, "not heard", None).await.unwrap().seq().unwrap();
    for range in [Range::After(Seq(0)), Range::After(Seq(kept.0 - 1)), Range::Before(Seq(u64::MAX))] {
        let page = chat.client.history(&room, range, None).await.unwrap();
        assert_eq!((page.entries.last().unwrap().seq, page.more), (kept, false), "{range:?}");
    }
}

/// So does who was told that they are a member, and gives a command here.
#[tokio::test]
async fn a_command_is_taken_of_who_joined_elsewhere_though_that_was_not_heard_here() {
    let chat = Chat::start(Config::default()).await;
    chat.bus.loses_joins.store(true, SeqCst);
    let ann = User { id: chat.client.welcome().user.id.clone(), name: "Ann".into() };
    let (room, _) = made_elsewhere(&chat, "tea").await;
    let answered = async || chat.client.send_text(&room, "/stock=AAPL.US", None).await.unwrap_err().code();
    assert_eq!(answered().await, Some(Code::NotMember));
    elsewhere(&chat, &room, &ann, Verb::Join).await;
    // Nobody bridges to bots here.
    assert_eq!(answered().await, Some(Code::Unavailable));
}

/// The frames up to one of this type, as one text.
async fn up_to(raw: &mut Raw, last: &str) -> String {
    let mut heard = Vec::new();
    let read = async {
        while heard.last().is_none_or(|frame: &Value| frame["type"] != last) {
            heard.push(raw.next_json().await.unwrap());
        }
    };
    tokio::time::timeout(DEADLINE, read).await.unwrap_or_else(|_| panic!("no {last} in {heard:?}"));
    json!(heard).to_string()
}

/// That it was erased may be what the bus lost: until that is known, nothing is shown that was in memory before.
#[tokio::test]
async fn what_was_erased_unheard_is_not_shown_once_it_is_known_that_something_was_lost() {
    let chat = Chat::start(Config::default()).await;
    chat.bus.loses_heads.store(true, SeqCst);
    let room = chat.client.create("tea", "").await.unwrap().id;
    // As many as the history service keeps in one piece, and more.
    for n in 0..120 {
        chat.client.send_text(&room, &format!("a secret, {n}"), None).await.unwrap();
    }
    let mut reader = Raw::connect(&chat.url, Some(&chat.token)).await.unwrap();
    up_to(&mut reader, "welcome").await;
    let history = json!({"type": "history", "ref": 1, "room": room, "after": 0, "limit": 100});
    reader.send_json(&history).await.unwrap();
    assert_eq!(up_to(&mut reader, "ok").await.matches("a secret").count(), 99);

    chat.bus.loses_events.store(true, SeqCst);
    let ann = chat.client.welcome().user.id.clone();
    let by = User { id: ann.clone(), name: "Ann".into() };
    let erased = chat.gateway.asker.erase(room.clone(), by, ann, None).await.unwrap();
    assert_eq!((erased.count, erased.next), (120, None));
    chat.bus.loses_events.store(false, SeqCst);
    let send_on = chat.hold_a_head().await;
    reader.send_json(&history).await.unwrap();
    assert_eq!(up_to(&mut reader, "ok").await.matches("a secret").count(), 0, "by history");
    let mut late = Raw::connect(&chat.url, None).await.unwrap();
    let hello = json!({"type": "hello", "token": chat.token, "rooms": {room.as_str(): 1}});
    late.send_json(&hello).await.unwrap();
    up_to(&mut late, "welcome").await;
    late.send_json(&json!({"type": "ping"})).await.unwrap();
    assert_eq!(up_to(&mut late, "pong").await.matches("a secret").count(), 0, "by a resume");
    send_on.send(()).unwrap();
    let missed = up_to(&mut late, "erase").await;
    assert_eq!((missed.matches("a secret").count(), missed.matches("\"erased\"").count()), (0, 120));
}
