//! A real RabbitMQ as a child process.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

use anyhow::{Context, bail};
use lapin::options::{BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Connection, ConnectionProperties};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::folder::Folder;
use crate::process::{free_port, until_the_pipe_closes};
use crate::server::{self, Server};
use crate::wait::eventually;

/// How long one look whether it answers may take.
const LOOK_MAX: Duration = Duration::from_secs(1);
const SERVER: &str = "/usr/lib/rabbitmq/bin/rabbitmq-server";
/// A client's first bytes: AMQP 0-9-1. The broker's answer begins with the type of a frame, a method's.
const HELLO: &[u8] = b"AMQP\x00\x00\x09\x01";
const METHOD: u8 = 1;
const CTL: &str = "/usr/lib/rabbitmq/bin/rabbitmqctl";
const USER: &str = "hubbub";
/// Memory that it may use.
const MEMORY_MAX: &str = "512MiB";

/// One broker with a folder and a registry of Erlang nodes (epmd) of its own, all on loopback. Both are ended on drop, or when
/// this process ends.
pub struct RabbitMq {
    server: Server,
    ports: Ports,
    password: String,
    watched_registry: Child,
}

/// Where it listens.
#[derive(Clone, Copy)]
struct Ports {
    clients: u16,
    /// Where its node is reached by other nodes: there are none, but it listens.
    nodes: u16,
    registry: u16,
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
        let ports = Ports { clients: free_port()?, nodes: free_port()?, registry: free_port()? };
        let at = folder.path();
        let password = password_of(at)?;
        let more = more.replace("FOLDER", &at.display().to_string());
        let config = format!(
            "log.console = true\nlog.file = false\nvm_memory_high_watermark.absolute = {MEMORY_MAX}\n\
             disk_free_limit.absolute = 50MB\ndefault_user = {USER}\ndefault_pass = {password}\n{more}\n"
        );
        std::fs::write(at.join("rabbitmq.conf"), config)?;
        std::fs::write(at.join("enabled_plugins"), "[].")?;
        std::fs::create_dir_all(at.join("home"))?;
        // Started before the broker, for what Erlang starts by itself would outlive everything.
        let watched_registry = spawn_registry(at, ports.registry)?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, ports.registry));
        eventually("epmd listens", async || TcpStream::connect(address).await.ok()).await;
        let command = command(at, ports)?;
        let server = Server::start("RabbitMQ", folder, ports.clients, command, answers).await?;
        Ok(Self { server, ports, password, watched_registry })
    }

    /// Where clients find it, with user and password.
    pub fn url(&self) -> String {
        format!("amqp://{USER}:{}@127.0.0.1:{}/%2f", self.password, self.port())
    }

    /// Where it listens on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.ports.clients
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
        self.server.folder()
    }

    /// The process.
    ///
    /// # Errors
    /// When it was not started yet.
    pub fn pid(&self) -> anyhow::Result<u32> {
        self.server.pid()
    }

    /// Publishes these to a queue, each with an id of its own, and waits until the broker has them.
    ///
    /// # Errors
    /// When the broker is away.
    pub async fn publish(
        &self,
        queue: &str,
        bodies: impl IntoIterator<Item = Vec<u8>>,
    ) -> anyhow::Result<()> {
        let connection = Connection::connect(&self.url(), ConnectionProperties::default()).await?;
        let channel = connection.create_channel().await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        let run = fastrand::u64(..);
        for (n, body) in bodies.into_iter().enumerate() {
            let properties = BasicProperties::default().with_message_id(format!("{run:x}-{n}").into());
            let options = BasicPublishOptions::default();
            channel.basic_publish("".into(), queue.into(), options, &body, properties).await?;
        }
        channel.wait_for_confirms().await?;
        connection.close(200, "published".into()).await?;
        Ok(())
    }

    /// How many messages a queue has that nobody was given, or that were given back.
    ///
    /// # Errors
    /// When there is no such queue, or the broker is away.
    pub async fn messages(&self, queue: &str) -> anyhow::Result<u32> {
        let connection = Connection::connect(&self.url(), ConnectionProperties::default()).await?;
        let channel = connection.create_channel().await?;
        let look = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let queue = channel.queue_declare(queue.into(), look, FieldTable::default()).await?;
        connection.close(200, "seen".into()).await?;
        Ok(queue.message_count())
    }

    /// Takes all that a queue has: the bodies, in its order.
    ///
    /// # Errors
    /// When there is no such queue, or the broker is away.
    pub async fn take_all(&self, queue: &str) -> anyhow::Result<Vec<Vec<u8>>> {
        let connection = Connection::connect(&self.url(), ConnectionProperties::default()).await?;
        let channel = connection.create_channel().await?;
        let mut taken = Vec::new();
        while let Some(got) = channel.basic_get(queue.into(), BasicGetOptions { no_ack: true }).await? {
            taken.push(got.delivery.data);
        }
        connection.close(200, "taken".into()).await?;
        Ok(taken)
    }

    /// Has it be short of memory, so that it takes nothing from those who publish, or be well again.
    ///
    /// # Errors
    /// When it can't be told.
    pub async fn set_short_of_memory(&self, is_short: bool) -> anyhow::Result<()> {
        let memory = if is_short { "1" } else { MEMORY_MAX };
        let mut command = Command::new(CTL);
        surroundings(&mut command, self.folder(), self.ports);
        command.args(["set_vm_memory_high_watermark", "absolute", memory]);
        let told = tokio::task::spawn_blocking(move || command.output()).await??;
        if !told.status.success() {
            bail!("rabbitmqctl, {}: {}", told.status, String::from_utf8_lossy(&told.stderr));
        }
        Ok(())
    }

    /// Ends it in order. Its registry stays for a next start.
    ///
    /// # Errors
    /// When it has ended before, or does not.
    pub async fn end(&mut self) -> anyhow::Result<()> {
        self.server.end().await
    }

    /// Ends it with no time to write anything.
    ///
    /// # Errors
    /// When it can't be ended.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        self.server.kill()
    }

    /// Starts it again on its port, with its data, and waits until it answers.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn start_again(&mut self) -> anyhow::Result<()> {
        let command = command(self.folder(), self.ports)?;
        self.server.start_again(command, answers).await
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

async fn answers(address: SocketAddr) -> bool {
    timeout(LOOK_MAX, greets(address)).await.is_ok_and(|greeted| greeted.is_ok())
}

async fn greets(address: SocketAddr) -> anyhow::Result<()> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(HELLO).await?;
    match stream.read_u8().await? {
        METHOD => Ok(()),
        other => bail!("answered {other}"),
    }
}

/// The password of the folder's broker. Made anew for a new one, so that a test can look for it in logs.
fn password_of(folder: &Path) -> anyhow::Result<String> {
    let file = folder.join("password");
    if !file.exists() {
        let password: String = std::iter::repeat_with(fastrand::alphanumeric).take(24).collect();
        std::fs::write(&file, password)?;
    }
    Ok(std::fs::read_to_string(file)?)
}

fn spawn_registry(folder: &Path, port: u16) -> anyhow::Result<Child> {
    let mut command = until_the_pipe_closes(Path::new("epmd"), &folder.join("epmd.pid"), false)?;
    command.args(["-address", "127.0.0.1", "-port", &port.to_string()]);
    command.stdout(server::log(folder)?).stderr(server::log(folder)?).spawn().context("sh can't be run")
}

fn command(folder: &Path, ports: Ports) -> anyhow::Result<Command> {
    let at = |name: &str| PathBuf::from(folder).join(name);
    let mut command = Server::command(Path::new(SERVER), folder, false)?;
    surroundings(&mut command, folder, ports);
    command
        .env("RABBITMQ_NODE_IP_ADDRESS", "127.0.0.1")
        .env("RABBITMQ_NODE_PORT", ports.clients.to_string())
        .env("RABBITMQ_DIST_PORT", ports.nodes.to_string())
        .env("RABBITMQ_MNESIA_BASE", at("mnesia"))
        .env("RABBITMQ_LOG_BASE", at("log-of-files"))
        .env("RABBITMQ_LOGS", "-")
        .env("RABBITMQ_CONFIG_FILE", at("rabbitmq"))
        .env("RABBITMQ_ADVANCED_CONFIG_FILE", at("advanced.config"))
        .env("RABBITMQ_ENABLED_PLUGINS_FILE", at("enabled_plugins"))
        .env("RABBITMQ_PID_FILE", at("pid-of-its-own"))
        // Then its script becomes the broker, where else it would wait for it and keep signals from it.
        .env("RUNNING_UNDER_SYSTEMD", "true")
        .env(
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS",
            "-kernel inet_dist_use_interface {127,0,0,1} +sbwt none +sbwtdcpu none +sbwtdio none",
        );
    Ok(command)
}

/// By which a broker, and who tells it something, find each other. Settings of this process's surroundings are not the test's.
fn surroundings(command: &mut Command, folder: &Path, ports: Ports) {
    command.env_clear().envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
    command
        .env("LANG", "C.UTF-8")
        .env("HOME", folder.join("home"))
        .env("ERL_EPMD_ADDRESS", "127.0.0.1")
        .env("ERL_EPMD_PORT", ports.registry.to_string())
        .env("RABBITMQ_NODENAME", "rabbit@localhost")
        .env("RABBITMQ_CONF_ENV_FILE", folder.join("none"));
}
