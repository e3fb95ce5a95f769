//! Coming to a room's live stream, step by step, by the state of one shard.

use hubbub_core::entry::Says;
use hubbub_core::ids::{Epoch, Millis, Partition, Partitions, User, UserId};
use hubbub_core::limits::Content;
use hubbub_core::ports::accounts::Account;
use hubbub_core::ports::bus::Reply;
use hubbub_wire::tier::act::{Ask, Told};
use hubbub_wire::tier::event::Batch;
use hubbub_wire::tier::parcel;
use hubbub_wire::tier::query::Found;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use super::*;
use crate::config::Config;
use crate::dialect::Passes;
use crate::http::tests::{gateway, state};
use crate::shard::tests::{connected, synced, unread};

fn account(id: &str) -> Arc<Account> {
    let user = User { id: UserId::parse(id).unwrap(), name: id.into() };
    Arc::new(Account { user, roles: Vec::new(), expires_at: Millis(u64::MAX) })
}

fn ann() -> Arc<Account> {
    account("ann")
}

/// One more connection of somebody, in no room.
fn comes(state: &mut State, who: &Arc<Account>) -> ConnectionId {
    let number = state.user(&who.user.id).number;
    let id = state.insert(|serial| Connection { user: number, account: Some(who.clone()), ..unread(serial) });
    state.user(&who.user.id).connections.push(id);
    id
}

type Kept = Arc<std::sync::Mutex<Vec<Reply>>>;

/// A holder or history service that keeps all questions, from the `first` on that it does not answer by itself.
fn keeps(kept: &Kept, mut first: Vec<Told>) -> hubbub_core::ports::bus::Server {
    let kept = kept.clone();
    first.reverse();
    let first = std::sync::Mutex::new(first);
    Arc::new(move |_: Message, reply: Reply| match first.lock().unwrap().pop() {
        Some(told) => reply.send(parcel::pack(&told)),
        None => kept.lock().unwrap().push(reply),
    })
}

/// The question that is kept next.
async fn asked(kept: &Kept) -> Reply {
    hubbub_testkit::eventually("it is asked", async || kept.lock().unwrap().pop()).await
}

fn said(room: &RoomId, seq: u64) -> Entry {
    let content = Content::text(format!("text {seq}")).unwrap();
    Entry::new(room, Seq(seq), Millis(1), &ann().user, None, Says::Message(&content))
}

#[tokio::test]
async fn a_reset_comes_after_what_is_of_the_log_before() {
    let (mut client, socket) = connected().await;
    let room = RoomId::parse("lobby").unwrap();
    Shard::new(state(Config::default()).gateway, 0).with(|state| {
        let id = state.insert(|serial| Connection { socket, ..unread(serial) });
        let here = state.rooms.entry(room.clone()).or_default();
        here.begin(synced(&room, 1));
        state.go_live(id, &room);
        state.pass(&room, Passes::Count(1));
        assert_eq!(state.take_sync(&room, None, synced(&room, 2), Vec::new()), None);
        state.write_a_part();
        let socket = state.connections.remove(id.slot as usize).socket;
        socket2::SockRef::from(socket.stream().unwrap()).shutdown(std::net::Shutdown::Write).unwrap();
    });
    let mut told = Vec::new();
    client.read_to_end(&mut told).await.unwrap();
    let told = String::from_utf8_lossy(&told);
    let at = |event: &str| told.find(&format!("\"{event}\"")).unwrap_or_else(|| panic!("no {event}: {told}"));
    assert!(at("presence") < at("reset"), "{told}");
}

#[tokio::test]
async fn what_was_heard_before_the_first_sync_is_in_the_segment_that_is_named() {
    let room = RoomId::parse("lobby").unwrap();
    Shard::new(state(Config::default()).gateway, 0).with(|state| {
        state.rooms.entry(room.clone()).or_default();
        let ann = User { id: UserId::parse("ann").unwrap(), name: "Ann".into() };
        let content = Content::text("hello".to_owned()).unwrap();
        let said = Entry::new(&room, Seq(8), Millis(1), &ann, None, Says::Message(&content));
        let batch = Batch { room: room.clone(), log: LogId(1), epoch: Epoch(5), members: 1 };
        let payload = parcel::pack_with(&batch, &room, [&said]);
        state.hear(Heard::Entries(room.clone(), Message::from(payload)));
        // Decided before, told later: its head is in the segment of epoch 1.
        assert_eq!(state.take_sync(&room, None, synced(&room, 1), Vec::new()), None);
        let read_to = state.rooms[&room].read_to().unwrap();
        assert_eq!((read_to.head, read_to.epoch), (Seq(8), Epoch(5)));
    });
}

#[tokio::test]
async fn whoever_is_on_the_way_into_a_room_is_told_that_its_log_is_another_one() {
    let room = RoomId::parse("lobby").unwrap();
    for standing in [Standing::CatchingUp(1), Standing::Behind(Seq(90))] {
        Shard::new(state(Config::default()).gateway, 0).with(|state| {
            let rooms = smallvec::smallvec![(room.clone(), standing)];
            let id = state.insert(|serial| Connection { rooms, ..unread(serial) });
            state.rooms.entry(room.clone()).or_default().begin(synced(&room, 1));
            assert_eq!(state.take_sync(&room, None, synced(&room, 2), Vec::new()), None);
            let connection = state.connection(id).unwrap();
            assert!(connection.out.waiting() > 0, "reset, never silence");
            assert_eq!(connection.standing(&room).copied(), Some(Standing::Live(0)));
        });
    }
}

/// All that a client was sent, once the shard has written it; its connection is over by that.
async fn all_told(shard: &Arc<Shard>, id: ConnectionId, mut client: TcpStream) -> String {
    let socket = shard.with(|state| {
        state.write_a_part();
        state.connections.remove(id.slot as usize).socket
    });
    socket2::SockRef::from(socket.stream().unwrap()).shutdown(std::net::Shutdown::Write).unwrap();
    let mut told = Vec::new();
    client.read_to_end(&mut told).await.unwrap();
    String::from_utf8_lossy(&told).into_owned()
}

#[tokio::test]
async fn a_page_that_comes_after_a_reset_is_not_sent_any_more() {
    let (client, socket) = connected().await;
    let room = RoomId::parse("lobby").unwrap();
    let shard = Shard::new(state(Config::default()).gateway, 0);
    let kept = Kept::default();
    let _history = shard.gateway.bus.serve(Subject::Query, keeps(&kept, Vec::new())).await.unwrap();
    let id = shard.with(|state| {
        state.rooms.entry(room.clone()).or_default().begin(synced(&room, 1));
        let rooms = smallvec::smallvec![(room.clone(), Standing::CatchingUp(1))];
        state.insert(|serial| Connection { socket, rooms, account: Some(ann()), ..unread(serial) })
    });
    let catching_up = tokio::spawn(shard.clone().catch_up(id, room.clone(), Seq(4), 1));
    let reply = asked(&kept).await;
    let mut restored = synced(&room, 2);
    restored.members.push(ann().user.id.clone());
    shard.with(|state| assert_eq!(state.take_sync(&room, None, restored, Vec::new()), None));
    let entries: Vec<_> = (5..=7).map(|seq| said(&room, seq)).collect();
    reply.send(parcel::pack_with(&Found::Page { more: false, next: None, first: Seq(0) }, &room, &entries));
    catching_up.await.unwrap();
    let told = all_told(&shard, id, client).await;
    assert!(told.contains("reset") && !told.contains("text"), "{told}");
}

#[tokio::test]
async fn entries_of_another_log_are_not_taken_for_the_next() {
    let room = RoomId::parse("lobby").unwrap();
    Shard::new(state(Config::default()).gateway, 0).with(|state| {
        state.rooms.entry(room.clone()).or_default().begin(synced(&room, 1));
        let batch = Batch { room: room.clone(), log: LogId(2), epoch: Epoch(9), members: 1 };
        let payload = parcel::pack_with(&batch, &room, [&said(&room, 8)]);
        state.hear(Heard::Entries(room.clone(), Message::from(payload)));
        assert_eq!((state.position(&room), state.rooms[&room].syncing), (Some(Seq(7)), Some(false)));
    });
}

#[tokio::test]
async fn who_left_in_what_is_not_kept_any_more_is_told_and_is_out_of_the_room() {
    let room = RoomId::parse("lobby").unwrap();
    Shard::new(state(Config::default()).gateway, 0).with(|state| {
        let id = state.insert(|serial| Connection { account: Some(ann()), ..unread(serial) });
        state.rooms.entry(room.clone()).or_default().begin(synced(&room, 1));
        state.user(&ann().user.id).joined.insert(room.clone(), Seq(2));
        state.go_live(id, &room);
        assert_eq!(state.users_in(&room), [ann().user.id.clone()]);
        // The bus was away; she was removed at 8, and all up to 20,000 went since.
        let mut later = synced(&room, 1);
        (later.info.head, later.info.kept.first) = (Seq(30_000), Seq(20_000));
        assert_eq!(state.take_sync(&room, Some(Seq(7)), later, Vec::new()), None);
        let connection = state.connection(id).unwrap();
        assert!(connection.out.waiting() > 0, "reset, never silence");
        assert_eq!(connection.standing(&room).copied(), None);
        assert!(
            state.rooms[&room].members.is_empty() && state.user(&ann().user.id).joined.get(&room).is_none()
        );
    });
}

#[tokio::test]
async fn what_a_client_says_that_it_saw_has_nobody_else_wait() {
    let room = RoomId::parse("lobby").unwrap();
    Shard::new(state(Config::default()).gateway, 0).with(|state| {
        state.rooms.entry(room.clone()).or_default().begin(synced(&room, 1));
        state.need_sync(room.clone(), SyncCause::Ahead);
        assert!(state.rooms[&room].read_to().is_some(), "who catches up does");
        state.need_sync(room.clone(), SyncCause::Gap);
        assert!(state.rooms[&room].read_to().is_none(), "an erasure may be missing");
    });
}

#[tokio::test(start_paused = true)]
async fn a_holder_that_does_not_answer_keeps_out_no_room_of_another() {
    let partitions = Partitions::new(2).unwrap();
    let shard = Shard::new(gateway(Config::default(), partitions), 0);
    let silent = keeps(&Kept::default(), Vec::new());
    let _silent = shard.gateway.bus.serve(Subject::Act(Partition(0)), silent).await.unwrap();
    let answers = Arc::new(|mut message: Message, reply: Reply| {
        let ask: Ask = parcel::header(&mut message.payload).unwrap();
        reply.send(parcel::pack(&Told::Synced(Box::new(synced(&ask.room, 1)))));
    });
    let _answers = shard.gateway.bus.serve(Subject::Act(Partition(1)), answers).await.unwrap();
    let rooms = |of: u16| {
        let all = (0..).map(|n| RoomId::parse(&format!("room-{n}")).unwrap());
        all.filter(move |room| partitions.of(room) == Partition(of))
    };
    shard.with(|state| {
        for room in rooms(0).take(1_500) {
            state.rooms.entry(room.clone()).or_default().begin(synced(&room, 1));
            state.need_sync(room, SyncCause::Periodic);
        }
    });
    // All of them ask, wait and ask again.
    tokio::time::advance(Duration::from_secs(60)).await;
    let began = tokio::time::Instant::now();
    shard.ready(&rooms(1).next().unwrap()).await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
}

#[tokio::test]
async fn who_comes_in_while_the_holder_is_asked_who_is_a_member_is_asked_about_as_well() {
    let room = RoomId::parse("lobby").unwrap();
    let (ann, bob) = (ann(), account("bob"));
    let shard = Shard::new(state(Config::default()).gateway, 0);
    let kept = Kept::default();
    let holder = keeps(&kept, vec![Told::Synced(Box::new(synced(&room, 2)))]);
    let _holder = shard.gateway.bus.serve(Subject::Act(Partition(0)), holder).await.unwrap();
    shard.with(|state| {
        let id = comes(state, &ann);
        state.rooms.entry(room.clone()).or_default().begin(synced(&room, 1));
        state.go_live(id, &room);
        state.need_sync(room.clone(), SyncCause::Head);
    });
    let about_ann = asked(&kept).await;
    let bobs = shard.with(|state| {
        let id = comes(state, &bob);
        state.attach(id, &room, None);
        id
    });
    let members = |who: &Arc<Account>| {
        let members = vec![who.user.id.clone()];
        parcel::pack(&Told::Synced(Box::new(Synced { members, ..synced(&room, 2) })))
    };
    about_ann.send(members(&ann));
    asked(&kept).await.send(members(&bob));
    hubbub_testkit::eventually("it is read", async || {
        shard.with(|state| state.rooms[&room].syncing.is_none()).then_some(())
    })
    .await;
    shard.with(|state| {
        assert_eq!(state.log(&room), Some(LogId(2)));
        assert!(state.connection(bobs).unwrap().standing(&room).is_some(), "he is a member");
    });
}

/// A room in which Ann was from 6 to 8, as her shard knows it up to `head`.
fn was_in(state: &mut State, room: &RoomId, head: u64) -> Vec<Entry> {
    let her = |seq, says| Entry::new(room, Seq(seq), Millis(1), &ann().user, None, says);
    let mut entries = vec![her(6, Says::Join(None)), said(room, 7), her(8, Says::Leave { by: None })];
    let later = entries.split_off(head as usize - 5);
    let here = state.rooms.entry(room.clone()).or_default();
    let mut known = synced(room, 1);
    known.info.head = Seq(head);
    here.begin(known);
    entries.into_iter().for_each(|entry| here.recent.keep(entry));
    later
}

#[tokio::test]
async fn a_membership_that_is_told_twice_is_sent_once_though_its_leave_comes_between() {
    let room = RoomId::parse("lobby").unwrap();
    let user = ann().user.id.clone();
    let shard = Shard::new(state(Config::default()).gateway, 0);
    let left = Told::Synced(Box::new(synced(&room, 1)));
    let holder = keeps(&Kept::default(), vec![left.clone(), left]);
    let _holder = shard.gateway.bus.serve(Subject::Act(Partition(0)), holder).await.unwrap();
    let (id, leave) = shard.with(|state| (comes(state, &ann()), was_in(state, &room, 7)));
    // The holder's answer has overtaken the leave.
    shard.follow(&user, &room, Seq(6), vec![id]).await;
    let standing = |state: &mut State| state.connection(id).unwrap().standing(&room).copied();
    hubbub_testkit::eventually("she is sent it", async || {
        shard.with(|state| matches!(standing(state), Some(Standing::Live(_)))).then_some(())
    })
    .await;
    shard.with(|state| {
        state.take_entries(&room, leave);
        state.write_a_part();
        assert_eq!(standing(state), None);
    });
    shard.follow(&user, &room, Seq(6), vec![id]).await;
    assert_eq!(shard.with(standing), None, "it is sent once more");
}

#[tokio::test]
async fn a_connection_that_came_after_a_membership_was_over_is_not_sent_it() {
    let room = RoomId::parse("lobby").unwrap();
    let user = ann().user.id.clone();
    let shard = Shard::new(state(Config::default()).gateway, 0);
    let kept = Kept::default();
    let _holder =
        shard.gateway.bus.serve(Subject::Act(Partition(0)), keeps(&kept, Vec::new())).await.unwrap();
    let first = shard.with(|state| {
        was_in(state, &room, 8);
        comes(state, &ann())
    });
    let following = {
        let (shard, user, room) = (shard.clone(), user.clone(), room.clone());
        tokio::spawn(async move { shard.follow(&user, &room, Seq(6), vec![first]).await })
    };
    let reply = asked(&kept).await;
    // From another gateway, where it was sent all of it; its welcome was without the room.
    let later = shard.with(|state| comes(state, &ann()));
    reply.send(parcel::pack(&Told::Synced(Box::new(synced(&room, 1)))));
    following.await.unwrap();
    let waits = |state: &mut State, id| state.connection(id).unwrap().out.waiting();
    hubbub_testkit::eventually("the one that was there is sent it", async || {
        shard.with(|state| waits(state, first) > 0).then_some(())
    })
    .await;
    shard.with(|state| {
        assert_eq!(state.connection(later).unwrap().standing(&room).copied(), None);
        assert_eq!(waits(state, later), 0);
    });
}
