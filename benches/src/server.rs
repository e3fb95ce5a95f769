//! A server process that ends when its guard does.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, kill_process};

const START_TIMEOUT: Duration = Duration::from_secs(20);
const STOP_TIMEOUT: Duration = Duration::from_secs(20);
const LOG_TAIL_BYTES: usize = 2_000;

/// A child with its log; killed on drop.
#[derive(Debug)]
pub struct Server {
    child: Child,
    log: PathBuf,
    data: Option<PathBuf>,
}

impl Server {
    /// Starts `command`; what it prints goes to `NAME.log` in `work_dir`.
    pub fn start(mut command: Command, work_dir: &Path, name: &str) -> anyhow::Result<Self> {
        let log = work_dir.join(format!("{name}.log"));
        let file = std::fs::File::create(&log).with_context(|| format!("writing {}", log.display()))?;
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .with_context(|| format!("starting {}", command.get_program().display()))?;
        Ok(Self { child, log, data: None })
    }

    /// Removes this folder too when the guard is dropped.
    pub fn removing_at_end(mut self, data: PathBuf) -> Self {
        self.data = Some(data);
        self
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until `ready` says so; an error with the log's end if the process ends or takes too long.
    pub async fn wait_until(&mut self, ready: impl AsyncFn() -> bool) -> anyhow::Result<()> {
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait()? {
                bail!("the server ended at its start, {status}; its log ends: {}", self.log_tail());
            }
            if ready().await {
                return Ok(());
            }
            if started.elapsed() > START_TIMEOUT {
                bail!("not ready after {START_TIMEOUT:?}; the server's log ends: {}", self.log_tail());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Asks the process to end, keeps its data; kills it if it takes too long.
    pub async fn stop(mut self) {
        self.data = None;
        let asked = Instant::now();
        let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
        while asked.elapsed() < STOP_TIMEOUT && matches!(self.child.try_wait(), Ok(None)) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    fn log_tail(&self) -> String {
        let log = std::fs::read(&self.log).unwrap_or_default();
        let tail = &log[log.len().saturating_sub(LOG_TAIL_BYTES)..];
        format!("{} ({})", String::from_utf8_lossy(tail).trim_end(), self.log.display())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(data) = &self.data {
            let _ = std::fs::remove_dir_all(data);
        }
    }
}

/// A loopback port that was free a moment ago.
pub fn free_port() -> anyhow::Result<u16> {
    Ok(std::net::TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}
