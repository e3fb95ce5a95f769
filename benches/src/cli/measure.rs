//! What the measuring commands share: targets, settings, and what is done with the results.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;

use super::allow_open_files;
use crate::compare::{self, Named, Run};
use crate::exit;
use crate::peers::{centrifugo, raw};
use crate::report;
use crate::report::about::About;
use crate::report::file::{can_be_written, write_whole};
use crate::scenario::Scenario;
use crate::scenario::file::Knobs;
use crate::targets::live::{Settings, Target};

#[derive(Debug, Args)]
pub(super) struct Common {
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
    pub(super) seconds: Option<u32>,
    /// Seconds before them; of a fan-out of your own, 2.
    #[arg(long)]
    pub(super) warm_up: Option<u32>,
    /// Bytes of a message's text; of a fan-out of your own, 128.
    #[arg(long)]
    pub(super) body: Option<usize>,
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
    /// Where the JSON goes; without, to result.json in the work folder.
    #[arg(long)]
    out: Option<PathBuf>,
}

impl Common {
    pub(super) fn knobs(&self) -> Knobs {
        Knobs {
            seconds: self.seconds,
            warm_up_seconds: self.warm_up,
            body_bytes: self.body,
            connections: self.connections,
            in_flight: self.in_flight.map(usize::from),
        }
    }

    pub(super) fn measure_named(&self, name: &str) -> anyhow::Result<ExitCode> {
        self.measure(&[Scenario::find(name, &self.knobs())?])
    }

    pub(super) fn measure(&self, scenarios: &[Scenario]) -> anyhow::Result<ExitCode> {
        for scenario in scenarios {
            scenario.check()?;
        }
        let targets =
            self.targets.iter().map(|name| self.target(name)).collect::<anyhow::Result<Vec<_>>>()?;
        let settings = self.settings()?;
        compare::check(&targets, scenarios, &settings)?;
        let out = self.out.clone().unwrap_or_else(|| self.work_dir.join("result.json"));
        can_be_written(&out)?;
        allow_open_files(scenarios.iter().map(|scenario| scenario.connections()).max().unwrap_or(0))?;
        let about = About::now(&targets, &settings);
        let in_all = targets.len() * scenarios.len() * self.rounds as usize;
        // After each run, for the next one may be the one that can't be made.
        let mut kept = 0;
        let mut keep = |runs: &[Run]| {
            kept = runs.len();
            let summaries = compare::summarise(&targets, scenarios, runs);
            let result = report::json(&about, runs.len() == in_all, scenarios, &summaries, runs);
            write_whole(&out, &serde_json::to_string_pretty(&result)?)
        };
        let measured = compare::run(&targets, scenarios, self.rounds, &settings, &mut keep);
        if measured.is_err() && kept > 0 {
            eprintln!("the {kept} that were measured before: {}", out.display());
        }
        let runs = measured?;
        let summaries = compare::summarise(&targets, scenarios, &runs);
        // Whoever closed the other end, as `head` does, is told by the file and the exit code all the same.
        let _ = writeln!(std::io::stdout(), "{}", report::tables(scenarios, &summaries, &runs));
        eprintln!("all of it: {}", out.display());
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
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Asked {
        #[command(flatten)]
        common: Common,
    }

    fn targets(arguments: &[&str]) -> anyhow::Result<Vec<String>> {
        let Asked { common } = Asked::try_parse_from(["compare"].iter().chain(arguments))?;
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
