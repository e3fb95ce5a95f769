//! How a connection comes to a room's live stream at an exact place: subscribe, sync, catch up, go live.
//!
//! One mechanism for all losses. A room is *synced* when a shard gets its first member, when an entry arrives before its
//! turn, when our own inbox was full, when the bus may have lost something, when a holder names a head that we have not
//! seen, now and then all the same, and when a client has seen more than we have. A connection *catches up* from
//! its position to the room's and goes live there: nothing between, nothing twice.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hubbub_core::code::CloseCode;
use hubbub_core::entry::{Entry, Kind};
use hubbub_core::ids::{LogId, RoomId, Seq, UserId};
use hubbub_core::ports::bus::{Message, Subject};
use hubbub_wire::tier::act::{ReadTo, Synced};
use hubbub_wire::tier::query::{Range, Replay};
use tokio::sync::oneshot;

use crate::ear::Heard;
use crate::error::Failure;
use crate::member::{Connection, ConnectionId, Standing};
use crate::room::{RoomHere, SyncCause, SyncNeed};
use crate::shard::{Shard, State};

/// Newest entries asked along with a sync: what a short gap needs.
const SYNC_ENTRIES: u32 = 256;
/// Entries of one step of a catch-up.
const STEP_ENTRIES: u32 = 200;
const RETRY: Duration = Duration::from_millis(100);
/// Users of whom a holder is asked at once whether they are members.
const USERS_AT_ONCE: usize = 1_000;
/// After so many failures in a row a catch-up gives its connection up.
const RETRIES_MAX: u32 = 50;

enum Step {
    /// It is live, or gone.
    Over,
    /// It needs entries from the log.
    Fetch(ReadTo),
    /// It must read before it is sent more.
    Wait,
    /// What is in memory, or would be asked for, is [doubted](RoomHere::doubted).
    Sync,
    /// What it needs is not kept any more, or the room is not here: it has to come again, and is told so then.
    TooLate,
}

impl Shard {
    /// Waits until the room is live on this shard.
    ///
    /// # Errors
    /// `Refused` when there is no such room, `Unavailable`.
    pub async fn ready(self: &Arc<Self>, room: &RoomId) -> Result<(), Failure> {
        let waiting = self.with(|state| {
            let here = state.rooms.entry(room.clone()).or_default();
            if here.synced.is_some() {
                // Whoever asks is about to be in it.
                here.empty_since.iter_mut().for_each(|since| *since = Instant::now());
                return None;
            }
            let (told, waiting) = oneshot::channel();
            here.waiting.push(told);
            state.need_sync(room.clone(), SyncCause::First);
            Some(waiting)
        });
        match waiting {
            None => Ok(()),
            Some(waiting) => waiting.await.unwrap_or(Err(Failure::Unavailable)),
        }
    }

    /// Waits for the end of a sync that was asked for just now: of the next one, if another was under way.
    pub(crate) async fn synced_again(self: &Arc<Self>, room: &RoomId) -> Result<(), Failure> {
        let waiting = self.with(|state| {
            let here = state.rooms.get_mut(room).filter(|here| here.syncing.is_some())?;
            let (told, waiting) = oneshot::channel();
            match here.syncing {
                Some(true) => here.waiting_longer.push(told),
                _ => here.waiting.push(told),
            }
            Some(waiting)
        });
        match waiting {
            None => Ok(()),
            Some(waiting) => waiting.await.unwrap_or(Err(Failure::Unavailable)),
        }
    }

    /// Reads a room from its holder: the first time to begin, later to close a gap.
    pub(crate) async fn sync(self: Arc<Self>, (room, cause): SyncNeed) {
        metrics::counter!(crate::metrics::SYNCS, "cause" => cause.label()).increment(1);
        let syncs = &self.syncs[usize::from(self.gateway.asker.partition(&room).0)];
        loop {
            let result = match syncs.acquire().await {
                Ok(_permit) => self.sync_once(&room).await,
                // Nobody closes it.
                Err(_) => Err(Failure::Unavailable),
            };
            let failed = result.is_err();
            let again = self.with(|state| state.end_sync(&room, result));
            if !again {
                return;
            }
            if failed {
                tokio::time::sleep(RETRY).await;
            }
        }
    }

    async fn sync_once(self: &Arc<Self>, room: &RoomId) -> Result<(), Failure> {
        self.subscribe(room).await?;
        let asked_at = self.with(|state| state.position(room));
        let (mut synced, mut newest) = self.gateway.asker.sync(room, SYNC_ENTRIES, Vec::new()).await?;
        let read_to = synced.read_to();
        // What is not read may have said that somebody is no member any more, so all are asked about who are in it when the answer is
        // taken. While they are, others come.
        let mut asked = HashSet::new();
        let mut missing = loop {
            let taken =
                self.with(|state| state.take_answer(room, asked_at, &mut synced, &mut newest, &asked));
            let unasked = match taken {
                Ok(missing) => break missing,
                Err(unasked) => unasked,
            };
            for some in unasked.chunks(USERS_AT_ONCE) {
                synced.members.append(&mut self.gateway.asker.sync(room, 0, some.to_vec()).await?.0.members);
            }
            asked.extend(unasked);
        };
        while let Some(after) = missing {
            let replay = Replay {
                room: room.clone(),
                range: Range::After(after),
                limit: STEP_ENTRIES,
                kinds: Vec::new(),
                read_to: Some(read_to),
            };
            let page = self.gateway.asker.replay(replay).await?;
            missing = self.with(|state| {
                state.take_entries(room, page.entries);
                let position = state.rooms.get(room)?.synced.as_ref()?.position.0;
                (position > after && position < read_to.head).then_some(position)
            });
        }
        Ok(())
    }

    async fn subscribe(self: &Arc<Self>, room: &RoomId) -> Result<(), Failure> {
        if self.with(|state| state.rooms.get(room).is_none_or(|here| !here.subscriptions.is_empty())) {
            return Ok(());
        }
        let partition = self.gateway.asker.partition(room);
        let mut subscriptions = Vec::with_capacity(2);
        for (subject, heard) in [
            (Subject::Events(partition, room.clone()), Heard::Entries as fn(RoomId, Message) -> Heard),
            (Subject::Ephemera(partition, room.clone()), |room, message| {
                Heard::Passing(room, message.payload)
            }),
        ] {
            let (ear, room) = (self.ear.clone(), room.clone());
            let listener = Arc::new(move |message: Message| {
                let len = message.size();
                ear.leave(heard(room.clone(), message), len);
            });
            subscriptions.push(self.gateway.bus.listen(subject, listener).await?);
        }
        self.with(|state| {
            if let Some(here) = state.rooms.get_mut(room) {
                here.subscriptions = subscriptions;
            }
        });
        Ok(())
    }

    /// Sends a connection the entries of a room after `from`, and makes it live where the room is.
    pub(crate) async fn catch_up(
        self: Arc<Self>,
        id: ConnectionId,
        room: RoomId,
        mut from: Seq,
        number: u32,
    ) {
        let standing = Standing::CatchingUp(number);
        let budget = self.gateway.config.connection_bytes_max;
        let mut failures = 0;
        let mut member = !self.left_at(id, &room, from).await;
        loop {
            // Before the look: what settles after it is not missed.
            let settled = self.settled.notified();
            match self.with(|state| state.catch_up_step(id, &room, standing, &mut from, &mut member, budget))
            {
                Step::Over => break,
                Step::Wait => settled.await,
                // Failed or not, it looks at what is known now.
                Step::Sync => _ = self.synced_again(&room).await,
                Step::TooLate => {
                    self.give_up(id);
                    break;
                }
                Step::Fetch(read_to) => {
                    let replay = Replay {
                        room: room.clone(),
                        range: Range::After(from),
                        limit: STEP_ENTRIES,
                        kinds: Vec::new(),
                        read_to: Some(read_to),
                    };
                    match self.gateway.asker.replay(replay).await {
                        // Where what follows went meanwhile, that is known here in a moment.
                        Ok(page) if page.entries.first().is_some_and(|first| first.seq == from.next()) => {
                            failures = 0;
                            self.with(|state| {
                                // It may be somewhere else by now: where a reset brought it, say.
                                let is_here =
                                    |one: &mut Connection| one.standing(&room).copied() == Some(standing);
                                if state.connection(id).is_some_and(is_here) {
                                    state.push_missed(id, &room, &page.entries, &mut from, &mut member);
                                }
                            });
                        }
                        _ if failures >= RETRIES_MAX => {
                            self.give_up(id);
                            break;
                        }
                        _ => {
                            failures += 1;
                            tokio::time::sleep(RETRY).await;
                        }
                    }
                }
            }
        }
        self.settled.notify_waiters();
    }

    /// Whether the last entry that a connection saw of a room is its user's own leave: what came until they joined again is not theirs.
    async fn left_at(self: &Arc<Self>, id: ConnectionId, room: &RoomId, from: Seq) -> bool {
        let asked = self.with(|state| {
            let user = state.connection(id)?.account.as_ref()?.user.id.clone();
            let here = state.rooms.get(room)?;
            // What is known of a join is where it was heard of: it was no later than that.
            let joined = state.users.get(&user)?.joined.get(room)?;
            (joined > from && from > Seq(0)).then(|| (user, here.read_to(), here.recent.at(from).cloned()))
        });
        let Some((user, read_to, recent)) = asked else { return false };
        let is_leave = |e: &Entry| e.seq == from && e.kind == Kind::Leave && e.user == user;
        if let Some(entry) = recent {
            return is_leave(&entry);
        }
        let range = Range::After(Seq(from.0 - 1));
        let replay = Replay { room: room.clone(), range, limit: 1, kinds: Vec::new(), read_to };
        // Where that can't be read they are sent more, not less.
        let Ok(page) = self.gateway.asker.replay(replay).await else { return false };
        page.entries.first().is_some_and(is_leave)
    }

    /// Closes a connection that can't be brought up to a room: it comes again, and resumes anew.
    fn give_up(self: &Arc<Self>, id: ConnectionId) {
        self.with(|state| state.close(id, CloseCode::TryAgainLater, 1_000));
    }
}

impl State {
    /// Takes what the holder says of a room, asked when this shard was at `asked_at`; the seq after which entries are still missing.
    fn take_sync(
        &mut self,
        room: &RoomId,
        asked_at: Option<Seq>,
        synced: Synced,
        newest: Vec<Entry>,
    ) -> Option<Seq> {
        let here = self.rooms.get_mut(room)?;
        let head = synced.info.head;
        match &mut here.synced {
            None => {
                here.begin(synced);
                newest.into_iter().for_each(|entry| here.recent.keep(entry));
                self.take_held(room);
                None
            }
            Some(known) if known.is_cut_off_from(asked_at, &synced) => {
                self.begin_anew(room, synced);
                None
            }
            Some(known) => {
                known.epoch = known.epoch.max(synced.epoch);
                known.erased = known.erased.max(synced.erased);
                known.first = known.first.max(synced.info.kept.first);
                let position = known.position.0;
                let covered = newest.first().is_some_and(|first| first.seq <= position.next());
                if position >= head {
                    None
                } else if covered {
                    self.take_entries(room, newest);
                    None
                } else {
                    Some(position)
                }
            }
        }
    }

    /// Takes what the holder says of a room as [`take_sync`](Self::take_sync) does, unless it leads elsewhere and there are users in the
    /// room of whom it was not asked.
    fn take_answer(
        &mut self,
        room: &RoomId,
        asked_at: Option<Seq>,
        synced: &mut Synced,
        newest: &mut Vec<Entry>,
        asked: &HashSet<UserId>,
    ) -> Result<Option<Seq>, Vec<UserId>> {
        let known = self.rooms.get(room).and_then(|here| here.synced.as_ref());
        if known.is_some_and(|known| known.is_cut_off_from(asked_at, synced)) {
            let mut users = self.users_in(room);
            users.retain(|user| !asked.contains(user));
            if !users.is_empty() {
                return Err(users);
            }
        }
        Ok(self.take_sync(room, asked_at, synced.clone(), std::mem::take(newest)))
    }

    /// The users who receive a room here.
    fn users_in(&self, room: &RoomId) -> Vec<UserId> {
        let receives = |one: &&Connection| one.rooms.iter().any(|(which, _)| which == room);
        let all = self.connections.iter().map(|(_, connection)| connection).filter(receives);
        let users: HashSet<&UserId> = all.filter_map(|one| Some(&one.account.as_ref()?.user.id)).collect();
        users.into_iter().cloned().collect()
    }

    /// Whoever reads a room here must begin anew: they are told so, and are where it is now. Who is not among the members that the
    /// holder named is out of it.
    fn begin_anew(&mut self, room: &RoomId, synced: Synced) {
        // First what waits to be told of the log before.
        self.flush_now(room);
        let Some(here) = self.rooms.get_mut(room) else { return };
        let head = synced.info.head;
        let members: HashSet<UserId> = synced.members.iter().cloned().collect();
        here.forget_heard();
        here.begin(synced);
        for id in self.ids() {
            let Some(connection) = self.connection(id) else { continue };
            let Some(standing) = connection.standing(room).copied() else { continue };
            let account = connection.account.clone();
            let frame = connection.dialect().reset(room, head);
            self.push(id, frame);
            match (account.filter(|account| !members.contains(&account.user.id)), standing) {
                (None, Standing::Live(_)) => {}
                // Whatever it was still to be sent of the log before.
                (None, _) => self.go_live(id, room),
                (Some(account), standing) => {
                    if let Standing::Live(place) = standing {
                        self.end_live(id.slot, room, place);
                    }
                    if let Some(connection) = self.connection(id) {
                        connection.forget_room(room);
                    }
                    if let Some(user) = self.users.get_mut(&account.user.id) {
                        user.joined.remove(room);
                    }
                }
            }
        }
    }

    /// Ends a sync. Whether another one is needed.
    fn end_sync(&mut self, room: &RoomId, result: Result<(), Failure>) -> bool {
        let Some(here) = self.rooms.get_mut(room) else { return false };
        let asked_again = here.syncing == Some(true);
        for waiting in here.waiting.drain(..) {
            // Whoever waited may be gone.
            let _ = waiting.send(result.clone());
        }
        here.waiting = std::mem::take(&mut here.waiting_longer);
        let first = here.synced.is_none();
        if first {
            self.rooms.remove(room);
            return false;
        }
        let again = asked_again || result.is_err();
        here.syncing = again.then_some(false);
        here.doubted &= again;
        if here.members.is_empty() {
            here.empty_since.get_or_insert_with(Instant::now);
        }
        again
    }

    /// Brings a connection to a room that is live here: at its position, or from `from` by a catch-up.
    pub fn attach(&mut self, id: ConnectionId, room: &RoomId, from: Option<Seq>) {
        let Some(position) = self.position(room) else { return };
        match from {
            Some(from) if from < position => {
                let number = self.last_catch_up.wrapping_add(1);
                let Some(connection) = self.connection(id) else { return };
                connection.receive(room, Standing::CatchingUp(number));
                self.last_catch_up = number;
                self.chores.push(crate::shard::Chore::CatchUp(id, room.clone(), from, number));
            }
            _ => self.go_live(id, room),
        }
    }

    /// The last entry of a room that this shard took.
    pub fn position(&self, room: &RoomId) -> Option<Seq> {
        self.rooms.get(room)?.synced.as_ref().map(|synced| synced.position.0)
    }

    /// Which log that is.
    pub fn log(&self, room: &RoomId) -> Option<LogId> {
        self.rooms.get(room)?.synced.as_ref().map(|synced| synced.log)
    }

    fn catch_up_step(
        &mut self,
        id: ConnectionId,
        room: &RoomId,
        standing: Standing,
        from: &mut Seq,
        member: &mut bool,
        budget: usize,
    ) -> Step {
        let now = self.now;
        let Some(connection) = self.connection(id) else { return Step::Over };
        if connection.standing(room).copied() != Some(standing) {
            return Step::Over;
        }
        if connection.out.waiting() > budget / 2 {
            // One that never reads is closed like any other slow consumer.
            connection.behind_since.get_or_insert(now);
            return Step::Wait;
        }
        connection.has_read();
        let here = self.rooms.get(room).and_then(|here| Some((here, here.synced.as_ref()?)));
        let Some((here, synced)) = here else { return Step::TooLate };
        let position = synced.position.0;
        let Some(read_to) = here.read_to() else { return Step::Sync };
        if !here.keeps_all_after(*from) {
            return Step::TooLate;
        }
        match here.recent.after(*from, position) {
            None => Step::Fetch(read_to),
            Some(missed) => {
                self.push_missed(id, room, &missed, from, member);
                if *member {
                    self.go_live(id, room);
                } else {
                    self.has_gone(id, room, position);
                }
                Step::Over
            }
        }
    }

    /// A connection's user was found to be no member at `position`, which is the room's: it is not sent what follows, and no other of
    /// theirs is that comes.
    fn has_gone(&mut self, id: ConnectionId, room: &RoomId, position: Seq) {
        let Some(connection) = self.connection(id) else { return };
        connection.forget_room(room);
        let Some(account) = connection.account.clone() else { return };
        if let Some(here) = self.users.get_mut(&account.user.id)
            && here.joined.get(room).is_some_and(|joined| joined <= position)
        {
            here.joined.remove(room);
        }
    }

    /// Sends a connection entries that it missed. Between its user's leave and their next join there is nothing to send.
    fn push_missed(
        &mut self,
        id: ConnectionId,
        room: &RoomId,
        entries: &[Entry],
        from: &mut Seq,
        member: &mut bool,
    ) {
        let Some(connection) = self.connection(id) else { return };
        let Some(account) = connection.account.clone() else { return };
        let user = &account.user.id;
        let dialect = connection.dialect();
        let mut frames = Vec::new();
        for entry in entries.iter().filter(|entry| entry.seq > *from) {
            let own = entry.user == *user;
            *member |= own && entry.kind == Kind::Join;
            if *member {
                dialect.append_entry(&mut frames, room, entry, Some(user));
            }
            *member &= !(own && entry.kind == Kind::Leave);
        }
        if let Some(last) = entries.last() {
            *from = (*from).max(last.seq);
        }
        if !frames.is_empty() {
            connection.untouched = false;
            self.push(id, frames.into());
        }
    }

    /// Drops rooms that had no member here for a while.
    pub fn drop_empty_rooms(&mut self, after: Duration) {
        let is_empty = |here: &RoomHere| {
            let idle = here.members.is_empty() && here.syncing.is_none() && here.waiting.is_empty();
            idle && here.empty_since.is_some_and(|since| since.elapsed() > after)
        };
        let empty = self.rooms.iter().filter(|(_, here)| is_empty(here)).map(|(room, _)| room.clone());
        let mut empty: HashSet<RoomId> = empty.collect();
        if !empty.is_empty() {
            // Those who catch up, or fell behind, are on their way into it.
            let standings = self.connections.iter().flat_map(|(_, connection)| &connection.rooms);
            standings.for_each(|(room, _)| _ = empty.remove(room));
        }
        empty.iter().for_each(|room| _ = self.rooms.remove(room));
        metrics::gauge!(crate::metrics::ROOMS).set(self.rooms.len() as f64);
    }
}

#[cfg(test)]
mod tests;
