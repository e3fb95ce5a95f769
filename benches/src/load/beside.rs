//! What goes on beside the members who send: connections that idle, come and go, read history, ask bots, or read too slowly.
//!
//! None of it is checked message by message, but what the server says to it is counted.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use super::outcome::{Quantiles, microseconds};
use super::seat::{GREETING_TIMEOUT, Seat, keep, pong, stay, take_all, text};
use crate::scenario::Beside;
use crate::targets::Member;
use crate::targets::live::Live;
use crate::view::View;
use crate::ws::frame::{PING, TEXT};

/// Connections that ask for history, and as many that ask bots: a server limits what one user may ask for.
pub const ASKERS: usize = 8;
/// How long who comes and goes stays.
const STAY: Duration = Duration::from_secs(2);
/// A slow reader's receive buffer, which it empties once a second.
const SLOW_BYTES: u32 = 4 * 1_024;
/// How long a request may be without an answer at the end.
const ANSWER_MAX: Duration = Duration::from_secs(1);
/// Requests of one connection without an answer; more are left out and counted.
const UNDER_WAY_MAX: usize = 64;

/// What became of it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Visitors {
    /// Connections that idled, and still did in the end.
    pub idle: u64,
    /// Visits from connect to leave.
    pub visits: u64,
    /// From a visit's first packet until it is a member.
    pub arrival: Option<Quantiles>,
    /// Visits that did not come to be.
    pub visits_failed: u64,
    /// Visits under way when the time ended.
    #[serde(default)]
    pub visits_unfinished: u64,
    /// Of those, the ones that were not members yet.
    #[serde(default)]
    pub visits_unanswered: u64,
    /// Pages of history that came.
    pub pages: u64,
    /// From the time that a page was due until it was there.
    pub page: Option<Quantiles>,
    /// Commands that were taken.
    pub commands: u64,
    /// From the time that a command was due until it was taken.
    pub command: Option<Quantiles>,
    /// Pages and commands that were refused, or never asked for because too many were under way.
    pub asks_failed: u64,
    /// Slow readers.
    pub slow_readers: u64,
    /// How often they were told that they are behind.
    pub told_behind: u64,
    /// How many the server closed.
    pub slow_closed: u64,
    /// What was left out, for the target has nothing of it or the generator can't say it there.
    pub left_out: Vec<String>,
    /// The first failure.
    pub trouble: Option<String>,
}

impl Visitors {
    fn complain(&mut self, why: impl Into<String>) {
        self.trouble.get_or_insert(why.into());
    }
}

struct Seen {
    visitors: Visitors,
    /// Visits that began.
    visits_begun: u64,
    arrival: Histogram<u64>,
    page: Histogram<u64>,
    command: Histogram<u64>,
}

/// All of it, at work until it is ended.
pub struct Company {
    seen: Rc<RefCell<Seen>>,
    herd: JoinSet<()>,
    others: JoinSet<()>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ask {
    Page,
    Command,
}

impl Company {
    /// Begins it; the idle herd is there when this returns.
    pub async fn begin(live: &Rc<Live>, beside: Beside, view: &View) -> anyhow::Result<Self> {
        let mut visitors = Visitors { slow_readers: beside.slow_readers as u64, ..Visitors::default() };
        let herd = keep(take_all(&live.herd, view).await?, &live.herd);
        // Those who speak the target's own language: the others have no pages and commands.
        let speaks = |has: &dyn Fn(&Member) -> bool| {
            live.members.iter().filter(|member| has(member)).cloned().collect::<Vec<_>>()
        };
        let readers = speaks(&|member| member.dialect.page("", 0).is_some());
        let askers = speaks(&|member| member.dialect.has_commands());
        let mut asks = Vec::new();
        for (what, ask, rate, who) in [
            ("history", Ask::Page, beside.history, &readers),
            ("commands", Ask::Command, beside.commands, &askers),
        ] {
            match (rate > 0.0, who.is_empty()) {
                (true, true) => visitors.left_out.push(what.to_owned()),
                (true, false) => asks.push((ask, rate, who)),
                (false, _) => {}
            }
        }
        let seen = Rc::new(RefCell::new(Seen {
            visitors,
            visits_begun: 0,
            arrival: microseconds()?,
            page: microseconds()?,
            command: microseconds()?,
        }));
        let mut others = JoinSet::new();
        for (ask, rate, who) in asks {
            // Spread over all of them, so that each is of another user and room if there are enough.
            for n in 0..ASKERS {
                let member = who[n * who.len() / ASKERS].clone();
                others.spawn_local(ask_on(member, ask, rate / ASKERS as f64, Rc::clone(&seen)));
            }
        }
        if beside.churn > 0.0 {
            others.spawn_local(come_and_go(Rc::clone(live), beside.churn, Rc::clone(&seen)));
        }
        for n in 0..beside.slow_readers {
            let member = live.members[n * live.members.len() / beside.slow_readers].clone();
            others.spawn_local(read_slowly(member, Rc::clone(&seen)));
        }
        Ok(Self { seen, herd, others })
    }

    /// Ends it.
    pub async fn end(mut self) -> Visitors {
        self.others.shutdown().await;
        while self.herd.try_join_next().is_some() {}
        let idle = self.herd.len() as u64;
        self.herd.shutdown().await;
        self.seen.borrow().end(idle)
    }
}

impl Seen {
    /// What became of it, when nothing goes on any more and so many still idled.
    fn end(&self, idle: u64) -> Visitors {
        let mut visitors = self.visitors.clone();
        // Where a target answers nobody any more, no visit has ended or failed yet.
        visitors.visits_unfinished = self.visits_begun - visitors.visits - visitors.visits_failed;
        visitors.visits_unanswered = self.visits_begun - self.arrival.len() - visitors.visits_failed;
        let (arrival, page, command) =
            (Quantiles::of(&self.arrival), Quantiles::of(&self.page), Quantiles::of(&self.command));
        Visitors { idle, arrival, page, command, ..visitors }
    }
}

fn record(histogram: &mut Histogram<u64>, since: Instant) {
    histogram.saturating_record(since.elapsed().as_micros() as u64);
}

/// Ticks so many times a second; what it is late with comes at once.
fn ticks(rate: f64) -> tokio::time::Interval {
    let mut ticks = interval(Duration::from_secs_f64(1.0 / rate));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    ticks
}

async fn come_and_go(live: Rc<Live>, rate: f64, seen: Rc<RefCell<Seen>>) {
    let (mut ticks, mut visits) = (ticks(rate), JoinSet::new());
    // A step that shares nothing with the number of members of a room: visits go everywhere.
    for n in 0_usize.. {
        ticks.tick().await;
        while visits.try_join_next().is_some() {}
        let member = live.members[n.wrapping_mul(7_919) % live.members.len()].clone();
        seen.borrow_mut().visits_begun += 1;
        visits.spawn_local(visit(member, Rc::clone(&seen)));
    }
}

async fn visit(member: Member, seen: Rc<RefCell<Seen>>) {
    let began = Instant::now();
    match timeout(GREETING_TIMEOUT, Seat::take(&member)).await {
        Ok(Ok(seat)) => {
            record(&mut seen.borrow_mut().arrival, began);
            // It leaves in the middle, as people do.
            let _ = timeout(STAY, stay(seat, Rc::clone(&member.dialect))).await;
            seen.borrow_mut().visitors.visits += 1;
        }
        failed => {
            let visitors = &mut seen.borrow_mut().visitors;
            visitors.visits_failed += 1;
            visitors.complain(match failed {
                Ok(Err(error)) => format!("a visit: {error:#}"),
                _ => "a visit: no answer in time".to_owned(),
            });
        }
    }
}

async fn read_slowly(member: Member, seen: Rc<RefCell<Seen>>) {
    let steps = member.dialect.greeting(&member);
    let behind = |payload: &[u8]| memchr::memmem::find(payload, br#""behind""#).is_some();
    let mut seat = match Seat::greet(&member, &steps, Some(SLOW_BYTES), &mut |_| ()).await {
        Ok(seat) => seat,
        Err(error) => return seen.borrow_mut().visitors.complain(format!("a slow reader: {error:#}")),
    };
    loop {
        sleep(Duration::from_secs(1)).await;
        let outbox = Rc::clone(&seat.outbox);
        let turn = seat.reader.turn(|frame| {
            match frame.opcode {
                TEXT if behind(frame.payload) => seen.borrow_mut().visitors.told_behind += 1,
                PING => outbox.write(&pong(frame.payload)),
                _ => {}
            }
            Ok(())
        });
        if !turn.await.unwrap_or(false) {
            seen.borrow_mut().visitors.slow_closed += 1;
            return;
        }
    }
}

/// Requests without an answer yet. Those that had time for one when it is dropped, at the end, have failed.
struct Due {
    asks: BTreeMap<u64, Instant>,
    seen: Rc<RefCell<Seen>>,
}

impl Drop for Due {
    fn drop(&mut self) {
        let unanswered = self.asks.values().filter(|since| since.elapsed() > ANSWER_MAX).count() as u64;
        if unanswered > 0 {
            let visitors = &mut self.seen.borrow_mut().visitors;
            visitors.asks_failed += unanswered;
            visitors.complain(format!("{unanswered} requests of a connection have no answer at the end"));
        }
    }
}

/// Asks on one connection, whether answers come or not.
async fn ask_on(member: Member, ask: Ask, rate: f64, seen: Rc<RefCell<Seen>>) {
    let mut seat = match Seat::take(&member).await {
        Ok(seat) => seat,
        Err(error) => return seen.borrow_mut().visitors.complain(format!("one who asks: {error:#}")),
    };
    let outbox = Rc::clone(&seat.outbox);
    let due = Rc::new(RefCell::new(Due { asks: BTreeMap::new(), seen: Rc::clone(&seen) }));
    let asking = async {
        let (mut ticks, mut request) = (ticks(rate), Vec::new());
        for reference in 0_u64.. {
            let at = ticks.tick().await;
            if due.borrow().asks.len() >= UNDER_WAY_MAX {
                seen.borrow_mut().visitors.asks_failed += 1;
                continue;
            }
            request.clear();
            match ask {
                Ask::Page => request.extend(
                    member.dialect.page(&member.room_id, reference).into_iter().flat_map(String::into_bytes),
                ),
                Ask::Command => member.dialect.send(&member.room_id, reference, b"/help", &mut request),
            }
            due.borrow_mut().asks.insert(reference, at.into_std());
            outbox.write(&text(&request));
        }
    };
    let reading = async {
        let on_text = |payload: &[u8]| {
            let Some((reference, good)) = member.dialect.answer(payload) else { return };
            let Some(since) = due.borrow_mut().asks.remove(&reference) else { return };
            let seen = &mut *seen.borrow_mut();
            if !good {
                seen.visitors.asks_failed += 1;
                return seen.visitors.complain(String::from_utf8_lossy(payload));
            }
            match ask {
                Ask::Page => (record(&mut seen.page, since), seen.visitors.pages += 1),
                Ask::Command => (record(&mut seen.command, since), seen.visitors.commands += 1),
            };
        };
        loop {
            let turn = seat.reader.turn(|frame| {
                match frame.opcode {
                    TEXT => on_text(frame.payload),
                    PING => outbox.write(&pong(frame.payload)),
                    _ => {}
                }
                Ok(())
            });
            if !turn.await.unwrap_or(false) {
                return seen.borrow_mut().visitors.complain("who asks was closed");
            }
        }
    };
    tokio::select! {
        () = asking => {}
        () = reading => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_visit_that_began_is_in_a_figure() {
        let histogram = || microseconds().expect("a histogram");
        let visitors = Visitors { visits: 3, visits_failed: 2, ..Visitors::default() };
        let (page, command) = (histogram(), histogram());
        let mut seen = Seen { visitors, visits_begun: 12, arrival: histogram(), page, command };
        // Three have left, four are there.
        (0..7).for_each(|_| record(&mut seen.arrival, Instant::now()));
        let visitors = seen.end(1);
        assert_eq!((visitors.idle, visitors.visits, visitors.visits_failed), (1, 3, 2));
        assert_eq!((visitors.visits_unfinished, visitors.visits_unanswered), (7, 3));
    }
}
