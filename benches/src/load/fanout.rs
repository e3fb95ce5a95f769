//! The fan-out run: messages on a schedule, every delivery timed and checked.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::beside::{Company, Visitors};
use super::expected::Expected;
use super::moment::{Moment, Noted};
use super::outcome::{Fanout, Generator, Held, Quantiles, curve};
use super::schedule::{Phase, Schedule};
use super::seat::{Seat, close_reason, pong, take_all, text};
use super::series::{Sample, sample};
use super::steps::{Due, Step};
use super::tally::{Senders, Tally};
use super::ticker::Ticker;
use crate::scenario::{Beside, Load, Profile, Shape};
use crate::targets::live::Live;
use crate::targets::{Dialect, Seen};
use crate::view::View;
use crate::ws::frame::{CLOSE, Frame, PING, TEXT, encode_from_client};
use crate::ws::outbox::Outbox;

/// Between the last greeting and the first message: what the joins caused must be over.
const SETTLE: Duration = Duration::from_millis(500);
/// How long it is listened after the last delivery: what comes once too often comes late.
const LISTEN: Duration = Duration::from_secs(2);
/// Messages sent before the readers get a turn, if the generator is behind.
const BATCH_MAX: usize = 64;
/// Above these the generator is taken for the limit.
const CORE_SHARE_MAX: f64 = 0.9;
const LATENESS_P99_MS_MAX: f64 = 20.0;

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
    (patience, view): (Duration, &View),
) -> anyhow::Result<Fanout> {
    let seats = take_all(&live.members, view).await?;
    let company = Company::begin(live, beside, view).await?;
    let start = Instant::now() + SETTLE;
    let schedule = Schedule::new(&load);
    let expected = Expected::of(&live.members, shape, load.body_bytes);
    let tally = Rc::new(RefCell::new(Tally::new(start, shape, schedule.clone(), Senders::All, expected)?));
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
    if sent.is_ok() {
        drain(&tally, patience).await;
    }
    sampler.abort();
    let (moments, steps) = sent?;
    listen().await;
    let mut wholes = Vec::with_capacity(moments.len());
    for moment in moments {
        wholes.push(moment.whole().await);
    }
    // Only now it is known what never came, and what each step cost.
    tally.borrow_mut().on_end();
    let steps = steps.into_iter().enumerate();
    let steps = steps.map(|(phase, step)| {
        let spent = wholes[phase].spent_until(&wholes[phase + 1]);
        step.end(tally.borrow().of_phase(phase), spent.map(|spent| spent.us_each(spent.deliveries)))
    });
    let steps = steps.collect();
    let visitors = company.end().await;
    // Gone before the server is, or its end would count as lost connections.
    readers.shutdown().await;
    let tally = tally.borrow();
    let series = series.take();
    outcome(&tally, (&wholes[0], &wholes[wholes.len() - 1]), Extra { steps, visitors, series, patience })
}

/// Sends what is due in each phase. When the first measured one began and each of them ended, and how each step went.
async fn send_all(room: &Room, profile: Profile) -> anyhow::Result<(Vec<Noted>, Vec<Step>)> {
    let ticker = Ticker::new()?;
    if let Some(warm_up) = room.schedule.warm_up() {
        send_phase(room, &ticker, warm_up).await?;
    }
    let now = || Noted::now(&room.live, &room.tally);
    let (mut moments, mut steps) = (vec![now()?], Vec::new());
    for (at, phase) in room.schedule.measured().iter().enumerate() {
        room.tally.borrow_mut().begin_phase(phase.begins)?;
        send_phase(room, &ticker, phase).await?;
        moments.push(now()?);
        if let Profile::Steps { .. } = profile {
            let step = ended_step(room, (at, phase), (moments[at].so_far(), moments[at + 1].so_far()));
            let over = !step.is_held();
            steps.push(step);
            if over {
                break;
            }
        }
    }
    Ok((moments, steps))
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
    let (seconds, own) = began.until(ended);
    let tally = room.tally.borrow();
    let deliveries = ended.counts.deliveries - began.counts.deliveries;
    let held = Held {
        messages_a_second: phase.from,
        deliveries_a_second: deliveries as f64 / seconds,
        delivery: Quantiles::of(&tally.phase.delivery),
        cpu_us_a_delivery: None,
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
    tally.borrow_mut().on_connection_lost(room, member, ended);
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

/// Waits until everything is there, or patience is over.
pub(super) async fn drain(tally: &RefCell<Tally>, patience: Duration) {
    let began = Instant::now();
    while began.elapsed() < patience && !tally.borrow().is_complete() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Waits for what comes once too often.
pub(super) async fn listen() {
    tokio::time::sleep(LISTEN).await;
}

/// What is in an outcome beside the numbers.
struct Extra {
    steps: Vec<Held>,
    visitors: Visitors,
    series: Vec<Sample>,
    patience: Duration,
}

fn outcome(
    tally: &Tally,
    (began, ended): (&Moment, &Moment),
    Extra { steps, visitors, series, patience }: Extra,
) -> anyhow::Result<Fanout> {
    let ((seconds, own), spent) = (began.until(ended), began.spent_until(ended));
    let messages = ended.counts.sent - began.counts.sent;
    let deliveries = ended.counts.deliveries - began.counts.deliveries;
    let database =
        began.database.zip(ended.database).map(|(began, ended)| ended.cpu_seconds - began.cpu_seconds);
    let machine = (ended.machine - began.machine) / seconds;
    let timings = tally.timings()?;
    let core_share = own / seconds;
    let server_cores = spent.map(|spent| spent.cpu_seconds / spent.seconds);
    let (findings, faults) = tally.findings();
    Ok(Fanout {
        messages,
        deliveries,
        deliveries_a_second: deliveries as f64 / seconds,
        bytes_a_delivery: tally.counts.delivery_bytes as f64 / tally.counts.deliveries.max(1) as f64,
        cpu_us_a_delivery: spent.map(|spent| spent.us_each(spent.deliveries)),
        cpu_us_a_message: spent.map(|spent| spent.us_each(spent.messages)),
        database_cpu_us_a_delivery: database.map(|cpu| cpu * 1e6 / deliveries.max(1) as f64),
        server_cores,
        other_cores: server_cores
            .map(|server| (machine - core_share - server - database.unwrap_or(0.0) / seconds).max(0.0)),
        rss_mib: ended.server.map(|server| server.usage.rss_kib as f64 / 1_024.0),
        delivery: Quantiles::of(&timings.delivery),
        ack: Quantiles::of(&timings.ack),
        refused: tally.counts.refused,
        connections_lost: tally.counts.connections_lost,
        findings,
        faults,
        patience_s: patience.as_secs_f64(),
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
