//! What operators are shown of the connections that this gateway holds, and what is done to those of one user.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use hubbub_core::ids::UserId;
use hubbub_node::agent::Insight;
use hubbub_wire::tier::agent::{CONNECTIONS_MAX, Held, ToldAgent, Which};

use crate::Gateway;
use crate::member::{Connection, ConnectionId, Second, Transport};
use crate::shard::{Shard, State};

impl Gateway {
    pub(crate) fn has_shard(&self, shard: &Arc<Shard>) {
        self.shards.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::downgrade(shard));
    }

    pub(crate) fn shards(&self) -> Vec<Arc<Shard>> {
        let shards = self.shards.lock().unwrap_or_else(PoisonError::into_inner);
        shards.iter().filter_map(std::sync::Weak::upgrade).collect()
    }

    /// The connections that an operator wants to see. Each event loop is looked at for as long as its sweep of every second takes.
    pub fn connections(&self, which: &Which) -> ToldAgent {
        let limit = which.limit.min(CONNECTIONS_MAX);
        let which = Which { limit, ..which.clone() };
        let (mut connections, mut more) = (Vec::new(), false);
        for shard in self.shards() {
            let now = shard.now();
            let (held, has_more) = shard.with(|state| state.held(&which, now));
            connections.extend(held);
            more |= has_more;
        }
        connections.sort_by_key(Held::place);
        more |= connections.len() > limit;
        connections.truncate(limit);
        ToldAgent::Connections { connections, more }
    }

    /// What an agent asks of it.
    pub fn insight(self: &Arc<Self>) -> Insight {
        let (counted, shown) = (self.clone(), self.clone());
        Insight {
            count: Box::new(move || counted.connections.load(Ordering::Relaxed) as u64),
            connections: Box::new(move |which| shown.connections(which)),
        }
    }

    /// Ends all connections here of a user who is banned.
    pub fn close_banned(&self, user: &UserId) {
        for shard in self.shards() {
            shard.with(|state| state.close_banned(user));
        }
    }
}

impl State {
    /// Those that most waits for, and whether there are more.
    fn held(&self, which: &Which, now: u32) -> (Vec<Held>, bool) {
        let is_meant = |connection: &Connection| {
            let is_slow = connection.out.waiting() > 0 || connection.behind_since.is_some();
            let is_theirs = which.user.as_ref().is_none_or(|user| {
                connection.account.as_ref().is_some_and(|account| account.user.id == *user)
            });
            !connection.closing && is_theirs && (is_slow || !which.slow)
        };
        // Only so many are remembered, whatever the table's size.
        let mut most = BinaryHeap::new();
        let mut more = false;
        for (slot, connection) in self.connections.iter().filter(|(_, connection)| is_meant(connection)) {
            most.push(Reverse((connection.out.waiting(), slot)));
            if most.len() > which.limit {
                most.pop();
                more = true;
            }
        }
        let shown = |Reverse((_, slot))| Some(shown(self.connections.get(slot)?, now));
        let mut held: Vec<_> = most.into_iter().filter_map(shown).collect();
        if which.slow {
            held.extend(self.too_slow.of_late(which.user.as_ref(), now));
        }
        (held, more)
    }

    /// Remembers a connection that is about to be closed because it reads too slowly.
    pub(crate) fn note_too_slow(&mut self, id: ConnectionId) {
        let now = self.now;
        if let Some(connection) = self.connection(id) {
            let closed = shown(connection, now);
            self.too_slow.note(closed, now);
        }
    }
}

/// The last connections that were closed because they read too slowly: who asks which client is slow asks after that, more often
/// than within the seconds before.
#[derive(Default)]
pub(crate) struct TooSlow(VecDeque<(Second, Held)>);

impl TooSlow {
    /// How many are remembered, and for how long.
    const MAX: usize = 100;
    const KEPT: Second = 600;

    fn note(&mut self, closed: Held, now: Second) {
        if self.0.len() == Self::MAX {
            self.0.pop_front();
        }
        self.0.push_back((now, closed));
    }

    fn of_late(&self, user: Option<&UserId>, now: Second) -> impl Iterator<Item = Held> {
        let meant = move |closed: &Held| user.is_none_or(|user| closed.user.as_ref() == Some(user));
        self.0.iter().filter_map(move |(at, closed)| {
            let ago = now.saturating_sub(*at);
            (ago <= Self::KEPT && meant(closed)).then(|| Held { closed_seconds: Some(ago), ..closed.clone() })
        })
    }
}

fn shown(connection: &Connection, now: u32) -> Held {
    let kind = match (&connection.session, &connection.socket.transport) {
        (None, _) => "websocket",
        (Some(_), Transport::WebSocket(_)) => "socket.io",
        (Some(_), Transport::Polling(_)) => "socket.io-polling",
    };
    Held {
        user: connection.account.as_ref().map(|account| account.user.id.clone()),
        address: connection.address,
        kind: kind.into(),
        waiting_bytes: connection.out.waiting(),
        behind_seconds: connection.behind_since.map(|since| now.saturating_sub(since)),
        rooms: connection.rooms.len(),
        open_seconds: now.saturating_sub(connection.opened),
        silent_seconds: now.saturating_sub(connection.heard),
        closed_seconds: None,
    }
}
