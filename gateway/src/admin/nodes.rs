//! Which processes there are, what they hold, and how one is told to drain.

use std::collections::HashMap;
use std::time::Duration;

use axum::Json;
use axum::extract::{Extension, Path, State};
use futures_util::future::join_all;
use futures_util::stream::{self, StreamExt};
use hubbub_core::code::Code;
use hubbub_core::ids::{NodeId, Partition, UserId};
use hubbub_core::ports::bus::{BusError, Subject};
use hubbub_core::ports::leases::LeaseError;
use hubbub_node::agent::Seen;
use hubbub_wire::admin::{Connection, Connections, Draining, Node, Nodes};
use hubbub_wire::tier::agent::{AskAgent, CONNECTIONS_MAX, Condition, Role, ToldAgent, Which};
use hubbub_wire::tier::parcel;
use serde::Deserialize;

use super::guard::On;
use super::{Admin, refusal};
use crate::error::Failure;
use crate::http::fault::Fault;
use crate::http::params::{Params, limit};

/// How long a process may take to answer.
const ANSWER_MAX: Duration = Duration::from_secs(2);
/// Leases that are read at once.
const LEASES_AT_ONCE: usize = 64;
/// Letters of an id by which a node may be named: fewer are a slip of the hand.
const PART_BYTES_MIN: usize = 4;

/// Every process, with what it holds.
pub(super) async fn all(State(admin): State<Admin>) -> Json<Nodes> {
    let partitions = admin.gateway.asker.partitions();
    let leases = &admin.ports.leases;
    let read = partitions.all().map(|partition| async move { (partition, leases.read(partition).await) });
    let mut read: Vec<_> = stream::iter(read).buffer_unordered(LEASES_AT_ONCE).collect().await;
    read.sort_by_key(|(partition, _)| *partition);
    let mut held: HashMap<NodeId, Vec<Partition>> = HashMap::new();
    let (mut free_partitions, mut unknown_partitions) = (Vec::new(), Vec::new());
    for (partition, lease) in read {
        match lease.map(|lease| lease.and_then(|lease| lease.holder)) {
            Ok(Some(holder)) => held.entry(holder).or_default().push(partition),
            Ok(None) => free_partitions.push(partition),
            Err(LeaseError::Changed | LeaseError::Unavailable { .. }) => unknown_partitions.push(partition),
        }
    }
    let seen = admin.ports.reported.all();
    let nodes = seen.into_iter().map(|seen| {
        let partitions = held.remove(&seen.report.node).unwrap_or_default();
        Node { partitions, ..node(seen) }
    });
    let nodes = nodes.collect();
    let mut lost_partitions: Vec<_> = held.into_values().flatten().collect();
    lost_partitions.sort_unstable();
    let partitions = partitions.count();
    Json(Nodes { nodes, partitions, free_partitions, lost_partitions, unknown_partitions })
}

/// A process as it was heard of, without what it holds.
pub(super) fn node(seen: Seen) -> Node {
    let (silent, heard_ms_ago) = (seen.is_silent(), u64::try_from(seen.ago.as_millis()).unwrap_or(u64::MAX));
    Node { report: seen.report, heard_ms_ago, silent, partitions: Vec::new() }
}

impl Admin {
    /// The one process that a text names: by its id, a part of that, its machine or its address.
    fn named(&self, text: &str) -> Result<Seen, Fault> {
        let mut all = self.ports.reported.all();
        let is_named = |seen: &Seen| {
            let report = &seen.report;
            let by_id = text.len() >= PART_BYTES_MIN && report.node.as_str().contains(text);
            let without_scheme = report.address.split("://").last();
            by_id || report.host == text || report.address == text || without_scheme == Some(text)
        };
        all.retain(is_named);
        // One that crashed and its successor have one address, and it is not the dead one that is meant.
        if all.iter().any(|seen| !seen.is_silent()) {
            all.retain(|seen| !seen.is_silent());
        }
        match (all.pop(), all.is_empty()) {
            (Some(seen), true) => Ok(seen),
            (None, _) => {
                Err(refusal(Code::BadRequest, Some("node"), "no process is called so; GET nodes lists them"))
            }
            (Some(_), false) => Err(refusal(
                Code::BadRequest,
                Some("node"),
                "more than one process is called so: name it by its id, or its address",
            )),
        }
    }

    async fn ask(&self, node: &NodeId, ask: &AskAgent) -> Result<ToldAgent, BusError> {
        let subject = Subject::Agent(node.clone());
        let mut told = self.gateway.bus.request(&subject, parcel::pack(ask).into(), ANSWER_MAX).await?;
        parcel::header(&mut told).map_err(|error| {
            tracing::error!(%error, "a tier answered what can't be read");
            BusError::TimedOut
        })
    }
}

/// Of `drain`.
#[derive(Deserialize)]
pub(super) struct DrainParams {
    /// Whether the last one of its tier may be drained as well.
    #[serde(default)]
    force: bool,
}

/// Has a process begin what SIGTERM begins.
pub(super) async fn drain(
    State(admin): State<Admin>,
    Path(name): Path<String>,
    Params(DrainParams { force }): Params<DrainParams>,
) -> Result<(Extension<On>, Json<Draining>), Fault> {
    let seen = admin.named(&name)?;
    let (id, role) = (seen.report.node.clone(), seen.report.role);
    let stands_in = |other: &Seen| {
        let report = &other.report;
        report.role == role && report.node != id && report.condition == Condition::Ready && !other.is_silent()
    };
    if !force && !admin.ports.reported.all().iter().any(stands_in) {
        let message = format!(
            "this is the only {} that is ready: without it the service stops; say so by --force (\"force\": true) if that is meant",
            role.as_str()
        );
        return Err(refusal(Code::Conflict, Some("force"), message));
    }
    match admin.ask(&id, &AskAgent::Drain).await {
        Ok(_) => Ok((Extension(On(format!("/nodes/{id}/drain"))), Json(Draining { node: node(seen) }))),
        Err(BusError::NoResponders) => {
            let message = "this process is gone, or can't be reached over the bus";
            Err(refusal(Code::Unavailable, Some("node"), message))
        }
        Err(_) => Err(Failure::Unavailable.into()),
    }
}

/// Of `connections`.
#[derive(Deserialize)]
pub(super) struct ConnectionParams {
    /// Of this gateway only.
    node: Option<String>,
    /// Of this user only.
    user: Option<UserId>,
    /// Only those that something waits for, or that are behind.
    #[serde(default)]
    slow: bool,
    /// At most so many.
    limit: Option<u32>,
}

/// Connections of clients, those that most waits for first.
pub(super) async fn connections(
    State(admin): State<Admin>,
    Params(params): Params<ConnectionParams>,
) -> Result<Json<Connections>, Fault> {
    let limit = limit(params.limit, 50, CONNECTIONS_MAX as u32)? as usize;
    let has_clients = |seen: &Seen| matches!(seen.report.role, Role::AllInOne | Role::Gateway);
    let gateways = match &params.node {
        Some(name) => vec![admin.named(name)?],
        None => admin.ports.reported.all().into_iter().filter(has_clients).collect(),
    };
    let ask = AskAgent::Connections(Which { user: params.user, slow: params.slow, limit });
    let asked = gateways.into_iter().map(|seen| {
        let (admin, ask) = (&admin, &ask);
        async move { (admin.ask(&seen.report.node, ask).await, seen.report.node) }
    });
    let mut all = Connections { connections: Vec::new(), more: false, unanswered: Vec::new() };
    for (told, node) in join_all(asked).await {
        match told {
            Ok(ToldAgent::Connections { connections, more }) => {
                let of_node = |held| Connection { node: node.clone(), held };
                all.connections.extend(connections.into_iter().map(of_node));
                all.more |= more;
            }
            Ok(ToldAgent::NoGateway | ToldAgent::Draining) => {
                return Err(refusal(
                    Code::BadRequest,
                    Some("node"),
                    "only gateways hold connections of clients",
                ));
            }
            Err(_) => all.unanswered.push(node),
        }
    }
    all.connections.sort_by_key(|connection| connection.held.place());
    all.more |= all.connections.len() > limit;
    all.connections.truncate(limit);
    Ok(Json(all))
}
