//! The command line.

mod verify;

use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use clap::{Args, Parser, Subcommand};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::runtime::{Builder, LocalOptions};

use crate::commands::{self, Offer};
use crate::compare::{self, Named};
use crate::exit;
use crate::peers::{centrifugo, raw, socketio};
use crate::report;
use crate::scenario::file::{Knobs, READY};
use crate::scenario::{Load, Measure, Profile, Scenario, Shape};
use crate::targets::live::{Settings, Target};

/// Measures Hubbub beside a raw server and Centrifugo, on this machine only.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 120)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Scenarios, ready ones or files, on several targets in turn.
    Compare {
        /// Ready scenarios by name (`scenarios` lists them), or paths of scenario files.
        #[arg(long, value_delimiter = ',', default_value = "s1,s2")]
        scenario: Vec<String>,
        #[command(flatten)]
        common: Common,
    },
    /// The ready scenarios; with a name, its file, to make one's own of.
    Scenarios {
        /// Of this one the file.
        name: Option<String>,
    },
    /// A page of one or several results, which needs nothing else: open it in a browser.
    Report {
        /// Results, as `--out` has written them.
        #[arg(required = true)]
        results: Vec<PathBuf>,
        /// Where the page goes.
        #[arg(short, long, default_value = "report.html")]
        output: PathBuf,
    },
    /// Whether a running deployment keeps its promises while you break things: sends, reads, and says what was wrong.
    Verify(verify::Verify),
    /// One fan-out scenario of your own.
    Fanout {
        /// Rooms.
        #[arg(long, default_value_t = 1)]
        rooms: usize,
        /// Connections in each room.
        #[arg(long, default_value_t = 1_000)]
        members: usize,
        /// Messages a second over all rooms.
        #[arg(long, default_value_t = 40)]
        rate: u32,
        #[command(flatten)]
        common: Common,
    },
    /// Resident memory of idle member connections.
    Idle {
        #[command(flatten)]
        common: Common,
    },
    /// Connect, hello and join.
    Connects {
        #[command(flatten)]
        common: Common,
    },
    /// Commands to bots through one bridge to a real RabbitMQ, as fast as they are confirmed.
    Commands {
        /// The hubbub binary.
        #[arg(long)]
        server_bin: PathBuf,
        /// Connections, one user each.
        #[arg(long, default_value_t = 16)]
        connections: usize,
        /// Commands of a connection under way at a time.
        #[arg(long, default_value_t = 16)]
        in_flight: usize,
        /// Seconds measured.
        #[arg(long, default_value_t = 10)]
        seconds: u32,
        /// Where servers, data and logs go: on a real disk, or fsync costs nothing.
        #[arg(long, default_value = "target/hubbub-bench")]
        work_dir: PathBuf,
    },
    /// The raw one-thread server, the floor.
    RawServer {
        /// Its loopback port.
        #[arg(long)]
        port: u16,
        /// Bytes of an event's JSON.
        #[arg(long, default_value_t = raw::EVENT_BYTES)]
        event_bytes: usize,
    },
    /// The pinned Centrifugo.
    Centrifugo {
        #[command(subcommand)]
        command: CentrifugoCommand,
        /// Where servers, data and logs go.
        #[arg(long, global = true, default_value = "target/hubbub-bench")]
        work_dir: PathBuf,
    },
    /// The pinned chat server on socket.io and Node.
    Socketio {
        #[command(subcommand)]
        command: SocketIoCommand,
        /// Where servers, data and logs go.
        #[arg(long, global = true, default_value = "target/hubbub-bench")]
        work_dir: PathBuf,
    },
}

#[derive(Debug, Subcommand)]
enum SocketIoCommand {
    /// Brings it with npm.
    Install,
    /// Serves in the foreground.
    Run {
        /// Its loopback port.
        #[arg(long, default_value_t = 8_001)]
        port: u16,
    },
}

#[derive(Debug, Subcommand)]
enum CentrifugoCommand {
    /// Builds it with Go, from the module proxy.
    Install,
    /// Serves in the foreground.
    Run {
        /// Its loopback port.
        #[arg(long, default_value_t = 8_000)]
        port: u16,
        /// Keep 100 messages a channel for 60 s.
        #[arg(long)]
        history: bool,
    },
}

#[derive(Debug, Args)]
struct Common {
    /// Targets: raw, centrifugo (with history), centrifugo-nohistory, centrifugo-nats (two nodes), socketio-node
    /// (socket.io on Node), hubbub, socketio (its Socket.IO door), hubbub@PATH and socketio@PATH for another binary, or
    /// cluster@PATH for a cluster of it.
    #[arg(long, value_delimiter = ',', default_value = "raw,centrifugo")]
    targets: Vec<String>,
    /// How often each is measured, in turn; the median counts.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Seconds measured, instead of the scenario's; of a fan-out of your own, 10.
    #[arg(long)]
    seconds: Option<u32>,
    /// Seconds before them; of a fan-out of your own, 2.
    #[arg(long)]
    warm_up: Option<u32>,
    /// Bytes of a message's text; of a fan-out of your own, 128.
    #[arg(long)]
    body: Option<usize>,
    /// Connections of a scenario in which nothing is said, as idle and connects.
    #[arg(long)]
    connections: Option<usize>,
    /// Connects under way at a time.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    in_flight: Option<u16>,
    /// Users at Hubbub, at least one a room. Without: each member is one; where they have to be registered, one for ten members, at
    /// most 64.
    #[arg(long)]
    users: Option<usize>,
    /// The --jwt-secret of a Hubbub that runs already: users need not be registered.
    #[arg(long, requires = "url")]
    jwt_secret: Option<String>,
    /// Send to Hubbub without idempotency keys.
    #[arg(long)]
    no_keys: bool,
    /// The hubbub binary, started for every measurement.
    #[arg(long, conflicts_with = "url")]
    server_bin: Option<PathBuf>,
    /// One more argument for the hubbub binary, in a cluster for its gateways; may be repeated.
    #[arg(long, allow_hyphen_values = true)]
    server_arg: Vec<String>,
    /// A Hubbub that runs already: ws://HOST:PORT.
    #[arg(long)]
    url: Option<String>,
    /// Its process on this machine, to read CPU time and memory; without, they are taken from its /metrics.
    #[arg(long, requires = "url")]
    pid: Option<u32>,
    /// Load may go to an address that is not this machine's. Only for what is yours, and can bear it.
    #[arg(long)]
    i_own_this_target: bool,
    /// Bytes of the raw server's event.
    #[arg(long, default_value_t = raw::EVENT_BYTES)]
    event_bytes: usize,
    /// Seconds for which the last deliveries and answers are waited for, before they are said not to have come.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=600))]
    patience: u64,
    /// Another Centrifugo than the installed one.
    #[arg(long)]
    centrifugo_bin: Option<PathBuf>,
    /// Where servers, data and logs go: on a real disk, or fsync costs nothing.
    #[arg(long, default_value = "target/hubbub-bench")]
    work_dir: PathBuf,
    /// Where the JSON goes.
    #[arg(long, default_value = "target/hubbub-bench/result.json")]
    out: PathBuf,
}

impl Cli {
    /// Does what was asked.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        match self.command {
            Command::Compare { scenario, common } => {
                let find = |name: &String| Scenario::find(name, &common.knobs());
                let scenarios = scenario.iter().map(find).collect::<anyhow::Result<Vec<_>>>()?;
                common.measure(&scenarios)
            }
            Command::Verify(verify) => verify.run(),
            Command::Scenarios { name } => list_scenarios(name.as_deref()),
            Command::Report { results, output } => {
                report::html::write(&results, &output).map(|()| ExitCode::SUCCESS)
            }
            Command::Fanout { rooms, members, rate, common } => {
                let load = Load {
                    rate,
                    body_bytes: common.body.unwrap_or(128),
                    seconds: common.seconds.unwrap_or(10),
                    warm_up_seconds: common.warm_up.unwrap_or(2),
                    profile: Profile::Steady,
                };
                let shape = Shape { rooms, members };
                common.measure(&[Scenario::plain("fanout", shape, Measure::Fanout(load))])
            }
            Command::Idle { common } => common.measure_named("idle"),
            Command::Connects { common } => common.measure_named("connects"),
            Command::Commands { server_bin, connections, in_flight, seconds, work_dir } => {
                let time = Duration::from_secs(seconds.into());
                give_commands(&server_bin, &work_dir, Offer { connections, in_flight, time })
            }
            Command::RawServer { port, event_bytes } => serve_raw(port, event_bytes),
            Command::Centrifugo { command, work_dir } => run_centrifugo(&command, &work_dir),
            Command::Socketio { command, work_dir } => run_socketio(&command, &work_dir),
        }
    }
}

impl Common {
    fn knobs(&self) -> Knobs {
        Knobs {
            seconds: self.seconds,
            warm_up_seconds: self.warm_up,
            body_bytes: self.body,
            connections: self.connections,
            in_flight: self.in_flight.map(usize::from),
        }
    }

    fn measure_named(&self, name: &str) -> anyhow::Result<ExitCode> {
        self.measure(&[Scenario::find(name, &self.knobs())?])
    }

    fn measure(&self, scenarios: &[Scenario]) -> anyhow::Result<ExitCode> {
        for scenario in scenarios {
            scenario.check()?;
        }
        let targets =
            self.targets.iter().map(|name| self.target(name)).collect::<anyhow::Result<Vec<_>>>()?;
        allow_open_files(scenarios.iter().map(|scenario| scenario.connections()).max().unwrap_or(0))?;
        let runs = compare::run(&targets, scenarios, self.rounds, &self.settings()?)?;
        let summaries = compare::summarise(&targets, scenarios, &runs);
        println!("{}", report::tables(scenarios, &summaries, &runs));
        let text = serde_json::to_string_pretty(&report::json(scenarios, &summaries, &runs))?;
        std::fs::write(&self.out, text).with_context(|| format!("writing {}", self.out.display()))?;
        eprintln!("all of it: {}", self.out.display());
        // Times are for people to judge; what was delivered wrongly is wrong on any machine.
        let wrong = runs.iter().filter_map(|run| run.outcome.wrong()).count();
        Ok(if wrong == 0 { ExitCode::SUCCESS } else { ExitCode::from(exit::WRONG) })
    }

    fn target(&self, name: &str) -> anyhow::Result<Named> {
        let target = match (name, name.split_once('@')) {
            ("raw", _) => Target::Raw,
            ("centrifugo", _) => Target::Centrifugo { history: true },
            ("centrifugo-nohistory", _) => Target::Centrifugo { history: false },
            ("centrifugo-nats", _) => Target::CentrifugoNats,
            ("socketio-node", _) => Target::SocketIoNode,
            (_, Some(("cluster", path))) => Target::HubbubCluster(path.into()),
            (_, Some(("hubbub", path))) => Target::HubbubBinary(path.into()),
            (_, Some(("socketio", path))) => Target::SocketIoBinary(path.into()),
            ("hubbub" | "socketio", _) => {
                let socketio = name == "socketio";
                match (&self.url, &self.server_bin) {
                    (Some(url), _) => {
                        let address = crate::loopback::address_in(url, self.i_own_this_target)?;
                        Target::HubbubRunning { address, pid: self.pid, socketio }
                    }
                    (None, Some(binary)) if socketio => Target::SocketIoBinary(binary.clone()),
                    (None, Some(binary)) => Target::HubbubBinary(binary.clone()),
                    (None, None) => bail!("{name}: say where it is, by --server-bin or --url"),
                }
            }
            _ => bail!(
                "no target {name}: raw, centrifugo, centrifugo-nohistory, centrifugo-nats, socketio-node, \
                 hubbub, socketio, hubbub@PATH, socketio@PATH, cluster@PATH"
            ),
        };
        Ok(Named { name: name.to_owned(), target })
    }

    fn settings(&self) -> anyhow::Result<Settings> {
        std::fs::create_dir_all(&self.work_dir)
            .with_context(|| format!("the work folder {}", self.work_dir.display()))?;
        warn_if_in_memory(&self.work_dir);
        Ok(Settings {
            own_binary: std::env::current_exe()?,
            centrifugo_binary: self
                .centrifugo_bin
                .clone()
                .unwrap_or_else(|| centrifugo::binary_in(&self.work_dir)),
            work_dir: self.work_dir.clone(),
            hubbub_args: self.server_arg.clone(),
            keys: !self.no_keys,
            users: self.users,
            jwt_secret: self.jwt_secret.clone(),
            event_bytes: self.event_bytes,
            patience: Duration::from_secs(self.patience),
        })
    }
}

fn list_scenarios(name: Option<&str>) -> anyhow::Result<ExitCode> {
    let text = match name {
        None => {
            let line = |(name, _)| {
                anyhow::Ok(format!("{name:12} {}\n", Scenario::find(name, &Knobs::default())?.about))
            };
            READY.into_iter().map(line).collect::<anyhow::Result<String>>()?
        }
        Some(name) => {
            let ready = READY.iter().find(|(ready, _)| *ready == name);
            ready.with_context(|| format!("no scenario {name}"))?.1.to_owned()
        }
    };
    // Whoever has read enough of it may close it.
    let _ = std::io::stdout().write_all(text.as_bytes());
    Ok(ExitCode::SUCCESS)
}

fn give_commands(server_bin: &Path, work_dir: &Path, offer: Offer) -> anyhow::Result<ExitCode> {
    let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default())?;
    runtime.block_on(commands::run(server_bin, work_dir, offer))?;
    Ok(ExitCode::SUCCESS)
}

fn serve_raw(port: u16, event_bytes: usize) -> anyhow::Result<ExitCode> {
    allow_open_files(1_000)?;
    let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default())?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], port))).await?;
        raw::serve(listener, event_bytes).await
    })?;
    Ok(ExitCode::SUCCESS)
}

fn run_centrifugo(command: &CentrifugoCommand, work_dir: &Path) -> anyhow::Result<ExitCode> {
    match command {
        CentrifugoCommand::Install => println!("{}", centrifugo::install(work_dir)?.display()),
        CentrifugoCommand::Run { port, history } => {
            let binary = centrifugo::binary_in(work_dir);
            let status = centrifugo::command(&binary, work_dir, *port, *history)?.status()?;
            ensure!(status.success(), "centrifugo: {status}");
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn run_socketio(command: &SocketIoCommand, work_dir: &Path) -> anyhow::Result<ExitCode> {
    match command {
        SocketIoCommand::Install => println!("{}", socketio::install(work_dir)?.display()),
        SocketIoCommand::Run { port } => {
            let status = socketio::command(work_dir, *port)?.status()?;
            ensure!(status.success(), "socket.io: {status}");
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Raises the soft limit on open files, which children inherit, and says so early if it can't be enough.
fn allow_open_files(connections: usize) -> anyhow::Result<()> {
    let limit = getrlimit(Resource::Nofile);
    let needed = connections as u64 + 200;
    if limit.current.is_some_and(|current| limit.maximum.is_none_or(|maximum| current < maximum)) {
        setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })?;
    }
    let most = limit.maximum.unwrap_or(u64::MAX);
    ensure!(
        needed <= most,
        "{connections} connections need {needed} open files, and the limit is {most}: ulimit -n"
    );
    Ok(())
}

fn warn_if_in_memory(work_dir: &Path) {
    const TMPFS_MAGIC: u64 = 0x0102_1994;
    if rustix::fs::statfs(work_dir).is_ok_and(|fs| fs.f_type as u64 == TMPFS_MAGIC) {
        eprintln!(
            "warning: {} is in memory, where fsync costs nothing: choose another --work-dir",
            work_dir.display()
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn targets(arguments: &[&str]) -> anyhow::Result<Vec<String>> {
        let cli = Cli::try_parse_from(["hubbub-bench", "compare"].iter().chain(arguments))?;
        let Command::Compare { common, .. } = cli.command else { bail!("not a comparison") };
        let target = |name: &String| {
            let Named { name, target } = common.target(name)?;
            Ok(format!("{name}: {target:?}"))
        };
        common.targets.iter().map(target).collect()
    }

    #[test]
    fn targets_are_known_by_their_names() {
        let given = [
            "--targets",
            "cluster@/a@b/hubbub,centrifugo-nats,hubbub,hubbub@/c,socketio",
            "--server-bin",
            "/d",
        ];
        assert_eq!(
            targets(&given).expect("targets"),
            [
                r#"cluster@/a@b/hubbub: HubbubCluster("/a@b/hubbub")"#,
                "centrifugo-nats: CentrifugoNats",
                r#"hubbub: HubbubBinary("/d")"#,
                r#"hubbub@/c: HubbubBinary("/c")"#,
                r#"socketio: SocketIoBinary("/d")"#,
            ]
        );
    }

    #[test]
    fn a_name_that_is_none_and_a_hubbub_from_nowhere_are_refused() {
        for names in ["cluster", "centrifugo@/a", "hubbub", "socketio"] {
            assert!(targets(&["--targets", names]).is_err(), "{names}");
        }
    }
}
