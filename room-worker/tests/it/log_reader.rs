//! Reads a log as any reader does: from the epoch and head that a holder named, back over the chain.

use std::collections::BTreeMap;
use std::sync::Arc;

use hubbub_core::chain::pieces;
use hubbub_core::entry::{Entry, Kind};
use hubbub_core::ids::RoomId;
use hubbub_core::ports::store::{Read, Store};
use hubbub_wire::tier::act::ReadTo;

/// All entries from the log's first one up to the head. Panics where the log is not whole.
pub async fn read_log(store: &Arc<dyn Store>, room: &RoomId, to: ReadTo) -> Vec<Entry> {
    let segments = store.segments(room.clone()).await.expect("segments");
    let wanted = to.first.0.max(1)..=to.head.0;
    let pieces = pieces(&segments, to.epoch, wanted.clone())
        .unwrap_or_else(|broken| panic!("{broken}: {segments:?} for {to:?} of {room}"));
    let mut log = Vec::new();
    for piece in pieces {
        let read = Read { room: room.clone(), epoch: piece.epoch, seqs: piece.seqs, bytes_max: usize::MAX };
        log.extend(store.read(read).await.expect("rows"));
    }
    let seqs: Vec<_> = log.iter().map(|e| e.seq.0).collect();
    assert_eq!(seqs, wanted.collect::<Vec<_>>(), "{room} has gaps; {to:?} over {segments:?}");
    log
}

/// Who is a member after these entries, and since when.
pub fn members_after(log: &[Entry]) -> BTreeMap<String, u64> {
    let mut members = BTreeMap::new();
    for entry in log {
        match entry.kind {
            Kind::Join => _ = members.insert(entry.user.to_string(), entry.seq.0),
            Kind::Leave => _ = members.remove(entry.user.as_str()),
            _ => {}
        }
    }
    members
}
