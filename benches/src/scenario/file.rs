//! Scenario files: the ready ones, which are built in and known by name, and any other by its path.

use std::path::Path;

use anyhow::{Context, bail, ensure};
use serde::Deserialize;

use super::{Beside, Load, Measure, Profile, Scenario, Shape};

/// A ready scenario's name and text.
type Ready = (&'static str, &'static str);

macro_rules! ready {
    ($($name:literal)*) => {
        [$(($name, include_str!(concat!("../../scenarios/", $name, ".toml")))),*]
    };
}

/// The ready ones.
pub const READY: [Ready; 8] =
    ready!("s1" "s2" "idle" "idle-10000" "connects" "reconnects" "saturation" "day");

/// What the command line changes of a scenario; `None` leaves it as it is.
#[derive(Debug, Clone, Copy, Default)]
pub struct Knobs {
    /// Seconds that are measured.
    pub seconds: Option<u32>,
    /// Seconds before them.
    pub warm_up_seconds: Option<u32>,
    /// Bytes of a message's text.
    pub body_bytes: Option<usize>,
    /// Connections of a scenario in which nothing is said.
    pub connections: Option<usize>,
    /// How many connects are under way at a time.
    pub in_flight: Option<usize>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    about: String,
    rooms: usize,
    members: usize,
    #[serde(default)]
    socketio: f64,
    load: Option<LoadPart>,
    idle: Option<IdlePart>,
    connects: Option<ConnectsPart>,
    reconnects: Option<ReconnectsPart>,
    #[serde(default)]
    beside: Beside,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LoadPart {
    rate: u32,
    #[serde(default = "body")]
    body: usize,
    seconds: u32,
    #[serde(default)]
    warm_up: u32,
    ramp_to: Option<u32>,
    steps: Option<StepsPart>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StepsPart {
    factor: f64,
    at_most: u32,
    p99_ms: f64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct IdlePart {
    settle: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ConnectsPart {
    in_flight: usize,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReconnectsPart {
    rate: u32,
    #[serde(default = "body")]
    body: usize,
    seconds: u32,
    away: u32,
}

fn body() -> usize {
    128
}

impl Scenario {
    /// The ready scenario of that name, or the one in that file: what has a `/` or ends with `.toml` is a path.
    pub fn find(name: &str, knobs: &Knobs) -> anyhow::Result<Self> {
        if name.contains('/') || name.ends_with(".toml") {
            let path = Path::new(name);
            let text = std::fs::read_to_string(path).with_context(|| format!("reading {name}"))?;
            let stem = path.file_stem().map_or_else(|| name.into(), |stem| stem.to_string_lossy());
            return Self::read(&stem, &text, knobs).with_context(|| format!("the scenario {name}"));
        }
        let Some((_, text)) = READY.iter().find(|(ready, _)| *ready == name) else {
            let names = READY.map(|(name, _)| name).join(", ");
            bail!("no scenario {name}: {names}, or the path of a file");
        };
        Self::read(name, text, knobs)
    }

    /// Reads a file's text.
    pub fn read(name: &str, text: &str, knobs: &Knobs) -> anyhow::Result<Self> {
        let file: File = toml::from_str(text)?;
        let mut shape = Shape { rooms: file.rooms, members: file.members };
        let mut parts = [
            file.load.map(|part| part.measure(knobs)).transpose()?,
            file.idle.map(|part| Measure::Idle { settle_seconds: part.settle }),
            file.connects
                .map(|part| Measure::Connects { in_flight: knobs.in_flight.unwrap_or(part.in_flight) }),
            file.reconnects.map(|part| Measure::Reconnects {
                rate: part.rate,
                body_bytes: knobs.body_bytes.unwrap_or(part.body),
                seconds: knobs.seconds.unwrap_or(part.seconds),
                away_seconds: part.away,
            }),
        ]
        .into_iter()
        .flatten();
        let measure =
            parts.next().context("one of [load], [idle], [connects], [reconnects] must be there")?;
        ensure!(parts.next().is_none(), "one of [load], [idle], [connects], [reconnects], not several");
        if let (Some(connections), false) = (knobs.connections, matches!(measure, Measure::Fanout(_))) {
            shape = Shape::herd(connections);
        }
        let scenario = Self {
            name: name.to_owned(),
            about: file.about,
            shape,
            socketio: file.socketio,
            measure,
            beside: file.beside,
        };
        scenario.check().map_err(|error| match line_of(text, &error.to_string()) {
            Some(line) => error.context(format!("line {line}")),
            None => error,
        })?;
        Ok(scenario)
    }
}

/// The line that gives what a complaint begins with, as in `rate: …` or `[beside] …`. What the command line changed may have none.
fn line_of(text: &str, complaint: &str) -> Option<usize> {
    let name = complaint.split([':', ' ']).next()?;
    let gives = |line: &str| {
        let line = line.trim_start();
        line.strip_prefix(name)
            .is_some_and(|rest| name.starts_with('[') || rest.trim_start().starts_with('='))
    };
    text.lines().position(gives).map(|at| at + 1)
}

impl LoadPart {
    fn measure(self, knobs: &Knobs) -> anyhow::Result<Measure> {
        let profile = match (self.ramp_to, self.steps) {
            (None, None) => Profile::Steady,
            (Some(to), None) => Profile::Ramp { to },
            (None, Some(StepsPart { factor, at_most, p99_ms })) => Profile::Steps { factor, at_most, p99_ms },
            (Some(_), Some(_)) => bail!("ramp_to or steps, not both"),
        };
        Ok(Measure::Fanout(Load {
            rate: self.rate,
            body_bytes: knobs.body_bytes.unwrap_or(self.body),
            seconds: knobs.seconds.unwrap_or(self.seconds),
            warm_up_seconds: knobs.warm_up_seconds.unwrap_or(self.warm_up),
            profile,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_ready_scenario_can_be_read_and_says_what_it_is_for() {
        for (name, _) in READY {
            let scenario = Scenario::find(name, &Knobs::default()).expect(name);
            assert!(scenario.name == name && !scenario.about.is_empty(), "{scenario:?}");
        }
    }

    #[test]
    fn the_command_line_has_the_last_word() {
        let knobs = Knobs { seconds: Some(3), body_bytes: Some(64), ..Knobs::default() };
        let scenario = Scenario::find("s1", &knobs).expect("a scenario");
        let Measure::Fanout(load) = scenario.measure else { panic!("{scenario:?}") };
        assert_eq!((load.rate, load.seconds, load.body_bytes), (40, 3, 64));
        let knobs = Knobs { connections: Some(20), ..Knobs::default() };
        assert_eq!(Scenario::find("idle", &knobs).expect("a scenario").shape, Shape::herd(20));
        assert_eq!(
            Scenario::find("s1", &knobs).expect("a scenario").shape,
            Shape { rooms: 1, members: 1_000 }
        );
    }

    #[test]
    fn what_has_no_bound_or_makes_no_sense_is_refused() {
        let head = "about = \"a\"\nrooms = 1\nmembers = 2\n";
        for (body, why) in [
            ("", "must be there"),
            ("[load]\nrate = 1\nseconds = 1\n[idle]\nsettle = 1", "not several"),
            ("[load]\nrate = 0\nseconds = 1", "line 5: rate: 1 to 1000000, not 0"),
            ("[load]\nrate = 0\nramp_to = 500\nseconds = 1", "line 5: rate: 1 to 1000000, not 0"),
            ("[load]\nrate = 9\nramp_to = 0\nseconds = 1", "line 6: ramp_to: 1 to 1000000, not 0"),
            ("[load]\nrate = 9\nseconds = 1\n[beside]\nchurn = -1.0", "line 8: churn: 0 to 100000, not -1"),
            ("socketio = 1.5\n[load]\nrate = 9\nseconds = 1", "line 4: socketio: 0 to 1, not 1.5"),
            (
                "[reconnects]\nrate = 9\nseconds = 2147483648\naway = 3",
                "line 6: seconds: 1 to 1800, not 2147483648",
            ),
            ("[load]\nrate = 1\nseconds = 4000", "line 6: seconds"),
            ("[load]\nrate = 900000\nseconds = 3000", "messages"),
            ("[load]\nrate = 1\nseconds = 1\nbody = 8", "body"),
            ("[load]\nrate = 1\nseconds = 1\nspeed = 9", "unknown field"),
            ("[load]\nrate = 9\nseconds = 1\nsteps = { factor = 10.0, at_most = 100, p99_ms = 9.0 }", "rate"),
            ("[load]\nrate = 1\nseconds = 1\n[beside]\nidle = 300000", "line 8: idle"),
            ("[idle]\nsettle = 1\n[beside]\nchurn = 1.0", "line 6: [beside]"),
        ] {
            let error = Scenario::read("x", &format!("{head}{body}"), &Knobs::default()).expect_err(body);
            assert!(format!("{error:#}").contains(why), "{body}: {error:#}");
        }
    }
}
