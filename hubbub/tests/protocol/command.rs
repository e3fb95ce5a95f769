//! The command line: help, settings in force, settings that are wrong, starts that fail, the end.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output};

use hubbub_testkit::{Hubbub, Start};
use serde_json::{Value, json};

use crate::talk::Talk;
use crate::{program, server};

/// Runs it in an empty folder with nothing but these in its surroundings.
fn run(flags: &[&str], surroundings: &[(&str, &str)]) -> (Option<i32>, String, String) {
    let folder = tempfile::tempdir().unwrap();
    run_in(folder.path(), flags, surroundings)
}

fn run_in(folder: &Path, flags: &[&str], surroundings: &[(&str, &str)]) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hubbub"));
    command.env_clear().envs(surroundings.iter().copied()).args(flags).current_dir(folder);
    let Output { status, stdout, stderr } = command.output().unwrap();
    (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

/// Rows of the settings table for operators: flag, environment, default.
fn documented() -> BTreeMap<String, (String, String)> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/operations.md");
    let page = std::fs::read_to_string(page).unwrap();
    let row = |line: &str| {
        let mut cells =
            line.strip_prefix("| `--")?.split('|').map(|cell| cell.trim().trim_matches('`').to_owned());
        Some((cells.next()?.trim_end_matches('`').to_owned(), (cells.next()?, cells.next()?)))
    };
    page.lines().filter_map(row).collect()
}

#[test]
fn help_config_and_the_page_for_operators_agree() {
    let (code, config, errors) = run(&["config", "--json"], &[]);
    assert_eq!((code, &*errors), (Some(0), ""));
    let in_force: Vec<Value> = serde_json::from_str(&config).unwrap();
    let documented = documented();
    let (code, help, _) = run(&["--help"], &[]);
    assert_eq!(code, Some(0));
    assert_eq!(documented.len(), in_force.len());
    for setting in &in_force {
        let key = setting["key"].as_str().unwrap();
        let (variable, default) = documented.get(key).unwrap_or_else(|| panic!("{key} is not documented"));
        let value = setting["value"].as_str().unwrap().trim_start_matches("(none)");
        assert_eq!((value, &setting["source"]), (default.as_str(), &json!("default")), "{key}");
        // One that may stand alone shows its value in brackets.
        assert!([' ', '['].iter().any(|end| help.contains(&format!("--{key}{end}"))), "{key}");
        assert!(help.contains(variable), "{key}: {variable}");
        assert!(help.contains(&format!("{}:\n", setting["group"].as_str().unwrap())), "{setting}");
    }
}

/// `hubbub … | true`, and a disk that is full.
#[test]
fn nobody_has_to_read_what_is_printed() {
    let folder = tempfile::tempdir().unwrap();
    let full = || std::fs::File::options().write(true).open("/dev/full").unwrap();
    for args in
        [&["restored"][..], &["bot-token", "--name=quote"], &["admin", "nodes"], &["--port=x"], &["config"]]
    {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hubbub"));
        command.env_clear().args(args).current_dir(folder.path()).stdout(full()).stderr(full());
        let code = command.status().unwrap().code();
        assert!(code.is_some_and(|code| code < 100), "{args:?} ends with {code:?}");
    }
}

#[test]
fn help_of_a_command_names_it() {
    for command in [
        "gateway",
        "room-worker",
        "history-service",
        "bot-bridge",
        "schema",
        "bot-token",
        "restored",
        "import",
        "postman",
        "admin",
    ] {
        let (code, help, errors) = run(&[command, "--help"], &[]);
        assert_eq!((code, &*errors), (Some(0), ""), "{command}");
        assert!(help.contains(&format!("Usage: hubbub {command}")), "{help}");
    }
}

#[test]
fn flag_before_environment_before_file_before_default() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("hubbub.toml"), "port = 1\nheartbeat = \"1m\"\ninstances = 3\n")
        .unwrap();
    let surroundings = [("PORT", "2"), ("HEARTBEAT", "2m")];
    let (code, text, errors) = run_in(folder.path(), &["config", "--port", "3"], &surroundings);
    assert_eq!((code, &*errors), (Some(0), ""));
    let row = |key: &str| {
        let line = text.lines().find(|line| line.trim_start().starts_with(&format!("{key} "))).unwrap();
        line.split_whitespace().skip(1).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(row("port"), "3 flag --port");
    assert_eq!(row("heartbeat"), "2m environment HEARTBEAT");
    assert_eq!(row("instances"), "3 file hubbub.toml, key instances");
    assert_eq!(row("token-ttl"), "1h default");
}

/// Flags, surroundings, and the words that the complaint must have.
type Wrong = (&'static [&'static str], &'static [(&'static str, &'static str)], &'static [&'static str]);

#[test]
fn a_wrong_setting_stops_the_start_with_its_name_and_source() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("wrong.toml"), "heartbeat = \"soon\"\n").unwrap();
    std::fs::write(folder.path().join("unknown.toml"), "heartbeet = \"1s\"\n").unwrap();
    let cases: [Wrong; 23] = [
        (&["--port", "99999"], &[], &["port", "99999", "flag --port"]),
        (&[], &[("PORT", "abc")], &["port", "abc", "environment PORT"]),
        (&[], &[("INTERFACE", "localhost")], &["interface", "environment INTERFACE"]),
        (&["--frame-bytes-max", "1B"], &[], &["frame-bytes-max", "flag --frame-bytes-max", "16KiB"]),
        (&["--config", "wrong.toml"], &[], &["heartbeat", "soon", "wrong.toml"]),
        (&["--config", "unknown.toml"], &[], &["heartbeet", "did you mean heartbeat?"]),
        (&["--config", "nowhere.toml"], &[], &["nowhere.toml"]),
        (&["--prot", "1"], &[], &["--prot", "did you mean --port?"]),
        (
            &["--jwks-url", "https://a.example/keys"],
            &[("AUTH_SERVER", "https://a.example")],
            &["keep one of", "AUTH_SERVER", "--jwks-url"],
        ),
        (&["--jwt-key-file", "wrong.toml"], &[], &["JWT_KEY_FILE must be a public key in PEM"]),
        (&["gateway", "--jwt-secret", "hunter2"], &[], &["JWT_SECRET must be at least 32 bytes"]),
        (&["schema", "--cql-cert=a", "--cql-key=b"], &[], &["--cql-cert", "needs --cql-ca (CQL_CA)"]),
        (&["schema", "--cql-cert=a", "--cql-ca=b"], &[], &["--cql-key (CQL_KEY)", "go together"]),
        (&["schema", "--cql-ca=/nowhere"], &[], &["--cql-ca (CQL_CA)", "can't read /nowhere"]),
        (&["gateway"], &[("NATS_CA", "/nowhere")], &["--nats-ca (NATS_CA)", "can't read /nowhere"]),
        (&["schema", "--cql-user=hub"], &[], &["--cql-password (CQL_PASSWORD)", "go together"]),
        (
            &["--amqp-url=amqp://127.0.0.1"],
            &[("AMQP_SERVER", "b.example")],
            &["named twice", "--amqp-server (AMQP_SERVER) b.example"],
        ),
        (
            &["--amqp-url=amqp://127.0.0.1"],
            &[("AMQP_PROTOCOL", "amqps")],
            &["named twice", "--amqp-protocol (AMQP_PROTOCOL) amqps"],
        ),
        (
            &["--amqp-url=amqp://127.0.0.1", "--amqp-port=5671"],
            &[],
            &["named twice", "--amqp-port (AMQP_PORT) 5671"],
        ),
        (
            &["bot-bridge", "--amqp-url=amqp://127.0.0.1", "--amqp-username=ann"],
            &[],
            &["named twice", "--amqp-username (AMQP_USERNAME) ann"],
        ),
        (
            &["--amqp-url=amqp://127.0.0.1"],
            &[("AMQP_PASSWORD", "hunter2")],
            &["named twice", "--amqp-password (AMQP_PASSWORD)"],
        ),
        (&["--amqp-url=amqp://127.0.0.1", "--amqp-ca=wrong.toml"], &[], &["--amqp-ca (AMQP_CA)", "amqps"]),
        (
            &["import", "--cql=127.0.0.1", "--chatrooms=wrong.toml", "--messages=wrong.toml"],
            &[("CQL_KEY", "b")],
            &["--cql-cert (CQL_CERT)", "go together"],
        ),
    ];
    for (flags, surroundings, words) in cases {
        let (code, out, errors) = run_in(folder.path(), flags, surroundings);
        assert_eq!((code, &*out), (Some(64), ""), "{flags:?} {surroundings:?}: {errors}");
        assert_eq!(errors.lines().count(), 1, "one line: {errors}");
        for word in words {
            assert!(errors.contains(word), "{word} is not in: {errors}");
        }
        assert!(!errors.contains("hunter2"), "{errors}");
    }
}

#[test]
fn the_names_of_the_server_before_this_one_are_read_or_said_to_mean_nothing() {
    let read = [
        ("log", "LOG", "verbose"),
        ("port", "PORT", "8002"),
        ("interface", "INTERFACE", "127.0.0.1"),
        ("env", "ENV", "production"),
        ("instances", "INSTANCES", "2"),
        ("auth-server", "AUTH_SERVER", "https://accounts.example.org"),
        ("amqp-protocol", "AMQP_PROTOCOL", "amqp"),
        ("amqp-server", "AMQP_SERVER", "127.0.0.1"),
        ("amqp-port", "AMQP_PORT", "5672"),
        ("amqp-username", "AMQP_USERNAME", "challenge"),
        ("amqp-password", "AMQP_PASSWORD", "challenge*2020"),
        ("amqp-queue", "AMQP_QUEUE", "bot-jobsity-chat"),
        ("amqp-bot-queue", "AMQP_BOT_QUEUE_BOT", "bot-jobsity-bot"),
    ];
    let retired = [
        ("MONGODB_URI", "mongodb://chat:hunter2@127.0.0.1:27017/srv_chat"),
        ("REDIS_SERVER", "127.0.0.1"),
        ("REDIS_PORT", "6379"),
        ("REDIS_KEY", "chat.adapter.io"),
    ];
    let surroundings: Vec<_> = read.iter().map(|(_, name, value)| (*name, *value)).chain(retired).collect();
    let (code, config, errors) = run(&["config", "--json"], &surroundings);
    assert_eq!((code, &*errors), (Some(0), ""));
    let in_force: Vec<Value> = serde_json::from_str(&config).unwrap();
    for (key, name, _) in read {
        let setting = in_force.iter().find(|setting| setting["key"] == key).unwrap();
        assert_eq!(setting["source"], format!("environment {name}"), "{setting}");
    }

    // It gets as far as its data.
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("file"), "").unwrap();
    let (code, out, errors) = run_in(folder.path(), &["--data=file", "--port=0"], &surroundings);
    let log = out + &errors;
    assert_eq!((code, log.contains("is not a folder")), (Some(1), true), "{log}");
    let lines: Vec<_> = log.lines().filter(|line| line.contains("without meaning here")).collect();
    assert_eq!(lines.len(), 1, "{log}");
    for (name, _) in retired {
        assert!(lines[0].contains(name), "{name}: {lines:?}");
    }
    assert!(lines[0].contains("DATA_DIR") && !log.contains("hunter2"), "{log}");
}

#[tokio::test]
async fn a_start_that_can_not_be_is_one_line_and_exit_code_1() {
    let server = server().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let port = Hubbub::free_port().unwrap();
    for (port, data, words) in [
        (server.address().port(), folder.path().join("data"), "can't listen on"),
        (port, server.data(), "in use by another hubbub"),
        (port, file, "is not a folder"),
    ] {
        let (status, log) = program().run_to_end(port, &data).await.unwrap();
        assert_eq!(status.code(), Some(1), "{log}");
        assert!(log.contains(words) && log.lines().count() == 1, "{words}: {log}");
    }
}

#[tokio::test]
async fn sigterm_says_bye_and_ends_with_0() {
    let mut server = Hubbub::start(program().with("--drain-window=0ms")).await.unwrap();
    let (mut ann, _) = Talk::of(&server, "Ann").await;
    let room = ann.room().await;
    let mut silent = Talk::silent(&server).await;
    server.ask_to_end().unwrap();
    for talk in [&mut ann, &mut silent] {
        let (bye, code, reason) = talk.end().await;
        let bye = bye.unwrap();
        assert_eq!((code, &*reason, &bye["reason"]), (Some(1001), "going_away", &json!("going_away")));
        assert!(bye["reconnect_after_ms"].as_u64().unwrap() > 0);
    }
    // A client that is told to close closes.
    drop((ann, silent));
    assert_eq!(server.ended().await.unwrap().code(), Some(0));
    server.restart().await.unwrap();
    let answer = Talk::of(&server, "Bob").await.0.done(json!({"type": "open", "room": room})).await;
    assert_eq!(answer["room"]["head"], 1);
}

#[test]
fn in_production_all_that_is_said_at_the_start_is_log_entries() {
    let start: Start = program().with("--env=production").with("--log-format=json");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let log = runtime.block_on(async { Hubbub::start(start).await.unwrap().log() });
    for line in log.lines() {
        let entry: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("not JSON: {line}"));
        assert!(entry["level"].is_string(), "{line}");
    }
    assert!(log.lines().any(|line| line.contains("hubbub serves")), "{log}");
}
