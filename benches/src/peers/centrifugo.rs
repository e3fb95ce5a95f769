//! Centrifugo, pinned: installed from source by Go, configured by the files under `peers/centrifugo`.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, ensure};

/// The version that is measured, without its `v`.
pub const VERSION: &str = "6.9.1";

const PACKAGE: &str = "github.com/centrifugal/centrifugo/v6";
const CONFIG: &str = include_str!("../../peers/centrifugo/config.json");
const CONFIG_HISTORY: &str = include_str!("../../peers/centrifugo/config-history.json");

/// Where [`install`] puts it, below `folder`. The version is in the path, so another pin is another binary.
pub fn binary_in(folder: &Path) -> PathBuf {
    folder.join(format!("centrifugo-{VERSION}")).join("centrifugo")
}

/// Builds the pinned version with `go install`. The first time takes minutes; Go names each package as it is built.
pub fn install(folder: &Path) -> anyhow::Result<PathBuf> {
    let binary = binary_in(folder);
    if binary.exists() {
        return Ok(binary);
    }
    let bin_dir = binary.parent().context("a binary without a folder")?;
    std::fs::create_dir_all(bin_dir)?;
    let (bin_dir, started) = (bin_dir.canonicalize()?, Instant::now());
    eprintln!("building Centrifugo {VERSION} with go install: minutes, if Go's build cache is cold");
    let status = Command::new("go")
        .args(["install", "-v", &format!("{PACKAGE}@v{VERSION}")])
        .env("GOBIN", &bin_dir)
        .status()
        .context("running go, which must be installed")?;
    ensure!(status.success(), "go install: {status}");
    eprintln!("built in {:.0} s", started.elapsed().as_secs_f64());
    Ok(binary)
}

/// The command that serves on a loopback port, its configuration written to `work_dir`.
pub fn command(binary: &Path, work_dir: &Path, port: u16, history: bool) -> anyhow::Result<Command> {
    ensure!(binary.exists(), "no Centrifugo at {}: run `hubbub-bench centrifugo install`", binary.display());
    let (name, text) =
        if history { ("centrifugo-history.json", CONFIG_HISTORY) } else { ("centrifugo.json", CONFIG) };
    let config = work_dir.join(name);
    std::fs::write(&config, text).with_context(|| format!("writing {}", config.display()))?;
    let mut command = Command::new(binary);
    command.arg("--config").arg(config).env("CENTRIFUGO_HTTP_SERVER_PORT", port.to_string());
    Ok(command)
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::targets::centrifugo::TOKEN_SECRET;

    #[test]
    fn the_two_configurations_differ_in_history_alone_and_know_the_tokens() {
        let plain: Value = serde_json::from_str(CONFIG).expect("JSON");
        let mut history: Value = serde_json::from_str(CONFIG_HISTORY).expect("JSON");
        assert_eq!(plain["client"]["token"]["hmac_secret_key"], TOKEN_SECRET);
        assert_eq!(plain["http_server"]["address"], "127.0.0.1");
        let channel = history["channel"]["without_namespace"].as_object_mut().expect("an object");
        assert!(channel.remove("history_size").is_some() && channel.remove("history_ttl").is_some());
        assert_eq!(plain, history);
    }
}
