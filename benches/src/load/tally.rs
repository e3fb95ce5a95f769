//! What a fan-out run has seen so far, by every connection.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use super::outcome::{Quantiles, microseconds};
use super::schedule::Schedule;
use crate::checker::{Findings, RoomChecker};
use crate::scenario::Shape;
use crate::stamp::Stamp;
use crate::targets::Seen;

/// Counts of what came, over the whole run.
#[derive(Debug, Clone, Copy, Default)]
pub struct Counts {
    /// Messages that went out.
    pub sent: u64,
    /// Deliveries.
    pub deliveries: u64,
    /// Bytes of their payloads.
    pub delivery_bytes: u64,
    /// Answers that took a send.
    pub acks: u64,
    /// Answers that didn't.
    pub refused: u64,
    /// Connections that ended.
    pub connections_lost: u64,
}

/// What came of the messages that were due in one measured phase, whenever it came.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OfPhase {
    /// Deliveries, each once.
    pub came: u64,
    /// Those within the schedule's limit.
    pub in_time: u64,
    /// Messages that were refused.
    pub refused: u64,
}

/// Latencies, in microseconds.
#[derive(Debug, Clone)]
pub struct Timings {
    /// Of deliveries, from the time due.
    pub delivery: Histogram<u64>,
    /// Of answers, from the time due.
    pub ack: Histogram<u64>,
    /// How late messages went out.
    pub lateness: Histogram<u64>,
}

impl Timings {
    /// None yet.
    pub fn new() -> anyhow::Result<Self> {
        Ok(Self { delivery: microseconds()?, ack: microseconds()?, lateness: microseconds()? })
    }

    fn add(&mut self, other: &Self) -> anyhow::Result<()> {
        self.delivery.add(&other.delivery)?;
        self.ack.add(&other.ack)?;
        self.lateness.add(&other.lateness)?;
        Ok(())
    }

    fn reset(&mut self) {
        for histogram in [&mut self.delivery, &mut self.ack, &mut self.lateness] {
            histogram.reset();
        }
    }
}

/// Which member of a room sends its next message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Senders {
    /// They take turns.
    All,
    /// The first one, always.
    First,
}

/// Everything that is seen goes through here.
#[derive(Debug)]
pub struct Tally {
    /// What came so far.
    pub counts: Counts,
    /// What was timed since [`Tally::phase_from`], of messages due since then.
    pub phase: Timings,
    /// The first complaint.
    pub trouble: Option<String>,
    /// Of the measured phases before this one, and what came of them later.
    past: Timings,
    /// Of the second that passes.
    second: Timings,
    of_phases: Vec<OfPhase>,
    measured_from: Duration,
    phase_from: Duration,
    start: Instant,
    shape: Shape,
    senders: Senders,
    schedule: Schedule,
    rooms: Vec<RoomChecker>,
}

impl Tally {
    /// A run that starts at `start`.
    pub fn new(start: Instant, shape: Shape, schedule: Schedule, senders: Senders) -> anyhow::Result<Self> {
        let in_turn = match senders {
            Senders::All => shape.members,
            Senders::First => 1,
        };
        let room = || RoomChecker::new(shape.members as u32, in_turn as u32);
        let measured_from = schedule.warm_up().map_or(Duration::ZERO, |warm_up| warm_up.ends);
        Ok(Self {
            counts: Counts::default(),
            phase: Timings::new()?,
            past: Timings::new()?,
            second: Timings::new()?,
            of_phases: vec![OfPhase::default(); schedule.measured().len()],
            trouble: None,
            measured_from,
            phase_from: measured_from,
            start,
            shape,
            senders,
            schedule,
            rooms: (0..shape.rooms).map(|_| room()).collect(),
        })
    }

    /// When the run starts.
    pub fn start(&self) -> Instant {
        self.start
    }

    /// From here on `phase` has messages that are due from `from` on.
    pub fn begin_phase(&mut self, from: Duration) -> anyhow::Result<()> {
        self.past.add(&self.phase)?;
        self.phase.reset();
        self.phase_from = from;
        Ok(())
    }

    /// What came so far of what was due in that one of the measured phases.
    pub fn of_phase(&self, phase: usize) -> OfPhase {
        self.of_phases.get(phase).copied().unwrap_or_default()
    }

    /// Of all measured messages.
    pub fn timings(&self) -> anyhow::Result<Timings> {
        let mut all = self.past.clone();
        all.add(&self.phase)?;
        Ok(all)
    }

    /// Deliveries and answers since the last call, and how late the latest message went out, in milliseconds.
    pub fn take_interval(&mut self) -> (Option<Quantiles>, Option<Quantiles>, f64) {
        let Timings { delivery, ack, lateness } = &self.second;
        let taken = (Quantiles::of(delivery), Quantiles::of(ack), lateness.max() as f64 / 1_000.0);
        self.second.reset();
        taken
    }

    /// The checker of a room.
    pub fn room(&self, room: usize) -> &RoomChecker {
        &self.rooms[room]
    }

    /// Message `index` of the run goes out now: rooms take turns, and in each its members.
    pub fn on_send(&mut self, index: u64) -> Stamp {
        let room = (index % self.shape.rooms as u64) as u32;
        let count = self.rooms[room as usize].on_sent();
        self.counts.sent += 1;
        let due = self.schedule.due(index);
        self.record(due, |timings| &mut timings.lateness);
        let sender = match self.senders {
            Senders::All => count % self.shape.members as u32,
            Senders::First => 0,
        };
        Stamp { room, sender, count, due: due.as_micros() as u64 }
    }

    /// The member `member` of `room` saw something, for which `bytes` came.
    pub fn on_seen(&mut self, room: usize, member: u32, bytes: usize, seen: Seen<'_>) {
        match seen {
            Seen::Delivery(stamp, seq) => self.on_delivery(room, member, bytes, stamp, seq),
            Seen::Entry(seq) => self.rooms[room].on_seq(member, seq),
            Seen::Ack(index) => {
                self.counts.acks += 1;
                self.record(self.schedule.due(index), |timings| &mut timings.ack);
            }
            Seen::Refused(index, text) => {
                self.counts.refused += 1;
                // Which one is not always said: then it is one of those that are due about now.
                let index = index.filter(|&index| index < self.counts.sent);
                let due = index.map_or(self.start.elapsed(), |index| self.schedule.due(index));
                if let Some(of) = self.of_phase_of(due) {
                    of.refused += 1;
                }
                if let Some(index) = index {
                    let rooms = self.shape.rooms as u64;
                    self.rooms[(index % rooms) as usize].on_refused((index / rooms) as u32);
                }
                self.complain(|| format!("refused: {}", String::from_utf8_lossy(text)));
            }
            Seen::Trouble(text) => self.complain(|| String::from_utf8_lossy(text).into_owned()),
            Seen::Heartbeat(_) | Seen::Other => {}
        }
    }

    /// A connection ended before the run did.
    pub fn on_connection_lost(&mut self, why: String) {
        self.counts.connections_lost += 1;
        self.complain(|| format!("a connection ended: {why}"));
    }

    /// A member is not there any more: nothing is expected to come to it.
    pub fn on_gone(&mut self, room: usize, member: u32) {
        self.rooms[room].on_gone(member);
    }

    /// Whether every member has everything.
    pub fn is_complete(&self) -> bool {
        self.rooms.iter().all(RoomChecker::is_complete)
    }

    /// What was wrong, in all rooms.
    pub fn findings(&self) -> Findings {
        let mut all = Findings::default();
        for room in &self.rooms {
            all.add(room.findings());
        }
        all
    }

    fn on_delivery(&mut self, room: usize, member: u32, bytes: usize, stamp: Stamp, seq: Option<u64>) {
        self.counts.deliveries += 1;
        self.counts.delivery_bytes += bytes as u64;
        let due = Duration::from_micros(stamp.due);
        let latency = self.record(due, |timings| &mut timings.delivery);
        let checker = &mut self.rooms[room];
        // A count that no room has makes a delivery of another room's message a strange one.
        let count = if stamp.room as usize == room { stamp.count } else { u32::MAX };
        let is_new = checker.on_delivery(member, count);
        if let Some(seq) = seq {
            checker.on_seq(member, seq);
        }
        let in_time = latency <= self.schedule.limit();
        if let Some(of) = self.of_phase_of(due).filter(|_| is_new) {
            of.came += 1;
            of.in_time += u64::from(in_time);
        }
    }

    fn of_phase_of(&mut self, due: Duration) -> Option<&mut OfPhase> {
        self.of_phases.get_mut(self.schedule.measured_at(due)?)
    }

    /// How late it is.
    fn record(&mut self, due: Duration, of: impl Fn(&mut Timings) -> &mut Histogram<u64>) -> Duration {
        let late = self.start.elapsed().saturating_sub(due);
        let latency = late.as_micros() as u64;
        of(&mut self.second).saturating_record(latency);
        if due >= self.phase_from {
            of(&mut self.phase).saturating_record(latency);
        } else if due >= self.measured_from {
            of(&mut self.past).saturating_record(latency);
        }
        late
    }

    fn complain(&mut self, trouble: impl FnOnce() -> String) {
        if self.trouble.is_none() {
            self.trouble = Some(trouble());
        }
    }
}

#[cfg(test)]
mod tests;
