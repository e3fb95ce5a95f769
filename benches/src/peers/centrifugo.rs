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

/// The command of a node that shares its channels with others through this NATS, which keeps no history.
pub fn node_command(binary: &Path, work_dir: &Path, port: u16, nats: &str) -> anyhow::Result<Command> {
    let mut command = command(binary, work_dir, port, false)?;
    command
        .env("CENTRIFUGO_BROKER_ENABLED", "true")
        .env("CENTRIFUGO_BROKER_TYPE", "nats")
        .env("CENTRIFUGO_BROKER_NATS_URL", nats);
    Ok(command)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::ffi::OsStr;

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

    #[test]
    fn nodes_differ_in_their_port_alone_and_name_the_same_broker() {
        let (binary, folder) =
            (std::env::current_exe().expect("a path"), tempfile::tempdir().expect("a folder"));
        let [first, second] = [8_001, 8_002].map(|port| {
            node_command(&binary, folder.path(), port, "nats://127.0.0.1:4222").expect("a command")
        });
        assert_eq!(
            first.get_args().collect::<Vec<_>>(),
            ["--config".as_ref(), folder.path().join("centrifugo.json").as_os_str()]
        );
        assert!(first.get_args().eq(second.get_args()));
        let (mut first, mut second): (BTreeMap<_, _>, BTreeMap<_, _>) =
            (first.get_envs().collect(), second.get_envs().collect());
        let port = OsStr::new("CENTRIFUGO_HTTP_SERVER_PORT");
        assert_eq!(first.remove(port), Some(Some("8001".as_ref())));
        assert_eq!(second.remove(port), Some(Some("8002".as_ref())));
        let url = OsStr::new("CENTRIFUGO_BROKER_NATS_URL");
        assert_eq!(first.get(url), Some(&Some("nats://127.0.0.1:4222".as_ref())));
        assert_eq!(first, second);
    }
}
