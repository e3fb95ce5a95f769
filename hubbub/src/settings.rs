//! What the all-in-one can be told.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use hubbub_gateway::config::{Config, Origins as AllowedFrom};
use hubbub_node::config::Retired;
use hubbub_node::config::kinds::{
    AllowedOrigins, Bytes, Count, IpAddress, LogFilter, LogLevels, OneOf, Origins, Path, Port, Time,
};
use hubbub_node::telemetry::LogFormat;

const MIB: u64 = 1024 * 1024;

/// How the seed called the kind of its surroundings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Surroundings {
    /// A developer's machine.
    Dev,
    /// In service.
    Production,
}

const SURROUNDINGS: OneOf<Surroundings> =
    OneOf(&[("dev", Surroundings::Dev), ("production", Surroundings::Production)]);

hubbub_node::settings! {
    /// All settings of the all-in-one.
    #[derive(Debug, Clone)]
    pub struct Settings {
        "Listening" => {
            /// TCP port of HTTP and WebSocket; 0 lets the system choose.
            port: u16 = Port, env ["PORT"], default "3000";
            /// Address to listen on.
            interface: IpAddr = IpAddress, env ["INTERFACE"], default "127.0.0.1";
            /// Event loops that hold connections, a thread each; one is the cheapest, more are for capacity.
            instances: u64 = Count::between(1, 256), env ["INSTANCES"], default "1";
            /// Pages of other origins that may connect, with commas; * for any. Our own page always may.
            origins: AllowedOrigins = Origins, env ["ORIGINS"], default "";
        }
        "Data" => {
            /// Folder of the logs and accounts; made if it is not there. One process at a time.
            data: PathBuf = Path, env ["DATA_DIR"], default "./hubbub-data";
            /// Least time from the start of one commit to the start of the next; a message that comes alone does not wait.
            commit_pace: Duration = Time::between_ms(0, 1_000), env ["COMMIT_PACE"], default "2ms";
        }
        "Accounts" => {
            /// How long an access token is valid.
            token_ttl: Duration = Time::between_ms(1_000, 366 * 24 * 3_600_000), env ["TOKEN_TTL"], default "1h";
            /// Logins of one address a second in the long run; then rate_limited.
            logins_per_second: u64 = Count::between(1, 1_000_000), env ["LOGINS_PER_SECOND"], default "20";
            /// Registrations of one address a second in the long run; then rate_limited.
            registrations_per_second: u64 = Count::between(1, 1_000_000), env ["REGISTRATIONS_PER_SECOND"], default "50";
        }
        "Limits" => {
            /// Connections of all clients; beyond it 503 and try again later.
            connections_max: u64 = Count::between(1, 100_000_000), env ["CONNECTIONS_MAX"], default "1000000";
            /// Connections of one user; beyond it closed with 4429.
            connections_of_user_max: u64 = Count::between(1, 10_000_000), env ["CONNECTIONS_OF_USER_MAX"], default "1000";
            /// Connections of one address; beyond it closed at once.
            connections_of_address_max: u64 = Count::between(1, 10_000_000), env ["CONNECTIONS_OF_ADDRESS_MAX"], default "50000";
            /// Messages, joins and rooms of one user a second in the long run; then rate_limited.
            sends_per_second: u64 = Count::between(1, 10_000_000), env ["SENDS_PER_SECOND"], default "500";
            /// Reads of one user a second in the long run; then rate_limited.
            reads_per_second: u64 = Count::between(1, 10_000_000), env ["READS_PER_SECOND"], default "200";
            /// Rooms that one user may be in; then forbidden.
            rooms_of_user_max: u64 = Count::between(1, 8_000), env ["ROOMS_OF_USER_MAX"], default "1000";
            /// Members that one room may have; then forbidden.
            members_max: u64 = Count::between(1, 100_000_000), env ["MEMBERS_MAX"], default "1000000";
            /// Bytes of one WebSocket message or HTTP body; then 1009 or 413.
            frame_bytes_max: u64 = Bytes::between(16 * 1024, 16 * MIB), env ["FRAME_BYTES_MAX"], default "512KiB";
            /// Bytes that wait for one slow connection; beyond it, it is told behind.
            connection_bytes_max: u64 = Bytes::between(16 * 1024, 64 * MIB), env ["CONNECTION_BYTES_MAX"], default "256KiB";
            /// How long a connection may be behind without reading; then closed with 4413.
            slow_consumer_timeout: Duration = Time::between_ms(1_000, 3_600_000), env ["SLOW_CONSUMER_TIMEOUT"], default "15s";
            /// Entries of a room that a resume sends; beyond it, behind.
            resume_entries_max: u64 = Count::between(0, 100_000), env ["RESUME_ENTRIES_MAX"], default "1000";
            /// Members up to which a room is told who comes and goes; above it, how many are there.
            presence_members_max: u64 = Count::between(0, 1_000_000), env ["PRESENCE_MEMBERS_MAX"], default "200";
        }
        "Time" => {
            /// How long an action may take; then unavailable.
            action_timeout: Duration = Time::between_ms(100, 60_000), env ["ACTION_TIMEOUT"], default "5s";
            /// How long a connection may stay without a token; then closed with 4408.
            hello_timeout: Duration = Time::between_ms(1_000, 600_000), env ["HELLO_TIMEOUT"], default "10s";
            /// Silence after which a connection is pinged; after twice as much it is closed.
            heartbeat: Duration = Time::between_ms(1_000, 3_600_000), env ["HEARTBEAT"], default "30s";
            /// Over how long the closes are spread when the server drains; it ends 15s later at the latest.
            drain_window: Duration = Time::between_ms(0, 3_600_000), env ["DRAIN_WINDOW"], default "2s";
        }
        "Logs" => {
            /// How much is logged: error, warn, info, http, verbose, debug or silly, or a list such as info,hubbub_gateway=debug.
            log: LogFilter = LogLevels, env ["LOG"], default "info";
            /// How a line is written: human or json.
            log_format: LogFormat = LogFormat::KIND, env ["LOG_FORMAT"], default "human";
            /// Where this runs: dev or production; in production the first lines are a log entry.
            env: Surroundings = SURROUNDINGS, env ["ENV"], default "dev";
        }
    }
}

/// Settings of the server that this one replaces, and what took their place.
pub const RETIRED: &[Retired] = &[
    ("MONGODB_URI", "rooms and messages live in the data folder; see --data"),
    ("REDIS_SERVER", "no adapter between processes is needed"),
    ("REDIS_PORT", "no adapter between processes is needed"),
    ("REDIS_KEY", "no adapter between processes is needed"),
];

impl Settings {
    /// The gateway's part.
    pub fn gateway(&self) -> Config {
        // The table bounds every number far below its target type.
        Config {
            durability: "disk",
            shards: self.instances as usize,
            origins: match &self.origins {
                AllowedOrigins::Any => AllowedFrom::Any,
                AllowedOrigins::Listed(list) if list.is_empty() => AllowedFrom::Same,
                AllowedOrigins::Listed(list) => {
                    AllowedFrom::These(list.iter().map(|origin| origin.as_str().to_owned()).collect())
                }
            },
            action_timeout: self.action_timeout,
            hello_timeout: self.hello_timeout,
            heartbeat: self.heartbeat,
            frame_bytes_max: self.frame_bytes_max as usize,
            connection_bytes_max: self.connection_bytes_max as usize,
            slow_consumer_timeout: self.slow_consumer_timeout,
            resume_entries_max: self.resume_entries_max,
            rooms_of_user_max: self.rooms_of_user_max as usize,
            connections_max: self.connections_max as usize,
            connections_of_user_max: self.connections_of_user_max as u32,
            connections_of_address_max: self.connections_of_address_max as u32,
            sends_per_second: self.sends_per_second as u32,
            sends_burst: self.sends_per_second.saturating_mul(4) as u32,
            reads_per_second: self.reads_per_second as u32,
            reads_burst: self.reads_per_second.saturating_mul(10) as u32,
            presence_members_max: self.presence_members_max,
            drain_window: self.drain_window,
            ..Config::default()
        }
    }
}
