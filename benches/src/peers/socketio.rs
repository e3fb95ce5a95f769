//! A chat server on socket.io and Node, pinned by the files under `peers/socketio`.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};

/// The version that is measured.
pub const VERSION: &str = "4.8.4";

const SERVER: &str = "server.js";
const FILES: [(&str, &str); 3] = [
    ("package.json", include_str!("../../peers/socketio/package.json")),
    ("package-lock.json", include_str!("../../peers/socketio/package-lock.json")),
    (SERVER, include_str!("../../peers/socketio/server.js")),
];

/// Where [`install`] puts it, below `folder`. The version is in the path, so another pin is another folder.
pub fn folder_in(folder: &Path) -> PathBuf {
    folder.join(format!("socketio-{VERSION}"))
}

/// Writes the server there, and has npm bring exactly what the lock file names. Needs Node 18 or later.
pub fn install(folder: &Path) -> anyhow::Result<PathBuf> {
    let folder = folder_in(folder);
    write(&folder)?;
    if is_installed(&folder) {
        return Ok(folder);
    }
    let status = Command::new("npm")
        .args(["ci", "--omit=dev", "--no-audit", "--no-fund"])
        .current_dir(&folder)
        .status()
        .context("running npm, which must be installed")?;
    ensure!(status.success(), "npm ci: {status}");
    Ok(folder)
}

/// The command that serves on a loopback port.
pub fn command(work_dir: &Path, port: u16) -> anyhow::Result<Command> {
    let folder = folder_in(work_dir);
    ensure!(
        is_installed(&folder),
        "no socket.io server at {}: run `hubbub-bench socketio install`",
        folder.display()
    );
    // Not what an older build has left there.
    write(&folder)?;
    let mut command = Command::new("node");
    command.arg(SERVER).current_dir(folder);
    command.env("PORT", port.to_string()).env("NODE_ENV", "production");
    Ok(command)
}

fn write(folder: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder)?;
    for (name, text) in FILES {
        let path = folder.join(name);
        std::fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(())
}

fn is_installed(folder: &Path) -> bool {
    folder.join("node_modules/socket.io/package.json").exists()
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn the_lock_file_pins_the_version_that_is_named() {
        let lock: Value = serde_json::from_str(FILES[1].1).expect("JSON");
        assert_eq!(lock["packages"]["node_modules/socket.io"]["version"], VERSION);
        assert_eq!(lock["packages"][""]["dependencies"]["socket.io"], VERSION);
    }
}
