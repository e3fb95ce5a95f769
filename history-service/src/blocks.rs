//! Aligned blocks of a log: pages with different bounds share them, in flight and in memory.
//!
//! A block is 100 entries. One of more than a megabyte (pictures) is read in blocks of 10, and those in single ones, so that a
//! page of two pictures does not read a hundred. At the ends of a log a block is cut, and not kept.

use std::sync::Arc;

use hubbub_core::chain::{self, pieces};
use hubbub_core::entry::Entry;
use hubbub_core::ids::{RoomId, Seq};
use hubbub_core::ports::store::{Read, Store};
use hubbub_wire::tier::act::ReadTo;

use crate::coalesce::Coalesce;
use crate::error::Failure;
use crate::metrics::count_block;
use crate::page_cache::PageCache;

/// How many seqs a block has: the next smaller size is for blocks that are too large.
const SIZES: [u64; 3] = [100, 10, 1];
/// Bytes with which a block is too large to be read in one.
const BLOCK_BYTES_MAX: usize = 1024 * 1024;
/// What an entry takes in memory beside its JSON.
const ENTRY_OVERHEAD: usize = 256;

/// Which part of which log.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Place {
    room: RoomId,
    first: u64,
    last: u64,
    /// As of which erasure: what was read before one is not what is there.
    erased: Seq,
}

/// A part of a log, as far as it was read.
#[derive(Debug, Clone)]
enum Block {
    /// All of it, ascending.
    Whole(Arc<[Entry]>),
    /// Read it in smaller ones.
    TooLarge,
}

/// Reads parts of logs.
pub(crate) struct Blocks {
    store: Arc<dyn Store>,
    cache: PageCache<Place, Block>,
    flights: Coalesce<Place, Result<Block, Failure>>,
}

impl Blocks {
    pub(crate) fn new(store: Arc<dyn Store>, cache_bytes_max: usize) -> Self {
        Self { store, cache: PageCache::new(cache_bytes_max), flights: Coalesce::new() }
    }

    /// A run of consecutive entries that has the one at `seq`, which is not above the head. It ends at the head or earlier.
    pub(crate) async fn around(
        &self,
        room: &RoomId,
        seq: u64,
        read_to: ReadTo,
    ) -> Result<Arc<[Entry]>, Failure> {
        for size in SIZES {
            let first = (seq - 1) / size * size + 1;
            let last = (first + size - 1).min(read_to.head.0);
            let first = first.max(read_to.first.0);
            let place = Place { room: room.clone(), first, last, erased: read_to.erased };
            if let Block::Whole(entries) = self.block(place, size, read_to).await? {
                return Ok(entries);
            }
        }
        // The smallest block is one entry, which is always read whole.
        Err(Failure::missing(room, seq))
    }

    async fn block(&self, place: Place, size: u64, read_to: ReadTo) -> Result<Block, Failure> {
        if let Some(block) = self.cache.get(&place) {
            count_block("cache");
            return Ok(block);
        }
        let (block, joined) =
            self.flights.get(place.clone(), || read_block(self.store.clone(), place.clone(), read_to)).await;
        count_block(if joined { "shared" } else { "store" });
        let block = block?;
        let is_full = place.last - place.first + 1 == size;
        if is_full && !joined {
            let bytes = match &block {
                Block::Whole(entries) => entries.iter().map(|e| e.json.len() + ENTRY_OVERHEAD).sum(),
                Block::TooLarge => ENTRY_OVERHEAD,
            };
            self.cache.put(place, block.clone(), bytes);
        }
        Ok(block)
    }
}

/// Reads a block over the segments that it lies in. All of it is committed: what is missing is damage.
async fn read_block(store: Arc<dyn Store>, place: Place, read_to: ReadTo) -> Result<Block, Failure> {
    let Place { room, first, last, .. } = place;
    let segments = store.segments(room.clone()).await.map_err(|error| Failure::of_log(&room, error))?;
    let pieces =
        pieces(&segments, read_to.epoch, first..=last).map_err(|broken| Failure::broken(&room, &broken))?;
    let (mut found, mut bytes) = (Vec::new(), 0);
    for piece in pieces {
        let (mut next, end) = (*piece.seqs.start(), *piece.seqs.end());
        while next <= end {
            if bytes >= BLOCK_BYTES_MAX {
                return Ok(Block::TooLarge);
            }
            let read = Read {
                room: room.clone(),
                epoch: piece.epoch,
                seqs: next..=end,
                bytes_max: BLOCK_BYTES_MAX - bytes,
            };
            let rows = store.read(read).await.map_err(|error| Failure::of_log(&room, error))?;
            next = unbroken_to(&room, next, &rows)?;
            bytes += rows.iter().map(|entry| entry.json.len()).sum::<usize>();
            found.extend(rows);
        }
    }
    Ok(Block::Whole(found.into()))
}

/// The seq after `rows`, which must be there from `next` on without a gap.
fn unbroken_to(room: &RoomId, next: u64, rows: &[Entry]) -> Result<u64, Failure> {
    let unbroken = chain::unbroken(Seq(next), rows.iter().map(|entry| entry.seq));
    match unbroken == rows.len() && unbroken > 0 {
        true => Ok(next + unbroken as u64),
        false => Err(Failure::missing(room, next + unbroken as u64)),
    }
}
