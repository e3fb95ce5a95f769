//! `Store`: where logs live. The model is the one of the architecture page: a fence a partition, a chain of
//! segments a room, and rows that are written once.
//!
//! # The contract
//! - An `Ok` of a write means *durable*: it survives the loss of the process and of power at that instant.
//! - Two epochs never write the same row ([`Append`] names its epoch), and the same row is always the same
//!   bytes: any write may be repeated, in any order, at any time later, by anyone.
//! - An `Err(Unavailable)` of a write means *unknown*: it may be there, it may come later.
//! - A read that begins after a write returned sees it ([`Store::fence`] too: a plain read, not a
//!   transaction; that it comes *after* the write is what makes it enough).
//! - One thing may be taken back: what a message says ([`Store::erase`]). It is gone for good: no read that begins after the
//!   `Ok` shows it, and no append that is repeated brings it back.
//! - So may the oldest rows of a log ([`Store::trim`]), once the log itself says that it begins after them. A row of theirs whose write is repeated
//!   later may be there again: nobody reads it.
//! - Projections ([`Store::project`]) are cells ordered by seq: a late or repeated one changes nothing newer.
//! - What is damaged is [`StoreError::Damaged`], never served and never skipped.
//!
//! ```text
//! holder:  claim(p) → e … segments(room) → read(old rows) → put_segment(room, e, start, prev)
//!          → fence(p) = e? → open
//!          append(room, e, entries) → fence(p) = e? → project(…) → ack
//! ```
//!
//! All futures are cancel safe in this sense: a write whose future is dropped is as one that returned
//! `Unavailable`.

use std::ops::{Range, RangeInclusive};

use futures_channel::oneshot;

use crate::entry::{Damaged, Entry, Kept, RoomFacts};
use crate::ids::{Epoch, LogId, Millis, Partition, Partitions, RoomId, Seq, User, UserId};
use crate::ports::PortFuture;

/// What can go wrong with a store.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// Not now, and whether it was done is unknown. `inside` is for the log.
    #[error("the store is not available: {inside}")]
    Unavailable {
        /// What the product said.
        inside: String,
    },
    /// Stored bytes are not what was written. Someone must look.
    #[error("the store is damaged: {what}")]
    Damaged {
        /// What was found, and where.
        what: String,
    },
}

impl From<Damaged> for StoreError {
    fn from(damaged: Damaged) -> Self {
        Self::Damaged { what: damaged.to_string() }
    }
}

/// The result of an operation of the store.
pub type Stored<T> = Result<T, StoreError>;

/// The part of a room's log that one epoch writes: it begins at `start`, and what is before it is in the
/// segment of `prev` (`None` for the room's first).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment {
    /// Whose.
    pub epoch: Epoch,
    /// Its first seq.
    pub start: Seq,
    /// The epoch of the segment before.
    pub prev: Option<Epoch>,
}

/// Consecutive entries of one room, written by one epoch.
#[derive(Debug, Clone)]
pub struct Append {
    /// Whose log.
    pub room: RoomId,
    /// Which segment.
    pub epoch: Epoch,
    /// Ascending, without a gap, at least one.
    pub entries: Vec<Entry>,
}

/// A user's membership as of a seq: the last word about them up to there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberChange {
    /// Who.
    pub user: User,
    /// The entry that says so.
    pub seq: Seq,
    /// A member from there on, or not.
    pub member: bool,
}

/// What a room's committed log says up to `mark`, brought to the tables that lists are read from.
#[derive(Debug, Clone)]
pub struct Projection {
    /// Which room.
    pub room: RoomId,
    /// The facts, if they changed.
    pub facts: Option<RoomFacts>,
    /// When the room was made, if this is its first projection.
    pub created_at: Option<Millis>,
    /// Who joined or left; one word a user.
    pub members: Vec<MemberChange>,
    /// How many members there are at `mark`.
    pub member_count: u64,
    /// All entries up to here are in the projections.
    pub mark: Seq,
    /// The time of the entry at `mark`: those after it are never given an earlier one.
    pub mark_at: Millis,
    /// The last entry that says that messages were erased, if there is one since the projection before.
    pub erased: Option<Seq>,
    /// What is kept of the log, and the last entry that says so, if there is one since the projection before.
    pub kept: Option<(Kept, Seq)>,
}

/// A room as its projection shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoomRow {
    /// Which.
    pub room: RoomId,
    /// Name, topic, owner.
    pub facts: RoomFacts,
    /// When it was made.
    pub created_at: Millis,
    /// How many members.
    pub member_count: u64,
    /// Up to which entry this is so. The log's head may be higher.
    pub mark: Seq,
    /// The time of the entry at `mark`.
    pub mark_at: Millis,
    /// The last entry up to the mark that says that messages were erased; 0 if there is none.
    pub erased: Seq,
    /// What is kept of the log, and the last entry up to the mark that says so; 0 if there is none.
    pub kept: (Kept, Seq),
    /// Rows before this seq were trimmed; 0 if none ever were. It comes after what is kept, up to its `first`.
    pub trimmed: Seq,
}

/// A member of a room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberRow {
    /// Who, with the name they joined with.
    pub user: User,
    /// The seq of their join.
    pub joined: Seq,
}

/// A room of a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinedRoom {
    /// The room.
    pub room: RoomId,
    /// The seq of the join.
    pub joined: Seq,
}

/// Rows of one segment to read, ascending.
#[derive(Debug, Clone)]
pub struct Read {
    /// Whose log.
    pub room: RoomId,
    /// Which segment's rows.
    pub epoch: Epoch,
    /// From and to, both included.
    pub seqs: RangeInclusive<u64>,
    /// Stop after the row with which this many bytes are reached. At least one row is returned if there is one.
    pub bytes_max: usize,
}

/// Rows to let go.
#[derive(Debug, Clone)]
pub struct Trim {
    /// Whose log.
    pub room: RoomId,
    /// Of which segments.
    pub epochs: Vec<Epoch>,
    /// Which seqs of each, the end not included.
    pub seqs: Range<Seq>,
}

/// Where a page of the directory begins: after the room that was made at that time and has that id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectoryCursor {
    /// When the last room of the page before was made.
    pub created_at: Millis,
    /// Its id, for rooms made in the same millisecond.
    pub room: RoomId,
}

/// Whom to tell what came of an append: once, on whatever thread that is, perhaps before [`Store::append_then`] returns. What is called
/// must not block, nor call the store.
pub struct Appended(Option<Box<dyn FnOnce(Stored<()>) + Send>>);

impl Appended {
    /// Has `tell` called.
    pub fn new(tell: impl FnOnce(Stored<()>) + Send + 'static) -> Self {
        Self(Some(Box::new(tell)))
    }

    /// Tells. Dropped without, it tells that nobody knows.
    pub fn tell(mut self, done: Stored<()>) {
        if let Some(tell) = self.0.take() {
            tell(done);
        }
    }
}

impl Drop for Appended {
    fn drop(&mut self) {
        if let Some(tell) = self.0.take() {
            tell(Err(StoreError::Unavailable { inside: "who would have written it is gone".into() }));
        }
    }
}

/// A store of logs. See the [module](self) for what it promises.
pub trait Store: Send + Sync + 'static {
    /// Which store this is: made at its birth, the same ever after.
    fn log_id(&self) -> LogId;

    /// How many partitions the rooms of this store are divided into: `candidate` if nobody said so before, and the same ever
    /// after. A node that was told another number must not go on: it would look for a room at another fence.
    fn partitions(&self, candidate: Partitions) -> PortFuture<'_, Stored<Partitions>>;

    /// Takes the partition: sets its fence to a number higher than any before, and returns it.
    /// From then on nobody with a lower one may ack.
    fn claim(&self, partition: Partition) -> PortFuture<'_, Stored<Epoch>>;

    /// The partition's newest claim; 0 if there was none.
    fn fence(&self, partition: Partition) -> PortFuture<'_, Stored<Epoch>>;

    /// The segments of a room, by ascending epoch.
    fn segments(&self, room: RoomId) -> PortFuture<'_, Stored<Vec<Segment>>>;

    /// Writes a segment's row.
    fn put_segment(&self, room: RoomId, segment: Segment) -> PortFuture<'_, Stored<()>>;

    /// Writes entries, and tells `appended` what came of it. They come all or some: only an `Ok` says that all are there.
    fn append_then(&self, append: &Append, appended: Appended);

    /// As [`Store::append_then`], with a future of what comes of it: the write is on its way when this returns, whether the future is
    /// polled or not.
    fn append(&self, append: Append) -> PortFuture<'static, Stored<()>> {
        let (tell, told) = oneshot::channel();
        self.append_then(&append, Appended::new(move |done| _ = tell.send(done)));
        let unknown = |_| Err(StoreError::Unavailable { inside: "nobody told".into() });
        Box::pin(async move { told.await.unwrap_or_else(unknown) })
    }

    /// Reads rows of one segment: those that are there, which may be fewer than asked, also with gaps where
    /// a write was never acknowledged.
    ///
    /// # Errors
    /// `Damaged` when a row that is there can't be read.
    fn read(&self, read: Read) -> PortFuture<'_, Stored<Vec<Entry>>>;

    /// Writes once more entries that are there, without what they said: each is what [`Entry::erased`] left of it. Any write of them
    /// as they were, before or after this one, has no effect from here on.
    ///
    /// An `Ok` means that the former bytes are served to nobody. How long they can still be found in files is each store's to say.
    fn erase(&self, erased: Append) -> PortFuture<'_, Stored<()>>;

    /// Has no write of a segment's rows from a seq on any effect, however late it comes: that of a holder who was fenced, and whose append was on
    /// its way. Rows that are there may go. Only what no holder takes for a part of the log may be barred: another segment goes on before that
    /// seq, for good.
    fn bar(&self, room: RoomId, epoch: Epoch, from: Seq) -> PortFuture<'_, Stored<()>>;

    /// Lets rows go for good, and keeps in mind that all before the end are gone ([`RoomRow::trimmed`]). It may do less than it is asked for at once:
    /// all before the seq that it returns are gone. Only what the log says is not kept may be trimmed, for nobody reads that.
    ///
    /// An `Ok` means that the rows are served to nobody. How long their bytes can still be found in files is each store's to say.
    fn trim(&self, trim: Trim) -> PortFuture<'_, Stored<Seq>>;

    /// Rooms of which not all is to be kept, or which still have rows before their first entry, in an order of the store's own, after `after`, at most `limit`.
    fn rooms_with_retention(
        &self,
        after: Option<RoomId>,
        limit: usize,
    ) -> PortFuture<'_, Stored<Vec<RoomId>>>;

    /// Brings projections up to the log.
    fn project(&self, projection: Projection) -> PortFuture<'_, Stored<()>>;

    /// A room as projected; `None` if it never was.
    fn room(&self, room: RoomId) -> PortFuture<'_, Stored<Option<RoomRow>>>;

    /// Members of a room by ascending id, after `after`, at most `limit`.
    fn members(
        &self,
        room: RoomId,
        after: Option<UserId>,
        limit: usize,
    ) -> PortFuture<'_, Stored<Vec<MemberRow>>>;

    /// The rooms that a user is a member of, by ascending room id, after `after`, at most `limit`.
    fn rooms_of(
        &self,
        user: UserId,
        after: Option<RoomId>,
        limit: usize,
    ) -> PortFuture<'_, Stored<Vec<JoinedRoom>>>;

    /// The rooms that a user is or was a member of, by ascending id, after `after`, at most `limit`: where they may have said something.
    fn rooms_ever_of(
        &self,
        user: UserId,
        after: Option<RoomId>,
        limit: usize,
    ) -> PortFuture<'_, Stored<Vec<RoomId>>>;

    /// Rooms, the newest first, from `after` on, at most `limit`.
    fn directory(&self, after: Option<DirectoryCursor>, limit: usize)
    -> PortFuture<'_, Stored<Vec<RoomRow>>>;

    /// Whether the store can be written to now: for readiness. Cheap; may be asked every second.
    fn check(&self) -> PortFuture<'_, Stored<()>>;
}
