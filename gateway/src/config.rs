//! What a gateway is told before it starts.

use std::time::Duration;

use crate::forwarded::{ForwardedBy, Proxies};
use crate::tls::Tls;

/// From which pages a browser may connect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origins {
    /// From pages that this server itself served: `Origin` names the same host as `Host`.
    Same,
    /// From these origins, and from the same.
    These(Vec<String>),
    /// From any page.
    Any,
}

/// A gateway's settings. Each limit says what happens at it.
#[derive(Debug, Clone)]
pub struct Config {
    /// How safe an acknowledged entry is, as clients are told: `disk` or `quorum`.
    pub durability: &'static str,
    /// Event loops, each a thread. One is the cheapest; more are for capacity.
    pub shards: usize,
    /// Certificate and key, where the gateway speaks TLS itself.
    pub tls: Option<Tls>,
    /// Whose word counts about where a request comes from.
    pub proxies: Proxies,
    /// From where browsers may connect.
    pub origins: Origins,
    /// What the names of Socket.IO sessions begin with, so that a load balancer knows where one is.
    pub sid_tag: Option<String>,
    /// How long an action may take; then `unavailable`.
    pub action_timeout: Duration,
    /// How long a connection may stay without a valid token; then closed with 4408.
    pub hello_timeout: Duration,
    /// Silence after which the server pings; after twice as much the connection is closed.
    pub heartbeat: Duration,
    /// Bytes of one frame and of one message; then closed with 1009.
    pub frame_bytes_max: usize,
    /// Bytes that wait for one connection; then entries are dropped and it is told `behind`.
    pub connection_bytes_max: usize,
    /// How long a connection may be behind without reading; then closed with 4413. For an answer by HTTP: how long nothing of it may be
    /// taken.
    pub slow_consumer_timeout: Duration,
    /// Requests of one connection that wait for an answer; then it is not read from.
    pub requests_in_flight_max: u16,
    /// Entries a room that a resume sends; beyond it, `behind`.
    pub resume_entries_max: u64,
    /// How often a room is read again from its holder without another reason, over a bus that may lose messages; `None` over
    /// one that can't.
    pub resync_every: Option<Duration>,
    /// Rooms that one user may be in; then `forbidden`.
    pub rooms_of_user_max: usize,
    /// Connections of all clients; then 503.
    pub connections_max: usize,
    /// Sockets of all clients, be they connections or asked over by HTTP; then closed before anything is read.
    pub sockets_max: usize,
    /// Bytes of memory that the process holds; then 503, and 1013 for who did not say hello yet. `None` for no limit.
    pub memory_max: Option<u64>,
    /// Bytes of rooms' newest entries that are kept, by all event loops together; looked at once a second.
    pub recent_bytes_max: usize,
    /// How late an event loop may be, three seconds in a row; then as for memory. Zero for no limit.
    pub lag_max: Duration,
    /// Connections that are sent to other gateways a second where there are more than this one's share; 0 for none.
    pub rebalance_per_second: u32,
    /// Connections of one user; then closed with 4429.
    pub connections_of_user_max: u32,
    /// Connections of one address; then closed before anything is read.
    pub connections_of_address_max: u32,
    /// Messages, joins and rooms of one user a second, in the long run; then `rate_limited`.
    pub sends_per_second: u32,
    /// How many of those may come at once.
    pub sends_burst: u32,
    /// Reads of one user a second, in the long run; then `rate_limited`.
    pub reads_per_second: u32,
    /// How many of those may come at once.
    pub reads_burst: u32,
    /// Members of a room up to which each is told who comes and goes; above it, how many are there.
    pub presence_members_max: u64,
    /// Over how long closes are spread when the server drains.
    pub drain_window: Duration,
    /// What bots are given of who gives a command.
    pub bot_tokens: BotTokens,
}

/// By which token bots may act for who gave them a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BotTokens {
    /// None: the only bot is part of this process, and asks nobody.
    Nothing,
    /// One for the command alone. Of another service's users, whom we can sign none for, the whole.
    ForCommand,
    /// The whole access token.
    Whole,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            durability: "disk",
            shards: 1,
            tls: None,
            proxies: Proxies { trusted: Vec::new(), header: ForwardedBy::XForwardedFor },
            origins: Origins::Same,
            sid_tag: None,
            action_timeout: Duration::from_secs(5),
            hello_timeout: Duration::from_secs(10),
            heartbeat: Duration::from_secs(30),
            frame_bytes_max: 512 * 1024,
            connection_bytes_max: 256 * 1024,
            slow_consumer_timeout: Duration::from_secs(15),
            requests_in_flight_max: 64,
            resume_entries_max: 1_000,
            resync_every: None,
            rooms_of_user_max: 1_000,
            connections_max: 1_000_000,
            sockets_max: usize::MAX,
            memory_max: None,
            recent_bytes_max: 256 * 1024 * 1024,
            lag_max: Duration::from_secs(1),
            rebalance_per_second: 20,
            connections_of_user_max: 1_000,
            connections_of_address_max: 50_000,
            sends_per_second: 500,
            sends_burst: 2_000,
            reads_per_second: 200,
            reads_burst: 2_000,
            presence_members_max: 200,
            drain_window: Duration::from_secs(5),
            bot_tokens: BotTokens::ForCommand,
        }
    }
}
