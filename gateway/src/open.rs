//! `open`: a room as it is, such that what follows live on the same connection begins right behind it.

use std::sync::Arc;

use hubbub_core::entry::{Entry, obey_all};
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

/// A room as its holder knew it at one moment.
struct Snapshot {
    info: RoomInfo,
    /// The newest, up to the head.
    entries: Vec<Entry>,
    /// What may be read beside it.
    read_to: ReadTo,
}

impl Snapshot {
    /// How many entries are missing of the `limit` newest.
    fn missing(&self, limit: u32) -> u64 {
        let (head, first) = (self.info.head.0, self.info.kept.first.0.max(1));
        u64::from(limit).min((head + 1).saturating_sub(first)).saturating_sub(self.entries.len() as u64)
    }
}

/// Where the snapshot of a connection must end.
enum Meeting {
    /// Here: it was brought to the room's position, or the connection is not sent the room's entries.
    Here,
    /// Here as well, but it was ahead of the live stream: without its newest entries it has too few.
    Short,
    /// The snapshot is too old for what is remembered.
    TooOld,
    /// The connection is still being sent what it missed.
    NotYet,
}

impl Shard {
    /// Answers an `open`.
    ///
    /// # Errors
    /// What is to be answered instead.
    pub async fn open(
        self: &Arc<Self>,
        id: ConnectionId,
        reference: &Ref,
        room: RoomId,
        limit: u32,
    ) -> Result<(), Failure> {
        let (mut snapshot, mut members) = self.look(&room, limit).await?;
        let mut tries = 0;
        while tries < TRIES {
            let settled = self.settled.notified();
            match self.with(|state| state.meet(id, &room, &mut snapshot, limit)) {
                Meeting::Here => {
                    // Nothing is awaited from here to the push of the answer: no turn gets between. Left to the next turn it would
                    // come after what that hears first, which is sent before the end of the turn if it is much.
                    let Snapshot { info, entries, .. } = snapshot;
                    let newest = entries.len().saturating_sub(limit as usize);
                    let shown = entries[newest..].iter().filter_map(answer::shown).collect();
                    self.push_ok(id, reference, Opened { room: info, members, entries: shown });
                    return Ok(());
                }
                Meeting::Short => self.complete(&room, &mut snapshot, limit).await?,
                // Told whenever any connection settles, so this is no try. It ends with the connection at the latest.
                Meeting::NotYet => {
                    settled.await;
                    (snapshot, members) = self.look(&room, limit).await?;
                    continue;
                }
                Meeting::TooOld => (snapshot, members) = self.look(&room, limit).await?,
            }
            tries += 1;
        }
        Err(Failure::Unavailable)
    }

    /// A snapshot, and the first members. They come from a list, which by the time of the holder's answer shows all that this says: read
    /// before it, who joins between the two would be in neither.
    async fn look(&self, room: &RoomId, limit: u32) -> Result<(Snapshot, Vec<answer::Present>), Failure> {
        let snapshot = self.snapshot(room, limit).await?;
        let (members, _) = self.gateway.asker.members(room.clone(), None, MEMBERS).await?;
        Ok((snapshot, self.gateway.with_presence(members)))
    }

    async fn snapshot(&self, room: &RoomId, limit: u32) -> Result<Snapshot, Failure> {
        let (synced, entries) = self.gateway.asker.sync(room, limit, Vec::new()).await?;
        let read_to = synced.read_to();
        let mut snapshot = Snapshot { info: synced.info, entries, read_to };
        self.complete(room, &mut snapshot, limit).await?;
        Ok(snapshot)
    }

    /// Reads the older entries of the `limit` newest that the snapshot does not have.
    async fn complete(&self, room: &RoomId, snapshot: &mut Snapshot, limit: u32) -> Result<(), Failure> {
        let first = snapshot.entries.first().map_or(snapshot.info.head.next(), |entry| entry.seq);
        let missing = snapshot.missing(limit);
        if missing > 0 && first > Seq(1) {
            let replay = Replay {
                room: room.clone(),
                range: Range::Before(first),
                limit: missing as u32,
                kinds: Vec::new(),
                read_to: Some(snapshot.read_to),
            };
            let mut older = self.gateway.asker.replay(replay).await?.entries;
            older.append(&mut snapshot.entries);
            snapshot.entries = older;
        }
        Ok(())
    }
}

impl State {
    fn meet(&mut self, id: ConnectionId, room: &RoomId, snapshot: &mut Snapshot, limit: u32) -> Meeting {
        let Some(connection) = self.connection(id) else { return Meeting::Here };
        match connection.standing(room) {
            None | Some(Standing::Behind(_)) => return Meeting::Here,
            Some(Standing::CatchingUp(_)) => return Meeting::NotYet,
            Some(Standing::Live(_)) => {}
        }
        // What is on its way belongs before the snapshot.
        self.flush_now(room);
        let Some(position) = self.position(room) else { return Meeting::Here };
        let head = std::mem::replace(&mut snapshot.info.head, position);
        if head > position {
            snapshot.entries.retain(|entry| entry.seq <= position);
        } else {
            let since = self.rooms.get(room).and_then(|here| here.recent.after(head, position));
            let Some(mut since) = since else { return Meeting::TooOld };
            snapshot.entries.append(&mut since);
            obey_all(room, &mut snapshot.entries);
        }
        // A page ends at its limit of bytes as well: what it could not read is no reason to read again.
        match head > position && snapshot.missing(limit) > 0 {
            true => Meeting::Short,
            false => Meeting::Here,
        }
    }
}

#[cfg(test)]
mod tests {
    use hubbub_core::entry::Says;
    use hubbub_core::ids::{Epoch, LogId, Millis, Partition, User, UserId};
    use hubbub_core::limits::Content;
    use hubbub_core::ports::accounts::Account;
    use hubbub_core::ports::bus::{Message, Reply, Subject};
    use hubbub_wire::tier::act::Told;
    use hubbub_wire::tier::event::Batch;
    use hubbub_wire::tier::parcel;
    use hubbub_wire::tier::query::Found;
    use tokio::io::AsyncReadExt;

    use super::*;
    use crate::config::Config;
    use crate::ear::Heard;
    use crate::http::tests::state;
    use crate::member::Connection;
    use crate::shard::tests::{connected, synced, unread};
    use crate::ws::requests;

    #[tokio::test]
    async fn the_answer_comes_before_what_follows_the_snapshot_however_long_that_is() {
        let (mut client, socket) = connected().await;
        let room = RoomId::parse("lobby").unwrap();
        let ann = User { id: UserId::parse("ann").unwrap(), name: "Ann".into() };
        let says = |seq, content| Entry::new(&room, Seq(seq), Millis(1), &ann, None, Says::Message(&content));
        let newest = says(7, Content::text("the newest".to_owned()).unwrap());

        let shard = Shard::new(state(Config::default()).gateway, 0);
        let told = parcel::pack_with(&Told::Synced(Box::new(synced(&room, 1))), &room, [&newest]);
        let holder = Arc::new(move |_: Message, reply: Reply| reply.send(told.clone()));
        let _holder = shard.gateway.bus.serve(Subject::Act(Partition(0)), holder).await.unwrap();
        let found = parcel::pack(&Found::Members { members: Vec::new(), next: None });
        let history = Arc::new(move |_: Message, reply: Reply| reply.send(found.clone()));
        let _history = shard.gateway.bus.serve(Subject::Query, history).await.unwrap();
        let id = shard.with(|state| {
            let account = Account { user: ann.clone(), roles: Vec::new(), expires_at: Millis(u64::MAX) };
            let id =
                state.insert(|serial| Connection { socket, account: Some(account.into()), ..unread(serial) });
            let here = state.rooms.entry(room.clone()).or_default();
            here.begin(synced(&room, 1));
            here.recent.keep(newest);
            state.go_live(id, &room);
            id
        });

        // It is here, and not heard yet. It fills a turn, and so is sent before its end.
        let picture = Content::image(format!("data:image/png;base64,{}", "A".repeat(100_000))).unwrap();
        let batch = Batch { room: room.clone(), log: LogId(1), epoch: Epoch(1), members: 1 };
        let payload = parcel::pack_with(&batch, &room, [&says(8, picture)]);
        shard.ear.leave(Heard::Entries(room.clone(), Message::from(payload)), 0);
        requests::on_text(&shard, id, r#"{"type":"open","ref":"r","room":"lobby","limit":1}"#);
        // All that it waits for is in this process.
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        let turns = tokio::spawn(shard.clone().run());
        let (mut told, mut some) = (Vec::new(), [0; 16 * 1_024]);
        while place(&told, "\"seq\":8").is_none() || place(&told, "\"ref\":\"r\"").is_none() {
            let n =
                hubbub_testkit::in_time("the answer and the entry", client.read(&mut some)).await.unwrap();
            told.extend_from_slice(&some[..n]);
        }
        turns.abort();
        assert!(place(&told, "\"ref\":\"r\"") < place(&told, "\"seq\":8"));
        assert!(place(&told, "\"head\":7").is_some());
    }

    fn place(told: &[u8], what: &str) -> Option<usize> {
        told.windows(what.len()).position(|window| window == what.as_bytes())
    }
}
