//! Where values come from: the command line, the environment, the file.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgAction, ArgMatches, Command};

use super::file::File;
use super::nearest::nearest;
use super::{ConfigError, FromTable, InForce, Setting, Source};

const FILE_FLAG: &str = "config";
const FILE_ENV: &str = "HUBBUB_CONFIG";
const FILE_DEFAULT: &str = "hubbub.toml";

/// A variable of the environment that once meant something, and what to do now.
pub type Retired = (&'static str, &'static str);

/// What a process was told.
#[derive(Default)]
pub struct Sources {
    args: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    default_file: Option<PathBuf>,
    retired: &'static [Retired],
}

/// The settings, and what else the sources said.
#[derive(Debug)]
pub struct Loaded<T> {
    /// The settings.
    pub settings: T,
    /// Every value with its source, to be printed.
    pub in_force: InForce,
    /// Lines for the log, once there is one.
    pub warnings: Vec<String>,
    /// The rest of the command line: subcommands, and the caller's own flags.
    pub matches: ArgMatches,
}

impl Sources {
    /// What this process was told.
    pub fn of_this_process() -> Self {
        Self {
            args: std::env::args_os().collect(),
            env: std::env::vars_os().collect(),
            default_file: Some(FILE_DEFAULT.into()),
            retired: &[],
        }
    }

    /// Without the first word after the program, which said what the rest is for: it becomes part of the program's name, and
    /// so of the usage that help shows.
    pub fn after_the_first_word(mut self) -> Self {
        if self.args.len() > 1 {
            let word = self.args.remove(1);
            self.args[0].push(" ");
            self.args[0].push(word);
        }
        self
    }

    /// A command line, its program first, with no environment and no file.
    pub fn new<A: Into<OsString>>(args: impl IntoIterator<Item = A>) -> Self {
        Self { args: args.into_iter().map(Into::into).collect(), ..Self::default() }
    }

    /// In this environment.
    pub fn with_env<N: Into<OsString>, V: Into<OsString>>(
        mut self,
        env: impl IntoIterator<Item = (N, V)>,
    ) -> Self {
        self.env = env.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        self
    }

    /// With this file to be read if it exists and no other is named.
    pub fn with_default_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.default_file = Some(path.into());
        self
    }

    /// With a warning that names those of these variables that are set.
    pub fn with_retired(mut self, retired: &'static [Retired]) -> Self {
        self.retired = retired;
        self
    }

    /// Reads the settings. `command` may have subcommands and flags of its own; the flags of the table join it.
    pub fn load<T: FromTable>(&self, command: Command) -> Result<Loaded<T>, ConfigError> {
        for setting in T::TABLE {
            debug_assert!(
                setting.kind.is_allowed(setting.default),
                "the default of {} is wrong",
                setting.field
            );
        }
        let matches = self.arguments(command, T::TABLE)?;
        let file = self.file(&matches, T::TABLE)?;
        let in_force = InForce::new(
            T::TABLE
                .iter()
                .map(|setting| {
                    let (text, source) = self.value(setting, &matches, file.as_ref())?;
                    Ok((setting, text, source))
                })
                .collect::<Result<_, _>>()?,
        );
        let settings = T::from_values(&in_force)?;
        let warnings = self.retired_and_set().into_iter().collect();
        Ok(Loaded { settings, in_force, warnings, matches })
    }

    /// One line about all variables that are set and mean nothing any more; names with the same advice stand together.
    fn retired_and_set(&self) -> Option<String> {
        let set = self.retired.iter().filter(|(name, _)| self.variable(name).is_some());
        let set: Vec<String> = set
            .collect::<Vec<_>>()
            .chunk_by(|(_, one), (_, other)| one == other)
            .map(|alike| {
                let names: Vec<&str> = alike.iter().map(|(name, _)| *name).collect();
                format!("{} ({})", names.join(", "), alike[0].1)
            })
            .collect();
        (!set.is_empty())
            .then(|| format!("set in the environment and without meaning here: {}", set.join("; ")))
    }

    /// The value of a setting from the nearest source that has one.
    fn value(
        &self,
        setting: &Setting,
        matches: &ArgMatches,
        file: Option<&File>,
    ) -> Result<(String, Source), ConfigError> {
        let key = setting.key();
        if let Some(text) = matches.get_one::<String>(&key) {
            return Ok((text.clone(), Source::Flag(key)));
        }
        for name in setting.env {
            if let Some(text) = self.variable(name) {
                let text = text.to_str().ok_or(ConfigError::NotUtf8(name))?;
                return Ok((text.into(), Source::Environment(name)));
            }
        }
        if let Some((file, text)) = file.and_then(|file| Some((file, file.get(setting.field)?))) {
            return Ok((text.into(), Source::File { path: file.path.clone(), key }));
        }
        Ok((setting.default.into(), Source::Default))
    }

    /// A variable that is set to something.
    fn variable(&self, name: &str) -> Option<&OsString> {
        let found = self.env.iter().find(|(variable, _)| variable == name);
        found.map(|(_, value)| value).filter(|value| !value.is_empty())
    }

    fn file(&self, matches: &ArgMatches, table: &[Setting]) -> Result<Option<File>, ConfigError> {
        let named = matches.get_one::<String>(FILE_FLAG).map(OsString::from);
        match (named.or_else(|| self.variable(FILE_ENV).cloned()), &self.default_file) {
            (Some(path), _) => File::read(Path::new(&path), table).map(Some),
            (None, Some(path)) if path.exists() => File::read(path, table).map(Some),
            (None, _) => Ok(None),
        }
    }

    fn arguments(&self, command: Command, table: &[Setting]) -> Result<ArgMatches, ConfigError> {
        let command = command.args(table.iter().map(flag)).arg(
            Arg::new(FILE_FLAG).long(FILE_FLAG).global(true).value_name("FILE").help(format!(
                "File of settings, in TOML [env: {FILE_ENV}] [default: {FILE_DEFAULT} if there is one]"
            )),
        );
        command.try_get_matches_from(&self.args).map_err(|error| explained(&error, table))
    }
}

/// A setting as a flag, with a help line that says all of it.
fn flag(setting: &Setting) -> Arg {
    let key = setting.key();
    let names = setting.env.join(", ");
    let env = if names.is_empty() { String::new() } else { format!(" [env: {names}]") };
    let default =
        if setting.default.is_empty() { String::new() } else { format!(" [default: {}]", setting.default) };
    let help = setting.help.trim().trim_end_matches('.');
    let flag = Arg::new(key.clone())
        .long(key)
        .global(true)
        .action(ArgAction::Set)
        .value_name(setting.kind.placeholder())
        .help_heading(setting.group)
        .help(format!("{help}{env}{default}"));
    match setting.kind.bare() {
        Some(value) => flag.num_args(0..=1).require_equals(true).default_missing_value(value),
        None => flag,
    }
}

/// What clap found wrong, as one line of ours.
fn explained(error: &clap::Error, table: &[Setting]) -> ConfigError {
    let context = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.clone()),
        _ => None,
    };
    match error.kind() {
        ErrorKind::DisplayHelp
        | ErrorKind::DisplayVersion
        | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => ConfigError::Asked(error.to_string()),
        ErrorKind::UnknownArgument => {
            let written = context(ContextKind::InvalidArg).unwrap_or_default();
            // What follows the = may be a secret that was meant for another flag.
            let flag = written.split('=').next().unwrap_or_default().to_owned();
            let keys: Vec<_> = table.iter().map(Setting::key).chain([FILE_FLAG.into()]).collect();
            let like = nearest(flag.trim_start_matches('-'), keys.iter().map(String::as_str));
            match flag.starts_with('-') {
                true => ConfigError::UnknownFlag { nearest: like.map(|key| format!("--{key}")), flag },
                false => {
                    ConfigError::Usage("there is an argument that belongs to no flag; see --help".into())
                }
            }
        }
        // The word is not said again: it may be a secret that lost its flag.
        ErrorKind::InvalidSubcommand => {
            ConfigError::Usage(match error.get(ContextKind::SuggestedSubcommand) {
                Some(ContextValue::Strings(names)) if !names.is_empty() => {
                    format!("there is no such subcommand; did you mean {}?", names.join(" or "))
                }
                _ => "there is no such subcommand; see --help".into(),
            })
        }
        _ => {
            let text = error.to_string();
            let line = text.lines().next().unwrap_or_default();
            ConfigError::Usage(line.trim_start_matches("error: ").into())
        }
    }
}
