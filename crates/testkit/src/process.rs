//! The real program as a child process.

use std::collections::BTreeSet;
use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, bail};
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, setrlimit};
use serde_json::Value;

use crate::folder::Folder;
use crate::http::{Answer, request};
use crate::{eventually, in_time};

/// Lets this process, and those that it starts, have as many open files as the system allows them.
///
/// # Errors
/// When these are fewer than `wanted`.
pub fn allow_open_files(wanted: u64) -> anyhow::Result<()> {
    let limit = getrlimit(Resource::Nofile);
    if limit.maximum.is_some_and(|most| most < wanted) {
        bail!("needs {wanted} open files; raise the hard limit (ulimit -Hn)");
    }
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })?;
    Ok(())
}

/// Ports that the system does not give to clients: one that connects while the server is down must not be given the
/// server's port, or it would talk to itself and keep the server from starting.
const PORTS: std::ops::Range<u16> = 10_000..32_000;

/// Ports that were given out: who has one may not listen on it yet.
static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());

/// A port of this machine that nobody listens on now, and that nobody else in this process is given.
pub(crate) fn free_port() -> anyhow::Result<u16> {
    for _ in 0..1_000 {
        let port = fastrand::u16(PORTS);
        let is_free = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
        if is_free && GIVEN.lock().unwrap_or_else(PoisonError::into_inner).insert(port) {
            return Ok(port);
        }
    }
    bail!("no port is free")
}

/// Runs a program until standard input is closed, then kills it.
const UNTIL_THE_PIPE_CLOSES: &str = r#""$@" </dev/null & echo $! >"$0"; cat >/dev/null; kill -9 $!; wait $!"#;
/// The same, and removes the folder that its process was written to: for one that nobody else is left to remove.
const AND_REMOVE: &str = r#"; rm -r "${0%/*}""#;

/// Where a server says that it is ready.
const READY: &str = "/readyz";

/// A program that ends with this process, however this one ends: then the pipe to its standard input is closed. Its process
/// is in a file of that name as soon as it runs. `then_remove`: with it ends the file's folder.
pub(crate) fn until_the_pipe_closes(
    program: &Path,
    pid: &Path,
    then_remove: bool,
) -> anyhow::Result<Command> {
    if pid.exists() {
        std::fs::remove_file(pid)?;
    }
    let mut command = Command::new("sh");
    let script = format!("{UNTIL_THE_PIPE_CLOSES}{}", if then_remove { AND_REMOVE } else { "" });
    command.arg("-c").arg(script).arg(pid).arg(program).stdin(Stdio::piped());
    Ok(command)
}

/// Where `deploy/local` installs servers, and what else tests need.
///
/// # Errors
/// When nothing says where that is.
pub fn cache() -> anyhow::Result<PathBuf> {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")));
    Ok(cache.context("neither XDG_CACHE_HOME nor HOME is set")?.join("hubbub"))
}

/// How a server is to be started: the program, and settings beyond port and data.
#[derive(Debug, Clone)]
pub struct Start {
    program: PathBuf,
    tier: Option<&'static str>,
    flags: Vec<String>,
}

impl Start {
    /// This program with its usual settings; a test passes `env!("CARGO_BIN_EXE_hubbub")`.
    pub fn program(path: impl Into<PathBuf>) -> Self {
        Self { program: path.into(), tier: None, flags: Vec::new() }
    }

    /// As this tier of a cluster, which has no data folder.
    #[must_use]
    pub fn as_tier(mut self, tier: &'static str) -> Self {
        self.tier = Some(tier);
        self
    }

    /// With one more setting, such as `--drain-window=1s`.
    #[must_use]
    pub fn with(mut self, flag: &str) -> Self {
        self.flags.push(flag.into());
        self
    }

    /// Runs it to its end, which must be soon: for starts that are to fail. What it wrote to standard error comes along.
    ///
    /// # Errors
    /// When it can't be run.
    ///
    /// # Panics
    /// When it does not end.
    pub async fn run_to_end(&self, port: u16, data: &Path) -> anyhow::Result<(ExitStatus, String)> {
        let folder = tempfile::tempdir()?;
        let log = folder.path().join("log");
        let mut guard = Guard(self.spawn(port, data, &log)?);
        let status = in_time("the end of the process", guard.ended()).await?;
        Ok((status, std::fs::read_to_string(&log)?))
    }

    fn spawn(&self, port: u16, data: &Path, log: &Path) -> anyhow::Result<Child> {
        let out = File::options().create(true).append(true).open(log)?;
        let mut command = Command::new(&self.program);
        // Settings of the surroundings are not the test's.
        command.env_clear();
        match self.tier {
            Some(tier) => command.arg(tier),
            None => command.arg(format!("--data={}", data.display())),
        };
        command.arg(format!("--port={port}")).args(&self.flags);
        command.stdin(Stdio::null()).stdout(out.try_clone()?).stderr(out);
        command.spawn().with_context(|| format!("starting {}", self.program.display()))
    }
}

/// A child that is killed on drop.
#[derive(Debug)]
struct Guard(Child);

impl Guard {
    async fn ended(&mut self) -> anyhow::Result<ExitStatus> {
        Ok(eventually("the end of the process", async || self.0.try_wait().transpose()).await?)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A server with a port and a data folder of its own. When its test fails, what the server logged is printed.
#[derive(Debug)]
pub struct Hubbub {
    start: Start,
    port: u16,
    process: Guard,
    folder: Folder,
}

impl Hubbub {
    /// Starts it and waits until it is ready.
    ///
    /// # Errors
    /// When it ends at its start; the error has its log.
    ///
    /// # Panics
    /// When it is not ready in time.
    pub async fn start(start: Start) -> anyhow::Result<Self> {
        Self::start_in(start, Folder::temporary()?).await
    }

    /// Starts it and waits until it answers, for one that can't be ready.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub async fn start_unready(start: Start) -> anyhow::Result<Self> {
        Self::start_until(start, Folder::temporary()?, "/healthz").await
    }

    /// Starts it with a folder that may be kept, and waits until it is ready.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub async fn start_in(start: Start, folder: Folder) -> anyhow::Result<Self> {
        Self::start_until(start, folder, READY).await
    }

    async fn start_until(start: Start, folder: Folder, path: &str) -> anyhow::Result<Self> {
        let port = free_port()?;
        let process = Guard(start.spawn(port, &data(&folder), &log(&folder))?);
        let mut server = Self { start, port, process, folder };
        loop {
            match server.answers(path).await {
                Err(_) if server.log().contains("can't listen on") => {
                    std::fs::remove_file(log(&server.folder))?;
                    server.port = free_port()?;
                    server.process = Guard(server.spawn()?);
                }
                result => return result.map(|()| server),
            }
        }
    }

    fn spawn(&self) -> anyhow::Result<Child> {
        self.start.spawn(self.port, &data(&self.folder), &log(&self.folder))
    }

    /// Starts it again after its end, on the same port and data, and waits until it is ready.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub async fn restart(&mut self) -> anyhow::Result<()> {
        self.process = Guard(self.spawn()?);
        self.answers(READY).await
    }

    async fn answers(&mut self, path: &str) -> anyhow::Result<()> {
        let address = self.address();
        let log = log(&self.folder);
        let ready = async || match self.process.0.try_wait() {
            Err(error) => Some(Err(error.into())),
            Ok(Some(status)) => {
                let log = std::fs::read_to_string(&log).unwrap_or_default();
                Some(Err(anyhow::anyhow!("the server ended at its start, {status}: {log}")))
            }
            Ok(None) => {
                let answer = request(address, "GET", path, None, None).await;
                // One that speaks TLS says so as soon as it serves.
                let is_ready =
                    |answer: Answer| answer.status == 200 || answer.text.contains("speaks TLS only");
                answer.is_ok_and(is_ready).then_some(Ok(()))
            }
        };
        eventually("the server is ready", ready).await
    }

    /// SIGKILL, and waits for the end.
    ///
    /// # Errors
    /// The system's.
    pub async fn kill(&mut self) -> anyhow::Result<()> {
        self.process.0.kill()?;
        self.process.ended().await.map(drop)
    }

    /// SIGTERM; does not wait.
    ///
    /// # Errors
    /// The system's: it has ended.
    pub fn ask_to_end(&self) -> anyhow::Result<()> {
        self.signal(Signal::TERM)
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// The system's: it has ended.
    pub fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        Ok(kill_process(Pid::from_child(&self.process.0), signal)?)
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.process.0.id()
    }

    /// Waits for the end.
    ///
    /// # Errors
    /// The system's.
    pub async fn ended(&mut self) -> anyhow::Result<ExitStatus> {
        self.process.ended().await
    }

    /// SIGTERM, and waits for the end.
    ///
    /// # Errors
    /// The system's: it has ended before.
    pub async fn terminate(&mut self) -> anyhow::Result<ExitStatus> {
        self.ask_to_end()?;
        self.ended().await
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// Where its WebSocket is.
    pub fn ws_url(&self) -> String {
        format!("ws://{}/v1/ws", self.address())
    }

    /// Its data folder.
    pub fn data(&self) -> PathBuf {
        data(&self.folder)
    }

    /// All that it has written to standard output and error, over all starts.
    pub fn log(&self) -> String {
        std::fs::read_to_string(log(&self.folder)).unwrap_or_default()
    }

    /// Bytes of memory that it holds: its resident set.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn resident_bytes(&self) -> anyhow::Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.0.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.split_whitespace().next()).context("no VmRSS")?;
        Ok(kib.parse::<u64>()? * 1024)
    }

    /// GET.
    ///
    /// # Errors
    /// As [`request`].
    pub async fn get(&self, path: &str, token: Option<&str>) -> anyhow::Result<Answer> {
        request(self.address(), "GET", path, token, None).await
    }

    /// POST.
    ///
    /// # Errors
    /// As [`request`].
    pub async fn post(&self, path: &str, token: Option<&str>, body: &Value) -> anyhow::Result<Answer> {
        request(self.address(), "POST", path, token, Some(body)).await
    }

    /// The value of a metric, all its labels added up.
    ///
    /// # Errors
    /// When there is no such metric yet.
    pub async fn metric(&self, name: &str) -> anyhow::Result<f64> {
        let text = self.get("/metrics", None).await?.text;
        let values = text.lines().filter_map(|line| {
            let rest = line.strip_prefix(name)?;
            rest.starts_with([' ', '{']).then(|| rest.rsplit(' ').next()?.parse::<f64>().ok()).flatten()
        });
        match values.reduce(|sum, value| sum + value) {
            Some(sum) => Ok(sum),
            None => bail!("no metric {name}"),
        }
    }

    /// A port that nobody listened on a moment ago, for servers that are to fail.
    ///
    /// # Errors
    /// The system's.
    pub fn free_port() -> anyhow::Result<u16> {
        Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
    }
}

impl Drop for Hubbub {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- what the server at {} logged ---\n{}---", self.address(), self.log());
        }
    }
}

fn data(folder: &Folder) -> PathBuf {
    folder.path().join("data")
}

fn log(folder: &Folder) -> PathBuf {
    folder.path().join("log")
}
