//! The gateway: holds sockets, and nothing that a restart may lose.
//!
//! In reading order: what it is told ([`config`]) and how it fails ([`error`]); what it asks of the other tiers
//! ([`actions`]); a [`shard`] owns connections and the rooms they are members of; [`fanout`] is the hot path.

pub mod admin;
pub mod config;
pub mod error;
pub mod actions;
pub mod bots;
pub mod content;
pub mod shard;
pub mod ear;
pub mod member;
pub mod room;
pub mod held;
pub mod hearing;
pub mod dialect;
pub mod fanout;
pub mod flush;
pub mod round;
pub mod load;
pub mod recent;
pub mod resume;
pub mod follow;
pub mod open;
pub mod ws;
mod again;
mod announced;
mod arrivals;
pub mod asked;
pub mod socketio;
pub mod http;
pub mod listener;
pub mod tls;
pub mod user;
pub mod write_timeout;
pub mod forwarded;
pub mod sweep;
pub mod presence;
pub mod peers;
mod lanes;
mod pool;
pub mod revoked;
pub mod typing;
pub mod metrics;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use hubbub_core::ids::{LogId, Partitions, RoomId, User, UserId};
use hubbub_core::ports::accounts::{Account, Accounts, AccountsError, Role, Secret};
use hubbub_core::ports::bus::{Bus, Subject};
use hubbub_core::ports::revocations::{Revocations, TokenId};
use hubbub_node::bans::Banned;
use hubbub_node::rate_limit::RateLimit;
use hubbub_node::revoked::{Refused, Revoked, token_id};
use hubbub_wire::native::answer::Present;
use hubbub_wire::tier::ephemera::{Ephemeron, Passing};
use hubbub_wire::tier::parcel;
use hubbub_wire::tier::presence::Carried;
use hubbub_wire::tier::query::Member;

use crate::actions::Asker;
use crate::config::Config;
use crate::error::Failure;
use crate::load::{Load, Refusal};
use crate::peers::{Cluster, Peers};
use crate::presence::{Addresses, Arrived, Presence};
use crate::shard::Shard;
use crate::socketio::session::Sessions;
use crate::typing::Typing;

/// Sockets over which HTTP is spoken that there may be while the process holds too much memory: each takes a buffer of 8 KiB.
const HTTP_WHEN_HEAVY: usize = 1_024;

/// The ports a gateway stands on.
#[derive(Clone)]
pub struct Ports {
    /// To the other tiers.
    pub bus: Arc<dyn Bus>,
    /// Who a token stands for.
    pub accounts: Arc<dyn Accounts>,
    /// How many partitions there are.
    pub partitions: Partitions,
    /// The log that the rooms are in, as the process found it.
    pub log: LogId,
    /// Who may not come in.
    pub banned: Arc<Banned>,
    /// Tokens that were called back.
    pub revoked: Arc<Revoked>,
    /// Where they are kept.
    pub revocations: Arc<dyn Revocations>,
    /// The other gateways; `None` where this is the only one, and nothing is done for others.
    pub cluster: Option<Cluster>,
}

/// What all doors and shards of a gateway share.
pub struct Gateway {
    /// Settings.
    pub config: Config,
    /// To the other tiers.
    pub asker: Asker,
    /// To the other tiers, for listening.
    pub bus: Arc<dyn Bus>,
    /// Who a token stands for.
    pub accounts: Arc<dyn Accounts>,
    /// The log that the rooms are in.
    pub log: LogId,
    /// Who is here.
    pub presence: Presence<UserId>,
    /// Who is at other gateways, if there may be any.
    pub peers: Option<Arc<Peers>>,
    /// Tokens that were called back.
    pub revoked: Arc<Revoked>,
    /// Where they are kept.
    revocations: Arc<dyn Revocations>,
    /// Users who may not come in.
    pub banned: Arc<Banned>,
    /// Socket.IO sessions that poll.
    pub sessions: Sessions,
    /// From where.
    pub addresses: Addresses,
    /// Who writes.
    pub typing: Typing,
    /// Messages, joins and rooms, a user.
    pub sends: RateLimit<UserId>,
    /// Reads, a user.
    pub reads: RateLimit<UserId>,
    /// From a `send` to its `ok`: looked up once, for a look-up costs more than the counting.
    pub ack_seconds: ::metrics::Histogram,
    /// Connections of all shards.
    pub connections: AtomicUsize,
    /// Sockets of all shards over which HTTP is spoken, or nothing yet.
    http_sockets: AtomicUsize,
    /// Memory and time of the process.
    pub load: Load,
    /// How many connections each shard is to send elsewhere.
    to_send_away: Vec<AtomicU64>,
    present: Mutex<HashMap<RoomId, Vec<u64>>>,
    /// The event loops: each has the gateway, and ends before it.
    shards: Mutex<Vec<Weak<Shard>>>,
    draining: AtomicBool,
}

impl Gateway {
    /// A gateway that does not listen yet.
    pub fn new(config: Config, ports: Ports) -> Arc<Self> {
        metrics::describe();
        Arc::new(Self {
            asker: Asker::new(
                ports.bus.clone(),
                ports.partitions,
                config.action_timeout,
                ports.cluster.as_ref(),
            ),
            bus: ports.bus,
            accounts: ports.accounts,
            log: ports.log,
            presence: Presence::default(),
            peers: ports.cluster.map(Peers::new),
            revoked: ports.revoked,
            revocations: ports.revocations,
            banned: ports.banned,
            sessions: Sessions::default(),
            addresses: Addresses::default(),
            typing: Typing::default(),
            sends: RateLimit::new(config.sends_per_second, config.sends_burst),
            reads: RateLimit::new(config.reads_per_second, config.reads_burst),
            ack_seconds: ::metrics::histogram!(metrics::ACK_SECONDS),
            connections: AtomicUsize::new(0),
            http_sockets: AtomicUsize::new(0),
            load: Load::new(config.shards),
            to_send_away: (0..config.shards).map(|_| AtomicU64::new(0)).collect(),
            present: Mutex::default(),
            shards: Mutex::default(),
            draining: AtomicBool::new(false),
            config,
        })
    }

    /// Whether the client at an address has as many connections as it may.
    pub fn is_at_limit(&self, address: &IpAddr) -> bool {
        self.addresses.count(address) >= self.config.connections_of_address_max
    }

    /// The account of a token that was not called back, of a user who is not banned; and the token's name.
    ///
    /// # Errors
    /// `Accounts`, as of [`Accounts::validate`]; `Banned`.
    pub async fn validate(&self, token: &Secret) -> Result<(Account, TokenId), Failure> {
        let account = self.accounts.validate(token).await?;
        // Only now, for it is a hash of all of it: of no more than accounts take for a token.
        let id = token_id(token);
        let refused = self.revoked.refuses(id, account.expires_at);
        if let Refused::Longer(revocation) = refused {
            self.keep_on(revocation);
        }
        if refused != Refused::No {
            return Err(AccountsError::InvalidToken.into());
        }
        match self.banned.has(&account.user.id) {
            true => Err(Failure::Banned),
            false => Ok((account, id)),
        }
    }

    /// Whether who was let in by this token is still to be: since then it may have been called back, or its user banned.
    ///
    /// # Errors
    /// `Accounts` with an invalid token, `Banned`.
    pub fn lets_in_still(&self, user: &UserId, token: TokenId) -> Result<(), Failure> {
        if self.revoked.has(token) {
            return Err(AccountsError::InvalidToken.into());
        }
        if self.banned.has(user) { Err(Failure::Banned) } else { Ok(()) }
    }

    /// The account of a token that may chat, and the token's name.
    ///
    /// # Errors
    /// `Accounts`, `Banned`, `RoleMissing`.
    pub async fn authenticate(&self, token: &Secret) -> Result<(Account, TokenId), Failure> {
        let (account, id) = self.validate(token).await?;
        match account.roles.contains(&Role::User) {
            true => Ok((account, id)),
            false => Err(Failure::RoleMissing),
        }
    }

    /// Whether the gateway takes no new work any more.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Why no more connections are taken, if none are.
    pub fn refusal(&self) -> Option<Refusal> {
        if self.is_draining() {
            Some(Refusal::Draining)
        } else if self.connections.load(Ordering::Relaxed) >= self.config.connections_max {
            Some(Refusal::Full)
        } else if self.load.is_heavy() {
            Some(Refusal::Memory)
        } else {
            self.load.is_late().then_some(Refusal::Late)
        }
    }

    /// Whether there is a place for one more socket. Without, those who say nothing take the files that the store and the other tiers are
    /// reached by, and a buffer each.
    fn has_place(&self) -> bool {
        let http = self.http_sockets.load(Ordering::Relaxed);
        // Who polls is a connection, and asks over sockets that are counted already.
        let connections = self.connections.load(Ordering::Relaxed).saturating_sub(self.sessions.count());
        http + connections < self.config.sockets_max && (http < HTTP_WHEN_HEAVY || !self.load.is_heavy())
    }

    /// Why no more connections are taken, in a sentence for an operator.
    pub fn says_why(&self, refusal: Refusal) -> String {
        const MIB: u64 = 1024 * 1024;
        match refusal {
            Refusal::Draining => "the node is draining".into(),
            Refusal::Full => {
                format!("there are as many connections as may be: {}", self.config.connections_max)
            }
            Refusal::Memory => format!(
                "the process holds {} MiB of memory, of {} MiB that it may",
                self.load.resident() / MIB,
                self.config.memory_max.unwrap_or(0) / MIB
            ),
            Refusal::Late => format!("an event loop is {:.1} s late", self.load.lag().as_secs_f64()),
        }
    }

    /// What it tells other gateways of how much it carries.
    pub fn carries(&self) -> Carried {
        Carried {
            connections: self.connections.load(Ordering::Relaxed) as u64,
            takes: self.refusal().is_none(),
            ends: self.is_draining(),
        }
    }

    /// Has so many connections told to come to another gateway, by all shards alike.
    pub fn send_away(&self, count: u64) {
        let shards = self.to_send_away.len() as u64;
        for (index, shard) in (0..).zip(&self.to_send_away) {
            shard.store(count / shards + u64::from(index < count % shards), Ordering::Relaxed);
        }
    }

    /// How many this shard is to send elsewhere; asked once.
    pub fn take_to_send_away(&self, shard: usize) -> u64 {
        self.to_send_away.get(shard).map_or(0, |count| count.swap(0, Ordering::Relaxed))
    }

    /// A connection of the user opened: `First` only if they have none at any gateway, as far as is known.
    pub fn arrive(&self, user: &User) -> Arrived {
        let arrived = self.presence.arrive(&user.id, self.config.connections_of_user_max);
        match &self.peers {
            Some(peers) if arrived == Arrived::First && peers.note(user, &self.presence) => {
                // By the other gateway.
                self.presence.tell(&user.id);
                Arrived::Another
            }
            _ => arrived,
        }
    }

    /// A counted connection of the user closed. Whether it was the last one at any gateway, as far as is known.
    pub fn depart(&self, user: &User) -> bool {
        let last = self.presence.depart(&user.id);
        last && !self.peers.as_ref().is_some_and(|peers| peers.note(user, &self.presence))
    }

    /// Whether the user has a connection at any gateway.
    pub fn is_online(&self, user: &UserId) -> bool {
        self.presence.is_online(user) || self.peers.as_ref().is_some_and(|peers| peers.elsewhere(user))
    }

    /// How many of a large room's members are there, now that a shard tells how many it has if that changed. A user with
    /// connections on two shards or at two gateways counts twice.
    pub fn count_present(&self, room: &RoomId, shard: usize, here: Option<u64>) -> u64 {
        let here = self.count_here(room, shard, here);
        let Some(peers) = &self.peers else { return here };
        peers.note_count(room, here);
        here + peers.count_elsewhere(room)
    }

    fn count_here(&self, room: &RoomId, shard: usize, here: Option<u64>) -> u64 {
        let mut present = self.present.lock().unwrap_or_else(PoisonError::into_inner);
        let shards = present.entry(room.clone()).or_insert_with(|| vec![0; self.config.shards]);
        if let (Some(count), Some(here)) = (shards.get_mut(shard), here) {
            *count = here;
        }
        let sum = shards.iter().sum();
        if sum == 0 {
            present.remove(room);
        }
        sum
    }

    /// From here on no new connection and no new work is taken.
    pub fn begin_drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// Tells all gateways of something that passes in a room. Best effort.
    pub fn publish_passing(&self, room: &RoomId, what: Passing) {
        let subject = Subject::Ephemera(self.asker.partition(room), room.clone());
        let payload = parcel::pack(&Ephemeron { room: room.clone(), what });
        if let Err(error) = self.bus.publish(&subject, payload.into()) {
            tracing::debug!(%error, "could not tell of typing or presence");
        }
    }

    /// Says of members whether they are there.
    pub fn with_presence(&self, members: Vec<Member>) -> Vec<Present> {
        members
            .into_iter()
            .map(|member| Present { online: self.is_online(&member.id), id: member.id, name: member.name })
            .collect()
    }
}
