//! What is measured: a shape of rooms and members, and what happens in it.

use std::time::Duration;

use serde::Serialize;

use crate::stamp::STAMP_BYTES;

/// Rooms, and members who each have one connection and are in one room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Shape {
    /// How many rooms.
    pub rooms: usize,
    /// Connections in each.
    pub members: usize,
}

impl Shape {
    /// Connections in all.
    pub fn connections(&self) -> usize {
        self.rooms * self.members
    }

    /// A shape for a herd of about `connections`: at most 64 rooms, so that few accounts do.
    pub fn herd(connections: usize) -> Self {
        let rooms = (connections / 10).clamp(1, 64);
        Self { rooms, members: connections.div_ceil(rooms) }
    }
}

/// An open loop: messages are due on a schedule, whether the server keeps up or not.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Load {
    /// Messages a second, over all rooms.
    pub rate: u32,
    /// Bytes of a message's text.
    pub body_bytes: usize,
    /// Seconds that are measured.
    pub seconds: u32,
    /// Seconds before, sent and checked, but not measured.
    pub warm_up_seconds: u32,
}

impl Load {
    /// Messages of the whole run.
    pub fn messages(&self) -> u64 {
        u64::from(self.rate) * u64::from(self.seconds + self.warm_up_seconds)
    }

    /// When a message is due, from the start of the run.
    pub fn due(&self, index: u64) -> Duration {
        Duration::from_nanos(index * 1_000_000_000 / u64::from(self.rate))
    }
}

/// One measurement.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Measure {
    /// Deliveries: their cost and latency, and whether each came once and in order.
    Fanout(Load),
    /// Resident memory of connections that say nothing.
    Idle {
        /// How long memory may settle.
        settle_seconds: u32,
    },
    /// Connect, hello and join.
    Connects {
        /// How many are under way at a time.
        in_flight: usize,
    },
}

/// A measurement with its name and shape.
#[derive(Debug, Clone, Serialize)]
pub struct Scenario {
    /// Its name in tables and files.
    pub name: String,
    /// Rooms and members.
    pub shape: Shape,
    /// What happens.
    pub measure: Measure,
}

/// What the presets leave open.
#[derive(Debug, Clone, Copy)]
pub struct Knobs {
    /// Seconds that are measured.
    pub seconds: u32,
    /// Seconds before them.
    pub warm_up_seconds: u32,
    /// Bytes of a message's text.
    pub body_bytes: usize,
    /// Connections of `idle` and `connects`.
    pub connections: usize,
    /// How many connects are under way at a time.
    pub in_flight: usize,
}

impl Scenario {
    /// The names that [`Scenario::named`] knows.
    pub const NAMES: [&'static str; 4] = ["s1", "s2", "idle", "connects"];

    /// A ready scenario.
    pub fn named(name: &str, knobs: &Knobs) -> Option<Self> {
        let load = |rate| {
            let Knobs { seconds, warm_up_seconds, body_bytes, .. } = *knobs;
            Measure::Fanout(Load { rate, body_bytes, seconds, warm_up_seconds })
        };
        let herd = Shape::herd(knobs.connections);
        let (shape, measure) = match name {
            "s1" => (Shape { rooms: 1, members: 1_000 }, load(40)),
            "s2" => (Shape { rooms: 200, members: 10 }, load(4_000)),
            "idle" => (herd, Measure::Idle { settle_seconds: 3 }),
            "connects" => (herd, Measure::Connects { in_flight: knobs.in_flight }),
            _ => return None,
        };
        Some(Self { name: name.to_owned(), shape, measure })
    }

    /// Refuses what has no bound or makes no sense.
    pub fn check(&self) -> anyhow::Result<()> {
        let Shape { rooms, members } = self.shape;
        anyhow::ensure!((1..=100_000).contains(&rooms), "rooms: 1 to 100,000, not {rooms}");
        anyhow::ensure!((1..=100_000).contains(&members), "members: 1 to 100,000, not {members}");
        anyhow::ensure!(rooms * members <= 200_000, "at most 200,000 connections, not {}", rooms * members);
        if let Measure::Fanout(load) = self.measure {
            anyhow::ensure!((1..=1_000_000).contains(&load.rate), "rate: 1 to 1,000,000 messages a second");
            anyhow::ensure!(
                (STAMP_BYTES..=4_096).contains(&load.body_bytes),
                "body: {STAMP_BYTES} to 4,096 bytes"
            );
            anyhow::ensure!((1..=3_600).contains(&load.seconds), "seconds: 1 to 3,600");
            anyhow::ensure!(load.warm_up_seconds <= 600, "warm-up: at most 600 seconds");
        }
        Ok(())
    }
}
