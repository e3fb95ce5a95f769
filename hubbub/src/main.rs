//! The all-in-one: gateway, room worker and history service in one process, over an in-process bus and an embedded store.

mod compose;
mod settings;

use std::process::ExitCode;
use std::time::Duration;

use clap::Command;
use hubbub_node::config::Sources;
use hubbub_node::signals::{Ended, Shutdown, Signals, run_until_drained};
use hubbub_node::{build_info, telemetry};

use settings::{RETIRED, Settings, Surroundings};

/// Measured (`docs/decisions/0006-jemalloc.md`): a fifth of the memory after many logins, and 7 % less CPU a delivery.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// A setting is wrong (`EX_USAGE`).
const EXIT_USAGE: u8 = 64;
/// What is needed to start is not there, or a drain took too long.
const EXIT_FAILED: u8 = 1;
/// How long after its window a drain may still take.
const DRAIN_GRACE: Duration = Duration::from_secs(15);

fn main() -> ExitCode {
    let command = Command::new("hubbub")
        .version(build_info::version_and_commit())
        .about("A public-chatroom server. Without a command it serves: chat, HTTP API and page on one port.")
        .after_help("Each setting is taken from its flag, else from the environment, else from the file (--config, or ./hubbub.toml).")
        .subcommand(
            Command::new("config")
                .about("Print the settings in force, and where each comes from")
                .arg(clap::Arg::new("json").long("json").action(clap::ArgAction::SetTrue).help("As JSON")),
        );
    let loaded = match Sources::of_this_process().with_retired(RETIRED).load::<Settings>(command) {
        Ok(loaded) => loaded,
        Err(answer) if answer.is_answer() => {
            print!("{answer}");
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            telemetry::complain("hubbub", &error);
            return ExitCode::from(EXIT_USAGE);
        }
    };
    if let Some(("config", flags)) = loaded.matches.subcommand() {
        match flags.get_flag("json") {
            true => println!("{:#}", loaded.in_force.to_json()),
            false => print!("{}", loaded.in_force),
        }
        return ExitCode::SUCCESS;
    }
    match serve(loaded.settings, &loaded.warnings) {
        Ok(code) => code,
        Err(error) => {
            telemetry::complain("hubbub", &format!("{error:#}"));
            ExitCode::from(EXIT_FAILED)
        }
    }
}

fn serve(settings: Settings, warnings: &[String]) -> anyhow::Result<ExitCode> {
    let metrics = telemetry::start(settings.log.clone(), settings.log_format)?;
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let ended = runtime.block_on(async {
        let signals = Signals::listen()?;
        let shutdown = Shutdown::default();
        let limit = settings.drain_window + DRAIN_GRACE;
        let server = compose::Server::start(&settings, metrics).await?;
        announce(&settings, server.url());
        let ended = run_until_drained(server.run(shutdown.token()), &shutdown, signals, limit).await;
        anyhow::Ok(ended)
    })?;
    match ended {
        Ended::Finished(result) => {
            result?;
            tracing::info!("drained; all that was acknowledged is on disk");
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

/// Says what runs, and what to try next.
fn announce(settings: &Settings, url: &str) {
    let version = build_info::version_and_commit();
    let data = settings.data.display();
    match settings.env {
        Surroundings::Production => tracing::info!(%version, %url, %data, "hubbub serves"),
        Surroundings::Dev => println!(
            "Hubbub {version} is at {url}  (data in {data}; stop with Ctrl-C)\n\
             Try:  curl {url}/v1/accounts -d '{{\"name\":\"Ann\",\"email\":\"ann@example.org\",\"password\":\"correct horse\"}}' -H 'content-type: application/json'\n\
             Then: open {url} for the next steps, {url}/openapi.json for the API, or hubbub --help for the settings."
        ),
    }
}
