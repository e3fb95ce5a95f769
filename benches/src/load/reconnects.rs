//! A storm: all but one connection of each room are cut at once, miss something, and resume together while it goes on.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{interval, sleep, timeout};

use super::expected::Expected;
use super::fanout::{Room, drain, generator, listen, on_frame, read, send_phase};
use super::moment::{Moment, Noted};
use super::outcome::{Quantiles, Reconnects, microseconds};
use super::schedule::Schedule;
use super::seat::{Refused, Seat, take_all};
use super::series::{Sample, sample};
use super::tally::{Senders, Tally};
use super::ticker::Ticker;
use crate::scenario::{Load, Profile, Shape};
use crate::targets::live::Live;
use crate::view::View;
use crate::ws::frame::Frame;

/// How long it may take to come back, asked to try again or not.
const COME_BACK_MAX: Duration = Duration::from_secs(60);
/// How exactly it is known when one is whole: to look at thousands is work.
const LOOK_EVERY: Duration = Duration::from_millis(2);
/// How long those who came back may take to be whole.
const WHOLE_MAX: Duration = Duration::from_secs(60);

/// See [`Measure::Reconnects`](crate::scenario::Measure::Reconnects).
#[derive(Debug, Clone, Copy)]
pub struct Storm {
    /// Messages a second, over all rooms.
    pub rate: u32,
    /// Bytes of a message's text.
    pub body_bytes: usize,
    /// Seconds before the cut, and again after it.
    pub seconds: u32,
    /// Seconds that the cut ones stay away.
    pub away_seconds: u32,
}

/// One who was cut.
struct Away {
    index: usize,
    room: usize,
    member: u32,
}

/// One who is back.
struct Back {
    who: Away,
    /// How long its new connection took.
    greeted: Duration,
    /// What its room had sent by then.
    sent: u32,
}

/// Cuts and measures against a target that has just been started for it.
pub async fn run(
    live: &Rc<Live>,
    shape: Shape,
    storm: Storm,
    (patience, view): (Duration, &View),
) -> anyhow::Result<Reconnects> {
    let first = live.members.first().context("no members")?;
    ensure!(first.dialect.resuming(first, 1).is_some(), "this target's clients can't resume");
    let seconds = 2 * storm.seconds + storm.away_seconds;
    let Storm { rate, body_bytes, .. } = storm;
    let load = Load { rate, body_bytes, seconds, warm_up_seconds: 0, profile: Profile::Steady };
    let seats = take_all(&live.members, view).await?;
    let start = Instant::now() + Duration::from_millis(500);
    let schedule = Schedule::new(&load);
    let expected = Expected::of(&live.members, shape, body_bytes);
    let tally = Tally::new(start, shape, schedule.clone(), Senders::First, expected)?;
    let tally = Rc::new(RefCell::new(tally));
    let (mut stay, mut go, mut outboxes) = (JoinSet::new(), Vec::new(), Vec::new());
    for (index, seat) in seats.into_iter().enumerate() {
        let (room, member) = (index / shape.members, (index % shape.members) as u32);
        outboxes.push(Some(Rc::clone(&seat.outbox)));
        let reading = read(seat, (room, member), Rc::clone(&live.members[index].dialect), Rc::clone(&tally));
        if member == 0 {
            stay.spawn_local(reading);
        } else {
            go.push((Away { index, room, member }, tokio::task::spawn_local(reading)));
        }
    }
    let room = Rc::new(Room {
        live: Rc::clone(live),
        shape,
        body_bytes,
        outboxes: RefCell::new(outboxes),
        tally: Rc::clone(&tally),
        schedule,
    });
    sleep(start.saturating_duration_since(Instant::now())).await;
    let series = Rc::new(RefCell::new(Vec::new()));
    let takes = room.schedule.takes();
    let sampling = sample(Rc::clone(live), Rc::clone(&tally), Rc::clone(&series), view.clone(), takes);
    let sampler = tokio::task::spawn_local(sampling);
    let storming = cut_and_return(&room, go, storm);
    let sending = async {
        let ticker = Ticker::new()?;
        for phase in room.schedule.measured() {
            send_phase(&room, &ticker, phase).await?;
        }
        anyhow::Ok(())
    };
    let ((), (mut storming, [began, ended])) = tokio::try_join!(sending, storming)?;
    drain(&tally, patience).await;
    sampler.abort();
    listen().await;
    stay.shutdown().await;
    storming.readers.shutdown().await;
    let series = series.take();
    let (began, ended) = (began.whole().await, ended.whole().await);
    storming.outcome(&tally.borrow(), (&began, &ended), patience, series)
}

/// What came of those who were cut.
struct Returned {
    readers: JoinSet<()>,
    connections: u64,
    missed: u64,
    greeted: hdrhistogram::Histogram<u64>,
    whole: hdrhistogram::Histogram<u64>,
    refused: u64,
    failed: u64,
    trouble: Option<String>,
    /// How late messages went out from when all began to come back until the last was whole.
    late: Option<Quantiles>,
}

async fn cut_and_return(
    room: &Rc<Room>,
    go: Vec<(Away, JoinHandle<()>)>,
    storm: Storm,
) -> anyhow::Result<(Returned, [Noted; 2])> {
    sleep(Duration::from_secs(storm.seconds.into())).await;
    let sent = || room.tally.borrow().counts.sent;
    let sent_before = sent();
    let mut away = Vec::with_capacity(go.len());
    for (who, reading) in go {
        reading.abort();
        // Closed once both halves are gone; the task has the other one.
        let _ = reading.await;
        room.outboxes.borrow_mut()[who.index] = None;
        away.push(who);
    }
    sleep(Duration::from_secs(storm.away_seconds.into())).await;
    let missed = sent() - sent_before;
    let (connections, began) = (away.len() as u64, Noted::now(&room.live, &room.tally)?);
    let (readers, back_at) = (Rc::new(RefCell::new(JoinSet::new())), Instant::now());
    let start = room.tally.borrow().start();
    room.tally.borrow_mut().begin_phase(back_at.saturating_duration_since(start))?;
    let (mut greeted, mut whole, refused) = (microseconds()?, microseconds()?, Rc::new(Cell::new(0)));
    let (mut failed, mut trouble, mut returning) = (0, None, JoinSet::new());
    for who in away {
        let (room, readers, refused) = (Rc::clone(room), Rc::clone(&readers), Rc::clone(&refused));
        returning.spawn_local(async move {
            let place = (who.room, who.member);
            let back = timeout(COME_BACK_MAX, come_back(&room, who, &readers, &refused)).await;
            back.context("not back in time").flatten().map_err(|error| (place, error))
        });
    }
    let (mut look, mut partly) = (interval(LOOK_EVERY), Vec::new());
    while !returning.is_empty() || !partly.is_empty() {
        tokio::select! {
            Some(returned) = returning.join_next() => match returned? {
                Ok(back) => {
                    greeted.saturating_record(back.greeted.as_micros() as u64);
                    partly.push(back);
                }
                Err(((of_room, member), error)) => {
                    failed += 1;
                    // Who is not there is sent nothing, and that is no loss.
                    room.tally.borrow_mut().on_gone(of_room, member);
                    trouble.get_or_insert(format!("{error:#}"));
                }
            },
            _ = look.tick() => {
                let (tally, took) = (room.tally.borrow(), back_at.elapsed());
                partly.retain(|Back { who, sent, .. }| {
                    let is_whole = tally.room(who.room).has(who.member, *sent);
                    if is_whole {
                        whole.saturating_record(took.as_micros() as u64);
                    }
                    !is_whole
                });
                if took > WHOLE_MAX {
                    failed += partly.drain(..).len() as u64;
                    trouble.get_or_insert(format!("not whole after {WHOLE_MAX:?}"));
                }
            }
        }
    }
    let late = Quantiles::of(&room.tally.borrow().phase.lateness);
    let ended = Noted::now(&room.live, &room.tally)?;
    let readers = readers.take();
    let refused = refused.get();
    let returned = Returned { readers, connections, missed, greeted, whole, refused, failed, trouble, late };
    Ok((returned, [began, ended]))
}

/// Connects and resumes, and again when the server asks for it, as a client does.
async fn come_back(
    room: &Room,
    who: Away,
    readers: &RefCell<JoinSet<()>>,
    refused: &Cell<u64>,
) -> anyhow::Result<Back> {
    let member = &room.live.members[who.index];
    let (place, began, lost) = ((who.room, who.member), Instant::now(), Cell::new(false));
    // What comes right behind the answer is what was missed.
    let mut on = |frame: &Frame<'_>| {
        let nobody = &mut |_: &[u8]| ();
        let done = on_frame(frame, place, &*member.dialect, &room.tally, nobody);
        lost.set(lost.get() || done.is_err());
    };
    let seat = loop {
        let seq = room.tally.borrow().room(who.room).seq(who.member);
        let steps = member.dialect.resuming(member, seq).context("can't resume")?;
        match Seat::greet(member, &steps, None, &mut on).await {
            Ok(seat) => break seat,
            Err(error) => match error.downcast_ref().and_then(Refused::retry_after) {
                Some(after) => {
                    refused.set(refused.get() + 1);
                    sleep(after).await;
                }
                None => return Err(error),
            },
        }
    };
    ensure!(!lost.get(), "closed right after it had come back");
    let greeted = began.elapsed();
    let sent = room.tally.borrow().room(who.room).sent();
    room.outboxes.borrow_mut()[who.index] = Some(Rc::clone(&seat.outbox));
    readers.borrow_mut().spawn_local(read(seat, place, Rc::clone(&member.dialect), Rc::clone(&room.tally)));
    Ok(Back { who, greeted, sent })
}

impl Returned {
    fn outcome(
        self,
        tally: &Tally,
        (began, ended): (&Moment, &Moment),
        patience: Duration,
        series: Vec<Sample>,
    ) -> anyhow::Result<Reconnects> {
        let ((seconds, own), spent) = (began.until(ended), began.spent_until(ended));
        let (findings, faults) = tally.findings();
        // Whoever is late for a moment while all come back is seldom late over the whole run; whoever is late over the whole
        // run had them miss something else than what is said. The worse of the two counts.
        let over_all = Quantiles::of(&tally.timings()?.lateness);
        let late = self.late.into_iter().chain(over_all);
        let late = late.max_by(|one, other| one.p99_ms.total_cmp(&other.p99_ms));
        Ok(Reconnects {
            connections: self.connections,
            missed: self.missed,
            greeted: Quantiles::of(&self.greeted),
            whole: Quantiles::of(&self.whole),
            cpu_us_each: spent.map(|spent| spent.us_each(self.connections)),
            refused: self.refused,
            failed: self.failed,
            findings,
            faults,
            patience_s: patience.as_secs_f64(),
            trouble: self.trouble.or_else(|| tally.trouble.clone()),
            generator: generator(own / seconds, late),
            series,
        })
    }
}

#[cfg(test)]
mod tests;
