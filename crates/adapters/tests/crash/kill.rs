//! kill -9 under load.

use std::time::Duration;

use hubbub_adapters::store::{EmbeddedStore, Options};

use super::check::{Acked, check};
use super::{Random, child, copy_store, rounds};

/// All that was acked is there after a kill at any moment, in its place, once, and no projection is ahead of the log.
#[tokio::test]
async fn what_was_acked_outlives_a_kill() {
    let mut random = Random::new("kill");
    let (folder, copy) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut acked = Acked::default();
    for round in 0..rounds(50) {
        let lasts = Duration::from_micros(random.below(150_000));
        let child = match round % 3 {
            0 => child::start(folder.path(), u64::MAX / 2),
            _ => child::start_at_checkpoints(folder.path()),
        };
        let heard = child::kill_after(child, lasts, &mut acked);
        assert!(heard > 0, "round {round}: the child wrote nothing");
        // In turn: the store is opened here, or what the kill left is for the next child to open.
        let opened = match round % 2 {
            0 => folder.path(),
            _ => {
                copy_store(folder.path(), copy.path());
                copy.path()
            }
        };
        let store = EmbeddedStore::open(opened, Options::default()).unwrap();
        let wrong = check(&store, &acked).await;
        assert_eq!(wrong, Vec::<String>::new(), "round {round}");
    }
    let entries: usize = acked.entries.values().map(|room| room.len()).sum();
    println!("kill: {entries} acked entries in {} rooms, none lost", acked.entries.len());
}

/// The checker is no friend of the store: it finds what was acked and is not there.
#[tokio::test]
async fn the_checker_finds_what_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let mut acked = Acked::default();
    child::kill_after(child::start(folder.path(), 20), Duration::from_secs(60), &mut acked);
    let store = EmbeddedStore::open(folder.path(), Options::default()).unwrap();
    assert_eq!(check(&store, &acked).await, Vec::<String>::new());
    for (seq, epoch) in [(21, 1), (20, 7)] {
        let mut more = acked.clone();
        more.entries.get_mut(&3).unwrap().insert(seq, epoch);
        assert_eq!(check(&store, &more).await.len(), 1, "{seq} of epoch {epoch} was never written");
    }
    let mut more = acked.clone();
    more.marks.insert(5, 21);
    assert_eq!(check(&store, &more).await.len(), 1);
}
