//! The end of a turn: each room's frames to each connection that is live in it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hubbub_core::ids::{RoomId, Seq};

use crate::fanout::{REST_MEMBERS_MIN, rest_after, thread_cpu};
use crate::member::{Connection, ConnectionId, Standing};
use crate::room::RoomHere;
use crate::shard::{Chore, State};
use crate::ws::outbound::Written;

/// Members whose connections are looked at before the first of them is sent anything. What a send needs of a connection is in no
/// cache, for other sends went through them; looked at one after the other they are fetched at the same time, and not each while the
/// loop waits for it.
const LOOKED_AT: usize = 32;

impl State {
    /// Sends the turn of a room that waited for it. Returns to how many it was to be sent.
    pub fn flush_room(&mut self, room: &RoomId) -> usize {
        self.send_turn(room, |here| here.dirty = false)
    }

    /// Sends a room's turn before its end, whatever waits. One that waits for it still does, and so not twice.
    pub fn flush_now(&mut self, room: &RoomId) {
        self.send_turn(room, |here| here.resting = false);
    }

    /// Puts what a connection's rooms will send at the end of their turns behind what waits for it: of one that leaves them now.
    pub fn push_heard(&mut self, id: ConnectionId) {
        let connection =
            self.connections.get_mut(id.slot as usize).filter(|connection| connection.serial == id.serial);
        let Some(connection) = connection.filter(|connection| !connection.out.is_blocked()) else { return };
        let Some(account) = &connection.account else { return };
        let dialect = connection.dialect();
        for (room, _) in connection.rooms.iter().filter(|(_, standing)| matches!(standing, Standing::Live(_)))
        {
            let Some(here) = self.rooms.get(room) else { continue };
            connection.out.push(here.turn.part(id.slot, dialect, room, &account.user.id));
        }
    }

    /// A connection with more bytes waiting than its budget is left out from here on and told `behind` once it has read them.
    fn send_turn(&mut self, room: &RoomId, note: impl FnOnce(&mut RoomHere)) -> usize {
        let Some(here) = self.rooms.get_mut(room) else { return 0 };
        note(here);
        if here.resting || here.turn.is_empty() {
            return 0;
        }
        let members = here.members.len();
        let large = members >= REST_MEMBERS_MIN;
        let began = large.then(thread_cpu);
        let oldest = here.turn.oldest();
        let users = &self.users;
        let mut encoded = std::mem::take(&mut here.turn)
            .encode(room.clone(), |user| users.get(user).map(|here| here.number));
        let mut deliveries = here.take_deliveries();
        let mut dropped: Vec<(ConnectionId, Seq)> = Vec::new();
        let mut bytes = 0;
        for (at, &slot) in here.members.iter().enumerate() {
            if at % LOOKED_AT == 0 {
                let next = here.members[at..].iter().take(LOOKED_AT);
                next.filter_map(|slot| self.connections.get(*slot as usize)).for_each(Connection::look_at);
            }
            let Some(connection) = self.connections.get_mut(slot as usize) else { continue };
            let waiting = connection.out.waiting();
            // What passes is shed as soon as anything is held up; entries at the budget.
            let share =
                encoded.share(slot, connection.user, connection.dialect(), !connection.out.is_blocked());
            if share.frames.is_empty() || connection.closing {
                continue;
            }
            let id = ConnectionId { slot, serial: connection.serial };
            // What only waits for the end of the turn is written with this.
            if connection.out.is_blocked() && waiting + share.frames.len() > self.connection_bytes_max {
                if let Some(after) = share.after {
                    dropped.push((id, after));
                }
                continue;
            }
            connection.untouched = false;
            bytes += share.frames.len() as u64;
            let was_blocked = connection.out.is_blocked();
            if connection.send(&share.frames) == Written::Blocked && !was_blocked {
                self.chores.push(Chore::Drain(id, connection.socket.clone()));
            }
            // The first member has it.
            deliveries.clear();
        }
        self.counts.deliveries += encoded.entries * members as u64;
        self.counts.bytes += bytes;
        if let Some(oldest) = oldest {
            // Clocks of two machines: below zero it is nothing.
            let lag = SystemTime::now().duration_since(UNIX_EPOCH + Duration::from_millis(oldest.0));
            self.meters.lag_seconds.record(lag.unwrap_or_default());
        }
        if let Some(rest) = began.and_then(|began| rest_after(thread_cpu().saturating_sub(began))) {
            here.resting = true;
            self.chores.push(Chore::Rest(room.clone(), rest));
        }
        for (id, after) in dropped {
            self.fall_behind(id, room, after);
        }
        for (slot, to) in encoded.leaving() {
            let serial = self.connections.get(*slot as usize).map(|connection| connection.serial);
            if let Some(serial) = serial {
                self.end_membership(ConnectionId { slot: *slot, serial }, room, encoded.last_seq(*to));
            }
        }
        members
    }

    fn fall_behind(&mut self, id: ConnectionId, room: &RoomId, after: Seq) {
        let now = self.now;
        let Some(connection) = self.connection(id) else { return };
        connection.behind_since.get_or_insert(now);
        let Some(standing) = connection.standing(room) else { return };
        if let Standing::Live(place) = *standing {
            *standing = Standing::Behind(after);
            self.end_live(id.slot, room, place);
        }
    }

    /// The connection's user is a member no more: it is sent nothing after the leave.
    fn end_membership(&mut self, id: ConnectionId, room: &RoomId, left_at: Option<Seq>) {
        let Some(connection) = self.connection(id) else { return };
        match connection.standing(room).copied() {
            Some(Standing::Live(place)) => {
                connection.forget_room(room);
                self.end_live(id.slot, room, place);
            }
            Some(Standing::Behind(after)) if left_at.is_some_and(|left| left > after) => {
                connection.forget_room(room);
                self.tell_behind(id, room, after);
            }
            _ => {}
        }
    }

    /// The connection has read all that waited: it is told what was dropped, and is live again. What waits for that is told as well.
    pub fn drained(&mut self, id: ConnectionId) {
        let Some(connection) = self.connection(id) else { return };
        if connection.behind_since.take().is_none() {
            return;
        }
        let behind: Vec<_> = connection
            .rooms
            .iter()
            .filter_map(|(room, standing)| match standing {
                Standing::Behind(after) => Some((room.clone(), *after)),
                _ => None,
            })
            .collect();
        self.settled = true;
        for (room, after) in behind {
            self.tell_behind(id, &room, after);
            self.go_live(id, &room);
        }
    }

    /// Takes a connection out of all its rooms.
    pub fn leave_rooms(&mut self, id: ConnectionId) {
        let Some(connection) = self.connection(id) else { return };
        for (room, standing) in std::mem::take(&mut connection.rooms) {
            if let Standing::Live(place) = standing {
                self.end_live(id.slot, &room, place);
            }
        }
    }
}
