//! Writes that came to the disk in part, and a write-ahead log that was hurt.

use std::path::Path;
use std::time::Duration;

use hubbub_adapters::store::{EmbeddedStore, OpenError, Options};

use super::check::{Acked, check, check_room};
use super::child::ROOMS;
use super::{Random, child, copy_store, rounds, wal};

/// Frames from which on SQLite may have brought the log into the main file, so that the file no longer fits a log that
/// was cut before.
const CHECKPOINT_FRAMES: usize = 2_000;

struct Crashed {
    folder: tempfile::TempDir,
    acked: Acked,
    wal: Vec<u8>,
}

/// A store whose process was killed, with something in its write-ahead log.
fn crashed(random: &mut Random) -> Crashed {
    let folder = tempfile::tempdir().unwrap();
    let mut acked = Acked::default();
    loop {
        let lasts = Duration::from_micros(random.below(100_000));
        child::kill_after(child::start(folder.path(), u64::MAX / 2), lasts, &mut acked);
        let wal = std::fs::read(folder.path().join("hubbub.db-wal")).unwrap_or_default();
        if wal::commits(&wal).len() > 3 {
            return Crashed { folder, acked, wal };
        }
    }
}

fn open(dir: &Path) -> Result<EmbeddedStore, OpenError> {
    EmbeddedStore::open(dir, Options::default())
}

fn garbage(random: &mut Random, len: usize) -> Vec<u8> {
    (0..len).map(|_| random.below(256) as u8).collect()
}

/// A commit that came to the disk in part is as one that never was; nothing before it is lost.
#[tokio::test]
async fn a_torn_commit_costs_nothing_that_was_acked() {
    let mut random = Random::new("torn");
    let copy = tempfile::tempdir().unwrap();
    for round in 0..rounds(8) {
        let crashed = crashed(&mut random);
        let commits = wal::commits(&crashed.wal);
        let (whole, model) =
            (commits.last().unwrap().end, &commits[random.below(commits.len() as u64) as usize]);
        for tear in 0..5 {
            let mut torn = crashed.wal[..whole].to_vec();
            // What a next commit would have left: bytes of the right form in a wrong place, cut anywhere or mixed with
            // what was there before; or nothing that makes sense.
            let next = &crashed.wal[model.clone()];
            match tear {
                0 => {}
                1 => torn.extend(&next[..random.below(next.len() as u64) as usize]),
                2 => torn.extend(next),
                3 => {
                    let len = random.below(20_000) as usize;
                    torn.extend(garbage(&mut random, len));
                }
                _ => {
                    torn.extend(next);
                    let hole = whole + random.below(next.len() as u64) as usize;
                    torn[hole..].fill(0);
                }
            }
            copy_store(crashed.folder.path(), copy.path());
            std::fs::write(copy.path().join("hubbub.db-wal"), &torn).unwrap();
            let store = open(copy.path()).unwrap();
            let wrong = check(&store, &crashed.acked).await;
            assert_eq!(wrong, Vec::<String>::new(), "round {round}, tear {tear}");
        }
    }
}

/// A write-ahead log that lost or changed what was synced is more than a crash can do: what is opened then is a state
/// that once was, or it is not opened.
#[tokio::test]
async fn a_hurt_write_ahead_log_is_an_earlier_state_or_is_refused() {
    let mut random = Random::new("hurt");
    let copy = tempfile::tempdir().unwrap();
    let (mut refused, mut earlier) = (0, 0);
    for round in 0..rounds(8) {
        let crashed = crashed(&mut random);
        let commits = wal::commits(&crashed.wal);
        let end = commits.last().unwrap().clone();
        let may_be_cut = wal::frames(&crashed.wal, &end) < CHECKPOINT_FRAMES;
        for hurt in 0..12 {
            let mut wal = crashed.wal.clone();
            let at = random.below(end.end as u64) as usize;
            match hurt % 3 {
                0 if may_be_cut => wal.truncate(at),
                1 => {
                    let len = (1 + random.below(5_000) as usize).min(wal.len() - at);
                    let garbage = garbage(&mut random, len);
                    wal[at..at + len].copy_from_slice(&garbage);
                }
                _ => wal[at] ^= 1 << random.below(8),
            }
            copy_store(crashed.folder.path(), copy.path());
            std::fs::write(copy.path().join("hubbub.db-wal"), &wal).unwrap();
            let store = match open(copy.path()) {
                Ok(store) => store,
                Err(OpenError::Damaged { .. }) => {
                    assert!(hurt % 3 != 0 || !may_be_cut, "a log that was cut is no damage to refuse");
                    refused += 1;
                    continue;
                }
                Err(other) => panic!("round {round}, hurt {hurt}: {other}"),
            };
            for n in 0..ROOMS {
                let head = check_room(&store, n).await;
                head.unwrap_or_else(|wrong| panic!("round {round}, hurt {hurt} at {at}: {wrong}"));
            }
            earlier += 1;
            let in_the_middle = commits.len() > 6 && (32..commits[commits.len() - 4].start).contains(&at);
            assert!(hurt % 3 == 0 || !in_the_middle, "round {round}, hurt {hurt} at {at}: was not noticed");
        }
    }
    println!("hurt: {refused} refused, {earlier} opened as an earlier state");
}
