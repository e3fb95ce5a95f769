//! Connecting, for ever: at the start and after every loss.

use std::path::PathBuf;
use std::time::Duration;

use async_nats::{Client, ConnectOptions, Event};
use hubbub_core::ports::accounts::Secret;

use super::Losses;

/// Pauses between tries: doubled from the first to the last, each shortened by up to half.
const PAUSE_FIRST: Duration = Duration::from_millis(50);
const PAUSE_LAST: Duration = Duration::from_secs(1);
/// Messages that wait for one subscription's handler; then NATS's client drops the newest and says so.
const SUBSCRIPTION_CAPACITY: usize = 16 * 1024;

/// How a NATS is reached.
#[derive(Debug, Clone)]
pub struct NatsOptions {
    /// Addresses, as `nats://host:port` or `host:port`; one is enough, the others are learnt from it.
    pub servers: Vec<String>,
    /// User and password, if it wants some.
    pub user: Option<(String, Secret)>,
    /// TLS, if it wants it.
    pub tls: Option<NatsTls>,
    /// First part of all subjects: two clusters with different ones don't meet. Letters, digits, `_` and `-`.
    pub prefix: String,
    /// Servers that keep the leases: 1, or 3 of a cluster.
    pub lease_replicas: usize,
    /// What NATS shows the connection as.
    pub name: String,
}

/// How a NATS is known, and we to it.
#[derive(Debug, Clone, Default)]
pub struct NatsTls {
    /// Certificates to trust besides those of the system, a PEM file.
    pub ca: Option<PathBuf>,
    /// Our own certificate and its key, PEM files.
    pub identity: Option<(PathBuf, PathBuf)>,
}

fn pause(attempts: usize) -> Duration {
    let doubled = PAUSE_FIRST * 2u32.saturating_pow(attempts.min(16) as u32);
    doubled.min(PAUSE_LAST).mul_f64(0.5 + fastrand::f64() / 2.0)
}

/// A server that answered two of these in a row with silence is away: one that hangs, and closes nothing.
const PING_EVERY: Duration = Duration::from_secs(2);

/// Connects, however long it takes. A line in the log says what it waits for.
pub(super) async fn connect(options: &NatsOptions, losses: &std::sync::Arc<Losses>) -> Client {
    for attempt in 0.. {
        let told = losses.clone();
        let mut connecting = ConnectOptions::new()
            .name(&options.name)
            .subscription_capacity(SUBSCRIPTION_CAPACITY)
            .connection_timeout(Duration::from_secs(3))
            .ping_interval(PING_EVERY)
            .reconnect_delay_callback(pause)
            .event_callback(move |event| {
                let told = told.clone();
                async move { on_event(&event, &told) }
            });
        if let Some((user, password)) = &options.user {
            connecting = connecting.user_and_password(user.clone(), password.reveal().into());
        }
        if let Some(tls) = &options.tls {
            connecting = connecting.require_tls(true);
            if let Some(ca) = &tls.ca {
                connecting = connecting.add_root_certificates(ca.clone());
            }
            if let Some((certificate, key)) = &tls.identity {
                connecting = connecting.add_client_certificate(certificate.clone(), key.clone());
            }
        }
        match connecting.connect(options.servers.as_slice()).await {
            Ok(client) => return client,
            Err(error) if attempt == 0 || attempt % 10 == 9 => {
                // Without what a URL may have of a password.
                let servers: Vec<_> =
                    options.servers.iter().filter_map(|url| url.rsplit('@').next()).collect();
                tracing::warn!(%error, ?servers, "waits for NATS");
            }
            Err(_) => {}
        }
        tokio::time::sleep(pause(attempt)).await;
    }
    unreachable!("the loop ends by a connection")
}

fn on_event(event: &Event, losses: &Losses) {
    match event {
        Event::Connected => {
            tracing::info!("connected to NATS");
            losses.lost.notify_one();
        }
        Event::Disconnected => {
            metrics::counter!(super::DISCONNECTS).increment(1);
            tracing::warn!("the connection to NATS was lost; connecting again");
        }
        // One for each message that was dropped: told together, and not each in the log.
        Event::SlowConsumer(_) => {
            metrics::counter!(super::DROPPED).increment(1);
            losses.lost.notify_one();
        }
        other => tracing::debug!(%other, "NATS"),
    }
}
