//! A shard: an event loop that owns connections and the rooms they are in.
//!
//! What the bus brings, and answers, go into the [`Ear`], on whatever thread that is. The flusher, woken by the first of it,
//! yields once and then takes a turn: hear all that came, write what waits, or a [part](crate::round) of it. All state
//! is under one lock that only this thread takes for long, so that a delivery costs none.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hubbub_core::code::{CloseCode, Code};
use hubbub_core::ids::{RoomId, Seq, UserId};
use hubbub_core::map::FastMap;
use hubbub_node::bans::Banned;
use hubbub_node::revoked::Revoked;
use hubbub_wire::socketio::answer as socketio;
use hubbub_wire::ws::encode;
use slab::Slab;
use tokio::sync::{Notify, Semaphore};

use crate::Gateway;
use crate::announced::Announcements;
use crate::ear::{Ear, Inbox};
use crate::error::Failure;
use crate::fanout::UserNumber;
use crate::follow::Doubted;
use crate::held::TooSlow;
use crate::member::{Connection, ConnectionId, Second, Socket};
use crate::room::{RoomHere, SyncCause, SyncNeed};
use crate::round::Round;
use crate::socketio::session::disconnects;
use crate::user::UserHere;
use crate::ws::connection::Flow;
use crate::ws::outbound::Written;

/// Rooms that are read again from their holders at once, with up to 256 KiB each. Each partition has its share, this at least: a holder
/// that does not answer keeps out no other's.
const SYNCS_AT_ONCE: usize = 256;
const SYNCS_OF_PARTITION: usize = 4;

/// Work that a turn found and that waits for something: done by a task of its own.
pub enum Chore {
    /// Write on when the socket is writable.
    Drain(ConnectionId, Arc<Socket>),
    /// Read a room from its holder.
    Sync(SyncNeed),
    /// Send a connection what it missed of a room after a seq, by the number of its [standing](crate::member::Standing).
    CatchUp(ConnectionId, RoomId, Seq, u32),
    /// Let a user's connections follow a room that they joined at a seq.
    Follow(UserId, RoomId, Seq),
    /// Read which rooms [doubted](Doubted) users are in.
    Memberships,
    /// Send a room's turn after its rest.
    Rest(RoomId, Duration),
    /// Tell a room who came and went, when it is time.
    TellPresence(RoomId),
    /// Look again whether the token of a Socket.IO connection is valid.
    Recheck(ConnectionId),
    /// End a connection that was told bye, with this code.
    Finish(ConnectionId, Arc<Socket>, CloseCode),
}

/// Counted in a turn, told to the recorder at its end.
#[derive(Default)]
pub struct Counts {
    pub(crate) deliveries: u64,
    pub(crate) bytes: u64,
    pub(crate) entries: u64,
    pub(crate) frames_in: u64,
}

/// Where they are told: looked up once, for a look-up costs more than the counting.
pub(crate) struct Meters {
    deliveries: metrics::Counter,
    bytes: metrics::Counter,
    entries: metrics::Counter,
    frames_in: metrics::Counter,
    pub(crate) lag_seconds: metrics::Histogram,
}

impl Meters {
    fn new() -> Self {
        Self {
            deliveries: metrics::counter!(crate::metrics::DELIVERIES),
            bytes: metrics::counter!(crate::metrics::DELIVERED_BYTES),
            entries: metrics::counter!(crate::metrics::ENTRIES_IN),
            frames_in: metrics::counter!(crate::metrics::FRAMES_IN),
            lag_seconds: metrics::histogram!(crate::metrics::LAG_SECONDS),
        }
    }
}

/// What a shard knows.
pub struct State {
    /// Bytes that may wait for one connection.
    pub connection_bytes_max: usize,
    /// Requests of one connection that may wait for their answers.
    pub requests_in_flight_max: u16,
    /// Members up to which a room's are told who comes and goes.
    pub presence_members_max: u64,
    /// The second of this turn.
    pub now: Second,
    /// The connections, by slot.
    pub connections: Slab<Connection>,
    /// The users who have one.
    pub users: FastMap<UserId, UserHere>,
    /// The rooms that they are in.
    pub rooms: FastMap<RoomId, RoomHere>,
    /// Tokens that were called back, at all shards.
    pub revoked: Arc<Revoked>,
    /// Users who are banned, at all shards.
    pub banned: Arc<Banned>,
    /// Connections that want to hear of new rooms.
    pub watchers: HashSet<ConnectionId>,
    pub(crate) doubted: Doubted,
    pub(crate) announcements: Announcements,
    pub(crate) dirty_rooms: VecDeque<RoomId>,
    pub(crate) dirty_connections: VecDeque<ConnectionId>,
    pub(crate) round: Round,
    pub(crate) chores: Vec<Chore>,
    pub(crate) counts: Counts,
    pub(crate) meters: Meters,
    /// What the gauges show of its connections: bytes that wait, and for how many.
    pub(crate) shown_waiting: (usize, usize),
    /// And bytes of its rooms' newest entries.
    pub(crate) shown_recent: usize,
    pub(crate) too_slow: TooSlow,
    /// Whether something came about that somebody may wait for: a connection has read all, or tries another transport.
    pub(crate) settled: bool,
    serial: u32,
    last_user: UserNumber,
    pub(crate) last_catch_up: u32,
}

/// One event loop's share of a gateway.
pub struct Shard {
    /// What all shards share.
    pub gateway: Arc<Gateway>,
    /// Which of them.
    pub index: usize,
    /// Where the bus leaves messages.
    pub ear: Arc<Ear>,
    /// Syncs that may run at once, a partition: after the bus was away all rooms want one.
    pub(crate) syncs: Box<[Semaphore]>,
    /// Told whenever a connection's queue ran empty, a catch-up ended, or a session tried or changed its transport.
    pub settled: Notify,
    state: Mutex<State>,
    began: Instant,
}

impl Shard {
    /// A shard without connections.
    pub fn new(gateway: Arc<Gateway>, index: usize) -> Arc<Self> {
        let state = State {
            connection_bytes_max: gateway.config.connection_bytes_max,
            requests_in_flight_max: gateway.config.requests_in_flight_max,
            presence_members_max: gateway.config.presence_members_max,
            now: 0,
            connections: Slab::new(),
            users: FastMap::default(),
            rooms: FastMap::default(),
            revoked: gateway.revoked.clone(),
            banned: gateway.banned.clone(),
            watchers: HashSet::new(),
            doubted: Doubted::default(),
            announcements: Announcements::default(),
            dirty_rooms: VecDeque::new(),
            dirty_connections: VecDeque::new(),
            round: Round::over(),
            chores: Vec::new(),
            counts: Counts::default(),
            shown_waiting: (0, 0),
            shown_recent: 0,
            too_slow: TooSlow::default(),
            settled: false,
            meters: Meters::new(),
            serial: 0,
            last_user: 0,
            last_catch_up: 0,
        };
        let partitions = gateway.asker.partitions().count();
        let share = (SYNCS_AT_ONCE / usize::from(partitions)).max(SYNCS_OF_PARTITION);
        let shard = Arc::new(Self {
            gateway,
            index,
            ear: Arc::default(),
            syncs: (0..partitions).map(|_| Semaphore::new(share)).collect(),
            settled: Notify::new(),
            state: Mutex::new(state),
            began: Instant::now(),
        });
        shard.gateway.has_shard(&shard);
        shard
    }

    /// Seconds since the shard began.
    pub fn now(&self) -> Second {
        Second::try_from(self.began.elapsed().as_secs()).unwrap_or(Second::MAX)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at the state and changes it; then starts the chores that this made.
    pub fn with<R>(self: &Arc<Self>, change: impl FnOnce(&mut State) -> R) -> R {
        let mut state = self.lock();
        let result = change(&mut state);
        let chores = std::mem::take(&mut state.chores);
        let settled = std::mem::take(&mut state.settled);
        let is_dirty = !state.dirty_connections.is_empty() || !state.dirty_rooms.is_empty();
        let wake = is_dirty || !state.round.is_over();
        drop(state);
        if wake {
            self.ear.turn.notify_one();
        }
        if settled {
            self.settled.notify_waiters();
        }
        self.start(chores);
        result
    }

    fn start(self: &Arc<Self>, chores: Vec<Chore>) {
        for chore in chores {
            let shard = self.clone();
            match chore {
                Chore::Drain(id, socket) => _ = tokio::spawn(shard.drain(id, socket)),
                Chore::Sync(need) => _ = tokio::spawn(shard.sync(need)),
                Chore::CatchUp(id, room, from, number) => {
                    _ = tokio::spawn(shard.catch_up(id, room, from, number))
                }
                Chore::Follow(user, room, seq) => {
                    let were_here = shard.connections_of(&user);
                    _ = tokio::spawn(async move { shard.follow(&user, &room, seq, were_here).await })
                }
                Chore::Memberships => _ = tokio::spawn(shard.read_memberships()),
                Chore::Rest(room, rest) => _ = tokio::spawn(shard.rest(room, rest)),
                Chore::TellPresence(room) => _ = tokio::spawn(shard.tell_presence_late(room)),
                Chore::Recheck(id) => _ = tokio::spawn(shard.recheck(id)),
                Chore::Finish(id, socket, code) => _ = tokio::spawn(shard.finish(id, socket, code)),
            }
        }
    }

    /// Takes turns until the gateway ends.
    pub async fn run(self: Arc<Self>) {
        loop {
            self.ear.turn.notified().await;
            // All that can be read now is read before anything is written: writes carry more.
            tokio::task::yield_now().await;
            self.take_turn();
        }
    }

    fn take_turn(self: &Arc<Self>) {
        let Inbox { queue: heard, lost, lost_anything, lost_joins, .. } = self.ear.take();
        let now = self.now();
        self.with(|state| {
            state.now = now;
            for message in heard {
                state.hear(message);
            }
            for room in lost {
                state.need_sync(room, SyncCause::Overflow);
            }
            if lost_anything {
                let rooms: Vec<_> = state.rooms.keys().cloned().collect();
                rooms.into_iter().for_each(|room| state.need_sync(room, SyncCause::BusLost));
            }
            state.doubt_if_missed(lost_anything || lost_joins);
            state.write_a_part();
            state.tell_counts();
        });
    }

    /// Writes a connection's queue whenever its socket takes more, until the queue is empty.
    async fn drain(self: Arc<Self>, id: ConnectionId, socket: Arc<Socket>) {
        let Some(stream) = socket.stream() else { return };
        loop {
            if stream.writable().await.is_err() {
                return;
            }
            let written = self.with(|state| {
                let connection = state.connection(id)?;
                let written = connection.write();
                match written {
                    Written::All => {
                        connection.resume_reading();
                        state.drained(id);
                    }
                    // Its reader finds the end, and takes it out of the table.
                    Written::Broken => connection.resume_reading(),
                    Written::Blocked => {}
                }
                Some(written)
            });
            if written == Some(Written::Blocked) {
                continue;
            }
            self.settled.notify_waiters();
            return;
        }
    }

    async fn rest(self: Arc<Self>, room: RoomId, rest: Duration) {
        tokio::time::sleep(rest).await;
        self.with(|state| {
            let Some(here) = state.rooms.get_mut(&room) else { return };
            here.resting = false;
            if !here.turn.is_empty() && !here.dirty {
                here.dirty = true;
                state.dirty_rooms.push_back(room);
            }
        });
    }

    /// Gives a connection that was told bye some time to hear it and to close by itself.
    async fn finish(self: Arc<Self>, id: ConnectionId, socket: Arc<Socket>, code: CloseCode) {
        const GRACE: Duration = Duration::from_secs(2);
        tokio::time::sleep(GRACE).await;
        if disconnects(code) {
            let told_again = self.with(|state| {
                let connection = state.connection(id).filter(|connection| connection.session.is_some())?;
                // A library with threads passes it over while it is still at work on having entered.
                Some(connection.send(&socketio::disconnected()))
            });
            if told_again.is_some() {
                tokio::time::sleep(GRACE).await;
            }
        }
        let is_there = self.with(|state| {
            let Some(connection) = state.connection(id) else { return false };
            if connection.session.is_some() && disconnects(code) {
                // It was not told how it ends, but was to close by itself.
                let mut close = Vec::new();
                encode::append_close(&mut close, code.number(), code.reason());
                let _ = connection.send(&close.into());
            }
            true
        });
        if !is_there {
            return;
        }
        match socket.stream() {
            // Its reader sees the end of the stream and takes it out of the table. An error means that it is gone already.
            Some(stream) => _ = socket2::SockRef::from(stream).shutdown(std::net::Shutdown::Both),
            None => self.remove(id),
        }
    }
}

impl State {
    /// Puts a new connection into the table.
    pub fn insert(&mut self, make: impl FnOnce(u32) -> Connection) -> ConnectionId {
        self.serial = self.serial.wrapping_add(1);
        let serial = self.serial;
        let slot = self.connections.insert(make(serial));
        // A process has far fewer than 2^32 sockets.
        ConnectionId { slot: slot as u32, serial }
    }

    /// The user's entry in the table, a new one if there is none. Numbers come round only after 2^32 users, when those of
    /// the first are long gone.
    pub fn user(&mut self, user: &UserId) -> &mut UserHere {
        if !self.users.contains_key(user) {
            self.last_user = self.last_user.wrapping_add(1).max(1);
        }
        let number = self.last_user;
        self.users.entry(user.clone()).or_insert_with(|| UserHere { number, ..UserHere::default() })
    }

    /// A room's id as the table has it, so that all who keep it keep one.
    pub fn shared(&self, room: &RoomId) -> RoomId {
        self.rooms.get_key_value(room).map_or(room, |(ours, _)| ours).clone()
    }

    /// The connection, if it is still there.
    pub fn connection(&mut self, id: ConnectionId) -> Option<&mut Connection> {
        self.connections.get_mut(id.slot as usize).filter(|connection| connection.serial == id.serial)
    }

    /// Puts frames behind what waits for a connection; they are written at the end of the turn.
    pub fn push(&mut self, id: ConnectionId, frames: Bytes) {
        let Some(connection) = self.connection(id) else { return };
        if connection.closing {
            return;
        }
        connection.out.push(frames);
        if !connection.dirty {
            connection.dirty = true;
            self.dirty_connections.push_back(id);
        }
    }

    /// Writes what waits for a connection; says whether there was something to write.
    pub(crate) fn flush_connection(&mut self, id: ConnectionId) -> bool {
        let Some(connection) = self.connection(id) else { return false };
        connection.dirty = false;
        if connection.out.is_blocked() {
            return false;
        }
        let any = connection.out.waiting() > 0;
        if any {
            match connection.write() {
                Written::Blocked => {
                    let socket = connection.socket.clone();
                    self.chores.push(Chore::Drain(id, socket));
                    return true;
                }
                Written::All | Written::Broken => {}
            }
        }
        // Also where what its room was told took the rest along.
        connection.resume_reading();
        // One that polls has not read it: what it fetches is still here.
        if connection.out.waiting() == 0 {
            self.drained(id);
        }
        any
    }

    /// A request of the connection waits for its answer. Whether more may be read: not while as many wait as may, nor
    /// while answers that nobody reads do.
    pub fn begin_request(&mut self, id: ConnectionId, weight: u16) -> Flow {
        let (budget, max) = (self.connection_bytes_max, self.requests_in_flight_max);
        let Some(connection) = self.connection(id) else { return Flow::End };
        connection.in_flight += weight;
        connection.full = connection.in_flight >= max;
        connection.paused |= connection.full || connection.out.waiting() > budget;
        if connection.paused { Flow::Pause } else { Flow::More }
    }

    /// A request of the connection was answered.
    pub fn end_request(&mut self, id: ConnectionId, weight: u16) {
        let max = self.requests_in_flight_max;
        let Some(connection) = self.connection(id) else { return };
        connection.in_flight -= weight;
        connection.full = connection.in_flight >= max;
        connection.resume_reading();
    }

    /// Whether the connection's user is a member of the room.
    pub fn is_in(&mut self, id: ConnectionId, room: &RoomId) -> bool {
        self.connection(id).is_some_and(|connection| connection.standing(room).is_some())
    }

    /// Tells a connection of new rooms, or no more.
    pub fn watch(&mut self, id: ConnectionId, on: bool) {
        let Some(connection) = self.connection(id) else { return };
        connection.watching = on;
        match on {
            true => _ = self.watchers.insert(id),
            false => _ = self.watchers.remove(&id),
        }
    }

    /// Closes a connection with a code, after a `bye` that says when to come back.
    pub fn close(&mut self, id: ConnectionId, code: CloseCode, reconnect_after_ms: u64) {
        self.close_because(id, code, code.reason(), reconnect_after_ms);
    }

    /// Closes a connection whose token does not let it in.
    pub fn turn_away(&mut self, id: ConnectionId, failure: &Failure) {
        match failure {
            Failure::Banned => self.close_because(id, CloseCode::NotAuthenticated, "banned", 0),
            Failure::TooQuick(early) => {
                let after_ms = early.as_millis().try_into().unwrap_or(u64::MAX);
                self.close(id, CloseCode::TryAgainLater, after_ms);
            }
            failure if failure.code() == Code::Unavailable => self.close(id, CloseCode::TryAgainLater, 1_000),
            _ => self.close(id, CloseCode::NotAuthenticated, 1_000),
        }
    }

    /// As [`State::close`], with a reason of its own in the `bye`.
    pub fn close_because(
        &mut self,
        id: ConnectionId,
        code: CloseCode,
        reason: &'static str,
        reconnect_after_ms: u64,
    ) {
        let Some(connection) = self.connection(id) else { return };
        if connection.closing {
            return;
        }
        metrics::counter!(crate::metrics::CLOSED, "reason" => reason).increment(1);
        // What it was answered and what was heard of its rooms is told, as far as the socket takes it now: not every client can resume.
        self.push_heard(id);
        self.flush_connection(id);
        let Some(connection) = self.connection(id) else { return };
        connection.say_bye(code, reason, reconnect_after_ms);
        let socket = connection.socket.clone();
        if !connection.dirty {
            connection.dirty = true;
            self.dirty_connections.push_back(id);
        }
        self.leave_rooms(id);
        self.chores.push(Chore::Finish(id, socket, code));
    }

    /// All connections.
    pub fn ids(&self) -> Vec<ConnectionId> {
        let id = |(slot, connection): (usize, &Connection)| ConnectionId {
            slot: slot as u32,
            serial: connection.serial,
        };
        self.connections.iter().map(id).collect()
    }

    fn tell_counts(&mut self) {
        let counts = std::mem::take(&mut self.counts);
        let meters = &self.meters;
        if counts.deliveries > 0 {
            meters.deliveries.increment(counts.deliveries);
            meters.bytes.increment(counts.bytes);
        }
        if counts.entries > 0 {
            meters.entries.increment(counts.entries);
        }
        if counts.frames_in > 0 {
            meters.frames_in.increment(counts.frames_in);
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
