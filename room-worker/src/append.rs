//! A batch's way into the store: the same bytes, again and again, until the store has them.
//!
//! Mostly it is there at the first attempt, which comes by a call ([`Landings`]): a future for each batch would cost nearly as much as
//! what the store does for it in this thread. What is more than that is a future's.

use std::sync::Arc;

use hubbub_core::entry::Entry;
use hubbub_core::ids::RoomId;
use hubbub_core::ports::store::{Append, Appended, Store, StoreError, Stored};

use crate::gathered::Gathered;
use crate::recovery::Link;
use crate::retry::{until_done, until_done_after};

/// What came of the first attempts for a partition's rooms, as the store tells it.
pub(crate) type Landings = Gathered<(RoomId, Stored<()>)>;

/// Attempts to write a batch; the landings say how it went.
pub(crate) fn attempt(store: &Arc<dyn Store>, batch: &Append, landings: &Arc<Landings>) {
    let (landings, room) = (landings.clone(), batch.room.clone());
    // Nobody closes them.
    store.append_then(batch, Appended::new(move |done| _ = landings.push((room, done))));
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
