//! A room-worker as a process.

use std::sync::Arc;

use hubbub_adapters::leases::NatsLeases;
use hubbub_core::ids::Partition;
use hubbub_core::ports::leases::{LeaseError, Leases};
use hubbub_node::health::Health;
use hubbub_node::roster::{Roster, give_signs_of_life};
use hubbub_node::telemetry::Metrics;
use hubbub_room_worker::placement::Placement;
use hubbub_room_worker::{Config, Ports};
use hubbub_wire::tier::agent::Role;
use hubbub_wire::tier::node::Tier;
use tokio_util::sync::CancellationToken;

use super::{CHECK_EVERY, Node, agreed_partitions, door};
use crate::settings::WorkerSettings;

/// Serves until `shutdown`.
///
/// # Errors
/// When its port can't be had, or the cluster is another one than it was told.
pub async fn serve(
    settings: WorkerSettings,
    metrics: Metrics,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let node = Node::new(Role::RoomWorker, metrics, &settings)?;
    let listener = door::bind(settings.interface, settings.port).await?;
    let address = listener.local_addr()?;
    tracing::info!(%address, node = %node.id, "room-worker starts");
    tokio::select! {
        ended = door::answer(listener, None, &node, door::Others::Absent) => ended,
        ended = work(&settings, &node, address.to_string(), &shutdown) => ended,
    }
}

async fn work(
    settings: &WorkerSettings,
    node: &Node,
    address: String,
    shutdown: &CancellationToken,
) -> anyhow::Result<()> {
    let start = async {
        let reached = node.reach(settings).await?;
        let partitions = agreed_partitions(&*reached.store, settings.partitions).await?;
        let roster = Roster::listen(&*reached.bus, Tier::RoomWorker).await?;
        anyhow::Ok((reached, partitions, roster))
    };
    let Some(started) = shutdown.run_until_cancelled(start).await else { return Ok(()) };
    let (reached, partitions, (roster, _heard)) = started?;
    let leases = Arc::new(NatsLeases::new(&reached.bus));
    let ports = Ports { bus: reached.bus.clone(), store: reached.store.clone(), leases: leases.clone() };
    let config =
        Config { placement: Placement::Shared(roster), ..settings.rooms(node.id.clone(), partitions) };
    let fit = reached.clone();
    let signs = give_signs_of_life(
        reached.bus.clone(),
        node.id.clone(),
        Tier::RoomWorker,
        move || fit.is_fit(),
        shutdown.clone(),
    );
    node.serving.is_met();
    tracing::info!(partitions = partitions.count(), "room-worker serves");
    let serve = async { tokio::join!(hubbub_room_worker::serve(ports, config, shutdown.clone()), signs) };
    let serve = node.shown(&reached, (address, None), shutdown, serve);
    tokio::select! {
        served = serve => { served?; }
        why = node.watch(&reached, shutdown) => return Err(why),
        () = watch_leases(&*leases, &node.health) => {}
    }
    tracing::info!("drained; its partitions are given back");
    Ok(())
}

/// Keeps it known whether leases can be had: without them a worker that begins can hold nothing.
async fn watch_leases(leases: &dyn Leases, health: &Health) {
    let condition = health.condition("leases", "not asked yet");
    loop {
        match leases.read(Partition(0)).await {
            Ok(_) | Err(LeaseError::Changed) => _ = condition.is_met(),
            Err(LeaseError::Unavailable { inside }) => _ = condition.is_not_met(&inside),
        }
        tokio::time::sleep(CHECK_EVERY).await;
    }
}
