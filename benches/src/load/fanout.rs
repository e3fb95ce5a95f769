//! The fan-out run: messages on a schedule, every delivery timed and checked.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::beside::{Company, Visitors};
use super::outcome::{Fanout, Generator, Held, Quantiles, curve};
use super::schedule::{Phase, Schedule};
use super::seat::{Seat, close_reason, pong, take_all, text};
use super::series::{Sample, sample};
use super::steps::{Due, Step};
use super::tally::{Counts, Senders, Tally};
use super::ticker::Ticker;
use crate::procfs::{Usage, machine_cpu_seconds, own_thread_cpu};
use crate::scenario::{Beside, Load, Profile, Shape};
use crate::targets::live::Live;
use crate::targets::{Dialect, Seen};
use crate::view::View;
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

/// What is used and counted at one moment.
#[derive(Clone, Copy)]
pub(super) struct Moment {
    at: Instant,
    server: Option<Usage>,
    database: Option<Usage>,
    own: Duration,
    machine: f64,
    counts: Counts,
}

impl Moment {
    pub(super) async fn now(live: &Live, tally: &RefCell<Tally>) -> anyhow::Result<Self> {
        let (server, database) = (live.usage().await?, live.database_usage()?);
        let (at, own, machine) = (Instant::now(), own_thread_cpu(), machine_cpu_seconds()?);
        let counts = tally.borrow().counts;
        Ok(Self { at, server, database, own, machine, counts })
    }

    /// A moment of a target of which nothing is known, by when the generator had used so much.
    #[cfg(test)]
    pub(super) fn of_generator(at: Instant, own: Duration) -> Self {
        Self { at, server: None, database: None, own, machine: 0.0, counts: Counts::default() }
    }

    /// Seconds, and the CPU seconds of the server and of the generator.
    pub(super) fn until(&self, later: &Self) -> (f64, Option<f64>, f64) {
        let used = self.server.zip(later.server).map(|(from, to)| to.cpu_seconds - from.cpu_seconds);
        ((later.at - self.at).as_secs_f64(), used, (later.own - self.own).as_secs_f64())
    }
}

/// Who sends and reads, and what was seen of it.
pub(super) struct Room {
    pub live: Rc<Live>,
    pub shape: Shape,
    pub body_bytes: usize,
    /// To send with; nothing while a connection is cut.
    pub outboxes: RefCell<Vec<Option<Rc<Outbox>>>>,
    pub tally: Rc<RefCell<Tally>>,
    pub schedule: Schedule,
}

/// Runs `load` over `shape` against a target that has just been started for it.
pub async fn run(
    live: &Rc<Live>,
    shape: Shape,
    load: Load,
    beside: Beside,
    view: &View,
) -> anyhow::Result<Fanout> {
    let seats = take_all(&live.members, view).await?;
    let company = Company::begin(live, beside, view).await?;
    let start = Instant::now() + SETTLE;
    let schedule = Schedule::new(&load);
    let tally = Rc::new(RefCell::new(Tally::new(start, shape, schedule.clone(), Senders::All)?));
    let mut readers = JoinSet::new();
    let mut outboxes = Vec::with_capacity(seats.len());
    for (index, seat) in seats.into_iter().enumerate() {
        outboxes.push(Some(Rc::clone(&seat.outbox)));
        let place = (index / shape.members, (index % shape.members) as u32);
        readers.spawn_local(read(seat, place, Rc::clone(&live.members[index].dialect), Rc::clone(&tally)));
    }
    let room = Room {
        live: Rc::clone(live),
        shape,
        body_bytes: load.body_bytes,
        outboxes: RefCell::new(outboxes),
        tally: Rc::clone(&tally),
        schedule,
    };
    tokio::time::sleep_until(start.into()).await;
    let series = Rc::new(RefCell::new(Vec::new()));
    let takes = room.schedule.takes();
    let sampling = sample(Rc::clone(live), Rc::clone(&tally), Rc::clone(&series), view.clone(), takes);
    let sampler = tokio::task::spawn_local(sampling);
    let sent = send_all(&room, load.profile).await;
    drain(&tally).await;
    sampler.abort();
    let (moments, steps) = sent?;
    // Only now it is known what never came.
    let steps = steps.into_iter().enumerate();
    let steps = steps.map(|(phase, step)| step.end(tally.borrow().of_phase(phase))).collect();
    let visitors = company.end().await;
    // Gone before the server is, or its end would count as lost connections.
    readers.shutdown().await;
    let tally = tally.borrow();
    let series = series.take();
    outcome(live, &tally, &moments, Extra { steps, visitors, series })
}

/// Sends what is due in each phase. When the measured ones began and ended, and how each step went.
async fn send_all(room: &Room, profile: Profile) -> anyhow::Result<((Moment, Moment), Vec<Step>)> {
    let ticker = Ticker::new()?;
    if let Some(warm_up) = room.schedule.warm_up() {
        send_phase(room, &ticker, warm_up).await?;
    }
    let began = Moment::now(&room.live, &room.tally).await?;
    let (mut last, mut steps) = (began, Vec::new());
    for (at, phase) in room.schedule.measured().iter().enumerate() {
        room.tally.borrow_mut().begin_phase(phase.begins)?;
        send_phase(room, &ticker, phase).await?;
        let now = Moment::now(&room.live, &room.tally).await?;
        if let Profile::Steps { .. } = profile {
            let step = ended_step(room, (at, phase), (&last, &now));
            let over = !step.is_held();
            steps.push(step);
            if over {
                return Ok(((began, now), steps));
            }
        }
        last = now;
    }
    Ok(((began, last), steps))
}

/// Sends a phase's messages when they are due, and waits for its end.
pub(super) async fn send_phase(room: &Room, ticker: &Ticker, phase: &Phase) -> anyhow::Result<()> {
    let start = room.tally.borrow().start();
    let (mut body, mut message, mut frame) = (Vec::new(), Vec::new(), Vec::new());
    let mut next = phase.first;
    while next < phase.end {
        match room.schedule.due(next).checked_sub(start.elapsed()) {
            Some(early) if !early.is_zero() => ticker.wait(early).await?,
            _ => tokio::task::yield_now().await,
        }
        let mut batch = 0;
        while next < phase.end && batch < BATCH_MAX && room.schedule.due(next) <= start.elapsed() {
            let stamp = room.tally.borrow_mut().on_send(next);
            let index = stamp.room as usize * room.shape.members + stamp.sender as usize;
            let member = &room.live.members[index];
            for buffer in [&mut body, &mut message, &mut frame] {
                buffer.clear();
            }
            stamp.write_body(room.body_bytes, &mut body);
            member.dialect.send(&member.room_id, next, &body, &mut message);
            encode_from_client(TEXT, &message, &mut frame);
            if let Some(outbox) = &room.outboxes.borrow()[index] {
                outbox.write(&frame);
            }
            (next, batch) = (next + 1, batch + 1);
        }
    }
    if let Some(rest) = phase.ends.checked_sub(start.elapsed()) {
        ticker.wait(rest).await?;
    }
    Ok(())
}

/// What is known of a step that has just ended.
fn ended_step(room: &Room, (at, phase): (usize, &Phase), (began, ended): (&Moment, &Moment)) -> Step {
    let (seconds, cpu, own) = began.until(ended);
    let tally = room.tally.borrow();
    let deliveries = ended.counts.deliveries - began.counts.deliveries;
    let held = Held {
        rate: phase.from,
        deliveries_a_second: deliveries as f64 / seconds,
        delivery: Quantiles::of(&tally.phase.delivery),
        cpu_us_a_delivery: cpu.map(|cpu| cpu * 1e6 / deliveries.max(1) as f64),
        not_held: None,
        generator_was_the_limit: false,
    };
    let generator = generator(own / seconds, Quantiles::of(&tally.phase.lateness));
    let due = Due::of(phase, room.shape.members, room.schedule.limit());
    Step::new(held, due, tally.of_phase(at), &generator)
}

/// Takes what comes to a member until the connection ends.
pub(super) async fn read(
    mut seat: Seat,
    (room, member): (usize, u32),
    dialect: Rc<dyn Dialect>,
    tally: Rc<RefCell<Tally>>,
) {
    let outbox = Rc::clone(&seat.outbox);
    let ended = loop {
        match seat
            .reader
            .turn(|frame| {
                on_frame(&frame, (room, member), &*dialect, &tally, &mut |bytes| outbox.write(bytes))
            })
            .await
        {
            Ok(true) => {}
            Ok(false) => break "end of stream".to_owned(),
            Err(error) => break error.to_string(),
        }
    };
    tally.borrow_mut().on_connection_lost(ended);
}

pub(super) fn on_frame(
    frame: &Frame<'_>,
    (room, member): (usize, u32),
    dialect: &dyn Dialect,
    tally: &RefCell<Tally>,
    answer: &mut dyn FnMut(&[u8]),
) -> anyhow::Result<()> {
    match frame.opcode {
        TEXT => {
            let mut tally = tally.borrow_mut();
            // Of several in one frame the first has its bytes.
            let mut bytes = frame.payload.len();
            dialect.read(frame.payload, &mut |seen| match seen {
                Seen::Heartbeat(beat) => answer(&text(beat.as_bytes())),
                Seen::Delivery(..) => tally.on_seen(room, member, std::mem::take(&mut bytes), seen),
                seen => tally.on_seen(room, member, 0, seen),
            });
        }
        PING => answer(&pong(frame.payload)),
        CLOSE => anyhow::bail!("close {}", close_reason(frame.payload)),
        _ => {}
    }
    Ok(())
}

/// Waits until everything is there, or nothing comes any more.
pub(super) async fn drain(tally: &RefCell<Tally>) {
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

/// What is in an outcome beside the numbers.
struct Extra {
    steps: Vec<Held>,
    visitors: Visitors,
    series: Vec<Sample>,
}

fn outcome(
    live: &Live,
    tally: &Tally,
    (began, ended): &(Moment, Moment),
    Extra { steps, visitors, series }: Extra,
) -> anyhow::Result<Fanout> {
    let (seconds, cpu, own) = began.until(ended);
    let messages = ended.counts.sent - began.counts.sent;
    let deliveries = ended.counts.deliveries - began.counts.deliveries;
    let database =
        began.database.zip(ended.database).map(|(began, ended)| ended.cpu_seconds - began.cpu_seconds);
    let machine = (ended.machine - began.machine) / seconds;
    let timings = tally.timings()?;
    let answered = tally.counts.acks + tally.counts.refused;
    let core_share = own / seconds;
    Ok(Fanout {
        messages,
        deliveries,
        deliveries_a_second: deliveries as f64 / seconds,
        bytes_a_delivery: tally.counts.delivery_bytes as f64 / tally.counts.deliveries.max(1) as f64,
        cpu_us_a_delivery: cpu.map(|cpu| cpu * 1e6 / deliveries.max(1) as f64),
        cpu_us_a_message: cpu.map(|cpu| cpu * 1e6 / messages.max(1) as f64),
        database_cpu_us_a_delivery: database.map(|cpu| cpu * 1e6 / deliveries.max(1) as f64),
        server_cores: cpu.map(|cpu| cpu / seconds),
        other_cores: cpu
            .map(|cpu| (machine - core_share - (cpu + database.unwrap_or(0.0)) / seconds).max(0.0)),
        rss_mib: ended.server.map(|server| server.rss_kib as f64 / 1_024.0),
        delivery: Quantiles::of(&timings.delivery),
        ack: Quantiles::of(&timings.ack),
        refused: tally.counts.refused,
        unanswered: if live.acks() { tally.counts.sent.saturating_sub(answered) } else { 0 },
        connections_lost: tally.counts.connections_lost,
        findings: tally.findings(),
        trouble: tally.trouble.clone(),
        generator: generator(core_share, Quantiles::of(&timings.lateness)),
        steps,
        visitors,
        curve: curve(&timings.delivery),
        series,
    })
}

/// The generator's part, and whether it was the limit.
pub(super) fn generator(core_share: f64, lateness: Option<Quantiles>) -> Generator {
    let late = lateness.is_some_and(|lateness| lateness.p99_ms > LATENESS_P99_MS_MAX);
    Generator { core_share, lateness, was_the_limit: core_share > CORE_SHARE_MAX || late }
}
