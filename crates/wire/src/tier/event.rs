//! What a room's holder publishes.

use std::sync::Arc;

use bytes::Bytes;
use hubbub_core::entry::Entry;
use hubbub_core::ids::{Epoch, LogId, Partition, RoomId, Seq, User, UserId};
use hubbub_core::ports::bus::{Payload, Whole};
use serde::{Deserialize, Serialize};

use crate::tier::parcel::{self, BadParcel};

/// What an entry has beside its JSON, but for the facts of a room: bytes, at most.
pub const ENTRY_OVERHEAD: usize = 512;

/// A batch with its entries.
#[derive(Debug, Clone)]
pub struct Committed {
    /// Its header.
    pub batch: Batch,
    /// Consecutive, ascending.
    pub entries: Vec<Entry>,
}

impl Committed {
    /// Reads one of this room.
    ///
    /// # Errors
    /// When it is another version's, another room's, or damaged.
    pub fn read(room: &RoomId, mut payload: Payload) -> Result<Self, BadParcel> {
        if let Some(whole) = payload.take() {
            return Ok(whole);
        }
        let batch: Batch = parcel::header(&mut payload)?;
        let entries = parcel::entries(room, payload)?;
        Ok(Self { batch, entries })
    }
}

impl Whole for Committed {
    fn to_bytes(&self) -> Bytes {
        parcel::pack_with(&self.batch, &self.batch.room, &self.entries)
    }

    fn size(&self) -> usize {
        let entries = self.entries.iter().map(|entry| entry.json.len() + ENTRY_OVERHEAD);
        ENTRY_OVERHEAD + entries.sum::<usize>()
    }
}

/// Header of a batch of consecutive entries; they follow it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Batch {
    /// Which room's.
    pub room: RoomId,
    /// Which log's.
    pub log: LogId,
    /// By which holder.
    pub epoch: Epoch,
    /// How many members the room has after the batch.
    pub members: u64,
}

/// Where the logs of a partition's busy rooms end, said once a second: how a reader finds that it missed the *last* entry.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Heads {
    /// Which log's.
    pub log: LogId,
    /// By which holder.
    pub epoch: Epoch,
    /// Rooms, and the last committed entry of each.
    pub heads: Vec<(RoomId, Seq)>,
}

/// A user became a member of a room: for gateways that have the user but not the room. The last one is said again for some seconds.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Joined {
    /// The room.
    pub room: RoomId,
    /// Who.
    pub user: User,
    /// The entry that says so.
    pub seq: Seq,
    /// Which of its holder's it is; none from a worker of an older version.
    #[serde(default)]
    pub numbered: Option<Numbered>,
}

/// Which of all joins that a holder announced since it holds a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Numbered {
    /// The partition.
    pub partition: Partition,
    /// The holder.
    pub epoch: Epoch,
    /// 1, 2, 3 …
    pub number: u64,
}

/// A room was made.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RoomMade {
    /// Which.
    pub id: RoomId,
    /// Its name.
    pub name: Arc<str>,
    /// Its topic.
    pub topic: Arc<str>,
    /// Who made it.
    pub owner: UserId,
}

#[cfg(test)]
mod tests {
    use hubbub_core::entry::Says;
    use hubbub_core::ids::Millis;

    use super::*;

    #[test]
    fn a_batch_is_the_same_whole_and_in_bytes() {
        let room = RoomId::parse("r").unwrap();
        let user = User { id: UserId::parse("u").unwrap(), name: "U".into() };
        let entries: Vec<_> =
            (1..4).map(|n| Entry::new(&room, Seq(n), Millis(n), &user, None, Says::Join(None))).collect();
        let batch = Batch { room, log: LogId(7), epoch: Epoch(2), members: 3 };
        let committed = Committed { batch, entries };
        let bytes = committed.to_bytes();
        assert!(bytes.len() <= committed.size());
        for payload in [Payload::whole(committed.clone()), bytes.into()] {
            let read = Committed::read(&committed.batch.room, payload).unwrap();
            assert_eq!(read.entries, committed.entries);
            assert_eq!(format!("{:?}", read.batch), format!("{:?}", committed.batch));
        }
        let elsewhere = Committed::read(&RoomId::parse("other").unwrap(), committed.to_bytes().into());
        assert!(
            matches!(elsewhere, Err(BadParcel::Entry(_))),
            "what is read under another room's subject is damage"
        );
    }
}
