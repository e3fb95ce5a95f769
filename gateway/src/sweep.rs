//! What a shard looks at once a second: who is silent, late, too slow, or whose token is over. One pass over the table
//! costs less than a timer a connection, in time and in memory.

use std::collections::HashMap;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use hubbub_core::code::CloseCode;
use hubbub_core::ids::{Millis, RoomId};
use hubbub_core::ports::accounts::AccountsError;
use hubbub_node::process::resident_bytes;
use hubbub_wire::native::answer;
use hubbub_wire::socketio::answer as socketio;
use hubbub_wire::ws::encode;
use metrics::gauge;

use crate::Gateway;
use crate::dialect::Passes;
use crate::error::Failure;
use crate::member::{Connection, ConnectionId};
use crate::metrics as names;
use crate::room::SyncCause;
use crate::shard::{Chore, Shard, State};

/// How long a connection may outlive its token.
const TOKEN_GRACE: Duration = Duration::from_secs(50);
/// How often a large room is told how many of its members are there.
const COUNT_EVERY: u32 = 5;
/// How long a room without members here is kept.
const EMPTY_ROOM: Duration = Duration::from_secs(30);

/// When a connection that is sent to another gateway is to come there.
const COME_BACK_MS: std::ops::Range<u64> = 100..1_000;

/// What is due for a connection.
enum Due {
    Ping,
    Fresh,
    Close(CloseCode),
}

impl State {
    fn show_waiting(&mut self) {
        let waiting = self.connections.iter().map(|(_, connection)| connection.out.waiting());
        let (bytes, slow) =
            waiting.filter(|bytes| *bytes > 0).fold((0, 0), |(all, slow), bytes| (all + bytes, slow + 1));
        let shown = std::mem::replace(&mut self.shown_waiting, (bytes, slow));
        metrics::gauge!(crate::metrics::QUEUE_BYTES).increment(bytes as f64 - shown.0 as f64);
        metrics::gauge!(crate::metrics::SLOW).increment(slow as f64 - shown.1 as f64);
    }
}

impl Shard {
    /// Sweeps every second until the gateway ends.
    pub async fn sweep_every_second(self: Arc<Self>) {
        let mut tick = tokio::time::interval(Duration::from_secs(1));
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let due = tick.tick().await;
            self.look_at_load(due.elapsed());
            self.sweep();
            if self.index == 0 {
                self.gateway.typing.sweep(&self.gateway, Instant::now());
            }
        }
    }

    /// Takes note of how late this event loop is, and the first one of the process's memory.
    fn look_at_load(&self, lag: Duration) {
        let Gateway { config, load, .. } = &*self.gateway;
        gauge!(names::LOOP_LAG, "shard" => self.index.to_string()).set(lag.as_secs_f64());
        if !config.lag_max.is_zero() {
            load.note_lag(self.index, lag, config.lag_max);
        }
        if self.index == 0
            && let Some((max, resident)) = config.memory_max.zip(resident_bytes())
        {
            load.note_memory(resident, max);
        }
    }

    fn sweep(self: &Arc<Self>) {
        let now = self.now();
        let wall = Millis::from(SystemTime::now());
        let config = &self.gateway.config;
        self.with(|state| {
            state.now = now;
            let due: Vec<_> = state
                .connections
                .iter()
                .filter_map(|(slot, connection)| {
                    let id = ConnectionId { slot: slot as u32, serial: connection.serial };
                    Some((id, self.due(connection, now, wall)?))
                })
                .collect();
            for (id, due) in due {
                state.carry_out(id, due);
            }
            state.show_waiting();
            state.send_away(self.gateway.take_to_send_away(self.index));
            state.drop_empty_rooms(EMPTY_ROOM);
            state.bound_recent(config.recent_bytes_max / config.shards);
            if let Some(every) = config.resync_every {
                state.sync_those_due(every);
            }
            if now.is_multiple_of(COUNT_EVERY) {
                self.tell_counts(state);
            }
        });
    }

    fn due(&self, connection: &Connection, now: u32, wall: Millis) -> Option<Due> {
        let config = &self.gateway.config;
        let seconds = |duration: Duration| duration.as_secs().max(1) as u32;
        if connection.closing {
            return None;
        }
        let silent = now.saturating_sub(connection.heard);
        let beat = connection.session.as_ref().map(|session| match silent > 2 * seconds(config.heartbeat) {
            true => Some(Due::Close(CloseCode::GoingAway)),
            false => session.is_to_be_pinged(now, seconds(config.heartbeat)).then_some(Due::Ping),
        });
        let Some(account) = &connection.account else {
            let late = now.saturating_sub(connection.opened) > seconds(config.hello_timeout);
            return if late { Some(Due::Close(CloseCode::AuthenticationTimeout)) } else { beat.flatten() };
        };
        if connection.behind_since.is_some_and(|since| now - since > seconds(config.slow_consumer_timeout)) {
            return Some(Due::Close(CloseCode::SlowConsumer));
        }
        if wall.0 > account.expires_at.0.saturating_add(TOKEN_GRACE.as_millis() as u64) {
            return Some(Due::Close(CloseCode::NotAuthenticated));
        }
        if wall > account.expires_at && !connection.warned {
            return Some(Due::Fresh);
        }
        if let Some(beat) = beat {
            return beat;
        }
        match connection.pinged {
            true if silent > 2 * seconds(config.heartbeat) => Some(Due::Close(CloseCode::GoingAway)),
            false if silent >= seconds(config.heartbeat) => Some(Due::Ping),
            _ => None,
        }
    }

    /// Tells large rooms how many of their members are there.
    fn tell_counts(&self, state: &mut State) {
        let max = state.presence_members_max;
        let mut counts: HashMap<RoomId, Option<u64>> = HashMap::new();
        for (id, here) in &mut state.rooms {
            let large = here.synced.as_ref().is_some_and(|synced| synced.member_count > max);
            if !large {
                if here.count_told.take().is_some() {
                    // Whoever has it as a large one counts nobody here.
                    here.count_changed = true;
                    self.gateway.count_present(id, self.index, Some(0));
                }
                continue;
            }
            if !std::mem::take(&mut here.count_changed) {
                // Other gateways may tell of a change that nothing here shows.
                if self.gateway.peers.is_some() {
                    counts.insert(id.clone(), None);
                }
                continue;
            }
            let users: HashSet<_> = here
                .members
                .iter()
                .filter_map(|slot| state.connections.get(*slot as usize)?.account.as_ref())
                .map(|account| &account.user.id)
                .collect();
            counts.insert(id.clone(), Some(users.len() as u64));
        }
        for (room, here) in counts {
            let online = self.gateway.count_present(&room, self.index, here);
            let told = state.rooms.get_mut(&room).and_then(|here| here.count_told.replace(online));
            if here.is_none() && told == Some(online) {
                continue;
            }
            state.pass(&room, Passes::Count(online));
        }
    }
}

impl State {
    /// Tells so many connections to come to another gateway. Who is there longest goes first: so nobody does twice before all
    /// others did.
    fn send_away(&mut self, count: u64) {
        if count == 0 {
            return;
        }
        let there = self.connections.iter().filter(|(_, there)| there.account.is_some() && !there.closing);
        let mut there: Vec<_> = there
            .map(|(slot, there)| {
                (there.opened, there.serial, ConnectionId { slot: slot as u32, serial: there.serial })
            })
            .collect();
        let count = usize::try_from(count).unwrap_or(usize::MAX).min(there.len());
        if count == 0 {
            return;
        }
        there.select_nth_unstable_by_key(count - 1, |(opened, serial, _)| (*opened, *serial));
        for (_, _, id) in &there[..count] {
            let after_ms = fastrand::u64(COME_BACK_MS);
            self.close_because(*id, CloseCode::GoingAway, "rebalanced", after_ms);
        }
    }

    /// Reads rooms again whose time has come, each at a time of its own, so that they do not come together.
    fn sync_those_due(&mut self, every: Duration) {
        let (now, every) = (self.now, every.as_secs().max(2) as u32);
        let mut due = Vec::new();
        for (id, here) in self.rooms.iter_mut().filter(|(_, here)| here.syncing.is_none()) {
            if here.resync_at <= now {
                let is_known =
                    std::mem::replace(&mut here.resync_at, now + every / 2 + fastrand::u32(..every)) > 0;
                due.extend(is_known.then(|| id.clone()));
            }
        }
        due.into_iter().for_each(|room| self.need_sync(room, SyncCause::Periodic));
    }

    fn carry_out(&mut self, id: ConnectionId, due: Due) {
        let now = self.now;
        let Some(connection) = self.connection(id) else { return };
        match (due, &mut connection.session) {
            (Due::Close(code), _) => {
                if code == CloseCode::SlowConsumer {
                    self.note_too_slow(id);
                }
                self.close(id, code, 1_000);
            }
            (Due::Ping, Some(session)) => {
                session.pinged_at = now;
                self.push(id, socketio::ping());
            }
            (Due::Ping, None) => {
                connection.pinged = true;
                let mut ping = Vec::with_capacity(2);
                encode::append_ping(&mut ping, &[]);
                self.push(id, Bytes::from(ping));
            }
            // It can't be asked for another one.
            (Due::Fresh, Some(_)) => {
                connection.warned = true;
                self.chores.push(Chore::Recheck(id));
            }
            (Due::Fresh, None) => {
                connection.warned = true;
                let failure = Failure::Accounts(AccountsError::InvalidToken);
                let message = "your access token has expired; say hello with a fresh one";
                self.push(id, answer::error(&None, failure.code(), message, Some("token"), None));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use hubbub_core::ids::{User, UserId};
    use hubbub_core::ports::accounts::Account;

    use super::*;
    use crate::config::Config;
    use crate::http::tests::state;
    use crate::member::Connection;
    use crate::shard::tests::{synced, unread};

    fn account() -> Option<Arc<Account>> {
        let user = User { id: UserId::parse("ann").unwrap(), name: "Ann".into() };
        Some(Arc::new(Account { user, roles: Vec::new(), expires_at: Millis(u64::MAX) }))
    }

    #[tokio::test]
    async fn in_a_room_that_is_large_no_more_nobody_is_counted() {
        let shard = Shard::new(state(Config { presence_members_max: 1, ..Config::default() }).gateway, 0);
        let room = RoomId::parse("lobby").unwrap();
        shard.with(|state| {
            let id = state.insert(|serial| Connection { account: account(), ..unread(serial) });
            state.rooms.entry(room.clone()).or_default().begin(synced(&room, 1));
            state.go_live(id, &room);
            for (members, counted) in [(2, 1), (1, 0), (2, 1)] {
                state.rooms.get_mut(&room).unwrap().synced.as_mut().unwrap().member_count = members;
                shard.tell_counts(state);
                assert_eq!(shard.gateway.count_present(&room, 1, None), counted, "of {members}");
            }
        });
    }

    #[tokio::test]
    async fn a_token_may_end_as_late_as_it_likes() {
        let shard = Shard::new(state(Config::default()).gateway, 0);
        let id =
            shard.with(|state| state.insert(|serial| Connection { account: account(), ..unread(serial) }));
        shard.sweep();
        assert!(!shard.with(|state| state.connection(id).unwrap().closing));
    }
}
