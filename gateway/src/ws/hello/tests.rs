//! Hellos that meet something: a leave, a join that no list shows, another gateway that was quicker.

use hubbub_core::entry::{Entry, Says};
use hubbub_core::ids::{Millis, Partition, User};
use hubbub_core::limits::Content;
use hubbub_core::ports::bus::{Message, Reply, Subject};
use hubbub_wire::tier::act::Told;
use hubbub_wire::tier::parcel;
use hubbub_wire::tier::query::{Found, Joined, Query, Range};
use tokio::io::AsyncReadExt;

use super::*;
use crate::config::Config;
use crate::http::tests::state;
use crate::member::Connection;
use crate::shard::tests::{connected, synced, unread};

#[tokio::test]
async fn the_welcome_of_a_thousand_rooms_is_below_what_stock_clients_take() {
    let shard = Shard::new(state(Config::default()).gateway, 0);
    let account = Account {
        user: User { id: UserId::parse("ann").unwrap(), name: "Ann".into() },
        roles: Vec::new(),
        expires_at: Millis(u64::MAX),
    };
    let rooms: Vec<_> = (0..1_000).map(|n| RoomId::parse(&format!("{n:064}")).unwrap()).collect();
    for topic in ["\"".repeat(256), "\u{1f375}".repeat(256)] {
        let (frame, topics) = shard.with(|state| {
            for room in &rooms {
                let mut synced = synced(room, 1);
                synced.info.facts.name = "\u{1f375}".repeat(80).into();
                synced.info.facts.topic = topic.as_str().into();
                state.rooms.entry(room.clone()).or_default().begin(synced);
            }
            let shown = state.shown_in_welcome(&rooms);
            let topics = shown.iter().filter(|room| room.topic.is_some()).count();
            (shard.welcome_frame(&None, &account, shown, Some(LogId(1))), topics)
        });
        assert_eq!(topics, (TOPICS_BYTES_MAX / topic.len()).min(rooms.len()));
        assert!(frame.len() < 1024 * 1024, "{} bytes", frame.len());
    }
}

#[tokio::test]
async fn what_waits_for_the_end_of_the_turn_is_part_of_what_is_resumed() {
    let (mut client, socket) = connected().await;
    let room = RoomId::parse("lobby").unwrap();
    let ann = User { id: UserId::parse("ann").unwrap(), name: "Ann".into() };
    let said = |seq| {
        let content = Content::text(format!("text {seq}")).unwrap();
        Entry::new(&room, Seq(seq), Millis(1), &ann, None, Says::Message(&content))
    };
    let account = Arc::new(Account { user: ann.clone(), roles: Vec::new(), expires_at: Millis(u64::MAX) });
    let shard = Shard::new(state(Config::default()).gateway, 0);
    let id = shard.with(|state| {
        let user = state.user(&ann.id).number;
        let connection =
            |serial| Connection { socket, user, account: Some(account.clone()), ..unread(serial) };
        let id = state.insert(connection);
        state.user(&ann.id).connections.push(id);
        let here = state.rooms.entry(room.clone()).or_default();
        here.begin(synced(&room, 1));
        [5, 6, 7].into_iter().for_each(|seq| here.recent.keep(said(seq)));
        state.go_live(id, &room);
        // It is told with the end of the turn, which is not yet.
        state.take_entries(&room, vec![said(8)]);
        let resume = Resume { rooms: HashMap::from([(room.clone(), Seq(5))]), log: None };
        shard.welcome_again(state, id, &None, &account, &resume);
        id
    });
    hubbub_testkit::eventually("it is live again", async || {
        shard.with(|state| {
            state.write_a_part();
            let standing = state.connection(id)?.standing(&room).copied()?;
            matches!(standing, Standing::Live(_)).then_some(())
        })
    })
    .await;
    let socket = shard.with(|state| {
        state.take_entries(&room, vec![said(9)]);
        state.write_a_part();
        state.connections.remove(id.slot as usize).socket
    });
    socket2::SockRef::from(socket.stream().unwrap()).shutdown(std::net::Shutdown::Write).unwrap();
    let mut told = Vec::new();
    client.read_to_end(&mut told).await.unwrap();
    let told = String::from_utf8_lossy(&told);
    let number = |rest: &str| rest.split(|c: char| !c.is_ascii_digit()).next().unwrap().parse().unwrap();
    let seqs: Vec<u64> = told.split("\"seq\":").skip(1).map(number).collect();
    assert_eq!(seqs, [6, 7, 8, 9], "{told}");
}

fn user(id: &str) -> User {
    User { id: UserId::parse(id).unwrap(), name: id.into() }
}

fn said(room: &RoomId, seq: u64, text: &str) -> Entry {
    let content = Content::text(text.to_owned()).unwrap();
    Entry::new(room, Seq(seq), Millis(1), &user("bob"), None, Says::Message(&content))
}

/// Another gateway was quicker: the client names its own leave, which is heard here only for this hello.
#[tokio::test]
async fn who_was_removed_in_this_turn_is_not_brought_back_by_a_second_hello() {
    let room = RoomId::parse("lobby").unwrap();
    let ann = user("ann");
    let account = Arc::new(Account { user: ann.clone(), roles: Vec::new(), expires_at: Millis(u64::MAX) });
    let shard = Shard::new(state(Config::default()).gateway, 0);
    shard.with(|state| {
        let number = state.user(&ann.id).number;
        let id = state.insert(|serial| Connection {
            user: number,
            account: Some(account.clone()),
            ..unread(serial)
        });
        state.user(&ann.id).connections.push(id);
        state.user(&ann.id).joined.insert(room.clone(), Seq(2));
        state.rooms.entry(room.clone()).or_default().begin(synced(&room, 1));
        state.go_live(id, &room);
        let by = Some(&user("bob"));
        let removed = Entry::new(&room, Seq(8), Millis(1), &ann, None, Says::Leave { by });
        state.take_entries(&room, vec![removed]);
        let resume = Resume { rooms: HashMap::from([(room.clone(), Seq(8))]), log: None };
        shard.welcome_again(state, id, &None, &account, &resume);
        state.write_a_part();
        assert_eq!(state.connection(id).unwrap().standing(&room).copied(), None);
        let waits = state.connection(id).unwrap().out.waiting();
        state.take_entries(&room, vec![said(&room, 9, "secret")]);
        state.write_a_part();
        assert_eq!(state.connection(id).unwrap().out.waiting(), waits, "what follows a removal is sent");
    });
}

#[tokio::test]
async fn between_a_leave_and_a_join_that_no_list_shows_nothing_is_sent() {
    Box::pin(returns_after_a_leave(&[])).await;
    // Nor where the list is so late that it has the membership before.
    Box::pin(returns_after_a_leave(&[Seq(1)])).await;
}

/// Ann saw her own leave at 3, and joined again at 6; a list has her joins as it is told.
async fn returns_after_a_leave(listed: &[Seq]) {
    let (mut client, socket) = connected().await;
    let room = RoomId::parse("lobby").unwrap();
    let ann = user("ann");
    let log: Vec<Entry> = (1..=7)
        .map(|seq| match seq {
            3 => Entry::new(&room, Seq(seq), Millis(1), &ann, None, Says::Leave { by: None }),
            6 => Entry::new(&room, Seq(seq), Millis(1), &ann, None, Says::Join(None)),
            _ => said(&room, seq, &format!("text {seq}")),
        })
        .collect();
    let shard = Shard::new(state(Config::default()).gateway, 0);
    let mut held = synced(&room, 1);
    held.members = vec![ann.id.clone()];
    let told = parcel::pack(&Told::Synced(Box::new(held)));
    let holder = Arc::new(move |_: Message, reply: Reply| reply.send(told.clone()));
    let _holder = shard.gateway.bus.serve(Subject::Act(Partition(0)), holder).await.unwrap();
    let joined = |seq: &Seq| Joined { room: room.clone(), seq: *seq };
    let (of, rooms) = (room.clone(), listed.iter().map(joined).collect::<Vec<_>>());
    let history = Arc::new(move |mut message: Message, reply: Reply| {
        match parcel::header(&mut message.payload).unwrap() {
            // The join was told, and its holder died before the lists had it.
            Query::RoomsOf { .. } => reply.send(parcel::pack(&Found::RoomsOf { rooms: rooms.clone() })),
            Query::Replay(replay) => {
                let Range::After(after) = replay.range else { panic!("{replay:?}") };
                let page = log.iter().filter(|entry| entry.seq > after).take(replay.limit as usize);
                let header = Found::Page { more: false, next: None, first: Seq(0) };
                reply.send(parcel::pack_with(&header, &of, page));
            }
            other => panic!("{other:?}"),
        }
    });
    let _history = shard.gateway.bus.serve(Subject::Query, history).await.unwrap();
    tokio::spawn(shard.clone().run());
    let id = shard.with(|state| state.insert(|serial| Connection { socket, ..unread(serial) }));
    let resume = Resume { rooms: HashMap::from([(room.clone(), Seq(3))]), log: None };
    shard.greet(id, &None, Some(Secret::new("ann".into())), resume).await.unwrap();
    let (mut told, mut some) = (String::new(), [0; 16 * 1_024]);
    while !told.contains("\"seq\":7") {
        let n = hubbub_testkit::in_time("the last entry", client.read(&mut some)).await.unwrap();
        told.push_str(&String::from_utf8_lossy(&some[..n]));
    }
    assert!(told.contains("\"seq\":6") && !told.contains("text 4") && !told.contains("text 5"), "{told}");
}
