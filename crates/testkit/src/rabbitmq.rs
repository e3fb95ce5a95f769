//! A real RabbitMQ as a child process.

use std::fs::File;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::Duration;

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::folder::Folder;
use crate::process::{free_port, until_the_pipe_closes};
use crate::wait::{eventually, eventually_within};

/// How long a start may take: ten seconds on a quiet machine.
const START_MAX: Duration = Duration::from_secs(180);
/// How long one look whether it answers may take.
const LOOK_MAX: Duration = Duration::from_secs(1);
const SERVER: &str = "/usr/lib/rabbitmq/bin/rabbitmq-server";
/// A client's first bytes: AMQP 0-9-1. The broker's answer begins with the type of a frame, a method's.
const HELLO: &[u8] = b"AMQP\x00\x00\x09\x01";
const METHOD: u8 = 1;
const USER: &str = "hubbub";

/// One broker with a folder and a registry of Erlang nodes (epmd) of its own, all on loopback. Both are ended on drop, or when
/// this process ends.
pub struct RabbitMq {
    folder: Folder,
    port: u16,
    /// Where its node is reached by other nodes: there are none, but it listens.
    nodes: u16,
    registry: u16,
    password: String,
    watched: Child,
    watched_registry: Child,
}

impl RabbitMq {
    /// Starts one, and waits until it answers.
    ///
    /// # Errors
    /// When there is no RabbitMQ, or it does not start.
    pub async fn start() -> anyhow::Result<Self> {
        Self::start_with("").await
    }

    /// Starts one with more lines in its configuration; `FOLDER` in them is its folder.
    ///
    /// # Errors
    /// As of [`RabbitMq::start`].
    pub async fn start_with(more: &str) -> anyhow::Result<Self> {
        Self::start_in(Folder::temporary()?, more).await
    }

    /// Starts one in a folder that has what its configuration names.
    ///
    /// # Errors
    /// As of [`RabbitMq::start`].
    pub async fn start_in(folder: Folder, more: &str) -> anyhow::Result<Self> {
        if !Path::new(SERVER).exists() {
            bail!("there is no RabbitMQ at {SERVER}; deploy/local/install-rabbitmq installs it");
        }
        let (port, nodes, registry) = (free_port()?, free_port()?, free_port()?);
        let at = folder.path();
        // Made anew, so that a test can look for it in logs.
        let password: String = std::iter::repeat_with(fastrand::alphanumeric).take(24).collect();
        let more = more.replace("FOLDER", &at.display().to_string());
        let config = format!(
            "log.console = true\nlog.file = false\nvm_memory_high_watermark.absolute = 512MiB\n\
             disk_free_limit.absolute = 50MB\ndefault_user = {USER}\ndefault_pass = {password}\n{more}\n"
        );
        std::fs::write(at.join("rabbitmq.conf"), config)?;
        std::fs::write(at.join("enabled_plugins"), "[].")?;
        std::fs::create_dir_all(at.join("home"))?;
        // Started before the broker, for what Erlang starts by itself would outlive everything.
        let watched_registry = spawn_registry(at, registry)?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, registry));
        eventually("epmd listens", async || TcpStream::connect(address).await.ok()).await;
        let watched = spawn(at, port, nodes, registry)?;
        let mut broker = Self { folder, port, nodes, registry, password, watched, watched_registry };
        broker.answers().await?;
        Ok(broker)
    }

    /// Where clients find it, with user and password.
    pub fn url(&self) -> String {
        format!("amqp://{USER}:{}@127.0.0.1:{}/%2f", self.password, self.port)
    }

    /// Where it listens on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Who may do everything there.
    pub fn user(&self) -> &str {
        USER
    }

    /// The user's password.
    pub fn password(&self) -> &str {
        &self.password
    }

    /// Where its files are: `log`, and the processes in `pid` and `epmd.pid`.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The process.
    ///
    /// # Errors
    /// When it was not started yet.
    pub fn pid(&self) -> anyhow::Result<u32> {
        Ok(std::fs::read_to_string(self.folder.path().join("pid"))?.trim().parse()?)
    }

    /// Ends it in order. Its registry stays for a next start.
    ///
    /// # Errors
    /// When it has ended before, or does not.
    pub async fn end(&mut self) -> anyhow::Result<()> {
        let pid = Pid::from_raw(self.pid()?.try_into()?).context("no process")?;
        kill_process(pid, Signal::TERM)?;
        eventually("RabbitMQ ends", async || test_kill_process(pid).is_err().then_some(())).await;
        self.kill()
    }

    /// Ends it with no time to write anything.
    ///
    /// # Errors
    /// When it can't be ended.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        drop(self.watched.stdin.take());
        self.watched.wait()?;
        Ok(())
    }

    /// Starts it again on its port, with its data, and waits until it answers.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn start_again(&mut self) -> anyhow::Result<()> {
        // One that was killed may take a moment to be gone, and would be taken for the new one.
        let address = self.address();
        eventually("the port is free", async || TcpStream::connect(address).await.is_err().then_some(()))
            .await;
        self.watched = spawn(self.folder.path(), self.port, self.nodes, self.registry)?;
        self.answers().await
    }

    fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    async fn answers(&mut self) -> anyhow::Result<()> {
        let address = self.address();
        let log = self.folder.path().join("log");
        eventually_within(START_MAX, "RabbitMQ answers", async || {
            if timeout(LOOK_MAX, greets(address)).await.is_ok_and(|greeted| greeted.is_ok()) {
                return Some(Ok(()));
            }
            let ended = self.pid().is_ok_and(|pid| !Path::new(&format!("/proc/{pid}")).exists());
            ended.then(|| {
                let log = std::fs::read_to_string(&log).unwrap_or_default();
                Err(anyhow::anyhow!("RabbitMQ ended at its start: {log}"))
            })
        })
        .await
    }
}

impl Drop for RabbitMq {
    fn drop(&mut self) {
        // What is gone already can't be ended, and that is all right.
        let _ = self.kill();
        drop(self.watched_registry.stdin.take());
        let _ = self.watched_registry.wait();
    }
}

async fn greets(address: SocketAddr) -> anyhow::Result<()> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(HELLO).await?;
    match stream.read_u8().await? {
        METHOD => Ok(()),
        other => bail!("answered {other}"),
    }
}

fn log(folder: &Path) -> anyhow::Result<File> {
    Ok(File::options().create(true).append(true).open(folder.join("log"))?)
}

fn spawn_registry(folder: &Path, port: u16) -> anyhow::Result<Child> {
    let mut command = until_the_pipe_closes(Path::new("epmd"), &folder.join("epmd.pid"))?;
    command.args(["-address", "127.0.0.1", "-port", &port.to_string()]);
    command.stdout(log(folder)?).stderr(log(folder)?).spawn().context("sh can't be run")
}

fn spawn(folder: &Path, port: u16, nodes: u16, registry: u16) -> anyhow::Result<Child> {
    writeln!(log(folder)?, "--- a start ---")?;
    let at = |name: &str| PathBuf::from(folder).join(name);
    let mut command = until_the_pipe_closes(Path::new(SERVER), &folder.join("pid"))?;
    // Settings of the surroundings are not the test's.
    command.env_clear().envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
    command
        .env("LANG", "C.UTF-8")
        .env("HOME", at("home"))
        .env("ERL_EPMD_ADDRESS", "127.0.0.1")
        .env("ERL_EPMD_PORT", registry.to_string())
        .env("RABBITMQ_NODENAME", "rabbit@localhost")
        .env("RABBITMQ_NODE_IP_ADDRESS", "127.0.0.1")
        .env("RABBITMQ_NODE_PORT", port.to_string())
        .env("RABBITMQ_DIST_PORT", nodes.to_string())
        .env("RABBITMQ_MNESIA_BASE", at("mnesia"))
        .env("RABBITMQ_LOG_BASE", at("log-of-files"))
        .env("RABBITMQ_LOGS", "-")
        .env("RABBITMQ_CONFIG_FILE", at("rabbitmq"))
        .env("RABBITMQ_ADVANCED_CONFIG_FILE", at("advanced.config"))
        .env("RABBITMQ_ENABLED_PLUGINS_FILE", at("enabled_plugins"))
        .env("RABBITMQ_CONF_ENV_FILE", at("none"))
        .env("RABBITMQ_PID_FILE", at("pid-of-its-own"))
        // Then its script becomes the broker, where else it would wait for it and keep signals from it.
        .env("RUNNING_UNDER_SYSTEMD", "true")
        .env(
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS",
            "-kernel inet_dist_use_interface {127,0,0,1} +sbwt none +sbwtdcpu none +sbwtdio none",
        )
        .stdout(log(folder)?)
        .stderr(log(folder)?);
    command.spawn().context("sh can't be run")
}
