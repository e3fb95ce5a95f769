//! A batch's way into the store: the same bytes, again and again, until the store has them.
//!
//! Mostly it is there at the first attempt, which comes by a call ([`Landings`]): a future for each batch would cost more than what the
//! store does in this thread. What is more than that is a future's.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hubbub_core::entry::Entry;
use hubbub_core::ids::RoomId;
use hubbub_core::ports::store::{Append, Appended, Store, StoreError, Stored};
use tokio::sync::Notify;

use crate::recovery::Link;
use crate::retry::{until_done, until_done_after};

/// What came of the batches of a partition's rooms, as the store tells it.
#[derive(Default)]
pub(crate) struct Landings {
    landed: Mutex<Vec<(RoomId, Stored<()>)>>,
    notify: Notify,
}

impl Landings {
    /// Attempts to write a batch; [`Self::take_all`] says how it went.
    pub(crate) fn attempt(self: &Arc<Self>, store: &Arc<dyn Store>, batch: &Append) {
        let (landings, room) = (self.clone(), batch.room.clone());
        store.append_then(batch, Appended::new(move |done| landings.push(room, done)));
    }

    fn push(&self, room: RoomId, done: Stored<()>) {
        let mut landed = self.lock();
        landed.push((room, done));
        // The loop takes all that landed: only the first has to wake it.
        if landed.len() == 1 {
            drop(landed);
            self.notify.notify_one();
        }
    }

    /// Takes all that landed. `into` is empty, and lends its memory.
    pub(crate) fn take_all(&self, into: &mut Vec<(RoomId, Stored<()>)>) {
        std::mem::swap(&mut *self.lock(), into);
    }

    /// Waits until something lands.
    pub(crate) async fn landing(&self) {
        self.notify.notified().await;
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(RoomId, Stored<()>)>> {
        // Each change is one call: a panic elsewhere leaves nothing half done.
        self.landed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes a batch, and before it the room's segment row if this is the epoch's first. Rows without a segment would harm nobody, but
/// so a store can tell when it has lost one.
pub(crate) async fn append(store: Arc<dyn Store>, link: Option<Link>, batch: Append) -> Vec<Entry> {
    if let Some(link) = link {
        put_segment(&store, &batch.room, link).await;
    }
    until_done("append", || store.append(batch.clone())).await;
    batch.entries
}

/// Writes a batch that did not land.
pub(crate) async fn append_again(store: Arc<dyn Store>, error: StoreError, batch: Append) -> Vec<Entry> {
    until_done_after("append", Err(error), || store.append(batch.clone())).await;
    batch.entries
}

/// A segment may name only one that is there for good, so an older one in doubt comes first.
pub(crate) async fn put_segment(store: &Arc<dyn Store>, room: &RoomId, link: Link) {
    if let Some(older) = link.older_in_doubt {
        until_done("put_segment", || store.put_segment(room.clone(), older)).await;
    }
    until_done("put_segment", || store.put_segment(room.clone(), link.own)).await;
}
