//! `hubbub admin`: a thin client of the admin API.

use std::io::{IsTerminal, Read};
use std::path::Path;
use std::process::ExitCode;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use http::Method;
use hubbub_core::ids::{RoomId, UserId};
use hubbub_core::limits::{REPEAT_WINDOW, RETENTION_DAYS_MAX, RETENTION_ENTRIES_MAX};
use hubbub_core::ports::accounts::Secret;
use hubbub_node::build_info;
use hubbub_wire::admin::{Bans, Connections, Draining, Kicked, Members, Nodes, Reason, Revoked, Room, Rooms};
use serde_json::{Value, json};

use super::call::{Api, Failed, understood};
use super::erase::erase;
use super::retention::retention;
use super::tables;
use crate::complain;
use crate::process::{EXIT_USAGE, hint, say};

/// The server said no, or that it can't.
const EXIT_REFUSED: u8 = 1;
/// Nobody answered.
const EXIT_UNREACHED: u8 = 2;
/// Bytes of a token or a credential that are read from a file.
const SECRET_BYTES_MAX: u64 = 64 * 1024;

const ABOUT: &str =
    "Asks a running deployment how it is, and tells it what to do. Any gateway answers for all of a cluster.";

const AFTER: &str = "\
At 3 a.m.:
  Who holds this room?      hubbub admin room ROOM
  Which nodes are there?    hubbub admin nodes
  Which client is slow?     hubbub admin slow

The API is there where a gateway (or the all-in-one) was given credentials: ADMIN_TOKEN=\"NAME.$(openssl rand -hex 32)\". Beside
such a gateway, with its environment, no option is needed. An https --url trusts the machine's certificates, or those of
SSL_CERT_FILE. Every command is written into the log of the gateway that answers, with NAME (target `audit`).

Exit codes: 0 done; 1 refused, or not possible just now; 2 nobody answered at --url; 64 the command line is wrong.";

const ERASE: &str = "\
Erase a user's messages for good, in every room that they are or were in.

The messages keep their places, without what they said; an entry of the room's log tells those who are there. What the user
writes after that stays: ban them first. Members stay members. It goes through each room's log from its beginning, shows on a
terminal how far it is, and can be stopped and run again: what is done is done. There is no way back.";

const RETENTION: &str = "\
Say how long a room's entries are kept, or show what is said.

What is beyond the bounds goes at once, and from then on by itself: room-workers look every hour, and let entries go when a day's worth or a
tenth of them is beyond. An entry of the room's log tells members, and that it begins later. Entries are all of a room's log: messages,
joins, topics. Members stay members, and nothing of what is kept gets another place. What is gone does not come back.";

/// An argument by its place.
fn place(name: &'static str, value: &'static str, help: &'static str) -> Arg {
    Arg::new(name).value_name(value).help(help).required(true)
}

fn option(name: &'static str, value: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).value_name(value).help(help)
}

fn number(name: &'static str, default: &'static str, max: i64, help: &'static str) -> Arg {
    let range = value_parser!(u32).range(1..=max);
    option(name, "N", help).value_parser(range).default_value(default)
}

fn room(help: &'static str) -> Arg {
    place("room", "ROOM", help).value_parser(|text: &str| RoomId::parse(text))
}

fn user(help: &'static str) -> Arg {
    place("user", "USER", help).value_parser(|text: &str| UserId::parse(text))
}

fn command() -> Command {
    let of_node =
        || option("node", "NODE", "Of one gateway only: its id, a part of that, its host or its address");
    let limit = || number("limit", "50", 1_000, "At most so many");
    Command::new("hubbub admin")
        .bin_name("hubbub admin")
        .version(build_info::version_and_commit())
        .about(ABOUT)
        .after_help(AFTER)
        .subcommand_required(true)
        .arg_required_else_help(true)
        .args([
            option("url", "URL", "Where the admin API is")
                .env("ADMIN_URL")
                .default_value("http://127.0.0.1:3004")
                .global(true),
            option("token-file", "FILE", "File with the credential, NAME.SECRET; without it ADMIN_TOKEN of the environment counts")
                .env("ADMIN_TOKEN_FILE")
                .global(true),
            Arg::new("json").long("json").action(ArgAction::SetTrue).global(true).help("What the API says, as JSON"),
        ])
        .subcommands([
            Command::new("nodes").about("Every process: what it is, how it is, since when, and what it holds"),
            Command::new("rooms").about("Rooms, the newest first").args([
                number("limit", "50", 200, "At most so many"),
                option("cursor", "CURSOR", "Go on where the page before ended"),
            ]),
            Command::new("room").about("Who holds a room, its epoch and head, and who is in it").args([
                room("Its id"),
                number("members", "20", 200, "How many members to list"),
                option("after", "USER", "List members after this one").value_parser(|text: &str| UserId::parse(text)),
            ]),
            Command::new("slow")
                .about("Clients that read too slowly, or were closed for it within ten minutes: what waits for each, since when it is behind, who and from where")
                .args([of_node(), limit()]),
            Command::new("connections").about("Connections of clients, those first that most waits for").args([
                option("user", "USER", "Of one user only").value_parser(|text: &str| UserId::parse(text)),
                of_node(),
                limit(),
            ]),
            Command::new("drain")
                .about("Have a process begin what SIGTERM begins: it lets go what it has, and ends")
                .args([
                    place("node", "NODE", "Its id, a part of that, its host or its address, as `nodes` shows them"),
                    Arg::new("force")
                        .long("force")
                        .action(ArgAction::SetTrue)
                        .help("Even if it is the last of its tier, and the service stops by it"),
                ]),
            Command::new("kick")
                .about("Remove a member from a room; they may join again")
                .args([room("The room's id"), user("The member's id")]),
            Command::new("erase")
                .about("Erase a user's messages for good, in every room that they are or were in")
                .long_about(ERASE)
                .args([
                    user("Their id"),
                    option("room", "ROOM", "In this room only").value_parser(|text: &str| RoomId::parse(text)),
                    Arg::new("every-room")
                        .long("every-room")
                        .action(ArgAction::SetTrue)
                        .conflicts_with("room")
                        .help("In every room of the directory: for a bot, which need not be a member to write"),
                ]),
            Command::new("retention")
                .about("Say how long a room's entries are kept, or show what is said")
                .long_about(RETENTION)
                .args([
                    room("Its id"),
                    option("days", "DAYS", "Keep entries for so many days")
                        .value_parser(value_parser!(u32).range(1..=i64::from(RETENTION_DAYS_MAX))),
                    option("entries", "N", "Keep the newest entries, so many; with --days, those that both keep")
                        .value_parser(value_parser!(u64).range(REPEAT_WINDOW..=RETENTION_ENTRIES_MAX)),
                    Arg::new("keep-all")
                        .long("keep-all")
                        .action(ArgAction::SetTrue)
                        .conflicts_with_all(["days", "entries"])
                        .help("Keep all from now on"),
                ]),
            Command::new("revoke").about(
                "Call an access token back, which is read from standard input: refused everywhere, its connections closed",
            ),
            Command::new("ban")
                .about("Keep a user out of this server: their connections are closed, and nothing is taken from them")
                .args([user("Their id"), option("reason", "TEXT", "Why, for those who look at it later").default_value("")]),
            Command::new("unban").about("Let a user in again").arg(user("Their id")),
            Command::new("bans").about("Who is banned, since when, by whom and why"),
        ])
}

/// Does what the command line says.
pub fn run(args: impl IntoIterator<Item = std::ffi::OsString>) -> ExitCode {
    let matches = match command().try_get_matches_from(std::iter::once("hubbub admin".into()).chain(args)) {
        Ok(matches) => matches,
        Err(answer) => {
            // It says itself where it belongs, and whoever closed that does not want to know.
            let _ = answer.print();
            return ExitCode::from(if answer.use_stderr() { EXIT_USAGE } else { 0 });
        }
    };
    let usage = |why: String| {
        complain("hubbub admin", &why);
        ExitCode::from(EXIT_USAGE)
    };
    let credential = match credential(matches.get_one::<String>("token-file").map(Path::new)) {
        Ok(credential) => credential,
        Err(why) => return usage(why),
    };
    let url = matches.get_one::<String>("url").map_or("", |url| url.trim_end_matches('/')).to_owned();
    let api = Api { url, credential };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return usage(error.to_string()),
    };
    match runtime.block_on(Box::pin(carry_out(&api, &matches))) {
        Ok((_, answer)) if matches.get_flag("json") => {
            say(format_args!("{answer:#}\n"));
            ExitCode::SUCCESS
        }
        Ok((text, _)) => {
            say(&text);
            ExitCode::SUCCESS
        }
        Err(Failed::Refused(why)) => {
            complain("hubbub admin", &why);
            ExitCode::from(EXIT_REFUSED)
        }
        Err(Failed::Unreached(why)) => {
            complain("hubbub admin", &why);
            ExitCode::from(EXIT_UNREACHED)
        }
    }
}

/// The credential: of the file, else of the environment. Not of the command line, which all on the machine can read.
fn credential(file: Option<&Path>) -> Result<Secret, String> {
    let text = match (file, std::env::var("ADMIN_TOKEN")) {
        (Some(file), _) => {
            let opened = std::fs::File::open(file);
            let mut text = String::new();
            let read = opened.and_then(|file| file.take(SECRET_BYTES_MAX).read_to_string(&mut text));
            read.map_err(|error| format!("--token-file: can't read {}: {error}", file.display()))?;
            text
        }
        (None, Ok(text)) if !text.trim().is_empty() => text,
        (None, _) => {
            return Err("no credential: name a file that has one by --token-file, or set ADMIN_TOKEN".into());
        }
    };
    let text = text.trim();
    if text.contains(',') {
        // The server's list, most likely: whose name should the audit have?
        return Err(
            "there are several credentials: put yours alone into a file, and name it by --token-file".into(),
        );
    }
    Ok(Secret::new(text.into()))
}

/// What is shown for eyes, and what the API said.
pub(super) type Shown = (String, Value);

async fn carry_out(api: &Api, matches: &ArgMatches) -> Result<Shown, Failed> {
    let Some((command, of)) = matches.subcommand() else { unreachable!("clap asks for one") };
    match command {
        "nodes" => {
            let (nodes, answer) = api.get::<Nodes>("/nodes").await?;
            Ok((tables::nodes(&nodes), answer))
        }
        "rooms" => {
            let limit = count(of, "limit");
            let cursor = of.get_one::<String>("cursor").map(|cursor| format!("&cursor={}", escaped(cursor)));
            let path = format!("/rooms?limit={limit}{}", cursor.unwrap_or_default());
            let (rooms, answer) = api.get::<Rooms>(&path).await?;
            Ok((tables::rooms(&rooms), answer))
        }
        "room" => show_room(api, of).await,
        "slow" => {
            let none = "no client reads too slowly, and none was closed for it within ten minutes";
            connections(api, of, "&slow=true".into(), none).await
        }
        "connections" => {
            let (more, none) = match of.get_one::<UserId>("user") {
                Some(user) => (format!("&user={user}"), format!("{user} has no connection")),
                None => (String::new(), "there is no connection".into()),
            };
            connections(api, of, more, &none).await
        }
        "drain" => {
            let node = escaped(of.get_one::<String>("node").map_or("", String::as_str));
            let path = format!("/nodes/{node}/drain?force={}", of.get_flag("force"));
            let (told, answer) = understood::<Draining>(api.call(Method::POST, &path, None).await?)?;
            Ok((tables::draining(&told), answer))
        }
        "kick" => {
            let (room, user) = (id::<RoomId>(of, "room"), id::<UserId>(of, "user"));
            let path = format!("/rooms/{room}/members/{user}");
            let (Kicked { seq }, answer) = understood(api.call(Method::DELETE, &path, None).await?)?;
            Ok((format!("{user} is no member of {room} any more, by its entry {seq}\n"), answer))
        }
        "erase" => erase(api, of).await,
        "retention" => retention(api, of).await,
        "revoke" => revoke(api).await,
        "ban" => {
            let user = id::<UserId>(of, "user");
            let reason = of.get_one::<String>("reason").cloned().unwrap_or_default();
            let body = json!(Reason { reason });
            let answer = api.call(Method::PUT, &format!("/bans/{user}"), Some(body)).await?;
            Ok((format!("{user} is banned; `hubbub admin unban {user}` lets them in again\n"), answer))
        }
        "unban" => {
            let user = id::<UserId>(of, "user");
            let answer = api.call(Method::DELETE, &format!("/bans/{user}"), None).await?;
            Ok((format!("{user} is not banned\n"), answer))
        }
        _ => {
            let (bans, answer) = api.get::<Bans>("/bans").await?;
            Ok((tables::bans(&bans), answer))
        }
    }
}

async fn show_room(api: &Api, of: &ArgMatches) -> Result<Shown, Failed> {
    let room = id::<RoomId>(of, "room");
    let (shown, mut answer) = api.get::<Room>(&format!("/rooms/{room}")).await?;
    let after = of.get_one::<UserId>("after").map(|user| format!("&after={user}")).unwrap_or_default();
    let path = format!("/rooms/{room}/members?limit={}{after}", count(of, "members"));
    // Members are another service's to say: what the holder says is shown without it.
    let members = match api.get::<Members>(&path).await {
        Ok((members, page)) => {
            answer["members_page"] = page;
            Some(members)
        }
        Err(Failed::Refused(why)) => {
            complain("hubbub admin", &format_args!("the members can't be listed: {why}"));
            None
        }
        Err(unreached) => return Err(unreached),
    };
    Ok((tables::room(&shown, members.as_ref()), answer))
}

async fn connections(api: &Api, of: &ArgMatches, more: String, none: &str) -> Result<Shown, Failed> {
    let node = of.get_one::<String>("node").map(|node| format!("&node={}", escaped(node)));
    let path = format!("/connections?limit={}{more}{}", count(of, "limit"), node.unwrap_or_default());
    let (all, answer) = api.get::<Connections>(&path).await?;
    Ok((tables::connections(&all, none), answer))
}

async fn revoke(api: &Api) -> Result<Shown, Failed> {
    if std::io::stdin().is_terminal() {
        hint(format_args!("the access token, and then the end of the input (Ctrl-D):"));
    }
    let mut token = String::new();
    let read = std::io::stdin().take(SECRET_BYTES_MAX).read_to_string(&mut token);
    read.map_err(|error| Failed::Refused(format!("standard input can't be read: {error}")))?;
    let body = json!({ "token": token.trim() });
    let (Revoked { user, until }, answer) =
        understood(api.call(Method::POST, "/revocations", Some(body)).await?)?;
    let text = format!(
        "a token of {user} is called back; by itself it would have ended at {until} (Unix milliseconds)\n\
         should all gateways start anew before that, it is taken again: to keep {user} out for good, ban them\n"
    );
    Ok((text, answer))
}

/// An argument that clap has checked, and asked for.
pub(super) fn id<T: Clone + Send + Sync + 'static>(of: &ArgMatches, name: &str) -> T {
    of.get_one::<T>(name).cloned().unwrap_or_else(|| unreachable!("clap asks for {name}"))
}

fn count(of: &ArgMatches, name: &str) -> u32 {
    of.get_one(name).copied().unwrap_or(50)
}

/// A text as part of a path or a query.
pub(super) fn escaped(text: &str) -> String {
    let mut to = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => to.push(byte.into()),
            _ => to.push_str(&format!("%{byte:02X}")),
        }
    }
    to
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        command().debug_assert();
    }

    #[test]
    fn what_is_written_stays_one_part_of_a_path() {
        assert_eq!(escaped("127.0.0.1:3000/../a?b&c=\u{e4}"), "127.0.0.1%3A3000%2F..%2Fa%3Fb%26c%3D%C3%A4");
    }
}
