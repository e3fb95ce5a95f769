//! A header and entries in one payload.
//!
//! | bytes | what |
//! |---|---|
//! | 4 + n | header, JSON |
//! | 8 | seq of an entry |
//! | 4 + n | the entry, as stored |
//! | … | the next entry, to the end of the payload |

use std::fmt::Debug;
use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use hubbub_core::entry::{Damaged, Entry};
use hubbub_core::ids::{RoomId, Seq};
use hubbub_core::ports::bus::{Payload, Whole};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::tier::event::ENTRY_OVERHEAD;

/// A payload that can't be read: another version's, or damaged on the way.
#[derive(Debug, thiserror::Error)]
pub enum BadParcel {
    /// The lengths do not fit the payload.
    #[error("cut short")]
    Short,
    /// The header is not the JSON that was expected.
    #[error("header: {0}")]
    Header(#[from] serde_json::Error),
    /// An entry is damaged.
    #[error(transparent)]
    Entry(#[from] Damaged),
}

/// Packs a header alone.
pub fn pack<H: Serialize>(header: &H) -> Bytes {
    let mut to = BytesMut::with_capacity(256);
    put_header(&mut to, header);
    to.freeze()
}

/// A header and entries of a room, to go as they are or in bytes, as the bus likes.
pub fn whole_with<H>(header: H, room: RoomId, entries: Vec<Entry>) -> Payload
where
    H: Serialize + Debug + Clone + Send + Sync + 'static,
{
    Payload::whole(Parcel { header, entries: Entries { room, entries } })
}

#[derive(Debug, Clone)]
struct Parcel<H> {
    header: H,
    entries: Entries,
}

/// What is left of a parcel when its header was read.
#[derive(Debug, Clone)]
struct Entries {
    room: RoomId,
    entries: Vec<Entry>,
}

impl<H: Serialize + Debug + Send + Sync + 'static> Whole for Parcel<H> {
    fn to_bytes(&self) -> Bytes {
        pack_with(&self.header, &self.entries.room, &self.entries.entries)
    }

    fn size(&self) -> usize {
        ENTRY_OVERHEAD + self.entries.size()
    }
}

impl Whole for Entries {
    fn to_bytes(&self) -> Bytes {
        let mut to = BytesMut::new();
        put_entries(&mut to, &self.room, &self.entries);
        to.freeze()
    }

    fn size(&self) -> usize {
        self.entries.iter().map(|entry| entry.json.len() + ENTRY_OVERHEAD).sum()
    }
}

/// Packs a header and entries of a room.
pub fn pack_with<'a, H: Serialize>(
    header: &H,
    room: &RoomId,
    entries: impl IntoIterator<Item = &'a Entry>,
) -> Bytes {
    let mut to = BytesMut::with_capacity(1024);
    put_header(&mut to, header);
    put_entries(&mut to, room, entries);
    to.freeze()
}

fn put_entries<'a>(to: &mut BytesMut, room: &RoomId, entries: impl IntoIterator<Item = &'a Entry>) {
    for entry in entries {
        let bytes = entry.encode(room);
        to.put_u64(entry.seq.0);
        // An entry is bounded by the limits of its content, far below 4 GiB.
        to.put_u32(bytes.len() as u32);
        to.put_slice(&bytes);
    }
}

fn put_header<H: Serialize>(to: &mut BytesMut, header: &H) {
    to.put_u32(0);
    // Headers are plain structs with string keys: writing them to memory can't fail.
    serde_json::to_writer(to.writer(), header).expect("a header is always valid JSON");
    let len = (to.len() - 4) as u32;
    to[..4].copy_from_slice(&len.to_be_bytes());
}

/// Reads a header without entries. One that came whole is not copied: whoever sent it may have kept it to send again.
pub fn shared<H: DeserializeOwned + Clone + Send + Sync + 'static>(
    payload: &mut Payload,
) -> Result<Arc<H>, BadParcel> {
    match payload.share() {
        Some(header) => Ok(header),
        None => header(payload).map(Arc::new),
    }
}

/// Reads the header, and leaves the entries in the payload. One that came whole is taken as it is.
pub fn header<H: DeserializeOwned + Clone + Send + Sync + 'static>(
    payload: &mut Payload,
) -> Result<H, BadParcel> {
    if let Some(header) = payload.take() {
        return Ok(header);
    }
    if let Some(Parcel { header, entries }) = payload.take() {
        *payload = Payload::whole(entries);
        return Ok(header);
    }
    let payload = payload.as_bytes();
    let len = payload.try_get_u32().map_err(|_| BadParcel::Short)? as usize;
    if payload.len() < len {
        return Err(BadParcel::Short);
    }
    Ok(serde_json::from_slice(&payload.split_to(len))?)
}

/// Reads the entries that follow a header. Their JSON shares the payload's memory.
pub fn entries(room: &RoomId, mut payload: Payload) -> Result<Vec<Entry>, BadParcel> {
    if let Some(Entries { room: of, entries }) = payload.take() {
        let what = "is of another room";
        return match of == *room {
            true => Ok(entries),
            false => Err(Damaged { room: room.clone(), seq: Seq(0), what }.into()),
        };
    }
    let mut payload = payload.into_bytes();
    let mut entries = Vec::new();
    while !payload.is_empty() {
        let seq = Seq(payload.try_get_u64().map_err(|_| BadParcel::Short)?);
        let len = payload.try_get_u32().map_err(|_| BadParcel::Short)? as usize;
        if payload.len() < len {
            return Err(BadParcel::Short);
        }
        entries.push(Entry::decode(room, seq, payload.split_to(len))?);
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use hubbub_core::entry::Says;
    use hubbub_core::ids::{Millis, User, UserId};

    use super::*;

    #[test]
    fn what_was_packed_is_read_again_and_nothing_less() {
        let room = RoomId::parse("r").unwrap();
        let user = User { id: UserId::parse("u").unwrap(), name: "U".into() };
        let all: Vec<_> =
            (1..4).map(|n| Entry::new(&room, Seq(n), Millis(n), &user, None, Says::Join(None))).collect();
        let packed = pack_with(&"header", &room, &all);
        let whole = whole_with("header".to_owned(), room.clone(), all.clone());
        assert_eq!(whole.clone().into_bytes(), packed);
        for mut payload in [packed.clone().into(), whole] {
            assert_eq!(header::<String>(&mut payload).unwrap(), "header");
            assert_eq!(payload.clone().into_bytes(), packed[4 + 8..], "what is left");
            assert_eq!(entries(&room, payload).unwrap(), all);
        }
        let mut elsewhere = whole_with("header".to_owned(), room.clone(), all.clone());
        assert!(header::<String>(&mut elsewhere).is_ok());
        let other = RoomId::parse("other").unwrap();
        assert!(matches!(entries(&other, elsewhere), Err(BadParcel::Entry(_))), "another room's are damage");
        let boundaries: Vec<_> = (0..=3).map(|n| pack_with(&"header", &room, &all[..n]).len()).collect();
        for cut in (0..packed.len()).filter(|cut| !boundaries.contains(cut)) {
            let mut payload = packed.slice(..cut).into();
            let read = header::<String>(&mut payload).and_then(|_| entries(&room, payload));
            assert!(read.is_err(), "cut at {cut}");
        }
    }
}
