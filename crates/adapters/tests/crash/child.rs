//! The process that writes until it is killed, and how the test starts it.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hubbub_adapters::store::{EmbeddedStore, Options};
use hubbub_core::ids::{Epoch, Partition, Seq};
use hubbub_core::ports::store::{Append, Segment, Store};

use super::check::{Acked, entry, projection, read_log, room};

/// Rooms that are written to at once.
pub const ROOMS: u64 = 12;
const FOLDER: &str = "HUBBUB_CRASH_FOLDER";
const ENTRIES_MAX: &str = "HUBBUB_CRASH_ENTRIES";
const LOG_PAGES: &str = "HUBBUB_CRASH_LOG_PAGES";

/// Starts a child that writes into `folder` until it is killed, or has written that many entries a room.
pub fn start(folder: &Path, entries_max: u64) -> Child {
    command(folder, entries_max).spawn().unwrap()
}

/// Starts one that brings its write-ahead log into the file all the time, so that it is killed at that as well.
pub fn start_at_checkpoints(folder: &Path) -> Child {
    command(folder, u64::MAX / 2).env(LOG_PAGES, "40").spawn().unwrap()
}

/// The command that [`start`] runs.
pub fn command(folder: &Path, entries_max: u64) -> Command {
    let mut command = command_of("child::writes_until_it_is_killed", folder);
    command.env(ENTRIES_MAX, entries_max.to_string());
    command
}

/// The command that runs one of the tests that are processes of others.
pub fn command_of(test: &str, folder: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", test, "--ignored", "--nocapture"])
        .env(FOLDER, folder)
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit());
    command
}

/// The folder that such a process was given.
pub fn folder() -> Option<OsString> {
    std::env::var_os(FOLDER)
}

/// Kills when dropped, so that a test that fails leaves no process behind.
pub struct Guard(pub Child);

impl Drop for Guard {
    fn drop(&mut self) {
        _ = self.0.kill();
        _ = self.0.wait();
    }
}

/// Lets the child write for `lasts` after its first ack, kills it, and adds what it had acked.
pub fn kill_after(child: Child, lasts: Duration, acked: &mut Acked) -> usize {
    let mut child = Guard(child);
    let lines = BufReader::new(child.0.stdout.take().unwrap()).lines();
    let (mut killed_at, mut heard) = (None, 0);
    for line in lines.map_while(Result::ok) {
        if !hear(&line, acked) {
            continue;
        }
        heard += 1;
        let at = *killed_at.get_or_insert_with(|| Instant::now() + lasts);
        if Instant::now() >= at {
            // What it said before it died is still read: the pipe outlives it.
            child.0.kill().unwrap();
        }
    }
    heard
}

/// Takes in a line of the child; false if it was nothing about the store.
pub fn hear(line: &str, acked: &mut Acked) -> bool {
    let mut words = line.split(' ');
    let what = words.next();
    let numbers: Vec<u64> = words.map_while(|word| word.parse().ok()).collect();
    match (what, &*numbers) {
        (Some("ack"), [room, epoch, first, last]) => {
            let entries = acked.entries.entry(*room).or_default();
            entries.extend((*first..=*last).map(|seq| (seq, *epoch)));
            true
        }
        (Some("mark"), [room, mark]) => {
            acked.marks.insert(*room, *mark);
            true
        }
        _ => false,
    }
}

pub fn say(line: &str) {
    // Whoever listened may be gone.
    _ = std::io::stdout().lock().write_all(format!("{line}\n").as_bytes());
}

#[test]
#[ignore = "is the process that the other tests kill"]
fn writes_until_it_is_killed() {
    let Some(folder) = folder() else { return };
    let entries_max: u64 = std::env::var(ENTRIES_MAX).unwrap().parse().unwrap();
    let mut options = Options { fold_after: Duration::from_millis(20), ..Options::default() };
    if let Ok(pages) = std::env::var(LOG_PAGES) {
        options.log_pages = pages.parse().unwrap();
    }
    let store: Arc<dyn Store> = Arc::new(EmbeddedStore::open(Path::new(&folder), options).unwrap());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let epoch = store.claim(Partition(0)).await.unwrap();
        let rooms: Vec<_> =
            (0..ROOMS).map(|n| tokio::spawn(write(store.clone(), n, epoch, entries_max))).collect();
        for room in rooms {
            room.await.unwrap();
        }
    });
}

/// Writes to one room as its holder does: first touch, then one batch after the other, projections now and then. What
/// is refused is tried again.
async fn write(store: Arc<dyn Store>, n: u64, epoch: Epoch, entries_max: u64) {
    let room = room(n);
    let mut head = read_log(&*store, &room).await.unwrap().len() as u64;
    let prev = store.segments(room.clone()).await.unwrap().last().map(|segment| segment.epoch);
    let segment = Segment { epoch, start: Seq(head + 1), prev };
    while store.put_segment(room.clone(), segment).await.is_err() {
        refused().await;
    }
    let end = head + entries_max;
    while head < end {
        let (first, last) = (head + 1, (head + 1 + (head * 7 + n) % 4).min(end));
        let entries: Vec<_> = (first..=last).map(|seq| entry(&room, epoch, seq)).collect();
        while store.append(Append { room: room.clone(), epoch, entries: entries.clone() }).await.is_err() {
            refused().await;
        }
        say(&format!("ack {n} {epoch} {first} {last}"));
        head = last;
        if head.is_multiple_of(5) || head == end {
            while store.project(projection(&room, head)).await.is_err() {
                refused().await;
            }
            say(&format!("mark {n} {head}"));
        }
    }
}

async fn refused() {
    say("refused");
    tokio::time::sleep(Duration::from_millis(20)).await;
}
