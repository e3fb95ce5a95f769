//! What a shard does with what the bus brings: entries by seq, each once; and what passes.

use std::collections::HashSet;
use std::time::Instant;

use bytes::Bytes;
use hubbub_core::code::CloseCode;
use hubbub_core::entry::{Entry, Kind};
use hubbub_core::ids::{RoomId, Seq, UserId};
use hubbub_core::ports::bus::{Message, Payload};
use hubbub_core::ports::revocations::TokenId;
use hubbub_core::position::Arrival;
use hubbub_wire::native::answer::{self, Event};
use hubbub_wire::socketio::answer::{self as socketio, Chatroom};
use hubbub_wire::tier::control::Control;
use hubbub_wire::tier::ephemera::{Ephemeron, Passing};
use hubbub_wire::tier::event::{Committed, Heads, Joined, RoomMade};
use hubbub_wire::tier::parcel::{self, BadParcel};
use smallvec::SmallVec;

use crate::dialect::{Dialect, Passes};
use crate::ear::Heard;
use crate::member::{ConnectionId, Standing};
use crate::room::{SyncCause, SyncNeed};
use crate::shard::{Chore, State};

impl State {
    /// Takes one message of the bus.
    pub fn hear(&mut self, heard: Heard) {
        let taken = match heard {
            Heard::Entries(room, message) => self.hear_entries(&room, message),
            Heard::Passing(room, payload) => self.hear_passing(&room, payload),
            Heard::Heads(payload) => self.hear_heads(payload),
            Heard::Joined(payload) => self.hear_joined(payload),
            Heard::RoomMade(payload) => self.hear_room_made(payload),
            Heard::Control(payload) => self.hear_control(payload),
            Heard::Answered { id, weight, frame } => {
                frame.into_iter().for_each(|frame| self.push(id, frame));
                self.end_request(id, weight);
                Ok(())
            }
        };
        if let Err(error) = taken {
            tracing::error!(%error, "the bus brought what can't be read");
        }
    }

    fn hear_entries(&mut self, room: &RoomId, message: Message) -> Result<(), BadParcel> {
        let Some(here) = self.rooms.get_mut(room) else { return Ok(()) };
        let Message { payload, traces } = message;
        let Committed { batch, entries } = Committed::read(room, payload)?;
        if here.synced.as_ref().is_some_and(|synced| synced.log != batch.log) {
            // Its seqs say nothing beside ours.
            self.need_sync(room.clone(), SyncCause::Head);
            return Ok(());
        }
        self.counts.entries += entries.len() as u64;
        if let Some(last) = entries.last() {
            here.begin_delivery(last.seq, &traces);
        }
        match &mut here.synced {
            Some(synced) => {
                synced.member_count = batch.members;
                synced.epoch = synced.epoch.max(batch.epoch);
            }
            None => here.heard_epoch = here.heard_epoch.max(batch.epoch),
        }
        self.take_entries(room, entries);
        Ok(())
    }

    /// Takes entries of a room in any order: the next one is sent on, one before is dropped, one after a gap waits and
    /// the gap is fetched.
    pub fn take_entries(&mut self, room: &RoomId, entries: Vec<Entry>) {
        for entry in entries {
            let Some(here) = self.rooms.get_mut(room) else { return };
            let Some(synced) = &here.synced else {
                here.hold(entry);
                continue;
            };
            match synced.position.arrival(entry.seq) {
                Arrival::Next => self.accept(room, entry),
                Arrival::Repeat => {
                    // One of the two may be from before it was erased.
                    let is_other = |first: &Entry| {
                        let erased = first.kind == Kind::Erased || entry.kind == Kind::Erased;
                        !erased && first.json != entry.json
                    };
                    if here.recent.at(entry.seq).is_some_and(is_other) {
                        metrics::counter!(crate::metrics::FORKS).increment(1);
                        tracing::error!(%room, seq = %entry.seq, "two contents for one seq");
                    }
                }
                Arrival::Gap => {
                    here.hold(entry);
                    self.need_sync(room.clone(), SyncCause::Gap);
                }
            }
        }
        self.take_held(room);
    }

    /// Takes the held entries whose turn has come.
    pub fn take_held(&mut self, room: &RoomId) {
        while let Some(entry) = self.rooms.get_mut(room).and_then(|here| {
            let position = here.synced.as_ref()?.position;
            here.next_held(position)
        }) {
            self.accept(room, entry);
        }
    }

    /// Takes the next entry of a room's log.
    fn accept(&mut self, room: &RoomId, entry: Entry) {
        if let Some(here) = self.rooms.get_mut(room).filter(|here| here.synced.is_some()) {
            // Before a join, or who joins would be told of what was before.
            here.arrivals.take().for_each(|passes| here.turn.push_passing(passes));
        }
        match entry.kind {
            Kind::Join => self.before_join(room, &entry),
            Kind::Leave => self.note_leave(room, &entry),
            Kind::Topic | Kind::Text | Kind::Link | Kind::Image | Kind::Bot => {}
            Kind::Erase | Kind::Erased | Kind::Retention => {}
        }
        let Some(here) = self.rooms.get_mut(room) else { return };
        let Some(synced) = &mut here.synced else { return };
        synced.position.advance(entry.seq);
        if let Some(facts) = &entry.facts {
            synced.facts = facts.clone();
        }
        if let Some(kept) = entry.kept() {
            synced.first = kept.first;
        }
        if entry.kind == Kind::Erase {
            synced.erased = entry.seq;
            here.recent.obey(room, &entry);
        }
        here.recent.keep(entry.clone());
        let left = (entry.kind == Kind::Leave).then(|| entry.user.clone());
        here.turn.push(entry);
        let full = here.turn.is_full();
        if !here.dirty && !here.resting {
            here.dirty = true;
            self.dirty_rooms.push_back(room.clone());
        }
        if let Some(user) = left {
            self.after_leave(room, &user);
        }
        if full {
            // Others get their turn too, and nobody's memory grows with a rest.
            self.flush_now(room);
        }
    }

    /// The joining user's connections are live from the join on.
    fn before_join(&mut self, room: &RoomId, entry: &Entry) {
        let room = &self.shared(room);
        if let Some(here) = self.rooms.get_mut(room) {
            here.note_join(&entry.user);
        }
        let Some(user) = self.users.get_mut(&entry.user) else { return };
        user.joined.insert(room.clone(), entry.seq);
        let connections = user.connections.clone();
        for id in connections {
            let leaving = self.rooms.get(room).is_some_and(|here| here.turn.ends(id.slot));
            if leaving {
                // Left and came back within one turn: each part is sent on its own.
                self.flush_now(room);
            }
            let Some(connection) = self.connection(id) else { continue };
            if connection.standing(room).is_none() && !connection.greeting && !connection.closing {
                self.go_live(id, room);
            }
        }
    }

    fn note_leave(&mut self, room: &RoomId, entry: &Entry) {
        let joined = self.users.get_mut(&entry.user).and_then(|user| user.joined.remove(room));
        if let Some(here) = self.rooms.get_mut(room) {
            here.note_leave(&entry.user, entry.seq, joined, Instant::now());
        }
    }

    /// The leaving user's connections are live up to the leave.
    fn after_leave(&mut self, room: &RoomId, user: &UserId) {
        let connections = self.users.get(user).map_or_else(SmallVec::new, |user| user.connections.clone());
        for id in connections {
            let Some(connection) = self.connection(id) else { continue };
            match connection.standing(room).copied() {
                Some(Standing::Live(_)) => {
                    if let Some(here) = self.rooms.get_mut(room) {
                        here.turn.ends_here(id.slot);
                    }
                }
                Some(Standing::Behind(after)) => {
                    connection.forget_room(room);
                    self.tell_behind(id, room, after);
                }
                // Its task reads the leave in the log.
                Some(Standing::CatchingUp(_)) | None => {}
            }
        }
    }

    /// Makes a connection live in a room, from the room's position on.
    pub fn go_live(&mut self, id: ConnectionId, room: &RoomId) {
        let Some(here) = self.rooms.get_mut(room) else { return };
        let place = here.members.len() as u32;
        let Some(connection) =
            self.connections.get_mut(id.slot as usize).filter(|connection| connection.serial == id.serial)
        else {
            return;
        };
        here.members.push(id.slot);
        here.turn.starts_here(id.slot);
        here.empty_since = None;
        here.count_changed = true;
        match connection.standing(room) {
            Some(standing) => *standing = Standing::Live(place),
            None => connection.receive(room, Standing::Live(place)),
        }
    }

    /// Takes a connection out of a room's list.
    pub fn end_live(&mut self, slot: u32, room: &RoomId, place: u32) {
        let Some(here) = self.rooms.get_mut(room) else { return };
        here.turn.forget(slot);
        here.count_changed = true;
        here.members.swap_remove(place as usize);
        if here.members.is_empty() {
            here.empty_since = Some(Instant::now());
        }
        let Some(moved) = here.members.get(place as usize).copied() else { return };
        if let Some(connection) = self.connections.get_mut(moved as usize)
            && let Some(standing) = connection.standing(room)
        {
            *standing = Standing::Live(place);
        }
    }

    /// Asks for a room to be read again from its holder, unless that is under way.
    pub fn need_sync(&mut self, room: RoomId, cause: SyncCause) {
        let Some(here) = self.rooms.get_mut(&room) else { return };
        here.doubted |= cause.is_loss();
        match &mut here.syncing {
            Some(again) => *again = true,
            none => {
                *none = Some(false);
                let need: SyncNeed = (room, cause);
                self.chores.push(Chore::Sync(need));
            }
        }
    }

    /// A head above our position, after all that came before it was heard: an entry was lost and nothing followed it.
    fn hear_heads(&mut self, mut payload: Payload) -> Result<(), BadParcel> {
        let Heads { log, epoch, heads } = parcel::header(&mut payload)?;
        for (room, head) in heads {
            let Some(known) = self.rooms.get_mut(&room).and_then(|here| here.synced.as_mut()) else {
                continue;
            };
            if known.log == log {
                known.epoch = known.epoch.max(epoch);
            }
            if known.log != log || known.position.0 < head {
                self.need_sync(room, SyncCause::Head);
            }
        }
        Ok(())
    }

    fn hear_passing(&mut self, room: &RoomId, mut payload: Payload) -> Result<(), BadParcel> {
        let passing: Ephemeron = parcel::header(&mut payload)?;
        let Some(here) = self.rooms.get_mut(room) else { return Ok(()) };
        let small =
            here.synced.as_ref().is_some_and(|synced| synced.member_count <= self.presence_members_max);
        let passes = match passing.what {
            Passing::Typing { user, on } => Passes::Typing(user, on),
            Passing::Presence { user, online } if small => {
                self.hear_presence(room, user, online);
                return Ok(());
            }
            Passing::Presence { .. } => {
                here.count_changed = true;
                return Ok(());
            }
        };
        self.pass(room, passes);
        Ok(())
    }

    /// Sends a room something that nobody keeps, at the end of the turn.
    pub fn pass(&mut self, room: &RoomId, passes: Passes) {
        let Some(here) = self.rooms.get_mut(room) else { return };
        here.turn.push_passing(passes);
        if !here.dirty && !here.resting {
            here.dirty = true;
            self.dirty_rooms.push_back(room.clone());
        }
    }

    fn hear_joined(&mut self, mut payload: Payload) -> Result<(), BadParcel> {
        let joined: Joined = parcel::header(&mut payload)?;
        joined.numbered.into_iter().for_each(|numbered| self.announcements.hear(numbered));
        let user = joined.user.id;
        if self.is_unheard(&user, &joined.room, joined.seq) {
            self.chores.push(Chore::Follow(user, joined.room, joined.seq));
        }
        Ok(())
    }

    fn hear_room_made(&mut self, mut payload: Payload) -> Result<(), BadParcel> {
        if self.watchers.is_empty() {
            return Ok(());
        }
        let made: RoomMade = parcel::header(&mut payload)?;
        let (mut native, mut socketio) = (None, None);
        let (now, max) = (self.now, self.connection_bytes_max);
        for id in self.watchers.iter().copied().collect::<Vec<_>>() {
            let Some(connection) = self.connection(id) else { continue };
            if connection.out.waiting() > max {
                // One that never reads is closed like any other slow consumer.
                connection.behind_since.get_or_insert(now);
                continue;
            }
            let is_own = connection.account.as_ref().is_some_and(|account| account.user.id == made.owner);
            let frame = match connection.dialect() {
                Dialect::Native => native.get_or_insert_with(|| answer::frame(&Event::Room(&made))).clone(),
                Dialect::SocketIo if is_own => chatroom_made(&made, true),
                Dialect::SocketIo => socketio.get_or_insert_with(|| chatroom_made(&made, false)).clone(),
            };
            self.push(id, frame);
        }
        Ok(())
    }

    fn hear_control(&mut self, mut payload: Payload) -> Result<(), BadParcel> {
        let (user, token, until) = match parcel::header(&mut payload)? {
            Control::Revoked { user, token, until } => (user, token, until),
            Control::Banned { user } => {
                self.banned.ban(user.clone());
                self.close_banned(&user);
                return Ok(());
            }
            Control::BanLifted { user } => {
                self.banned.lift(&user);
                return Ok(());
            }
        };
        // First: a hello that is being looked at finds it there, or is found among the connections.
        self.revoked.add(token, until);
        self.close_revoked_of(&user, token);
        Ok(())
    }

    /// Closes all connections of a user's token that was called back.
    pub fn close_revoked_of(&mut self, user: &UserId, token: TokenId) {
        let connections = self.users.get(user).map_or_else(SmallVec::new, |user| user.connections.clone());
        for id in connections {
            if self.connection(id).is_some_and(|connection| connection.token == token) {
                self.close_because(id, CloseCode::NotAuthenticated, "revoked", 0);
            }
        }
    }

    /// Closes all connections of tokens that were called back, whosever they are.
    pub fn close_revoked(&mut self, tokens: &HashSet<TokenId>) {
        for id in self.ids() {
            if self.connection(id).is_some_and(|connection| tokens.contains(&connection.token)) {
                self.close_because(id, CloseCode::NotAuthenticated, "revoked", 0);
            }
        }
    }

    /// Closes all connections of a user who is banned.
    pub fn close_banned(&mut self, user: &UserId) {
        let connections = self.users.get(user).map_or_else(SmallVec::new, |user| user.connections.clone());
        for id in connections {
            self.close_because(id, CloseCode::NotAuthenticated, "banned", 0);
        }
    }

    /// Tells a connection that entries were not sent.
    pub fn tell_behind(&mut self, id: ConnectionId, room: &RoomId, after: Seq) {
        let head = self.rooms.get(room).and_then(|here| here.synced.as_ref()).map(|synced| synced.position.0);
        let head = head.unwrap_or(after);
        let Some(connection) = self.connection(id) else { return };
        let frame = connection.dialect().behind(room, after, head);
        metrics::counter!(crate::metrics::BEHIND).increment(1);
        self.push(id, frame);
    }
}

/// A new room has one member: who made it.
fn chatroom_made(made: &RoomMade, is_user: bool) -> Bytes {
    let RoomMade { id, name, topic, owner } = made;
    socketio::event("chatroom", &Chatroom { id, name, topic, owner, count: 1, is_user })
}
