//! What the groups of settings mean to the parts that they are for.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hubbub_adapters::accounts::{BuiltInOptions, Rate};
use hubbub_adapters::broker::AmqpOptions;
use hubbub_adapters::bus::{NatsOptions, NatsTls};
use hubbub_adapters::store::{CqlOptions, CqlTls};
use hubbub_core::ids::{NodeId, Partitions};
use hubbub_core::ports::accounts::Secret as Password;
use hubbub_gateway::admin::credentials::Credentials;
use hubbub_gateway::config::{BotTokens, Config, Origins as AllowedFrom};
use hubbub_gateway::forwarded::Proxies;
use hubbub_gateway::tls::Tls;
use hubbub_node::config::kinds::{AllowedOrigins, LogFilter};
use hubbub_node::process::{memory_limit, open_files_max};
use hubbub_node::telemetry::LogFormat;
use hubbub_node::trace::Sampling;
use hubbub_node::trace::export::Options as TraceOptions;

use super::{
    BotTokenSettings, BridgeSettings, GatewaySettings, HistorySettings, ImportSettings, RestoredSettings,
    SchemaSettings, Settings, WorkerSettings,
};
use crate::accounts::Told;
use crate::process::WrongSettings;

/// What a process tells of itself.
pub trait Telemetry {
    /// What is logged.
    fn filter(&self) -> LogFilter;
    /// How a line is written.
    fn format(&self) -> LogFormat;
    /// Where traces go, and of what; `None` for nothing is traced.
    fn traces(&self) -> Option<TraceOptions>;
    /// How long a drain may take before the process ends all the same.
    fn drain_max(&self) -> Duration;
}

/// How NATS is reached.
pub trait Nats {
    /// As this node.
    ///
    /// # Errors
    /// Settings that go together, of which one is missing.
    fn nats(&self, tier: &str, node: &NodeId) -> Result<NatsOptions, WrongSettings>;
}

/// How the database is reached.
pub trait Database {
    /// As a node of this cluster.
    ///
    /// # Errors
    /// Settings that go together, of which one is missing.
    fn database(&self) -> Result<CqlOptions, WrongSettings>;
}

/// How the broker of the bots is reached.
pub trait Broker {
    /// Whether anything was said of one.
    fn has_broker(&self) -> bool;

    /// As what it shows us as.
    ///
    /// # Errors
    /// Settings that do not go together, or can't be used.
    fn broker(&self, name: String) -> Result<AmqpOptions, WrongSettings>;
}

/// How long after its delay and its window a drain may still take.
const DRAIN_GRACE: Duration = Duration::from_secs(15);

/// Both, or none: of one alone nobody could say what was meant, and a connection in the clear would be the answer.
pub(crate) fn pair<T: Clone, U: Clone>(
    names: &str,
    one: &Option<T>,
    other: &Option<U>,
) -> Result<Option<(T, U)>, WrongSettings> {
    match (one, other) {
        (None, None) => Ok(None),
        (Some(one), Some(other)) => Ok(Some((one.clone(), other.clone()))),
        _ => Err(WrongSettings(format!("{names} go together"))),
    }
}

macro_rules! telemetry {
    ($($settings:ty: $settings_drain:expr, $traces:expr;)*) => {
        $(impl Telemetry for $settings {
            fn filter(&self) -> LogFilter {
                self.log.clone()
            }
            fn format(&self) -> LogFormat {
                self.log_format
            }
            fn traces(&self) -> Option<TraceOptions> {
                let traces: fn(&Self) -> Option<TraceOptions> = $traces;
                traces(self)
            }
            fn drain_max(&self) -> Duration {
                let window: fn(&Self) -> Duration = $settings_drain;
                window(self) + DRAIN_GRACE
            }
        })*
    };
}

macro_rules! traces {
    ($settings:ident, $service:literal, $sampler:expr) => {{
        let of_all = $settings.otel_exporter_otlp_endpoint.as_ref().map(|all| format!("{all}/v1/traces"));
        let service = $settings.otel_service_name.clone().unwrap_or_else(|| $service.into());
        let endpoint = $settings.otel_exporter_otlp_traces_endpoint.clone().or(of_all);
        endpoint.map(|endpoint| TraceOptions { endpoint, service, sampling: $sampler })
    }};
}

telemetry! {
    Settings: |settings| settings.drain_delay + settings.drain_window, |settings| {
        traces!(settings, "hubbub", (settings.otel_traces_sampler, settings.otel_traces_sampler_arg))
    };
    GatewaySettings: |settings| settings.drain_delay + settings.drain_window, |settings| {
        traces!(settings, "hubbub-gateway", (settings.otel_traces_sampler, settings.otel_traces_sampler_arg))
    };
    // Nothing comes in at these that was not sampled at a gateway.
    WorkerSettings: |_| Duration::ZERO, |settings| {
        traces!(settings, "hubbub-room-worker", (Sampling::AlwaysOff, 0.0))
    };
    HistorySettings: |_| Duration::ZERO, |_| None;
    BridgeSettings: |_| Duration::ZERO, |_| None;
    SchemaSettings: |_| Duration::ZERO, |_| None;
    BotTokenSettings: |_| Duration::ZERO, |_| None;
    RestoredSettings: |_| Duration::ZERO, |_| None;
    ImportSettings: |_| Duration::ZERO, |_| None;
}

macro_rules! nats {
    ($($settings:ty)*) => {
        $(impl Nats for $settings {
            fn nats(&self, tier: &str, node: &NodeId) -> Result<NatsOptions, WrongSettings> {
                let names = "--nats-cert (NATS_CERT) and --nats-key (NATS_KEY)";
                let identity = pair(names, &self.nats_cert, &self.nats_key)?;
                let named = [
                    ("--nats-ca (NATS_CA)", &self.nats_ca),
                    ("--nats-cert (NATS_CERT)", &self.nats_cert),
                    ("--nats-key (NATS_KEY)", &self.nats_key),
                ];
                can_be_read(named)?;
                let is_tls = self.nats_tls || self.nats_ca.is_some() || identity.is_some();
                let names = "--nats-user (NATS_USER) and --nats-password (NATS_PASSWORD)";
                Ok(NatsOptions {
                    servers: self.nats.clone(),
                    user: pair(names, &self.nats_user, &self.nats_password)?,
                    tls: is_tls.then(|| NatsTls { ca: self.nats_ca.clone(), identity }),
                    prefix: self.cluster.clone(),
                    lease_replicas: self.nats_replicas as usize,
                    name: format!("hubbub {tier} {node}"),
                })
            }
        })*
    };
}

nats!(GatewaySettings WorkerSettings HistorySettings BridgeSettings);

macro_rules! cql_options {
    ($settings:ident, $nodes:expr) => {{
        let names = "--cql-cert (CQL_CERT) and --cql-key (CQL_KEY)";
        let identity: Option<(PathBuf, PathBuf)> = pair(names, &$settings.cql_cert, &$settings.cql_key)?;
        if identity.is_some() && $settings.cql_ca.is_none() {
            let names =
                "--cql-cert (CQL_CERT) needs --cql-ca (CQL_CA), which says whom to trust and sets TLS";
            return Err(WrongSettings(names.into()));
        }
        can_be_read([
            ("--cql-ca (CQL_CA)", &$settings.cql_ca),
            ("--cql-cert (CQL_CERT)", &$settings.cql_cert),
            ("--cql-key (CQL_KEY)", &$settings.cql_key),
        ])?;
        let names = "--cql-user (CQL_USER) and --cql-password (CQL_PASSWORD)";
        CqlOptions {
            nodes: $nodes,
            keyspace: $settings.cql_keyspace.clone(),
            // The table bounds it.
            replication: $settings.cql_replication as u8,
            datacenter: $settings.cql_datacenter.clone(),
            user: pair(names, &$settings.cql_user, &$settings.cql_password)?,
            tls: $settings.cql_ca.clone().map(|ca| CqlTls { ca, identity }),
            request_timeout: $settings.cql_timeout,
            cluster: $settings.cluster.clone(),
        }
    }};
}

macro_rules! database {
    ($($settings:ty)*) => {
        $(impl Database for $settings {
            fn database(&self) -> Result<CqlOptions, WrongSettings> {
                Ok(cql_options!(self, self.cql.clone()))
            }
        })*
    };
}

database!(GatewaySettings WorkerSettings HistorySettings BridgeSettings SchemaSettings BotTokenSettings RestoredSettings);

impl ImportSettings {
    /// The database, if one was named.
    ///
    /// # Errors
    /// Settings that go together, of which one is missing.
    pub fn database(&self) -> Result<Option<CqlOptions>, WrongSettings> {
        let Some(nodes) = self.cql.clone() else { return Ok(None) };
        Ok(Some(cql_options!(self, nodes)))
    }
}

macro_rules! broker {
    ($($settings:ty)*) => {
        $(impl Broker for $settings {
            fn has_broker(&self) -> bool {
                self.amqp_url.is_some() || self.amqp_protocol.is_some() || self.amqp_server.is_some()
                    || self.amqp_port.is_some() || self.amqp_username.is_some() || self.amqp_password.is_some()
                    || self.amqp_queue.is_some() || self.amqp_bot_queue.is_some()
            }

            fn broker(&self, name: String) -> Result<AmqpOptions, WrongSettings> {
                let mut options = match &self.amqp_url {
                    Some(url) => {
                        let protocol = self.amqp_protocol.map(|tls| if tls { "amqps" } else { "amqp" }.into());
                        // What the password is, is not said.
                        let password = self.amqp_password.as_ref().map(|_| String::new());
                        let parts = [
                            ("--amqp-protocol (AMQP_PROTOCOL)", protocol),
                            ("--amqp-server (AMQP_SERVER)", self.amqp_server.clone()),
                            ("--amqp-port (AMQP_PORT)", self.amqp_port.map(|port| port.to_string())),
                            ("--amqp-username (AMQP_USERNAME)", self.amqp_username.clone()),
                            ("--amqp-password (AMQP_PASSWORD)", password),
                        ];
                        if let Some((names, Some(value))) = parts.into_iter().find(|(_, value)| value.is_some()) {
                            let twice = format!(
                                "the broker is named twice: keep --amqp-url (AMQP_URL) or {names} {value}"
                            );
                            return Err(WrongSettings(twice.trim_end().into()));
                        }
                        AmqpOptions::by_url(url)
                            .map_err(|error| WrongSettings(format!("--amqp-url (AMQP_URL): {error}")))?
                    }
                    None => {
                        let guest = || Password::new("guest".into());
                        let tls = self.amqp_protocol.unwrap_or(false);
                        let port = self.amqp_port.unwrap_or(if tls { 5671 } else { 5672 });
                        let host = self.amqp_server.clone().unwrap_or_else(|| "127.0.0.1".into());
                        let user = self.amqp_username.clone().unwrap_or_else(|| "guest".into());
                        let password = self.amqp_password.clone().unwrap_or_else(guest);
                        AmqpOptions::by_parts(tls, host, port, user, &password)
                    }
                };
                if let Some(queue) = &self.amqp_queue {
                    options.answers_queue.clone_from(queue);
                }
                if let Some(queue) = &self.amqp_bot_queue {
                    options.commands_queue.clone_from(queue);
                }
                if self.amqp_ca.is_some() && !options.is_tls() {
                    let plain = "--amqp-ca (AMQP_CA) says whom to trust with amqps, and the broker is named by amqp";
                    return Err(WrongSettings(plain.into()));
                }
                options.ca = self.amqp_ca.as_deref().map(|path| read("AMQP_CA", path)).transpose()?;
                options.name = name;
                Ok(options)
            }
        })*
    };
}

broker!(Settings BridgeSettings);

/// A file that a setting names.
pub(crate) fn read(setting: &str, path: &Path) -> Result<String, WrongSettings> {
    let text = std::fs::read_to_string(path);
    text.map_err(|error| WrongSettings(format!("{setting}: can't read {}: {error}", path.display())))
}

/// Whether the files are there that settings name: else whoever connects by them would wait for ever.
fn can_be_read<const N: usize>(files: [(&str, &Option<PathBuf>); N]) -> Result<(), WrongSettings> {
    files
        .into_iter()
        .filter_map(|(setting, path)| Some((setting, path.as_deref()?)))
        .try_for_each(|(setting, path)| read(setting, path).map(drop))
}

/// As many connections as there are to be, or as fit in the files that the process may have open: one that can't be accepted is told
/// nothing, and with no file left nobody is told that it is alive either.
fn connections_that_fit(wanted: u64, has_tls: bool) -> u64 {
    /// Fewer are hardly what somebody wants who has not said so.
    const FEW: u64 = 10_000;
    let Some(files) = open_files_max() else { return wanted };
    let fit = fit_in(files, has_tls);
    if fit < wanted.min(FEW) {
        tracing::warn!(
            connections = fit,
            files,
            "takes only so many connections, for no more fit in the files that it may have open: raise ulimit -Hn"
        );
    }
    wanted.min(fit)
}

fn fit_in(files: u64, has_tls: bool) -> u64 {
    /// Who asks by HTTP; more come where there are more connections.
    const HTTP_PART: u64 = 16;
    sockets_that_fit(files - files / HTTP_PART, has_tls)
}

/// Sockets of clients for which there are files beside the store's and those to the other tiers.
fn sockets_that_fit(files: u64, has_tls: bool) -> u64 {
    const BESIDE: u64 = 64;
    // With TLS there is a pair of local sockets behind the client's.
    let each = if has_tls { 3 } else { 1 };
    (files.saturating_sub(BESIDE) / each).max(1)
}

macro_rules! gateway {
    ($($settings:ty: $durability:literal, $resync_every:expr, $rebalance:expr;)*) => {
        $(impl $settings {
    /// The gateway's part, with the TLS that was read.
    pub fn gateway(&self, tls: Option<Tls>) -> Config {
        let connections_max = connections_that_fit(self.connections_max, tls.is_some());
        let sockets_max = open_files_max().map_or(u64::MAX, |files| sockets_that_fit(files, tls.is_some()));
        let memory_max = self.memory_max.or_else(|| Some(memory_limit()? / 10 * 9));
        let usual = Config::default();
        // The table bounds every number far below its target type.
        Config {
            durability: $durability,
            shards: self.instances as usize,
            tls,
            proxies: Proxies { trusted: self.trusted_proxies.clone(), header: self.forwarded_header },
            origins: match &self.origins {
                AllowedOrigins::Any => AllowedFrom::Any,
                AllowedOrigins::Listed(list) if list.is_empty() => AllowedFrom::Same,
                AllowedOrigins::Listed(list) => {
                    AllowedFrom::These(list.iter().map(|origin| origin.as_str().to_owned()).collect())
                }
            },
            sid_tag: self.sid_tag.clone(),
            action_timeout: self.action_timeout,
            hello_timeout: self.hello_timeout,
            heartbeat: self.heartbeat,
            frame_bytes_max: self.frame_bytes_max as usize,
            connection_bytes_max: self.connection_bytes_max as usize,
            slow_consumer_timeout: self.slow_consumer_timeout,
            resume_entries_max: self.resume_entries_max,
            rooms_of_user_max: self.rooms_of_user_max as usize,
            connections_max: connections_max as usize,
            sockets_max: sockets_max as usize,
            memory_max,
            recent_bytes_max: memory_max.map_or(usual.recent_bytes_max, |max| max as usize / 8),
            lag_max: self.loop_lag_max,
            rebalance_per_second: {
                let per_second: fn(&Self) -> u64 = $rebalance;
                per_second(self) as u32
            },
            connections_of_user_max: self.connections_of_user_max as u32,
            connections_of_address_max: self.connections_of_address_max as u32,
            sends_per_second: self.sends_per_second as u32,
            sends_burst: self.sends_per_second.saturating_mul(4) as u32,
            reads_per_second: self.reads_per_second as u32,
            reads_burst: self.reads_per_second.saturating_mul(10) as u32,
            presence_members_max: self.presence_members_max,
            drain_window: self.drain_window,
            bot_tokens: if self.bot_whole_token { BotTokens::Whole } else { BotTokens::ForCommand },
            resync_every: $resync_every,
            ..usual
        }
    }
        })*
    };
}

macro_rules! rooms {
    ($($settings:ty)*) => {
        $(impl $settings {
            /// The worker's part, for this run and so many partitions.
            pub fn rooms(&self, node: NodeId, partitions: Partitions) -> hubbub_room_worker::Config {
                let usual = hubbub_room_worker::Config::new(node, partitions);
                let memory = self.rooms_memory_max.or_else(|| Some(memory_limit()? / 4));
                // The table bounds them far below their target types.
                hubbub_room_worker::Config {
                    members_max: self.members_max as usize,
                    rooms_bytes_max: memory.map_or(usual.rooms_bytes_max, |bytes| bytes as usize),
                    ..usual
                }
            }
        })*
    };
}

rooms!(Settings WorkerSettings);

macro_rules! admin {
    ($($settings:ty)*) => {
        $(impl $settings {
            /// Where the admin API is, and for whom; `None` for there is none.
            ///
            /// # Errors
            /// Credentials that are none.
            pub fn admin(&self) -> Result<Option<(SocketAddr, Credentials)>, WrongSettings> {
                let Some(list) = &self.admin_token else { return Ok(None) };
                let credentials = Credentials::parse(list)
                    .map_err(|bad| WrongSettings(format!("--admin-token (ADMIN_TOKEN) {bad}")))?;
                Ok(Some((SocketAddr::new(self.admin_interface, self.admin_port), credentials)))
            }
        })*
    };
}

admin!(Settings GatewaySettings);

macro_rules! accounts {
    ($($settings:ty)*) => {
        $(impl $settings {
            /// What was said of accounts.
            pub fn accounts(&self) -> Told {
                Told {
                    built_in: BuiltInOptions {
                        token_ttl: self.token_ttl,
                        logins: rate(self.logins_per_second, 15),
                        registrations: rate(self.registrations_per_second, 40),
                        ..BuiltInOptions::default()
                    },
                    auth_server: self.auth_server.clone(),
                    auth_server_cache: self.auth_server_cache,
                    jwks_url: self.jwks_url.clone(),
                    jwt_key_file: self.jwt_key_file.clone(),
                    jwt_secret: self.jwt_secret.clone(),
                    jwt_issuer: self.jwt_issuer.clone(),
                    jwt_audience: self.jwt_audience.clone(),
                    timeout: self.accounts_timeout,
                    ca: self.accounts_ca.clone(),
                }
            }
        })*
    };
}

accounts!(Settings GatewaySettings BridgeSettings);

fn rate(per_second: u64, burst: u64) -> Rate {
    Rate {
        burst: u32::try_from(per_second.saturating_mul(burst)).unwrap_or(u32::MAX),
        interval: Duration::from_secs(1) / u32::try_from(per_second.max(1)).unwrap_or(u32::MAX),
    }
}

gateway! {
    // There is no other gateway.
    Settings: "disk", None, |_| 0;
    GatewaySettings: "quorum", Some(Duration::from_secs(60)), |settings| settings.rebalance_per_second;
}
