//! A gateway as a process.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use hubbub_adapters::leases::NatsLeases;
use hubbub_core::ports::bus::Subscription;
use hubbub_core::ports::store::Store;
use hubbub_gateway::peers::Cluster;
use hubbub_gateway::tls::Tls;
use hubbub_gateway::{Gateway, Ports, listener};
use hubbub_node::agent::Reported;
use hubbub_node::bans::Banned;
use hubbub_node::revoked::Revoked;
use hubbub_node::roster::{Roster, give_signs_of_life};
use hubbub_node::telemetry::Metrics;
use hubbub_wire::tier::agent::Role;
use hubbub_wire::tier::node::Tier;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::{Node, Reached, door, partitions};
use crate::accounts::Whose;
use crate::admin;
use crate::all_in_one::http_state;
use crate::settings::GatewaySettings;
use crate::tls;

/// How long a gateway is not ready for the sake of others that do not say who is there.
const ACQUAINTED_MAX: Duration = Duration::from_secs(3);

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
    let tls = tls::of(settings.tls_cert.as_ref(), settings.tls_key.as_ref())?;
    let admin = settings.admin()?;
    let node = Node::new(Role::Gateway, metrics, &settings)?;
    let listener = door::bind(settings.interface, settings.port).await?;
    let admin = admin::door::Door::bind(admin, tls.clone()).await?;
    let scheme = if tls.is_some() { "https" } else { "http" };
    let url = format!("{scheme}://{}", listener.local_addr()?);
    tracing::info!(%url, node = %node.id, "gateway starts");
    // Two handles to one port: what answers while the gateway is not there yet is dropped before it is.
    let listener = listener.into_std()?;
    let early = TcpListener::from_std(listener.try_clone()?)?;
    let starting = shutdown.run_until_cancelled(start(&settings, tls.clone(), accounts, &node));
    let started = tokio::select! {
        ended = door::answer(early, tls.clone(), &node, door::Others::NotYet) => return ended,
        ended = tls::reload_when_told(tls.clone()) => return ended.context("SIGHUP can't be listened to"),
        started = starting => started,
    };
    let Some(started) = started else { return Ok(()) };
    let Started { reached, gateway, reported, _heard } = started?;
    let leases = Arc::new(NatsLeases::new(&reached.bus));
    let ports = admin::Ports { leases, bans: reached.store.clone(), reported };
    let admin = admin::door::serve(admin, gateway.clone(), ports);
    let router = hubbub_gateway::http::router(http_state(&gateway, &node.health, &node.metrics));
    let closing = CancellationToken::new();
    let drain = async {
        shutdown.cancelled().await;
        node.serving.is_not_met("the process is draining");
        tokio::time::sleep(settings.drain_delay).await;
        gateway.begin_drain();
        closing.cancel();
    };
    let listener = TcpListener::from_std(listener)?;
    let leaving = CancellationToken::new();
    // Fit as long as it holds sockets: without the database its people are there all the same.
    let signs =
        give_signs_of_life(reached.bus.clone(), node.id.clone(), Tier::Gateway, || true, leaving.clone());
    let door = async {
        let (served, ()) =
            tokio::join!(listener::serve(gateway.clone(), listener, router, closing.clone()), drain);
        leaving.cancel();
        served.context("the gateway ended")
    };
    let ready = async {
        if let Some(peers) = &gateway.peers {
            // Who does not answer by then is away: it is asked on, and keeps nobody from being served.
            let _ = tokio::time::timeout(ACQUAINTED_MAX, peers.acquainted()).await;
        }
        node.serving.is_met();
        tracing::info!(%url, "gateway serves");
    };
    let serve = async {
        let (served, (), _) = tokio::join!(door, signs, shutdown.run_until_cancelled(ready));
        served
    };
    let serve = node.shown(&reached, (url.clone(), Some(gateway.insight())), &shutdown, serve);
    tokio::select! {
        served = serve => served??,
        ended = admin => ended?,
        () = gateway.banned.keep_reading(&*reached.store, |found| {
            found.iter().for_each(|user| gateway.close_banned(user));
        }) => {}
        () = gateway.revoked.keep_reading(&*reached.store, |found| gateway.close_revoked(&found)) => {}
        why = node.watch(&reached, &shutdown) => return Err(why),
        ended = tls::reload_when_told(tls.clone()) => ended.context("SIGHUP can't be listened to")?,
    }
    tracing::info!("drained; every client was told when to come back");
    Ok(())
}

/// A gateway that has all that it stands on, and does not listen yet.
struct Started {
    reached: Arc<Reached>,
    gateway: Arc<Gateway>,
    reported: Arc<Reported>,
    _heard: [Subscription; 4],
}

async fn start(
    settings: &GatewaySettings,
    tls: Option<Tls>,
    accounts: Whose,
    node: &Node,
) -> anyhow::Result<Started> {
    let reached = node.reach(settings).await?;
    let partitions = partitions(&*reached.bus).await?;
    let accounts = accounts.open(reached.store.clone()).await?;
    let banned = Banned::read(&*reached.store).await?;
    let revoked = Revoked::read(&*reached.store).await?;
    let (roster, roster_heard) = Roster::listen(&*reached.bus, Tier::Gateway).await?;
    let (readers, readers_heard) = Roster::listen(&*reached.bus, Tier::HistoryService).await?;
    let (bridges, bridges_heard) = Roster::listen(&*reached.bus, Tier::BotBridge).await?;
    let (reported, reports_heard) = Reported::listen(&*reached.bus).await?;
    let cluster = Some(Cluster { node: node.id.clone(), roster, readers, bridges });
    let (bus, log) = (reached.bus.clone(), reached.store.log_id());
    let revocations = reached.store.clone();
    let ports = Ports { bus, accounts, partitions, log, banned, revoked, revocations, cluster };
    let gateway = Gateway::new(settings.gateway(tls), ports);
    let heard = [roster_heard, readers_heard, bridges_heard, reports_heard];
    Ok(Started { gateway, reached, reported, _heard: heard })
}
