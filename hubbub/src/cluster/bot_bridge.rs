//! A bridge to the bots as a process.

use std::sync::Arc;
use std::time::Duration;

use hubbub_adapters::broker::{AmqpBroker, AmqpOptions};
use hubbub_bot_bridge::{Config, Ports};
use hubbub_core::ports::broker::Broker as _;
use hubbub_node::bans::Banned;
use hubbub_node::health::Condition;
use hubbub_node::revoked::Revoked;
use hubbub_node::roster::give_signs_of_life;
use hubbub_node::telemetry::Metrics;
use hubbub_wire::tier::agent::Role;
use hubbub_wire::tier::node::Tier;
use tokio_util::sync::CancellationToken;

use super::{Node, door, partitions};
use crate::accounts::Whose;
use crate::settings::{BridgeSettings, Broker};

/// How often it is looked at whether the broker is there.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Serves until `shutdown`.
///
/// # Errors
/// When its port can't be had, or its settings of accounts or of the broker don't go together.
pub async fn serve(
    settings: BridgeSettings,
    metrics: Metrics,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let accounts = settings.accounts().choose()?;
    let node = Node::new(Role::BotBridge, metrics, &settings)?;
    let options = settings.broker(format!("hubbub bot-bridge {}", node.id))?;
    let listener = door::bind(settings.interface, settings.port).await?;
    let address = listener.local_addr()?;
    tracing::info!(%address, node = %node.id, broker = options.place(), "bot-bridge starts");
    tokio::select! {
        ended = door::answer(listener, None, &node, door::Others::Absent) => ended,
        ended = work(&settings, (accounts, options), &node, address.to_string(), &shutdown) => ended,
    }
}

async fn work(
    settings: &BridgeSettings,
    (accounts, options): (Whose, AmqpOptions),
    node: &Node,
    address: String,
    shutdown: &CancellationToken,
) -> anyhow::Result<()> {
    let condition = node.health.condition("broker", "not connected yet");
    let start = async {
        let reached = node.reach(settings).await?;
        let partitions = partitions(&*reached.bus).await?;
        let accounts = accounts.open(reached.store.clone()).await?;
        let banned = Banned::read(&*reached.store).await?;
        let revoked = Revoked::read(&*reached.store).await?;
        anyhow::Ok((reached, partitions, accounts, banned, revoked))
    };
    let Some(started) = shutdown.run_until_cancelled(start).await else { return Ok(()) };
    let (reached, partitions, accounts, banned, revoked) = started?;
    let broker = Arc::new(AmqpBroker::new(options));
    let ports = Ports {
        bus: reached.bus.clone(),
        broker: broker.clone(),
        accounts,
        banned: banned.clone(),
        revoked: revoked.clone(),
    };
    let config = Config {
        partitions,
        node: Some(node.id.clone()),
        own_bot: None,
        // Bounded by its setting.
        answers_per_second: settings.bot_answers_per_second as u32,
    };
    node.serving.is_met();
    tracing::info!("bot-bridge serves");
    // Commands are better with a bridge that has its broker.
    let (fit, leaving) = (broker.clone(), shutdown.child_token());
    let signs = give_signs_of_life(
        reached.bus.clone(),
        node.id.clone(),
        Tier::BotBridge,
        move || fit.trouble().is_none(),
        leaving.clone(),
    );
    let serve = async {
        let served = hubbub_bot_bridge::serve(ports, config, shutdown.clone()).await;
        leaving.cancel();
        served
    };
    let serve = async {
        let (served, ()) = tokio::join!(serve, signs);
        served
    };
    tokio::select! {
        served = node.shown(&reached, (address, None), shutdown, serve) => served??,
        () = banned.keep_reading(&*reached.store, |_| {}) => {}
        () = revoked.keep_reading(&*reached.store, |_| {}) => {}
        why = node.watch(&reached, shutdown) => return Err(why),
        () = watch(&broker, &condition) => {}
    }
    tracing::info!("drained; answers that were under way are kept or with the broker");
    Ok(())
}

/// Keeps the broker's condition up to date.
pub(crate) async fn watch(broker: &AmqpBroker, condition: &Condition) {
    loop {
        match broker.trouble() {
            None => _ = condition.is_met(),
            Some(why) => _ = condition.is_not_met(&why),
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
