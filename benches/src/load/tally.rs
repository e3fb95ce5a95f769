//! What a fan-out run has seen so far, by every connection.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use super::expected::Expected;
use super::outcome::{Quantiles, microseconds};
use super::schedule::Schedule;
use crate::checker::{Fault, Findings, RoomChecker};
use crate::scenario::Shape;
use crate::stamp::Stamp;
use crate::targets::{Delivery, Seen};

/// So many faults of a run are kept by name.
const FAULTS_MAX: usize = 20;

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
    expected: Expected,
}

impl Tally {
    /// A run that starts at `start`.
    pub fn new(
        start: Instant,
        shape: Shape,
        schedule: Schedule,
        senders: Senders,
        expected: Expected,
    ) -> anyhow::Result<Self> {
        let in_turn = match senders {
            Senders::All => shape.members,
            Senders::First => 1,
        };
        let room = |number| RoomChecker::new(number as u32, shape.members as u32, in_turn as u32);
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
            rooms: (0..shape.rooms).map(room).collect(),
            expected,
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
        Stamp { room, sender: self.sender_of(count), count, due: due.as_micros() as u64 }
    }

    fn sender_of(&self, count: u32) -> u32 {
        match self.senders {
            Senders::All => count % self.shape.members as u32,
            Senders::First => 0,
        }
    }

    /// Message `index` of the run as its room's checker knows it.
    fn place_of(&self, index: u64) -> (usize, u32) {
        let rooms = self.shape.rooms as u64;
        ((index % rooms) as usize, u32::try_from(index / rooms).unwrap_or(u32::MAX))
    }

    /// The member `member` of `room` saw something, for which `bytes` came.
    pub fn on_seen(&mut self, room: usize, member: u32, bytes: usize, seen: Seen<'_>) {
        match seen {
            Seen::Delivery(delivery) => self.on_delivery(room, member, bytes, &delivery),
            Seen::Entry(seq) => self.rooms[room].on_seq(member, seq),
            Seen::Ack(index, seq) => {
                self.counts.acks += 1;
                let (of_room, count) = self.place_of(index);
                self.rooms[of_room].on_ack(count, seq);
                self.record(self.schedule.due(index), |timings| &mut timings.ack);
            }
            Seen::Refused { index, text, for_good } => {
                self.counts.refused += 1;
                // Which one is not always said: then it is one of those that are due about now.
                let index = index.filter(|&index| index < self.counts.sent);
                let due = index.map_or(self.start.elapsed(), |index| self.schedule.due(index));
                if let Some(of) = self.of_phase_of(due) {
                    of.refused += 1;
                }
                if let Some(index) = index {
                    let (of_room, count) = self.place_of(index);
                    self.rooms[of_room].on_refused(count, for_good);
                }
                self.complain(|| format!("refused: {}", String::from_utf8_lossy(text)));
            }
            Seen::Trouble(text) => self.complain(|| String::from_utf8_lossy(text).into_owned()),
            Seen::Heartbeat(_) | Seen::Other => {}
        }
    }

    /// A member's connection ended before the run did.
    pub fn on_connection_lost(&mut self, room: usize, member: u32, why: String) {
        self.counts.connections_lost += 1;
        self.rooms[room].on_cut(member);
        self.complain(|| format!("a connection ended: {why}"));
    }

    /// A member is not there any more: nothing is expected to come to it.
    pub fn on_gone(&mut self, room: usize, member: u32) {
        self.rooms[room].on_gone(member);
    }

    /// Whether every member has everything, and every sender its answers.
    pub fn is_complete(&self) -> bool {
        let answered = |room: &RoomChecker| !self.expected.answers() || room.is_answered();
        self.rooms.iter().all(|room| room.is_complete() && answered(room))
    }

    /// Nothing is waited for any more: what has not come is as late as it is by now, at least.
    pub fn on_end(&mut self) {
        let ends = self.start.elapsed();
        for number in 0..self.rooms.len() {
            for (count, lacking) in self.rooms[number].lacking().into_iter().enumerate() {
                let due = self.schedule.due(count as u64 * self.shape.rooms as u64 + number as u64);
                if lacking > 0 && due >= self.measured_from {
                    let late = ends.saturating_sub(due).as_micros() as u64;
                    self.past.delivery.saturating_record_n(late, lacking.into());
                }
            }
        }
    }

    /// What was wrong, in all rooms, and the first of it by name.
    pub fn findings(&self) -> (Findings, Vec<Fault>) {
        let (mut all, mut faults) = (Findings::default(), Vec::new());
        for (number, room) in self.rooms.iter().enumerate() {
            let (found, of_room) = room.findings(self.expected.answers());
            all.add(found);
            let room_id = self.expected.room_id(number);
            let left = FAULTS_MAX.saturating_sub(faults.len());
            let named = of_room.into_iter().map(|fault| Fault { room_id: room_id.to_owned(), ..fault });
            faults.extend(named.take(left));
        }
        (all, faults)
    }

    fn on_delivery(&mut self, room: usize, member: u32, bytes: usize, delivery: &Delivery<'_>) {
        self.counts.deliveries += 1;
        self.counts.delivery_bytes += bytes as u64;
        let stamp = delivery.found.stamp;
        let due = Duration::from_micros(stamp.due);
        let latency = self.record(due, |timings| &mut timings.delivery);
        let is_of_room = stamp.room as usize == room;
        let is_as_sent = self.expected.is_as_sent(delivery, self.shape)
            && stamp.sender == self.sender_of(stamp.count)
            && u128::from(stamp.due) == self.due_of(stamp).as_micros();
        let checker = &mut self.rooms[room];
        // A count that no room has makes a delivery of another room's message a strange one.
        let count = if is_of_room { stamp.count } else { u32::MAX };
        let is_new = checker.on_delivery(member, count);
        if let Some(seq) = delivery.seq {
            if delivery.in_row {
                checker.on_seq(member, seq);
            }
            if is_of_room {
                checker.on_number(member, count, seq);
            }
        }
        if is_of_room && !is_as_sent {
            checker.on_altered(member, count);
        }
        let in_time = latency <= self.schedule.limit();
        if let Some(of) = self.of_phase_of(due).filter(|_| is_new) {
            of.came += 1;
            of.in_time += u64::from(in_time);
        }
    }

    fn due_of(&self, stamp: Stamp) -> Duration {
        self.schedule.due(u64::from(stamp.count) * self.shape.rooms as u64 + u64::from(stamp.room))
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
