//! The journal: one row a commit, with the entries of all rooms that were in it. The layout is in
//! `docs/store-format.md`.

use bytes::{Buf, BufMut, Bytes};
use hubbub_core::ids::{Epoch, RoomId};
use hubbub_core::ports::store::Stored;
use rusqlite::Connection;

use super::failure::{damaged, failed};
use super::row_sum::RowSum;
use super::rows::{put_entry, take_entry};
use super::write::NewEntries;

/// Makes the bytes of a row. Its sum is added by [`put`].
pub(super) fn encode(appends: &[NewEntries]) -> Vec<u8> {
    let size = appends.iter().flat_map(|new| &new.entries).map(|(_, bytes)| bytes.len() + 12).sum::<usize>();
    let mut to = Vec::with_capacity(size + appends.len() * 80 + 8);
    for new in appends {
        // Ids are at most 64 bytes long, and a queue's bytes far below 4 GiB.
        to.put_u8(new.room.as_str().len() as u8);
        to.put_slice(new.room.as_str().as_bytes());
        to.put_u64(new.epoch.0);
        to.put_u32(new.entries.len() as u32);
        new.entries.iter().for_each(|(seq, bytes)| put_entry(&mut to, *seq, bytes));
    }
    to
}

fn row_sum(no: i64, bytes: &[u8]) -> i64 {
    RowSum::of("journal").number(no).bytes(bytes).done()
}

/// Writes a row.
pub(super) fn put(db: &Connection, no: i64, mut bytes: Vec<u8>) -> Stored<()> {
    let sum = row_sum(no, &bytes);
    bytes.put_i64(sum);
    db.prepare_cached("INSERT INTO journal (no, bytes) VALUES (?, ?)")
        .and_then(|mut insert| insert.execute((no, &bytes)))
        .map_err(failed)?;
    Ok(())
}

/// Reads what [`encode`] and [`put`] wrote.
fn decode(no: i64, bytes: &[u8]) -> Stored<Vec<NewEntries>> {
    let broken = |what| damaged(format_args!("row {no} of the journal: {what}"));
    let (body, mut sum) =
        bytes.split_at_checked(bytes.len().wrapping_sub(8)).ok_or_else(|| broken("too short"))?;
    if sum.get_i64() != row_sum(no, body) {
        return Err(broken("checksum does not match"));
    }
    let mut from = body;
    let mut appends = Vec::new();
    while !from.is_empty() {
        appends.push(decode_append(&mut from).ok_or_else(|| broken("layout is not known"))?);
    }
    Ok(appends)
}

fn decode_append(from: &mut &[u8]) -> Option<NewEntries> {
    let len = from.try_get_u8().ok()?;
    let (room, rest) = from.split_at_checked(usize::from(len))?;
    *from = rest;
    let room = RoomId::parse(std::str::from_utf8(room).ok()?).ok()?;
    let epoch = Epoch(from.try_get_u64().ok()?);
    let count = from.try_get_u32().ok()?;
    let mut entries = Vec::new();
    for _ in 0..count {
        let (seq, bytes) = take_entry(from)?;
        entries.push((seq, Bytes::copy_from_slice(bytes)));
    }
    Some(NewEntries { room, epoch, entries })
}

/// Hands on all rows after the row `folded`, in order; returns the number of the last.
pub(super) fn replay(
    db: &Connection,
    folded: i64,
    mut each: impl FnMut(NewEntries),
) -> Stored<i64> {
    let mut last = folded;
    let mut select = db.prepare("SELECT no, bytes FROM journal ORDER BY no").map_err(failed)?;
    let mut rows = select.query([]).map_err(failed)?;
    while let Some(row) = rows.next().map_err(failed)? {
        let no: i64 = row.get(0).map_err(failed)?;
        if no != last + 1 {
            return Err(damaged(format_args!("the journal has row {no} after row {last}")));
        }
        last = no;
        let bytes = row.get_ref(1).map_err(failed)?;
        decode(no, bytes.as_blob().map_err(damaged)?)?.into_iter().for_each(&mut each);
    }
    Ok(last)
}

/// Removes the rows up to and with `last`.
pub(super) fn forget(db: &Connection, last: i64) -> Stored<()> {
    db.prepare_cached("DELETE FROM journal WHERE no <= ?")
        .and_then(|mut delete| delete.execute([last]))
        .map_err(failed)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use hubbub_core::ids::Seq;
    use proptest::prelude::*;

    use super::*;

    type Row = Vec<(String, u64, Vec<(u64, Vec<u8>)>)>;

    fn rows() -> impl Strategy<Value = Row> {
        let entries = prop::collection::vec((any::<u64>(), prop::collection::vec(any::<u8>(), 0..40)), 0..4);
        prop::collection::vec(("[a-zA-Z0-9_-]{1,64}", any::<u64>(), entries), 0..5)
    }

    fn append((room, epoch, entries): &(String, u64, Vec<(u64, Vec<u8>)>)) -> NewEntries {
        let entries = entries.iter().map(|(seq, bytes)| (Seq(*seq), bytes.clone().into())).collect();
        NewEntries { room: RoomId::parse(room).unwrap(), epoch: Epoch(*epoch), entries }
    }

    proptest! {
        #[test]
        fn a_row_is_read_as_it_was_written_or_not_at_all(row in rows(), no: i64, at: prop::sample::Index, flip in 1u8..) {
            let appends: Vec<_> = row.iter().map(append).collect();
            let mut bytes = encode(&appends);
            let sum = row_sum(no, &bytes);
            bytes.put_i64(sum);
            let read: Row = decode(no, &bytes)
                .unwrap()
                .into_iter()
                .map(|new| {
                    let entries = new.entries.into_iter().map(|(seq, bytes)| (seq.0, bytes.to_vec())).collect();
                    (new.room.as_str().to_owned(), new.epoch.0, entries)
                })
                .collect();
            prop_assert_eq!(read, row);
            prop_assert!(decode(no.wrapping_add(1), &bytes).is_err());
            let at = at.index(bytes.len());
            prop_assert!(decode(no, &bytes[..at]).is_err());
            bytes[at] ^= flip;
            prop_assert!(decode(no, &bytes).is_err());
        }
    }
}
