//! A target that runs: started for one measurement, or running already.

use std::any::Any;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use anyhow::{Context, ensure};
use hubbub_core::ids::Millis;
use hubbub_testkit::{Cassandra, Cluster, Hubbub, Nats, Plan};
use tempfile::TempDir;

use super::accounts::Door;
use super::hubbub::TOKEN_SECRET;
use super::{Dialect, Member, centrifugo, hubbub, raw, socketio};
use crate::load::seat::take_all;
use crate::peers;
use crate::procfs::{self, Usage};
use crate::scenario::{Measure, Scenario, Shape};
use crate::server::{Server, free_port};
use crate::view::View;

/// Which server, and where it comes from.
#[derive(Debug, Clone)]
pub enum Target {
    /// The raw one-thread server of this package: the floor.
    Raw,
    /// Centrifugo, with or without history.
    Centrifugo {
        /// Whether a channel keeps its last messages.
        history: bool,
    },
    /// Two nodes of Centrifugo and the NATS between them.
    CentrifugoNats,
    /// A chat server on socket.io and Node.
    SocketIoNode,
    /// A `hubbub` binary as a cluster: NATS, the database, two gateways, a room-worker and a history service.
    HubbubCluster(PathBuf),
    /// A `hubbub` binary, started for each measurement with a fresh data folder.
    HubbubBinary(PathBuf),
    /// The same by its Socket.IO door.
    SocketIoBinary(PathBuf),
    /// A Hubbub that runs already.
    HubbubRunning {
        /// Where.
        address: SocketAddr,
        /// Its process, to read CPU time and memory; without, they are taken from its metrics.
        pid: Option<u32>,
        /// Whether by its Socket.IO door.
        socketio: bool,
    },
}

impl Target {
    /// Refuses one whose program is not there.
    pub fn check(&self, settings: &Settings) -> anyhow::Result<()> {
        match self {
            Self::Raw | Self::HubbubRunning { .. } => Ok(()),
            Self::Centrifugo { .. } | Self::CentrifugoNats => {
                let binary = &settings.centrifugo_binary;
                ensure!(binary.is_file(), "no program {}: hubbub-bench centrifugo install", binary.display());
                Ok(())
            }
            Self::SocketIoNode => {
                let folder = peers::socketio::folder_in(&settings.work_dir);
                ensure!(folder.is_dir(), "nothing in {}: hubbub-bench socketio install", folder.display());
                Ok(())
            }
            Self::HubbubCluster(binary) | Self::HubbubBinary(binary) | Self::SocketIoBinary(binary) => {
                ensure!(
                    binary.is_file(),
                    "no program {}: --server-bin, or the path behind @",
                    binary.display()
                );
                Ok(())
            }
        }
    }
}

/// What the targets are started with.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Data, logs and configuration of the servers. On a real disk, or fsync costs nothing.
    pub work_dir: PathBuf,
    /// This program, to start the raw server with.
    pub own_binary: PathBuf,
    /// The installed Centrifugo.
    pub centrifugo_binary: PathBuf,
    /// More arguments for the `hubbub` binary; in a cluster for its gateways.
    pub hubbub_args: Vec<String>,
    /// Whether messages to Hubbub carry idempotency keys.
    pub keys: bool,
    /// Users in all, at least one a room; `None`: each member is one, or where they have to be registered one for ten members, at
    /// most 64.
    pub users: Option<usize>,
    /// What a Hubbub that runs already knows tokens by (its `--jwt-secret`); `None`: users are registered.
    pub jwt_secret: Option<String>,
    /// Bytes of the raw server's event.
    pub event_bytes: usize,
    /// How long the last deliveries and answers are waited for.
    pub patience: Duration,
}

/// A target with everything that a measurement needs.
pub struct Live {
    /// Who connects, room by room.
    pub members: Vec<Member>,
    /// Who idles beside them, in other rooms.
    pub herd: Vec<Member>,
    /// The server's processes; none if they are not known.
    pids: Vec<u32>,
    /// Where the server says itself what it uses, if its processes are not known.
    metrics: Option<Door>,
    database: Option<u32>,
    /// What ends the processes when it is dropped.
    _alive: Box<dyn Any>,
}

impl Live {
    /// Starts a target and makes the rooms and users of the scenario. A Hubbub writes a first join to the disk and tells the room of
    /// it: so all were in their rooms before, as most who connect are. Where it is memory that is measured, it is started anew behind
    /// that; where it is connects, the others have been visited as well.
    pub async fn start(
        target: &Target,
        settings: &Settings,
        scenario: &Scenario,
        view: &View,
    ) -> anyhow::Result<Self> {
        std::fs::create_dir_all(&settings.work_dir)
            .with_context(|| format!("the work folder {}", settings.work_dir.display()))?;
        match target {
            Target::Raw => Self::start_raw(settings, scenario, view).await,
            Target::Centrifugo { history } => {
                Self::start_centrifugo(settings, scenario, *history, view).await
            }
            Target::CentrifugoNats => Self::start_centrifugo_nats(settings, scenario, view).await,
            Target::SocketIoNode => Self::start_socketio_node(settings, scenario, view).await,
            Target::HubbubCluster(binary) => Self::start_cluster(binary, settings, scenario, view).await,
            Target::HubbubBinary(binary) => Self::start_hubbub(binary, settings, scenario, view).await,
            Target::SocketIoBinary(binary) => {
                Self::start_hubbub(binary, settings, &by_door(scenario, true), view).await
            }
            Target::HubbubRunning { address, pid, socketio } => {
                let scenario = &by_door(scenario, *socketio);
                let secret = settings.jwt_secret.as_deref();
                let (members, herd) = hubbub_members(&[*address], settings, secret, scenario).await?;
                visit([&members, &herd], view).await?;
                Ok(Self {
                    members,
                    herd,
                    pids: pid.iter().copied().collect(),
                    metrics: pid.is_none().then(|| Door::new(*address)),
                    database: None,
                    _alive: Box::new(()),
                })
            }
        }
    }

    /// The server's CPU time and memory now, if its processes are known or it says so itself. The database's is not in it.
    pub async fn usage(&self) -> anyhow::Result<Option<Usage>> {
        match &self.metrics {
            Some(door) => door.usage().await,
            None => self.usage_of_processes(),
        }
    }

    /// The same of processes that are known, without waiting for anybody.
    pub fn usage_of_processes(&self) -> anyhow::Result<Option<Usage>> {
        (!self.pids.is_empty()).then(|| procfs::usage_of_all(&self.pids)).transpose()
    }

    /// Whether the server itself is asked for it.
    pub fn says_it_itself(&self) -> bool {
        self.metrics.is_some()
    }

    /// The database's, if the target has one.
    pub fn database_usage(&self) -> anyhow::Result<Option<Usage>> {
        self.database.map(procfs::usage).transpose()
    }

    async fn start_raw(settings: &Settings, scenario: &Scenario, view: &View) -> anyhow::Result<Self> {
        let port = free_port()?;
        let mut command = Command::new(&settings.own_binary);
        command.arg("raw-server").args(["--port", &port.to_string()]);
        command.args(["--event-bytes", &settings.event_bytes.to_string()]);
        let server = Server::start(command, &settings.work_dir, "raw")?;
        Self::of_peer(
            Rc::new(raw::Raw::default()),
            vec![(server, port)],
            scenario,
            |_| Identity::default(),
            view,
        )
        .await
    }

    async fn start_centrifugo(
        settings: &Settings,
        scenario: &Scenario,
        history: bool,
        view: &View,
    ) -> anyhow::Result<Self> {
        let port = free_port()?;
        let command =
            peers::centrifugo::command(&settings.centrifugo_binary, &settings.work_dir, port, history)?;
        let server = Server::start(command, &settings.work_dir, "centrifugo")?;
        let dialect = Rc::new(centrifugo::Centrifugo::default());
        Self::of_peer(dialect, vec![(server, port)], scenario, centrifugo_user, view).await
    }

    async fn start_centrifugo_nats(
        settings: &Settings,
        scenario: &Scenario,
        view: &View,
    ) -> anyhow::Result<Self> {
        let nats = Nats::start_in(fresh_folder(settings)?.into(), "").await?;
        let mut nodes = Vec::new();
        for name in ["centrifugo-1", "centrifugo-2"] {
            let (binary, work_dir, port) = (&settings.centrifugo_binary, &settings.work_dir, free_port()?);
            let command = peers::centrifugo::node_command(binary, work_dir, port, &nats.url())?;
            nodes.push((Server::start(command, work_dir, name)?, port));
        }
        let dialect = Rc::new(centrifugo::Centrifugo::default());
        let mut live = Self::of_peer(dialect, nodes, scenario, centrifugo_user, view).await?;
        live.pids.push(nats.pid());
        // The nodes end before their broker.
        live._alive = Box::new((live._alive, nats));
        Ok(live)
    }

    async fn start_socketio_node(
        settings: &Settings,
        scenario: &Scenario,
        view: &View,
    ) -> anyhow::Result<Self> {
        let port = free_port()?;
        let command = peers::socketio::command(&settings.work_dir, port)?;
        let server = Server::start(command, &settings.work_dir, "socketio-node")?;
        let dialect = Rc::new(socketio::SocketIo::new(None));
        // A token is its user's name there.
        let identity = |user| {
            let name: Rc<str> = format!("user-{user}").into();
            Identity { token: Rc::clone(&name), user: Some(name) }
        };
        Self::of_peer(dialect, vec![(server, port)], scenario, identity, view).await
    }

    /// A peer of one or more servers, whose members take turns among them.
    async fn of_peer(
        dialect: Rc<dyn Dialect>,
        mut servers: Vec<(Server, u16)>,
        scenario: &Scenario,
        identity: impl Fn(usize) -> Identity,
        view: &View,
    ) -> anyhow::Result<Self> {
        let mut addresses = Vec::new();
        for (server, port) in &mut servers {
            let address = SocketAddr::from(([127, 0, 0, 1], *port));
            server.wait_until(async || tokio::net::TcpStream::connect(address).await.is_ok()).await?;
            addresses.push(address);
        }
        let of = |kind: &str, shape: Shape| -> Vec<Member> {
            let rooms: Vec<Rc<str>> =
                (0..shape.rooms).map(|room| Rc::from(format!("{kind}-{room:06}"))).collect();
            (0..shape.connections())
                .map(|index| {
                    let Identity { token, user } = identity(index);
                    Member {
                        dialect: Rc::clone(&dialect),
                        address: addresses[index % addresses.len()],
                        room: index / shape.members,
                        room_id: Rc::clone(&rooms[index / shape.members]),
                        token,
                        user,
                    }
                })
                .collect()
        };
        let (members, herd) = (of("room", scenario.shape), of("herd", herd(scenario)));
        if matches!(scenario.measure, Measure::Connects { .. }) {
            visit([&members, &herd], view).await?;
        }
        let pids = servers.iter().map(|(server, _)| server.pid()).collect();
        Ok(Self { members, herd, pids, metrics: None, database: None, _alive: Box::new(servers) })
    }

    async fn start_cluster(
        binary: &Path,
        settings: &Settings,
        scenario: &Scenario,
        view: &View,
    ) -> anyhow::Result<Self> {
        let folder = fresh_folder(settings)?;
        let plan = Plan {
            folder: Some(folder.path().to_owned()),
            nats: 1,
            workers: 1,
            histories: 1,
            gateway_flags: hubbub_args(settings),
            ..Plan::of(binary)
        };
        let mut cluster = Cluster::start(plan, |_| {}).await?;
        let addresses: Vec<_> = cluster.gateways.iter().map(Hubbub::address).collect();
        let (members, herd) = hubbub_members(&addresses, settings, Some(TOKEN_SECRET), scenario).await?;
        visit([&members, &herd], view).await?;
        if scenario.is_of_memory() {
            for gateway in &mut cluster.gateways {
                gateway.terminate().await?;
                gateway.restart().await?;
            }
        }
        let Cluster { gateways, workers, histories, nats, database, .. } = &cluster;
        let tiers = gateways.iter().chain(workers).chain(histories).map(Hubbub::pid);
        Ok(Self {
            members,
            herd,
            metrics: None,
            pids: tiers.chain(nats.iter().map(Nats::pid)).collect(),
            database: database.as_ref().map(Cassandra::pid).transpose()?,
            // The processes end before their files.
            _alive: Box::new((cluster, folder)),
        })
    }

    async fn start_hubbub(
        binary: &Path,
        settings: &Settings,
        scenario: &Scenario,
        view: &View,
    ) -> anyhow::Result<Self> {
        let port = free_port()?;
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let data = settings.work_dir.join(format!("hubbub-data-{}", run_name()));
        let start = || {
            let mut command = Command::new(binary);
            command.args(["--port", &port.to_string()]).arg("--data").arg(&data).args(hubbub_args(settings));
            Server::start(command, &settings.work_dir, "hubbub")
        };
        let door = Door::new(address);
        let mut server = start()?.removing_at_end(data.clone());
        server.wait_until(async || door.is_ready().await).await?;
        let (members, herd) = hubbub_members(&[address], settings, Some(TOKEN_SECRET), scenario).await?;
        visit([&members, &herd], view).await?;
        if scenario.is_of_memory() {
            server.stop().await;
            server = start()?.removing_at_end(data.clone());
            server.wait_until(async || door.is_ready().await).await?;
        }
        let pids = vec![server.pid()];
        Ok(Self { members, herd, pids, metrics: None, database: None, _alive: Box::new(server) })
    }
}

/// The scenario with all its members at the Socket.IO door, or with those that it says itself.
fn by_door(scenario: &Scenario, socketio: bool) -> Scenario {
    Scenario { socketio: if socketio { 1.0 } else { scenario.socketio }, ..scenario.clone() }
}

/// The shape of those who idle beside.
fn herd(scenario: &Scenario) -> Shape {
    match scenario.beside.idle {
        0 => Shape { rooms: 0, members: 0 },
        idle => Shape::herd(idle),
    }
}

/// Has all of them come and go, a few at a time, so that a join is told to few. Then the server has some time to be done with it.
async fn visit(members: [&[Member]; 2], view: &View) -> anyhow::Result<()> {
    const TOGETHER: usize = 64;
    const SETTLE: Duration = Duration::from_secs(2);
    for some in members.into_iter().flat_map(|members| members.chunks(TOGETHER)) {
        drop(take_all(some, view).await?);
    }
    tokio::time::sleep(SETTLE).await;
    Ok(())
}

/// What a Hubbub is started with, besides where it listens and what it keeps.
fn hubbub_args(settings: &Settings) -> Vec<String> {
    let secret = format!("--jwt-secret={TOKEN_SECRET}");
    std::iter::once(secret).chain(settings.hubbub_args.iter().cloned()).collect()
}

/// Users and rooms: those who are measured, and those who idle beside. A user's connections all receive every room of the
/// user, so that each user is in one room, and there are at least as many users as rooms. Connections take turns among the
/// addresses.
async fn hubbub_members(
    addresses: &[SocketAddr],
    settings: &Settings,
    secret: Option<&str>,
    scenario: &Scenario,
) -> anyhow::Result<(Vec<Member>, Vec<Member>)> {
    let run = run_name();
    let key = settings.keys.then(|| run.clone());
    let native: Rc<dyn Dialect> = Rc::new(hubbub::Hubbub::new(key.clone()));
    let socketio: Rc<dyn Dialect> = Rc::new(socketio::SocketIo::new(key));
    // Spread evenly over a room: member n comes by Socket.IO if the count of those up to it grows with it.
    let by_socketio = |n: usize| (n as f64 * scenario.socketio).floor() as usize;
    let dialect = |member: usize| {
        Rc::clone(if by_socketio(member + 1) > by_socketio(member) { &socketio } else { &native })
    };
    let door = Door::new(*addresses.first().context("no address")?);
    let make = Make { door, addresses, users: settings.users, secret };
    let members = make.members(&format!("{run}-r"), scenario.shape, dialect).await?;
    let herd = make.members(&format!("{run}-h"), herd(scenario), |_| Rc::clone(&native)).await?;
    Ok((members, herd))
}

struct Make<'a> {
    door: Door,
    addresses: &'a [SocketAddr],
    users: Option<usize>,
    secret: Option<&'a str>,
}

impl Make<'_> {
    async fn members(
        &self,
        run: &str,
        shape: Shape,
        dialect: impl Fn(usize) -> Rc<dyn Dialect>,
    ) -> anyhow::Result<Vec<Member>> {
        let users = self.users.unwrap_or_else(|| match self.secret {
            Some(_) => shape.connections(),
            None => (shape.connections() / 10).clamp(1, 64),
        });
        let mut members = Vec::with_capacity(shape.connections());
        for room in 0..shape.rooms {
            let users_a_room = (users / shape.rooms).clamp(1, shape.members);
            let mut identities: Vec<Identity> = Vec::with_capacity(users_a_room);
            for user in 0..users_a_room {
                let name = format!("bench-{run}-{room}-{user}");
                identities.push(match self.secret {
                    Some(secret) => {
                        Identity { token: hubbub::token(secret, &name).into(), user: Some(name.into()) }
                    }
                    // The server gives it an id of its own, which is taken from the first message.
                    None => Identity { token: self.door.register(&name).await?.into(), user: None },
                });
            }
            let owner = identities.first().context("a room without users")?;
            let room_id: Rc<str> =
                self.door.make_room(&owner.token, &format!("bench {run} {room}")).await?.into();
            members.extend((0..shape.members).map(|member| {
                let Identity { token, user } = &identities[member % users_a_room];
                Member {
                    dialect: dialect(member),
                    address: self.addresses[member % self.addresses.len()],
                    room,
                    room_id: Rc::clone(&room_id),
                    token: Rc::clone(token),
                    user: user.clone(),
                }
            }));
        }
        Ok(members)
    }
}

/// What a member proves itself with, and whom others see.
#[derive(Default)]
struct Identity {
    token: Rc<str>,
    user: Option<Rc<str>>,
}

fn centrifugo_user(user: usize) -> Identity {
    let name = format!("user-{user}");
    Identity { token: centrifugo::token(&name).into(), user: Some(name.into()) }
}

/// A folder for what several servers keep, on the disk of the work folder.
fn fresh_folder(settings: &Settings) -> anyhow::Result<TempDir> {
    Ok(tempfile::Builder::new().prefix("servers-").tempdir_in(&settings.work_dir)?)
}

/// A name that no other run on this server has.
pub(crate) fn run_name() -> String {
    // Of this process, whose threads may each have one at the same time.
    static RUNS: AtomicU64 = AtomicU64::new(1);
    let run = RUNS.fetch_add(1, Ordering::Relaxed);
    let millis = Millis::from(SystemTime::now()).0;
    format!("{:x}-{}-{run}", millis & 0xFF_FFFF_FFFF, std::process::id())
}
