//! What every process does: read its settings, start its logs, work until it is told to end, and say how it ended.

use std::fmt::Display;
use std::io::Write;
use std::process::ExitCode;

use clap::{Arg, ArgAction, Command};
use hubbub_adapters::store::CqlOpenError;
use hubbub_node::config::{FromTable, Loaded, Sources};
use hubbub_node::process::allow_open_files;
use hubbub_node::signals::{Ended, Shutdown, Signals, run_until_drained};
use hubbub_node::telemetry::{self, Metrics};
use hubbub_node::trace::export::Exporting;
use tokio_util::sync::CancellationToken;

use crate::complain;
use crate::settings::Telemetry;

/// A setting is wrong (`EX_USAGE`).
pub(crate) const EXIT_USAGE: u8 = 64;
/// What is needed to start is not there, or a drain took too long.
const EXIT_FAILED: u8 = 1;

/// Settings that are right one by one and wrong together, or name what can't be used. In one line, with what to do.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct WrongSettings(pub String);

/// Prints an answer. Whoever closed the other end, as `head` does, does not want to know more.
pub(crate) fn say(answer: impl Display) {
    let _ = write!(std::io::stdout(), "{answer}");
}

/// Prints a line for who waits at the terminal, likewise.
pub(crate) fn hint(line: impl Display) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Runs a process: `work` is given its settings, its metrics and what says that it is to end.
pub fn run<S: FromTable + Telemetry>(
    sources: Sources,
    command: Command,
    work: impl AsyncFnOnce(S, Metrics, CancellationToken) -> anyhow::Result<()>,
) -> ExitCode {
    run_with_rests(sources, command, || (), work)
}

/// As [`run`], and `rest` is called whenever the loop has nothing left to do, before it waits for more.
pub fn run_with_rests<S: FromTable + Telemetry>(
    sources: Sources,
    command: Command,
    rest: impl Fn() + Send + Sync + 'static,
    work: impl AsyncFnOnce(S, Metrics, CancellationToken) -> anyhow::Result<()>,
) -> ExitCode {
    let program = command.get_name().to_owned();
    let command = command.subcommand(
        Command::new("config")
            .about("Print the settings in force, and where each comes from")
            .arg(Arg::new("json").long("json").action(ArgAction::SetTrue).help("As JSON")),
    );
    let loaded: Loaded<S> = match sources.load(command) {
        Ok(loaded) => loaded,
        Err(answer) if answer.is_answer() => {
            say(&answer);
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            complain(&program, &error);
            return ExitCode::from(EXIT_USAGE);
        }
    };
    match loaded.matches.subcommand() {
        Some(("config", flags)) if flags.get_flag("json") => {
            say(format_args!("{:#}\n", loaded.in_force.to_json()));
            return ExitCode::SUCCESS;
        }
        Some(("config", _)) => {
            say(&loaded.in_force);
            return ExitCode::SUCCESS;
        }
        Some((tier, _)) => {
            complain(&program, &format_args!("{tier} comes first, before its settings: {program} {tier} …"));
            return ExitCode::from(EXIT_USAGE);
        }
        None => {}
    }
    match serve(loaded, rest, work) {
        Ok(code) => code,
        Err(error) => {
            complain(&program, &format_args!("{error:#}"));
            ExitCode::from(if is_of_settings(&error) { EXIT_USAGE } else { EXIT_FAILED })
        }
    }
}

/// Whether the next start, with the same settings, could only end the same way.
fn is_of_settings(error: &anyhow::Error) -> bool {
    error.is::<WrongSettings>() || matches!(error.downcast_ref(), Some(CqlOpenError::Setting(_)))
}

fn serve<S: Telemetry>(
    loaded: Loaded<S>,
    rest: impl Fn() + Send + Sync + 'static,
    work: impl AsyncFnOnce(S, Metrics, CancellationToken) -> anyhow::Result<()>,
) -> anyhow::Result<ExitCode> {
    allow_open_files();
    let settings = loaded.settings;
    let (metrics, _log) = telemetry::start(settings.filter(), settings.format())?;
    for warning in loaded.warnings {
        tracing::warn!("{warning}");
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().on_thread_park(rest).build()?;
    let ended = runtime.block_on(async {
        let signals = Signals::listen()?;
        let exporting = settings.traces().map(|traces| Exporting::start(&traces)).transpose()?;
        let shutdown = Shutdown::default();
        let limit = settings.drain_max();
        let work = work(settings, metrics, shutdown.token());
        let ended = run_until_drained(work, &shutdown, signals, limit).await;
        if let (Ended::Finished(_), Some(exporting)) = (&ended, exporting) {
            exporting.end().await;
        }
        anyhow::Ok(ended)
    })?;
    match ended {
        Ended::Finished(result) => {
            result?;
            Ok(ExitCode::SUCCESS)
        }
        Ended::Forced(signal) => {
            tracing::warn!(signal = signal.as_str(), "a second signal: ending at once");
            Ok(ExitCode::from(signal.exit_code()))
        }
        Ended::Overran => {
            tracing::error!("the drain took longer than its limit; ending");
            Ok(ExitCode::from(EXIT_FAILED))
        }
    }
}
