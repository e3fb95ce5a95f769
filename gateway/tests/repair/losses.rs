//! What a gateway does about messages that the bus lost: a reader's stream is whole again, by each of the ways in which a
//! loss can be seen.

use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hubbub_client::raw::Raw;
use hubbub_core::entry::{Entry, Says};
use hubbub_core::ids::{Millis, Partitions, RoomId, Seq, User, UserId};
use hubbub_core::limits::Content;
use hubbub_core::ports::bus::{Bus, Message, Payload, Subject};
use hubbub_core::room::Verb;
use hubbub_gateway::config::Config;
use hubbub_wire::tier::event::Committed;
use hubbub_wire::tier::query::Query;
use serde_json::json;

use crate::chat::{Chat, DEADLINE, elsewhere, made_elsewhere, says, up_to};

/// Loses the events of one message, has `notice` make the loss visible, and reads on.
async fn lost_and_found(chat: &mut Chat, notice: impl AsyncFnOnce(&Chat)) {
    let room = chat.client.create("tea", "").await.unwrap().id;
    chat.client.send_text(&room, "heard", None).await.unwrap();
    assert_eq!(chat.next_text().await, "heard");
    chat.bus.loses_events.store(true, SeqCst);
    chat.client.send_text(&room, "lost", None).await.unwrap();
    chat.bus.loses_events.store(false, SeqCst);
    notice(chat).await;
    assert_eq!(chat.next_text().await, "lost");
    chat.client.send_text(&room, "after", None).await.unwrap();
    assert_eq!(chat.next_text().await, "after");
}

#[tokio::test]
async fn a_gap_is_filled() {
    let mut chat = Chat::start(Config::default()).await;
    chat.bus.loses_heads.store(true, SeqCst);
    let room = chat.client.create("tea", "").await.unwrap().id;
    chat.bus.loses_events.store(true, SeqCst);
    chat.client.send_text(&room, "lost", None).await.unwrap();
    chat.bus.loses_events.store(false, SeqCst);
    chat.client.send_text(&room, "after", None).await.unwrap();
    assert_eq!(chat.next_text().await, "lost");
    assert_eq!(chat.next_text().await, "after");
}

#[tokio::test]
async fn a_lost_last_entry_is_seen_by_its_head() {
    let mut chat = Chat::start(Config::default()).await;
    lost_and_found(&mut chat, async |_| {}).await;
}

#[tokio::test]
async fn what_the_bus_says_it_may_have_lost_is_read() {
    let mut chat = Chat::start(Config::default()).await;
    chat.bus.loses_heads.store(true, SeqCst);
    lost_and_found(&mut chat, async |chat| chat.bus.tell_of_losses()).await;
}

/// A head that was true when it was told is no other log because the stream went on meanwhile.
#[tokio::test]
async fn a_head_that_comes_late_resets_nobody() {
    let mut chat = Chat::start(Config::default()).await;
    let room = chat.client.create("tea", "").await.unwrap().id;
    chat.client.send_text(&room, "before", None).await.unwrap();
    assert_eq!(chat.next_text().await, "before");
    let send_on = chat.hold_a_head().await;
    chat.client.send_text(&room, "meanwhile", None).await.unwrap();
    assert_eq!(chat.next_text().await, "meanwhile");
    send_on.send(()).unwrap();
    for n in 0..10 {
        let text = n.to_string();
        chat.client.send_text(&room, &text, None).await.unwrap();
        assert_eq!(chat.next_text().await, text);
    }
}

#[tokio::test]
async fn what_nobody_noticed_is_found_by_reading_again_in_time() {
    let config = Config { resync_every: Some(Duration::from_secs(2)), ..Config::default() };
    let mut chat = Chat::start(config).await;
    chat.bus.loses_heads.store(true, SeqCst);
    lost_and_found(&mut chat, async |_| {}).await;
}

/// A room that can't be read, perhaps for long, keeps nobody out of the others.
#[tokio::test]
async fn a_lost_join_is_found_beside_one_whose_room_can_not_be_read() {
    let config = Config { action_timeout: Duration::from_millis(500), ..Config::default() };
    let mut chat = Chat::start(config).await;
    chat.bus.loses_joins.store(true, SeqCst);
    let ann = User { id: chat.client.welcome().user.id.clone(), name: "Ann".into() };
    let (unread, bob) = made_elsewhere(&chat, "a").await;
    let (room, _) = made_elsewhere(&chat, "b").await;
    for room in [&unread, &room] {
        elsewhere(&chat, room, &ann, Verb::Join).await;
    }
    chat.bus.loses_syncs.lock().unwrap().push(unread);
    chat.bus.tell_of_losses();
    elsewhere(&chat, &room, &bob, says("hello")).await;
    assert_eq!(chat.next_text().await, "hello");
}

/// The room is not live here, so that nothing that comes later shows that a join was missed.
#[tokio::test]
async fn a_join_that_was_lost_is_found_once_it_is_known_that_something_was() {
    let mut chat = Chat::start(Config::default()).await;
    let (room, bob) = made_elsewhere(&chat, "tea").await;
    let ann = User { id: chat.client.welcome().user.id.clone(), name: "Ann".into() };
    chat.bus.loses_joins.store(true, SeqCst);
    elsewhere(&chat, &room, &ann, Verb::Join).await;
    elsewhere(&chat, &room, &bob, says("before it is known")).await;
    chat.bus.tell_of_losses();
    assert_eq!(chat.next_text().await, "before it is known");
    elsewhere(&chat, &room, &bob, says("after")).await;
    assert_eq!(chat.next_text().await, "after");
}

/// The bus did not notice.
#[tokio::test]
async fn a_join_that_was_lost_is_said_again_or_found_by_the_number_of_the_next() {
    let mut chat = Chat::start(Config::default()).await;
    let ann = User { id: chat.client.welcome().user.id.clone(), name: "Ann".into() };
    // Of one partition, whose first announcements are heard.
    let partition = chat.gateway.asker.partition(&RoomId::parse("0").unwrap());
    let mut ids = (0..).map(|n: u32| n.to_string());
    let mut room = async || {
        let id = ids.find(|id| chat.gateway.asker.partition(&RoomId::parse(id).unwrap()) == partition);
        made_elsewhere(&chat, &id.unwrap()).await
    };
    let ((room, bob), (by_number, _), (next, _)) = (room().await, room().await, room().await);
    chat.bus.loses_joins.store(true, SeqCst);
    elsewhere(&chat, &room, &ann, Verb::Join).await;
    chat.bus.loses_joins.store(false, SeqCst);
    elsewhere(&chat, &room, &bob, says("by being said again")).await;
    assert_eq!(chat.next_text().await, "by being said again");

    chat.bus.loses_joins.store(true, SeqCst);
    elsewhere(&chat, &by_number, &ann, Verb::Join).await;
    chat.bus.loses_joins.store(false, SeqCst);
    elsewhere(&chat, &next, &User { id: UserId::parse("eve").unwrap(), name: "Eve".into() }, Verb::Join)
        .await;
    elsewhere(&chat, &by_number, &bob, says("by the number")).await;
    assert_eq!(chat.next_text().await, "by the number");
}

#[tokio::test]
async fn a_room_that_could_not_be_followed_is_followed_later() {
    let config = Config { action_timeout: Duration::from_millis(500), ..Config::default() };
    let mut chat = Chat::start(config).await;
    chat.bus.loses_joins.store(true, SeqCst);
    let (room, bob) = made_elsewhere(&chat, "tea").await;
    chat.bus.loses_syncs.lock().unwrap().push(room.clone());
    chat.client.join(&room).await.unwrap();
    chat.bus.loses_syncs.lock().unwrap().clear();
    elsewhere(&chat, &room, &bob, says("hello")).await;
    assert_eq!(chat.next_text().await, "hello");
}

/// What the list of a user's rooms says now; then they go.
async fn listed_and_gone(chat: &Chat, user: &UserId) -> Payload {
    let ask = Payload::whole(Query::RoomsOf { user: user.clone() });
    let listed = chat.bus.request(&Subject::Query, ask.into(), DEADLINE).await.unwrap();
    chat.client.clone().close().await;
    let gone = async || (chat.gateway.connections.load(SeqCst) == 0).then_some(());
    hubbub_testkit::eventually("the user is gone", gone).await;
    listed
}

/// A join that was heard while its user had no connection, and that the list which their hello reads does not have yet.
#[tokio::test]
async fn a_join_that_went_by_before_its_user_came_is_followed() {
    let chat = Chat::start(Config::default()).await;
    let room = chat.client.create("tea", "").await.unwrap().id;
    let ann = User { id: chat.client.welcome().user.id.clone(), name: "Ann".into() };
    let bob = User { id: UserId::parse("bob").unwrap(), name: "Bob".into() };
    elsewhere(&chat, &room, &bob, Verb::Join).await;
    chat.client.leave(&room).await.unwrap();
    let listed = listed_and_gone(&chat, &ann.id).await;
    // The room is still live at the shard, which hears of the join.
    elsewhere(&chat, &room, &ann, Verb::Join).await;
    *chat.bus.stale_rooms.lock().unwrap() = Some(listed);
    let mut other = Raw::connect(&chat.url, Some(&chat.token)).await.unwrap();
    up_to(&mut other, "welcome").await;
    *chat.bus.stale_rooms.lock().unwrap() = None;
    other.send_json(&json!({"type": "join", "ref": 1, "room": room})).await.unwrap();
    up_to(&mut other, "ok").await;
    elsewhere(&chat, &room, &bob, says("hello")).await;
    up_to(&mut other, "message").await;
}

/// A join that was told before its holder died, so that it is in the log and in no list yet, is known to the client that saw it.
#[tokio::test]
async fn who_saw_their_own_join_is_not_sent_it_again_because_the_list_is_behind() {
    let chat = Chat::start(Config::default()).await;
    let ann = User { id: chat.client.welcome().user.id.clone(), name: "Ann".into() };
    let listed = listed_and_gone(&chat, &ann.id).await;
    let (room, bob) = made_elsewhere(&chat, "tea").await;
    elsewhere(&chat, &room, &ann, Verb::Join).await;
    let (synced, _) = chat.gateway.asker.sync(&room, 0, Vec::new()).await.unwrap();
    *chat.bus.stale_rooms.lock().unwrap() = Some(listed);
    let mut raw = Raw::connect(&chat.url, None).await.unwrap();
    let seen = synced.info.head.0;
    raw.send_json(&json!({"type": "hello", "token": chat.token, "rooms": {room.as_str(): seen, "none": 3}}))
        .await
        .unwrap();
    let welcome = raw.next_json().await.unwrap();
    assert_eq!(welcome["rooms"][0]["id"], room.as_str(), "{welcome}");
    raw.send_json(&json!({"type": "join", "ref": 1, "room": room})).await.unwrap();
    assert_eq!(raw.next_json().await.unwrap()["type"], "ok");
    elsewhere(&chat, &room, &bob, says("hello")).await;
    let next = async {
        loop {
            let next = raw.next_json().await.unwrap();
            if next["type"] != "presence" {
                break next;
            }
        }
    };
    let next = tokio::time::timeout(DEADLINE, next).await.expect("the stream goes on");
    assert_eq!((&next["type"], &next["seq"]), (&json!("message"), &json!(seen + 1)), "{next}");
}

/// The list that a hello reads may be from before a leave that was heard already.
#[tokio::test]
async fn who_left_is_not_let_in_again_by_a_list_that_is_behind() {
    let mut chat = Chat::start(Config::default()).await;
    let room = chat.client.create("tea", "").await.unwrap().id;
    chat.client.send_text(&room, "before", None).await.unwrap();
    assert_eq!(chat.next_text().await, "before");
    let user = chat.client.welcome().user.id.clone();
    let ask = Payload::whole(Query::RoomsOf { user });
    let listed = chat.bus.request(&Subject::Query, ask.into(), DEADLINE).await.unwrap();
    *chat.bus.stale_rooms.lock().unwrap() = Some(listed);
    chat.client.leave(&room).await.unwrap();
    let mut other = Raw::connect(&chat.url, None).await.unwrap();
    other.send_json(&json!({"type": "hello", "token": chat.token})).await.unwrap();
    let welcome = other.next_json().await.unwrap();
    assert_eq!((&welcome["type"], &welcome["rooms"]), (&json!("welcome"), &json!([])));
}

/// A leave that fills its turn, and the same user's join behind it: the turn that ends with the leave is sent first.
#[tokio::test]
async fn who_leaves_with_a_full_turn_and_comes_back_is_there() {
    let mut chat = Chat::start(Config::default()).await;
    let batches: Arc<Mutex<Vec<Committed>>> = Arc::default();
    let room = chat.client.create("tea", "").await.unwrap().id;
    let subject = Subject::Events(Partitions::new(2).unwrap().of(&room), room.clone());
    let (heard, of) = (batches.clone(), room.clone());
    let listener = move |message: Message| {
        heard.lock().unwrap().push(Committed::read(&of, message.payload).unwrap());
    };
    let _listens = chat.bus.listen(subject.clone(), Arc::new(listener)).await.unwrap();
    // What the worker says is kept back, and said all in one.
    chat.client.send_text(&room, "before", None).await.unwrap();
    assert_eq!(chat.next_text().await, "before");
    let first = batches.lock().unwrap().pop().unwrap();
    let user = User { id: first.entries[0].user.clone(), name: "Ann".into() };
    let next = |n: u64, says: Says<'_>| {
        Entry::new(&room, Seq(first.entries[0].seq.0 + n), Millis(1), &user, None, says)
    };
    let long = Content::text("x".repeat(4_000)).unwrap();
    let mut entries: Vec<_> = (1..=15).map(|n| next(n, Says::Message(&long))).collect();
    let lengths: usize = entries.iter().map(|entry| entry.json.len()).sum();
    let rest = Content::text("x".repeat(65_536 - lengths - 200)).unwrap();
    entries.push(next(16, Says::Message(&rest)));
    entries.extend([next(17, Says::Leave { by: None }), next(18, Says::Join(None))]);
    let after = Content::text("after".into()).unwrap();
    let say = |entries| {
        chat.bus
            .inner
            .publish(&subject, Payload::whole(Committed { batch: first.batch.clone(), entries }).into())
    };
    let before_leave: usize = entries[..16].iter().map(|entry| entry.json.len()).sum();
    assert!(before_leave < 65_536 && before_leave + entries[16].json.len() >= 65_536, "the leave fills it");
    say(entries).unwrap();
    say(vec![next(19, Says::Message(&after))]).unwrap();
    while chat.next_text().await != "after" {}
}

/// That it was erased may be what the bus lost: until that is known, nothing is shown that was in memory before.
#[tokio::test]
async fn what_was_erased_unheard_is_not_shown_once_it_is_known_that_something_was_lost() {
    let chat = Chat::start(Config::default()).await;
    chat.bus.loses_heads.store(true, SeqCst);
    let room = chat.client.create("tea", "").await.unwrap().id;
    // As many as the history service keeps in one piece, and more.
    for n in 0..120 {
        chat.client.send_text(&room, &format!("a secret, {n}"), None).await.unwrap();
    }
    let mut reader = Raw::connect(&chat.url, Some(&chat.token)).await.unwrap();
    up_to(&mut reader, "welcome").await;
    let history = json!({"type": "history", "ref": 1, "room": room, "after": 0, "limit": 100});
    reader.send_json(&history).await.unwrap();
    assert_eq!(up_to(&mut reader, "ok").await.matches("a secret").count(), 99);

    chat.bus.loses_events.store(true, SeqCst);
    let ann = chat.client.welcome().user.id.clone();
    let by = User { id: ann.clone(), name: "Ann".into() };
    let erased = chat.gateway.asker.erase(room.clone(), by, ann, None).await.unwrap();
    assert_eq!((erased.count, erased.next), (120, None));
    chat.bus.loses_events.store(false, SeqCst);
    let send_on = chat.hold_a_head().await;
    reader.send_json(&history).await.unwrap();
    assert_eq!(up_to(&mut reader, "ok").await.matches("a secret").count(), 0, "by history");
    let mut late = Raw::connect(&chat.url, None).await.unwrap();
    let hello = json!({"type": "hello", "token": chat.token, "rooms": {room.as_str(): 1}});
    late.send_json(&hello).await.unwrap();
    up_to(&mut late, "welcome").await;
    late.send_json(&json!({"type": "ping"})).await.unwrap();
    assert_eq!(up_to(&mut late, "pong").await.matches("a secret").count(), 0, "by a resume");
    send_on.send(()).unwrap();
    let missed = up_to(&mut late, "erase").await;
    assert_eq!((missed.matches("a secret").count(), missed.matches("\"erased\"").count()), (0, 120));
}
