//! What a store says when it can't be opened, or finds that something is gone.

use std::path::Path;

use hubbub_core::ids::{Epoch, RoomId, Seq};
use hubbub_core::ports::accounts::AccountStore;
use hubbub_core::ports::bans::{Ban, Bans};
use hubbub_core::ports::store::{Append, Appended, Read, Segment, Store, StoreError, Trim};
use hubbub_testkit::eventually;
use rusqlite::Connection;
use tempfile::TempDir;

use super::*;

fn open(dir: &Path) -> Result<EmbeddedStore, OpenError> {
    EmbeddedStore::open(dir, Options::default())
}

fn folder_with_a_store() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    drop(open(folder.path()).unwrap());
    folder
}

/// Changes the data file behind the store's back.
fn change(folder: &TempDir, statement: &str) {
    Connection::open(folder.path().join("hubbub.db")).unwrap().execute_batch(statement).unwrap();
}

/// What makes the tables those of version 4.
const BEFORE_5: &str = "DROP TABLE revoked; ALTER TABLE journal RENAME COLUMN slot TO no;";

fn said(folder: &TempDir) -> String {
    let said = open(folder.path()).err().unwrap().to_string();
    assert_eq!(said.lines().count(), 1, "{said}");
    said
}

/// Opens the store, whose metrics are counted apart from those of other tests.
fn open_counted(
    dir: &Path,
    options: Options,
) -> (EmbeddedStore, metrics_exporter_prometheus::PrometheusHandle) {
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    let opened = ::metrics::with_local_recorder(&recorder, || EmbeddedStore::open(dir, options));
    (opened.unwrap(), recorder.handle())
}

fn damage_counted(counted: &metrics_exporter_prometheus::PrometheusHandle) -> u64 {
    let shown = counted.render();
    let counts = shown.lines().find_map(|line| line.strip_prefix(metrics::DAMAGED_TOTAL));
    counts.unwrap().trim().parse().unwrap()
}

fn room() -> RoomId {
    RoomId::parse("r").unwrap()
}

fn entry(seq: u64) -> hubbub_core::entry::Entry {
    use hubbub_core::entry::{Entry, Says};
    use hubbub_core::ids::{Millis, User, UserId};
    let user = User { id: UserId::parse("u").unwrap(), name: "U".into() };
    Entry::new(&room(), Seq(seq), Millis(seq), &user, None, Says::Join(None))
}

#[test]
fn a_folder_that_is_none_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "x").unwrap();
    assert!(matches!(open(&file), Err(OpenError::NotAFolder { .. })));
    assert!(matches!(open(&file.join("below")), Err(OpenError::NotAFolder { .. })));
}

#[cfg(target_os = "linux")]
#[test]
fn a_folder_that_can_not_be_written_to_is_said() {
    assert!(matches!(open(Path::new("/proc/hubbub")), Err(OpenError::NotWritable { .. })));
}

#[cfg(unix)]
#[test]
fn what_is_made_is_for_nobody_else() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("a").join("b");
    let _store = open(&dir).unwrap();
    for path in ["", "hubbub.db", "hubbub.db-wal", "hubbub.db-shm"] {
        let mode = std::fs::metadata(dir.join(path)).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{path:?} is {mode:o}");
    }
}

#[test]
fn files_that_are_no_store_of_this_version_are_said() {
    let folder = folder_with_a_store();
    change(&folder, "PRAGMA user_version = 7");
    assert!(said(&folder).ends_with("has version 7 of the store's format; this hubbub knows up to 6"));

    let folder = folder_with_a_store();
    change(&folder, "PRAGMA application_id = 7");
    assert!(said(&folder).ends_with("is not a store of hubbub"));

    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("hubbub.db"), "this is no database at all, but long enough ".repeat(9))
        .unwrap();
    assert!(matches!(open(folder.path()), Err(OpenError::Damaged { .. })));
}

#[tokio::test]
async fn a_store_of_an_earlier_version_is_migrated() {
    let folder = folder_with_a_store();
    change(&folder, &format!("{BEFORE_5} DROP TABLE kept; PRAGMA user_version = 3"));
    drop(open(folder.path()).unwrap());
    let before_3 = format!("{BEFORE_5} DROP TABLE kept; DROP TABLE forgot; DROP INDEX departed_by_user;");
    change(&folder, &format!("{before_3} PRAGMA user_version = 2"));
    drop(open(folder.path()).unwrap());
    change(&folder, &format!("{before_3} DROP TABLE ban; PRAGMA user_version = 1"));
    let store = open(folder.path()).unwrap();
    let (user, by) = (hubbub_core::ids::UserId::parse("u").unwrap(), "ops".to_owned());
    let ban = Ban { user, at: hubbub_core::ids::Millis(1), by, reason: String::new() };
    store.put_ban(ban.clone()).await.unwrap();
    drop(store);
    assert_eq!(open(folder.path()).unwrap().bans().await.unwrap(), [ban]);
}

#[tokio::test]
async fn entries_of_version_4_and_later_ones_are_one_log() {
    let folder = folder_with_a_store();
    let texts = |seqs: std::ops::RangeInclusive<u64>| -> Vec<_> {
        seqs.map(|seq| message(&room(), seq, format!("{seq}"))).collect()
    };
    // Each has a row there.
    let file = Connection::open(folder.path().join("hubbub.db")).unwrap();
    let place = {
        let store = open(folder.path()).unwrap();
        let append = Append { room: room(), epoch: Epoch(1), entries: texts(1..=1) };
        store.append(append).await.unwrap();
        drop(store);
        file.query_row("SELECT id FROM entry", [], |row| row.get::<_, i64>(0)).unwrap() - 1
    };
    for entry in texts(1..=10) {
        let bytes = entry.encode(&room());
        file.execute(
            "INSERT OR REPLACE INTO entry VALUES (?, ?)",
            (place + entry.seq.0.cast_signed(), &bytes[..]),
        )
        .unwrap();
    }
    drop(file);
    change(&folder, &format!("{BEFORE_5} PRAGMA user_version = 4"));
    let store = open(folder.path()).unwrap();
    let mut log = texts(1..=20);
    store.append(Append { room: room(), epoch: Epoch(1), entries: log[10..].to_vec() }).await.unwrap();
    for n in [3, 12] {
        log[n] = log[n].erased(&room()).unwrap();
        store.erase(Append { room: room(), epoch: Epoch(1), entries: vec![log[n].clone()] }).await.unwrap();
    }
    drop(store);
    let store = open(folder.path()).unwrap();
    let trim = |end| Trim { room: room(), epochs: vec![Epoch(1)], seqs: Seq(1)..Seq(end) };
    let all = || Read { room: room(), epoch: Epoch(1), seqs: 1..=30, bytes_max: usize::MAX };
    assert_eq!(store.read(all()).await.unwrap(), log);
    // Among those that have a row each, and in the middle of a run.
    for end in [4, 16] {
        assert_eq!(store.trim(trim(end)).await.unwrap(), Seq(end));
        assert_eq!(store.read(all()).await.unwrap(), log[end as usize - 1..]);
    }
}

#[tokio::test]
async fn an_append_that_is_repeated_after_a_start_brings_nothing_back() {
    let folder = tempfile::tempdir().unwrap();
    let append = |entries| Append { room: room(), epoch: Epoch(1), entries };
    let said: Vec<_> = (1..=3).map(|seq| message(&room(), seq, format!("{seq}"))).collect();
    let mut left = said.clone();
    left[1] = said[1].erased(&room()).unwrap();
    let store = open(folder.path()).unwrap();
    store.append(append(said.clone())).await.unwrap();
    store.erase(append(vec![left[1].clone()])).await.unwrap();
    drop(store);
    let store = open(folder.path()).unwrap();
    store.append(append(said)).await.unwrap();
    let read = Read { room: room(), epoch: Epoch(1), seqs: 1..=3, bytes_max: usize::MAX };
    assert_eq!(store.read(read).await.unwrap(), left);
}

#[test]
fn damage_is_found_by_who_opens_or_reads() {
    for statement in [
        "UPDATE fact SET value = x'00' WHERE name = 'log_id'",
        "DELETE FROM fact WHERE name = 'start'",
        "INSERT INTO fence VALUES (1, 5, 0)",
        "INSERT INTO journal VALUES (1, x'0102030405060708090a')",
        "INSERT INTO journal VALUES (2, x'')",
        "DROP TABLE fence",
    ] {
        let folder = folder_with_a_store();
        change(&folder, statement);
        assert!(matches!(open(folder.path()), Err(OpenError::Damaged { .. })), "{statement}");
    }
}

#[tokio::test]
async fn an_older_segment_does_not_pass_for_the_newest() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).unwrap();
    for (epoch, start, prev) in [(1, 1, None), (2, 2, Some(Epoch(1)))] {
        let segment = Segment { epoch: Epoch(epoch), start: Seq(start), prev };
        store.put_segment(room(), segment).await.unwrap();
        let append = Append { room: room(), epoch: Epoch(epoch), entries: vec![entry(start)] };
        store.append(append).await.unwrap();
    }
    drop(store);
    for lost in ["epoch = 2", "epoch > 0"] {
        change(&folder, &format!("DELETE FROM segment WHERE {lost}"));
        let store = open(folder.path()).unwrap();
        assert!(matches!(store.segments(room()).await, Err(StoreError::Damaged { .. })), "{lost}");
    }
}

#[tokio::test]
async fn a_write_that_meets_damage_leaves_the_others_alone() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).unwrap();
    assert_eq!(store.shared_secret("key", vec![1]).await.unwrap(), [1]);
    drop(store);
    change(&folder, "UPDATE secret SET value = x'02'");
    let (store, counted) = open_counted(folder.path(), Options::default());
    let append = Append { room: room(), epoch: Epoch(1), entries: vec![entry(1)] };
    let (damaged, appended) = (store.shared_secret("key", vec![1]), store.append(append));
    assert!(damaged.await.unwrap_err().to_string().contains("secret key"));
    appended.await.unwrap();
    store.check().await.unwrap();
    assert_eq!(damage_counted(&counted), 1);
}

#[tokio::test]
async fn a_commit_that_does_not_end_is_seen() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).unwrap();
    let (end, ends) = std::sync::mpsc::channel::<()>();
    let append = Append { room: room(), epoch: Epoch(1), entries: vec![entry(1)] };
    // It is called within the commit.
    store.append_then(&append, Appended::new(move |_| _ = ends.recv()));
    let is_seen = |error: &StoreError| error.to_string().contains("a commit has been under way for");
    let error = eventually("it is seen", async || store.check().await.err()).await;
    assert!(is_seen(&error), "{error}");
    // Also when the one before had failed: a probe would wait behind it.
    store.shared.set_failing(Some(failure::unavailable("the one before")));
    let error = hubbub_testkit::in_time("an answer", store.check()).await.unwrap_err();
    assert!(is_seen(&error), "{error}");
    drop(end);
    eventually("it has ended", async || store.check().await.ok()).await;
}

#[tokio::test]
async fn a_commit_that_happens_to_fit_does_not_say_that_the_disk_is_well() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).unwrap();
    // Nothing can be written there.
    let no_room = folder.path().join("hubbub.probe");
    std::fs::create_dir(&no_room).unwrap();
    store.shared.set_failing(Some(failure::unavailable("the disk is full")));
    for n in 1..=3 {
        store.append(Append { room: room(), epoch: Epoch(1), entries: vec![entry(n)] }).await.unwrap();
        let error = store.check().await.unwrap_err().to_string();
        assert!(error.contains("4194304 bytes can't be written"), "{error}");
    }
    std::fs::remove_dir(&no_room).unwrap();
    store.check().await.unwrap();
    assert!(!no_room.exists() && store.shared.failing().is_none());
}

#[tokio::test]
async fn a_probe_writes_to_the_disk() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).unwrap();
    let log_bytes = || std::fs::metadata(folder.path().join("hubbub.db-wal")).unwrap().len();
    let before = log_bytes();
    store.shared.set_failing(Some(failure::unavailable("the one before")));
    store.check().await.unwrap();
    assert!(log_bytes() > before, "what is not written can't fail");
}

#[tokio::test]
async fn what_does_not_fit_the_queue_is_refused_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let options =
        Options { queue_bytes_max: 10_000, commit_pace: Duration::from_millis(100), ..Options::default() };
    let store = EmbeddedStore::open(folder.path(), options).unwrap();
    let append = |seq| Append { room: room(), epoch: Epoch(1), entries: vec![entry(seq)] };
    store.append(append(1)).await.unwrap();
    let writes: Vec<_> = (2..=100).map(|seq| store.append(append(seq))).collect();
    let mut kept = 0;
    for write in writes {
        match write.await {
            Ok(()) => kept += 1,
            Err(StoreError::Unavailable { inside }) => assert_eq!(inside, "too much waits to be written"),
            Err(other) => panic!("{other}"),
        }
    }
    assert!((5..60).contains(&kept), "{kept}");
    store.append(append(2)).await.unwrap();
}

/// In each message that is to be erased, and nowhere else.
const SECRET: &str = "what must not be there";

fn message(room: &RoomId, seq: u64, text: String) -> hubbub_core::entry::Entry {
    use hubbub_core::entry::{Entry, Says};
    use hubbub_core::ids::{Millis, User, UserId};
    let user = User { id: UserId::parse("u").unwrap(), name: "U".into() };
    Entry::new(
        room,
        Seq(seq),
        Millis(seq),
        &user,
        None,
        Says::Message(&hubbub_core::limits::Content::Text(text)),
    )
}

/// Rooms, each with what is to be read of it.
type Rooms = Vec<(RoomId, Vec<hubbub_core::entry::Entry>)>;

/// A store with 40 rooms whose messages came in turn, so that pages were split at all places; every third is to be erased. What is
/// in each room once they are.
async fn talked_about(store: &EmbeddedStore) -> Rooms {
    let mut rooms: Vec<_> = (0..40).map(|n| (RoomId::parse(&format!("r{n}")).unwrap(), Vec::new())).collect();
    let mut rng = fastrand::Rng::with_seed(7);
    for seq in 1..=60u64 {
        for (room, log) in &mut rooms {
            // From a part of a page to many pages, and past what is journaled.
            let size = 1 << rng.u32(0..if seq % 20 == 0 { 17 } else { 10 });
            let words = if seq % 3 == 0 { SECRET } else { "what may stay there" };
            let text: String = words.chars().chain(" ".chars()).cycle().take(words.len().max(size)).collect();
            let entry = message(room, seq, text);
            let append = Append { room: room.clone(), epoch: Epoch(1), entries: vec![entry.clone()] };
            store.append(append).await.unwrap();
            log.push(entry);
        }
    }
    for (room, log) in &mut rooms {
        for entry in log.iter_mut().filter(|entry| entry.seq.0 % 3 == 0) {
            *entry = entry.erased(room).unwrap();
        }
    }
    rooms
}

async fn erase(store: &EmbeddedStore, rooms: &Rooms) {
    for (room, log) in rooms {
        let entries: Vec<_> = log.iter().filter(|entry| entry.seq.0 % 3 == 0).cloned().collect();
        store.erase(Append { room: room.clone(), epoch: Epoch(1), entries }).await.unwrap();
    }
}

/// Files of the folder that have the secret in them.
fn files_with_it(folder: &TempDir) -> Vec<std::path::PathBuf> {
    let files = std::fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap().path());
    let has_it = |file: &std::path::PathBuf| {
        let bytes = std::fs::read(file).unwrap();
        memchr::memmem::find(&bytes, SECRET.as_bytes()).is_some()
    };
    files.filter(has_it).collect()
}

async fn are_whole(store: &EmbeddedStore, rooms: &Rooms) {
    use hubbub_core::ports::store::Read;
    for (room, log) in rooms {
        let read = Read { room: room.clone(), epoch: Epoch(1), seqs: 1..=u64::MAX, bytes_max: usize::MAX };
        assert_eq!(store.read(read).await.unwrap(), *log);
    }
}

/// The store ends, its file is sound, has nothing of what was erased, and is opened again.
async fn ends_whole(folder: TempDir, store: EmbeddedStore, options: &Options, rooms: &Rooms) {
    drop(store);
    assert_eq!(files_with_it(&folder), Vec::<std::path::PathBuf>::new());
    let db = Connection::open(folder.path().join("hubbub.db")).unwrap();
    let sound: String = db.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(sound, "ok");
    drop(db);
    are_whole(&EmbeddedStore::open(folder.path(), options.clone()).unwrap(), rooms).await;
}

#[tokio::test]
async fn what_was_erased_is_in_no_file_and_the_rest_is_whole() {
    let options =
        Options { commit_pace: Duration::ZERO, fold_after: Duration::from_millis(50), ..Options::default() };
    // A store that goes on, and one that ends at once and is opened again.
    for case in ["goes on", "ends"] {
        let folder = tempfile::tempdir().unwrap();
        let store = EmbeddedStore::open(folder.path(), options.clone()).unwrap();
        let rooms = talked_about(&store).await;
        assert!(!files_with_it(&folder).is_empty(), "there is something to erase");
        erase(&store, &rooms).await;
        are_whole(&store, &rooms).await;
        let store = match case {
            "ends" => {
                drop(store);
                EmbeddedStore::open(folder.path(), options.clone()).unwrap()
            }
            _ => store,
        };
        eventually("in no file", async || files_with_it(&folder).is_empty().then_some(())).await;
        are_whole(&store, &rooms).await;
        ends_whole(folder, store, &options, &rooms).await;
    }
}

#[tokio::test]
async fn what_was_erased_is_in_no_file_however_much_is_written_meanwhile() {
    let options =
        Options { commit_pace: Duration::ZERO, fold_after: Duration::from_millis(50), ..Options::default() };
    for seed in 0..5 {
        let folder = tempfile::tempdir().unwrap();
        let store = EmbeddedStore::open(folder.path(), options.clone()).unwrap();
        let mut rooms = talked_about(&store).await;
        erase(&store, &rooms).await;
        let beside = Connection::open(folder.path().join("hubbub.db")).unwrap();
        let due = "SELECT value = x'01' FROM fact WHERE name = 'scrub'";
        let mut rng = fastrand::Rng::with_seed(seed);
        // Rows come at all places of the tables, so that pages are split, and what is in them moves.
        while beside.query_row(due, [], |row| row.get(0)).unwrap() {
            let (room, log) = rng.choice(&mut rooms).unwrap();
            let text = "and more ".repeat(1 << rng.u32(0..10));
            log.push(message(room, log.len() as u64 + 1, text));
            let entries = log[log.len() - 1..].to_vec();
            store.append(Append { room: room.clone(), epoch: Epoch(1), entries }).await.unwrap();
        }
        // It was said to be done.
        assert_eq!(files_with_it(&folder), Vec::<std::path::PathBuf>::new(), "seed {seed}");
        drop(beside);
        ends_whole(folder, store, &options, &rooms).await;
    }
}

#[tokio::test]
async fn the_write_ahead_log_ends_while_it_is_written_to() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options { commit_pace: Duration::ZERO, log_pages: 100, ..Options::default() };
    let store = EmbeddedStore::open(folder.path(), options).unwrap();
    let beside = Connection::open(folder.path().join("hubbub.db")).unwrap();
    let pages =
        || beside.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| row.get::<_, i64>(1)).unwrap();
    let log_bytes = || std::fs::metadata(folder.path().join("hubbub.db-wal")).unwrap().len();
    let mut seq = 0;
    let mut write = async |commits: u64| {
        let mut longest = 0;
        // There is always more to write: no commit finds all of the log in the file by chance.
        let mut under_way = std::collections::VecDeque::new();
        for _ in 0..commits {
            seq += 1;
            let entries = vec![message(&room(), seq, "x".repeat(24 << 10))];
            under_way.push_back(store.append(Append { room: room(), epoch: Epoch(1), entries }));
            if under_way.len() > 8 {
                under_way.pop_front().unwrap().await.unwrap();
            }
            longest = longest.max(log_bytes());
        }
        for rest in under_way {
            rest.await.unwrap();
        }
        longest
    };
    // At least 24 MiB, of which at most 8 times 100 pages and a commit or two are in the log at a time.
    let bytes = write(1_000).await;
    assert!((1 << 19..10 << 20).contains(&bytes), "{bytes} bytes");

    // Someone who reads for long needs what was there when they began: it goes on, and the log is as long as it must be.
    let reader = Connection::open(folder.path().join("hubbub.db")).unwrap();
    reader.execute_batch("BEGIN; SELECT count(*) FROM fact").unwrap();
    let bytes = write(600).await;
    assert!(bytes > 14 << 20, "{bytes} bytes");
    drop(reader);
    write(200).await;
    assert!(pages() < 1_200, "it began anew");
    drop((store, beside));
    assert!(!folder.path().join("hubbub.db-wal").exists(), "all of it is in the file");
}

#[tokio::test]
async fn a_fold_that_fails_while_something_is_to_be_erased_does_not_hold_up_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let said = |room: &RoomId, seq| message(room, seq, format!("{SECRET} {seq}"));
    let append = |room: &RoomId, entry| Append { room: room.clone(), epoch: Epoch(1), entries: vec![entry] };
    let (a, b) = (RoomId::parse("a").unwrap(), RoomId::parse("b").unwrap());
    let store = open(folder.path()).unwrap();
    for room in [&a, &b] {
        store.append(append(room, said(room, 1))).await.unwrap();
    }
    drop(store);
    change(&folder, "UPDATE place SET sum = sum + 1 WHERE room = 'b'");
    let store = open(folder.path()).unwrap();
    store.append(append(&b, said(&b, 2))).await.unwrap();
    store.erase(append(&a, said(&a, 1).erased(&a).unwrap())).await.unwrap();
    let ended = tokio::task::spawn_blocking(move || drop(store));
    hubbub_testkit::in_time("the end", ended).await.unwrap();
}

#[tokio::test]
async fn a_fold_that_fails_takes_one_commit_along_and_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let append = |seq| Append { room: room(), epoch: Epoch(1), entries: vec![entry(seq)] };
    let store = open(folder.path()).unwrap();
    store.append(append(1)).await.unwrap();
    drop(store);
    change(&folder, "UPDATE place SET sum = sum + 1");
    let options = Options { fold_after: Duration::ZERO, ..Options::default() };
    let (store, counted) = open_counted(folder.path(), options);
    let mut refused = 0;
    for seq in 2..=100 {
        while store.append(append(seq)).await.is_err() {
            refused += 1;
        }
    }
    assert!(refused <= 1, "{refused} commits failed");
    let error = store.check().await.unwrap_err();
    assert!(error.to_string().contains("place of room"), "{error}");
    assert!(damage_counted(&counted) > 0);
    let read = Read { room: room(), epoch: Epoch(1), seqs: 90..=100, bytes_max: usize::MAX };
    assert!(store.shared.recent.range(&read).len() == 11, "and what can't be folded is kept");
}

#[tokio::test]
async fn a_fold_that_fails_after_slices_that_did_not_takes_one_commit_along_too() {
    const ROOMS: usize = 12;
    let folder = tempfile::tempdir().unwrap();
    drop(open(folder.path()).unwrap());
    // The id from which on rows are of the last place.
    let last = (ROOMS as i64) << 34;
    change(
        &folder,
        &format!(
            "CREATE TRIGGER fails BEFORE INSERT ON entry WHEN new.id >= {last} BEGIN SELECT RAISE(ABORT, 'the last'); END"
        ),
    );
    let options = Options { fold_after: Duration::from_millis(50), ..Options::default() };
    let store = EmbeddedStore::open(folder.path(), options).unwrap();
    let append = |room: &RoomId, seqs: std::ops::RangeInclusive<u64>| Append {
        room: room.clone(),
        epoch: Epoch(1),
        entries: seqs.map(|seq| message(room, seq, "x".into())).collect(),
    };
    // More than any slice takes.
    for n in 0..ROOMS {
        let room = RoomId::parse(&format!("r{n}")).unwrap();
        store.append(append(&room, 1..=100)).await.unwrap();
    }
    let (room, mut refused) = (RoomId::parse("r0").unwrap(), 0);
    for seq in 101..=250 {
        while store.append(append(&room, seq..=seq)).await.is_err() {
            refused += 1;
        }
    }
    assert!(refused <= 1, "{refused} commits failed");
    let error = store.check().await.unwrap_err();
    assert!(error.to_string().contains("the last"), "{error}");
}

#[test]
fn one_flipped_bit_in_what_a_page_says_is_unused_costs_nothing_that_is_in_use() {
    let folder = folder_with_a_store();
    change(
        &folder,
        "INSERT INTO entry WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 5000) \
         SELECT n, randomblob(50 + n * 7 % 400) FROM n; \
         DELETE FROM entry WHERE id % 7 = 3",
    );
    let file = std::fs::read(folder.path().join("hubbub.db")).unwrap();
    let u16_at = |page: &[u8], at: usize| usize::from(u16::from_be_bytes([page[at], page[at + 1]]));
    let (mut starts, mut lengths) = (0, 0);
    for page in file.chunks(8 * 1_024).filter(|page| page[0] == 0x0d && u16_at(page, 3) > 3) {
        let mut damaged = page.to_vec();
        // Where the cells begin: a page further on.
        damaged[5..7].copy_from_slice(&(8 * 1_024 - 1_u16).to_be_bytes());
        starts += usize::from(page::clear_tree_page(&mut damaged, 9).is_none());
        let cells = (0..u16_at(page, 3)).map(|n| u16_at(page, 8 + 2 * n));
        let block = u16_at(page, 1);
        if block != 0 && cells.clone().any(|cell| cell > block) {
            let mut damaged = page.to_vec();
            damaged[block..block + 2].fill(0);
            damaged[block + 2..block + 4].copy_from_slice(&(8 * 1_024 - block as u16).to_be_bytes());
            let before = damaged.clone();
            assert_eq!(page::clear_tree_page(&mut damaged, 9), None);
            assert_eq!(damaged, before);
            lengths += 1;
        }
    }
    assert!(starts > 10 && lengths > 10, "{starts}, {lengths}");
}
