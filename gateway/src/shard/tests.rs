//! What a shard keeps and lets go of, looked at from inside.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use hubbub_core::entry::{Kept, RoomFacts};
use hubbub_core::ids::{Epoch, LogId, Millis, User};
use hubbub_core::ports::accounts::{Account, Role};
use hubbub_core::ports::bus::Payload;
use hubbub_core::room::RoomInfo;
use hubbub_wire::tier::act::Synced;
use hubbub_wire::tier::event::RoomMade;
use hubbub_wire::tier::parcel;
use smallvec::smallvec;
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::config::Config;
use crate::dialect::Passes;
use crate::ear::{EAR_BYTES_MAX, Heard};
use crate::http::tests::state;
use crate::member::{Standing, Transport};

fn shard(config: Config) -> Arc<Shard> {
    Shard::new(state(config).gateway, 0)
}

/// A connection that nobody reads.
pub(crate) fn unread(serial: u32) -> Connection {
    let socket = Socket::new(Transport::Polling(Notify::new()));
    Connection::new(serial, socket, IpAddr::V4(Ipv4Addr::LOCALHOST), 0)
}

/// Both ends of a connection: the client's, and ours.
pub(crate) async fn connected() -> (TcpStream, Arc<Socket>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let (client, accepted) =
        tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
    (client.unwrap(), Socket::new(Transport::WebSocket(accepted.unwrap().0)))
}

/// What the holder says of a room of Ann's that ends with entry 7.
pub(crate) fn synced(room: &RoomId, log: u128) -> Synced {
    let owner = UserId::parse("ann").unwrap();
    let facts = RoomFacts { name: "The lobby".into(), topic: "".into(), owner };
    let info = RoomInfo { id: room.clone(), facts, head: Seq(7), members: 1, kept: Kept::default() };
    Synced { info, log: LogId(log), epoch: Epoch(1), members: Vec::new(), erased: Seq(0) }
}

#[tokio::test]
async fn a_room_stays_while_somebody_is_on_their_way_into_it() {
    let room = RoomId::parse("lobby").unwrap();
    let long_ago = Instant::now().checked_sub(Duration::from_secs(1));
    for standing in [Standing::CatchingUp(1), Standing::Behind(Seq(3))] {
        shard(Config::default()).with(|state| {
            state.rooms.entry(room.clone()).or_default().empty_since = long_ago;
            let rooms = smallvec![(room.clone(), standing)];
            let id = state.insert(|serial| Connection { rooms, ..unread(serial) });
            state.drop_empty_rooms(Duration::ZERO);
            assert!(state.rooms.contains_key(&room), "{standing:?}");
            state.connections.remove(id.slot as usize);
            state.drop_empty_rooms(Duration::ZERO);
            assert!(!state.rooms.contains_key(&room), "{standing:?}, and gone");
        });
    }
}

#[tokio::test]
async fn when_a_join_does_not_fit_in_what_may_wait_it_is_read_who_joined_what() {
    let shard = shard(Config::default());
    let ann = UserId::parse("ann").unwrap();
    shard.with(|state| state.user(&ann).connections.push(ConnectionId { slot: 0, serial: 0 }));
    let doubts = |heard: Heard| {
        shard.ear.leave(heard, EAR_BYTES_MAX + 1);
        shard.take_turn();
        shard.with(|state| state.doubted.take())
    };
    // Whoever reads begins only when this task waits.
    assert_eq!(doubts(Heard::Heads(Payload::default())), None);
    assert_eq!(doubts(Heard::Joined(Payload::default())), Some(HashSet::from([ann])));
}

#[tokio::test]
async fn who_is_told_bye_is_told_first_what_their_rooms_were() {
    let room = RoomId::parse("lobby").unwrap();
    let user = User { id: UserId::parse("ann").unwrap(), name: "Ann".into() };
    let account = Arc::new(Account { user, roles: vec![Role::User], expires_at: Millis(0) });
    shard(Config::default()).with(|state| {
        let told = |state: &mut State, standing: Standing| {
            let (account, rooms) = (Some(account.clone()), smallvec![(room.clone(), standing)]);
            let id = state.insert(|serial| Connection { account, rooms, ..unread(serial) });
            let here = state.rooms.entry(room.clone()).or_default();
            here.members = vec![id.slot];
            state.pass(&room, Passes::Count(7));
            state.close(id, CloseCode::GoingAway, 1_000);
            state.connection(id).unwrap().out.waiting()
        };
        let only_bye = told(state, Standing::CatchingUp(1));
        assert!(only_bye > 0);
        assert!(told(state, Standing::Live(0)) > only_bye);
    });
}

#[tokio::test]
async fn for_one_who_watches_and_does_not_read_no_more_waits_than_may() {
    let config = Config { connection_bytes_max: 4_096, ..Config::default() };
    let made = RoomMade {
        id: RoomId::parse("lobby").unwrap(),
        name: "The lobby".into(),
        topic: "x".repeat(256).into(),
        owner: UserId::parse("ann").unwrap(),
    };
    shard(config).with(|state| {
        let id = state.insert(unread);
        state.watch(id, true);
        let mut tell = || {
            state.hear(Heard::RoomMade(parcel::pack(&made).into()));
            let connection = state.connection(id).unwrap();
            (connection.out.waiting(), connection.behind_since.is_some())
        };
        let (one, is_behind) = tell();
        assert!(one > 256 && !is_behind);
        for _ in 0..100 {
            tell();
        }
        let (all, is_behind) = tell();
        assert!(all <= 4_096 + one, "{all} bytes wait");
        assert!(is_behind, "it is closed in time, as any other slow consumer");
    });
}
