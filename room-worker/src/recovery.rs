//! A room's first touch in an epoch: where its log ends, who is a member, how this epoch's segment hangs on it.
//!
//! | what is found | what is written at once |
//! |---|---|
//! | nothing, or nothing beyond the mark | nothing: our segment is written with our first append |
//! | entries beyond the mark, perhaps never acknowledged | those of the newest segment once more, under their own epoch, and its row; then our segment |
//!
//! Why the first is safe and the second needed is argued in `docs/decisions/0003-segment-at-first-append.md`. What is
//! found is told to nobody before a fence read that begins after all this.

use std::sync::Arc;

use futures_util::future::join;
use hubbub_core::chain::{pieces, unbroken};
use hubbub_core::entry::Entry;
use hubbub_core::ids::{Epoch, RoomId, Seq, UserId};
use hubbub_core::map::FastMap;
use hubbub_core::ports::store::{Append, Read, RoomRow, Segment, Store, StoreError};
use hubbub_core::room::{Projected, Room};

use crate::append::put_segment;
use crate::error::OpenError;
use crate::retry::until_done;

/// Rows and bytes of one read.
const ROWS_MAX: u64 = 1_000;
const READ_BYTES_MAX: usize = 1024 * 1024;
/// Members of one page.
const MEMBERS_MAX: usize = 1_000;
/// Bytes with which one write of rows in doubt ends.
const WRITE_BYTES_MAX: usize = 512 * 1024;

/// How this epoch's segment hangs on those before.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Link {
    /// Our segment.
    pub(crate) own: Segment,
    /// The one before it, if perhaps it is not there for good.
    pub(crate) older_in_doubt: Option<Segment>,
    /// In which segment the log's last entry was, when the room was opened.
    pub(crate) origin: Epoch,
    /// Our segment's row is written, or on its way with a batch.
    written: bool,
}

impl Link {
    /// From which segment on the log is to be read up to `head`.
    pub(crate) fn epoch_of(&self, head: Seq, own: Epoch) -> Epoch {
        if head >= self.own.start { own } else { self.origin }
    }

    /// Itself, for the one batch that has to write it.
    pub(crate) fn take_unwritten(&mut self) -> Option<Self> {
        (!std::mem::replace(&mut self.written, true)).then_some(*self)
    }
}

/// A room, ready to be written to.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) room: Room,
    pub(crate) link: Link,
    /// All entries up to here are in the projections.
    pub(crate) mark: Seq,
    /// The entries after the mark.
    pub(crate) found: Vec<Entry>,
}

/// Opens a room. What is in doubt is durable when this returns.
pub(crate) async fn first_touch(
    store: Arc<dyn Store>,
    room: RoomId,
    epoch: Epoch,
    members_max: usize,
) -> Result<Opened, OpenError> {
    let inside = |error| OpenError::of(&room, error);
    let segments = store.segments(room.clone()).await.map_err(inside)?;
    // The mark before the members: what they show beyond it is in the log that is replayed.
    let row = store.room(room.clone()).await.map_err(inside)?;
    let mark = row.as_ref().map_or(Seq(0), |row| row.mark);
    let Some(newest) = segments.last().copied() else {
        return match row {
            None => Ok(unwritten(room, epoch, members_max)),
            Some(row) => Err(OpenError::missing(&room, row.mark)),
        };
    };
    if newest.epoch > epoch {
        return Err(OpenError::Fenced(newest.epoch));
    }
    let read = async {
        let mut found = between(&*store, &room, &segments, mark, newest).await?;
        let doubtful = found.len();
        let from = Seq(newest.start.0.max(mark.0 + 1));
        longest_prefix(&*store, &room, newest.epoch, from, &mut found).await?;
        Ok((found, doubtful))
    };
    let read = read.await;
    let mark_now = store.room(room.clone()).await.map_err(inside)?.map_or(Seq(0), |row| row.mark);
    if mark_now != mark {
        // Somebody who does not know yet that they are fenced may have trimmed by it what was looked for here.
        let inside = "the room's row moved meanwhile".into();
        return Err(OpenError::of(&room, StoreError::Unavailable { inside }));
    }
    let (found, doubtful) = read?;
    let head = found.last().map_or(mark, |last| last.seq);
    let link = Link {
        own: match newest.epoch == epoch {
            true => newest,
            false => Segment { epoch, start: head.next(), prev: Some(newest.epoch) },
        },
        older_in_doubt: (newest.start > head).then_some(newest),
        origin: origin(&room, &segments, newest, head)?,
        written: newest.epoch == epoch,
    };
    let link = match found.is_empty() || link.written {
        true => link,
        false => make_certain(&store, &room, newest, &found[doubtful..], link).await,
    };
    let room = replayed(&*store, room, row, &found, members_max).await?;
    Ok(Opened { room, link, mark, found })
}

/// A room that nobody has written to.
fn unwritten(room: RoomId, epoch: Epoch, members_max: usize) -> Opened {
    let own = Segment { epoch, start: Seq(1), prev: None };
    Opened {
        room: Room::new(room, members_max),
        link: Link { own, older_in_doubt: None, origin: epoch, written: false },
        mark: Seq(0),
        found: Vec::new(),
    }
}

/// The entries after the mark and before the newest segment: its start says that they are all there.
async fn between(
    store: &dyn Store,
    room: &RoomId,
    segments: &[Segment],
    mark: Seq,
    newest: Segment,
) -> Result<Vec<Entry>, OpenError> {
    let mut found = Vec::new();
    let wanted = mark.0 + 1..=newest.start.0.saturating_sub(1);
    each_of_range(store, room, segments, newest.epoch, wanted, |entry| found.push(entry)).await?;
    Ok(found)
}

/// Reads committed entries, ascending, in pages.
pub(crate) async fn each_of_range(
    store: &dyn Store,
    room: &RoomId,
    segments: &[Segment],
    newest: Epoch,
    wanted: std::ops::RangeInclusive<u64>,
    mut take: impl FnMut(Entry),
) -> Result<(), OpenError> {
    let pieces = pieces(segments, newest, wanted).map_err(|broken| OpenError::broken(room, &broken))?;
    for piece in pieces {
        let (mut next, end) = (*piece.seqs.start(), *piece.seqs.end());
        while next <= end {
            let page = page(store, room, piece.epoch, next..=end.min(next + ROWS_MAX - 1)).await?;
            if page.is_empty() {
                return Err(OpenError::missing(room, Seq(next)));
            }
            for entry in page {
                if entry.seq.0 != next {
                    return Err(OpenError::missing(room, Seq(next)));
                }
                next += 1;
                take(entry);
            }
        }
    }
    Ok(())
}

/// The rows of the newest segment up to the first gap: a row after it was never acknowledged.
async fn longest_prefix(
    store: &dyn Store,
    room: &RoomId,
    epoch: Epoch,
    mut from: Seq,
    found: &mut Vec<Entry>,
) -> Result<(), OpenError> {
    loop {
        let mut page = page(store, room, epoch, from.0..=from.0 + ROWS_MAX - 1).await?;
        let read = page.len();
        page.truncate(unbroken(from, page.iter().map(|entry| entry.seq)));
        from = Seq(from.0 + page.len() as u64);
        let ends = page.len() < read || read == 0;
        found.append(&mut page);
        if ends {
            return Ok(());
        }
    }
}

async fn page(
    store: &dyn Store,
    room: &RoomId,
    epoch: Epoch,
    seqs: std::ops::RangeInclusive<u64>,
) -> Result<Vec<Entry>, OpenError> {
    let read = Read { room: room.clone(), epoch, seqs, bytes_max: READ_BYTES_MAX };
    store.read(read).await.map_err(|error| OpenError::of(room, error))
}

/// The segment that the last entry is in.
fn origin(room: &RoomId, segments: &[Segment], newest: Segment, head: Seq) -> Result<Epoch, OpenError> {
    let wanted = head.0.max(1)..=head.0;
    let last = pieces(segments, newest.epoch, wanted).map_err(|broken| OpenError::broken(room, &broken))?;
    Ok(last.last().map_or(newest.epoch, |piece| piece.epoch))
}

/// Writes once more what may be there only for those who happen to see it; then our segment, which says that it is there.
async fn make_certain(
    store: &Arc<dyn Store>,
    room: &RoomId,
    newest: Segment,
    doubtful: &[Entry],
    mut link: Link,
) -> Link {
    let segment = until_done("put_segment", || store.put_segment(room.clone(), newest));
    let rows = async {
        for entries in chunks(doubtful) {
            let append = Append { room: room.clone(), epoch: newest.epoch, entries: entries.to_vec() };
            until_done("append", || store.append(append.clone())).await;
        }
    };
    join(segment, rows).await;
    link.older_in_doubt = None;
    if let Some(unwritten) = link.take_unwritten() {
        put_segment(store, room, Link { older_in_doubt: None, ..unwritten }).await;
    }
    link
}

fn chunks(entries: &[Entry]) -> impl Iterator<Item = &[Entry]> {
    let mut rest = entries;
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let fitting = rest.iter().take_while(|entry| {
            let fits = bytes < WRITE_BYTES_MAX;
            bytes += entry.json.len();
            fits
        });
        let (chunk, left) = rest.split_at(fitting.count());
        rest = left;
        (!chunk.is_empty()).then_some(chunk)
    })
}

/// The room's state at the end of its log.
async fn replayed(
    store: &dyn Store,
    id: RoomId,
    row: Option<RoomRow>,
    found: &[Entry],
    members_max: usize,
) -> Result<Room, OpenError> {
    let mut room = match row {
        None => Room::new(id, members_max),
        Some(row) => {
            let members = members(store, &id, (row.member_count as usize).min(members_max)).await?;
            let mark = (row.mark, row.mark_at);
            let projected = Projected { facts: row.facts, members, mark, erased: row.erased, kept: row.kept };
            Room::projected(id, members_max, projected)
        }
    };
    found.iter().for_each(|entry| room.replay(entry));
    Ok(room)
}

async fn members(
    store: &dyn Store,
    room: &RoomId,
    expected: usize,
) -> Result<FastMap<UserId, Seq>, OpenError> {
    // Grown, a map of a million would be made again while all other rooms wait.
    let mut members = FastMap::with_capacity_and_hasher(expected, Default::default());
    let mut after = None;
    loop {
        let page = store.members(room.clone(), after, MEMBERS_MAX).await;
        let page = page.map_err(|error| OpenError::of(room, error))?;
        let ends = page.len() < MEMBERS_MAX;
        after = page.last().map(|row| row.user.id.clone());
        members.extend(page.into_iter().map(|row| (row.user.id, row.joined)));
        if ends {
            return Ok(members);
        }
    }
}

/// The entries whose keys are missing, without what they say: ten thousand pictures would not fit.
pub(crate) async fn keyed(
    store: Arc<dyn Store>,
    room: RoomId,
    origin: Epoch,
    (from, upto): (Seq, Seq),
) -> Result<Vec<Entry>, OpenError> {
    let segments = store.segments(room.clone()).await.map_err(|error| OpenError::of(&room, error))?;
    let mut keyed = Vec::new();
    let wanted = from.0 + 1..=upto.0;
    each_of_range(&*store, &room, &segments, origin, wanted, |entry| {
        keyed.push(Entry { json: bytes::Bytes::new(), facts: None, ..entry });
    })
    .await?;
    Ok(keyed)
}
