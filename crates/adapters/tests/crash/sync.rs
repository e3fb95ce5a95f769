//! A sync of the data file that fails at a checkpoint, and the power cut after it.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::time::Duration;

use hubbub_adapters::store::{EmbeddedStore, Options};
use hubbub_core::ids::{Partition, Seq};
use hubbub_core::ports::store::{Append, Segment, Store};
use hubbub_testkit::library_of_syncs;

use super::check::{Acked, check, entry, room};
use super::{child, copy_store};

/// In the folder: the next sync of the data file fails, once, as the system says it once.
const FAILS: &str = "the-next-sync-fails";
const ENTRIES: u64 = 3_000;

/// Which sync fails: one of the data file, for which there is that file, which goes with it.
const SYNCS: &str = r#"
static int fails(char *path, char *name) {
    if (strcmp(name, "hubbub.db") != 0) return 0;
    strcpy(name, "the-next-sync-fails");
    return unlink(path) == 0;
}
"#;

/// Of what came to the file since its last good sync nothing may be left; the system took it for written, and says so at the next
/// sync. So the log has to keep all of it, and nothing more is promised.
#[tokio::test]
async fn after_a_sync_of_the_file_that_failed_the_log_keeps_all_and_nothing_is_written() {
    let (folder, synced) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    drop(EmbeddedStore::open(folder.path(), Options::default()).unwrap());
    copy_store(folder.path(), synced.path());
    std::fs::write(folder.path().join(FAILS), "").unwrap();

    let mut command = child::command_of("sync::writes_past_a_sync_that_fails", folder.path());
    command.env("LD_PRELOAD", library_of_syncs(synced.path(), SYNCS));
    let mut running = child::Guard(command.spawn().unwrap());
    let (mut acked, mut said) = (Acked::default(), Vec::new());
    for line in BufReader::new(running.0.stdout.take().unwrap()).lines().map_while(Result::ok) {
        if !child::hear(&line, &mut acked) {
            said.push(line);
        }
    }
    assert!(running.0.wait().unwrap().success(), "{said:#?}");
    assert!(!folder.path().join(FAILS).exists(), "a sync failed");

    std::fs::copy(synced.path().join("hubbub.db"), folder.path().join("hubbub.db")).unwrap();
    _ = std::fs::remove_file(folder.path().join("hubbub.db-shm"));
    let store = EmbeddedStore::open(folder.path(), Options::default()).unwrap();
    let lost = check(&store, &acked).await;
    assert!(lost.is_empty(), "{} lost or wrong, the first: {}", lost.len(), lost[0]);
    store.check().await.unwrap();

    let kept = acked.entries[&0].len() as u64;
    assert!((50..ENTRIES).contains(&kept), "{kept} entries were taken");
    let refused: Vec<_> = said.iter().filter_map(|line| line.strip_prefix("refused ")).collect();
    assert!(refused.len() > 100, "{said:#?}");
    assert!(refused.iter().all(|why| why.contains("start again")), "{refused:#?}");
    assert!(said.iter().any(|line| line.starts_with("unready") && line.contains("start again")), "{said:#?}");
}

#[test]
#[ignore = "is the process whose sync fails"]
fn writes_past_a_sync_that_fails() {
    let Some(folder) = child::folder() else { return };
    let options = Options {
        commit_pace: Duration::ZERO,
        fold_after: Duration::from_millis(20),
        log_pages: 200,
        ..Options::default()
    };
    let store = EmbeddedStore::open(Path::new(&folder), options).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let epoch = store.claim(Partition(0)).await.unwrap();
        store.put_segment(room(0), Segment { epoch, start: Seq(1), prev: None }).await.unwrap();
        let mut head = 0;
        for _ in 0..ENTRIES {
            let entries = vec![entry(&room(0), epoch, head + 1)];
            match store.append(Append { room: room(0), epoch, entries }).await {
                Ok(()) => {
                    head += 1;
                    child::say(&format!("ack 0 {epoch} {head} {head}"));
                }
                Err(error) => child::say(&format!("refused {error}")),
            }
        }
        if let Err(error) = store.check().await {
            child::say(&format!("unready {error}"));
        }
    });
}
