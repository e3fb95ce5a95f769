//! The command line.

mod measure;
mod verify;

use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, ensure};
use clap::{Parser, Subcommand};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::runtime::{Builder, LocalOptions};

use crate::commands::{self, Offer};
use crate::peers::{centrifugo, raw, socketio};
use crate::report;
use crate::scenario::file::{Knobs, READY};
use crate::scenario::{Load, Measure, Profile, Scenario, Shape};
use measure::Common;

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
