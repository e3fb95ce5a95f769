//! A bit of the main file that is another than it was written.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use hubbub_adapters::store::{EmbeddedStore, OpenError, Options};
use hubbub_core::ids::UserId;
use hubbub_core::ports::store::{Read, Store};

use super::check::{Acked, check_room, entry, members_at, read_log, room};
use super::child::ROOMS;
use super::{Random, child, rounds};

const ENTRIES: u64 = 150;

/// Whatever bit is flipped in a store that was closed well: a reader gets what was written, or is told; of the lists that
/// have no count to be checked by, a row may be missing, but none is wrong.
#[tokio::test]
async fn a_flipped_bit_is_never_served() {
    let mut random = Random::new("flips");
    let folder = tempfile::tempdir().unwrap();
    child::kill_after(child::start(folder.path(), ENTRIES), Duration::from_secs(60), &mut Acked::default());
    drop(EmbeddedStore::open(folder.path(), Options::default()).unwrap());
    let file = folder.path().join("hubbub.db");
    assert!(!folder.path().join("hubbub.db-wal").exists(), "closed well");
    let good = std::fs::read(&file).unwrap();
    let rows = rows_of_rooms(&good);
    let mut outcomes = BTreeMap::new();
    for round in 0..rounds(150) {
        let mut bytes = good.clone();
        let at = match round % 10 {
            // SQLite's header and the schema, where one hits all.
            0 => random.below(if round % 20 == 0 { 100 } else { 4_096 }),
            // A row that is no entry: there are few.
            1..=5 => rows[random.below(rows.len() as u64) as usize] as u64 + random.below(72) - 12,
            _ => random.below(bytes.len() as u64),
        };
        let at = (at as usize).min(bytes.len() - 1);
        bytes[at] ^= 1 << random.below(8);
        std::fs::write(&file, &bytes).unwrap();
        _ = std::fs::remove_file(folder.path().join("hubbub.db-wal"));
        let outcome = outcome(folder.path()).await;
        let outcome = outcome.unwrap_or_else(|wrong| panic!("round {round}, byte {at}: {wrong}"));
        *outcomes.entry(outcome).or_insert(0) += 1;
    }
    println!("flips in {} bytes: {outcomes:?}", good.len());
}

/// Where the rows stand that are keyed by a room. In an entry the room's name stands in quotes.
fn rows_of_rooms(file: &[u8]) -> Vec<usize> {
    let named = file.windows(6).enumerate().skip(12);
    named.filter(|(_, window)| window[1..] == *b"room-" && window[0] != b'"').map(|(at, _)| at).collect()
}

async fn outcome(folder: &std::path::Path) -> Result<&'static str, String> {
    let store = match EmbeddedStore::open(folder, Options::default()) {
        Ok(store) => store,
        // One bit of SQLite's header makes the file read-only: that is refused in other words.
        Err(OpenError::InUse { .. }) => return Err("in use".to_owned()),
        Err(_) => return Ok("refused"),
    };
    let mut told = false;
    for n in 0..ROOMS {
        match check_room(&store, n).await {
            Ok(ENTRIES) => {}
            Ok(head) => return Err(format!("room {n} silently ends at {head}")),
            Err(what) if what.starts_with("damaged") => told = true,
            Err(what) => return Err(what),
        }
        told |= part_of_the_log_is_right(&store, n).await?;
        told |= the_end_of_the_log_is_whole(&store, n).await?;
    }
    let missing = lists_are_right(&store).await?;
    Ok(match (told, missing) {
        (true, _) => "told",
        (false, true) => "a list lacks a row",
        (false, false) => "as written",
    })
}

/// A damaged entry must not keep the others from being right.
async fn part_of_the_log_is_right(store: &dyn Store, n: u64) -> Result<bool, String> {
    let Ok(log) = read_log(store, &room(n)).await else { return Ok(true) };
    match log.iter().all(|(epoch, found)| *found == entry(&room(n), *epoch, found.seq.0)) {
        true => Ok(false),
        false => Err(format!("room {n} serves what was not written")),
    }
}

/// What a holder reads that begins at a mark: whatever is in a row before that, it must not end where the log does not. Whole rows
/// that are gone, nobody finds beyond the mark.
async fn the_end_of_the_log_is_whole(store: &dyn Store, n: u64) -> Result<bool, String> {
    let Ok(segments) = store.segments(room(n)).await else { return Ok(true) };
    let Some(newest) = segments.last() else { return Ok(true) };
    let read = async |from| {
        let seqs = from..=u64::MAX;
        let read = Read { room: room(n), epoch: newest.epoch, seqs, bytes_max: usize::MAX };
        store.read(read).await.map(|found| found.into_iter().map(|entry| entry.seq.0).collect::<Vec<_>>())
    };
    let all = read(newest.start.0).await;
    for from in (newest.start.0..=ENTRIES).step_by(13) {
        let Ok(found) = read(from).await else { return Ok(true) };
        let is_whole = match &all {
            Ok(all) => all.ends_with(&found) && found.len() == all.iter().filter(|seq| **seq >= from).count(),
            Err(_) => found.first() == Some(&from) && found.last() == Some(&ENTRIES),
        };
        if !is_whole {
            return Err(format!("room {n} silently has {found:?} from {from} on, and {all:?} in all"));
        }
    }
    Ok(all.is_err())
}

/// Whether rows are missing in the directory or a user's list, that nobody is told of. Wrong ones are an error.
async fn lists_are_right(store: &dyn Store) -> Result<bool, String> {
    let mut missing = false;
    if let Ok(rows) = store.directory(None, 1_000).await {
        let found: BTreeSet<_> = rows.iter().map(|row| row.room.clone()).collect();
        let all: BTreeSet<_> = (0..ROOMS).map(room).collect();
        if !found.is_subset(&all) || found.len() != rows.len() {
            return Err(format!("the directory has {found:?}"));
        }
        missing |= found.len() < all.len();
    }
    for (user, joined) in members_at(ENTRIES) {
        let id = UserId::parse(&user).unwrap();
        let Ok(rows) = store.rooms_of(id, None, 1_000).await else { continue };
        if rows.iter().any(|row| row.joined.0 != joined) {
            return Err(format!("rooms of {user} are {rows:?}"));
        }
        missing |= rows.len() < ROOMS as usize;
    }
    Ok(missing)
}
