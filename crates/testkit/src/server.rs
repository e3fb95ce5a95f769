//! What servers have in common that are no program of ours: a folder, a port, a log, and an end with this process.

use std::fs::File;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Child, Command};
use std::time::Duration;

use anyhow::Context;
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use tokio::net::TcpStream;

use crate::folder::Folder;
use crate::process::until_the_pipe_closes;
use crate::wait::{eventually, eventually_within};

/// How long a start may take: ten seconds on a quiet machine.
const START_MAX: Duration = Duration::from_secs(180);

/// A server's process, what it has written in the file `log` of its folder. It is ended on drop, or when this process ends.
pub(crate) struct Server {
    name: &'static str,
    folder: Folder,
    port: u16,
    watched: Child,
}

impl Server {
    /// Starts one that will listen on this port, and waits until it does to the satisfaction of `answers`.
    pub async fn start(
        name: &'static str,
        folder: Folder,
        port: u16,
        command: Command,
        answers: impl AsyncFnMut(SocketAddr) -> bool,
    ) -> anyhow::Result<Self> {
        let watched = spawn(command)?;
        let server = Self { name, folder, port, watched };
        server.until(answers).await?;
        Ok(server)
    }

    /// How a program is run in a folder so that it ends with this process: its process is in the file `pid` there. With
    /// `then_remove` the folder ends then as well.
    pub fn command(program: &Path, folder: &Path, then_remove: bool) -> anyhow::Result<Command> {
        let mut log = log(folder)?;
        writeln!(log, "--- a start ---")?;
        let mut command = until_the_pipe_closes(program, &folder.join("pid"), then_remove)?;
        command.stdout(log.try_clone()?).stderr(log);
        Ok(command)
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn pid(&self) -> anyhow::Result<u32> {
        Ok(std::fs::read_to_string(self.folder().join("pid"))?.trim().parse()?)
    }

    /// Ends it in order. An error when it has ended before.
    pub async fn end(&mut self) -> anyhow::Result<()> {
        let pid = Pid::from_raw(self.pid()?.try_into()?).context("no process")?;
        kill_process(pid, Signal::TERM)?;
        let ended = async || test_kill_process(pid).is_err().then_some(());
        eventually(&format!("{} ends", self.name), ended).await;
        self.kill()
    }

    /// Ends it with no time to write anything.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        drop(self.watched.stdin.take());
        self.watched.wait()?;
        Ok(())
    }

    /// Starts it again, with its data.
    pub async fn start_again(
        &mut self,
        command: Command,
        answers: impl AsyncFnMut(SocketAddr) -> bool,
    ) -> anyhow::Result<()> {
        // One that was killed may take a moment to be gone, and would be taken for the new one.
        let gone = async || TcpStream::connect(self.address()).await.is_err().then_some(());
        eventually("the port is free", gone).await;
        self.watched = spawn(command)?;
        self.until(answers).await
    }

    fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    async fn until(&self, mut answers: impl AsyncFnMut(SocketAddr) -> bool) -> anyhow::Result<()> {
        eventually_within(START_MAX, &format!("{} answers", self.name), async || {
            if answers(self.address()).await {
                return Some(Ok(()));
            }
            let ended = self.pid().is_ok_and(|pid| !Path::new(&format!("/proc/{pid}")).exists());
            ended.then(|| {
                let log = std::fs::read_to_string(self.folder().join("log")).unwrap_or_default();
                Err(anyhow::anyhow!("{} ended at its start: {log}", self.name))
            })
        })
        .await
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // One that is gone already can't be ended, and that is all right.
        let _ = self.kill();
    }
}

/// The log of a folder's server.
pub(crate) fn log(folder: &Path) -> anyhow::Result<File> {
    Ok(File::options().create(true).append(true).open(folder.join("log"))?)
}

fn spawn(mut command: Command) -> anyhow::Result<Child> {
    command.spawn().context("sh can't be run")
}
