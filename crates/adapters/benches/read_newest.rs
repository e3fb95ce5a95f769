//! How fast the newest entries of a room are read from the tables, by how many the room has, and whether anything else is
//! read and written meanwhile matters not here: one reader, one room at a time, a store that was just opened.
//!
//! `cargo bench -p hubbub-adapters --bench read_newest`; without `--bench` it only shows that it works.

use std::time::{Duration, Instant};

use bytes::Bytes;
use hubbub_adapters::store::{EmbeddedStore, Options};
use hubbub_core::entry::{Entry, Kind};
use hubbub_core::ids::{Epoch, Millis, RoomId, Seq, UserId};
use hubbub_core::ports::store::{Append, Read, Segment, Store};

const PAGE: u64 = 50;

fn main() {
    let in_full = std::env::args().any(|a| a == "--bench");
    let (sizes, reads) =
        if in_full { (vec![100, 100_000, 1_000_000], 2_000) } else { (vec![100, 2_000], 10) };
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let store = EmbeddedStore::open(folder.path(), Options::default()).expect("opens");
    for size in &sizes {
        runtime.block_on(fill(&store, *size));
    }
    drop(store);
    let file = std::fs::metadata(folder.path().join("hubbub.db")).expect("a file").len();
    println!("newest {PAGE} of a room, from the tables; the file has {} MiB", file >> 20);
    println!("| entries in the room | first read | p50 | p99 | segments, p50 |");
    println!("|---|---|---|---|---|");
    for size in sizes {
        let store = EmbeddedStore::open(folder.path(), Options::default()).expect("opens");
        let read = || {
            let started = Instant::now();
            let seqs = size + 1 - PAGE..=size;
            let read = Read { room: room(size), epoch: Epoch(1), seqs, bytes_max: 1 << 20 };
            let found = runtime.block_on(store.read(read)).expect("read");
            assert_eq!(found.len() as u64, PAGE);
            started.elapsed()
        };
        let first = read();
        let mut took: Vec<_> = (0..reads).map(|_| read()).collect();
        let mut segments: Vec<_> = (0..reads)
            .map(|_| {
                let started = Instant::now();
                runtime.block_on(store.segments(room(size))).expect("read");
                started.elapsed()
            })
            .collect();
        let (p50, p99, segments) = (at(&mut took, 50), at(&mut took, 99), at(&mut segments, 50));
        println!("| {size} | {first:.0?} | {p50:.0?} | {p99:.0?} | {segments:.0?} |");
    }
}

fn at(took: &mut [Duration], percent: usize) -> Duration {
    took.sort_unstable();
    took[(took.len() * percent / 100).min(took.len() - 1)]
}

fn room(size: u64) -> RoomId {
    RoomId::parse(&format!("room-of-{size}")).expect("a room")
}

async fn fill(store: &EmbeddedStore, size: u64) {
    let segment = Segment { epoch: Epoch(1), start: Seq(1), prev: None };
    store.put_segment(room(size), segment).await.expect("put");
    let user = UserId::parse("somebody").expect("a user");
    let json = Bytes::from(vec![b'x'; 200]);
    for first in (1..=size).step_by(5_000) {
        let entries = (first..=size.min(first + 4_999)).map(|seq| Entry {
            seq: Seq(seq),
            at: Millis(seq),
            kind: Kind::Text,
            user: user.clone(),
            key: None,
            facts: None,
            json: json.clone(),
        });
        let append = Append { room: room(size), epoch: Epoch(1), entries: entries.collect() };
        store.append(append).await.expect("appended");
    }
}
