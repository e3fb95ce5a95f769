//! Why the settings can't be used, in one line that names the place to correct.

use std::fmt;
use std::path::PathBuf;

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// `--port`.
    Flag(String),
    /// The variable `PORT`.
    Environment(&'static str),
    /// The key in the file.
    File {
        /// The file, as it was named.
        path: PathBuf,
        /// The key in it.
        key: String,
    },
    /// The table.
    Default,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(key) => write!(f, "flag --{key}"),
            Self::Environment(name) => write!(f, "environment {name}"),
            Self::File { path, key } => write!(f, "file {}, key {key}", path.display()),
            Self::Default => f.write_str("default"),
        }
    }
}

/// Why the settings can't be used. Its text is one line, except for help, and holds no secret.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Not an error: help or the version was asked for. Print it and leave well.
    #[error("{0}")]
    Asked(String),
    /// A value that the setting does not take.
    #[error("{setting}: {} (from {source_of_it}) must be {allowed}", quoted(.shown))]
    WrongValue {
        /// The setting's key.
        setting: String,
        /// Where the value came from.
        source_of_it: Source,
        /// The value, if it may be shown.
        shown: String,
        /// What would be right.
        allowed: String,
    },
    /// A flag that does not exist.
    #[error("there is no flag {flag}{}", suggestion(.nearest))]
    UnknownFlag {
        /// As it was written, without its value.
        flag: String,
        /// The flag that looks most like it.
        nearest: Option<String>,
    },
    /// Arguments that are wrong in another way.
    #[error("{0}")]
    Usage(String),
    /// A key in the file that does not exist.
    #[error("{}: there is no setting {key}{}", .path.display(), suggestion(.nearest))]
    UnknownKey {
        /// The file.
        path: PathBuf,
        /// As it was written.
        key: String,
        /// The setting that looks most like it.
        nearest: Option<String>,
    },
    /// A file that can't be read, or is not TOML.
    #[error("{}: {what}", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, and on which line.
        what: String,
    },
    /// A variable of the environment that is not UTF-8.
    #[error("environment {0} is not UTF-8 text")]
    NotUtf8(&'static str),
}

impl ConfigError {
    /// Whether the text answers a question of the user, for standard output and exit code 0.
    pub fn is_answer(&self) -> bool {
        matches!(self, Self::Asked(_))
    }
}

/// Debug form for a value, so that its line breaks and quotes stay on the line; plain for our own "(secret)".
fn quoted(shown: &str) -> String {
    match shown {
        "(none)" | "(secret)" => shown.into(),
        _ => format!("{shown:?}"),
    }
}

fn suggestion(nearest: &Option<String>) -> String {
    nearest.as_ref().map(|name| format!("; did you mean {name}?")).unwrap_or_default()
}
