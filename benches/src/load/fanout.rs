//! The fan-out run: messages on a schedule, every delivery timed and checked.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::outcome::{Fanout, Generator, Quantiles};
use super::seat::{Seat, close_reason, pong, take_all, text};
use super::tally::{Counts, Tally};
use super::ticker::Ticker;
use crate::procfs::{Usage, machine_cpu_seconds, own_thread_cpu};
use crate::scenario::{Load, Shape};
use crate::targets::live::Live;
use crate::targets::{Dialect, Seen};
use crate::ws::frame::{CLOSE, Frame, PING, TEXT, encode_from_client};
use crate::ws::outbox::Outbox;

/// Between the last greeting and the first message: what the joins caused must be over.
const SETTLE: Duration = Duration::from_millis(500);
/// How long the last deliveries may take after the last message.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(15);
/// How long nothing may come before the rest is taken for lost.
const DRAIN_QUIET: Duration = Duration::from_secs(3);
/// Messages sent before the readers get a turn, if the generator is behind.
const BATCH_MAX: usize = 64;
/// Above these the generator is taken for the limit.
const CORE_SHARE_MAX: f64 = 0.9;
const LATENESS_P99_MS_MAX: f64 = 20.0;

struct Moment {
    at: Instant,
    server: Option<Usage>,
    database: Option<Usage>,
    own: Duration,
    machine: f64,
    counts: Counts,
}

impl Moment {
    fn now(live: &Live, tally: &RefCell<Tally>) -> anyhow::Result<Self> {
        let (server, database, machine) = (live.usage()?, live.database_usage()?, machine_cpu_seconds()?);
        let (at, own, counts) = (Instant::now(), own_thread_cpu(), tally.borrow().counts);
        Ok(Self { at, server, database, own, machine, counts })
    }
}

/// Runs `load` over `shape` against a target that has just been started for it.
pub async fn run(live: &Rc<Live>, shape: Shape, load: Load) -> anyhow::Result<Fanout> {
    let seats = take_all(live, 0..live.members.len()).await?;
    let start = Instant::now() + SETTLE;
    let tally = Rc::new(RefCell::new(Tally::new(start, shape, load)?));
    let mut readers = JoinSet::new();
    let mut outboxes = Vec::with_capacity(seats.len());
    for (index, seat) in seats.into_iter().enumerate() {
        outboxes.push(Rc::clone(&seat.outbox));
        let place = (index / shape.members, (index % shape.members) as u32);
        readers.spawn_local(read(seat, place, Rc::clone(&live.dialect), Rc::clone(&tally)));
    }
    tokio::time::sleep_until(start.into()).await;
    let (began, ended) = send_all(live, &outboxes, &tally, start, shape, load).await?;
    drain(&tally).await;
    // Gone before the server is, or its end would count as lost connections.
    readers.shutdown().await;
    let tally = tally.borrow();
    Ok(outcome(live, &tally, &began, &ended, load))
}

async fn send_all(
    live: &Live,
    outboxes: &[Rc<Outbox>],
    tally: &RefCell<Tally>,
    start: Instant,
    shape: Shape,
    load: Load,
) -> anyhow::Result<(Moment, Moment)> {
    let ticker = Ticker::new()?;
    let warm_up_ends = u64::from(load.warm_up_seconds) * u64::from(load.rate);
    let (mut next, total) = (0, load.messages());
    let (mut began, mut body, mut message, mut frame) = (None, Vec::new(), Vec::new(), Vec::new());
    while next < total {
        match load.due(next).checked_sub(start.elapsed()) {
            Some(early) if !early.is_zero() => ticker.wait(early).await?,
            _ => tokio::task::yield_now().await,
        }
        let mut batch = 0;
        while next < total && batch < BATCH_MAX && load.due(next) <= start.elapsed() {
            if next == warm_up_ends {
                began = Some(Moment::now(live, tally)?);
            }
            let stamp = tally.borrow_mut().on_send(next);
            let member = stamp.room as usize * shape.members + stamp.sender as usize;
            for buffer in [&mut body, &mut message, &mut frame] {
                buffer.clear();
            }
            stamp.write_body(load.body_bytes, &mut body);
            live.dialect.send(&live.members[member].room_id, next, &body, &mut message);
            encode_from_client(TEXT, &message, &mut frame);
            outboxes[member].write(&frame);
            (next, batch) = (next + 1, batch + 1);
        }
    }
    if let Some(rest) = load.due(total).checked_sub(start.elapsed()) {
        ticker.wait(rest).await?;
    }
    let ended = Moment::now(live, tally)?;
    let began = began.ok_or_else(|| anyhow::anyhow!("nothing was measured"))?;
    Ok((began, ended))
}

async fn read(
    mut seat: Seat,
    (room, member): (usize, u32),
    dialect: Rc<dyn Dialect>,
    tally: Rc<RefCell<Tally>>,
) {
    let outbox = Rc::clone(&seat.outbox);
    let ended = loop {
        match seat.reader.turn(|frame| on_frame(&frame, room, member, &*dialect, &tally, &outbox)).await {
            Ok(true) => {}
            Ok(false) => break "end of stream".to_owned(),
            Err(error) => break error.to_string(),
        }
    };
    tally.borrow_mut().on_connection_lost(ended);
}

fn on_frame(
    frame: &Frame<'_>,
    room: usize,
    member: u32,
    dialect: &dyn Dialect,
    tally: &RefCell<Tally>,
    outbox: &Rc<Outbox>,
) -> anyhow::Result<()> {
    match frame.opcode {
        TEXT => {
            let mut tally = tally.borrow_mut();
            dialect.read(frame.payload, &mut |seen| match seen {
                Seen::Heartbeat(answer) => outbox.write(&text(answer.as_bytes())),
                seen => tally.on_seen(room, member, frame.payload.len(), seen),
            });
        }
        PING => outbox.write(&pong(frame.payload)),
        CLOSE => anyhow::bail!("close {}", close_reason(frame.payload)),
        _ => {}
    }
    Ok(())
}

async fn drain(tally: &RefCell<Tally>) {
    let began = Instant::now();
    let (mut last, mut last_at) = (0, began);
    while began.elapsed() < DRAIN_TIMEOUT && last_at.elapsed() < DRAIN_QUIET {
        let (complete, counts) = (tally.borrow().is_complete(), tally.borrow().counts);
        if complete {
            break;
        }
        if counts.deliveries != last {
            (last, last_at) = (counts.deliveries, Instant::now());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // What comes once too often comes late: give it a moment too.
    tokio::time::sleep(Duration::from_millis(100)).await;
}

fn outcome(live: &Live, tally: &Tally, began: &Moment, ended: &Moment, load: Load) -> Fanout {
    let seconds = (ended.at - began.at).as_secs_f64();
    let messages = u64::from(load.rate) * u64::from(load.seconds);
    let deliveries = ended.counts.deliveries - began.counts.deliveries;
    let used = |began: Option<Usage>, ended: Option<Usage>| {
        began.zip(ended).map(|(began, ended)| ended.cpu_seconds - began.cpu_seconds)
    };
    let (cpu, database) = (used(began.server, ended.server), used(began.database, ended.database));
    let core_share = (ended.own - began.own).as_secs_f64() / seconds;
    let machine = (ended.machine - began.machine) / seconds;
    let lateness = Quantiles::of(&tally.lateness);
    let late = lateness.is_some_and(|lateness| lateness.p99_ms > LATENESS_P99_MS_MAX);
    let answered = tally.counts.acks + tally.counts.refused;
    Fanout {
        messages,
        deliveries,
        deliveries_a_second: deliveries as f64 / seconds,
        bytes_a_delivery: tally.counts.delivery_bytes as f64 / tally.counts.deliveries.max(1) as f64,
        cpu_us_a_delivery: cpu.map(|cpu| cpu * 1e6 / deliveries.max(1) as f64),
        cpu_us_a_message: cpu.map(|cpu| cpu * 1e6 / messages as f64),
        database_cpu_us_a_delivery: database.map(|cpu| cpu * 1e6 / deliveries.max(1) as f64),
        server_cores: cpu.map(|cpu| cpu / seconds),
        other_cores: cpu
            .map(|cpu| (machine - core_share - (cpu + database.unwrap_or(0.0)) / seconds).max(0.0)),
        rss_mib: ended.server.map(|server| server.rss_kib as f64 / 1_024.0),
        delivery: Quantiles::of(&tally.delivery),
        ack: Quantiles::of(&tally.ack),
        refused: tally.counts.refused,
        unanswered: if live.dialect.acks() { load.messages().saturating_sub(answered) } else { 0 },
        connections_lost: tally.counts.connections_lost,
        findings: tally.findings(),
        trouble: tally.trouble.clone(),
        generator: Generator { core_share, lateness, was_the_limit: core_share > CORE_SHARE_MAX || late },
    }
}
