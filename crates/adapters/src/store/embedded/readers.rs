//! The threads that read: a few, each with a connection of its own, so that no read ever blocks the runtime.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use hubbub_core::ports::PortFuture;
use hubbub_core::ports::store::Stored;
use rusqlite::Connection;
use tokio::sync::oneshot;

use super::failure::{failed, unavailable};
use super::metrics::{Meters, note_damage};
use super::open::{PAGES_KEPT, connect_reader, give_pages_back};
use super::queue::Refused;

type Job = Box<dyn FnOnce(&Connection) + Send>;

/// Reads that may wait for a thread.
const WAITING_MAX: usize = 4_096;

/// The pool of reading threads.
pub(super) struct Readers {
    jobs: Arc<Jobs>,
    threads: Vec<JoinHandle<()>>,
    meters: Meters,
}

impl Readers {
    pub(super) fn start(file: &Path, count: usize, meters: Meters) -> Stored<Self> {
        let mut readers = Self { jobs: Arc::default(), threads: Vec::new(), meters };
        for n in 0..count.max(1) {
            let (db, jobs) = (connect_reader(file)?, readers.jobs.clone());
            let at_work = AtWork::begin(jobs);
            let work = move || {
                while let Some(job) = at_work.0.take(|| give_pages_back(&db)) {
                    job(&db);
                }
            };
            let thread = std::thread::Builder::new()
                .name(format!("store-read-{n}"))
                .spawn(work)
                .map_err(unavailable)?;
            readers.threads.push(thread);
        }
        Ok(readers)
    }

    /// Runs `read` on one of the threads. It begins after this call.
    pub(super) fn run<T, F>(&self, read: F) -> PortFuture<'_, Stored<T>>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Stored<T> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let damaged = self.meters.damaged.clone();
        let job: Job = Box::new(move |db| {
            // Whoever asked may have gone meanwhile.
            if reply.is_closed() {
                return;
            }
            let result = read(db);
            if let Err(error) = &result {
                note_damage(&damaged, error);
            }
            _ = reply.send(result);
        });
        let refused = match self.jobs.put(job) {
            Ok(()) => None,
            Err(Refused::Full) => {
                self.meters.reads_refused.increment(1);
                Some("too many reads wait")
            }
            Err(Refused::Closed) => Some("the store is closed"),
        };
        Box::pin(async move {
            if let Some(refused) = refused {
                return Err(unavailable(refused));
            }
            answer.await.unwrap_or_else(|_| Err(unavailable("the reading thread ended")))
        })
    }

    /// As [`run`](Self::run), and all that is read is of one moment, by however many statements.
    pub(super) fn run_at_one_moment<T, F>(&self, read: F) -> PortFuture<'_, Stored<T>>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Stored<T> + Send + 'static,
    {
        self.run(move |db| {
            let _moment = db.unchecked_transaction().map_err(failed)?;
            read(db)
        })
    }

    /// Ends the threads after the reads that wait.
    pub(super) fn close(&mut self) {
        self.jobs.close();
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a reading thread of the store panicked");
            }
        }
    }
}

impl Drop for Readers {
    fn drop(&mut self) {
        self.close();
    }
}

/// Reads that wait for a thread. A wake costs as much as a short read: so while one thread is on its way to them nobody else is
/// woken, and it wakes the next if there is more than it takes.
#[derive(Default)]
struct Jobs {
    state: Mutex<Waiting>,
    there: Condvar,
}

/// One thread at it. When the last is gone, and be it by a panic, nobody waits for it.
struct AtWork(Arc<Jobs>);

impl AtWork {
    fn begin(jobs: Arc<Jobs>) -> Self {
        jobs.lock().threads += 1;
        Self(jobs)
    }
}

impl Drop for AtWork {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.threads -= 1;
        if state.threads == 0 {
            state.closed = true;
            let dropped = std::mem::take(&mut state.jobs);
            drop(state);
            // Each is answered by that.
            drop(dropped);
        }
    }
}

#[derive(Default)]
struct Waiting {
    jobs: VecDeque<Job>,
    threads: usize,
    /// Threads that sleep, and whether one of them was woken.
    idle: usize,
    woken: bool,
    closed: bool,
}

impl Jobs {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // Nothing that can panic happens under the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, job: Job) -> Result<(), Refused> {
        let mut state = self.lock();
        if state.closed {
            return Err(Refused::Closed);
        }
        if state.jobs.len() >= WAITING_MAX {
            return Err(Refused::Full);
        }
        state.jobs.push_back(job);
        self.wake_one(state);
        Ok(())
    }

    fn wake_one(&self, mut state: MutexGuard<'_, Waiting>) {
        if state.idle > 0 && !std::mem::replace(&mut state.woken, true) {
            drop(state);
            self.there.notify_one();
        }
    }

    /// The next one; `None` when there is none and none will come. If there is none for long, `rest` is done once meanwhile.
    fn take(&self, rest: impl FnOnce()) -> Option<Job> {
        let mut state = self.lock();
        let mut rest = Some(rest);
        loop {
            if let Some(job) = state.jobs.pop_front() {
                if !state.jobs.is_empty() {
                    self.wake_one(state);
                }
                return Some(job);
            }
            if state.closed {
                return None;
            }
            state.idle += 1;
            let time = if rest.is_some() { PAGES_KEPT } else { Duration::MAX };
            let (lock, waited) = self.there.wait_timeout(state, time).unwrap_or_else(PoisonError::into_inner);
            state = lock;
            state.idle -= 1;
            state.woken = false;
            if waited.timed_out()
                && state.jobs.is_empty()
                && let Some(rest) = rest.take()
            {
                // Whoever puts one meanwhile wakes nobody for it: it is seen below.
                drop(state);
                rest();
                state = self.lock();
            }
        }
    }

    /// No more are taken.
    fn close(&self) {
        self.lock().closed = true;
        self.there.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Barrier, mpsc};
    use std::time::Duration;

    use hubbub_core::entry::{Entry, Says};
    use hubbub_core::ids::{Epoch, Millis, RoomId, Seq, User, UserId};
    use hubbub_core::limits::Content;
    use hubbub_core::ports::store::{Append, MemberChange, Projection, Read, Segment, Store, Trim};

    use super::super::metrics::Meters;
    use super::super::{EmbeddedStore, Options, log};
    use super::{AtWork, Jobs, Readers};

    #[tokio::test]
    async fn a_panic_of_the_last_thread_leaves_nobody_waiting() {
        let folder = tempfile::tempdir().unwrap();
        drop(EmbeddedStore::open(folder.path(), Options::default()).unwrap());
        let file = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path());
        let file = file.into_iter().find(|path| path.extension().is_some_and(|it| it == "db")).unwrap();
        let readers = Readers::start(&file, 1, Meters::new()).unwrap();
        let (go_on, goes_on) = mpsc::channel::<()>();
        let panics = readers.run::<(), _>(move |_| {
            goes_on.recv().unwrap();
            panic!("a defect")
        });
        let waits = readers.run(|_| Ok(()));
        go_on.send(()).unwrap();
        let all =
            async { (panics.await.is_err(), waits.await.is_err(), readers.run(|_| Ok(())).await.is_err()) };
        let told = tokio::time::timeout(Duration::from_secs(20), all).await.expect("each is answered");
        assert_eq!(told, (true, true, true));
    }

    #[test]
    fn a_thread_without_a_job_rests_once_and_then_takes_the_next() {
        let jobs = Arc::new(Jobs::default());
        let at_work = AtWork::begin(jobs.clone());
        let (rests, rested) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            let db = rusqlite::Connection::open_in_memory().unwrap();
            while let Some(job) = at_work.0.take(|| rests.send(()).unwrap()) {
                job(&db);
            }
        });
        let (done, is_done) = mpsc::channel();
        for _ in 0..2 {
            rested.recv_timeout(Duration::from_secs(20)).expect("it rests");
            let done = done.clone();
            jobs.put(Box::new(move |_| done.send(()).unwrap())).unwrap();
            is_done.recv_timeout(Duration::from_secs(20)).expect("it is done");
        }
        jobs.close();
        thread.join().unwrap();
    }

    /// Each of two waits for the other: a thread that sleeps beside one that waits would do so for ever.
    #[test]
    fn no_thread_sleeps_while_a_job_waits() {
        let jobs = Arc::new(Jobs::default());
        let db = || rusqlite::Connection::open_in_memory().unwrap();
        let threads = [db(), db()].map(|db| {
            let at_work = AtWork::begin(jobs.clone());
            std::thread::spawn(move || {
                while let Some(job) = at_work.0.take(|| ()) {
                    job(&db);
                }
            })
        });
        for _ in 0..1_000 {
            let both = Arc::new(Barrier::new(2));
            let (done, all_done) = mpsc::channel();
            for _ in 0..2 {
                let (both, done) = (both.clone(), done.clone());
                let meet = move |_: &rusqlite::Connection| {
                    both.wait();
                    done.send(()).unwrap();
                };
                jobs.put(Box::new(meet)).unwrap();
            }
            for _ in 0..2 {
                all_done.recv_timeout(Duration::from_secs(20)).expect("both are at it");
            }
        }
        jobs.close();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    }

    fn room() -> RoomId {
        RoomId::parse("lobby").unwrap()
    }

    fn ann() -> User {
        User { id: UserId::parse("ann").unwrap(), name: "Ann".into() }
    }

    /// So large that they are rows at once.
    fn append(epoch: u64, seqs: std::ops::RangeInclusive<u64>) -> Append {
        let text = Content::Text("hello ".repeat(6_000));
        let entry = |seq| Entry::new(&room(), Seq(seq), Millis(seq), &ann(), None, Says::Message(&text));
        Append { room: room(), epoch: Epoch(epoch), entries: seqs.map(entry).collect() }
    }

    #[tokio::test]
    async fn what_comes_between_two_statements_of_a_read_is_not_in_it() {
        let folder = tempfile::tempdir().unwrap();
        let store = EmbeddedStore::open(folder.path(), Options::default()).unwrap();
        store.append(append(1, 1..=10)).await.unwrap();
        let (began, begins) = tokio::sync::oneshot::channel();
        let (go_on, goes_on) = mpsc::channel::<()>();
        let all = Read { room: room(), epoch: Epoch(1), seqs: 1..=20, bytes_max: usize::MAX };
        let wanted = all.clone();
        let reading = store.readers.run_at_one_moment(move |db| {
            let first = log::read(db, wanted.clone(), Vec::new())?;
            began.send(()).unwrap();
            goes_on.recv().unwrap();
            Ok((first, log::read(db, wanted, Vec::new())?))
        });
        begins.await.unwrap();
        let mut erased = append(1, 7..=7);
        erased.entries[0] = erased.entries[0].erased(&room()).unwrap();
        store.erase(erased).await.unwrap();
        let trim = Trim { room: room(), epochs: vec![Epoch(1)], seqs: Seq(1)..Seq(4) };
        store.trim(trim).await.unwrap();
        store.append(append(1, 11..=20)).await.unwrap();
        go_on.send(()).unwrap();

        let (first, second) = reading.await.unwrap();
        assert_eq!(first, append(1, 1..=10).entries);
        assert_eq!(second, first);
        let later = store.read(all).await.unwrap();
        assert_eq!((later.len(), later[0].seq), (17, Seq(4)));
        assert_ne!(later[3], first[6], "it was erased");
    }

    /// Until `writes` are done, reads again and again.
    async fn while_writing(writes: impl Future<Output = ()>, mut read: impl AsyncFnMut()) {
        let mut writes = std::pin::pin!(writes);
        loop {
            tokio::select! {
                () = &mut writes => return,
                () = read() => {}
            }
        }
    }

    #[tokio::test]
    async fn segments_and_their_entries_are_of_one_moment() {
        let folder = tempfile::tempdir().unwrap();
        let options = Options { commit_pace: Duration::ZERO, ..Options::default() };
        let store = EmbeddedStore::open(folder.path(), options).unwrap();
        let writes = async {
            for epoch in 1..=100 {
                let prev = (epoch > 1).then_some(Epoch(epoch - 1));
                let segment = Segment { epoch: Epoch(epoch), start: Seq(epoch), prev };
                store.put_segment(room(), segment).await.unwrap();
                store.append(append(epoch, epoch..=epoch)).await.unwrap();
            }
        };
        while_writing(writes, async || drop(store.segments(room()).await.unwrap())).await;
    }

    #[tokio::test]
    async fn rows_that_are_put_together_anew_meanwhile_are_no_damage() {
        let folder = tempfile::tempdir().unwrap();
        let options =
            Options { commit_pace: Duration::ZERO, fold_after: Duration::ZERO, ..Options::default() };
        let store = EmbeddedStore::open(folder.path(), options).unwrap();
        let says = |seq| {
            let text = Content::Text("hello".to_owned());
            Entry::new(&room(), Seq(seq), Millis(seq), &ann(), None, Says::Message(&text))
        };
        let entries = (1..=100).map(says).collect();
        store.append(Append { room: room(), epoch: Epoch(1), entries }).await.unwrap();
        let is_folded = async || (store.shared.recent.bytes().1 == 0).then_some(());
        hubbub_testkit::eventually("all of it is one row", is_folded).await;
        let writes = async {
            for gone in 1..90 {
                let trim = Trim { room: room(), epochs: vec![Epoch(1)], seqs: Seq(gone)..Seq(gone + 1) };
                store.trim(trim).await.unwrap();
            }
        };
        let read = async || {
            let read = Read { room: room(), epoch: Epoch(1), seqs: 91..=100, bytes_max: usize::MAX };
            assert_eq!(store.read(read).await.unwrap().len(), 10);
        };
        while_writing(writes, read).await;
    }

    #[tokio::test]
    async fn a_room_that_is_left_and_joined_is_always_one_that_the_user_was_in() {
        let folder = tempfile::tempdir().unwrap();
        let options = Options { commit_pace: Duration::ZERO, ..Options::default() };
        let store = EmbeddedStore::open(folder.path(), options).unwrap();
        let says = async |seq: u64| {
            let change = MemberChange { user: ann(), seq: Seq(seq), member: !seq.is_multiple_of(2) };
            let projection = Projection {
                room: room(),
                facts: None,
                created_at: None,
                members: vec![change],
                member_count: seq % 2,
                mark: Seq(seq),
                mark_at: Millis(seq),
                erased: None,
                kept: None,
            };
            store.project(projection).await.unwrap();
        };
        says(1).await;
        let writes = async {
            for seq in 2..=200 {
                says(seq).await;
            }
        };
        let read = async || assert_eq!(store.rooms_ever_of(ann().id, None, 9).await.unwrap(), [room()]);
        while_writing(writes, read).await;
    }
}
