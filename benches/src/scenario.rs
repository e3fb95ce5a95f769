//! What is measured: a shape of rooms and members, what happens in it, and what else goes on beside that.

pub mod file;

use serde::{Deserialize, Serialize};

use crate::stamp::STAMP_BYTES;

/// The longest that messages may be sent, warm-up included: an hour and ten minutes.
const SECONDS_MAX: u64 = 4_200;
/// The most messages of a run: a checker keeps eight bytes of each.
const MESSAGES_MAX: u64 = 100_000_000;

/// Rooms, and members who each have one connection and are in one room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
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

    /// A shape for a herd of about `connections`: at most 64 rooms.
    pub fn herd(connections: usize) -> Self {
        let rooms = (connections / 10).clamp(1, 64);
        Self { rooms, members: connections.div_ceil(rooms) }
    }
}

/// An open loop: messages are due on a schedule, whether the server keeps up or not.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Load {
    /// Messages a second, over all rooms; with a profile that changes it, those of the beginning.
    pub rate: u32,
    /// Bytes of a message's text.
    pub body_bytes: usize,
    /// Seconds that are measured; with steps, those of one step.
    pub seconds: u32,
    /// Seconds before, sent and checked, but not measured.
    pub warm_up_seconds: u32,
    /// Whether the rate changes.
    pub profile: Profile,
}

/// How the rate goes over the measured seconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "profile", rename_all = "snake_case")]
pub enum Profile {
    /// It stays.
    Steady,
    /// It goes evenly to another rate.
    Ramp {
        /// The one at the end.
        to: u32,
    },
    /// It is multiplied step by step, until the server does not hold a step.
    Steps {
        /// By how much.
        factor: f64,
        /// How many steps at most.
        at_most: u32,
        /// A step whose deliveries are slower than this is not held.
        p99_ms: f64,
    },
}

/// What goes on beside the members who send. None of it is checked message by message.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Beside {
    /// Connections in rooms of their own, in which nothing is said.
    pub idle: usize,
    /// Connections a second that come, stay for two seconds in a room that is spoken in, and go.
    pub churn: f64,
    /// Pages of history a second.
    pub history: f64,
    /// Bot commands (`/help`) a second.
    pub commands: f64,
    /// Connections in rooms that are spoken in, which read a few KiB a second and no more.
    pub slow_readers: usize,
}

/// One measurement.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
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
    /// All but one connection of each room are cut at once and resume, while the one goes on to send.
    Reconnects {
        /// Messages a second, over all rooms, before, meanwhile and after.
        rate: u32,
        /// Bytes of a message's text.
        body_bytes: usize,
        /// Seconds before the cut, and again after it.
        seconds: u32,
        /// Seconds that the cut ones stay away: what is said meanwhile is what they have missed.
        away_seconds: u32,
    },
}

/// A measurement with its name and shape.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Scenario {
    /// Its name in tables and files.
    pub name: String,
    /// What it is for, in a sentence.
    pub about: String,
    /// Rooms and members.
    pub shape: Shape,
    /// The share of each room's members that come by the Socket.IO door, where a target has two.
    pub socketio: f64,
    /// What happens.
    pub measure: Measure,
    /// What goes on beside it.
    pub beside: Beside,
}

impl Load {
    /// Seconds of all that is sent.
    pub fn seconds_in_all(&self) -> u64 {
        let steps = if let Profile::Steps { at_most, .. } = self.profile { at_most } else { 1 };
        u64::from(self.warm_up_seconds) + u64::from(self.seconds) * u64::from(steps)
    }

    /// The highest rate that may come.
    pub fn rate_max(&self) -> f64 {
        let rate = f64::from(self.rate);
        match self.profile {
            Profile::Steady => rate,
            Profile::Ramp { to } => rate.max(to.into()),
            Profile::Steps { factor, at_most, .. } => {
                rate * factor.powi(i32::try_from(at_most.saturating_sub(1)).unwrap_or(i32::MAX))
            }
        }
    }
}

impl Scenario {
    /// A scenario without companions.
    pub fn plain(name: &str, shape: Shape, measure: Measure) -> Self {
        Self {
            name: name.to_owned(),
            about: String::new(),
            shape,
            socketio: 0.0,
            measure,
            beside: Beside::default(),
        }
    }

    /// Whether it is the server's memory that is measured.
    pub fn is_of_memory(&self) -> bool {
        matches!(self.measure, Measure::Idle { .. })
    }

    /// All its connections.
    pub fn connections(&self) -> usize {
        // Each of those that come and go is there for two seconds, and somewhat longer at a busy server.
        self.shape.connections()
            + self.beside.idle
            + self.beside.slow_readers
            + 10 * self.beside.churn.ceil() as usize
            + 2 * crate::load::beside::ASKERS
    }

    /// Refuses what has no bound or makes no sense.
    pub fn check(&self) -> anyhow::Result<()> {
        let Shape { rooms, members } = self.shape;
        anyhow::ensure!((1..=100_000).contains(&rooms), "rooms: 1 to 100,000, not {rooms}");
        anyhow::ensure!((1..=100_000).contains(&members), "members: 1 to 100,000, not {members}");
        anyhow::ensure!((0.0..=1.0).contains(&self.socketio), "socketio: a share, 0 to 1");
        let Beside { idle, churn, history, commands, slow_readers } = self.beside;
        for (name, rate) in [("churn", churn), ("history", history), ("commands", commands)] {
            anyhow::ensure!((0.0..=100_000.0).contains(&rate), "{name}: 0 to 100,000 a second");
        }
        anyhow::ensure!(
            idle <= 200_000 && slow_readers <= 10_000 && self.connections() <= 200_000,
            "at most 200,000 connections in all and 10,000 slow readers"
        );
        let alone = self.beside == Beside::default() || matches!(self.measure, Measure::Fanout(_));
        anyhow::ensure!(alone, "something beside goes with [load] only");
        match self.measure {
            Measure::Fanout(load) => load.check(),
            Measure::Idle { settle_seconds } => {
                anyhow::ensure!(settle_seconds <= 600, "settle: at most 600 seconds");
                Ok(())
            }
            Measure::Connects { in_flight } => {
                anyhow::ensure!((1..=65_535).contains(&in_flight), "in_flight: 1 to 65,535");
                Ok(())
            }
            Measure::Reconnects { rate, body_bytes, seconds, away_seconds } => {
                anyhow::ensure!(members >= 2, "members: at least 2, of whom one stays");
                anyhow::ensure!(self.socketio == 0.0, "what comes by Socket.IO can't resume");
                anyhow::ensure!(away_seconds <= 60, "away: at most 60 seconds");
                let seconds = 2 * seconds + away_seconds;
                Load { rate, body_bytes, seconds, warm_up_seconds: 0, profile: Profile::Steady }.check()
            }
        }
    }
}

impl Load {
    fn check(&self) -> anyhow::Result<()> {
        if let Profile::Steps { factor, at_most, p99_ms } = self.profile {
            anyhow::ensure!((1.01..=10.0).contains(&factor), "steps: a factor of 1.01 to 10");
            anyhow::ensure!((1..=100).contains(&at_most), "steps: 1 to 100 at most");
            anyhow::ensure!((0.1..=60_000.0).contains(&p99_ms), "steps: p99_ms of 0.1 to 60,000");
        }
        let rate_max = self.rate_max();
        anyhow::ensure!(
            self.rate >= 1 && (1.0..=1_000_000.0).contains(&rate_max),
            "rate: 1 to 1,000,000 messages a second, not {rate_max}"
        );
        anyhow::ensure!(
            (STAMP_BYTES..=4_096).contains(&self.body_bytes),
            "body: {STAMP_BYTES} to 4,096 bytes"
        );
        anyhow::ensure!((1..=3_600).contains(&self.seconds), "seconds: 1 to 3,600");
        anyhow::ensure!(self.warm_up_seconds <= 600, "warm-up: at most 600 seconds");
        anyhow::ensure!(
            self.seconds_in_all() <= SECONDS_MAX,
            "at most {SECONDS_MAX} seconds in all, not {}",
            self.seconds_in_all()
        );
        let messages = crate::load::schedule::Schedule::new(self).messages();
        anyhow::ensure!(messages <= MESSAGES_MAX, "at most {MESSAGES_MAX} messages, not {messages}");
        Ok(())
    }
}
