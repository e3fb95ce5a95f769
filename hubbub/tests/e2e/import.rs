//! What the server before this one kept is here after an import: killed in the middle and run again, nothing is lost or doubled.

use std::fmt::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use hubbub_testkit::{Folder, Hubbub, Operator, eventually};
use jsonwebtoken::{EncodingKey, Header};
use serde_json::{Value, json};

use crate::common::program;

const SECRET: &str = "a secret of at least thirty-two bytes";
const BEGAN: u64 = 1_600_000_000_000;
const ROOMS: &str = "--chatrooms=chatrooms.json";
const MESSAGES: u64 = 12_000;

fn id(kind: u64, number: u64) -> String {
    format!("5f5e1000{kind:04x}{number:012x}")
}

fn room(number: u64) -> String {
    id(1, number)
}

fn user(number: u64) -> String {
    id(2, number)
}

/// Ten rooms; everybody is a member of all of them but the tenth user, who wrote and left.
fn chatrooms() -> String {
    (0..10).fold(String::new(), |mut lines, n| {
        let users: Vec<_> = (0..9).map(|n| json!({"$oid": user(n)})).collect();
        let room = json!({"_id": {"$oid": room(n)}, "name": format!("Room {n}"), "topic": "", "owner": user(n % 9),
            "users": users, "createdAt": {"$date": {"$numberLong": (BEGAN + n).to_string()}}, "__v": {"$numberInt": "0"}});
        writeln!(lines, "{room}").unwrap();
        lines
    })
}

struct Message {
    room: u64,
    owner: u64,
    at: u64,
    number: u64,
}

impl Message {
    fn new(number: u64) -> Self {
        // Several within the same millisecond.
        Self { room: number * 7 % 10, owner: number * 3 % 10, at: BEGAN + 1_000 + number / 4, number }
    }

    fn line(&self) -> Value {
        let date = match self.number % 2 {
            0 => json!({"$date": {"$numberLong": self.at.to_string()}}),
            _ => json!({"$date": format!("2020-09-13T{}Z", clock(self.at))}),
        };
        json!({"_id": {"$oid": id(3, self.number)}, "chatroom": {"$oid": room(self.room)}, "owner": user(self.owner),
            "type": 1, "message": format!("message {}", self.number), "createdAt": date, "updatedAt": date})
    }
}

fn clock(at: u64) -> String {
    let of_day = at % 86_400_000;
    let (h, m, s) = (of_day / 3_600_000, of_day / 60_000 % 60, of_day / 1_000 % 60);
    format!("{h:02}:{m:02}:{s:02}.{:03}", of_day % 1_000)
}

fn messages() -> String {
    // Not in order: 7,919 and the count have no common factor.
    (0..MESSAGES).fold(String::new(), |mut lines, n| {
        writeln!(lines, "{}", Message::new(n * 7_919 % MESSAGES).line()).unwrap();
        lines
    })
}

struct Files(tempfile::TempDir);

impl Files {
    fn new(chatrooms: &str, messages: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("chatrooms.json"), chatrooms).unwrap();
        std::fs::write(folder.path().join("messages.json"), messages).unwrap();
        let named = json!({"_id": {"$oid": user(3)}, "name": "Cyd", "password": "none of our business"});
        std::fs::write(folder.path().join("users.json"), format!("{named}\n")).unwrap();
        Self(folder)
    }

    fn command(&self, data: &Path, flags: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hubbub"));
        command.env_clear().current_dir(self.0.path()).arg("import").arg("--data").arg(data);
        command.args(["--messages=messages.json", "--users=users.json"]).args(flags);
        command
    }

    fn import(&self, data: &Path, flags: &[&str]) -> (Option<i32>, String, String) {
        let Output { status, stdout, stderr } = self.command(data, flags).output().unwrap();
        (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
    }
}

fn token(user: &str) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let claims = json!({"sub": user, "name": "Ann", "roles": ["user"], "exp": now + 600});
    jsonwebtoken::encode(&Header::default(), &claims, &EncodingKey::from_secret(SECRET.as_bytes())).unwrap()
}

/// The log of a room as HTTP has it: who, when, what.
async fn log(server: &Hubbub, token: &str, room: &str) -> Vec<Value> {
    let mut log: Vec<Value> = Vec::new();
    loop {
        let after = log.last().map_or(0, |entry| entry["seq"].as_u64().unwrap());
        let page = format!("/v1/chat/rooms/{room}/messages?after={after}&limit=1000");
        let page = server.get(&page, Some(token)).await.unwrap().json();
        log.extend(page["entries"].as_array().unwrap().iter().cloned());
        if page["more"] == false {
            return log;
        }
    }
}

fn bytes_of(data: &Path) -> u64 {
    let files = ["hubbub.db", "hubbub.db-wal"].map(|name| std::fs::metadata(data.join(name)));
    files.into_iter().flatten().map(|file| file.len()).sum()
}

#[tokio::test]
async fn an_import_that_is_killed_goes_on_without_loss_or_double() {
    let files = Files::new(&chatrooms(), &messages());
    let folder = Folder::temporary().unwrap();
    let data = folder.path().join("data");
    for so_far in [400_000, 1_400_000] {
        let mut import =
            files.command(&data, &[ROOMS]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        eventually("some of it is written", async || (bytes_of(&data) > so_far).then_some(())).await;
        import.kill().unwrap();
        assert_eq!(import.wait().unwrap().code(), None, "it was done before it could be killed");
    }
    let (code, said, errors) = files.import(&data, &[ROOMS]);
    assert_eq!(code, Some(0), "{said}{errors}");
    assert!(said.contains("imported 10 rooms and 12,000 messages, ") && said.contains("checked: "), "{said}");
    assert!(!said.contains(", 0 of them by an earlier run"), "it began anew: {said}");
    let (code, said, _) = files.import(&data, &[ROOMS]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("12,000 messages, 12,000 of them by an earlier run; lines not taken: 0"), "{said}");

    let server = Hubbub::start_in(program().with(&format!("--jwt-secret={SECRET}")), folder).await.unwrap();
    let (code, _, errors) = files.import(&data, &[ROOMS]);
    assert_eq!((code, errors.contains("stop the server first")), (Some(1), true), "{errors}");

    let ann = token(&user(0));
    for number in 0..10 {
        let expected: Vec<_> = (0..MESSAGES).map(Message::new).filter(|m| m.room == number).collect();
        let log = log(&server, &ann, &room(number)).await;
        let said: Vec<_> = log.iter().filter(|entry| entry["type"] == "message").collect();
        assert_eq!(said.len(), expected.len(), "room {number}");
        for (entry, message) in said.iter().zip(&expected) {
            let is = (&entry["text"], &entry["user"]["id"], &entry["at"], &entry["kind"]);
            let should = (format!("message {}", message.number), user(message.owner), message.at);
            assert_eq!(is, (&json!(should.0), &json!(should.1), &json!(should.2), &json!("text")));
            let name = if message.owner == 3 { "Cyd".into() } else { user(message.owner) };
            assert_eq!(entry["user"]["name"], name);
        }
        let of_the_one_who_left: Vec<_> =
            log.iter().filter(|e| e["user"]["id"] == user(9) && e["type"] != "message").collect();
        let about: Vec<_> = of_the_one_who_left.iter().map(|e| e["type"].as_str().unwrap()).collect();
        match expected.iter().any(|message| message.owner == 9) {
            true => assert_eq!(about, ["join", "leave"], "room {number}"),
            false => assert!(about.is_empty(), "room {number}"),
        }
        let shown = server.get(&format!("/v1/chat/rooms/{}", room(number)), Some(&ann)).await.unwrap().json();
        assert_eq!(
            (&shown["name"], &shown["owner"]),
            (&json!(format!("Room {number}")), &json!(user(number % 9)))
        );
        assert_eq!(shown["members"], 9);
    }
    let path = format!("/v1/chat/rooms/message/{}", room(0));
    let sent = server.post(&path, Some(&ann), &json!({"message": "we are over here"})).await.unwrap();
    assert_eq!(sent.status, 200, "{sent:?}");
}

#[test]
fn lines_that_can_not_be_taken_are_named_and_stop_nothing_unless_told_to() {
    let message = |n: u64, change: &[(&str, Value)]| {
        let mut line = Message::new(n).line();
        line["chatroom"] = json!(room(0));
        change.iter().for_each(|(field, value)| line[*field] = value.clone());
        line
    };
    let lines = [
        message(0, &[]).to_string(),
        "{\"_id\": ".into(),
        message(4, &[("owner", json!(null))]).to_string(),
        message(8, &[("chatroom", json!("nowhere"))]).to_string(),
        message(12, &[("type", json!(9))]).to_string(),
        message(0, &[]).to_string(),
        message(16, &[("type", json!(3)), ("message", json!("R0lGODlhAQABAAAAACw="))]).to_string(),
    ];
    let files = Files::new(&chatrooms(), &(lines.join("\n") + "\n"));
    let data = files.0.path().join("data");
    let (code, said, errors) = files.import(&data, &[ROOMS, "--strict"]);
    assert_eq!((code, errors.contains("messages.json:2: is not JSON")), (Some(1), true), "{said}{errors}");
    let (code, said, errors) = files.import(&data, &[ROOMS]);
    assert_eq!(code, Some(0), "{said}{errors}");
    assert!(said.contains("2 messages, 0 of them by an earlier run; lines not taken: 5"), "{said}");
    for named in [
        "messages.json:2: not taken: is not JSON",
        "messages.json:3: not taken: has no owner",
        "messages.json:4: not taken: its chatroom nowhere is not in chatrooms.json",
        "messages.json:5: not taken: type is not 1 (text), 2 (link) or 3 (image)",
        "messages.json:6: not taken: the same message once more",
    ] {
        assert!(errors.contains(named), "{named}: {errors}");
    }

    // What is in the store and not in the files is a difference.
    let fewer = Files::new(&chatrooms(), &(lines[6].clone() + "\n"));
    let (code, _, errors) = fewer.import(&data, &[ROOMS]);
    assert_eq!(code, Some(1), "{errors}");
    assert!(errors.contains("is in no line") && errors.contains("the check found 1 differences"), "{errors}");

    // A message that came to light later has no place any more; one that is later is added.
    let more =
        [lines[0].clone(), message(5, &[]).to_string(), lines[6].clone(), message(40, &[]).to_string()];
    let (code, said, errors) = Files::new(&chatrooms(), &(more.join("\n") + "\n")).import(&data, &[ROOMS]);
    assert_eq!(code, Some(1), "{said}{errors}");
    assert!(said.contains("3 messages, 2 of them by an earlier run; lines not taken: 1"), "{said}");
    assert!(
        errors.contains("messages.json:2: not taken: later messages of its room are in the store"),
        "{errors}"
    );
    assert!(errors.contains("lacks 1 of 4 messages"), "{errors}");
}

#[test]
fn files_that_can_not_be_read_are_said_before_anything_is_made() {
    let files = Files::new("[\n{}]\n", "");
    let data = files.0.path().join("data");
    for (chatrooms, more, code, words) in [
        ("chatrooms.json", "--strict", 1, "export it again without --jsonArray"),
        ("nowhere.json", "--strict", 1, "can't read nowhere.json"),
        ("messages.json", "--cql=127.0.0.1:1", 64, "the store is named twice"),
        ("", "--strict", 64, "both are needed"),
    ] {
        let (found, _, errors) = files.import(&data, &[&format!("--chatrooms={chatrooms}"), more]);
        assert_eq!(found, Some(code), "{errors}");
        assert!(errors.contains(words) && !data.exists(), "{errors}");
    }
}

#[test]
fn files_of_another_kind_are_said_and_are_no_import() {
    let begin_with = |mark: &[u8], text: String| [mark, text.as_bytes()].concat();
    let files = Files::new(&chatrooms(), &messages());
    let data = files.0.path().join("data");
    let (code, said, errors) = files.import(&data, &["--chatrooms=messages.json"]);
    assert_eq!(code, Some(1), "{said}{errors}");
    assert!(errors.contains("are the two files the other way round?"), "{errors}");
    assert!(errors.contains("no room was taken from messages.json"), "{errors}");
    std::fs::remove_dir_all(&data).unwrap();
    for (mark, words) in [(&[0x1F, 0x8B][..], "is compressed by gzip"), (&[0xFF, 0xFE], "is in UTF-16")] {
        let file = begin_with(mark, chatrooms());
        std::fs::write(files.0.path().join("other.json"), file).unwrap();
        let (code, _, errors) = files.import(&data, &["--chatrooms=other.json"]);
        assert!(code == Some(1) && errors.contains(words) && !data.exists(), "{errors}");
    }
    std::fs::write(files.0.path().join("other.json"), begin_with(&[0xEF, 0xBB, 0xBF], chatrooms())).unwrap();
    let (code, said, errors) = files.import(&data, &["--chatrooms=other.json"]);
    assert!(code == Some(0) && said.contains("lines not taken: 0"), "{said}{errors}");
}

#[tokio::test]
async fn a_room_that_was_used_since_is_named_for_it_is_left_as_it_is() {
    let files = Files::new(&chatrooms(), &messages());
    let folder = Folder::temporary().unwrap();
    let data = folder.path().join("data");
    assert_eq!(files.import(&data, &[ROOMS]).0, Some(0));
    let start = program().with(&format!("--jwt-secret={SECRET}"));
    let mut server = Hubbub::start_in(start, folder).await.unwrap();
    let token = token(&user(0));
    let path = format!("/v1/chat/rooms/message/{}", room(0));
    let sent = server.post(&path, Some(&token), &json!({"message": "a rehearsal"})).await.unwrap();
    assert_eq!(sent.status, 200, "{sent:?}");
    assert!(server.terminate().await.unwrap().success());
    let (code, said, errors) = files.import(&data, &[ROOMS]);
    assert!(code == Some(1) && !said.contains("checked"), "{said}{errors}");
    let named = format!("room {} was used since an earlier import", room(0));
    assert!(errors.matches("was used since").count() == 1 && errors.contains(&named), "{errors}");
}

#[tokio::test]
async fn what_a_room_was_told_not_to_keep_is_not_imported_again() {
    let files = Files::new(&chatrooms(), &messages());
    let folder = Folder::temporary().unwrap();
    let data = folder.path().join("data");
    assert_eq!(files.import(&data, &[ROOMS]).0, Some(0));
    let credential = Operator::new_credential("ops");
    let start = program().with(&format!("--jwt-secret={SECRET}"));
    let start = Operator::flags(&credential).iter().fold(start, |start, flag| start.with(flag));
    let mut server = Hubbub::start_in(start, folder).await.unwrap();
    let operator = Operator::of(env!("CARGO_BIN_EXE_hubbub"), &server, &credential).unwrap();
    let token = token(&user(0));
    let kept = log(&server, &token, &room(1)).await;
    // All of it is from 2020.
    operator.json(&["retention", &room(0), "--days", "365"]).await;
    let left = log(&server, &token, &room(0)).await;
    assert!(left.iter().all(|entry| entry["type"] == "retention"), "{left:?}");
    assert!(server.terminate().await.unwrap().success());
    let (code, _, said) = files.import(&data, &[ROOMS]);
    let line =
        "chatrooms.json:1: not taken: its room keeps no more than was said by `hubbub admin retention`";
    assert!(code == Some(0) && said.matches(line).count() == 1 && !said.contains("lacks"), "{code:?} {said}");
    server.restart().await.unwrap();
    assert_eq!(log(&server, &token, &room(0)).await, left);
    assert_eq!(log(&server, &token, &room(1)).await, kept);
}
