//! One room's log, written without a worker: by a process that has the store to itself, such as an import.
//!
//! The same machine decides, and the log gets into the store by the same steps: segment, append, fence, lists. What is missing
//! is all that serves others: no asks, no bus, no leases. A process that was killed left a log that is whole up to some entry;
//! whoever opens the room next goes on from there.

use std::sync::Arc;

use hubbub_core::entry::Entry;
use hubbub_core::ids::{Epoch, Partition, RoomId, Seq};
use hubbub_core::ports::store::{Append, Segment, Store};
use hubbub_core::room::{Action, Answer, Room};

use crate::append::append;
use crate::error::OpenError;
use crate::projecting::Unprojected;
use crate::recovery::{Link, Opened, each_of_range, first_touch, keyed};
use crate::retry::{patiently, until_done};

/// Entries and bytes with which a batch is written.
const BATCH_ENTRIES_MAX: usize = 1_024;
const BATCH_BYTES_MAX: usize = 512 * 1024;

/// By which claim a room is written.
#[derive(Debug, Clone, Copy)]
pub struct Claim {
    /// The room's partition.
    pub partition: Partition,
    /// What [`Store::claim`] gave for it.
    pub epoch: Epoch,
}

/// A room of a store that nobody else writes to. Dropped, it leaves what was written; what was decided since the last batch is
/// as if it had never been.
pub struct OfflineRoom {
    store: Arc<dyn Store>,
    id: RoomId,
    claim: Claim,
    room: Room,
    link: Link,
    /// Decided and not written.
    next: Vec<(Entry, u64)>,
    bytes: usize,
    unprojected: Unprojected,
}

impl OfflineRoom {
    /// Opens the room at the end of its log; one that nobody made has an empty log.
    ///
    /// # Errors
    /// When the log can't be read, or somebody with a newer claim has written to it.
    pub async fn open(store: Arc<dyn Store>, id: RoomId, claim: Claim) -> Result<Self, OpenError> {
        let opened = patiently(|| first_touch(store.clone(), id.clone(), claim.epoch, usize::MAX)).await?;
        let Opened { room, link, mark, found } = opened;
        let members = room.members().len() as u64;
        let mut unprojected = Unprojected::new(mark, members);
        // A count of members goes with the mark of the last of them only.
        found.iter().for_each(|entry| unprojected.push(entry, members));
        Ok(Self { store, id, claim, room, link, next: Vec::new(), bytes: 0, unprojected })
    }

    /// The room as decided so far.
    pub fn room(&self) -> &Room {
        &self.room
    }

    /// Decides on an action, and writes when enough is decided. Its entry has the action's time, or that of the entry before it
    /// if that is later.
    ///
    /// # Errors
    /// As of [`open`](Self::open).
    pub async fn act(&mut self, action: Action<'_>) -> Result<Answer, OpenError> {
        if let Some(missing) = self.room.missing_keys(action.verb) {
            // They are from before it was opened: what was decided since may have no segment in the store yet.
            let read = || keyed(self.store.clone(), self.id.clone(), self.link.origin, missing);
            let keyed = patiently(read).await?;
            self.room.learn_keys(missing.0, &keyed);
        }
        let decision = self.room.decide(action);
        if let Some(entry) = decision.entry {
            self.bytes += entry.json.len();
            self.next.push((entry, self.room.members().len() as u64));
        }
        if self.next.len() >= BATCH_ENTRIES_MAX || self.bytes >= BATCH_BYTES_MAX {
            self.write().await?;
        }
        Ok(decision.answer)
    }

    /// Writes what is decided, and brings the lists up to the log.
    ///
    /// # Errors
    /// As of [`open`](Self::open).
    pub async fn finish(mut self) -> Result<(), OpenError> {
        self.write().await?;
        self.unprojected.insist();
        self.project().await;
        Ok(())
    }

    async fn write(&mut self) -> Result<(), OpenError> {
        if self.next.is_empty() {
            return Ok(());
        }
        self.bytes = 0;
        let (entries, members): (Vec<_>, Vec<_>) = self.next.drain(..).unzip();
        let link = self.link.take_unwritten();
        let batch = Append { room: self.id.clone(), epoch: self.claim.epoch, entries };
        let entries = append(self.store.clone(), link, batch).await;
        let fence = until_done("fence", || self.store.fence(self.claim.partition)).await;
        if fence != self.claim.epoch {
            return Err(OpenError::Fenced(fence));
        }
        entries.iter().zip(members).for_each(|(entry, members)| self.unprojected.push(entry, members));
        self.project().await;
        Ok(())
    }

    async fn project(&mut self) {
        if let Some(projection) = self.unprojected.take(&self.id) {
            let mark = projection.mark;
            until_done("project", || self.store.project(projection.clone())).await;
            self.unprojected.projected(mark);
        }
    }
}

/// Goes through a room's log as it is in the store, from its first entry on; nothing is written. Every entry that the lists
/// know of must be there.
///
/// # Errors
/// When the log can't be read, or an entry is missing.
pub async fn each_entry(
    store: &dyn Store,
    room: &RoomId,
    head: Seq,
    take: impl FnMut(Entry),
) -> Result<(), OpenError> {
    let segments: Vec<Segment> =
        store.segments(room.clone()).await.map_err(|error| OpenError::of(room, error))?;
    // One that starts after the head was begun and not written to.
    let newest = segments.iter().rev().find(|segment| segment.start <= head);
    let Some(newest) = newest else {
        return if head == Seq(0) { Ok(()) } else { Err(OpenError::missing(room, Seq(1))) };
    };
    each_of_range(store, room, &segments, newest.epoch, 1..=head.0, take).await
}
