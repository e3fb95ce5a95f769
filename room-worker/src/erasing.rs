//! Erasing a user's messages: first the bytes, then the word (decision 16).
//!
//! An order goes through the room's rows in parts, each asked for by itself: so one costs the room no more than a page of
//! history, and whoever asks sees how far it is. A part that is done again finds nothing to do. With the last one the room's
//! machine says in the log what is gone.
//!
//! All rows of the room are gone through, also those outside the chain, of holders that were fenced: nobody reads them, and what was
//! said is in them. What such a holder had on its way may come after that. So at the end earlier epochs are barred, from where the log
//! goes on in another; a row that comes then is hidden and goes.

use std::sync::Arc;

use futures_util::stream::{self, StreamExt, TryStreamExt};
use hubbub_core::chain::{Piece, pieces};
use hubbub_core::entry::{Entry, Kind};
use hubbub_core::ids::{Epoch, RoomId, Seq, UserId};
use hubbub_core::limits::REPEAT_WINDOW;
use hubbub_core::ports::store::{Append, Read, Segment, Store};
use hubbub_wire::tier::act::EraseFrom;

use crate::error::OpenError;
use crate::orders::{Reached, Scope, Slice, segments_of};
use crate::retry::patiently;

/// Rows and bytes of one read. No gap between rows is so long but where a trimming was interrupted: it is at most a batch.
const ROWS_MAX: u64 = 2_000;
const READ_BYTES_MAX: usize = 1024 * 1024;
/// Bytes of content that are enough for one part: a read may find twice as many at once, and is not followed by another then.
const PART_BYTES: usize = 512 * 1024;
/// Reads of one part: of a room that had many holders each finds little.
const READS_MAX: usize = 32;
/// Holders before this one who may still have something on its way, and how many are barred at once.
const EARLIER_MAX: u64 = 32;
const BARRED_AT_ONCE: usize = 16;

/// Erases an author's messages in a part of the log. They are gone when this returns.
pub(crate) async fn erase_some(
    store: Arc<dyn Store>,
    room: RoomId,
    author: UserId,
    from: Option<EraseFrom>,
    scope: Scope,
) -> Result<Slice, OpenError> {
    let segments = segments_of(&*store, &room, scope).await?;
    // Nobody finds anything before that, and a read that finds nothing is a segment's end.
    let row = store.room(room.clone()).await.map_err(|error| OpenError::of(&room, error))?;
    let (trimmed, kept_from) = row.map_or((Seq(0), Seq(0)), |row| (row.trimmed, row.kept.0.first));
    let chain = pieces(&segments, scope.newest, 1..=scope.head.0)
        .map_err(|broken| OpenError::broken(&room, &broken))?;
    let from = from.unwrap_or(EraseFrom { epoch: Epoch(0), after: Seq(0), last: Seq(0), said: None });
    let mut walk =
        Walk { store, room, author, chain, scope, trimmed, kept_from, at: from, count: 0, rows: 0, bytes: 0 };
    for _ in 0..READS_MAX {
        let mut left = segments.iter().skip_while(|segment| segment.epoch < walk.at.epoch);
        let (Some(segment), following) = (left.next(), left.next()) else { return walk.end().await };
        match (walk.step(segment).await?, following) {
            (Step::More, _) => {}
            (Step::Enough, _) => break,
            (Step::Nothing, Some(following)) => (walk.at.epoch, walk.at.after) = (following.epoch, Seq(0)),
            // The newest one may grow, so it is left only to end: what comes into it later is for the next order.
            (Step::Nothing, None) => return walk.end().await,
        }
    }
    Ok(Slice { count: walk.count, reached: Reached::Here(walk.at) })
}

struct Walk {
    store: Arc<dyn Store>,
    room: RoomId,
    author: UserId,
    chain: Vec<Piece>,
    scope: Scope,
    trimmed: Seq,
    /// Rows before this one may be gone already, though that is not noted yet.
    kept_from: Seq,
    at: EraseFrom,
    count: u64,
    rows: usize,
    bytes: usize,
}

/// What a read found.
enum Step {
    /// Rows, and there may be more.
    More,
    /// Rows, as many as one part may have.
    Enough,
    /// That the segment has no more.
    Nothing,
}

impl Walk {
    async fn end(&self) -> Result<Slice, OpenError> {
        if !self.scope.barred {
            // By itself: a part that is begun anew counts nothing of what is erased already.
            patiently(|| self.bar()).await?;
        }
        Ok(Slice { count: self.count, reached: Reached::End { last: self.at.last, said: self.at.said } })
    }

    /// Bars what holders before this one may still write, those too whose segment may be on its way. Our own has to be there for good, and
    /// the epoch still to be ours after that: then whoever comes later goes on from ours, and takes nothing of theirs that we have not.
    async fn bar(&self) -> Result<(), OpenError> {
        let Scope { newest, own, link, partition, .. } = self.scope;
        let inside = |error| OpenError::of(&self.room, error);
        if newest != own {
            // As with a batch: a segment may name only one that is there for good.
            for segment in link.older_in_doubt.into_iter().chain([link.own]) {
                self.store.put_segment(self.room.clone(), segment).await.map_err(inside)?;
            }
        }
        let fence = self.store.fence(partition).await.map_err(inside)?;
        if fence != own {
            return Err(OpenError::Fenced(fence));
        }
        let earlier = own.0.saturating_sub(EARLIER_MAX).max(1)..own.0;
        stream::iter(earlier.map(Epoch))
            .map(|epoch| self.store.bar(self.room.clone(), epoch, self.nobodys_from(epoch)))
            .buffer_unordered(BARRED_AT_ONCE)
            .try_for_each(async |()| Ok(()))
            .await
            .map_err(inside)
    }

    /// From which seq on an earlier epoch's rows are in nobody's log. One outside the chain has none that are; it began where it had read
    /// to, which is little before where the next of the chain begins.
    fn nobodys_from(&self, epoch: Epoch) -> Seq {
        if let Some(piece) = self.chain.iter().find(|piece| piece.epoch == epoch) {
            return Seq(*piece.seqs.end()).next();
        }
        let next = self.chain.iter().find(|piece| piece.epoch > epoch);
        let start = next.map_or(self.scope.head.0 + 1, |piece| *piece.seqs.start());
        Seq(start.saturating_sub(REPEAT_WINDOW).max(1))
    }

    /// One read of a segment's rows, and the erasing of what it finds.
    async fn step(&mut self, segment: &Segment) -> Result<Step, OpenError> {
        if segment.epoch > self.at.epoch {
            (self.at.epoch, self.at.after) = (segment.epoch, Seq(0));
        }
        let first = segment.start.max(self.at.after.next()).max(self.trimmed).0;
        // What of our own is beyond that is on its way, and for the next part.
        let end = if segment.epoch == self.scope.own { self.scope.head.0 } else { u64::MAX };
        let seqs = first..=end.min(first.saturating_add(ROWS_MAX - 1));
        let read = Read { room: self.room.clone(), epoch: segment.epoch, seqs, bytes_max: READ_BYTES_MAX };
        let rows = self.store.read(read).await.map_err(|error| OpenError::of(&self.room, error))?;
        let Some(last) = rows.last() else {
            if first >= self.kept_from.0 {
                return Ok(Step::Nothing);
            }
            self.at.after = Seq(self.kept_from.0 - 1);
            return Ok(Step::More);
        };
        self.at.after = last.seq;
        self.rows += rows.len();
        self.bytes += rows.iter().map(|row| row.json.len()).sum::<usize>();
        let erased: Vec<_> = rows.iter().filter_map(|row| self.look_at(segment.epoch, row)).collect();
        if !erased.is_empty() {
            self.count += erased.len() as u64;
            let erased = Append { room: self.room.clone(), epoch: segment.epoch, entries: erased };
            self.store.erase(erased).await.map_err(|error| OpenError::of(&self.room, error))?;
        }
        Ok(match self.rows as u64 >= ROWS_MAX || self.bytes >= PART_BYTES {
            true => Step::Enough,
            false => Step::More,
        })
    }

    /// What is to be left of a row, if it is one to erase.
    fn look_at(&mut self, epoch: Epoch, row: &Entry) -> Option<Entry> {
        if row.user != self.author {
            return None;
        }
        // What a fenced holder wrote is not in the log: it has to go, and says nothing.
        if self.chain.iter().any(|piece| piece.epoch == epoch && piece.seqs.contains(&row.seq.0)) {
            match row.kind {
                Kind::Erase => self.at.said = row.erasure().or(self.at.said),
                kind if kind.has_content() || kind == Kind::Erased => self.at.last = row.seq,
                _ => {}
            }
        }
        row.kind.has_content().then(|| row.erased(&self.room)).flatten()
    }
}
