//! `open`: a room as it is, such that what follows live on the same connection begins right behind it.

use std::sync::Arc;

use bytes::Bytes;
use hubbub_core::entry::Entry;
use hubbub_core::ids::{RoomId, Seq};
use hubbub_core::room::RoomInfo;
use hubbub_wire::native::answer::{self, Opened};
use hubbub_wire::native::request::Ref;
use hubbub_wire::tier::act::ReadTo;
use hubbub_wire::tier::query::{Range, Replay};

use crate::error::Failure;
use crate::member::{ConnectionId, Standing};
use crate::shard::{Shard, State};

/// Members of the first page.
const MEMBERS: u32 = 50;
/// How often the snapshot is taken again when the live stream ran ahead of it further than this shard remembers.
const TRIES: usize = 5;

/// Where the snapshot of a connection must end.
enum Meeting {
    /// Here: it was brought to the room's position, or the connection is not sent the room's entries.
    Here,
    /// The snapshot is too old for what is remembered.
    TooOld,
    /// The connection is still being sent what it missed.
    NotYet,
}

impl Shard {
    /// The answer to `open`.
    pub async fn open(
        self: &Arc<Self>,
        id: ConnectionId,
        reference: &Ref,
        room: RoomId,
        limit: u32,
    ) -> Result<Bytes, Failure> {
        let (members, _) = self.gateway.asker.members(room.clone(), None, MEMBERS).await?;
        let members = self.gateway.with_presence(members);
        for _ in 0..TRIES {
            let (mut info, mut entries) = self.snapshot(&room, limit).await?;
            let settled = self.settled.notified();
            match self.with(|state| state.meet(id, &room, &mut info, &mut entries)) {
                Meeting::Here => {
                    // Nothing is awaited from here to the push of the answer: no turn gets between.
                    let newest = entries.len().saturating_sub(limit as usize);
                    let shown = entries[newest..].iter().filter_map(answer::shown).collect();
                    return Ok(answer::ok(reference, Opened { room: info, members, entries: shown }));
                }
                Meeting::NotYet => settled.await,
                Meeting::TooOld => {}
            }
        }
        Err(Failure::Unavailable)
    }

    async fn snapshot(&self, room: &RoomId, limit: u32) -> Result<(RoomInfo, Vec<Entry>), Failure> {
        let (synced, mut entries) = self.gateway.asker.sync(room, limit, Vec::new()).await?;
        let head = synced.info.head;
        let first = entries.first().map_or(head.next(), |entry| entry.seq);
        let missing = u64::from(limit).min(head.0).saturating_sub(entries.len() as u64);
        if missing > 0 && first > Seq(1) {
            let replay = Replay {
                room: room.clone(),
                range: Range::Before(first),
                limit: missing as u32,
                kinds: Vec::new(),
                read_to: Some(ReadTo { epoch: synced.epoch, head }),
            };
            let mut older = self.gateway.asker.replay(replay).await?.entries;
            older.append(&mut entries);
            entries = older;
        }
        Ok((synced.info, entries))
    }
}

impl State {
    fn meet(
        &mut self,
        id: ConnectionId,
        room: &RoomId,
        info: &mut RoomInfo,
        entries: &mut Vec<Entry>,
    ) -> Meeting {
        let Some(connection) = self.connection(id) else { return Meeting::Here };
        match connection.standing(room) {
            None | Some(Standing::Behind(_)) => return Meeting::Here,
            Some(Standing::CatchingUp) => return Meeting::NotYet,
            Some(Standing::Live(_)) => {}
        }
        // What is on its way belongs before the snapshot.
        self.flush_now(room);
        let Some(position) = self.position(room) else { return Meeting::Here };
        if info.head > position {
            entries.retain(|entry| entry.seq <= position);
        } else {
            let since = self.rooms.get(room).and_then(|here| here.recent_after(info.head, position));
            let Some(mut since) = since else { return Meeting::TooOld };
            entries.append(&mut since);
        }
        info.head = position;
        Meeting::Here
    }
}
