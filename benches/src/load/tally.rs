//! What a fan-out run has seen so far, by every connection.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use super::outcome::microseconds;
use crate::checker::{Findings, RoomChecker};
use crate::scenario::{Load, Shape};
use crate::stamp::Stamp;
use crate::targets::Seen;

/// Counts of what came, over the whole run.
#[derive(Debug, Clone, Copy, Default)]
pub struct Counts {
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

/// Everything that is seen goes through here.
#[derive(Debug)]
pub struct Tally {
    /// What came so far.
    pub counts: Counts,
    /// Latency of deliveries, in microseconds.
    pub delivery: Histogram<u64>,
    /// Latency of answers.
    pub ack: Histogram<u64>,
    /// How late messages went out.
    pub lateness: Histogram<u64>,
    /// The first complaint.
    pub trouble: Option<String>,
    start: Instant,
    shape: Shape,
    load: Load,
    rooms: Vec<RoomChecker>,
}

impl Tally {
    /// A run that starts at `start`.
    pub fn new(start: Instant, shape: Shape, load: Load) -> anyhow::Result<Self> {
        Ok(Self {
            counts: Counts::default(),
            delivery: microseconds()?,
            ack: microseconds()?,
            lateness: microseconds()?,
            trouble: None,
            start,
            shape,
            load,
            rooms: (0..shape.rooms).map(|_| RoomChecker::new(shape.members as u32)).collect(),
        })
    }

    /// Message `index` of the run goes out now: rooms take turns, and in each its members.
    pub fn on_send(&mut self, index: u64) -> Stamp {
        let room = (index % self.shape.rooms as u64) as u32;
        let count = self.rooms[room as usize].on_sent();
        let due = self.load.due(index);
        if self.is_measured(due) {
            record(&mut self.lateness, self.start.elapsed().saturating_sub(due));
        }
        Stamp { room, sender: count % self.shape.members as u32, count, due: due.as_micros() as u64 }
    }

    /// The member `member` of `room` saw something in a frame of `bytes` bytes.
    pub fn on_seen(&mut self, room: usize, member: u32, bytes: usize, seen: Seen<'_>) {
        match seen {
            Seen::Delivery(stamp, seq) => self.on_delivery(room, member, bytes, stamp, seq),
            Seen::Entry(seq) => self.rooms[room].on_seq(member, seq),
            Seen::Ack(index) => {
                self.counts.acks += 1;
                let due = self.load.due(index);
                if self.is_measured(due) {
                    record(&mut self.ack, self.start.elapsed().saturating_sub(due));
                }
            }
            Seen::Refused(index, text) => {
                self.counts.refused += 1;
                if let Some(index) = index.filter(|&index| index < self.load.messages()) {
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
        if self.is_measured(due) {
            record(&mut self.delivery, self.start.elapsed().saturating_sub(due));
        }
        let checker = &mut self.rooms[room];
        // A count that no room has makes a delivery of another room's message a strange one.
        let count = if stamp.room as usize == room { stamp.count } else { u32::MAX };
        checker.on_delivery(member, count);
        if let Some(seq) = seq {
            checker.on_seq(member, seq);
        }
    }

    fn is_measured(&self, due: Duration) -> bool {
        due >= Duration::from_secs(self.load.warm_up_seconds.into())
    }

    fn complain(&mut self, trouble: impl FnOnce() -> String) {
        if self.trouble.is_none() {
            self.trouble = Some(trouble());
        }
    }
}

fn record(histogram: &mut Histogram<u64>, latency: Duration) {
    histogram.saturating_record(latency.as_micros() as u64);
}
