//! Places: the numbers that stand for a room and epoch in the ids of rows, and what the writer knows of each.

use bytes::Bytes;
use hubbub_core::ids::{Epoch, RoomId, Seq};
use hubbub_core::map::FastMap;
use hubbub_core::ports::store::Stored;
use rusqlite::{Connection, OptionalExtension};

use super::failure::{failed, to_sql, unavailable};
use super::recent::Encoded;
use super::row_sum::RowSum;
use super::rows;
use super::write::NewEntries;

/// How many bits of an entry's row id are its seq; the place is above them.
const SEQ_BITS: u32 = 34;
const SEQ_MAX: u64 = (1 << SEQ_BITS) - 1;
const PLACE_MAX: i64 = (1 << (63 - SEQ_BITS)) - 1;

/// Places that the writer remembers.
const PLACES_REMEMBERED: usize = 50_000;

/// Where the rows of one room and epoch begin: the upper bits of their ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Place(i64);

impl Place {
    /// The id of a row that begins with the entry at `seq`, or with the last that can be.
    pub(super) fn id(self, seq: Seq) -> i64 {
        (self.0 << SEQ_BITS) | seq.0.min(SEQ_MAX).cast_signed()
    }

    /// The last entry that can be.
    pub(super) fn last(self) -> Seq {
        Seq(SEQ_MAX)
    }
}

/// The seq of the first entry in a row.
pub(super) fn seq_of(id: i64) -> Seq {
    Seq(id.cast_unsigned() & SEQ_MAX)
}

/// Refuses a seq that has no row.
pub(super) fn check_seq(seq: Seq) -> Stored<()> {
    match seq.0 > SEQ_MAX {
        true => Err(unavailable(format_args!("seq {seq} is beyond what can be stored"))),
        false => Ok(()),
    }
}

fn place_sum(no: i64, room: &str, epoch: i64) -> RowSum {
    RowSum::of("place").number(no).text(room).number(epoch)
}

/// Where the rows of a room and epoch are, if there were ever any.
pub(super) fn find_place(db: &Connection, room: &RoomId, epoch: Epoch) -> Stored<Option<Place>> {
    let epoch = to_sql(epoch.0)?;
    let found: Option<(i64, String, i64, i64)> = db
        .prepare_cached("SELECT no, room, epoch, sum FROM place WHERE room = ? AND epoch = ?")
        .and_then(|mut select| select.query_row((room.as_str(), epoch), |row| row.try_into()).optional())
        .map_err(failed)?;
    let Some((no, name, epoch, sum)) = found else { return Ok(None) };
    place_sum(no, &name, epoch).check(sum, || format!("place of room {room}, epoch {epoch}"))?;
    Ok(Some(Place(no)))
}

/// What the writer thread remembers of the rooms that it writes to.
#[derive(Default)]
pub(super) struct Places {
    newest: FastMap<RoomId, (Epoch, Place)>,
    /// The last entry in the rows of a place.
    ends: FastMap<Place, Option<Seq>>,
}

impl Places {
    /// Forgets all: after a transaction that failed, for what was made in it is not there.
    pub(super) fn forget(&mut self) {
        self.newest.clear();
        self.ends.clear();
    }

    /// The place of a room and epoch, made if there is none yet.
    pub(super) fn get_or_make(&mut self, db: &Connection, room: &RoomId, epoch: Epoch) -> Stored<Place> {
        if let Some((of, place)) = self.newest.get(room)
            && *of == epoch
        {
            return Ok(*place);
        }
        let place = match find_place(db, room, epoch)? {
            Some(place) => place,
            None => make_place(db, room, epoch)?,
        };
        if self.newest.len() >= PLACES_REMEMBERED {
            self.newest.clear();
        }
        self.newest.insert(room.clone(), (epoch, place));
        Ok(place)
    }

    /// Writes entries. What is there is replaced by the same bytes; but what was erased stays so.
    pub(super) fn put(&mut self, db: &Connection, place: Place, entries: &[Encoded]) -> Stored<()> {
        let Some(last) = entries.iter().map(|(seq, _)| *seq).max() else { return Ok(()) };
        check_seq(last)?;
        let end = self.end(db, place)?;
        let follow = Some(entries[0].0) > end && entries.is_sorted_by(|(one, _), (next, _)| one < next);
        match follow {
            true => rows::insert(db, place, entries)?,
            false => rows::merge(db, place, entries)?,
        }
        self.ends.insert(place, end.max(Some(last)));
        Ok(())
    }

    /// Whether entries are known to come after all that their place has.
    pub(super) fn follow(&self, new: &NewEntries) -> bool {
        let place = self.newest.get(&new.room).filter(|(epoch, _)| *epoch == new.epoch);
        let end = place.and_then(|(_, place)| self.ends.get(place));
        end.is_some_and(|end| new.entries.iter().all(|(seq, _)| Some(*seq) > *end))
    }

    /// What is left of the entry, if it was erased.
    pub(super) fn erased(&mut self, db: &Connection, place: Place, seq: Seq) -> Stored<Option<Bytes>> {
        if Some(seq) > self.end(db, place)? {
            return Ok(None);
        }
        Ok(rows::find(db, place, seq)?.filter(|bytes| rows::is_erased(bytes)))
    }

    fn end(&mut self, db: &Connection, place: Place) -> Stored<Option<Seq>> {
        if let Some(end) = self.ends.get(&place) {
            return Ok(*end);
        }
        if self.ends.len() >= PLACES_REMEMBERED {
            self.ends.clear();
        }
        let end = rows::end(db, place)?;
        self.ends.insert(place, end);
        Ok(end)
    }
}

fn make_place(db: &Connection, room: &RoomId, epoch: Epoch) -> Stored<Place> {
    let epoch = to_sql(epoch.0)?;
    let last: Option<i64> = db
        .prepare_cached("SELECT max(no) FROM place")
        .and_then(|mut select| select.query_row([], |row| row.get(0)))
        .map_err(failed)?;
    let no = last.unwrap_or(0).saturating_add(1);
    if no > PLACE_MAX {
        return Err(unavailable("the store has no place for more rooms and epochs"));
    }
    let sum = place_sum(no, room.as_str(), epoch).done();
    db.prepare_cached("INSERT INTO place (no, room, epoch, sum) VALUES (?, ?, ?, ?)")
        .and_then(|mut insert| insert.execute((no, room.as_str(), epoch, sum)))
        .map_err(failed)?;
    Ok(Place(no))
}
