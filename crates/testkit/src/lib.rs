//! What tests of the whole server need.
//!
//! [`Hubbub`] is the real program with a data folder of its own: it can be killed, told to end, and started again on the
//! same port and data, and is killed on drop. [`Person`] has an account there. [`eventually`] waits for a condition and
//! not for time to pass. [`Nats`] is a real nats-server, [`Cassandra`] a real database, of which a test may have
//! a [`Keyspace`] for itself, and a [`Cluster`] has
//! both with every tier; [`RabbitMq`] is a real broker, and [`bots`] talk over it; a [`Proxy`] between two of them can cut them off,
//! and a [`Balancer`] stands before several. A [`Collector`] is sent traces. An [`Operator`] runs `hubbub admin`. A [`Crowd`] talks and listens, and is judged. [`checker`] is pure: it takes what senders know, what readers saw and what the log holds in the
//! end, and names every promise that was broken.

mod admin;
mod balancer;
pub mod bots;
mod cassandra;
pub mod checker;
mod cluster;
mod collector;
mod crowd;
mod folder;
mod http;
mod metrics;
mod nats;
mod pages;
mod people;
mod process;
mod proxy;
mod rabbitmq;
mod schema;
mod server;
mod streams;
#[cfg(target_os = "linux")]
mod syncs;
mod wait;

pub use admin::{Operator, Said};
pub use balancer::Balancer;
pub use cassandra::{Cassandra, Keyspace};
pub use cluster::{Cluster, Plan};
pub use collector::{Collector, Span};
pub use crowd::{Crowd, Parting, Size, Verdict, Wait};
pub use folder::Folder;
pub use http::{Answer, request, request_with};
pub use metrics::{labels_of_metrics, page_for_operators, shows_what_is_documented};
pub use nats::Nats;
pub use pages::Pages;
pub use people::{Person, end_of};
pub use process::{Hubbub, Start, allow_open_files, cache};
pub use proxy::Proxy;
pub use rabbitmq::RabbitMq;
pub use rustix::process::Signal;
pub use schema::fits;
pub use streams::Streams;
#[cfg(target_os = "linux")]
pub use syncs::library_of_syncs;
pub use wait::{DEADLINE, eventually, eventually_within, in_time, in_time_within};
