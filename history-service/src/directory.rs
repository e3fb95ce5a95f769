//! The directory of rooms, the newest first, in pages that an opaque cursor joins.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hubbub_core::ids::{Millis, RoomId};
use hubbub_core::ports::store::{DirectoryCursor, Store};
use hubbub_wire::tier::query::{Found, Listed};

use crate::error::Failure;

/// Most rooms of a page: with the longest names and topics it fits the bus.
const ROOMS_MAX: u32 = 200;
/// First byte of a cursor: its layout, which is this byte, the time in 8 bytes and the room's id.
const VERSION: u8 = 1;

/// A page of the directory.
pub(crate) async fn page(store: &dyn Store, cursor: Option<String>, limit: u32) -> Result<Found, Failure> {
    let after = cursor.map(|cursor| decode(&cursor).ok_or(Failure::BadCursor)).transpose()?;
    let limit = limit.clamp(1, ROOMS_MAX) as usize;
    let mut rows = store.directory(after, limit + 1).await?;
    let more = rows.len() > limit;
    rows.truncate(limit);
    let next = rows
        .last()
        .filter(|_| more)
        .map(|last| encode(&DirectoryCursor { created_at: last.created_at, room: last.room.clone() }));
    let rooms = rows
        .into_iter()
        .map(|row| Listed {
            id: row.room,
            facts: row.facts,
            members: row.member_count,
            created_at: row.created_at,
        })
        .collect();
    Ok(Found::Directory { rooms, next })
}

fn encode(cursor: &DirectoryCursor) -> String {
    let mut bytes = vec![VERSION];
    bytes.extend(cursor.created_at.0.to_be_bytes());
    bytes.extend(cursor.room.as_str().as_bytes());
    URL_SAFE_NO_PAD.encode(bytes)
}

fn decode(text: &str) -> Option<DirectoryCursor> {
    let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
    let (version, rest) = bytes.split_first()?;
    let (at, room) = rest.split_first_chunk()?;
    let room = RoomId::parse(std::str::from_utf8(room).ok()?).ok()?;
    // No store has a time beyond that.
    let at = u64::try_from(i64::from_be_bytes(*at)).ok()?;
    (*version == VERSION).then_some(DirectoryCursor { created_at: Millis(at), room })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_cursor_is_read_again(at in 0..=i64::MAX as u64, room in "[A-Za-z0-9_-]{1,64}") {
            let cursor = DirectoryCursor { created_at: Millis(at), room: RoomId::parse(&room).unwrap() };
            prop_assert_eq!(decode(&encode(&cursor)), Some(cursor));
        }

        #[test]
        fn what_is_not_one_of_ours_is_refused(text in "\\PC{0,40}") {
            if let Some(cursor) = decode(&text) {
                prop_assert_eq!(encode(&cursor), text);
            }
        }
    }

    #[test]
    fn a_cursor_of_another_layout_is_refused() {
        for bad in [
            vec![],
            vec![1],
            vec![2; 12],
            [&[1][..], &[255; 8], b"a"].concat(),
            vec![1, 0, 0, 0, 0, 0, 0, 0, 0],
            [&[1; 9], &b"a.b"[..]].concat(),
        ] {
            assert_eq!(decode(&URL_SAFE_NO_PAD.encode(&bad)), None, "{bad:?}");
        }
    }
}
