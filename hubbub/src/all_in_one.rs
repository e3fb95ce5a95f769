//! The all-in-one: gateway, room worker and history service in one process, over an in-process bus and an embedded store.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::Command;
use hubbub_adapters::broker::{AmqpBroker, LocalBroker};
use hubbub_adapters::bus::LocalBus;
use hubbub_adapters::leases::LocalLeases;
use hubbub_adapters::store::embedded::{EmbeddedStore, Lull, Options};
use hubbub_core::ids::{NodeId, Partitions, User};
use hubbub_core::ports::accounts::Secret;
use hubbub_core::ports::broker::Broker as BrokerPort;
use hubbub_core::ports::bus::Bus;
use hubbub_core::ports::store::{Store, StoreError};
use hubbub_gateway::config::BotTokens;
use hubbub_gateway::http::{HttpState, Readiness};
use hubbub_gateway::tls::Tls;
use hubbub_gateway::{Gateway, listener};
use hubbub_node::agent::{Agent, Reported};
use hubbub_node::bans::Banned;
use hubbub_node::build_info;
use hubbub_node::config::Sources;
use hubbub_node::health::{Condition, Health};
use hubbub_node::revoked::Revoked;
use hubbub_node::telemetry::Metrics;
use hubbub_wire::tier::agent::Role;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::admin;
use crate::cluster::bot_bridge;
use crate::own_bot::OwnBot;
use crate::process::{self, say};
use crate::settings::{Broker, Settings, Surroundings};
use crate::tls;

/// One process has one writer's loop: more partitions would only divide what it gathers.
pub(crate) const PARTITIONS: u16 = 1;
/// How often the store is asked whether it can be written to.
const CHECK_EVERY: Duration = Duration::from_secs(2);
/// How long it may take to answer.
const CHECK_MAX: Duration = Duration::from_secs(1);

/// Runs the all-in-one. Its loop rests in the store's lulls: what it would read then waits for the next commit in any case.
pub fn run(sources: Sources, command: Command) -> ExitCode {
    let lull = Arc::new(Lull::default());
    let rest = {
        let lull = lull.clone();
        move || lull.take().into_iter().for_each(std::thread::park_timeout)
    };
    process::run_with_rests(sources, command, rest, async move |settings, metrics, shutdown| {
        serve(settings, lull, metrics, shutdown).await
    })
}

/// Serves until `shutdown`.
///
/// # Errors
/// When the port or the data folder can't be had, or the gateway ended.
async fn serve(
    settings: Settings,
    lull: Arc<Lull>,
    metrics: Metrics,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let tls = tls::of(settings.tls_cert.as_ref(), settings.tls_key.as_ref())?;
    let server = Box::pin(Server::start(&settings, tls.clone(), lull, metrics)).await?;
    announce(&settings, &server);
    tokio::select! {
        ended = server.run(shutdown) => ended?,
        ended = tls::reload_when_told(tls) => ended.context("SIGHUP can't be listened to")?,
    }
    tracing::info!("drained; all that was acknowledged is on disk");
    Ok(())
}

/// Says what runs, and what to try next.
fn announce(settings: &Settings, Server { url, gateway, .. }: &Server) {
    let version = build_info::version_and_commit();
    let url = to_open(url);
    let data = settings.data.display();
    match settings.env {
        Surroundings::Production => tracing::info!(%version, %url, %data, "hubbub serves"),
        Surroundings::Dev if gateway.accounts.built_in().is_none() => say(format_args!(
            "Hubbub {version} is at {url}  (data in {data}; accounts are of another service; stop with Ctrl-C)\n\
             Try:  curl {url}/v1/accounts/validate -H \"Authorization: Bearer $TOKEN\"  with an access token of that service\n\
             Then: open {url} to chat, {url}/api for the next steps, {url}/openapi.json for the API, or hubbub --help for the settings.\n"
        )),
        Surroundings::Dev => say(format_args!(
            "Hubbub {version} is at {url}  (data in {data}; stop with Ctrl-C)\n\
             Try:  curl {url}/v1/accounts -d '{{\"name\":\"Ann\",\"email\":\"ann@example.org\",\"password\":\"correct horse\"}}' -H 'content-type: application/json'\n\
             Then: open {url} to chat, {url}/api for the next steps, {url}/openapi.json for the API, or hubbub --help for the settings.\n"
        )),
    }
}

/// Where this machine's browsers find what listens on all of its addresses: not all of them open one that stands for all.
fn to_open(url: &str) -> String {
    url.replacen("://0.0.0.0:", "://127.0.0.1:", 1).replacen("://[::]:", "://[::1]:", 1)
}

/// The all-in-one, bound to its port.
struct Server {
    listener: TcpListener,
    url: String,
    gateway: Arc<Gateway>,
    store: Arc<EmbeddedStore>,
    bus: Arc<LocalBus>,
    worker: hubbub_room_worker::Config,
    health: Health,
    store_condition: Condition,
    bots: Bots,
    admin: Option<admin::door::Door>,
    answers_per_second: u32,
    drain_delay: Duration,
    metrics: Arc<Metrics>,
}

/// Where bots are.
enum Bots {
    /// At the other side of a broker.
    Outside { broker: Arc<AmqpBroker>, condition: Condition },
    /// Here.
    Inside { broker: Arc<LocalBroker>, bot: Box<OwnBot>, known_by: (Secret, User) },
}

impl Server {
    /// Binds the port, opens the store, and puts the tiers together. Nothing is served yet.
    async fn start(
        settings: &Settings,
        tls: Option<Tls>,
        lull: Arc<Lull>,
        metrics: Metrics,
    ) -> anyhow::Result<Self> {
        let accounts = settings.accounts().choose()?;
        let health = Health::default();
        let bots = Bots::of(settings, &health)?;
        let admin = settings.admin()?;
        // The port before the data: a second start by mistake should not touch the data folder.
        let address = SocketAddr::new(settings.interface, settings.port);
        let listener =
            TcpListener::bind(address).await.with_context(|| format!("can't listen on {address}"))?;
        let scheme = if tls.is_some() { "https" } else { "http" };
        let url = format!("{scheme}://{}", listener.local_addr()?);
        let admin = admin::door::Door::bind(admin, tls.clone()).await?;
        let options = Options { commit_pace: settings.commit_pace, lull, ..Options::default() };
        let store = Arc::new(EmbeddedStore::open(&settings.data, options)?);
        let accounts = accounts.open(store.clone()).await?;
        let partitions = Partitions::new(PARTITIONS).context("at least one partition")?;
        let bus = Arc::new(LocalBus::default());
        // Whoever bans, or calls a token back, is this process: they need not be read again.
        let (banned, revoked) = (Banned::read(&*store).await?, Revoked::read(&*store).await?);
        let log = store.log_id();
        let ports = hubbub_gateway::Ports {
            bus: bus.clone(),
            accounts,
            partitions,
            log,
            banned,
            revoked,
            revocations: store.clone(),
            cluster: None,
        };
        let mut gateway = settings.gateway(tls);
        if matches!(bots, Bots::Inside { .. }) {
            gateway.bot_tokens = BotTokens::Nothing;
        }
        let node = NodeId::parse(&uuid::Uuid::now_v7().simple().to_string())?;
        Ok(Self {
            listener,
            url,
            gateway: Gateway::new(gateway, ports),
            store,
            bus,
            worker: settings.rooms(node, partitions),
            bots,
            admin,
            // Bounded by its setting.
            answers_per_second: settings.bot_answers_per_second as u32,
            store_condition: health.condition("store", "the store was not asked yet"),
            health,
            drain_delay: settings.drain_delay,
            metrics: Arc::new(metrics),
        })
    }

    /// Serves until `shutdown`, and then ends in order: the gateway lets its connections go, the worker finishes what is in
    /// flight, the store syncs and closes.
    async fn run(self, shutdown: CancellationToken) -> anyhow::Result<()> {
        let Self {
            listener,
            gateway,
            store,
            bus,
            worker,
            health,
            store_condition,
            bots,
            admin,
            answers_per_second,
            drain_delay,
            metrics,
            url,
        } = self;
        let tiers_end = CancellationToken::new();
        let partitions = worker.partitions;
        let leases = Arc::new(LocalLeases::default());
        let (reported, _heard) = Reported::listen(&*bus).await?;
        let agent = Agent {
            node: worker.node.clone(),
            role: Role::AllInOne,
            address: url,
            health: health.clone(),
            shutdown: shutdown.clone(),
            insight: Some(gateway.insight()),
        };
        let agent = agent.work(bus.clone(), tiers_end.clone());
        let ports = admin::Ports { leases: leases.clone(), bans: store.clone(), reported };
        let admin = tiers_end.run_until_cancelled(admin::door::serve(admin, gateway.clone(), ports));
        let worker = hubbub_room_worker::serve(
            hubbub_room_worker::Ports { bus: bus.clone(), store: store.clone(), leases },
            worker,
            tiers_end.clone(),
        );
        let history = hubbub_history_service::serve(
            bus.clone() as Arc<dyn Bus>,
            store.clone(),
            hubbub_history_service::Config::new(partitions),
            tiers_end.clone(),
        );
        let bridge = bots.bridge(bus.clone(), &gateway, (partitions, answers_per_second), tiers_end.clone());
        let draining = health.condition("draining", "not started");
        draining.is_met();
        let router = hubbub_gateway::http::router(http_state(&gateway, &health, &metrics));
        let door = async {
            let drain = CancellationToken::new();
            let told = {
                let (gateway, drain) = (gateway.clone(), drain.clone());
                async move {
                    shutdown.cancelled().await;
                    draining.is_not_met("the server is draining");
                    tokio::time::sleep(drain_delay).await;
                    gateway.begin_drain();
                    drain.cancel();
                }
            };
            let (served, ()) = tokio::join!(listener::serve(gateway.clone(), listener, router, drain), told);
            tiers_end.cancel();
            served
        };
        let watch = watch(store.clone(), store_condition, metrics, tiers_end.clone());
        let work = Box::pin(async {
            let (served, (), (), (), bridged, shown, administered) =
                tokio::join!(door, worker, history, watch, bridge, agent, admin);
            served.context("the gateway ended")?;
            bridged?;
            shown?;
            administered.unwrap_or(Ok(()))
        });
        tokio::select! {
            done = work => done?,
            why = lost(&store) => return Err(why).context("this server ends: its data is not its own any more"),
        }
        // The last handle: its drop waits for the writing thread.
        drop(store);
        Ok(())
    }
}

impl Bots {
    /// Behind a broker where one was named, else inside.
    fn of(settings: &Settings, health: &Health) -> anyhow::Result<Self> {
        if settings.has_broker() {
            let options = settings.broker("hubbub".into())?;
            tracing::info!(broker = options.place(), "commands go to bots behind a broker");
            // Chat goes on without bots.
            let condition = health.side_condition("broker", "not connected yet");
            return Ok(Self::Outside { broker: Arc::new(AmqpBroker::new(options)), condition });
        }
        let (broker, ends) = LocalBroker::new();
        let (bot, known_by) = OwnBot::new(settings, ends)?;
        Ok(Self::Inside { broker: Arc::new(broker), bot: Box::new(bot), known_by })
    }

    /// Serves until the `end`.
    async fn bridge(
        self,
        bus: Arc<dyn Bus>,
        gateway: &Gateway,
        (partitions, answers_per_second): (Partitions, u32),
        end: CancellationToken,
    ) -> anyhow::Result<()> {
        let accounts = gateway.accounts.clone();
        let (banned, revoked) = (gateway.banned.clone(), gateway.revoked.clone());
        let serve = |broker: Arc<dyn BrokerPort>, own_bot| {
            let ports = hubbub_bot_bridge::Ports { bus, broker, accounts, banned, revoked };
            let config = hubbub_bot_bridge::Config { partitions, node: None, own_bot, answers_per_second };
            hubbub_bot_bridge::serve(ports, config, end)
        };
        match self {
            Self::Outside { broker, condition } => tokio::select! {
                served = serve(broker.clone(), None) => served?,
                () = bot_bridge::watch(&broker, &condition) => {}
            },
            Self::Inside { broker, bot, known_by } => {
                let (served, ()) = tokio::join!(serve(broker, Some(known_by)), bot.work());
                served?;
            }
        }
        Ok(())
    }
}

/// What a gateway's HTTP door is told of the process around it.
pub(crate) fn http_state(gateway: &Arc<Gateway>, health: &Health, metrics: &Arc<Metrics>) -> HttpState {
    let (health, metrics) = (health.clone(), metrics.clone());
    HttpState {
        gateway: gateway.clone(),
        health: Arc::new(move || {
            let hubbub_node::health::Readiness { unmet, trouble } = health.readiness();
            Readiness { unmet, trouble }
        }),
        metrics: Arc::new(move || metrics.render()),
    }
}

/// Ends with why the data is not this process's any more. Then the process has to end at once: what it would still tell is not what
/// the one that has the data knows.
async fn lost(store: &EmbeddedStore) -> StoreError {
    loop {
        if let Some(why) = store.is_lost().await {
            return why;
        }
        tokio::time::sleep(CHECK_EVERY).await;
    }
}

/// Keeps readiness and metrics up to date.
async fn watch(
    store: Arc<EmbeddedStore>,
    condition: Condition,
    metrics: Arc<Metrics>,
    end: CancellationToken,
) {
    let mut well = true;
    loop {
        let checked = tokio::time::timeout(CHECK_MAX, store.check());
        let Some(checked) = end.run_until_cancelled(checked).await else { return };
        let silent = |_| {
            let inside = format!("it did not answer within {} s", CHECK_MAX.as_secs());
            Err(StoreError::Unavailable { inside })
        };
        match checked.unwrap_or_else(silent) {
            Ok(()) => {
                condition.is_met();
                if !std::mem::replace(&mut well, true) {
                    tracing::info!("the store takes writes again");
                }
            }
            Err(error) => {
                condition.is_not_met(&error.to_string());
                if std::mem::replace(&mut well, false) {
                    tracing::error!(%error, "the store takes no writes");
                }
            }
        }
        metrics.run_upkeep();
        if end.run_until_cancelled(tokio::time::sleep(CHECK_EVERY)).await.is_none() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::to_open;

    #[test]
    fn what_is_named_to_open_can_be_opened() {
        assert_eq!(to_open("http://0.0.0.0:3000"), "http://127.0.0.1:3000");
        assert_eq!(to_open("https://[::]:3000"), "https://[::1]:3000");
        for one in
            ["http://127.0.0.1:3000", "https://10.0.0.0:80", "http://[::1]:3000", "http://[fe80::]:3000"]
        {
            assert_eq!(to_open(one), one);
        }
    }
}
