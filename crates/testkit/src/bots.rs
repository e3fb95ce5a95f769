//! Bots as child processes: ours, and those that others would write.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use anyhow::{Context, ensure};
use rustix::process::{Pid, Signal, kill_process};

use crate::folder::Folder;
use crate::process::cache;
use crate::{RabbitMq, eventually};

/// The program of a bot, killed on drop. When its test fails, what it logged is printed.
pub struct Bot {
    child: Child,
    folder: Folder,
}

impl Bot {
    /// Starts it with the broker in `AMQP_URL` and its token in `BOT_TOKEN`; does not wait until it listens.
    ///
    /// # Errors
    /// When it can't be run.
    pub fn start(command: &mut Command, broker: &RabbitMq, token: &str) -> anyhow::Result<Self> {
        let folder = Folder::temporary()?;
        let log = File::create(log(&folder))?;
        command.env("AMQP_URL", broker.url()).env("BOT_TOKEN", token);
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let child =
            command.spawn().with_context(|| format!("{} can't be run", command.get_program().display()))?;
        Ok(Self { child, folder })
    }

    /// All that it has written to standard output and error.
    pub fn log(&self) -> String {
        std::fs::read_to_string(log(&self.folder)).unwrap_or_default()
    }

    /// Waits until it has written this.
    ///
    /// # Panics
    /// When it does not.
    pub async fn logs(&self, what: &str) {
        eventually(what, async || self.log().contains(what).then_some(())).await;
    }

    /// SIGTERM, and waits for the end.
    ///
    /// # Errors
    /// The system's: it has ended before.
    pub async fn terminate(&mut self) -> anyhow::Result<ExitStatus> {
        kill_process(Pid::from_child(&self.child), Signal::TERM)?;
        Ok(eventually("the bot ends", async || self.child.try_wait().transpose()).await?)
    }

    /// SIGKILL, and waits for the end.
    ///
    /// # Errors
    /// The system's.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Bot {
    fn drop(&mut self) {
        // One that is gone already can't be ended, and that is all right.
        let _ = self.kill();
        if std::thread::panicking() {
            eprintln!("--- what the bot logged ---\n{}---", self.log());
        }
    }
}

/// The check bot in Node; `hubbub/tests/bots/clients/node/bot.js` says what it can be told by its environment.
///
/// # Errors
/// When its library is not installed.
pub fn node_bot() -> anyhow::Result<Command> {
    let mut command = command("node")?;
    command.env("NODE_PATH", libraries()?.join("node_modules")).arg(check_bots().join("node/bot.js"));
    Ok(command)
}

/// The check bot in Python; `hubbub/tests/bots/clients/python/bot.py` says what it can be told by its environment.
///
/// # Errors
/// When its library is not installed.
pub fn python_bot() -> anyhow::Result<Command> {
    python(&check_bots().join("python/bot.py"))
}

/// A script of Python that uses pika.
///
/// # Errors
/// When that is not installed.
pub fn python(script: &Path) -> anyhow::Result<Command> {
    let mut command = command(libraries()?.join("venv/bin/python"))?;
    command.arg(script);
    Ok(command)
}

/// Settings of the surroundings are not the test's.
fn command(program: impl AsRef<std::ffi::OsStr>) -> anyhow::Result<Command> {
    let mut command = Command::new(program);
    command.env_clear().env("PATH", std::env::var_os("PATH").context("PATH is not set")?);
    Ok(command)
}

fn check_bots() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../hubbub/tests/bots/clients")
}

fn libraries() -> anyhow::Result<PathBuf> {
    let libraries = cache()?.join("check-bots");
    let there = libraries.join("version").exists();
    ensure!(there, "nothing at {}; deploy/local/install-check-bots installs it", libraries.display());
    Ok(libraries)
}

fn log(folder: &Folder) -> PathBuf {
    folder.path().join("log")
}
