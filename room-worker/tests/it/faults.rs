//! A store that fails as stores do: a decorator of the real one, told what to do with each operation.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fastrand::Rng;
use hubbub_core::ids::{Epoch, LogId, Partition, Partitions, RoomId, Seq, UserId};
use hubbub_core::ports::PortFuture;
use hubbub_core::ports::store::{
    Append, Appended, DirectoryCursor, JoinedRoom, MemberRow, Projection, Read, RoomRow, Segment, Store,
    StoreError, Stored, Trim,
};
use tokio::sync::Semaphore;

/// What is asked of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    Claim,
    Fence,
    Segments,
    PutSegment,
    Append,
    Erase,
    Trim,
    Read,
    Project,
    Lists,
}

/// What happens to an operation.
pub enum Fault {
    /// Nothing.
    None,
    /// It begins later.
    Delay(Duration),
    /// It waits until the gate has a permit, and begins then.
    Gate(Arc<Semaphore>),
    /// It is not done, and fails.
    Before,
    /// It is done, and fails: the answer is lost.
    After,
    /// It fails, and is done later all the same: a zombie.
    Late(Duration),
    /// What it comes upon is damaged: it is not tried again.
    Damage,
}

pub type Plan = Arc<dyn Fn(Op) -> Fault + Send + Sync>;

/// The real store, with faults.
pub struct Faulty {
    pub inner: Arc<dyn Store>,
    pub plan: Plan,
    /// All partitions are this one in the store, so that many worlds share one file.
    pub partition: Partition,
    /// A room of which one kind of operation fails, and every other goes on.
    pub broken: Option<Broken>,
    /// What was barred: nobody finds it, as in a store where what is late may come yet.
    pub barred: Bars,
}

/// From which seq on a room's segments are barred.
pub type Bars = Arc<Mutex<Vec<(RoomId, Epoch, Seq)>>>;

/// See [`Faulty::broken`].
#[derive(Clone)]
pub struct Broken {
    pub room: RoomId,
    pub op: Op,
    /// Until it is mended.
    pub mended: Arc<AtomicBool>,
}

fn lost() -> StoreError {
    StoreError::Unavailable { inside: "a fault of the test".into() }
}

impl Faulty {
    fn run<T: Send + 'static>(
        &self,
        op: Op,
        work: impl FnOnce(Arc<dyn Store>) -> PortFuture<'static, Stored<T>> + Send + 'static,
    ) -> PortFuture<'static, Stored<T>> {
        self.run_faulty((self.plan)(op), work)
    }

    /// As [`run`](Self::run), of a room.
    fn run_in<T: Send + 'static>(
        &self,
        room: &RoomId,
        op: Op,
        work: impl FnOnce(Arc<dyn Store>) -> PortFuture<'static, Stored<T>> + Send + 'static,
    ) -> PortFuture<'static, Stored<T>> {
        let is_hit = |broken: &Broken| broken.op == op && broken.room == *room;
        match self.broken.as_ref().filter(|broken| is_hit(broken)) {
            Some(broken) if !broken.mended.load(Ordering::SeqCst) => self.run_faulty(Fault::Before, work),
            _ => self.run(op, work),
        }
    }

    fn run_faulty<T: Send + 'static>(
        &self,
        fault: Fault,
        work: impl FnOnce(Arc<dyn Store>) -> PortFuture<'static, Stored<T>> + Send + 'static,
    ) -> PortFuture<'static, Stored<T>> {
        let inner = self.inner.clone();
        Box::pin(async move {
            match fault {
                Fault::None => work(inner).await,
                Fault::Delay(delay) => {
                    tokio::time::sleep(delay).await;
                    work(inner).await
                }
                Fault::Gate(gate) => {
                    gate.acquire().await.expect("open").forget();
                    work(inner).await
                }
                Fault::Before => Err(lost()),
                Fault::Damage => Err(StoreError::Damaged { what: "a fault of the test".into() }),
                Fault::After => work(inner).await.and_then(|_| Err(lost())),
                Fault::Late(delay) => {
                    tokio::spawn(async move {
                        tokio::time::sleep(delay).await;
                        _ = work(inner).await;
                    });
                    Err(lost())
                }
            }
        })
    }
}

macro_rules! on {
    ($self:ident, $op:ident, $inner:ident => $call:expr) => {
        $self.run(Op::$op, move |$inner| Box::pin(async move { $call.await }))
    };
}

impl Store for Faulty {
    fn log_id(&self) -> LogId {
        self.inner.log_id()
    }

    fn partitions(&self, candidate: Partitions) -> PortFuture<'_, Stored<Partitions>> {
        self.inner.partitions(candidate)
    }

    fn claim(&self, _: Partition) -> PortFuture<'_, Stored<Epoch>> {
        let partition = self.partition;
        on!(self, Claim, inner => inner.claim(partition))
    }

    fn fence(&self, _: Partition) -> PortFuture<'_, Stored<Epoch>> {
        let partition = self.partition;
        on!(self, Fence, inner => inner.fence(partition))
    }

    fn segments(&self, room: RoomId) -> PortFuture<'_, Stored<Vec<Segment>>> {
        on!(self, Segments, inner => inner.segments(room))
    }

    fn put_segment(&self, room: RoomId, segment: Segment) -> PortFuture<'_, Stored<()>> {
        on!(self, PutSegment, inner => inner.put_segment(room, segment))
    }

    fn append_then(&self, append: &Append, appended: Appended) {
        let append = append.clone();
        let room = append.room.clone();
        let done =
            self.run_in(&room, Op::Append, move |inner| Box::pin(async move { inner.append(append).await }));
        tokio::spawn(async move { appended.tell(done.await) });
    }

    fn erase(&self, erased: Append) -> PortFuture<'_, Stored<()>> {
        on!(self, Erase, inner => inner.erase(erased))
    }

    fn bar(&self, room: RoomId, epoch: Epoch, from: Seq) -> PortFuture<'_, Stored<()>> {
        let barred = self.barred.clone();
        self.run(Op::Erase, move |inner| {
            Box::pin(async move {
                barred.lock().unwrap().push((room.clone(), epoch, from));
                inner.bar(room, epoch, from).await
            })
        })
    }

    fn trim(&self, trim: Trim) -> PortFuture<'_, Stored<Seq>> {
        on!(self, Trim, inner => inner.trim(trim))
    }

    fn rooms_with_retention(
        &self,
        after: Option<RoomId>,
        limit: usize,
    ) -> PortFuture<'_, Stored<Vec<RoomId>>> {
        on!(self, Lists, inner => inner.rooms_with_retention(after, limit))
    }

    fn read(&self, read: Read) -> PortFuture<'_, Stored<Vec<hubbub_core::entry::Entry>>> {
        let barred = self.barred.clone();
        self.run(Op::Read, move |inner| {
            Box::pin(async move {
                let (room, epoch) = (read.room.clone(), read.epoch);
                let mut rows = inner.read(read).await?;
                let barred = barred.lock().unwrap();
                let from = barred.iter().filter(|bar| bar.0 == room && bar.1 == epoch).map(|bar| bar.2).min();
                rows.retain(|row| from.is_none_or(|from| row.seq < from));
                Ok(rows)
            })
        })
    }

    fn project(&self, projection: Projection) -> PortFuture<'_, Stored<()>> {
        let room = projection.room.clone();
        self.run_in(&room, Op::Project, move |inner| Box::pin(async move { inner.project(projection).await }))
    }

    fn room(&self, room: RoomId) -> PortFuture<'_, Stored<Option<RoomRow>>> {
        on!(self, Lists, inner => inner.room(room))
    }

    fn members(
        &self,
        room: RoomId,
        after: Option<UserId>,
        limit: usize,
    ) -> PortFuture<'_, Stored<Vec<MemberRow>>> {
        on!(self, Lists, inner => inner.members(room, after, limit))
    }

    fn rooms_ever_of(
        &self,
        user: UserId,
        after: Option<RoomId>,
        limit: usize,
    ) -> PortFuture<'_, Stored<Vec<RoomId>>> {
        on!(self, Lists, inner => inner.rooms_ever_of(user, after, limit))
    }

    fn rooms_of(
        &self,
        user: UserId,
        after: Option<RoomId>,
        limit: usize,
    ) -> PortFuture<'_, Stored<Vec<JoinedRoom>>> {
        on!(self, Lists, inner => inner.rooms_of(user, after, limit))
    }

    fn directory(
        &self,
        after: Option<DirectoryCursor>,
        limit: usize,
    ) -> PortFuture<'_, Stored<Vec<RoomRow>>> {
        on!(self, Lists, inner => inner.directory(after, limit))
    }

    fn check(&self) -> PortFuture<'_, Stored<()>> {
        on!(self, Lists, inner => inner.check())
    }
}

/// Faults of all kinds, drawn by the seed, until it is `calm`.
pub fn bad_weather(seed: u64, calm: Arc<AtomicBool>) -> impl Fn(Op) -> Fault + Send + Sync + 'static {
    let rng = Mutex::new(Rng::with_seed(seed));
    // Some worlds are worse than others.
    let badness = seed % 4 * 8 + 4;
    move |op| {
        if calm.load(Ordering::SeqCst) {
            return Fault::None;
        }
        let mut rng = rng.lock().unwrap();
        if rng.u64(..100) >= badness {
            return Fault::None;
        }
        let some_time = Duration::from_micros(rng.u64(..8_000));
        let writes =
            matches!(op, Op::Claim | Op::PutSegment | Op::Append | Op::Erase | Op::Trim | Op::Project);
        match rng.u8(..4) {
            0 => Fault::Delay(some_time),
            1 => Fault::Before,
            2 => Fault::After,
            _ if writes && op != Op::Claim => Fault::Late(some_time * 4),
            _ => Fault::Delay(some_time),
        }
    }
}
