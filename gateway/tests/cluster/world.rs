//! Gateways that share a bus, each over a line of its own that can be cut or lose; the tiers behind them; and people.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use http::{Request, header};
use hubbub_adapters::accounts::{BuiltIn, BuiltInOptions};
use hubbub_adapters::bus::LocalBus;
use hubbub_adapters::leases::LocalLeases;
use hubbub_adapters::store::embedded::{EmbeddedStore, Options};
use hubbub_client::event::Presence;
use hubbub_client::{Client, Event, Events};
use hubbub_core::ids::{NodeId, Partitions, RoomId, User, UserId};
use hubbub_core::ports::PortFuture;
use hubbub_core::ports::accounts::{Accounts, Registration, Secret};
use hubbub_core::ports::bus::{
    Answered, Bus, BusError, Listener, LossWatcher, Message, Payload, Server, Subject, Subscription,
};
use hubbub_core::ports::store::Store;
use hubbub_gateway::config::Config;
use hubbub_gateway::http::{HttpState, Readiness, router};
use hubbub_gateway::peers::Cluster;
use hubbub_gateway::presence::Arrived;
use hubbub_gateway::{Gateway, Ports, listener};
use hubbub_node::revoked::Revoked;
use hubbub_node::roster::{Roster, give_signs_of_life};
use hubbub_wire::tier::node::Tier;
use hubbub_wire::tier::parcel;
use hubbub_wire::tier::presence::Changes;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tower_service::Service;

pub const DEADLINE: Duration = Duration::from_secs(20);
/// Longer than anything that settles takes, death included.
pub const LONG: Duration = Duration::from_secs(6);

const PASSWORD: &str = "correct horse";
const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// A gateway's line to the bus.
pub struct Line {
    bus: Arc<LocalBus>,
    /// Nothing passes any more, in either direction.
    pub is_cut: Arc<AtomicBool>,
    /// The bus is away: what is said is refused.
    pub is_away: AtomicBool,
    /// What it says on these subjects is lost.
    loses: Mutex<Vec<Subject>>,
    /// What was lost of that.
    lost: Mutex<Vec<Payload>>,
}

impl Line {
    fn loses(&self, subject: &Subject) -> bool {
        self.is_cut.load(SeqCst) || self.loses.lock().unwrap().contains(subject)
    }

    /// From now on what it says on the subject is lost.
    pub fn lose(&self, subject: Subject) {
        self.lost.lock().unwrap().clear();
        self.loses.lock().unwrap().push(subject);
    }

    /// Waits until something was lost that tells who came or went.
    pub async fn loses_news(&self) {
        let is_news = |mut payload: Payload| {
            parcel::header::<Changes>(&mut payload).is_ok_and(|changes: Changes| changes.is_news())
        };
        until("news are lost", async || self.lost.lock().unwrap().iter().cloned().any(is_news)).await;
    }

    /// From now on nothing is lost.
    pub fn lose_no_more(&self) {
        self.loses.lock().unwrap().clear();
    }
}

/// Waits until it is so.
pub async fn until(what: &str, mut is: impl AsyncFnMut() -> bool) {
    let so = async {
        while !is().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(DEADLINE, so).await.unwrap_or_else(|_| panic!("{what}: not in time"));
}

impl Bus for Line {
    fn publish(&self, subject: &Subject, message: Message) -> Result<(), BusError> {
        if self.is_away.load(SeqCst) {
            return Err(BusError::Unavailable { inside: "away".into() });
        }
        if !self.loses(subject) {
            return self.bus.publish(subject, message);
        }
        self.lost.lock().unwrap().push(message.payload);
        Ok(())
    }

    fn listen(&self, subject: Subject, listener: Listener) -> PortFuture<'_, Result<Subscription, BusError>> {
        let is_cut = self.is_cut.clone();
        let hear = move |message| {
            if !is_cut.load(SeqCst) {
                listener(message);
            }
        };
        self.bus.listen(subject, Arc::new(hear))
    }

    fn watch_losses(&self, watcher: LossWatcher) -> Subscription {
        self.bus.watch_losses(watcher)
    }

    fn serve(&self, subject: Subject, server: Server) -> PortFuture<'_, Result<Subscription, BusError>> {
        let is_cut = self.is_cut.clone();
        let serve = move |message, reply| {
            if !is_cut.load(SeqCst) {
                server(message, reply);
            }
        };
        self.bus.serve(subject, Arc::new(serve))
    }

    fn ask(&self, subject: &Subject, message: Message, timeout: Duration, answered: Answered) {
        match self.loses(subject) {
            true => answered(Err(BusError::TimedOut)),
            false => self.bus.ask(subject, message, timeout, answered),
        }
    }
}

/// One gateway.
pub struct Door {
    pub line: Arc<Line>,
    gateway: Arc<Gateway>,
    url: String,
    router: Router,
    drain: CancellationToken,
    leaving: CancellationToken,
    serving: JoinHandle<std::io::Result<()>>,
    _heard: [Subscription; 3],
}

impl Door {
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Lets its connections go and ends in order.
    pub async fn leave(self) {
        self.drain.cancel();
        self.serving.await.unwrap().unwrap();
        self.leaving.cancel();
    }

    /// Cuts its line: to all others it is dead.
    pub fn die(&self) {
        self.line.is_cut.store(true, SeqCst);
    }

    pub async fn connect(&self, person: &Person) -> (Client, Events) {
        let token = person.token.clone();
        let options = hubbub_client::Options { token, ..hubbub_client::Options::new(&self.url) };
        Client::connect(options).await.unwrap()
    }

    /// Over HTTP.
    pub async fn ask(&self, person: &Person, method: &str, path: &str) -> (u16, Value) {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::AUTHORIZATION, format!("Bearer {}", person.token));
        let request = request.body(Body::empty()).unwrap();
        let response = self.router.clone().call(request).await.unwrap();
        let status = response.status().as_u16();
        let bytes = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        (status, serde_json::from_slice(&bytes).unwrap())
    }

    /// Whether its member list says that the person is online.
    pub async fn shows(&self, asker: &Person, room: &RoomId, person: &Person) -> bool {
        let (status, list) = self.ask(asker, "GET", &format!("/v1/chat/rooms/{room}/members")).await;
        assert_eq!(status, 200, "{list}");
        let is = |member: &&Value| member["id"] == person.id.as_str();
        list["members"].as_array().unwrap().iter().find(is).unwrap()["online"] == true
    }

    /// Waits until the member list says so.
    pub async fn settles(&self, asker: &Person, room: &RoomId, person: &Person, online: bool) {
        let why = format!("{} becomes {online} in the list", person.name);
        until(&why, async || self.shows(asker, room, person).await == online).await;
    }

    /// Waits until it knows whether someone is at another gateway.
    pub async fn learns(&self, user: &UserId, is_elsewhere: bool) {
        let peers = self.gateway.peers.as_ref().unwrap();
        let why = format!("{user} is known to be at another gateway: {is_elsewhere}");
        until(&why, async || peers.elsewhere(user) == is_elsewhere).await;
    }
}

/// Waits until each of these gateways hears of the others' people.
async fn acquaint(doors: &[Door]) {
    let caretakers = (0..doors.len()).map(|n| UserId::parse(&format!("caretaker-{n}")).unwrap());
    let caretakers: Vec<_> = caretakers.map(|id| User { id, name: "caretaker".into() }).collect();
    for is_there in [true, false] {
        for (door, caretaker) in doors.iter().zip(&caretakers) {
            match is_there {
                true => assert_eq!(door.gateway.arrive(caretaker), Arrived::First),
                false => assert!(door.gateway.depart(caretaker)),
            }
        }
        for (n, door) in doors.iter().enumerate() {
            for (_, caretaker) in caretakers.iter().enumerate().filter(|(of, _)| *of != n) {
                door.learns(&caretaker.id, is_there).await;
            }
        }
    }
}

/// Someone with an account.
pub struct Person {
    pub id: UserId,
    pub name: String,
    pub token: String,
}

/// The tiers behind the gateways.
pub struct World {
    pub bus: Arc<LocalBus>,
    accounts: Arc<BuiltIn>,
    partitions: Partitions,
    store: Arc<EmbeddedStore>,
    end: CancellationToken,
    _folder: tempfile::TempDir,
}

impl World {
    pub async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(EmbeddedStore::open(folder.path(), Options::default()).unwrap());
        let accounts = Arc::new(BuiltIn::open(store.clone(), BuiltInOptions::default()).await.unwrap());
        let partitions = Partitions::new(2).unwrap();
        let (bus, end) = (Arc::new(LocalBus::default()), CancellationToken::new());
        let leases = Arc::new(LocalLeases::default());
        let ports = hubbub_room_worker::Ports { bus: bus.clone(), store: store.clone(), leases };
        let worker = hubbub_room_worker::Config::new(NodeId::parse("worker").unwrap(), partitions);
        tokio::spawn(hubbub_room_worker::serve(ports, worker, end.clone()));
        let history = hubbub_history_service::Config::new(partitions);
        tokio::spawn(hubbub_history_service::serve(bus.clone(), store.clone(), history, end.clone()));
        Self { bus, accounts, partitions, store, end, _folder: folder }
    }

    pub async fn gateway(&self, name: &str) -> Door {
        self.gateway_with(name, Config { drain_window: Duration::from_millis(100), ..Config::default() })
            .await
    }

    pub async fn gateway_with(&self, name: &str, config: Config) -> Door {
        let line = Arc::new(Line {
            bus: self.bus.clone(),
            is_cut: Arc::default(),
            is_away: AtomicBool::default(),
            loses: Mutex::default(),
            lost: Mutex::default(),
        });
        let node = NodeId::parse(name).unwrap();
        let (roster, heard) = Roster::listen(&*line, Tier::Gateway).await.unwrap();
        let (readers, readers_heard) = Roster::listen(&*line, Tier::HistoryService).await.unwrap();
        let (bridges, bridges_heard) = Roster::listen(&*line, Tier::BotBridge).await.unwrap();
        let leaving = self.end.child_token();
        let signs = give_signs_of_life(line.clone(), node.clone(), Tier::Gateway, || true, leaving.clone());
        tokio::spawn(signs);
        let ports = Ports {
            bus: line.clone(),
            accounts: self.accounts.clone(),
            partitions: self.partitions,
            log: self.store.log_id(),
            banned: Arc::default(),
            revoked: Revoked::read(&*self.store).await.unwrap(),
            revocations: self.store.clone(),
            cluster: Some(Cluster { node, roster, readers, bridges }),
        };
        let gateway = Gateway::new(config, ports);
        let (reads, store, end) = (gateway.clone(), self.store.clone(), leaving.clone());
        tokio::spawn(end.run_until_cancelled_owned(async move {
            reads.revoked.keep_reading(&*store, |found| reads.close_revoked(&found)).await;
        }));
        let state = HttpState {
            gateway: gateway.clone(),
            health: Arc::new(Readiness::default),
            metrics: Arc::new(String::new),
        };
        let router = router(state);
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("ws://{}/v1/ws", socket.local_addr().unwrap());
        let drain = self.end.child_token();
        let serving = tokio::spawn(listener::serve(gateway.clone(), socket, router.clone(), drain.clone()));
        Door {
            line,
            gateway,
            url,
            router,
            drain,
            leaving,
            serving,
            _heard: [heard, readers_heard, bridges_heard],
        }
    }

    /// Gateways that know each other.
    pub async fn gateways<const N: usize>(&self, names: [&str; N]) -> [Door; N] {
        let mut doors = Vec::new();
        for name in names {
            doors.push(self.gateway(name).await);
        }
        acquaint(&doors).await;
        doors.try_into().ok().unwrap()
    }

    pub async fn person(&self, name: &str) -> Person {
        let (email, password) = (address(name), Secret::new(PASSWORD.into()));
        let registration = Registration { name: name.into(), email, password };
        let user = self.accounts.built_in().unwrap().register(registration, HERE).await.unwrap();
        Person { id: user.id, name: name.into(), token: self.log_in(name).await }
    }

    /// A token.
    pub async fn log_in(&self, name: &str) -> String {
        let password = Secret::new(PASSWORD.into());
        let token = self.accounts.built_in().unwrap().log_in(address(name), password, HERE).await;
        token.unwrap().reveal().to_owned()
    }
}

fn address(name: &str) -> String {
    format!("{name}@example.org")
}

impl Drop for World {
    fn drop(&mut self) {
        self.end.cancel();
    }
}

/// Eve, who watches a room that others are members of.
pub struct Watcher {
    pub person: Person,
    pub room: RoomId,
    pub client: Client,
    events: Events,
}

impl Watcher {
    /// Makes a room through a gateway and lets people join it through the same.
    pub async fn at(world: &World, door: &Door, members: &[&Person]) -> Self {
        let person = world.person("eve").await;
        let (client, events) = door.connect(&person).await;
        let room = client.create("tea", "").await.unwrap().id;
        for member in members {
            let (status, joined) = door.ask(member, "POST", &format!("/v1/chat/rooms/join/{room}")).await;
            assert_eq!(status, 200, "{joined}");
        }
        let mut watcher = Self { person, room, client, events };
        if door.gateway.config.presence_members_max > members.len() as u64 {
            // They joined without a connection, which is told as well.
            let mut joined: Vec<_> = members.iter().map(|member| member.id.clone()).collect();
            while !joined.is_empty() {
                let presence =
                    tokio::time::timeout(DEADLINE, watcher.next()).await.expect("they are offline");
                let user = presence.user.unwrap().id;
                assert_eq!(presence.online, Some(false), "{user}");
                joined.retain(|member| *member != user);
            }
        }
        watcher
    }

    /// The next `presence` of the room that is not about the watcher.
    pub async fn next(&mut self) -> Presence {
        loop {
            match self.events.next().await.expect("the watcher's connection stays") {
                Event::Presence(presence)
                    if presence.user.as_ref().is_none_or(|user| user.id != self.person.id) =>
                {
                    return presence;
                }
                _ => {}
            }
        }
    }

    /// Waits until a person is told to have come or gone.
    pub async fn sees(&mut self, person: &Person, online: bool) {
        let why = format!("{} is told to be online: {online}", person.name);
        let presence = tokio::time::timeout(DEADLINE, self.next()).await.expect(&why);
        assert_eq!((presence.user.unwrap().id, presence.online), (person.id.clone(), Some(online)));
    }

    /// Nobody is told to come or go.
    pub async fn sees_nothing_for(&mut self, time: Duration) {
        if let Ok(presence) = tokio::time::timeout(time, self.next()).await {
            panic!("told without need: {presence:?}");
        }
    }

    /// What is told in this time, of whomever.
    pub async fn told_for(&mut self, time: Duration) -> Vec<Option<bool>> {
        let mut told = Vec::new();
        let end = tokio::time::Instant::now() + time;
        while let Ok(presence) = tokio::time::timeout_at(end, self.next()).await {
            told.push(presence.online);
        }
        told
    }

    /// Waits until the room is told this count.
    pub async fn counts(&mut self, count: u64) {
        let counted = async { while self.next().await.count != Some(count) {} };
        tokio::time::timeout(DEADLINE, counted).await.unwrap_or_else(|_| panic!("{count} are counted"));
    }
}
