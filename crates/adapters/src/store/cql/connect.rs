//! Reaching the database: at the start for ever, then the driver keeps on.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hubbub_core::ports::accounts::Secret;
use hubbub_core::ports::store::{StoreError, Stored};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use scylla::client::execution_profile::ExecutionProfile;
use scylla::client::session::Session;
use scylla::client::session_builder::SessionBuilder;
use scylla::policies::load_balancing::DefaultPolicy;
use scylla::statement::{Consistency, SerialConsistency};

use super::failure::{CqlOpenError, unavailable};

/// Pauses between tries: doubled from the first to the last, each shortened by up to half.
const PAUSE_FIRST: Duration = Duration::from_millis(100);
const PAUSE_LAST: Duration = Duration::from_secs(5);
const CONNECT_MAX: Duration = Duration::from_secs(3);
/// Silence after which a connection is asked whether it lives, and how long it may take to say so.
const KEEPALIVE: Duration = Duration::from_secs(2);

/// How a database is reached.
#[derive(Debug, Clone)]
pub struct CqlOptions {
    /// Addresses, as `host:port` or `host`; one is enough, the others are learnt from it.
    pub nodes: Vec<String>,
    /// Where the tables are. 1 to 48 letters, digits and `_`, the first a letter.
    pub keyspace: String,
    /// Replicas in each datacenter, when the keyspace is made here.
    pub replication: u8,
    /// The datacenter whose nodes are asked. There may be none only where all nodes are in one: else it is refused.
    pub datacenter: Option<String>,
    /// User and password, if it wants some.
    pub user: Option<(String, Secret)>,
    /// TLS, if it wants it.
    pub tls: Option<CqlTls>,
    /// How long one read or write may take; then it is unknown. Below the deadline of an action, so that it can be tried again.
    pub request_timeout: Duration,
    /// The name of the cluster that this is the store of: another cluster's keyspace is refused.
    pub cluster: String,
}

/// How a database is known, and we to it.
#[derive(Debug, Clone)]
pub struct CqlTls {
    /// Certificates to trust, a PEM file. A node's certificate must have its IP address among its names.
    pub ca: PathBuf,
    /// Our own certificate and its key, PEM files.
    pub identity: Option<(PathBuf, PathBuf)>,
}

fn pause(attempt: u32) -> Duration {
    let doubled = PAUSE_FIRST * 2u32.saturating_pow(attempt.min(16));
    doubled.min(PAUSE_LAST).mul_f64(0.5 + fastrand::f64() / 2.0)
}

/// Does `step` until it is done, however long it takes. A line in the log says what it waits for. What is damaged, or not for us,
/// does not get better by waiting.
pub(super) async fn patiently<T>(
    nodes: &[String],
    step: impl AsyncFn() -> Result<T, CqlOpenError>,
) -> Result<T, CqlOpenError> {
    let mut attempt = 0;
    loop {
        match step().await {
            Err(CqlOpenError::Store(StoreError::Unavailable { inside })) => {
                if attempt == 0 || attempt % 10 == 9 {
                    tracing::warn!(error = inside, ?nodes, "waits for the database");
                }
            }
            done => return done,
        }
        tokio::time::sleep(pause(attempt)).await;
        attempt += 1;
    }
}

/// One try to connect.
pub(super) async fn connect(options: &CqlOptions) -> Result<Session, CqlOpenError> {
    let mut balancing = DefaultPolicy::builder().token_aware(true);
    if let Some(datacenter) = &options.datacenter {
        balancing = balancing.prefer_datacenter(datacenter.clone());
    }
    let profile = ExecutionProfile::builder()
        .consistency(Consistency::LocalQuorum)
        .serial_consistency(Some(SerialConsistency::Serial))
        .request_timeout(Some(options.request_timeout))
        .load_balancing_policy(balancing.build())
        .build();
    let mut builder = SessionBuilder::new()
        .known_nodes(&options.nodes)
        .default_execution_profile_handle(profile.into_handle())
        .connection_timeout(CONNECT_MAX)
        .keepalive_interval(KEEPALIVE)
        .keepalive_timeout(KEEPALIVE)
        .keyspaces_to_fetch([&options.keyspace]);
    if let Some((user, password)) = &options.user {
        builder = builder.user(user, password.reveal());
    }
    if let Some(tls) = &options.tls {
        builder = builder.tls_context(Some(Arc::new(client_config(tls)?)));
    }
    let session = builder.build().await.map_err(unavailable)?;
    let state = session.get_cluster_state();
    let of_nodes = state.get_nodes_info().iter().filter_map(|node| node.datacenter.as_deref());
    check_datacenter(options.datacenter.as_deref(), of_nodes)?;
    Ok(session)
}

/// Without a preference the driver asks nodes of all datacenters, and what a quorum of one has acknowledged another one's may lack. With one
/// that is nowhere it asks nobody.
fn check_datacenter<'a>(
    named: Option<&str>,
    of_nodes: impl Iterator<Item = &'a str>,
) -> Result<(), CqlOpenError> {
    let datacenters: BTreeSet<&str> = of_nodes.collect();
    let all = || datacenters.iter().copied().collect::<Vec<_>>().join(", ");
    match named {
        None if datacenters.len() > 1 => Err(CqlOpenError::Setting(format!(
            "the database is in several datacenters ({}): name one by --cql-datacenter (CQL_DATACENTER)",
            all()
        ))),
        Some(named) if !datacenters.is_empty() && !datacenters.contains(named) => {
            Err(CqlOpenError::Setting(format!(
                "no node of the database is in the datacenter {named:?}, which --cql-datacenter (CQL_DATACENTER) names; there are in {}",
                all()
            )))
        }
        _ => Ok(()),
    }
}

fn client_config(tls: &CqlTls) -> Stored<ClientConfig> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(&tls.ca)? {
        roots.add(certificate).map_err(|error| unreadable(&tls.ca, error))?;
    }
    let config = ClientConfig::builder().with_root_certificates(roots);
    match &tls.identity {
        None => Ok(config.with_no_client_auth()),
        Some((certificate, key)) => {
            let own = certificates(certificate)?;
            let key = PrivateKeyDer::from_pem_file(key).map_err(|error| unreadable(key, error))?;
            config.with_client_auth_cert(own, key).map_err(|error| unreadable(certificate, error))
        }
    }
}

fn certificates(file: &Path) -> Stored<Vec<CertificateDer<'static>>> {
    let read = CertificateDer::pem_file_iter(file).map_err(|error| unreadable(file, error))?;
    read.collect::<Result<_, _>>().map_err(|error| unreadable(file, error))
}

fn unreadable(file: &Path, error: impl std::fmt::Display) -> StoreError {
    unavailable(format_args!("{}: {error}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_datacenters_want_one_named_that_is_there() {
        for (named, of_nodes, refused) in [
            (None, &["a", "a"][..], None),
            (None, &[], None),
            (Some("a"), &[], None),
            (Some("a"), &["b", "a"], None),
            (None, &["b", "a", "b"], Some("the database is in several datacenters (a, b)")),
            (Some("c"), &["b", "a"], Some("no node of the database is in the datacenter \"c\"")),
        ] {
            let checked = check_datacenter(named, of_nodes.iter().copied());
            match refused {
                None => assert!(checked.is_ok(), "{checked:?}"),
                Some(why) => {
                    let error = checked.unwrap_err();
                    assert!(
                        matches!(error, CqlOpenError::Setting(_)) && error.to_string().starts_with(why),
                        "{error}"
                    );
                }
            }
        }
    }
}
