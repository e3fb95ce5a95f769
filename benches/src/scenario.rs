//! What is measured: a shape of rooms and members, what happens in it, and what else goes on beside that.

pub mod file;

use serde::{Deserialize, Serialize};

use crate::stamp::STAMP_BYTES;

/// The longest that messages may be sent, warm-up included: an hour and ten minutes.
const SECONDS_MAX: u32 = 4_200;
/// Of that, what is measured.
const LOAD_SECONDS_MAX: u32 = 3_600;
/// Messages a second.
const RATE_MAX: u32 = 1_000_000;
/// The most messages of a run: a checker keeps thirteen bytes of each.
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
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
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
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
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
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
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
        within("rooms", rooms, 1, 100_000)?;
        within("members", members, 1, 100_000)?;
        within("socketio", self.socketio, 0.0, 1.0)?;
        let Beside { idle, churn, history, commands, slow_readers } = self.beside;
        for (name, rate) in [("churn", churn), ("history", history), ("commands", commands)] {
            within(name, rate, 0.0, 100_000.0)?;
        }
        within("idle", idle, 0, 200_000)?;
        within("slow_readers", slow_readers, 0, 10_000)?;
        let connections = self.connections();
        anyhow::ensure!(
            connections <= 200_000,
            "rooms × members: with what is beside at most 200,000 connections in all, not {connections}"
        );
        let alone = self.beside == Beside::default() || matches!(self.measure, Measure::Fanout(_));
        anyhow::ensure!(alone, "[beside] goes with [load] only");
        match self.measure {
            Measure::Fanout(load) => load.check(),
            Measure::Idle { settle_seconds } => within("settle", settle_seconds, 0, 600),
            Measure::Connects { in_flight } => within("in_flight", in_flight, 1, 65_535),
            Measure::Reconnects { rate, body_bytes, seconds, away_seconds } => {
                within("members", members, 2, 100_000)?;
                anyhow::ensure!(
                    self.socketio == 0.0,
                    "socketio: what comes by Socket.IO can't resume; 0, not {}",
                    self.socketio
                );
                within("away", away_seconds, 0, 60)?;
                // Before anything is added up of them.
                within("seconds", seconds, 1, LOAD_SECONDS_MAX / 2)?;
                let seconds = 2 * seconds + away_seconds;
                Load { rate, body_bytes, seconds, warm_up_seconds: 0, profile: Profile::Steady }.check()
            }
        }
    }
}

impl Load {
    fn check(&self) -> anyhow::Result<()> {
        within("seconds", self.seconds, 1, LOAD_SECONDS_MAX)?;
        within("warm_up", self.warm_up_seconds, 0, 600)?;
        within("rate", self.rate, 1, RATE_MAX)?;
        within("body", self.body_bytes, STAMP_BYTES, 4_096)?;
        match self.profile {
            Profile::Steady => {}
            Profile::Ramp { to } => within("ramp_to", to, 1, RATE_MAX)?,
            Profile::Steps { factor, at_most, p99_ms } => {
                within("steps: factor", factor, 1.01, 10.0)?;
                within("steps: at_most", at_most, 1, 100)?;
                within("steps: p99_ms", p99_ms, 0.1, 60_000.0)?;
                let rate_max = self.rate_max();
                anyhow::ensure!(
                    rate_max <= f64::from(RATE_MAX),
                    "steps: the last one may have a rate of at most {RATE_MAX} messages a second, not {rate_max:.0}"
                );
            }
        }
        let seconds = self.seconds_in_all();
        anyhow::ensure!(
            seconds <= u64::from(SECONDS_MAX),
            "seconds: at most {SECONDS_MAX} with steps and warm-up, not {seconds}"
        );
        let messages = crate::load::schedule::Schedule::new(self).messages();
        anyhow::ensure!(
            messages <= MESSAGES_MAX,
            "rate: at most {MESSAGES_MAX} messages in all, not {messages}"
        );
        Ok(())
    }
}

/// Refuses a number outside of its bounds, with its name first: by that its line is found in a file.
fn within<T: PartialOrd + std::fmt::Display>(name: &str, value: T, least: T, most: T) -> anyhow::Result<()> {
    anyhow::ensure!((&least..=&most).contains(&&value), "{name}: {least} to {most}, not {value}");
    Ok(())
}
