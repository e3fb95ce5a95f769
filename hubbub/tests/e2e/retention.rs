//! An operator says how long a room's entries are kept: what is older goes, and the log begins later for everybody.

use futures_util::StreamExt;
use futures_util::stream;
use hubbub_client::What;
use hubbub_client::answer::Range;
use hubbub_core::entry::{Kept, Retention};
use hubbub_core::ids::Seq;
use hubbub_testkit::checker::Outcome;
use hubbub_testkit::{Hubbub, Operator, eventually};
use serde_json::{Value, json};

use crate::common::{Load, Room, connect, program, whole_log};
use crate::peer::Peer;
use crate::socketio::clients::{packet, socket};

/// The least that can be kept: the entries among which a repeat is looked for.
const KEPT: u64 = 10_000;

async fn say(room: &Room, texts: std::ops::RangeInclusive<u64>) {
    let said = texts.map(|n| async move {
        room.owner.send_text(&room.id, &format!("text {n}"), None).await.unwrap();
    });
    stream::iter(said).buffer_unordered(40).collect::<Vec<()>>().await;
}

fn first_of(found: &Value) -> (Option<u64>, Option<u64>) {
    (found["entries"][0]["seq"].as_u64(), found["first"].as_u64())
}

#[tokio::test]
async fn a_room_keeps_what_it_is_told_to_and_begins_later_at_every_door() {
    let credential = Operator::new_credential("day-shift");
    // So that what is not kept is all that keeps anybody from resuming.
    let program = program().with("--resume-entries-max=100000");
    let start = Operator::flags(&credential).iter().fold(program, |start, flag| start.with(flag));
    let mut server = Hubbub::start(start).await.unwrap();
    let operator = Operator::of(env!("CARGO_BIN_EXE_hubbub"), &server, &credential).unwrap();
    let room = Room::with_owner(&server, "ann").await;
    let bob = room.member(&server, "bob").await;
    say(&room, 3..=KEPT + 300).await;
    let before = whole_log(&room.owner, &room.id).await;
    let id = room.id.as_str();
    assert_eq!(operator.json(&["retention", id]).await.get("retention"), None, "all is kept");

    // It is said, and carried out at once.
    let mut watching = Peer::hello(&bob).await;
    let entries = KEPT.to_string();
    let said = operator.json(&["retention", id, "--entries", &entries]).await;
    assert_eq!((&said["seq"], &said["first"]), (&json!(KEPT + 301), &json!(303)), "{said}");
    let retention = Retention { entries: Some(KEPT), days: None };
    for (seq, first) in [(KEPT + 301, Value::Null), (KEPT + 302, json!(303))] {
        let told = watching.next_of("retention").await;
        let shown = (&told["seq"], &told["retention"]["entries"], &told["first"], &told["user"]["id"]);
        assert_eq!(shown, (&json!(seq), &json!(KEPT), &first, &json!("admin")));
    }
    let shown = operator.run(&["retention", id]).await;
    let expected = format!("{id} keeps its newest {KEPT} entries\nits log begins at entry 303\n");
    assert_eq!((shown.code, &shown.out), (Some(0), &expected), "{shown:?}");
    let shown = operator.run(&["room", id]).await.out;
    assert!(shown.contains(&format!("keeps      its newest {KEPT} entries\nbegins at  303\n")), "{shown}");

    // Every door reads from there, and says so.
    let log = whole_log(&room.owner, &room.id).await;
    assert_eq!((log.len() as u64, log[0].seq), (KEPT, Seq(303)));
    assert_eq!(log[..log.len() - 2], before[302..]);
    assert_eq!(log.last().unwrap().what, What::Retention(Kept { retention, first: Seq(303) }));
    let opened = room.owner.open(&room.id, Some(1)).await.unwrap().room;
    assert_eq!((opened.retention, opened.first, opened.members), (Some(retention), Some(Seq(303)), Some(2)));
    let oldest = room.owner.history(&room.id, Range::Before(Seq(305)), Some(50)).await.unwrap();
    assert_eq!((oldest.entries.len(), oldest.more, oldest.first), (2, false, Some(Seq(303))));
    let none = room.owner.history(&room.id, Range::Before(Seq(100)), Some(50)).await.unwrap();
    assert_eq!((none.entries.len(), none.more, none.first), (0, false, Some(Seq(303))));
    let http = |path: String| {
        let (server, token) = (&server, &room.ann.token);
        async move { server.get(&path, Some(token)).await.unwrap().json() }
    };
    let page = http(format!("/v1/chat/rooms/{id}/messages?after=7&limit=3")).await;
    assert_eq!(first_of(&page), (Some(303), Some(303)), "{page}");
    let shown = http(format!("/v1/chat/rooms/{id}")).await;
    assert_eq!((&shown["retention"]["entries"], &shown["first"]), (&json!(KEPT), &json!(303)));
    let mut socketio = socket(&server, 4, &room.ann.token).await;
    for (n, event) in [(1, "switch"), (2, "history")] {
        let asked = json!([event, {"chatroom": room.id, "limit": 500}]);
        socketio.send_text(format!("42/v1/channel,{n}{asked}")).await.unwrap();
        let answer = packet(&mut socketio, &format!("43/v1/channel,{n}[")).await;
        assert!(answer.contains(&format!("text {}", KEPT + 300)), "{event}: {answer}");
    }

    // Whoever was away when it went is told so, and reads what there is.
    for (seen, expected) in [(2, (1, 0)), (301, (1, 0)), (302, (0, KEPT)), (KEPT, (0, 302))] {
        let mut back = Peer::resume(&bob, json!({ id: seen })).await;
        let told = back.up_to(KEPT + 302).await;
        let behind: Vec<_> = told.iter().filter(|event| event["type"] == "behind").collect();
        let entries = told.iter().filter(|event| event["seq"].is_u64()).count() as u64;
        assert_eq!((behind.len(), entries), expected, "seen {seen}");
    }

    // It is so of a server that begins anew, and after a crash.
    server.kill().await.unwrap();
    server.restart().await.unwrap();
    let operator = Operator::of(env!("CARGO_BIN_EXE_hubbub"), &server, &credential).unwrap();
    let client = connect(&room.ann).await;
    assert_eq!(whole_log(&client, &room.id).await, log);
    // Who wants all to be kept has all that is there.
    let said = operator.run(&["retention", id, "--keep-all"]).await;
    assert!(
        said.out.starts_with(&format!("{id} keeps all of its entries\nits log begins at entry 303;")),
        "{said:?}"
    );
    for n in 0..20 {
        client.send_text(&room.id, &format!("more {n}"), None).await.unwrap();
    }
    assert_eq!(operator.json(&["retention", id, "--days", "36500"]).await["first"], 303);
    let audited = [
        format!("action=\"retention\" on=\"{id} entries={KEPT} days=all\" result=\"ok\""),
        format!("action=\"trim\" on=\"/rooms/{id}/trims\" result=\"ok\""),
    ];
    eventually("it is audited", async || {
        audited.iter().all(|line| server.log().contains(line)).then_some(())
    })
    .await;

    // The order ends where more is said all the time, and nothing that was acknowledged and is kept is missing.
    let load = Load::begin(&room, 8).await;
    let said = operator.json(&["retention", id, "--entries", &entries]).await;
    let sent = load.end().await;
    let log = whole_log(&client, &room.id).await;
    assert_eq!(said["first"], json!(log[0].seq), "{said}");
    let acked = sent.iter().filter_map(|sent| match sent.outcome {
        Outcome::Acked { seq, .. } => Some((seq, &sent.text)),
        _ => None,
    });
    for (seq, text) in acked.filter(|(seq, _)| *seq >= log[0].seq.0) {
        assert_eq!(log[(seq - log[0].seq.0) as usize].what, What::Text(text.clone()));
    }

    // What can't be kept so is said with why.
    for (args, why) in [
        (vec!["--entries", "9999"], "10000"),
        (vec!["--days", "0"], "1..="),
        (vec!["--days", "1", "--keep-all"], "cannot be used with"),
    ] {
        let refused = operator.run(&[&["retention", id], &args[..]].concat()).await;
        assert!(refused.code == Some(64) && refused.err.contains(why), "{refused:?}");
    }
    let refused = operator.run(&["retention", "no-such-room", "--days", "1"]).await;
    assert!(refused.code == Some(1) && refused.err.contains("there is no such room"), "{refused:?}");
}
