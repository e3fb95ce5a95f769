//! A batch's way into the store.

use std::sync::Arc;

use hubbub_core::entry::Entry;
use hubbub_core::ids::{Epoch, RoomId};
use hubbub_core::ports::store::{Append, Store};

use crate::recovery::Link;
use crate::retry::until_done;

/// Writes a batch, and before it the room's segment row if this is the epoch's first: the same bytes, again and again, until the
/// store has them. Rows without a segment would harm nobody, but so a store can tell when it has lost one.
pub(crate) async fn append(
    store: Arc<dyn Store>,
    room: RoomId,
    epoch: Epoch,
    link: Option<Link>,
    entries: Vec<Entry>,
) -> Vec<Entry> {
    if let Some(link) = link {
        put_segment(&store, &room, link).await;
    }
    let batch = Append { room, epoch, entries };
    until_done("append", || store.append(batch.clone())).await;
    batch.entries
}

/// A segment may name only one that is there for good, so an older one in doubt comes first.
pub(crate) async fn put_segment(store: &Arc<dyn Store>, room: &RoomId, link: Link) {
    if let Some(older) = link.older_in_doubt {
        until_done("put_segment", || store.put_segment(room.clone(), older)).await;
    }
    until_done("put_segment", || store.put_segment(room.clone(), link.own)).await;
}
