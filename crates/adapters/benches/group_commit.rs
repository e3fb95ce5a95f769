//! What a durable message costs, by the ways in which a commit can be written down: CPU of the process a message, sync
//! included, and messages a second, at several messages a commit. One thread commits as fast as it can, without a pace;
//! the ways take turns, so that what else the machine does hits all of them.
//!
//! `cargo bench -p hubbub-adapters --bench group_commit [-- MILLISECONDS ROUNDS [PART OF A WAY'S NAME]]`; without `--bench` it only shows that it works.

use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use fjall::{KeyspaceCreateOptions, PersistMode};
use hubbub_adapters::store::{EmbeddedStore, Options};
use hubbub_core::entry::{Entry, Kind};
use hubbub_core::ids::{Epoch, Millis, RoomId, Seq, UserId};
use hubbub_core::ports::store::{Append, Store};
use rusqlite::Connection;

const ROOMS: u64 = 200;
const ENTRY_BYTES: usize = 250;
const BATCHES: [u64; 4] = [1, 8, 20, 100];

/// A message to commit.
struct Message {
    room: u64,
    seq: u64,
    bytes: Bytes,
}

/// A way to write commits down.
trait Way {
    fn commit(&mut self, batch: &[Message]);
}

/// Nothing but bytes at the end of a file and a sync: what cannot be beaten.
struct PlainFile(std::fs::File);

impl PlainFile {
    fn open(dir: &Path) -> Box<dyn Way> {
        Box::new(Self(std::fs::File::create(dir.join("log")).expect("creates")))
    }
}

impl Way for PlainFile {
    fn commit(&mut self, batch: &[Message]) {
        let all: Vec<u8> = batch.iter().flat_map(|m| m.bytes.iter().copied()).collect();
        std::io::Write::write_all(&mut self.0, &all).expect("writes");
        self.0.sync_data().expect("syncs");
    }
}

fn sqlite(dir: &Path, schema: &str) -> Connection {
    let db = Connection::open(dir.join("db")).expect("opens");
    db.set_prepared_statement_cache_capacity(64);
    db.pragma_update_and_check(None, "journal_mode", "wal", |_| Ok(())).expect("wal");
    db.pragma_update(None, "synchronous", "FULL").expect("full");
    db.pragma_update(None, "wal_autocheckpoint", 4_000).expect("set");
    db.pragma_update(None, "cache_size", -8_192).expect("set");
    db.execute_batch(schema).expect("creates");
    db
}

fn run(db: &Connection, statement: &str) {
    db.prepare_cached(statement).and_then(|mut s| s.execute([])).expect("runs");
}

/// A row a message, keyed by room and seq.
struct KeyedRows(Connection);

impl KeyedRows {
    fn open(dir: &Path) -> Box<dyn Way> {
        let schema = "CREATE TABLE entry (room TEXT NOT NULL, epoch INTEGER NOT NULL, seq INTEGER NOT NULL,
            bytes BLOB NOT NULL, PRIMARY KEY (room, epoch, seq)) STRICT, WITHOUT ROWID";
        Box::new(Self(sqlite(dir, schema)))
    }
}

impl Way for KeyedRows {
    fn commit(&mut self, batch: &[Message]) {
        run(&self.0, "BEGIN IMMEDIATE");
        for m in batch {
            let mut put =
                self.0.prepare_cached("INSERT OR REPLACE INTO entry VALUES (?, ?, ?, ?)").expect("prepares");
            put.execute((format!("room-{:020}", m.room), 1, m.seq.cast_signed(), &*m.bytes))
                .expect("inserts");
        }
        run(&self.0, "COMMIT");
    }
}

const NUMBERED: &str = "CREATE TABLE entry (id INTEGER PRIMARY KEY, bytes BLOB NOT NULL) STRICT;";

fn put_numbered(db: &Connection, m: &Message) {
    let mut put =
        db.prepare_cached("INSERT OR REPLACE INTO entry (id, bytes) VALUES (?, ?)").expect("prepares");
    put.execute(((m.room << 34 | m.seq).cast_signed(), &*m.bytes)).expect("inserts");
}

/// A row a message, keyed by one number: the place of the room, and the seq.
struct NumberedRows(Connection);

impl NumberedRows {
    fn open(dir: &Path) -> Box<dyn Way> {
        Box::new(Self(sqlite(dir, NUMBERED)))
    }
}

impl Way for NumberedRows {
    fn commit(&mut self, batch: &[Message]) {
        run(&self.0, "BEGIN IMMEDIATE");
        batch.iter().for_each(|m| put_numbered(&self.0, m));
        run(&self.0, "COMMIT");
    }
}

/// A row a commit at the end of a journal; once in a MiB its messages become rows, sorted, all at once.
struct Journal {
    db: Connection,
    unfolded: Vec<Message>,
    bytes: usize,
}

const FOLD_BYTES: usize = 1_024 * 1_024;

impl Journal {
    fn open(dir: &Path) -> Box<dyn Way> {
        let schema =
            format!("{NUMBERED} CREATE TABLE journal (no INTEGER PRIMARY KEY, bytes BLOB NOT NULL) STRICT");
        Box::new(Self { db: sqlite(dir, &schema), unfolded: Vec::new(), bytes: 0 })
    }

    fn fold(&mut self) {
        self.unfolded.sort_unstable_by_key(|m| (m.room, m.seq));
        self.unfolded.iter().for_each(|m| put_numbered(&self.db, m));
        run(&self.db, "DELETE FROM journal");
        self.unfolded.clear();
        self.bytes = 0;
    }
}

impl Way for Journal {
    fn commit(&mut self, batch: &[Message]) {
        let mut all = Vec::with_capacity(batch.len() * (ENTRY_BYTES + 40));
        for m in batch {
            all.extend_from_slice(&m.room.to_be_bytes());
            all.extend_from_slice(&m.seq.to_be_bytes());
            all.extend_from_slice(&m.bytes);
        }
        run(&self.db, "BEGIN IMMEDIATE");
        if self.bytes >= FOLD_BYTES {
            self.fold();
        }
        let mut put = self.db.prepare_cached("INSERT INTO journal (bytes) VALUES (?)").expect("prepares");
        put.execute([&all]).expect("inserts");
        drop(put);
        run(&self.db, "COMMIT");
        self.bytes += all.len();
        self.unfolded.extend(batch.iter().map(|m| Message { bytes: m.bytes.clone(), ..*m }));
    }
}

/// fjall, each commit synced.
struct Fjall {
    db: fjall::Database,
    entries: fjall::Keyspace,
}

impl Fjall {
    fn open(dir: &Path) -> Box<dyn Way> {
        let db = fjall::Database::builder(dir.join("fjall")).open().expect("opens");
        let entries = db.keyspace("entries", KeyspaceCreateOptions::default).expect("opens");
        Box::new(Self { db, entries })
    }
}

impl Way for Fjall {
    fn commit(&mut self, batch: &[Message]) {
        let mut writes = self.db.batch().durability(Some(PersistMode::SyncData));
        for m in batch {
            let mut key = [0; 16];
            key[..8].copy_from_slice(&m.room.to_be_bytes());
            key[8..].copy_from_slice(&m.seq.to_be_bytes());
            writes.insert(&self.entries, key, &*m.bytes);
        }
        writes.commit().expect("commits");
    }
}

/// What Hubbub has: the journal folded in slices, asked through the port, a call and a future a message. It keeps its
/// pace of a commit in 2 ms, so that what is asked for together is committed together: its messages a second are no limit.
struct Port {
    store: EmbeddedStore,
    runtime: tokio::runtime::Runtime,
    rooms: Vec<RoomId>,
    user: UserId,
}

impl Port {
    fn open(dir: &Path) -> Box<dyn Way> {
        Box::new(Self {
            store: EmbeddedStore::open(dir, Options::default()).expect("opens"),
            runtime: tokio::runtime::Builder::new_current_thread().build().expect("a runtime"),
            rooms: (0..ROOMS).map(|n| RoomId::parse(&format!("room-{n:020}")).expect("a room")).collect(),
            user: UserId::parse("somebody").expect("a user"),
        })
    }

    fn append(&self, m: &Message) -> Append {
        let entry = Entry {
            seq: Seq(m.seq),
            at: Millis(m.seq),
            kind: Kind::Text,
            user: self.user.clone(),
            key: None,
            facts: None,
            // With what stands beside it, an entry of the same size.
            json: m.bytes.slice(..ENTRY_BYTES - 42),
        };
        Append { room: self.rooms[m.room as usize].clone(), epoch: Epoch(1), entries: vec![entry] }
    }
}

impl Way for Port {
    fn commit(&mut self, batch: &[Message]) {
        let appends: Vec<_> = batch.iter().map(|m| self.append(m)).collect();
        self.runtime.block_on(async {
            let writes: Vec<_> = appends.into_iter().map(|append| self.store.append(append)).collect();
            for write in writes {
                write.await.expect("appended");
            }
        });
    }
}

/// CPU time of all threads of this process that still live.
fn cpu() -> Duration {
    let nanos = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten().filter_map(|task| {
        let stat = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
        stat.split(' ').next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(nanos.sum())
}

#[derive(Default, Clone)]
struct Figures {
    cpu_micros: Vec<f64>,
    per_second: Vec<f64>,
    slowest_ms: Vec<f64>,
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

type Open = fn(&Path) -> Box<dyn Way>;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let in_full = arguments.iter().any(|a| a == "--bench");
    let mut numbers = arguments.iter().filter_map(|a| a.parse::<u64>().ok());
    let lasts = Duration::from_millis(numbers.next().unwrap_or(if in_full { 1_000 } else { 20 }));
    let rounds = numbers.next().unwrap_or(if in_full { 5 } else { 1 });
    let ways: [(&str, Open); 6] = [
        ("plain file", PlainFile::open),
        ("sqlite, (room, epoch, seq)", KeyedRows::open),
        ("sqlite, numbered", NumberedRows::open),
        ("sqlite, journal + fold", Journal::open),
        ("fjall 3, SyncData", Fjall::open),
        ("the embedded store, paced", Port::open),
    ];
    let named = arguments.iter().find(|a| !a.starts_with("--") && a.parse::<u64>().is_err());
    let ways: Vec<_> =
        ways.into_iter().filter(|(name, _)| named.is_none_or(|n| name.contains(&**n))).collect();
    // Beside the build, for the system's folder of temporary files may be memory.
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let mut open: Vec<_> = ways
        .iter()
        .enumerate()
        .map(|(n, (_, open))| {
            let dir = folder.path().join(n.to_string());
            std::fs::create_dir(&dir).expect("creates");
            (open(&dir), 0u64)
        })
        .collect();
    let mut figures = vec![vec![Figures::default(); BATCHES.len()]; ways.len()];
    for round in 0..=rounds {
        for (b, per_commit) in BATCHES.into_iter().enumerate() {
            for (w, (way, written)) in open.iter_mut().enumerate() {
                let (done, took, used, slowest) = measure(way.as_mut(), written, per_commit, lasts);
                // The first round only warms up.
                if round > 0 {
                    let f = &mut figures[w][b];
                    f.cpu_micros.push(used.as_secs_f64() * 1e6 / done as f64);
                    f.per_second.push(done as f64 / took.as_secs_f64());
                    f.slowest_ms.push(slowest.as_secs_f64() * 1e3);
                }
            }
        }
    }
    println!("{ROOMS} rooms, {ENTRY_BYTES}-byte entries, median of {rounds} rounds of {lasts:?} each:");
    println!("CPU µs a message, messages/s, slowest commit (ms)");
    print!("| {:27} |", "messages a commit");
    BATCHES.iter().for_each(|b| print!(" {b:>22} |"));
    println!("\n|{}|{}", "-".repeat(29), format!("{}|", "-".repeat(24)).repeat(BATCHES.len()));
    for (w, (name, _)) in ways.iter().enumerate() {
        print!("| {name:27} |");
        for f in &figures[w] {
            let (cpu, rate) = (median(&f.cpu_micros), median(&f.per_second));
            print!(" {cpu:>6.1} {rate:>8.0} {:>6.1} |", median(&f.slowest_ms));
        }
        println!();
    }
}

fn measure(
    way: &mut dyn Way,
    written: &mut u64,
    per_commit: u64,
    lasts: Duration,
) -> (u64, Duration, Duration, Duration) {
    let (started, cpu_before) = (Instant::now(), cpu());
    let (mut done, mut slowest) = (0, Duration::ZERO);
    while started.elapsed() < lasts {
        let batch: Vec<_> = (0..per_commit)
            .map(|_| {
                *written += 1;
                // Rooms in no order, each with seqs of its own.
                let room = *written * 7_919 % ROOMS;
                Message { room, seq: *written / ROOMS, bytes: vec![b'x'; ENTRY_BYTES].into() }
            })
            .collect();
        let commit = Instant::now();
        way.commit(&batch);
        slowest = slowest.max(commit.elapsed());
        done += per_commit;
    }
    (done, started.elapsed(), cpu() - cpu_before, slowest)
}
