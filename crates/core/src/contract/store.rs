//! The contract of the `Store` port.

use std::sync::Arc;
use std::task::{Context, Waker};

use crate::entry::{Entry, Kept, RoomFacts, Says};
use crate::ids::{Epoch, Key, Millis, Partition, Partitions, RoomId, Seq, User, UserId};
use crate::limits::{Content, IMAGE_BYTES_MAX};
use crate::ports::store::{
    Append, DirectoryCursor, MemberChange, Projection, Read, RoomRow, Segment, Store, Stored,
};

/// Opens the store under test: each call the same stored data, after what the call before returned was dropped.
pub type Open<'a> = &'a mut dyn FnMut() -> Box<dyn Store>;

pub(super) const ALL: usize = usize::MAX;

pub(super) fn id(room: &str) -> RoomId {
    RoomId::parse(room).expect("a room")
}

fn user(id: &str) -> User {
    User { id: UserId::parse(id).expect("a user"), name: format!("name of {id}").into() }
}

pub(super) fn entry(room: &str, seq: u64, text: &str) -> Entry {
    let content = Content::text(text.into()).expect("a text");
    let key = Key::parse(&format!("key-{seq}")).expect("a key");
    Entry::new(&id(room), Seq(seq), Millis(1_000 + seq), &user("ann"), Some(key), Says::Message(&content))
}

pub(super) fn entries(room: &str, seqs: impl IntoIterator<Item = u64>) -> Vec<Entry> {
    seqs.into_iter().map(|seq| entry(room, seq, &format!("{seq} in {room}"))).collect()
}

pub(super) async fn append(store: &dyn Store, room: &str, epoch: u64, entries: Vec<Entry>) {
    let append = Append { room: id(room), epoch: Epoch(epoch), entries };
    store.append(append).await.expect("appended");
}

fn range(room: &str, epoch: u64, seqs: std::ops::RangeInclusive<u64>) -> Read {
    Read { room: id(room), epoch: Epoch(epoch), seqs, bytes_max: ALL }
}

pub(super) async fn read(
    store: &dyn Store,
    room: &str,
    epoch: u64,
    seqs: std::ops::RangeInclusive<u64>,
) -> Vec<Entry> {
    store.read(range(room, epoch, seqs)).await.expect("read")
}

fn segment(epoch: u64, start: u64, prev: u64) -> Segment {
    Segment { epoch: Epoch(epoch), start: Seq(start), prev: (prev > 0).then_some(Epoch(prev)) }
}

fn facts(name: &str) -> RoomFacts {
    RoomFacts { name: name.into(), topic: "what we talk about".into(), owner: user("ann").id }
}

fn change(id: &str, seq: u64, member: bool) -> MemberChange {
    MemberChange { user: user(id), seq: Seq(seq), member }
}

/// A first projection of a room, made at `created_at`, up to `mark`.
pub(super) fn made(room: &str, created_at: u64, mark: u64) -> Projection {
    Projection {
        room: id(room),
        facts: Some(facts(room)),
        created_at: Some(Millis(created_at)),
        members: vec![],
        member_count: 0,
        mark: Seq(mark),
        mark_at: Millis(created_at + mark),
        erased: None,
        kept: None,
    }
}

/// A later projection that says who came and went.
pub(super) fn later(room: &str, mark: u64, members: Vec<MemberChange>) -> Projection {
    Projection {
        room: id(room),
        facts: None,
        created_at: None,
        members,
        member_count: mark,
        mark: Seq(mark),
        mark_at: Millis(mark),
        erased: None,
        kept: None,
    }
}

async fn members_of(store: &dyn Store, room: &str) -> Vec<(String, u64)> {
    let rows = store.members(id(room), None, ALL).await.expect("members");
    rows.into_iter().map(|row| (row.user.id.as_str().to_owned(), row.joined.0)).collect()
}

async fn rooms_of(store: &dyn Store, user: &str) -> Vec<(String, u64)> {
    let rows = store.rooms_of(UserId::parse(user).expect("a user"), None, ALL).await.expect("rooms");
    rows.into_iter().map(|row| (row.room.as_str().to_owned(), row.joined.0)).collect()
}

/// A store is itself after it was opened again, and another store is another one.
pub async fn a_store_has_one_log_id_for_ever(open: Open<'_>, open_another: Open<'_>) {
    let first = open().log_id();
    assert_eq!(open().log_id(), first);
    assert_ne!(open_another().log_id(), first);
}

/// The number of partitions is what was said first.
pub async fn the_number_of_partitions_is_the_first_one(store: &dyn Store) {
    let (first, other) = (Partitions::new(7).expect("not 0"), Partitions::new(8).expect("not 0"));
    assert_eq!(store.partitions(first).await.expect("kept"), first);
    assert_eq!(store.partitions(other).await.expect("kept"), first, "a later number counted");
}

/// A claim is higher than all before it, and the fence names the newest; 0 where nobody claimed.
pub async fn a_claim_is_higher_than_any_before(store: &dyn Store) {
    let (p, q) = (Partition(7), Partition(u16::MAX));
    assert_eq!(store.fence(p).await.expect("a fence"), Epoch(0));
    let mut last = Epoch(0);
    for _ in 0..3 {
        let epoch = store.claim(p).await.expect("claimed");
        assert!(epoch > last, "{epoch} after {last}");
        assert_eq!(store.fence(p).await.expect("a fence"), epoch);
        last = epoch;
    }
    assert_eq!(store.fence(q).await.expect("a fence"), Epoch(0), "partitions share no fence");
    let claims: Vec<_> = (0..20).map(|_| store.claim(q)).collect();
    let mut epochs = Vec::new();
    for claim in claims {
        epochs.push(claim.await.expect("claimed"));
    }
    let highest = epochs.iter().max().copied().expect("twenty");
    epochs.sort();
    epochs.dedup();
    assert_eq!(epochs.len(), 20, "no two claims get the same number");
    assert_eq!(store.fence(q).await.expect("a fence"), highest);
    assert_eq!(store.fence(p).await.expect("a fence"), last);
}

/// Claims are remembered, and every start can claim higher.
pub async fn a_claim_survives(open: Open<'_>) {
    let p = Partition(3);
    let mut last = Epoch(0);
    for _ in 0..3 {
        let store = open();
        assert_eq!(store.fence(p).await.expect("a fence"), last);
        let epoch = store.claim(p).await.expect("claimed");
        assert!(epoch > last, "{epoch} after {last}");
        last = epoch;
    }
}

/// Entries are read as they were written: ascending, both ends included, and nothing of what nobody wrote.
pub async fn entries_are_read_as_they_were_written(store: &dyn Store) {
    assert_eq!(read(store, "lobby", 1, 1..=u64::MAX).await, []);
    let facts = facts("lobby");
    let said = Content::image(format!("data:image/png;base64,{}", "A".repeat(IMAGE_BYTES_MAX)));
    let (room, ann) = (id("lobby"), user("ann"));
    let mut all = vec![
        Entry::new(&room, Seq(1), Millis(5), &ann, None, Says::Join(Some(&facts))),
        Entry::new(&room, Seq(2), Millis(5), &ann, None, Says::Message(&said.expect("an image"))),
    ];
    append(store, "lobby", 1, all.clone()).await;
    for seq in 3..=300 {
        let text = "long ".repeat(if seq % 50 == 0 { 800 } else { 1 });
        all.push(entry("lobby", seq, &text));
        append(store, "lobby", 1, all[all.len() - 1..].to_vec()).await;
    }
    assert_eq!(read(store, "lobby", 1, 0..=u64::MAX).await, all);
    assert_eq!(read(store, "lobby", 1, 1..=2).await, all[..2]);
    assert_eq!(read(store, "lobby", 1, 7..=7).await, all[6..7]);
    assert_eq!(read(store, "lobby", 1, 251..=300).await, all[250..]);
    assert_eq!(read(store, "lobby", 1, 290..=400).await, all[289..]);
    assert_eq!(read(store, "lobby", 1, 301..=u64::MAX).await, []);
    #[expect(clippy::reversed_empty_ranges, reason = "an empty range is the case")]
    let none = 9..=8;
    assert_eq!(read(store, "lobby", 1, none).await, []);
}

/// Logs of rooms do not touch each other, however alike their ids are; nor do the rows of two epochs of one room.
pub async fn each_room_and_epoch_has_its_own_rows(store: &dyn Store) {
    let rooms = ["a", "A", "a-", "a_", "aa", "-", "0"];
    for room in rooms {
        append(store, room, 1, entries(room, 1..=3)).await;
        append(store, room, 2, vec![entry(room, 3, "another third"), entry(room, 4, "fourth")]).await;
    }
    for room in rooms {
        assert_eq!(read(store, room, 1, 1..=9).await, entries(room, 1..=3));
        assert_eq!(
            read(store, room, 2, 1..=9).await,
            [entry(room, 3, "another third"), entry(room, 4, "fourth")]
        );
        assert_eq!(read(store, room, 3, 1..=9).await, []);
    }
}

/// A write may come again, in part, later, and after rows that follow it: the rows are there once.
pub async fn a_write_may_be_repeated_in_any_order(store: &dyn Store) {
    append(store, "r", 4, entries("r", 8..=9)).await;
    append(store, "r", 4, entries("r", 1..=5)).await;
    assert_eq!(read(store, "r", 4, 1..=9).await, entries("r", [1, 2, 3, 4, 5, 8, 9]), "a gap is shown");
    append(store, "r", 4, entries("r", 4..=8)).await;
    append(store, "r", 4, entries("r", 1..=9)).await;
    assert_eq!(read(store, "r", 4, 1..=u64::MAX).await, entries("r", 1..=9));
    for _ in 0..2 {
        store.put_segment(id("r"), segment(4, 1, 0)).await.expect("put");
    }
    assert_eq!(store.segments(id("r")).await.expect("segments"), [segment(4, 1, 0)]);
}

/// A read stops after the row with which its bytes are reached, has at least one row, and can be gone on with.
pub async fn a_read_stops_when_its_bytes_are_reached(store: &dyn Store) {
    let all: Vec<_> = (1..=40).map(|seq| entry("r", seq, &"x".repeat(1_000))).collect();
    append(store, "r", 1, all.clone()).await;
    for bytes_max in [0, 1, 1_001, 5_000, 10_000, 39_000] {
        let mut found = Vec::new();
        while found.len() < all.len() {
            let from = found.len() as u64 + 1;
            let page = store.read(Read { bytes_max, ..range("r", 1, from..=40) }).await.expect("read");
            let bytes: usize = page.iter().map(|e| e.json.len()).sum();
            assert!(!page.is_empty(), "at least one row");
            assert!(bytes <= bytes_max + 2_000, "{bytes} bytes where {bytes_max} were asked for");
            found.extend(page);
        }
        assert_eq!(found, all);
    }
}

/// A read that begins after a write returned sees it, also when many write at once.
pub async fn a_read_sees_what_was_written_before_it(store: &dyn Store) {
    for seq in 1..=20 {
        let rooms: Vec<_> = (0..30).map(|n| format!("room-{n}")).collect();
        let writes: Vec<_> = rooms
            .iter()
            .map(|room| {
                store.append(Append { room: id(room), epoch: Epoch(1), entries: entries(room, [seq]) })
            })
            .collect();
        for (write, room) in writes.into_iter().zip(&rooms) {
            write.await.expect("appended");
            assert_eq!(read(store, room, 1, 1..=seq).await, entries(room, 1..=seq));
        }
    }
}

/// The segments of a room are listed by epoch, with what was written; those of other rooms are not among them.
pub async fn segments_are_listed_by_epoch(store: &dyn Store) {
    assert_eq!(store.segments(id("r")).await.expect("segments"), []);
    let put = [segment(12, 30, 9), segment(2, 1, 0), segment(9, 4, 2)];
    for segment in put {
        store.put_segment(id("r"), segment).await.expect("put");
        store.put_segment(id("R"), Segment { prev: None, ..segment }).await.expect("put");
    }
    let listed = store.segments(id("r")).await.expect("segments");
    assert_eq!(listed, [segment(2, 1, 0), segment(9, 4, 2), segment(12, 30, 9)]);
}

/// What was acknowledged is there after the store was opened again: log, segments, projections.
pub async fn what_was_acked_survives(open: Open<'_>) {
    let mut written = Vec::new();
    for epoch in 1..=3u64 {
        let store = open();
        let store = &*store;
        for room in ["a", "b"] {
            let start = (epoch - 1) * 10 + 1;
            written.push((room, epoch, start));
            store.put_segment(id(room), segment(epoch, start, epoch - 1)).await.expect("put");
            append(store, room, epoch, entries(room, start..start + 10)).await;
            let projection = match epoch {
                1 => Projection { members: vec![change("ann", 1, true)], ..made(room, 1, 10) },
                _ => later(room, start + 9, vec![change(&format!("m{epoch}"), start, true)]),
            };
            store.project(projection).await.expect("projected");
        }
    }
    let store = open();
    for (room, epoch, start) in written {
        let rows = read(&*store, room, epoch, 1..=u64::MAX).await;
        assert_eq!(rows, entries(room, start..start + 10));
    }
    for room in ["a", "b"] {
        let segments = store.segments(id(room)).await.expect("segments");
        assert_eq!(segments, [segment(1, 1, 0), segment(2, 11, 1), segment(3, 21, 2)]);
        let row = store.room(id(room)).await.expect("a room").expect("is there");
        let expected = RoomRow {
            room: id(room),
            facts: facts(room),
            created_at: Millis(1),
            member_count: 30,
            mark: Seq(30),
            mark_at: Millis(30),
            erased: Seq(0),
            kept: (Kept::default(), Seq(0)),
            trimmed: Seq(0),
        };
        assert_eq!(row, expected);
        let members = members_of(&*store, room).await;
        assert_eq!(members, [("ann".into(), 1), ("m2".into(), 11), ("m3".into(), 21)]);
    }
}

/// A projection is seen as soon as it returned: the room, its members, their rooms, the directory.
pub async fn a_projection_is_seen_when_it_returned(store: &dyn Store) {
    assert_eq!(store.room(id("r")).await.expect("a room"), None);
    let first = Projection { members: vec![change("ann", 1, true)], member_count: 1, ..made("r", 50, 1) };
    store.project(first).await.expect("projected");
    let row = store.room(id("r")).await.expect("a room").expect("is there");
    assert_eq!((row.facts, row.created_at, row.member_count), (facts("r"), Millis(50), 1));
    assert_eq!((row.mark, row.mark_at), (Seq(1), Millis(51)));
    for seq in 2..=10 {
        let member = seq % 2 == 0;
        store.project(later("r", seq, vec![change("bob", seq, member)])).await.expect("projected");
        let bob = if member { vec![("r".to_owned(), seq)] } else { vec![] };
        assert_eq!(rooms_of(store, "bob").await, bob);
        assert_eq!(members_of(store, "r").await.len(), 1 + bob.len());
        let row = store.room(id("r")).await.expect("a room").expect("is there");
        assert_eq!((row.mark, row.member_count), (Seq(seq), seq));
        assert_eq!(store.directory(None, ALL).await.expect("directory"), [row]);
    }
    let members = store.members(id("r"), None, ALL).await.expect("members");
    assert_eq!(members.iter().map(|m| &m.user).collect::<Vec<_>>(), [&user("ann"), &user("bob")]);
}

/// Projections are ordered by seq: one that is late, or comes again, changes nothing newer, and brings what is new in it.
pub async fn a_late_projection_changes_nothing_newer(store: &dyn Store) {
    let oldest =
        Projection { members: vec![change("ann", 1, true), change("bob", 4, true)], ..made("r", 7, 5) };
    let renamed = Projection {
        facts: Some(RoomFacts { topic: "new".into(), ..facts("r") }),
        ..later("r", 9, vec![change("ann", 8, false), change("cat", 9, true)])
    };
    let newest = later("r", 20, vec![change("bob", 15, false), change("ann", 20, true)]);
    store.project(oldest.clone()).await.expect("projected");
    store.project(newest.clone()).await.expect("projected");
    for again in [&renamed, &oldest, &newest, &renamed, &oldest] {
        store.project(again.clone()).await.expect("projected");
        let row = store.room(id("r")).await.expect("a room").expect("is there");
        assert_eq!((row.mark, row.mark_at, row.member_count), (Seq(20), Millis(20), 20));
        assert_eq!((&*row.facts.topic, row.created_at), ("new", Millis(7)));
        assert_eq!(members_of(store, "r").await, [("ann".into(), 20), ("cat".into(), 9)]);
        assert_eq!(rooms_of(store, "bob").await, []);
        assert_eq!(rooms_of(store, "ann").await, [("r".into(), 20)]);
    }
}

/// Members come by ascending id, in pages that join exactly; those who left are not among them.
pub async fn members_come_in_pages(store: &dyn Store) {
    let joined = (1..=25).map(|n| change(&format!("m{n:02}"), n, true));
    let members = joined.chain((1..=25).step_by(5).map(|n| change(&format!("m{n:02}"), n + 25, false)));
    for member in members {
        let projection = Projection { members: vec![member.clone()], ..made("r", 1, member.seq.0) };
        store.project(projection.clone()).await.expect("projected");
        store.project(Projection { room: id("other"), ..projection }).await.expect("projected");
    }
    store
        .project(Projection { members: vec![change("m01x", 1, true)], ..made("r2", 1, 1) })
        .await
        .expect("projected");
    let expected: Vec<_> = (1..=25).filter(|n| n % 5 != 1).map(|n| (format!("m{n:02}"), n)).collect();
    assert_eq!(members_of(store, "r").await, expected);
    let (mut after, mut found) = (None, Vec::new());
    loop {
        let page = store.members(id("r"), after.clone(), 3).await.expect("members");
        assert!(page.len() <= 3);
        let Some(last) = page.last() else { break };
        after = Some(last.user.id.clone());
        found.extend(page.into_iter().map(|row| (row.user.id.as_str().to_owned(), row.joined.0)));
    }
    assert_eq!(found, expected);
    assert_eq!(store.members(id("nobody"), None, 3).await.expect("members"), []);
    assert_eq!(store.members(id("r"), None, 0).await.expect("members"), []);
}

/// A user's rooms come by ascending id, in pages that join exactly.
pub async fn rooms_of_a_user_come_in_pages(store: &dyn Store) {
    for n in 1..=20u64 {
        let members = vec![change("ann", n, true), change("ann2", n, true), change("bob", n, n % 2 == 0)];
        let room = format!("r{n:02}");
        store.project(Projection { members, ..made(&room, n, n) }).await.expect("projected");
    }
    let expected: Vec<_> = (1..=20).map(|n| (format!("r{n:02}"), n)).collect();
    assert_eq!(rooms_of(store, "ann").await, expected);
    assert_eq!(rooms_of(store, "bob").await.len(), 10);
    assert_eq!(rooms_of(store, "an").await, []);
    let (mut after, mut found) = (None, Vec::new());
    loop {
        let page = store.rooms_of(user("ann").id, after.clone(), 7).await.expect("rooms");
        assert!(page.len() <= 7);
        let Some(last) = page.last() else { break };
        after = Some(last.room.clone());
        found.extend(page.into_iter().map(|row| (row.room.as_str().to_owned(), row.joined.0)));
    }
    assert_eq!(found, expected);
}

/// The rooms that a user is or was in come by ascending id, in pages that join exactly.
pub async fn rooms_that_a_user_was_ever_in_come_in_pages(store: &dyn Store) {
    for n in 1..=20u64 {
        let members = vec![change("ann", n, true), change("ann2", n, true), change("bob", n, n % 2 == 0)];
        let room = format!("r{n:02}");
        store.project(Projection { members, ..made(&room, n, n) }).await.expect("projected");
        let gone = vec![change("ann", n + 1, n % 3 == 0)];
        store.project(later(&room, n + 1, gone)).await.expect("projected");
    }
    let all: Vec<_> = (1..=20).map(|n| id(&format!("r{n:02}"))).collect();
    for (user_id, limit) in [("ann", 7), ("ann", ALL), ("bob", 1)] {
        let (mut after, mut found) = (None, Vec::new());
        loop {
            let page = store.rooms_ever_of(user(user_id).id, after.clone(), limit).await.expect("rooms");
            assert!(page.len() <= limit);
            let Some(last) = page.last() else { break };
            after = Some(last.clone());
            found.extend(page);
        }
        assert_eq!(found, all, "{user_id}");
    }
    assert_eq!(store.rooms_ever_of(user("an").id, None, ALL).await.expect("rooms"), []);
    assert_eq!(rooms_of(store, "ann").await.len(), 6);
}

/// The directory has every room once, the newest first, in pages that join exactly, also for rooms made at the same instant.
pub async fn the_directory_comes_in_pages_newest_first(store: &dyn Store) {
    for n in 0..40u64 {
        store.project(made(&format!("r{n}"), 100 + n / 8, 1)).await.expect("projected");
    }
    let all = store.directory(None, ALL).await.expect("directory");
    assert_eq!(all.len(), 40);
    assert!(all.is_sorted_by(|a, b| a.created_at >= b.created_at), "newest first");
    for limit in [1, 3, 8, 39] {
        let (mut after, mut found) = (None, Vec::new());
        loop {
            let page = store.directory(after.clone(), limit).await.expect("directory");
            assert!(page.len() <= limit);
            let Some(last) = page.last() else { break };
            after = Some(DirectoryCursor { created_at: last.created_at, room: last.room.clone() });
            found.extend(page);
        }
        assert_eq!(found, all);
    }
}

/// A write whose future was dropped may be there or not; it is not there in part, and can be repeated.
pub async fn a_dropped_write_is_unknown_and_repeatable(store: &dyn Store) {
    for seq in (1..=50).step_by(5) {
        let append = Append { room: id("r"), epoch: Epoch(1), entries: entries("r", seq..seq + 5) };
        let mut write = store.append(append);
        if seq % 2 == 0 {
            let _ = write.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        }
    }
    let found = read(store, "r", 1, 1..=u64::MAX).await;
    let expected: Vec<_> = entries("r", 1..=50).into_iter().filter(|e| found.contains(e)).collect();
    assert_eq!(found, expected, "what is there is what was written");
    append(store, "r", 1, entries("r", 1..=50)).await;
    assert_eq!(read(store, "r", 1, 1..=u64::MAX).await, entries("r", 1..=50));
}

/// A store that works says so.
pub async fn a_working_store_says_so(store: &dyn Store) {
    let checked: Stored<()> = store.check().await;
    checked.expect("works");
    append(store, "r", 1, entries("r", [1])).await;
    store.check().await.expect("works");
}

/// Many may use one store at once.
pub async fn a_store_is_shared(store: Arc<dyn Store>) {
    let threads: Vec<_> = (0..4)
        .map(|n| {
            let store = store.clone();
            std::thread::spawn(move || {
                let room = format!("room-{n}");
                let writes: Vec<_> = entries(&room, 1..=50)
                    .into_iter()
                    .map(|entry| Append { room: id(&room), epoch: Epoch(1), entries: vec![entry] })
                    .collect();
                for write in writes {
                    drop(store.append(write));
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().expect("no panic");
    }
    for n in 0..4 {
        let room = format!("room-{n}");
        append(&*store, &room, 1, entries(&room, 1..=50)).await;
        assert_eq!(read(&*store, &room, 1, 1..=50).await, entries(&room, 1..=50));
    }
}
