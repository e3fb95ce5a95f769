//! What each process can be told. Groups that several of them have are written once, here.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use hubbub_core::ports::accounts::Secret as Password;
use hubbub_gateway::forwarded::ForwardedBy;
use hubbub_node::config::Retired;
use hubbub_node::config::kinds::{
    AllowedOrigins, Bool, Bytes, Count, Host, Hosts, IpAddress, LogFilter, LogLevels, Network, Networks,
    OneOf, Optional, Origins, Path, Port, QueueName, Ratio, Secret, Text, Time, Token, Url, UrlWithQuery,
};
use hubbub_node::telemetry::LogFormat;
use hubbub_node::trace::Sampling;

mod parts;

pub use parts::{Broker, Database, Nats, Telemetry};
pub(crate) use parts::{pair, read};

const MIB: u64 = 1024 * 1024;

/// How the seed called the kind of its surroundings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Surroundings {
    /// A developer's machine.
    Dev,
    /// In service.
    Production,
}

/// Whether it is by TLS.
const AMQP_PROTOCOLS: OneOf<bool> = OneOf(&[("amqp", false), ("amqps", true)]);
/// Whoever sets another protocol means another port: better told than sent to where nobody answers.
const OTLP: OneOf<()> = OneOf(&[("http/protobuf", ())]);

/// What a proxy writes, of which only one may count.
const FORWARDED_BY: OneOf<ForwardedBy> =
    OneOf(&[("x-forwarded-for", ForwardedBy::XForwardedFor), ("forwarded", ForwardedBy::Forwarded)]);

const SURROUNDINGS: OneOf<Surroundings> =
    OneOf(&[("dev", Surroundings::Dev), ("production", Surroundings::Production)]);

/// Makes the settings of a process of the groups that are named in brackets, in that order.
macro_rules! settings_of {
    (@ [] { $($head:tt)* } $($groups:tt)*) => {
        hubbub_node::settings! { $($head)* { $($groups)* } }
    };
    (@ [door $($more:ident)*] { $($head:tt)* } $($groups:tt)*) => {
        settings_of! { @ [$($more)*] { $($head)* } $($groups)*
        "Listening" => {
            /// TCP port of HTTP and WebSocket; 0 lets the system choose.
            port: u16 = Port, env ["PORT"], default "3000";
            /// Address to listen on.
            interface: IpAddr = IpAddress, env ["INTERFACE"], default "127.0.0.1";
            /// Event loops that hold connections, a thread each; one is the cheapest, more are for capacity.
            instances: u64 = Count::between(1, 256), env ["INSTANCES"], default "1";
            /// Our certificate for TLS, and those that it rests on, a PEM file; needs the key. Read again on SIGHUP. None: no TLS.
            tls_cert: Option<PathBuf> = Optional(Path), env ["TLS_CERT"], default "";
            /// The key of the certificate, a PEM file.
            tls_key: Option<PathBuf> = Optional(Path), env ["TLS_KEY"], default "";
            /// Proxies whose word counts about where a client comes from: addresses or networks, with commas.
            trusted_proxies: Vec<Network> = Networks, env ["TRUSTED_PROXIES"], default "";
            /// The header in which they say it: x-forwarded-for or forwarded.
            forwarded_header: ForwardedBy = FORWARDED_BY, env ["FORWARDED_HEADER"], default "x-forwarded-for";
            /// Pages of other origins that may connect, with commas; * for any. Our own page always may.
            origins: AllowedOrigins = Origins, env ["ORIGINS"], default "";
            /// What Socket.IO session ids of this gateway begin with, before a dot: for a load balancer in front of several.
            sid_tag: Option<String> = Optional(Token), env ["SID_TAG"], default "";
        }
        }
    };
    (@ [admin $($more:ident)*] { $($head:tt)* } $($groups:tt)*) => {
        settings_of! { @ [$($more)*] { $($head)* } $($groups)*
        "Administration" => {
            /// Credentials of operators, NAME.SECRET with commas between them; a secret has at least 32 characters. None: no admin API.
            admin_token: Option<Password> = Optional(Secret), env ["ADMIN_TOKEN"], default "";
            /// TCP port of the admin API, which hubbub admin calls; 0 lets the system choose.
            admin_port: u16 = Port, env ["ADMIN_PORT"], default "3004";
            /// Address that the admin API listens on.
            admin_interface: IpAddr = IpAddress, env ["ADMIN_INTERFACE"], default "127.0.0.1";
        }
        }
    };
    (@ [accounts $($more:ident)*] { $($head:tt)* } $($groups:tt)*) => {
        settings_of! { @ [$($more)*] { $($head)* } $($groups)*
        "Accounts" => {
            /// How long an access token is valid; with AUTH_SERVER, one whose end it does not tell.
            token_ttl: Duration = Time::between_ms(1_000, 366 * 24 * 3_600_000), env ["TOKEN_TTL"], default "1h";
            /// Logins of one address a second in the long run; then rate_limited.
            logins_per_second: u64 = Count::between(1, 1_000_000), env ["LOGINS_PER_SECOND"], default "20";
            /// Registrations of one address a second in the long run; then rate_limited.
            registrations_per_second: u64 = Count::between(1, 1_000_000), env ["REGISTRATIONS_PER_SECOND"], default "50";
            /// Accounts of another service: its address, asked under /v1/accounts/validate who a token stands for.
            auth_server: Option<String> = Optional(Url), env ["AUTH_SERVER"], default "";
            /// How long it is not asked again about a token that it found valid.
            auth_server_cache: Duration = Time::between_ms(0, 3_600_000), env ["AUTH_SERVER_CACHE"], default "30s";
            /// Accounts of another service: the address of the keys that it signs its tokens with (JWKS).
            jwks_url: Option<String> = Optional(UrlWithQuery), env ["JWKS_URL"], default "";
            /// The same by one public key, a PEM file: RSA, P-256 or Ed25519.
            jwt_key_file: Option<PathBuf> = Optional(Path), env ["JWT_KEY_FILE"], default "";
            /// The same by a secret of at least 32 bytes that it signs with (HS256).
            jwt_secret: Option<Password> = Optional(Secret), env ["JWT_SECRET"], default "";
            /// Issuer that tokens checked by key must have.
            jwt_issuer: Option<String> = Optional(Text), env ["JWT_ISSUER"], default "";
            /// Audience that they must be for; without it they must not have any.
            jwt_audience: Option<String> = Optional(Text), env ["JWT_AUDIENCE"], default "";
            /// How long a call to the other service may take; then unavailable.
            accounts_timeout: Duration = Time::between_ms(100, 60_000), env ["ACCOUNTS_TIMEOUT"], default "3s";
            /// Certificates to trust besides the machine's when it is called by https, a PEM file.
            accounts_ca: Option<PathBuf> = Optional(Path), env ["ACCOUNTS_CA"], default "";
        }
        }
    };
    (@ [limits $($more:ident)*] { $($head:tt)* } $($groups:tt)*) => {
        settings_of! { @ [$($more)*] { $($head)* } $($groups)*
        "Limits" => {
            /// Connections of all clients; beyond it 503 and try again later.
            connections_max: u64 = Count::between(1, 100_000_000), env ["CONNECTIONS_MAX"], default "1000000";
            /// Memory of this process; beyond it new connections are refused (none given: 9/10 of its cgroup's limit, if it has one).
            memory_max: Option<u64> = Optional(Bytes::between(16 * MIB, 1024 * 1024 * MIB)), env ["MEMORY_MAX"], default "";
            /// How late an event loop may be, 3s in a row; beyond it new connections are refused. 0ms: however late.
            loop_lag_max: Duration = Time::between_ms(0, 60_000), env ["LOOP_LAG_MAX"], default "1s";
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
            /// How long the server serves on, unready, after it was told to end: until whoever asks /readyz sends nobody new.
            drain_delay: Duration = Time::between_ms(0, 3_600_000), env ["DRAIN_DELAY"], default "0ms";
            /// Over how long the closes are spread when the server drains; it ends 15s later at the latest.
            drain_window: Duration = Time::between_ms(0, 3_600_000), env ["DRAIN_WINDOW"], default "2s";
        }
        }
    };
    (@ [rebalancing $($more:ident)*] { $($head:tt)* } $($groups:tt)*) => {
        settings_of! { @ [$($more)*] { $($head)* } $($groups)*
        "Rebalancing" => {
            /// Connections that are told to come to another gateway a second while there are more than this one's share; 0: none.
            rebalance_per_second: u64 = Count::between(0, 10_000), env ["REBALANCE_PER_SECOND"], default "20";
        }
        }
    };
    (@ [rooms $($more:ident)*] { $($head:tt)* } $($groups:tt)*) => {
        settings_of! { @ [$($more)*] { $($head)* } $($groups)*
        "Rooms" => {
            /// Members that one room may have; then forbidden.
            members_max: u64 = Count::between(1, 100_000_000), env ["MEMBERS_MAX"], default "1000000";
            /// Memory for rooms in use; beyond it those idle for the longest are put out (none given: 1/4 of its cgroup's limit, or 1GiB).
            rooms_memory_max: Option<u64> = Optional(Bytes::between(MIB, 1024 * 1024 * MIB)), env ["ROOMS_MEMORY_MAX"], default "";
        }
        }
    };
    (@ [nats $($more:ident)*] { $($head:tt)* } $($groups:tt)*) => {
        settings_of! { @ [$($more)*] { $($head)* } $($groups)*
        "NATS" => {
            /// Addresses of NATS, with commas; one is enough, the others are learnt from it.
            nats: Vec<String> = Hosts("nats"), env ["NATS_URL"], default "127.0.0.1:4222";
            /// User of NATS.
            nats_user: Option<String> = Optional(Text), env ["NATS_USER"], default "";
            /// Password of NATS.
            nats_password: Option<Password> = Optional(Secret), env ["NATS_PASSWORD"], default "";
            /// Whether NATS is reached by TLS only.
            nats_tls: bool = Bool, env ["NATS_TLS"], default "false";
            /// Certificates to trust besides the system's, a PEM file; sets TLS.
            nats_ca: Option<PathBuf> = Optional(Path), env ["NATS_CA"], default "";
            /// Our certificate for NATS, a PEM file; needs the key, sets TLS.
            nats_cert: Option<PathBuf> = Optional(Path), env ["NATS_CERT"], default "";
            /// The key of our certificate for NATS, a PEM file.
            nats_key: Option<PathBuf> = Optional(Path), env ["NATS_KEY"], default "";
            /// Servers of NATS that keep the leases: 1, or 3 of a cluster.
            nats_replicas: u64 = Count::between(1, 5), env ["NATS_REPLICAS"], default "1";
        }
        }
    };
    (@ [database $($more:ident)*] { $($head:tt)* } $($groups:tt)*) => {
        settings_of! { @ [$($more)*] { $($head)* } $($groups)*
        "Database" => {
            /// Addresses of the database (ScyllaDB or Cassandra), with commas; one is enough, the others are learnt from it.
            cql: Vec<String> = Hosts("cql"), env ["CQL_NODES"], default "127.0.0.1:9042";
        }
        }
    };
    (@ [keyspace $($more:ident)*] { $($head:tt)* } $($groups:tt)*) => {
        settings_of! { @ [$($more)*] { $($head)* } $($groups)*
        "Database" => {
            /// Keyspace of the tables; made if it is not there.
            cql_keyspace: String = Token, env ["CQL_KEYSPACE"], default "hubbub";
            /// Replicas in each datacenter, if the keyspace is made.
            cql_replication: u64 = Count::between(1, 16), env ["CQL_REPLICATION"], default "3";
            /// Datacenter of the database's nodes that are asked; needed where they are in several.
            cql_datacenter: Option<String> = Optional(Host), env ["CQL_DATACENTER"], default "";
            /// User of the database; needs the password.
            cql_user: Option<String> = Optional(Text), env ["CQL_USER"], default "";
            /// Password of the database.
            cql_password: Option<Password> = Optional(Secret), env ["CQL_PASSWORD"], default "";
            /// Certificates to trust, a PEM file; sets TLS.
            cql_ca: Option<PathBuf> = Optional(Path), env ["CQL_CA"], default "";
            /// Our certificate for the database, a PEM file; needs the key and the certificates to trust.
            cql_cert: Option<PathBuf> = Optional(Path), env ["CQL_CERT"], default "";
            /// The key of our certificate for the database, a PEM file.
            cql_key: Option<PathBuf> = Optional(Path), env ["CQL_KEY"], default "";
            /// How long one read or write may take; then it is tried again, or unavailable.
            cql_timeout: Duration = Time::between_ms(100, 60_000), env ["CQL_TIMEOUT"], default "2s";
        }
        }
    };
    (@ [cluster $($more:ident)*] { $($head:tt)* } $($groups:tt)*) => {
        settings_of! { @ [$($more)*] { $($head)* } $($groups)*
        "Cluster" => {
            /// Name of this cluster. Two with two names don't meet on one NATS, and refuse each other's keyspace.
            cluster: String = Token, env ["CLUSTER"], default "hub";
        }
        }
    };
    (@ [partitions $($more:ident)*] { $($head:tt)* } $($groups:tt)*) => {
        settings_of! { @ [$($more)*] { $($head)* } $($groups)*
        "Partitions" => {
            /// Into how many partitions the rooms are divided, each held by one worker; fixed by the first start (none given: 32).
            partitions: Option<u64> = Optional(Count::between(1, 4_096)), env ["PARTITIONS"], default "";
        }
        }
    };
    (@ [bots $($more:ident)*] { $($head:tt)* } $($groups:tt)*) => {
        settings_of! { @ [$($more)*] { $($head)* } $($groups)*
        "Bots" => {
            /// Whether bots behind a broker get the sender's whole access token with a command, instead of one for that command alone.
            bot_whole_token: bool = Bool, env ["BOT_WHOLE_TOKEN"], default "false";
        }
        }
    };
    (@ [bridge $($more:ident)*] { $($head:tt)* } $($groups:tt)*) => {
        settings_of! { @ [$($more)*] { $($head)* } $($groups)*
        "Bridge to the bots" => {
            /// Answers of one bot to one room a second in the long run, ten times as many at once; then refused.
            bot_answers_per_second: u64 = Count::between(1, 1_000_000), env ["BOT_ANSWERS_PER_SECOND"], default "1000";
        }
        }
    };
    (@ [broker $($more:ident)*] { $($head:tt)* } $($groups:tt)*) => {
        settings_of! { @ [$($more)*] { $($head)* } $($groups)*
        "Broker of the bots (RabbitMQ)" => {
            /// The broker in one address, amqp://user:password@host:port/vhost or amqps; instead of the five below.
            amqp_url: Option<Password> = Optional(Secret), env ["AMQP_URL"], default "";
            /// Protocol: amqp, or amqps for TLS (none given: amqp).
            amqp_protocol: Option<bool> = Optional(AMQP_PROTOCOLS), env ["AMQP_PROTOCOL"], default "";
            /// Host (none given: 127.0.0.1).
            amqp_server: Option<String> = Optional(Host), env ["AMQP_SERVER"], default "";
            /// Port (none given: 5672, with amqps 5671).
            amqp_port: Option<u16> = Optional(Port), env ["AMQP_PORT"], default "";
            /// User (none given: guest).
            amqp_username: Option<String> = Optional(Text), env ["AMQP_USERNAME"], default "";
            /// Password (none given: guest).
            amqp_password: Option<Password> = Optional(Secret), env ["AMQP_PASSWORD"], default "";
            /// Queue from the bots to the chat (none given: bot-jobsity-chat).
            amqp_queue: Option<String> = Optional(QueueName), env ["AMQP_QUEUE"], default "";
            /// Queue from the chat to the bots (none given: bot-jobsity-bot).
            amqp_bot_queue: Option<String> = Optional(QueueName), env ["AMQP_BOT_QUEUE", "AMQP_BOT_QUEUE_BOT"], default "";
            /// Certificates to trust besides the machine's with amqps, a PEM file.
            amqp_ca: Option<PathBuf> = Optional(Path), env ["AMQP_CA"], default "";
        }
        }
    };
    (@ [own_bot $($more:ident)*] { $($head:tt)* } $($groups:tt)*) => {
        settings_of! { @ [$($more)*] { $($head)* } $($groups)*
        "Bot inside, where no broker is set" => {
            /// Prices that /stock=CODE answers: a file of lines CODE,PRICE (none given: a small table of examples).
            bot_prices: Option<PathBuf> = Optional(Path), env ["BOT_PRICES"], default "";
            /// Where it asks for them instead: an address with {code} in it, answered by CSV with a column Close or JSON with price.
            bot_quote_url: Option<String> = Optional(Text), env ["BOT_QUOTE_URL"], default "";
        }
        }
    };
    (@ [bot_token $($more:ident)*] { $($head:tt)* } $($groups:tt)*) => {
        settings_of! { @ [$($more)*] { $($head)* } $($groups)*
        "Bot" => {
            /// What the bot is called: its messages show this name, and its id is bot-NAME.
            name: String = Token, env ["BOT_NAME"], default "bot";
            /// How long its token is valid.
            valid: Duration = Time::between_ms(1_000, 3_650 * 24 * 3_600_000), env ["BOT_TOKEN_VALID"], default "365d";
            /// Data folder of the all-in-one, which may be running.
            data: PathBuf = Path, env ["DATA_DIR"], default "./hubbub-data";
            /// Whether the bot is one of a cluster: then the database is read, and not the data folder.
            from_database: bool = Bool, env ["BOT_TOKEN_FROM_DATABASE"], default "false";
        }
        }
    };
    (@ [restored $($more:ident)*] { $($head:tt)* } $($groups:tt)*) => {
        settings_of! { @ [$($more)*] { $($head)* } $($groups)*
        "Store" => {
            /// Data folder of the all-in-one, which must not be running.
            data: PathBuf = Path, env ["DATA_DIR"], default "./hubbub-data";
            /// Whether it is a cluster's database that was restored, and not the data folder.
            from_database: bool = Bool, env [], default "false";
        }
        }
    };
    (@ [import $($more:ident)*] { $($head:tt)* } $($groups:tt)*) => {
        settings_of! { @ [$($more)*] { $($head)* } $($groups)*
        "Files" => {
            /// Documents of the chatrooms, one a line, as mongoexport writes them.
            chatrooms: Option<PathBuf> = Optional(Path), env [], default "";
            /// Documents of the messages.
            messages: Option<PathBuf> = Optional(Path), env [], default "";
            /// Documents of the account service's users, for their names (none given: they are called by their ids).
            users: Option<PathBuf> = Optional(Path), env [], default "";
            /// Whether the first line that can't be taken ends the import; else it is named and counted.
            strict: bool = Bool, env [], default "false";
            /// Folder with room for as much as the files are (none given: the data folder, or with --cql the system's for temporary files).
            scratch: Option<PathBuf> = Optional(Path), env [], default "";
        }
        "Store" => {
            /// Data folder of an all-in-one, which must not be running (none given: ./hubbub-data, unless --cql names a database).
            data: Option<PathBuf> = Optional(Path), env ["DATA_DIR"], default "";
        }
        "Database" => {
            /// Addresses of a cluster's database, whose room-workers must not be running.
            cql: Option<Vec<String>> = Optional(Hosts("cql")), env ["CQL_NODES"], default "";
        }
        }
    };
    (@ [bridge_door $($more:ident)*] { $($head:tt)* } $($groups:tt)*) => {
        settings_of! { @ [$($more)*] { $($head)* } $($groups)*
        "Listening" => {
            /// TCP port of /healthz, /readyz and /metrics; 0 lets the system choose.
            port: u16 = Port, env ["PORT"], default "3003";
            /// Address to listen on.
            interface: IpAddr = IpAddress, env ["INTERFACE"], default "127.0.0.1";
        }
        }
    };
    (@ [logs $($more:ident)*] { $($head:tt)* } $($groups:tt)*) => {
        settings_of! { @ [$($more)*] { $($head)* } $($groups)*
        "Logs" => {
            /// How much is logged: error, warn, info, http, verbose, debug or silly, or a list such as info,hubbub_gateway=debug.
            log: LogFilter = LogLevels, env ["LOG"], default "info";
            /// How a line is written: human or json.
            log_format: LogFormat = LogFormat::KIND, env ["LOG_FORMAT"], default "human";
        }
        }
    };
    (@ [traces $($more:ident)*] { $($head:tt)* } $($groups:tt)*) => {
        settings_of! { @ [$($more)*] { $($head)* } $($groups)*
        "Traces" => {
            /// A collector of traces that takes OTLP: its address, to which /v1/traces is added. None: nothing is traced.
            otel_exporter_otlp_endpoint: Option<String> = Optional(Url), env ["OTEL_EXPORTER_OTLP_ENDPOINT"], default "";
            /// The same as it is, if traces go elsewhere.
            otel_exporter_otlp_traces_endpoint: Option<String> = Optional(Url), env ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"], default "";
            /// How it is spoken with: there is one way.
            otel_exporter_otlp_protocol: () = OTLP, env ["OTEL_EXPORTER_OTLP_PROTOCOL"], default "http/protobuf";
            /// What this process is called in traces (none given: hubbub, or hubbub- and its tier).
            otel_service_name: Option<String> = Optional(Text), env ["OTEL_SERVICE_NAME"], default "";
        }
        }
    };
    (@ [sampling $($more:ident)*] { $($head:tt)* } $($groups:tt)*) => {
        settings_of! { @ [$($more)*] { $($head)* } $($groups)*
        "Traces" => {
            /// Which actions are traced: as OpenTelemetry names it.
            otel_traces_sampler: Sampling = Sampling::KIND, env ["OTEL_TRACES_SAMPLER"], default "parentbased_always_on";
            /// The ratio of actions that are traced, where the sampler has one.
            otel_traces_sampler_arg: f64 = Ratio, env ["OTEL_TRACES_SAMPLER_ARG"], default "1";
        }
        }
    };
    (@ [worker_door $($more:ident)*] { $($head:tt)* } $($groups:tt)*) => {
        settings_of! { @ [$($more)*] { $($head)* } $($groups)*
        "Listening" => {
            /// TCP port of /healthz, /readyz and /metrics; 0 lets the system choose.
            port: u16 = Port, env ["PORT"], default "3001";
            /// Address to listen on.
            interface: IpAddr = IpAddress, env ["INTERFACE"], default "127.0.0.1";
        }
        }
    };
    (@ [history_door $($more:ident)*] { $($head:tt)* } $($groups:tt)*) => {
        settings_of! { @ [$($more)*] { $($head)* } $($groups)*
        "Listening" => {
            /// TCP port of /healthz, /readyz and /metrics; 0 lets the system choose.
            port: u16 = Port, env ["PORT"], default "3002";
            /// Address to listen on.
            interface: IpAddr = IpAddress, env ["INTERFACE"], default "127.0.0.1";
        }
        }
    };
    (@ [data $($more:ident)*] { $($head:tt)* } $($groups:tt)*) => {
        settings_of! { @ [$($more)*] { $($head)* } $($groups)*
        "Data" => {
            /// Folder of the logs and accounts; made if it is not there. One process at a time.
            data: PathBuf = Path, env ["DATA_DIR"], default "./hubbub-data";
            /// Least time from the start of one commit to the start of the next; a message that comes alone does not wait.
            commit_pace: Duration = Time::between_ms(0, 1_000), env ["COMMIT_PACE"], default "3ms";
        }
        }
    };
    (@ [surroundings $($more:ident)*] { $($head:tt)* } $($groups:tt)*) => {
        settings_of! { @ [$($more)*] { $($head)* } $($groups)*
        "Surroundings" => {
            /// Where this runs: dev or production; in production the first lines are a log entry.
            env: Surroundings = SURROUNDINGS, env ["ENV"], default "dev";
        }
        }
    };
    ($(#[$meta:meta])* $vis:vis struct $name:ident [$($groups:ident)*]) => {
        settings_of! { @ [$($groups)*] { $(#[$meta])* $vis struct $name } }
    };
}

settings_of! {
    /// All settings of the all-in-one.
    #[derive(Debug, Clone)]
    pub struct Settings [door admin data accounts limits rooms bots bridge own_bot broker logs traces sampling surroundings]
}

settings_of! {
    /// All settings of a gateway in a cluster.
    #[derive(Debug, Clone)]
    pub struct GatewaySettings [door admin cluster nats database keyspace accounts limits rebalancing bots logs traces sampling]
}

settings_of! {
    /// All settings of a room-worker in a cluster.
    #[derive(Debug, Clone)]
    pub struct WorkerSettings [worker_door cluster partitions nats database keyspace rooms logs traces]
}

settings_of! {
    /// All settings of a history service in a cluster.
    #[derive(Debug, Clone)]
    pub struct HistorySettings [history_door cluster partitions nats database keyspace logs]
}

settings_of! {
    /// All settings of a bridge to the bots in a cluster.
    #[derive(Debug, Clone)]
    pub struct BridgeSettings [bridge_door cluster nats database keyspace accounts bridge broker logs]
}

settings_of! {
    /// All settings of the command that gives a bot its token.
    #[derive(Debug, Clone)]
    pub struct BotTokenSettings [bot_token cluster database keyspace logs]
}

settings_of! {
    /// All settings of the command that says that a store was restored.
    #[derive(Debug, Clone)]
    pub struct RestoredSettings [restored cluster database keyspace logs]
}

settings_of! {
    /// All settings of the command that makes the schema.
    #[derive(Debug, Clone)]
    pub struct SchemaSettings [cluster database keyspace logs]
}

settings_of! {
    /// All settings of the command that imports what the server before this one kept.
    #[derive(Debug, Clone)]
    pub struct ImportSettings [import cluster partitions keyspace logs]
}

/// Settings of the server that this one replaces, and what took their place.
pub const RETIRED: &[Retired] = &[
    ("MONGODB_URI", "rooms and messages live in the folder of DATA_DIR; hubbub import brings them there"),
    ("REDIS_SERVER", NO_REDIS),
    ("REDIS_PORT", NO_REDIS),
    ("REDIS_KEY", NO_REDIS),
];

/// The same for a gateway of a cluster.
pub const RETIRED_IN_CLUSTER: &[Retired] = &[
    ("MONGODB_URI", "rooms and messages live in the database of CQL_NODES; hubbub import brings them there"),
    ("REDIS_SERVER", NATS_INSTEAD),
    ("REDIS_PORT", NATS_INSTEAD),
    ("REDIS_KEY", NATS_INSTEAD),
];

const NO_REDIS: &str = "one process needs no adapter between its sockets";
const NATS_INSTEAD: &str = "processes reach each other over NATS, see NATS_URL";
