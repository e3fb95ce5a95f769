//! `hubbub-bench verify`.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use tokio::runtime::{Builder, LocalOptions};

use crate::exit;
use crate::report::file::{can_be_written, write_whole};
use crate::verify::{self, Plan};
use crate::view::View;

#[derive(Debug, Args)]
pub(super) struct Verify {
    /// The deployment: ws://HOST:PORT, or wss:// for TLS (with SSL_CERT_FILE those in that file are trusted instead of the machine's authorities).
    /// Of several gateways each; people take turns among them.
    #[arg(long, required = true, value_delimiter = ',')]
    url: Vec<String>,
    /// It may be another machine's. Only for what is yours.
    #[arg(long)]
    i_own_this_target: bool,
    /// A file with an access token on each line, whose users take part in turn. Without: accounts are registered.
    #[arg(long)]
    tokens: Option<PathBuf>,
    /// Rooms that are made, of which everybody becomes a member. They stay, under a name that begins with "verify".
    #[arg(long, default_value_t = 3)]
    rooms: usize,
    /// Those who send.
    #[arg(long, default_value_t = 5)]
    senders: usize,
    /// Those who read.
    #[arg(long, default_value_t = 5)]
    readers: usize,
    /// Messages a second, of all of them.
    #[arg(long, default_value_t = 50)]
    rate: u32,
    /// How long it is sent.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Seconds for which an answer is waited, and in the end for readers: longer than anything that you do to it.
    #[arg(long, default_value_t = 60)]
    patience: u64,
    /// Where the evidence goes, as JSON.
    #[arg(long)]
    out: Option<PathBuf>,
}

impl Verify {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let tokens = match &self.tokens {
            None => Vec::new(),
            Some(path) => std::fs::read_to_string(path)
                .with_context(|| format!("reading {}", path.display()))?
                .split_whitespace()
                .map(str::to_owned)
                .collect(),
        };
        anyhow::ensure!(self.tokens.is_none() || !tokens.is_empty(), "no token in the file");
        let plan = Plan {
            urls: self.url,
            owned: self.i_own_this_target,
            tokens,
            rooms: self.rooms,
            senders: self.senders,
            readers: self.readers,
            rate: self.rate,
            time: Duration::from_secs(self.seconds),
            patience: Duration::from_secs(self.patience),
        };
        // Before anything is sent: evidence that can't be kept is none.
        self.out.as_deref().map(can_be_written).transpose()?;
        let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default())?;
        let view = View::new("verify".to_owned());
        let verdict = runtime.block_on(verify::run(&plan, &view))?;
        view.finish("done");
        // Whoever closed the other end, as `head` does, is told by the exit code all the same.
        let _ = writeln!(std::io::stdout(), "{verdict}");
        let code = match (verdict.is_kept(), verdict.broken.is_empty()) {
            (true, _) => ExitCode::SUCCESS,
            (false, true) => ExitCode::from(exit::NOT_SEEN),
            (false, false) => ExitCode::from(exit::WRONG),
        };
        let Some(out) = &self.out else { return Ok(code) };
        match write_whole(out, &serde_json::to_string_pretty(&verdict)?) {
            // What is said of the promises is not unsaid by that.
            Err(error) if !verdict.is_kept() => eprintln!("hubbub-bench: {error:#}"),
            written => written?,
        }
        Ok(code)
    }
}
