//! A history service as a process.

use hubbub_history_service::Config;
use hubbub_node::roster::give_signs_of_life;
use hubbub_node::telemetry::Metrics;
use hubbub_wire::tier::agent::Role;
use hubbub_wire::tier::node::Tier;
use tokio_util::sync::CancellationToken;

use super::{Node, agreed_partitions, door};
use crate::settings::HistorySettings;

/// Serves until `shutdown`.
///
/// # Errors
/// When its port can't be had, or the cluster is another one than it was told.
pub async fn serve(
    settings: HistorySettings,
    metrics: Metrics,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let node = Node::new(Role::HistoryService, metrics, &settings)?;
    let listener = door::bind(settings.interface, settings.port).await?;
    let address = listener.local_addr()?;
    tracing::info!(%address, node = %node.id, "history-service starts");
    tokio::select! {
        ended = door::answer(listener, None, &node, door::Others::Absent) => ended,
        ended = work(&settings, &node, address.to_string(), &shutdown) => ended,
    }
}

async fn work(
    settings: &HistorySettings,
    node: &Node,
    address: String,
    shutdown: &CancellationToken,
) -> anyhow::Result<()> {
    let start = async {
        let reached = node.reach(settings).await?;
        let partitions = agreed_partitions(&*reached.store, settings.partitions).await?;
        anyhow::Ok((reached, partitions))
    };
    let Some(started) = shutdown.run_until_cancelled(start).await else { return Ok(()) };
    let (reached, partitions) = started?;
    node.serving.is_met();
    tracing::info!(partitions = partitions.count(), "history-service serves");
    let (bus, store, fit) = (reached.bus.clone(), reached.store.clone(), reached.clone());
    let config = Config { node: Some(node.id.clone()), ..Config::new(partitions) };
    let signs = give_signs_of_life(
        bus.clone(),
        node.id.clone(),
        Tier::HistoryService,
        move || fit.is_fit(),
        shutdown.clone(),
    );
    let serve =
        async { tokio::join!(hubbub_history_service::serve(bus, store, config, shutdown.clone()), signs) };
    tokio::select! {
        served = node.shown(&reached, (address, None), shutdown, serve) => { served?; }
        why = node.watch(&reached, shutdown) => return Err(why),
    }
    tracing::info!("drained; all reads are answered");
    Ok(())
}
