//! A batch's way into the store.

use std::sync::Arc;

use futures_util::future::join;
use hubbub_core::entry::Entry;
use hubbub_core::ids::{Epoch, RoomId};
use hubbub_core::ports::store::{Append, Store};

use crate::recovery::Link;
use crate::retry::until_done;

/// Writes a batch, with the room's segment row if it is this epoch's first: the same bytes, again and again, until the store has
/// them. The order of segment and rows is nothing to anyone: neither is told of before both are there.
pub(crate) async fn append(
    store: Arc<dyn Store>,
    room: RoomId,
    epoch: Epoch,
    link: Option<Link>,
    entries: Vec<Entry>,
) -> Vec<Entry> {
    let batch = Append { room: room.clone(), epoch, entries };
    let rows = until_done("append", || store.append(batch.clone()));
    match link {
        None => rows.await,
        Some(link) => _ = join(put_segment(&store, &room, link), rows).await,
    }
    batch.entries
}

/// A segment may name only one that is there for good, so an older one in doubt comes first.
pub(crate) async fn put_segment(store: &Arc<dyn Store>, room: &RoomId, link: Link) {
    if let Some(older) = link.older_in_doubt {
        until_done("put_segment", || store.put_segment(room.clone(), older)).await;
    }
    until_done("put_segment", || store.put_segment(room.clone(), link.own)).await;
}
