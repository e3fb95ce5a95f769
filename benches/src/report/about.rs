//! What was measured, when and by which command: without that a number can't be looked into again.

use std::path::Path;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::compare::Named;
use crate::peers;
use crate::targets::live::{Settings, Target};

/// The form of results. A page is made of no other one.
pub const FORMAT: u32 = 2;
/// What stands for a secret.
const HIDDEN: &str = "…";

/// Of a result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    /// [`FORMAT`] of the program that wrote it.
    pub format: u32,
    /// That program and its version.
    pub tool: String,
    /// When it began, in UTC.
    pub began: String,
    /// The command line, without secrets.
    pub command: Vec<String>,
    /// Users at Hubbub, if that was said.
    pub users: Option<usize>,
    /// More arguments of the servers, without secrets.
    pub server_args: Vec<String>,
    /// The targets.
    pub targets: Vec<TargetIs>,
}

/// Which server that is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetIs {
    /// Its name in tables.
    pub name: String,
    /// What its program says of itself; nothing where that can't be asked.
    pub version: Option<String>,
}

impl About {
    /// Of what begins now.
    pub fn now(targets: &[Named], settings: &Settings) -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let is = |Named { name, target }: &Named| TargetIs {
            name: name.clone(),
            version: version_of(target, settings),
        };
        Self {
            format: FORMAT,
            tool: concat!("hubbub-bench ", env!("CARGO_PKG_VERSION")).to_owned(),
            began: utc(since),
            command: without_secrets(std::env::args()),
            users: settings.users,
            server_args: without_secrets(settings.hubbub_args.iter().cloned()),
            targets: targets.iter().map(is).collect(),
        }
    }
}

fn version_of(target: &Target, settings: &Settings) -> Option<String> {
    match target {
        Target::Raw => None,
        // Built by Go from a module it knows Go's version and not its own, which the folder has.
        Target::Centrifugo { .. } | Target::CentrifugoNats => {
            let binary = &settings.centrifugo_binary;
            Some(format!("{}: {}", binary.display(), said_by(binary, "version")?))
        }
        Target::SocketIoNode => {
            let node = said_by(Path::new("node"), "--version").unwrap_or_default();
            Some(format!("socket.io {}, node {node}", peers::socketio::VERSION))
        }
        Target::HubbubCluster(binary) | Target::HubbubBinary(binary) | Target::SocketIoBinary(binary) => {
            said_by(binary, "--version")
        }
        // One that runs already may be another program than any file here.
        Target::HubbubRunning { .. } => None,
    }
}

fn said_by(program: &Path, argument: &str) -> Option<String> {
    let said = Command::new(program).arg(argument).output().ok()?;
    let text = String::from_utf8_lossy(&said.stdout);
    Some(text.lines().next()?.trim().to_owned())
}

/// Arguments whose names speak of secrets keep their names only.
fn without_secrets(arguments: impl Iterator<Item = String>) -> Vec<String> {
    let mut hide_next = false;
    let hide = |argument: String| {
        let is_value = std::mem::take(&mut hide_next);
        // `--server-arg=--jwt-secret=…` has two names.
        let name_ends = argument.find("secret").or_else(|| argument.find("token"));
        let is_name = argument.starts_with("--");
        match name_ends.filter(|_| is_name) {
            _ if is_value && !is_name => HIDDEN.to_owned(),
            None => argument,
            Some(at) => match argument[at..].find('=') {
                Some(value) => format!("{}={HIDDEN}", &argument[..at + value]),
                None => {
                    hide_next = true;
                    argument
                }
            },
        }
    };
    arguments.map(hide).collect()
}

/// Seconds since 1970 as a date and time. Source: H. Hinnant, "chrono-Compatible Low-Level Date Algorithms", civil_from_days.
fn utc(since: u64) -> String {
    let (days, of_day) = (since / 86_400 + 719_468, since % 86_400);
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (of_day / 3_600, of_day / 60 % 60, of_day % 60);
    format!("{year}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_as_others_write_it() {
        for (since, date) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_796_059_999, "2026-11-30T17:33:19Z"),
            (4_102_444_799, "2099-12-31T23:59:59Z"),
        ] {
            assert_eq!(utc(since), date);
        }
    }

    #[test]
    fn no_secret_is_in_a_result() {
        let given = [
            "bench",
            "--jwt-secret",
            "one",
            "--jwt-secret=two",
            "--server-arg=--jwt-secret=three",
            "--keys",
            "x",
        ];
        let kept = without_secrets(given.iter().map(|given| (*given).to_owned()));
        let expected =
            ["bench", "--jwt-secret", "…", "--jwt-secret=…", "--server-arg=--jwt-secret=…", "--keys", "x"];
        assert_eq!(kept, expected);
    }
}
