//! The processes of Hubbub: which adapter stands behind which port, and in which order things begin and end.
//!
//! [`all_in_one`] is everything in one process; [`cluster`] has each tier as a process of its own. What each can be told is in
//! [`settings`], what all do alike in [`process`], and whose accounts count in [`accounts`].

// They panic where nobody reads what is printed: `process::say`, `process::hint` and `complain` don't.
#![deny(clippy::print_stdout, clippy::print_stderr)]

use std::process::ExitCode;

use clap::Command;
use hubbub_node::config::Sources;
use hubbub_node::{build_info, telemetry};

pub mod accounts;
pub mod admin;
pub mod all_in_one;
pub mod bot_token;
pub mod cluster;
pub mod import;
pub mod own_bot;
pub mod postman;
pub mod process;
pub mod restored;
pub mod settings;
pub mod tls;
pub mod tools;

/// Measured (`docs/decisions/0006-jemalloc.md`): a fifth of the memory after many logins, and 7 % less CPU a delivery. How it is
/// built stands in `.cargo/config.toml`.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const ABOUT_SETTINGS: &str = "Each setting is taken from its flag, else from the environment, else from the file (--config, or ./hubbub.toml).";

fn command(name: &'static str, about: &'static str) -> Command {
    Command::new(name).version(build_info::version_and_commit()).about(about).after_help(ABOUT_SETTINGS)
}

/// `hubbub`: the all-in-one, or the tier that the first word names.
pub fn hubbub() -> ExitCode {
    let sources = Sources::of_this_process();
    match std::env::args().nth(1).as_deref() {
        Some("gateway") => return gateway(sources.after_the_first_word()),
        Some("room-worker") => return room_worker(sources.after_the_first_word()),
        Some("history-service") => return history_service(sources.after_the_first_word()),
        Some("bot-bridge") => return bot_bridge(sources.after_the_first_word()),
        Some("schema") => return schema(sources.after_the_first_word()),
        Some("bot-token") => return bot_token(sources.after_the_first_word()),
        Some("restored") => return restored(sources.after_the_first_word()),
        Some("import") => return import(sources.after_the_first_word()),
        Some("admin") => return admin::cli::run(std::env::args_os().skip(2)),
        Some("postman") => return postman(),
        Some("bench") => return tools::bench(std::env::args_os().skip(2)),
        Some("verify") => return tools::bench(std::env::args_os().skip(1)),
        _ => {}
    }
    let tier = |name: &'static str, about: &'static str| Command::new(name).about(about);
    let command = command(
        "hubbub",
        "A public-chatroom server. Without a command it serves: chat, HTTP API and page on one port.",
    )
    .subcommand(tier("gateway", "Of a cluster: hold the clients' connections"))
    .subcommand(tier("room-worker", "Of a cluster: order and keep what is said in rooms"))
    .subcommand(tier("history-service", "Of a cluster: answer reads"))
    .subcommand(tier("bot-bridge", "Of a cluster: bring commands to the bots and their answers back"))
    .subcommand(tier("schema", "Of a cluster: make the tables in the database, and end"))
    .subcommand(tier("bot-token", "Print a token by which a bot may answer commands, and end"))
    .subcommand(tier(
        "restored",
        "Say that a store was restored from a backup, so that clients read again, and end",
    ))
    .subcommand(tier(
        "import",
        "Bring rooms and messages of the MongoDB server before this one into a store, check them, and end",
    ));
    let command = command
        .subcommand(tier(
            "admin",
            "Ask a running deployment how it is, and tell it what to do: hubbub admin --help",
        ))
        .subcommand(tier("postman", "Print the HTTP API as a Postman collection, and end"))
        .subcommand(tier(
            "bench",
            "Put load on a server and measure it, by hubbub-bench, which lies beside this program",
        ))
        .subcommand(tier(
            "verify",
            "Prove that a running deployment keeps its promises, by hubbub-bench as well",
        ));
    all_in_one::run(sources.with_retired(settings::RETIRED), command)
}

/// `hubbub gateway`.
pub fn gateway(sources: Sources) -> ExitCode {
    let about = "A gateway of a Hubbub cluster: WebSocket, HTTP API and page for any number of clients. Keeps nothing.";
    process::run(
        sources.with_retired(settings::RETIRED_IN_CLUSTER),
        command("gateway", about),
        cluster::gateway::serve,
    )
}

/// `hubbub room-worker`.
pub fn room_worker(sources: Sources) -> ExitCode {
    let about = "A room-worker of a Hubbub cluster: writes the rooms of the partitions that it holds.";
    process::run(sources, command("room-worker", about), cluster::room_worker::serve)
}

/// `hubbub history-service`.
pub fn history_service(sources: Sources) -> ExitCode {
    let about = "A history service of a Hubbub cluster: replays, members and the directory. Keeps nothing.";
    process::run(sources, command("history-service", about), cluster::history_service::serve)
}

/// `hubbub bot-bridge`.
pub fn bot_bridge(sources: Sources) -> ExitCode {
    let about = "A bridge of a Hubbub cluster to its bots: commands to their queue in RabbitMQ, answers back. Keeps nothing.";
    process::run(sources, command("bot-bridge", about), cluster::bot_bridge::serve)
}

/// `hubbub bot-token`.
fn bot_token(sources: Sources) -> ExitCode {
    let about =
        "Prints a token by which a bot may answer commands, and ends. It stands in every answer of the bot.";
    process::run(sources, command("bot-token", about), bot_token::print)
}

/// `hubbub restored`.
fn restored(sources: Sources) -> ExitCode {
    let about = "Says that a store was restored from a backup, and ends: its log gets a new id, so that each client that comes back \
                 is told to read its rooms again. To be run before the server is started.";
    process::run(sources, command("restored", about), restored::run)
}

/// `hubbub import`.
fn import(sources: Sources) -> ExitCode {
    let about = "Brings chatrooms and messages that mongoexport wrote into the store of a server that does not run, reads all of it back, and ends. \
                 May be run again: what is there is not written twice.";
    process::run(sources, command("import", about), import::run)
}

/// `hubbub postman`.
fn postman() -> ExitCode {
    let about = "Prints the HTTP API as a Postman collection, made from its OpenAPI description, and ends.";
    let command = Command::new("postman")
        .bin_name("hubbub postman")
        .version(build_info::version_and_commit())
        .about(about);
    match command.try_get_matches_from(std::env::args_os().skip(1)) {
        Ok(_) => {
            process::say(postman::collection());
            ExitCode::SUCCESS
        }
        Err(answer) => {
            // It says itself where it belongs, and whoever closed that does not want to know.
            let _ = answer.print();
            ExitCode::from(if answer.use_stderr() { process::EXIT_USAGE } else { 0 })
        }
    }
}

/// `hubbub schema`.
fn schema(sources: Sources) -> ExitCode {
    let about = "Makes the keyspace and the tables of a Hubbub cluster where they are not there, and ends.";
    process::run(sources, command("schema", about), cluster::schema)
}

/// Says why the process can't go on.
fn complain(program: &str, error: &dyn std::fmt::Display) {
    telemetry::complain(program, error);
}

#[cfg(test)]
mod tests {
    use tikv_jemalloc_ctl::opt;

    #[test]
    fn the_allocator_is_built_as_it_was_measured() {
        assert_eq!((opt::background_thread::read(), opt::narenas::read()), (Ok(true), Ok(2)));
    }
}
