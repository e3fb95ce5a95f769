//! An operator has a user's messages erased: nobody is served them any more, and they are in no file.

use std::path::{Path, PathBuf};

use hubbub_client::answer::Range;
use hubbub_client::{Entry, What};
use hubbub_core::ids::{Key, RoomId, Seq};
use hubbub_testkit::{Hubbub, Operator, Person, eventually};
use serde_json::{Value, json};

use crate::common::{Room, connect, program, whole_log};
use crate::peer::Peer;
use crate::socketio::clients::{packet, socket};

/// In each message that is to be erased, and nowhere else.
const SECRET: &str = "the secret of bob";

struct World {
    server: Hubbub,
    operator: Operator,
}

impl World {
    async fn new() -> Self {
        let credential = Operator::new_credential("night-shift");
        let start = Operator::flags(&credential).iter().fold(program(), |start, flag| start.with(flag));
        let server = Hubbub::start(start).await.unwrap();
        let operator = Operator::of(env!("CARGO_BIN_EXE_hubbub"), &server, &credential).unwrap();
        Self { server, operator }
    }
}

fn is_erased(entry: &Entry) -> bool {
    entry.what == What::Erased
}

/// The files of a folder that have these bytes in them.
fn files_with(folder: &Path, bytes: &str) -> Vec<PathBuf> {
    let files = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    let finder = |content: Vec<u8>| content.windows(bytes.len()).any(|window| window == bytes.as_bytes());
    files.filter(|file| finder(std::fs::read(file).unwrap())).collect()
}

/// Bob's messages in a room, with keys, among those of others.
async fn talk(room: &Room, bob: &Person, count: usize) -> Vec<u64> {
    let bobs = connect(bob).await;
    let mut seqs = Vec::new();
    for n in 0..count {
        let key = Key::parse(&format!("bob-{n}")).unwrap();
        // Some are too large for a page of the file, and for the journal.
        let text = format!("{SECRET}, {n} {}", "and more ".repeat(if n % 7 == 0 { 400 } else { 5 }));
        let sent = bobs.send_text(&room.id, &text, Some(&key)).await.unwrap();
        seqs.push(sent.seq().unwrap().0);
        room.owner.send_text(&room.id, &format!("a word of ann, {n}"), None).await.unwrap();
    }
    bobs.close().await;
    seqs
}

/// Every way to read a room: what each gives, as one text.
async fn read_all_ways(server: &Hubbub, room: &RoomId, person: &Person) -> String {
    let client = connect(person).await;
    let log = whole_log(&client, room).await;
    let opened = client.open(room, Some(200)).await.unwrap();
    let back = client.history(room, Range::Before(Seq(u64::MAX >> 1)), Some(200)).await.unwrap();
    let mut said = format!("{log:?} {opened:?} {back:?}");
    let mut peer = Peer::resume(person, json!({room.as_str(): 2})).await;
    let resumed = peer.up_to(log.last().unwrap().seq.0).await;
    said += &json!(resumed).to_string();
    let path = format!("/v1/chat/rooms/{room}/messages?limit=1000");
    said += &server.get(&path, Some(&person.token)).await.unwrap().text;
    let mut socketio = socket(server, 4, &person.token).await;
    for (id, event) in [(1, "switch"), (2, "history")] {
        let asked = json!([event, {"chatroom": room, "limit": 500}]);
        socketio.send_text(format!("42/v1/channel,{id}{asked}")).await.unwrap();
        said += &packet(&mut socketio, &format!("43/v1/channel,{id}[")).await;
    }
    client.close().await;
    said
}

#[tokio::test]
async fn erased_messages_are_served_to_nobody_and_in_no_file() {
    let World { mut server, operator } = World::new().await;
    // One room that bob is in, one that he left, and one that he was never in.
    let (here, left) = (Room::with_owner(&server, "ann").await, Room::with_owner(&server, "cyd").await);
    let other = Room::with_owner(&server, "dee").await;
    let bob = here.member(&server, "bob").await;
    let bobs = connect(&bob).await;
    bobs.join(&left.id).await.unwrap();
    let (said_here, said_left) = (talk(&here, &bob, 60).await, talk(&left, &bob, 30).await);
    bobs.leave(&left.id).await.unwrap();
    talk_of_others(&other).await;
    let mut watching = Peer::hello(&here.ann).await;
    let before = read_all_ways(&server, &here.id, &here.ann).await;
    assert!(before.matches(SECRET).count() > 60 * 6, "there is something to erase, in every way to read");
    let log_before = whole_log(&here.owner, &here.id).await;

    let done = operator.json(&["erase", bob.id.as_str()]).await;
    assert_eq!((&done["looked_at"], &done["erased"]), (&2.into(), &90.into()), "{done}");
    // Those who are there are told, and what they are told is true of all that they can read.
    let told = watching.next_of("erase").await;
    let upto = *said_here.last().unwrap();
    let shown = (&told["room"], &told["user"]["id"], &told["by"]["id"], &told["upto"]);
    assert_eq!(shown, (&json!(here.id), &json!(bob.id), &json!("admin"), &json!(upto)));
    for room in [&here, &left] {
        assert_eq!(read_all_ways(&server, &room.id, &room.ann).await.matches(SECRET).count(), 0);
    }
    let log = whole_log(&here.owner, &here.id).await;
    assert_eq!(log.len(), log_before.len() + 1, "no place is missing, and one entry is new");
    for (now, before) in log.iter().zip(&log_before) {
        assert_eq!((now.seq, now.at, &now.user), (before.seq, before.at, &before.user));
        let was_bobs = said_here.contains(&now.seq.0);
        assert_eq!(is_erased(now), was_bobs, "{now:?}");
        assert!(was_bobs || now == before, "{now:?} was {before:?}");
    }
    assert_eq!(log.last().unwrap().what, What::Erase { upto: Seq(upto), by: admin(&told) });
    assert_eq!(
        whole_log(&left.owner, &left.id).await.iter().filter(|e| is_erased(e)).count(),
        said_left.len()
    );

    // A repeat of an erased message finds its place; erasing again finds nothing to do.
    let again = bobs.send_text(&here.id, "once more", Some(&Key::parse("bob-3").unwrap())).await.unwrap();
    assert_eq!(again.seq(), Some(Seq(said_here[3])));
    let second = operator.json(&["erase", bob.id.as_str()]).await;
    assert_eq!((&second["erased"], &second["rooms"][0]["seq"]), (&0.into(), &done["rooms"][0]["seq"]));
    assert_eq!(here.head().await, log.len() as u64);

    // The bytes are in no file: while it runs, after a restart, after a crash.
    let folder = server.data();
    eventually("the bytes are in no file", async || files_with(&folder, SECRET).is_empty().then_some(()))
        .await;
    server.kill().await.unwrap();
    server.restart().await.unwrap();
    assert_eq!(files_with(&folder, SECRET), Vec::<PathBuf>::new());
    assert_eq!(read_all_ways(&server, &here.id, &here.ann).await.matches(SECRET).count(), 0);
    assert_eq!(whole_log(&connect(&here.ann).await, &here.id).await, log);
}

async fn talk_of_others(room: &Room) {
    room.send_many(20).await;
}

fn admin(told: &Value) -> Option<hubbub_core::ids::User> {
    serde_json::from_value(told["by"].clone()).unwrap()
}

#[tokio::test]
async fn an_order_is_for_a_room_or_for_all_of_the_directory_if_that_is_wanted() {
    let World { server, operator } = World::new().await;
    let (one, two) = (Room::with_owner(&server, "ann").await, Room::with_owner(&server, "cyd").await);
    let bob = one.member(&server, "bob").await;
    connect(&bob).await.join(&two.id).await.unwrap();
    talk(&one, &bob, 3).await;
    talk(&two, &bob, 3).await;
    let said = operator.run(&["erase", bob.id.as_str(), "--room", one.id.as_str()]).await;
    assert_eq!((said.code, said.err.as_str()), (Some(0), ""), "{said:?}");
    assert!(said.out.contains("3 messages of") && said.out.contains(one.id.as_str()), "{said:?}");
    let erased_in = async |room: &Room| {
        whole_log(&room.owner, &room.id).await.iter().filter(|entry| is_erased(entry)).count()
    };
    assert_eq!((erased_in(&one).await, erased_in(&two).await), (3, 0));
    let all = operator.json(&["erase", bob.id.as_str(), "--every-room"]).await;
    assert_eq!((&all["looked_at"], &all["erased"]), (&2.into(), &3.into()), "{all}");
    assert_eq!((erased_in(&one).await, erased_in(&two).await), (3, 3));
    // Nobody's messages, and nobody's room.
    assert_eq!(operator.json(&["erase", "nobody-at-all"]).await["looked_at"], 0);
    let refused = operator.run(&["erase", bob.id.as_str(), "--room", "no-such-room"]).await;
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(
        refused.err.contains("there is no such room") && refused.err.contains("Run it again"),
        "{refused:?}"
    );
    let log = server.log();
    let audited = format!("action=\"erase\" on=\"{} in {}\" result=\"ok\"", bob.id, one.id);
    assert!(log.contains(&audited), "{audited}");
    assert!(!log.contains(SECRET));
}
