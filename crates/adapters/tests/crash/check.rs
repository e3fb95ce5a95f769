//! What can only have been written, and the comparison of a store with it.

use std::collections::BTreeMap;

use hubbub_core::chain::pieces;
use hubbub_core::entry::{Entry, RoomFacts, Says};
use hubbub_core::ids::{Epoch, Millis, RoomId, Seq, User, UserId};
use hubbub_core::limits::Content;
use hubbub_core::ports::store::{MemberChange, Projection, Read, Store};

/// Users that come and go in each room.
const USERS: u64 = 7;

pub fn room(n: u64) -> RoomId {
    RoomId::parse(&format!("room-{n}")).unwrap()
}

fn user(n: u64) -> User {
    User { id: UserId::parse(&format!("user-{n}")).unwrap(), name: format!("User {n}").into() }
}

fn facts(room: &RoomId) -> RoomFacts {
    RoomFacts { name: format!("Room {room}").into(), topic: "".into(), owner: user(1).id }
}

/// The one entry that can be there. Now and then a large one, which takes another way through the store.
pub fn entry(room: &RoomId, epoch: Epoch, seq: u64) -> Entry {
    let length = if seq.is_multiple_of(97) { 40_000 } else { 8 + seq % 300 };
    let filler: String = (0..length).map(|n| char::from(b'a' + ((n + seq) % 26) as u8)).collect();
    let content = match seq % 97 {
        0 => Content::image(format!("data:image/png;base64,{filler}")).unwrap(),
        _ => Content::text(format!("{room}/{epoch}/{seq} {filler}")).unwrap(),
    };
    Entry::new(room, Seq(seq), Millis(seq), &user(seq % USERS), None, Says::Message(&content))
}

/// Each entry is taken for the coming or going of one user.
fn is_member(seq: u64) -> bool {
    (seq / USERS).is_multiple_of(2)
}

/// Who is a member at `mark`, with the seq of their join.
pub fn members_at(mark: u64) -> BTreeMap<String, u64> {
    let last_words = (0..USERS.min(mark)).map(|back| mark - back);
    last_words
        .filter(|seq| is_member(*seq))
        .map(|seq| (user(seq % USERS).id.as_str().to_owned(), seq))
        .collect()
}

/// What a holder would project after the entries up to `mark`.
pub fn projection(room: &RoomId, mark: u64) -> Projection {
    let seqs = (0..USERS.min(mark)).map(|back| mark - back);
    let members =
        seqs.map(|seq| MemberChange { user: user(seq % USERS), seq: Seq(seq), member: is_member(seq) });
    Projection {
        room: room.clone(),
        facts: Some(facts(room)),
        created_at: Some(Millis(1)),
        members: members.collect(),
        member_count: members_at(mark).len() as u64,
        mark: Seq(mark),
        mark_at: Millis(mark),
        erased: None,
        kept: None,
    }
}

/// What was acked.
#[derive(Debug, Default, Clone)]
pub struct Acked {
    /// By room: the epoch of each seq.
    pub entries: BTreeMap<u64, BTreeMap<u64, u64>>,
    /// By room: the highest mark.
    pub marks: BTreeMap<u64, u64>,
}

/// The log of a room as a holder would recover it. An error when the store says that something is damaged, or a reader
/// that knows its business does.
pub async fn read_log(store: &dyn Store, room: &RoomId) -> Result<Vec<(Epoch, Entry)>, String> {
    let said = |error: &dyn std::fmt::Display| format!("damaged: {room}: {error}");
    let segments = store.segments(room.clone()).await.map_err(|e| said(&e))?;
    let Some(newest) = segments.last() else { return Ok(vec![]) };
    let read = |epoch, seqs| Read { room: room.clone(), epoch, seqs, bytes_max: usize::MAX };
    let tail = store.read(read(newest.epoch, newest.start.0..=u64::MAX)).await.map_err(|e| said(&e))?;
    let end = tail.last().map_or(newest.start.0 - 1, |entry| entry.seq.0);
    let mut log = Vec::new();
    for piece in pieces(&segments, newest.epoch, 1..=end).map_err(|e| said(&e))? {
        let rows = store.read(read(piece.epoch, piece.seqs)).await.map_err(|e| said(&e))?;
        log.extend(rows.into_iter().map(|entry| (piece.epoch, entry)));
    }
    match log.iter().zip(1..).find(|((_, entry), seq)| entry.seq.0 != *seq) {
        Some((_, seq)) => Err(said(&format!("entry {seq} is missing"))),
        None if log.len() as u64 != end => Err(said(&format!("entry {} is missing", log.len() + 1))),
        None => Ok(log),
    }
}

/// What is wrong in a room, if something is: `Ok` with its head, `Err` with a sentence. One that begins with
/// "damaged" is what a reader was told; any other is a broken promise.
pub async fn check_room(store: &dyn Store, n: u64) -> Result<u64, String> {
    let room = room(n);
    let log = read_log(store, &room).await?;
    for (epoch, found) in &log {
        if *found != entry(&room, *epoch, found.seq.0) {
            return Err(format!("{room}: entry {} is not what was written", found.seq));
        }
    }
    let head = log.len() as u64;
    let damaged = |e: hubbub_core::ports::store::StoreError| format!("damaged: {room}: {e}");
    let Some(row) = store.room(room.clone()).await.map_err(damaged)? else { return Ok(head) };
    let mark = row.mark.0;
    if mark > head {
        return Err(format!("damaged: {room}: the log ends at {head}, before what is projected ({mark})"));
    }
    if row.facts != facts(&room) || row.mark_at != Millis(mark) {
        return Err(format!("{room}: the room is not what was projected: {row:?}"));
    }
    let expected = members_at(mark);
    let members = store.members(room.clone(), None, 1_000).await.map_err(damaged)?;
    if members.len() as u64 != row.member_count {
        return Err(format!("damaged: {room}: {} members, and {} listed", row.member_count, members.len()));
    }
    let found: BTreeMap<_, _> =
        members.into_iter().map(|row| (row.user.id.as_str().to_owned(), row.joined.0)).collect();
    match found == expected {
        true => Ok(head),
        false => Err(format!("{room}: members at {mark} are {found:?}, not {expected:?}")),
    }
}

/// All that is wrong with a store in which all of `acked` has to be.
pub async fn check(store: &dyn Store, acked: &Acked) -> Vec<String> {
    let mut wrong = Vec::new();
    for (n, entries) in &acked.entries {
        let head = match check_room(store, *n).await {
            Ok(head) => head,
            Err(what) => {
                wrong.push(what);
                continue;
            }
        };
        let log = read_log(store, &room(*n)).await.unwrap_or_default();
        for (seq, epoch) in entries {
            match log.get(*seq as usize - 1) {
                None => wrong.push(format!("room {n}: {seq} was acked, and the log ends at {head}")),
                Some((found, _)) if found.0 != *epoch => {
                    wrong.push(format!("room {n}: {seq} was acked in epoch {epoch}, and is of {found}"));
                }
                Some(_) => {}
            }
        }
    }
    for (n, mark) in &acked.marks {
        let row = store.room(room(*n)).await;
        if row.as_ref().is_ok_and(|row| row.as_ref().is_none_or(|row| row.mark.0 < *mark)) {
            wrong.push(format!("room {n}: mark {mark} was acked, and there is {row:?}"));
        }
    }
    wrong
}
