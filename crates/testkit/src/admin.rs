//! An operator at a terminal: `hubbub admin` as a child process.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::Context;
use serde_json::Value;

use crate::{Hubbub, in_time};

/// The settings that give a gateway an admin API, at a port of the system's choice.
pub(crate) const PORT: &str = "--admin-port=0";

/// Someone with a credential.
#[derive(Debug, Clone)]
pub struct Operator {
    program: PathBuf,
    url: String,
    credential: String,
}

/// What a command said.
#[derive(Debug)]
pub struct Said {
    /// The exit code.
    pub code: Option<i32>,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Operator {
    /// A credential that nobody had before.
    pub fn new_credential(name: &str) -> String {
        format!("{name}.{:032x}", fastrand::u128(..))
    }

    /// The flags by which a gateway knows it.
    pub fn flags(credential: &str) -> [String; 2] {
        [format!("--admin-token={credential}"), PORT.into()]
    }

    /// One who runs this program against a gateway that runs.
    ///
    /// # Errors
    /// When the gateway has no admin API.
    pub fn of(program: impl Into<PathBuf>, gateway: &Hubbub, credential: &str) -> anyhow::Result<Self> {
        let log = gateway.log();
        // The last start's, if there were several.
        let line = log.lines().rfind(|line| line.contains("admin API starts")).context("no admin API")?;
        let url = line.split_whitespace().find_map(|word| word.strip_prefix("url="));
        let url = url.context("no address of the admin API")?.to_owned();
        Ok(Self { program: program.into(), url, credential: credential.into() })
    }

    /// The same with another credential.
    #[must_use]
    pub fn with(&self, credential: &str) -> Self {
        Self { credential: credential.into(), ..self.clone() }
    }

    /// Where the API is, without the scheme.
    pub fn address(&self) -> &str {
        self.url.split("//").nth(1).unwrap_or_default()
    }

    /// Runs a command.
    ///
    /// # Panics
    /// When it can't be run, or does not end.
    pub async fn run(&self, args: &[&str]) -> Said {
        self.run_with(args, "").await
    }

    /// Runs a command that reads this from its standard input.
    ///
    /// # Panics
    /// As [`run`](Self::run).
    pub async fn run_with(&self, args: &[&str], input: &str) -> Said {
        let mut command = Command::new(&self.program);
        command.env_clear().env("ADMIN_URL", &self.url).env("ADMIN_TOKEN", &self.credential);
        command.arg("admin").args(args).stdin(Stdio::piped());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let input = input.to_owned();
        let run = tokio::task::spawn_blocking(move || {
            let mut child = command.spawn().expect("hubbub runs");
            let mut stdin = child.stdin.take().expect("it is piped");
            // One that does not read it is not asked to.
            _ = std::io::Write::write_all(&mut stdin, input.as_bytes());
            drop(stdin);
            child.wait_with_output().expect("it ends")
        });
        let ended = in_time("hubbub admin ends", run).await.expect("no panic");
        Said {
            code: ended.status.code(),
            out: String::from_utf8_lossy(&ended.stdout).into_owned(),
            err: String::from_utf8_lossy(&ended.stderr).into_owned(),
        }
    }

    /// Runs a command that succeeds, for what it says as JSON.
    ///
    /// # Panics
    /// When it does not succeed.
    pub async fn json(&self, args: &[&str]) -> Value {
        let said = self.run(&[args, &["--json"]].concat()).await;
        assert_eq!(said.code, Some(0), "{args:?}: {said:?}");
        serde_json::from_str(&said.out).unwrap_or_default()
    }
}
