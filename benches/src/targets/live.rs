//! A target that runs: started for one measurement, or running already.

use std::any::Any;
use std::cell::Cell;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::rc::Rc;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, ensure};
use hubbub_testkit::{Cluster, Hubbub, Nats, Plan};
use tempfile::TempDir;

use super::accounts::Door;
use super::{Dialect, Member, centrifugo, hubbub, raw, socketio};
use crate::peers;
use crate::procfs::{self, Usage};
use crate::scenario::Shape;
use crate::server::{Server, free_port};

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
        /// Its process, to read CPU time and memory.
        pid: Option<u32>,
    },
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
    /// Accounts, at least one a room; `None`: one for ten connections, at most 64.
    pub users: Option<usize>,
    /// Bytes of the raw server's event.
    pub event_bytes: usize,
}

/// A target with everything that a measurement needs.
pub struct Live {
    /// Its language.
    pub dialect: Rc<dyn Dialect>,
    /// Who connects, room by room.
    pub members: Vec<Member>,
    /// The server's processes; none if they are not known.
    pids: Vec<u32>,
    database: Option<u32>,
    /// What ends the processes when it is dropped.
    _alive: Box<dyn Any>,
}

impl Live {
    /// Starts a target and makes the rooms and accounts of `shape`. With `settled`, a server that had to make
    /// accounts is started anew afterwards, so that its memory is not that of hashing passwords.
    pub async fn start(
        target: &Target,
        settings: &Settings,
        shape: Shape,
        settled: bool,
    ) -> anyhow::Result<Self> {
        std::fs::create_dir_all(&settings.work_dir)
            .with_context(|| format!("the work folder {}", settings.work_dir.display()))?;
        match target {
            Target::Raw => Self::start_raw(settings, shape).await,
            Target::Centrifugo { history } => Self::start_centrifugo(settings, shape, *history).await,
            Target::CentrifugoNats => Self::start_centrifugo_nats(settings, shape).await,
            Target::SocketIoNode => Self::start_socketio_node(settings, shape).await,
            Target::HubbubCluster(binary) => Self::start_cluster(binary, settings, shape, settled).await,
            Target::HubbubBinary(binary) => {
                let dialect = |run| Rc::new(hubbub::Hubbub::new(run)) as Rc<dyn Dialect>;
                Self::start_hubbub(binary, settings, shape, settled, dialect).await
            }
            Target::SocketIoBinary(binary) => {
                let dialect = |run| Rc::new(socketio::SocketIo::new(run)) as Rc<dyn Dialect>;
                Self::start_hubbub(binary, settings, shape, settled, dialect).await
            }
            Target::HubbubRunning { address, pid } => {
                crate::loopback::require(*address)?;
                let (members, run) = hubbub_members(&[*address], settings, shape).await?;
                Ok(Self {
                    dialect: Rc::new(hubbub::Hubbub::new(settings.keys.then_some(run))),
                    members,
                    pids: pid.iter().copied().collect(),
                    database: None,
                    _alive: Box::new(()),
                })
            }
        }
    }

    /// The server's CPU time and memory now, if its processes are known. The database's is not in it.
    pub fn usage(&self) -> anyhow::Result<Option<Usage>> {
        (!self.pids.is_empty()).then(|| procfs::usage_of_all(&self.pids)).transpose()
    }

    /// The database's, if the target has one.
    pub fn database_usage(&self) -> anyhow::Result<Option<Usage>> {
        self.database.map(procfs::usage).transpose()
    }

    async fn start_raw(settings: &Settings, shape: Shape) -> anyhow::Result<Self> {
        let port = free_port()?;
        let mut command = Command::new(&settings.own_binary);
        command.arg("raw-server").args(["--port", &port.to_string()]);
        command.args(["--event-bytes", &settings.event_bytes.to_string()]);
        let server = Server::start(command, &settings.work_dir, "raw")?;
        Self::of_peer(Rc::new(raw::Raw), vec![(server, port)], shape, |_| Rc::from("")).await
    }

    async fn start_centrifugo(settings: &Settings, shape: Shape, history: bool) -> anyhow::Result<Self> {
        let port = free_port()?;
        let command =
            peers::centrifugo::command(&settings.centrifugo_binary, &settings.work_dir, port, history)?;
        let server = Server::start(command, &settings.work_dir, "centrifugo")?;
        let dialect = Rc::new(centrifugo::Centrifugo::default());
        Self::of_peer(dialect, vec![(server, port)], shape, centrifugo_token).await
    }

    async fn start_centrifugo_nats(settings: &Settings, shape: Shape) -> anyhow::Result<Self> {
        let nats = Nats::start_in(fresh_folder(settings)?.into(), "").await?;
        let mut nodes = Vec::new();
        for name in ["centrifugo-1", "centrifugo-2"] {
            let (binary, work_dir, port) = (&settings.centrifugo_binary, &settings.work_dir, free_port()?);
            let command = peers::centrifugo::node_command(binary, work_dir, port, &nats.url())?;
            nodes.push((Server::start(command, work_dir, name)?, port));
        }
        let dialect = Rc::new(centrifugo::Centrifugo::default());
        let mut live = Self::of_peer(dialect, nodes, shape, centrifugo_token).await?;
        live.pids.push(nats.pid());
        // The nodes end before their broker.
        live._alive = Box::new((live._alive, nats));
        Ok(live)
    }

    async fn start_socketio_node(settings: &Settings, shape: Shape) -> anyhow::Result<Self> {
        let port = free_port()?;
        let command = peers::socketio::command(&settings.work_dir, port)?;
        let server = Server::start(command, &settings.work_dir, "socketio-node")?;
        let dialect = Rc::new(socketio::SocketIo::new(None));
        Self::of_peer(dialect, vec![(server, port)], shape, |user| format!("user-{user}").into()).await
    }

    /// A peer of one or more servers, whose members take turns among them.
    async fn of_peer(
        dialect: Rc<dyn Dialect>,
        mut servers: Vec<(Server, u16)>,
        shape: Shape,
        token: impl Fn(usize) -> Rc<str>,
    ) -> anyhow::Result<Self> {
        let mut addresses = Vec::new();
        for (server, port) in &mut servers {
            let address = SocketAddr::from(([127, 0, 0, 1], *port));
            server.wait_until(async || tokio::net::TcpStream::connect(address).await.is_ok()).await?;
            addresses.push(address);
        }
        let rooms: Vec<Rc<str>> = (0..shape.rooms).map(|room| Rc::from(format!("room-{room:06}"))).collect();
        let members = (0..shape.connections())
            .map(|index| Member {
                address: addresses[index % addresses.len()],
                room: index / shape.members,
                room_id: Rc::clone(&rooms[index / shape.members]),
                token: token(index),
            })
            .collect();
        let pids = servers.iter().map(|(server, _)| server.pid()).collect();
        Ok(Self { dialect, members, pids, database: None, _alive: Box::new(servers) })
    }

    async fn start_cluster(
        binary: &Path,
        settings: &Settings,
        shape: Shape,
        settled: bool,
    ) -> anyhow::Result<Self> {
        let folder = fresh_folder(settings)?;
        let plan = Plan {
            folder: Some(folder.path().to_owned()),
            nats: 1,
            workers: 1,
            histories: 1,
            gateway_flags: settings.hubbub_args.clone(),
            ..Plan::of(binary)
        };
        let mut cluster = Cluster::start(plan, |_| {}).await?;
        let addresses: Vec<_> = cluster.gateways.iter().map(Hubbub::address).collect();
        let (members, run) = hubbub_members(&addresses, settings, shape).await?;
        if settled {
            // It is gateways that hash passwords.
            for gateway in &mut cluster.gateways {
                gateway.terminate().await?;
                gateway.restart().await?;
            }
        }
        let Cluster { gateways, workers, histories, nats, database, .. } = &cluster;
        let tiers = gateways.iter().chain(workers).chain(histories).map(Hubbub::pid);
        Ok(Self {
            dialect: Rc::new(hubbub::Hubbub::new(settings.keys.then_some(run))),
            members,
            pids: tiers.chain(nats.iter().map(Nats::pid)).collect(),
            database: Some(database.pid()?),
            // The processes end before their files.
            _alive: Box::new((cluster, folder)),
        })
    }

    async fn start_hubbub(
        binary: &Path,
        settings: &Settings,
        shape: Shape,
        settled: bool,
        dialect: impl FnOnce(Option<String>) -> Rc<dyn Dialect>,
    ) -> anyhow::Result<Self> {
        let port = free_port()?;
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let data = settings.work_dir.join(format!("hubbub-data-{}", run_name()));
        let start = || {
            let mut command = Command::new(binary);
            command.args(["--port", &port.to_string()]).arg("--data").arg(&data).args(&settings.hubbub_args);
            Server::start(command, &settings.work_dir, "hubbub")
        };
        let door = Door::new(address);
        let mut server = start()?.removing_at_end(data.clone());
        server.wait_until(async || door.is_ready().await).await?;
        let (members, run) = hubbub_members(&[address], settings, shape).await?;
        if settled {
            server.stop().await;
            server = start()?.removing_at_end(data.clone());
            server.wait_until(async || door.is_ready().await).await?;
            let first = members.first().context("no members")?;
            ensure!(door.knows(&first.token).await?, "the server forgot its tokens when it was started anew");
        }
        let dialect = dialect(settings.keys.then_some(run));
        let pids = vec![server.pid()];
        Ok(Self { dialect, members, pids, database: None, _alive: Box::new(server) })
    }
}

/// Users and rooms for `shape`. A user's connections all receive every room of the user, so that each user is in one
/// room, and there are at least as many users as rooms. Connections take turns among the addresses.
async fn hubbub_members(
    addresses: &[SocketAddr],
    settings: &Settings,
    shape: Shape,
) -> anyhow::Result<(Vec<Member>, String)> {
    let (door, run) = (Door::new(*addresses.first().context("no address")?), run_name());
    let users = settings.users.unwrap_or_else(|| (shape.connections() / 10).clamp(1, 64));
    let users_a_room = (users / shape.rooms).clamp(1, shape.members);
    let mut members = Vec::with_capacity(shape.connections());
    for room in 0..shape.rooms {
        let mut tokens: Vec<Rc<str>> = Vec::with_capacity(users_a_room);
        for user in 0..users_a_room {
            tokens.push(door.register(&format!("bench-{run}-{room}-{user}")).await?.into());
        }
        let owner = tokens.first().context("a room without users")?;
        let room_id: Rc<str> = door.make_room(owner, &format!("bench {run} {room}")).await?.into();
        members.extend((0..shape.members).map(|member| Member {
            address: addresses[member % addresses.len()],
            room,
            room_id: Rc::clone(&room_id),
            token: Rc::clone(&tokens[member % users_a_room]),
        }));
    }
    Ok((members, run))
}

fn centrifugo_token(user: usize) -> Rc<str> {
    centrifugo::token(&format!("user-{user}")).into()
}

/// A folder for what several servers keep, on the disk of the work folder.
fn fresh_folder(settings: &Settings) -> anyhow::Result<TempDir> {
    Ok(tempfile::Builder::new().prefix("servers-").tempdir_in(&settings.work_dir)?)
}

/// A name that no other run on this server has.
fn run_name() -> String {
    thread_local! {
        static RUNS: Cell<u64> = const { Cell::new(0) };
    }
    let run = RUNS.get() + 1;
    RUNS.set(run);
    let millis = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
    format!("{:x}-{}-{run}", millis & 0xFF_FFFF_FFFF, std::process::id())
}
