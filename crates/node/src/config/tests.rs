//! The promises of the settings, on a small table.

use clap::Command;
use tempfile::TempDir;

use super::kinds::{Bool, Bytes, Optional, Origins, Path, Port, Secret, Text};
use super::*;

crate::settings! {
    /// A table with one of each.
    #[derive(Debug)]
    pub struct Settings {
        "Listening" => {
            /// TCP port of the HTTP server.
            port: u16 = Port, env ["CHAT_PORT", "PORT"], default "3000";
            /// Pages that may connect.
            allowed_origins: kinds::AllowedOrigins = Origins, env ["ORIGINS"], default "";
        }
        "Storage" => {
            /// Folder of the data.
            data: std::path::PathBuf = Path, env ["DATA_DIR"], default "./hubbub-data";
            /// Memory for what is read often.
            cache_bytes: u64 = Bytes::between(1 << 10, 1 << 30), env ["CACHE"], default "1MiB";
            /// Whether to check everything.
            check: bool = Bool, env [], default "false";
        }
        "Bots" => {
            /// Broker of the bots.
            broker: Option<String> = Optional(Text), env ["BROKER"], default "";
            /// Password of the broker.
            broker_password: Option<hubbub_core::ports::accounts::Secret> = Optional(Secret), env ["BROKER_PASSWORD"], default "";
        }
    }
}

fn command() -> Command {
    Command::new("chat").version("1.2.3").subcommand(Command::new("config"))
}

fn load(sources: &Sources) -> Result<Loaded<Settings>, ConfigError> {
    sources.load(command())
}

fn error(sources: &Sources) -> String {
    load(sources).expect_err("wrong settings").to_string()
}

fn flags(args: &[&str]) -> Sources {
    Sources::new(std::iter::once("chat").chain(args.iter().copied()))
}

fn file(text: &str) -> (TempDir, std::path::PathBuf) {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("chat.toml");
    std::fs::write(&path, text).unwrap();
    (folder, path)
}

#[test]
fn a_flag_beats_the_environment_beats_the_file_beats_the_default() {
    let (_folder, path) = file("port = 1\ncache-bytes = '2KiB'\ndata = '/f'");
    let env = [("PORT", "2"), ("DATA_DIR", "/e")];
    let loaded = load(&flags(&["--port", "3"]).with_env(env).with_default_file(&path)).unwrap();
    assert_eq!(loaded.settings.port, 3);
    assert_eq!(loaded.settings.data.to_str(), Some("/e"));
    assert_eq!(loaded.settings.cache_bytes, 2_048);
    assert!(!loaded.settings.check && loaded.settings.broker.is_none());
    let shown = loaded.in_force.to_string();
    for source in ["flag --port", "environment DATA_DIR", "chat.toml, key cache-bytes", "default"] {
        assert!(shown.contains(source), "no {source} in:\n{shown}");
    }
}

#[test]
fn the_first_name_that_is_set_counts_and_an_empty_one_is_not_set() {
    let of = |env: [(&str, &str); 2]| load(&flags(&[]).with_env(env)).unwrap().settings.port;
    assert_eq!(of([("PORT", "1"), ("CHAT_PORT", "2")]), 2);
    assert_eq!(of([("PORT", "1"), ("CHAT_PORT", "")]), 1);
    assert_eq!(of([("PORT", ""), ("CHAT_PORT", "")]), 3_000);
}

#[test]
fn a_flag_stands_before_or_after_the_subcommand() {
    for args in [["--port", "1", "config"], ["config", "--port", "1"]] {
        let loaded = load(&flags(&args)).unwrap();
        assert_eq!(loaded.settings.port, 1, "{args:?}");
        assert_eq!(loaded.matches.subcommand_name(), Some("config"));
    }
    assert!(load(&flags(&["--check"])).unwrap().settings.check);
    assert!(!load(&flags(&["--check=no", "config"])).unwrap().settings.check);
}

#[test]
fn a_wrong_value_is_told_with_its_source_on_one_line() {
    let (_folder, path) = file("port = 70000");
    let allowed = "must be a port number from 0 to 65535; 0 lets the system choose";
    assert_eq!(error(&flags(&["--port", "x\ny"])), format!(r#"port: "x\ny" (from flag --port) {allowed}"#));
    let in_env = flags(&[]).with_env([("PORT", "x")]);
    assert_eq!(error(&in_env), format!(r#"port: "x" (from environment PORT) {allowed}"#));
    let in_file = error(&flags(&[]).with_default_file(&path));
    assert_eq!(in_file, format!(r#"port: "70000" (from file {}, key port) {allowed}"#, path.display()));
    let too_small = error(&flags(&["--cache-bytes", "1B"]));
    assert!(too_small.contains("from 1KiB to 1GiB"), "{too_small}");
}

#[test]
fn what_does_not_exist_is_told_with_the_nearest_that_does() {
    assert_eq!(error(&flags(&["--prot", "1"])), "there is no flag --prot; did you mean --port?");
    assert_eq!(error(&flags(&["config", "--dta=/x"])), "there is no flag --dta; did you mean --data?");
    assert_eq!(error(&flags(&["--xyzzy"])), "there is no flag --xyzzy");
    let (_folder, path) = file("cache_bytes = 1");
    let unknown = error(&flags(&["--config", path.to_str().unwrap()]));
    let said = format!("{}: there is no setting cache_bytes; did you mean cache-bytes?", path.display());
    assert_eq!(unknown, said);
}

#[test]
fn other_slips_are_one_line_too() {
    for args in [&["--port"][..], &["--port", "1", "--port", "2"], &["nonsense"]] {
        let said = error(&flags(args));
        assert!(!said.is_empty() && !said.contains('\n') && !said.starts_with("error"), "{said}");
    }
}

#[test]
fn a_file_that_is_named_has_to_be_there_and_in_toml() {
    let missing = error(&flags(&[]).with_env([("HUBBUB_CONFIG", "/nowhere/chat.toml")]));
    assert!(missing.starts_with("/nowhere/chat.toml: can't be read: "), "{missing}");
    assert!(load(&flags(&[]).with_default_file("/nowhere/chat.toml")).is_ok());
    let (_folder, path) = file("port = 1\ndata = '/d\n");
    let broken = error(&flags(&[]).with_default_file(&path));
    assert!(broken.contains("line 2: not TOML: ") && !broken.contains('\n'), "{broken}");
    let (_folder, path) = file("[port]\nx = 1");
    assert!(error(&flags(&[]).with_default_file(&path)).contains("key port: must be a text"));
}

#[test]
fn a_list_in_the_file_is_a_list() {
    let (_folder, path) = file("allowed-origins = ['https://a', 'https://b']\ncheck = true");
    let settings = load(&flags(&[]).with_default_file(&path)).unwrap().settings;
    assert!(matches!(settings.allowed_origins, kinds::AllowedOrigins::Listed(list) if list.len() == 2));
    assert!(settings.check);
}

#[test]
fn a_secret_is_never_shown() {
    let env = [("BROKER_PASSWORD", "hunter2"), ("BROKER", "amqp://guest:hunter2@localhost")];
    let loaded = load(&flags(&[]).with_env(env)).unwrap();
    let in_force = &loaded.in_force;
    for shown in [in_force.to_string(), in_force.to_json().to_string(), format!("{in_force:?}")] {
        assert!(!shown.contains("hunter2"), "{shown}");
        assert!(shown.contains("(secret)") && shown.contains("guest"), "{shown}");
    }
    assert!(!format!("{:?}", loaded.settings.broker_password).contains("hunter2"));
    // Nor where it is on the wrong flag, or in a file with an error on the same line.
    assert!(!error(&flags(&["--brokerpassword=hunter2"])).contains("hunter2"));
    let lost = error(&flags(&["--broker-password", "a", "hunter2"]));
    assert_eq!(lost, "there is no such subcommand; see --help");
    assert_eq!(error(&flags(&["confg"])), "there is no such subcommand; did you mean config?");
    let (_folder, path) = file("broker-password = hunter2");
    let said = error(&flags(&[]).with_default_file(&path));
    assert!(!said.contains("hunter2"), "{said}");
}

#[test]
fn a_variable_that_lost_its_meaning_is_told() {
    let retired: &[Retired] = &[
        ("STORE", "see --data"),
        ("REDIS_SERVER", "no Redis"),
        ("REDIS_PORT", "no Redis"),
        ("REDIS_KEY", "no Redis"),
    ];
    let loaded = load(
        &flags(&[])
            .with_env([("REDIS_SERVER", "10.0.0.1"), ("REDIS_KEY", "x"), ("STORE", "y")])
            .with_retired(retired),
    )
    .unwrap();
    assert_eq!(
        loaded.warnings,
        [
            "set in the environment and without meaning here: STORE (see --data); REDIS_SERVER, REDIS_KEY (no Redis)"
        ]
    );
}

#[test]
fn help_groups_the_flags_and_names_their_other_sources() {
    let Err(asked) = load(&flags(&["--help"]).with_env([("BROKER_PASSWORD", "hunter2")])) else {
        panic!("no help")
    };
    assert!(asked.is_answer());
    let help = asked.to_string();
    for part in
        ["Listening:", "Storage:", "TCP port of the HTTP server [env: CHAT_PORT, PORT] [default: 3000]"]
    {
        let squeezed = help.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(squeezed.contains(part), "no {part} in:\n{help}");
    }
    assert!(!help.contains("hunter2"));
    assert!(load(&flags(&["--version"])).expect_err("the version").is_answer());
}

#[test]
fn what_is_in_force_is_printed_in_groups() {
    let shown = load(&flags(&["--broker-password", "x"])).unwrap().in_force.to_string();
    let expected = "\
Listening
  port             3000           default
  allowed-origins  (none)         default

Storage
  data             ./hubbub-data  default
  cache-bytes      1MiB           default
  check            false          default

Bots
  broker           (none)         default
  broker-password  (secret)       flag --broker-password
";
    assert_eq!(shown, expected);
}
