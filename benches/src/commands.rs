//! Commands to bots, as fast as so many at a time can: through one bridge to a real RabbitMQ, each confirmed by it.

use std::collections::HashSet;
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use futures_util::StreamExt;
use hdrhistogram::Histogram;
use hubbub_client::Client;
use hubbub_client::answer::Sent;
use hubbub_core::ids::RoomId;
use hubbub_testkit::{Folder, Hubbub, Person, RabbitMq, Start};
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::FieldTable;
use lapin::{Connection, ConnectionProperties};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::load::outcome::microseconds;
use crate::procfs::{self, Usage, own_thread_cpu};

/// The queue from the chat to the bots.
const QUEUE: &str = "bot-jobsity-bot";
/// Commands that the bot has under way at a time.
const PREFETCH: u16 = 256;

/// How long the last ones may take to the bot.
const HEARD_MAX: Duration = Duration::from_secs(30);

/// What is offered.
#[derive(Debug, Clone, Copy)]
pub struct Offer {
    /// Connections, one user each.
    pub connections: usize,
    /// Commands that a connection has under way at a time.
    pub in_flight: usize,
    /// How long.
    pub time: Duration,
}

/// Starts the all-in-one with a broker, measures, and prints.
pub async fn run(binary: &Path, work_dir: &Path, offer: Offer) -> anyhow::Result<()> {
    let Offer { connections, in_flight, time } = offer;
    ensure!((1..=1_000).contains(&connections), "--connections: 1 to 1000, not {connections}");
    ensure!((1..=1_000).contains(&in_flight), "--in-flight: 1 to 1000, not {in_flight}");
    ensure!((1..=3_600).contains(&time.as_secs()), "--seconds: 1 to 3600, not {}", time.as_secs());
    std::fs::create_dir_all(work_dir)?;
    let folder = || anyhow::Ok(Folder::from(tempfile::tempdir_in(work_dir)?));
    eprintln!("starting RabbitMQ and {}", binary.display());
    let broker = RabbitMq::start_in(folder()?, "").await?;
    let start = Start::program(binary)
        .with(&format!("--amqp-url={}", broker.url()))
        .with("--sends-per-second=1000000");
    let server = Hubbub::start_in(start, folder()?).await?;
    let clients = gather(&server, offer.connections).await?;
    let (room, first) = clients.first().context("no connections")?;
    reached(first, room).await?;
    let mut heard = listen(&broker).await?;

    eprintln!("commands for {} s", offer.time.as_secs());
    let pids = (server.pid(), broker.pid()?);
    let before = (procfs::usage(pids.0)?, procfs::usage(pids.1)?, own_thread_cpu(), Instant::now());
    let (latency, refused) = offer_all(clients, offer).await?;
    let elapsed = before.3.elapsed().as_secs_f64();
    let own = (own_thread_cpu() - before.2).as_secs_f64();
    let confirmed = latency.len();
    let each = |before: Usage, after: Usage| {
        (after.cpu_seconds - before.cpu_seconds) * 1e6 / confirmed.max(1) as f64
    };
    println!("{:.0} commands/s, each confirmed by the broker", confirmed as f64 / elapsed);
    println!(
        "ok after p50 {:.1} ms, p99 {:.1} ms, at most {:.1} ms, with {} under way",
        latency.value_at_quantile(0.5) as f64 / 1e3,
        latency.value_at_quantile(0.99) as f64 / 1e3,
        latency.max() as f64 / 1e3,
        offer.connections * offer.in_flight
    );
    println!(
        "CPU a command: server (gateway and bridge) {:.0} µs, broker {:.0} µs; generator {:.2} cores",
        each(before.0, procfs::usage(pids.0)?),
        each(before.1, procfs::usage(pids.1)?),
        own / elapsed
    );
    let all = heard.wait_for(|heard| heard.count >= confirmed);
    // Those that did not come are counted below.
    let _ = timeout(HEARD_MAX, all).await;
    let Heard { count, ids } = &*heard.borrow();
    println!(
        "{confirmed} confirmed and {refused} refused; {count} came to the bot, {} of them different",
        ids.len()
    );
    ensure!(
        (*count, ids.len() as u64) == (confirmed, confirmed),
        "WRONG: not each confirmed command came once"
    );
    Ok(())
}

/// People in one room.
async fn gather(server: &Hubbub, connections: usize) -> anyhow::Result<Vec<(RoomId, Client)>> {
    let mut clients: Vec<(RoomId, Client)> = Vec::new();
    for n in 0..connections {
        let (client, mut events) = Person::register(server, &format!("bench{n}")).await?.connect().await?;
        tokio::task::spawn_local(async move { while events.next().await.is_some() {} });
        let room = match clients.first() {
            None => client.create("commands", "").await?.id,
            Some((room, _)) => {
                client.join(room).await?;
                room.clone()
            }
        };
        clients.push((room, client));
    }
    Ok(clients)
}

/// Waits until the broker takes commands.
async fn reached(client: &Client, room: &RoomId) -> anyhow::Result<()> {
    let until = Instant::now() + Duration::from_secs(60);
    while let Err(error) = client.send_text(room, "/first", None).await {
        if Instant::now() > until {
            bail!("the broker is not reached: {error}");
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}

/// What came to the bot.
#[derive(Default)]
struct Heard {
    count: u64,
    ids: HashSet<String>,
}

/// A bot that takes commands and says nothing; the first one, which found the way, is taken when this returns.
async fn listen(broker: &RabbitMq) -> anyhow::Result<watch::Receiver<Heard>> {
    let connection = Connection::connect(&broker.url(), ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    channel.basic_qos(PREFETCH, BasicQosOptions::default()).await?;
    let mut commands = channel
        .basic_consume(QUEUE.into(), "bot".into(), BasicConsumeOptions::default(), FieldTable::default())
        .await?;
    let first = commands.next().await.context("the broker is gone")??;
    first.ack(BasicAckOptions::default()).await?;
    let (hearing, heard) = watch::channel(Heard::default());
    tokio::task::spawn_local(async move {
        let _connection = connection;
        while let Some(Ok(command)) = commands.next().await {
            hearing.send_modify(|heard| {
                heard.count += 1;
                heard.ids.extend(command.properties.message_id().as_ref().map(ToString::to_string));
            });
            if command.ack(BasicAckOptions::default()).await.is_err() {
                return;
            }
        }
    });
    Ok(heard)
}

/// Latencies of those that were confirmed, in microseconds, and how many were refused.
async fn offer_all(clients: Vec<(RoomId, Client)>, offer: Offer) -> anyhow::Result<(Histogram<u64>, u64)> {
    let until = Instant::now() + offer.time;
    let mut tasks = JoinSet::new();
    for (n, (room, client)) in clients.into_iter().enumerate() {
        let (room, client) = (Rc::new(room), Rc::new(client));
        for lane in 0..offer.in_flight {
            let (room, client) = (room.clone(), client.clone());
            tasks.spawn_local(async move {
                let (mut latency, mut refused) = (microseconds()?, 0);
                while Instant::now() < until {
                    let began = Instant::now();
                    match client.send_text(&room, &format!("/bench={n}-{lane}"), None).await {
                        Ok(Sent::Command { .. }) => {
                            latency.saturating_record(began.elapsed().as_micros() as u64)
                        }
                        Ok(other) => bail!("a command became {other:?}"),
                        Err(_) => refused += 1,
                    }
                }
                Ok((latency, refused))
            });
        }
    }
    let (mut all, mut refused) = (microseconds()?, 0);
    while let Some(lane) = tasks.join_next().await {
        let (latency, of_lane) = lane??;
        all.add(latency)?;
        refused += of_lane;
    }
    Ok((all, refused))
}
