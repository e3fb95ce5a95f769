//! A real nats-server as a child process.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::folder::Folder;
use crate::process::{cache, free_port};
use crate::{eventually, request};

/// A nats-server with JetStream and a folder of its own, ended on drop.
pub struct Nats {
    folder: Folder,
    port: u16,
    monitor: u16,
    more: String,
    child: Child,
}

impl Nats {
    /// Starts one, and waits until it works.
    ///
    /// # Errors
    /// When there is no nats-server, or it does not start.
    pub async fn start() -> anyhow::Result<Self> {
        Self::start_with("").await
    }

    /// Starts one with more lines in its configuration; `FOLDER` in them is its folder.
    ///
    /// # Errors
    /// As of [`Nats::start`].
    pub async fn start_with(more: &str) -> anyhow::Result<Self> {
        Self::start_in(Folder::temporary()?, more).await
    }

    /// Starts one in a folder that has what its configuration names.
    ///
    /// # Errors
    /// As of [`Nats::start`].
    pub async fn start_in(folder: Folder, more: &str) -> anyhow::Result<Self> {
        let mut nats = Self::spawn_in(folder, more)?;
        nats.works().await?;
        Ok(nats)
    }

    fn spawn_in(folder: Folder, more: &str) -> anyhow::Result<Self> {
        let (port, monitor) = (free_port()?, free_port()?);
        let more = more.replace("FOLDER", &folder.path().display().to_string());
        let child = spawn(folder.path(), port, monitor, &more)?;
        Ok(Self { folder, port, monitor, more, child })
    }

    /// Starts so many as one cluster, each in a folder that this gives for its name.
    ///
    /// # Errors
    /// As of [`Nats::start`].
    pub async fn start_cluster(
        count: usize,
        mut folder: impl FnMut(String) -> anyhow::Result<Folder>,
    ) -> anyhow::Result<Vec<Self>> {
        let ports = (0..count).map(|_| free_port()).collect::<anyhow::Result<Vec<_>>>()?;
        let routes: Vec<_> = ports.iter().map(|port| format!("nats-route://127.0.0.1:{port}")).collect();
        let mut all = Vec::new();
        for (n, port) in ports.iter().enumerate() {
            let name = format!("nats-{}", n + 1);
            let more = format!(
                "server_name: {name}\ncluster {{ name: local, listen: \"127.0.0.1:{port}\", routes: [{}] }}",
                routes.join(", ")
            );
            all.push(Self::spawn_in(folder(name)?, if count > 1 { &more } else { "" })?);
        }
        for nats in &mut all {
            nats.works().await?;
        }
        Ok(all)
    }

    /// Where clients find it.
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// Where its files are.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends it in order.
    ///
    /// # Errors
    /// When it can't be ended.
    pub async fn end(&mut self) -> anyhow::Result<()> {
        kill_process(Pid::from_child(&self.child), Signal::TERM)?;
        eventually("nats-server ends", async || self.child.try_wait().transpose()).await?;
        Ok(())
    }

    /// Ends it with no time to write anything.
    ///
    /// # Errors
    /// When it can't be ended.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Starts it again on its port, with its data or without.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn start_again(&mut self, with_data: bool) -> anyhow::Result<()> {
        if !with_data {
            std::fs::remove_dir_all(self.folder.path().join("data"))?;
        }
        self.child = spawn(self.folder.path(), self.port, self.monitor, &self.more)?;
        self.works().await
    }

    async fn works(&mut self) -> anyhow::Result<()> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.monitor));
        eventually("nats-server works", async || {
            if let Some(ended) = self.child.try_wait().transpose() {
                let log = std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
                return Some(
                    ended.map_err(Into::into).and_then(|how| bail!("nats-server ended, {how}: {log}")),
                );
            }
            let answer = request(address, "GET", "/healthz", None, None).await.ok()?;
            (answer.status == 200).then_some(Ok(()))
        })
        .await
    }
}

impl Drop for Nats {
    fn drop(&mut self) {
        // One that is gone already can't be ended, and that is all right.
        let _ = self.kill();
    }
}

fn spawn(folder: &Path, port: u16, monitor: u16, more: &str) -> anyhow::Result<Child> {
    let config = folder.join("nats.conf");
    let data = folder.join("data");
    let lines = format!(
        "listen: \"127.0.0.1:{port}\"\nhttp: \"127.0.0.1:{monitor}\"\n\
         jetstream {{ store_dir: \"{}\", max_mem: 64MB, max_file: 1GB }}\n{more}\n",
        data.display()
    );
    std::fs::write(&config, lines)?;
    let log = File::options().create(true).append(true).open(folder.join("log"))?;
    let mut command = Command::new(program()?);
    command.arg("-c").arg(&config).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    command.spawn().context("nats-server can't be run")
}

fn program() -> anyhow::Result<PathBuf> {
    let installed = cache()?.join("bin/nats-server");
    if !installed.exists() {
        bail!("there is no nats-server at {}; deploy/local/install-nats installs it", installed.display());
    }
    Ok(installed)
}
