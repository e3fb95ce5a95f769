//! A gateway as a process.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use hubbub_core::ids::Partitions;
use hubbub_core::ports::bus::{Bus, Subject};
use hubbub_gateway::{Gateway, Ports, listener};
use hubbub_node::telemetry::Metrics;
use hubbub_wire::tier::parcel;
use hubbub_wire::tier::query::{Found, Query};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::{Node, Reached, door};
use crate::accounts::Whose;
use crate::all_in_one::http_state;
use crate::settings::GatewaySettings;

/// How long a history service may take to say what is fixed, and the pause before it is asked again.
const FACTS_MAX: Duration = Duration::from_secs(2);
const FACTS_EVERY: Duration = Duration::from_millis(250);

/// Serves until `shutdown`.
///
/// # Errors
/// When its port can't be had, its settings of accounts don't go together, or the cluster is another one than it was told.
pub async fn serve(
    settings: GatewaySettings,
    metrics: Metrics,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let accounts = settings.accounts().choose()?;
    let node = Node::new("gateway", metrics)?;
    let listener = door::bind(settings.interface, settings.port).await?;
    let url = format!("http://{}", listener.local_addr()?);
    tracing::info!(%url, node = %node.id, "gateway starts");
    // Two handles to one port: what answers while the gateway is not there yet is dropped before it is.
    let listener = listener.into_std()?;
    let early = TcpListener::from_std(listener.try_clone()?)?;
    let starting = shutdown.run_until_cancelled(start(&settings, accounts, &node));
    let started = tokio::select! {
        ended = door::answer(early, &node, door::Others::NotYet) => return ended,
        started = starting => started,
    };
    let Some(started) = started else { return Ok(()) };
    let (reached, gateway) = started?;
    let router = hubbub_gateway::http::router(http_state(&gateway, &node.health, &node.metrics));
    node.serving.is_met();
    tracing::info!(%url, "gateway serves");
    let drain = async {
        shutdown.cancelled().await;
        gateway.begin_drain();
    };
    let listener = TcpListener::from_std(listener)?;
    let door = async {
        let (served, ()) =
            tokio::join!(listener::serve(gateway.clone(), listener, router, shutdown.clone()), drain);
        served.context("the gateway ended")
    };
    tokio::select! {
        served = door => served?,
        () = node.watch(&reached, &shutdown) => {}
    }
    tracing::info!("drained; every client was told when to come back");
    Ok(())
}

async fn start(
    settings: &GatewaySettings,
    accounts: Whose,
    node: &Node,
) -> anyhow::Result<(Arc<Reached>, Arc<Gateway>)> {
    let reached = node.reach(settings).await?;
    let partitions = partitions(&*reached.bus).await?;
    let accounts = accounts.open(reached.store.clone()).await?;
    let ports = Ports { bus: reached.bus.clone(), accounts, partitions };
    Ok((reached, Gateway::new(settings.gateway(), ports)))
}

/// How many partitions there are, as a history service knows it from the store.
async fn partitions(bus: &dyn Bus) -> anyhow::Result<Partitions> {
    for attempt in 0.. {
        let question = parcel::pack(&Query::Facts);
        match bus.request(&Subject::Query, question, FACTS_MAX).await {
            Ok(mut answer) => {
                if let Found::Facts { partitions, .. } = parcel::header(&mut answer)? {
                    return Partitions::new(partitions).context("a cluster of no partitions");
                }
            }
            Err(error) if attempt % 20 == 0 => tracing::warn!(%error, "waits for a history service"),
            Err(_) => {}
        }
        tokio::time::sleep(FACTS_EVERY).await;
    }
    unreachable!("the loop ends by an answer")
}
