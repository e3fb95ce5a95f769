//! What one door acknowledged, another does not answer as if it had not been.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use hubbub_client::answer::Range;
use hubbub_client::raw::Raw;
use hubbub_core::ids::{RoomId, Seq, User};
use hubbub_core::ports::bus::{Bus, Message, Reply, Subject, Subscription};
use hubbub_core::room::Verb;
use hubbub_gateway::config::Config;
use hubbub_wire::tier::bots::ToldBots;
use hubbub_wire::tier::parcel;
use serde_json::{Value, json};

use crate::chat::{Chat, DEADLINE, answer_to, elsewhere, made_elsewhere, says, up_to};

/// Whose connections the chat's are.
fn ann(chat: &Chat) -> User {
    User { id: chat.client.welcome().user.id.clone(), name: "Ann".into() }
}

/// A message that is kept and was not heard here: its room and place.
async fn not_heard(chat: &mut Chat) -> (RoomId, Seq) {
    chat.bus.loses_heads.store(true, SeqCst);
    let room = chat.client.create("tea", "").await.unwrap().id;
    chat.client.send_text(&room, "heard", None).await.unwrap();
    assert_eq!(chat.next_text().await, "heard");
    chat.bus.loses_events.store(true, SeqCst);
    let kept = chat.client.send_text(&room, "not heard", None).await.unwrap().seq().unwrap();
    chat.bus.loses_events.store(false, SeqCst);
    (room, kept)
}

/// Who was told elsewhere that a message is kept, and reads here, finds it.
#[tokio::test]
async fn a_page_has_all_that_is_kept_though_it_was_not_heard_here() {
    let mut chat = Chat::start(Config::default()).await;
    let (room, kept) = not_heard(&mut chat).await;
    for range in [Range::After(Seq(0)), Range::After(Seq(kept.0 - 1)), Range::Before(Seq(u64::MAX))] {
        let page = chat.client.history(&room, range, None).await.unwrap();
        assert_eq!((page.entries.last().unwrap().seq, page.more), (kept, false), "{range:?}");
    }
}

/// What another gateway showed a client before this one heard it is no other log, also while an older head is on its way.
#[tokio::test]
async fn one_who_saw_more_at_another_gateway_resumes() {
    let mut chat = Chat::start(Config::default()).await;
    chat.bus.loses_heads.store(true, SeqCst);
    let room = chat.client.create("tea", "").await.unwrap().id;
    chat.client.send_text(&room, "before", None).await.unwrap();
    assert_eq!(chat.next_text().await, "before");
    let send_on = chat.hold_a_head().await;
    chat.bus.loses_events.store(true, SeqCst);
    let seen = chat.client.send_text(&room, "seen elsewhere", None).await.unwrap().seq().unwrap();
    chat.bus.loses_events.store(false, SeqCst);
    let mut other = Raw::connect(&chat.url, None).await.unwrap();
    let reads = chat.bus.reads.load(SeqCst);
    let hello = json!({"type": "hello", "token": chat.token, "rooms": {room.as_str(): seen.0}});
    other.send_json(&hello).await.unwrap();
    // Its rooms are asked for first; in the same turn it finds that it must ask for the head once more.
    let looked = async {
        while chat.bus.reads.load(SeqCst) == reads {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(DEADLINE, looked).await.expect("the hello is looked at");
    send_on.send(()).unwrap();
    assert_eq!(chat.next_text().await, "seen elsewhere");
    chat.client.send_text(&room, "after", None).await.unwrap();
    let mut types = Vec::new();
    let told = async {
        while types.last().is_none_or(|last| last != "message") {
            types.push(other.next_json().await.unwrap()["type"].as_str().unwrap().to_owned());
        }
    };
    tokio::time::timeout(DEADLINE, told).await.expect("the stream goes on");
    assert!(!types.contains(&"reset".to_owned()), "{types:?}");
}

fn command(room: &RoomId, reference: u64) -> Value {
    json!({"type": "send", "ref": reference, "room": room, "text": "/stock=AAPL"})
}

/// A bridge to bots that have every command.
async fn with_bots(chat: &Chat) -> Subscription {
    let confirms = |_: Message, reply: Reply| {
        reply.send(parcel::pack(&ToldBots::Confirmed));
    };
    chat.bus.serve(Subject::Bots, Arc::new(confirms)).await.unwrap()
}

/// Whoever was told, by whichever door, that they joined gives commands at any.
#[tokio::test]
async fn who_joined_at_another_door_gives_a_command_here() {
    let chat = Chat::start(Config::default()).await;
    let _bots = with_bots(&chat).await;
    let mut raw = Raw::connect(&chat.url, Some(&chat.token)).await.unwrap();
    up_to(&mut raw, "welcome").await;
    chat.bus.loses_joins.store(true, SeqCst);
    let (room, _) = made_elsewhere(&chat, "tea").await;
    elsewhere(&chat, &room, &ann(&chat), Verb::Join).await;
    raw.send_json(&command(&room, 1)).await.unwrap();
    assert_eq!(answer_to(&mut raw, 1).await["type"], "ok");
}

#[tokio::test]
async fn who_was_removed_at_another_door_gives_no_command_here() {
    let chat = Chat::start(Config::default()).await;
    let _bots = with_bots(&chat).await;
    chat.bus.loses_heads.store(true, SeqCst);
    let mut raw = Raw::connect(&chat.url, Some(&chat.token)).await.unwrap();
    up_to(&mut raw, "welcome").await;
    let (room, bob) = made_elsewhere(&chat, "tea").await;
    raw.send_json(&json!({"type": "join", "ref": 1, "room": room})).await.unwrap();
    assert_eq!(answer_to(&mut raw, 1).await["type"], "ok");
    chat.bus.loses_events.store(true, SeqCst);
    elsewhere(&chat, &room, &bob, Verb::Kick { member: ann(&chat).id }).await;
    raw.send_json(&command(&room, 2)).await.unwrap();
    assert_eq!(answer_to(&mut raw, 2).await["code"], "not_member");
}

/// Requests of a connection for one room are carried out in the order in which they came.
#[tokio::test]
async fn what_is_sent_right_behind_a_join_finds_a_member() {
    let chat = Chat::start(Config::default()).await;
    let _bots = with_bots(&chat).await;
    let ann = ann(&chat).id;
    let mut raw = Raw::connect(&chat.url, Some(&chat.token)).await.unwrap();
    up_to(&mut raw, "welcome").await;
    let (mut members, mut opened, mut given) = (0, 0, 0);
    for n in 0..10 {
        let (room, _) = made_elsewhere(&chat, &format!("room-{n}")).await;
        let requests = [
            json!({"type": "join", "ref": 1, "room": room}),
            json!({"type": "members", "ref": 2, "room": room}),
            json!({"type": "open", "ref": 3, "room": room}),
            command(&room, 4),
        ];
        for request in &requests {
            raw.send_json(request).await.unwrap();
        }
        let mut answers = BTreeMap::new();
        while answers.len() < requests.len() {
            let frame = tokio::time::timeout(DEADLINE, raw.next_json()).await.unwrap().unwrap();
            if let Some(reference) = frame["ref"].as_u64() {
                answers.insert(reference, frame);
            }
        }
        let has_ann = |answer: &Value| answer["members"].to_string().contains(ann.as_str());
        members += usize::from(has_ann(&answers[&2]));
        opened += usize::from(has_ann(&answers[&3]));
        given += usize::from(answers[&4]["type"] == "ok");
    }
    assert_eq!((members, opened, given), (10, 10, 10));
}

/// As of a first hello: another gateway was quicker, the log is the same.
#[tokio::test]
async fn one_who_saw_more_elsewhere_resumes_by_a_second_hello() {
    let mut chat = Chat::start(Config::default()).await;
    let (room, seen) = not_heard(&mut chat).await;
    let mut other = Raw::connect(&chat.url, Some(&chat.token)).await.unwrap();
    up_to(&mut other, "welcome").await;
    other.send_json(&json!({"type": "hello", "ref": 1, "rooms": {room.as_str(): seen.0}})).await.unwrap();
    answer_to(&mut other, 1).await;
    other.send_json(&json!({"type": "ping"})).await.unwrap();
    let told = up_to(&mut other, "pong").await;
    assert!(!told.contains("\"reset\""), "{told}");
}

/// Nor does one whose holder can't be asked just now: it is the same log.
#[tokio::test]
async fn one_who_saw_more_elsewhere_is_not_reset_because_the_holder_is_silent() {
    let config = Config { action_timeout: Duration::from_millis(500), ..Config::default() };
    let mut chat = Chat::start(config).await;
    let (room, seen) = not_heard(&mut chat).await;
    chat.bus.loses_syncs.lock().unwrap().push(room.clone());
    let mut other = Raw::connect(&chat.url, None).await.unwrap();
    let hello = json!({"type": "hello", "ref": 1, "token": chat.token, "rooms": {room.as_str(): seen.0}});
    other.send_json(&hello).await.unwrap();
    assert_eq!(answer_to(&mut other, 1).await["code"], "unavailable");
}

/// After one's own leave nothing comes until one's next join, in a resume as well.
#[tokio::test]
async fn a_resume_from_ones_own_leave_has_nothing_before_the_next_join() {
    let chat = Chat::start(Config::default()).await;
    let (room, bob) = made_elsewhere(&chat, "tea").await;
    chat.client.join(&room).await.unwrap();
    let left = chat.client.leave(&room).await.unwrap().seq;
    elsewhere(&chat, &room, &bob, says("while she was away")).await;
    elsewhere(&chat, &room, &ann(&chat), Verb::Join).await;
    elsewhere(&chat, &room, &bob, says("when she was back")).await;
    let mut late = Raw::connect(&chat.url, None).await.unwrap();
    let hello = json!({"type": "hello", "token": chat.token, "rooms": {room.as_str(): left.0}});
    late.send_json(&hello).await.unwrap();
    let told = up_to(&mut late, "message").await;
    assert!(told.contains("when she was back"), "{told}");
}
