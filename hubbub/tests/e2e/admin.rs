//! An operator asks the all-in-one how it is and tells it what to do, by the command line that they have.

use std::net::SocketAddr;

use hubbub_client::raw::Frame;
use hubbub_testkit::{
    Hubbub, Operator, Person, Said, Start, eventually, in_time, request, shows_what_is_documented,
};
use serde_json::{Value, json};

use crate::common::{Room, program, server};
use crate::peer::{Ending, Peer};

struct World {
    server: Hubbub,
    credential: String,
    operator: Operator,
}

fn start(credential: &str) -> Start {
    Operator::flags(credential).iter().fold(program(), |start, flag| start.with(flag))
}

fn operator(server: &Hubbub, credential: &str) -> Operator {
    Operator::of(env!("CARGO_BIN_EXE_hubbub"), server, credential).unwrap()
}

impl World {
    async fn with(settings: &[&str]) -> Self {
        let credential = Operator::new_credential("night-shift");
        let start = settings.iter().fold(start(&credential), |start, flag| start.with(flag));
        let server = Hubbub::start(start).await.unwrap();
        let operator = operator(&server, &credential);
        Self { server, credential, operator }
    }

    async fn new() -> Self {
        Self::with(&[]).await
    }
}

/// The audit's lines about an action.
fn audited(server: &Hubbub, action: &str) -> Vec<String> {
    let of_action = |line: &&str| line.contains("audit") && line.contains(&format!("action=\"{action}\""));
    server.log().lines().filter(of_action).map(str::to_owned).collect()
}

fn is_refused(said: &Said, words: &str) {
    assert_eq!((said.code, said.out.as_str()), (Some(1), ""), "{said:?}");
    assert!(said.err.contains(words), "{said:?}");
}

fn is_done(said: &Said, words: &str) {
    assert_eq!((said.code, said.err.as_str()), (Some(0), ""), "{said:?}");
    assert!(said.out.contains(words), "{said:?}");
}

#[tokio::test]
async fn the_three_questions_are_answered() {
    // Whoever stops reading is to be seen, not to be closed.
    let World { server, operator, .. } = World::with(&["--slow-consumer-timeout=1h", "--heartbeat=1h"]).await;
    let room = Room::with_owner(&server, "ann").await;
    let bob = room.member(&server, "bob").await;

    // Which nodes are there? What is told is a second old at most.
    let node = eventually("the node is listed with its connection", async || {
        let nodes = operator.json(&["nodes"]).await;
        let [node] = &nodes["nodes"].as_array()?[..] else { return None };
        (node["connections"] == 1).then(|| node.clone())
    })
    .await;
    let expected = (&"all-in-one".into(), &"ready".into(), &json!([0]), &false.into());
    assert_eq!((&node["role"], &node["condition"], &node["partitions"], &node["silent"]), expected);
    let id = node["node"].as_str().unwrap();
    let said = operator.run(&["nodes"]).await;
    is_done(&said, id);
    let row = said.out.lines().find(|line| line.contains(id)).unwrap();
    assert!(
        row.contains("all-in-one") && row.contains("ready") && row.contains(env!("CARGO_PKG_VERSION")),
        "{row}"
    );

    // Who holds this room?
    let shown = operator.json(&["room", room.id.as_str()]).await;
    assert_eq!(shown["holder"]["node"], id);
    assert_eq!(shown["held"]["head"], room.head().await);
    assert_eq!(
        (&shown["held"]["members"], &shown["held"]["owner"]),
        (&2.into(), &room.ann.id.as_str().into())
    );
    assert!(shown["held"]["epoch"].as_u64().unwrap() > 0);
    let online = |id: &str| {
        let members = shown["members_page"]["members"].as_array().unwrap();
        members.iter().find(|member| member["id"] == id).unwrap()["online"].clone()
    };
    assert_eq!((online(room.ann.id.as_str()), online(bob.id.as_str())), (true.into(), false.into()));
    is_done(&operator.run(&["room", room.id.as_str()]).await, &format!("all-in-one {id}"));
    is_refused(&operator.run(&["room", "no-such-room"]).await, "there is no such room");
    let listed = operator.json(&["rooms"]).await;
    assert_eq!(listed["rooms"][0]["id"], room.id.as_str());

    // Which client is slow?
    is_done(&operator.run(&["slow"]).await, "no client reads too slowly");
    let stalled = Peer::hello(&bob).await;
    let long = "x".repeat(4_096);
    let slow = eventually("the one that does not read is slow", async || {
        for _ in 0..64 {
            room.owner.send_text(&room.id, &long, None).await.unwrap();
        }
        operator.json(&["slow"]).await["connections"].as_array()?.first().cloned()
    })
    .await;
    let expected = (&bob.id.as_str().into(), &"127.0.0.1".into(), &id.into());
    assert_eq!((&slow["user"], &slow["address"], &slow["node"]), expected, "{slow}");
    assert!(slow["waiting_bytes"].as_u64().unwrap() > 0, "{slow}");
    is_done(&operator.run(&["slow"]).await, bob.id.as_str());
    let anns = operator.json(&["connections", "--user", room.ann.id.as_str()]).await;
    assert_eq!(anns["connections"].as_array().unwrap().len(), 1, "{anns}");
    drop(stalled);
}

#[tokio::test]
async fn a_member_is_kicked_by_an_entry() {
    let World { server, operator, .. } = World::new().await;
    let room = Room::with_owner(&server, "ann").await;
    let bob = room.member(&server, "bob").await;
    let mut peer = Peer::hello(&bob).await;
    is_done(&operator.run(&["kick", room.id.as_str(), bob.id.as_str()]).await, "by its entry 3");
    let left = peer.next_of("leave").await;
    let shown = (&left["seq"], &left["user"]["id"], &left["by"]);
    assert_eq!(shown, (&3.into(), &bob.id.as_str().into(), &json!({"id": "admin", "name": "Admin"})));
    let said = json!({"type": "send", "room": room.id, "text": "still here?"});
    assert_eq!(peer.ask(said).await["code"], "not_member");
    // The owner too: an operator asks nobody.
    is_done(&operator.run(&["kick", room.id.as_str(), room.ann.id.as_str()]).await, "by its entry 4");
    is_refused(&operator.run(&["kick", room.id.as_str(), bob.id.as_str()]).await, "not a member of the room");
    let lines = audited(&server, "kick");
    let [done, _, refused] = &lines[..] else { panic!("{lines:?}") };
    let on = format!("on=\"/rooms/{}/members/{}\"", room.id, bob.id);
    for (line, result) in [(done, "result=\"ok\""), (refused, "result=\"not_member\"")] {
        let words = ["who=night-shift", "from=127.0.0.1", &on, result];
        assert!(words.iter().all(|word| line.contains(word)), "{words:?}: {line}");
    }
}

/// What is answered to a hello.
async fn hello(person: &Person) -> Value {
    let mut raw = person.raw().await.unwrap();
    raw.send_json(&json!({"type": "hello", "ref": 0, "token": person.token})).await.unwrap();
    in_time("an answer", raw.next_json()).await.unwrap()
}

async fn asked(server: &Hubbub, person: &Person) -> (u16, Value) {
    let answer = server.get("/v1/chat/rooms", Some(&person.token)).await.unwrap();
    (answer.status, answer.json()["detail"].clone())
}

fn closed(ending: Ending) -> (Value, Option<u16>) {
    (ending.bye.map_or(Value::Null, |bye| bye["reason"].clone()), ending.code)
}

#[tokio::test]
async fn a_token_is_called_back() {
    let World { server, operator, .. } = World::new().await;
    let ann = Person::register(&server, "ann").await.unwrap();
    let mut peer = Peer::hello(&ann).await;
    let said = operator.run_with(&["revoke"], &format!("{}\n", ann.token)).await;
    is_done(&said, &format!("a token of {} is called back", ann.id));
    assert_eq!(closed(peer.ending().await), ("revoked".into(), Some(4401)));
    assert_eq!(asked(&server, &ann).await.0, 401);
    is_refused(&operator.run_with(&["revoke"], "no token at all").await, "nothing to call back");
    let lines = audited(&server, "revoke");
    assert!(
        lines[0].contains(&format!("on=\"{}\"", ann.id)) && lines[0].contains("result=\"ok\""),
        "{lines:?}"
    );
    assert!(!server.log().contains(&ann.token));
}

#[tokio::test]
async fn a_banned_user_is_kept_out_over_restarts_until_the_ban_is_lifted() {
    let World { mut server, credential, operator } = World::new().await;
    let room = Room::with_owner(&server, "ann").await;
    let bob = room.member(&server, "bob").await;
    let mut peer = Peer::hello(&bob).await;
    let mut socketio = bob_by_socketio(&server, &bob).await;
    is_done(&operator.run(&["bans"]).await, "nobody is banned");
    is_done(&operator.run(&["ban", bob.id.as_str(), "--reason", "spam, again"]).await, "is banned");
    assert_eq!(closed(peer.ending().await), ("banned".into(), Some(4401)));
    while !matches!(in_time("the end of Socket.IO", socketio.next()).await, Frame::Closed { .. }) {}

    let sentence: Value = "this user is banned from this server".into();
    let login = json!({"email": "bob@example.org", "password": "correct horse battery staple"});
    for restarted in [false, true] {
        if restarted {
            assert!(server.terminate().await.unwrap().success());
            server.restart().await.unwrap();
        }
        let refused = hello(&bob).await;
        assert_eq!((&refused["code"], &refused["message"]), (&"forbidden".into(), &sentence), "{refused}");
        let mut upgraded =
            hubbub_client::raw::Raw::connect(&server.ws_url(), Some(&bob.token)).await.unwrap();
        let told =
            [in_time("an error", upgraded.next_json()).await, in_time("a bye", upgraded.next_json()).await];
        let [error, bye] = told.map(Result::unwrap);
        assert_eq!(
            (&error["code"], &bye["reason"]),
            (&"forbidden".into(), &"banned".into()),
            "{error} {bye}"
        );
        assert_eq!(asked(&server, &bob).await, (403, sentence.clone()));
        let answer = server.post("/v1/accounts/login", None, &login).await.unwrap();
        assert_eq!((answer.status, &answer.json()["detail"]), (403, &sentence), "{answer:?}");
        // Others are not concerned.
        assert_eq!(asked(&server, &room.ann).await.0, 200);
    }

    // The system chose another port for the second start.
    let operator = self::operator(&server, &credential);
    let bans = operator.json(&["bans"]).await;
    let ban = (&bans["bans"][0]["user"], &bans["bans"][0]["by"], &bans["bans"][0]["reason"]);
    assert_eq!(ban, (&bob.id.as_str().into(), &"night-shift".into(), &"spam, again".into()));
    is_done(&operator.run(&["unban", bob.id.as_str()]).await, "is not banned");
    assert_eq!(hello(&bob).await["type"], "welcome");
    assert_eq!(asked(&server, &bob).await.0, 200);
    is_done(&operator.run(&["bans"]).await, "nobody is banned");
}

async fn bob_by_socketio(server: &Hubbub, bob: &Person) -> hubbub_client::raw::Raw {
    let url = format!("ws://{}/socket.io/?EIO=4&transport=websocket", server.address());
    let mut raw = hubbub_client::raw::Raw::connect(&url, None).await.unwrap();
    raw.send_text(format!("40/v1/channel,{{\"token\":\"{}\"}}", bob.token)).await.unwrap();
    loop {
        match in_time("bob enters", raw.next()).await {
            Frame::Text(text) if text.contains("authentication") => return raw,
            Frame::Closed { code, reason } => panic!("{code:?} {reason}"),
            _ => {}
        }
    }
}

#[tokio::test]
async fn the_only_node_drains_when_that_is_meant() {
    let World { mut server, operator, .. } = World::new().await;
    let ann = Person::register(&server, "ann").await.unwrap();
    let mut peer = Peer::hello(&ann).await;
    let node = eventually("the node reports", async || {
        let nodes = operator.json(&["nodes"]).await;
        let of_it = |node: &Value| (node["condition"] == "ready").then(|| node["node"].clone());
        nodes["nodes"].as_array()?.first().and_then(of_it)
    })
    .await;
    let node = node.as_str().unwrap();
    // A part of the id is enough.
    is_refused(&operator.run(&["drain", &node[24..]]).await, "this is the only all-in-one");
    is_refused(&operator.run(&["drain", "nobody-is-called-so"]).await, "no process is called so");
    let address = server.address().to_string();
    is_done(&operator.run(&["drain", &address, "--force"]).await, "drains");
    let lines = audited(&server, "drain");
    assert!(lines.last().unwrap().contains(&format!("on=\"/nodes/{node}/drain\"")), "{lines:?}");
    assert_eq!(closed(peer.ending().await), ("going_away".into(), Some(1001)));
    let exit = server.ended().await.unwrap();
    assert!(exit.success(), "{exit}");
    // Nobody is there any more.
    let said = operator.run(&["nodes"]).await;
    assert_eq!(said.code, Some(2), "{said:?}");
    assert!(said.err.contains("ADMIN_TOKEN"), "{said:?}");
}

#[tokio::test]
async fn who_has_no_credential_is_refused_and_written_down() {
    let World { server, credential, operator } = World::new().await;
    let wrong = Operator::new_credential("night-shift");
    let stranger = operator.with(&wrong);
    is_refused(&stranger.run(&["nodes"]).await, "not one that this deployment knows");
    let address: SocketAddr = operator.address().parse().unwrap();
    let answer = request(address, "GET", "/v1/admin/nodes", None, None).await.unwrap();
    assert_eq!((answer.status, &answer.json()["code"]), (401, &"unauthorized".into()), "{answer:?}");
    for (path, method, status) in
        [("/v1/admin/no", "GET", 404), ("/v1/admin/nodes", "PATCH", 405), ("/", "GET", 404)]
    {
        let answer = request(address, method, path, Some(&credential), None).await.unwrap();
        assert_eq!(answer.status, status, "{method} {path}: {answer:?}");
    }
    // A field that is misspelt would lift the bound.
    let (path, body) = ("/v1/admin/rooms/lobby/retention", json!({"day": 30}));
    let answer = request(address, "PUT", path, Some(&credential), Some(&body)).await.unwrap();
    assert!(answer.status == 400 && answer.text.contains("it takes `entries` or `days`"), "{answer:?}");
    let answer = request(address, "GET", "/v1/admin/no", None, None).await.unwrap();
    assert_eq!(answer.status, 401, "which paths there are is nobody's business: {answer:?}");
    let lines = audited(&server, "other");
    assert_eq!(lines.len(), 4, "{lines:?}");
    assert!(lines[0].contains("on=\"/no\"") && lines[3].contains("who=(nobody)"), "{lines:?}");
    is_done(&operator.run(&["nodes"]).await, "all-in-one");

    // A guesser is slowed down, and with them all who come from there.
    let mut limited = false;
    for _ in 0..30 {
        let answer = request(address, "GET", "/v1/admin/nodes", Some(&wrong), None).await.unwrap();
        limited |= answer.status == 429;
    }
    assert!(limited, "thirty guesses at once");
    eventually("the right credential is taken again", async || {
        let said = operator.run(&["bans"]).await;
        if said.code != Some(0) {
            is_refused(&said, "too many wrong credentials");
        }
        (said.code == Some(0)).then_some(())
    })
    .await;

    let lines = audited(&server, "nodes");
    let first = &lines[0];
    assert!(first.contains("who=(nobody)") && first.contains("result=\"unauthorized\""), "{first}");
    assert!(
        lines.iter().any(|line| line.contains("who=night-shift") && line.contains("result=\"ok\"")),
        "{lines:?}"
    );
    let log = server.log();
    for secret in [&credential, &wrong] {
        assert!(!log.contains(secret.split('.').nth(1).unwrap()), "a secret is in the log");
    }
    shows_what_is_documented(&server).await;
    let metrics = server.get("/metrics", None).await.unwrap().text;
    let counted = "hubbub_gateway_admin_actions_total{action=\"nodes\",result=\"unauthorized\"}";
    assert!(metrics.contains(counted), "{counted}");
}

#[tokio::test]
async fn without_the_setting_there_is_none_and_the_public_door_never_has_it() {
    let World { server: with, credential, .. } = World::new().await;
    let without = server().await;
    assert!(!without.log().contains("admin API"));
    for server in [&with, &without] {
        let answer = server.get("/v1/admin/nodes", Some(&credential)).await.unwrap();
        assert_eq!(answer.status, 404, "{answer:?}");
    }
    let data = tempfile();
    let weak = program().with("--admin-token=hunter2.hunter2");
    let (exit, said) = weak.run_to_end(Hubbub::free_port().unwrap(), &data).await.unwrap();
    assert_eq!(exit.code(), Some(64), "{said}");
    assert!(said.contains("--admin-token (ADMIN_TOKEN)") && !said.contains("hunter2"), "{said}");
}

fn tempfile() -> std::path::PathBuf {
    std::env::temp_dir().join(format!("hubbub-admin-{:016x}", fastrand::u64(..)))
}

#[tokio::test]
async fn the_command_line_says_what_is_wrong_with_it() {
    let World { operator, .. } = World::new().await;
    for (args, words) in [
        (vec!["kick", "room"], "<USER>"),
        (vec!["room", "a.b"], "has a character that is not allowed"),
        (vec!["nodes", "--token-file", "/nowhere/token"], "can't read /nowhere/token"),
        (vec!["no-such-command"], "no-such-command"),
    ] {
        let said = operator.run(&args).await;
        assert_eq!(said.code, Some(64), "{args:?}: {said:?}");
        assert!(said.err.contains(words), "{args:?}: {said:?}");
    }
    for list in ["", "a.b,c.d"] {
        let said = operator.with(list).run(&["nodes"]).await;
        assert_eq!(said.code, Some(64), "{said:?}");
        assert!(said.err.contains("--token-file"), "{said:?}");
    }
    let help = operator.run(&["--help"]).await;
    is_done(&help, "Who holds this room?      hubbub admin room ROOM");
}
