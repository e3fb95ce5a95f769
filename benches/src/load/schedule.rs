//! When each message is due.

use std::time::Duration;

use crate::scenario::{Load, Profile};

/// A stretch of time over which the rate stays or changes evenly.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Phase {
    /// The first message.
    pub first: u64,
    /// The first one that is not of it.
    pub end: u64,
    /// When it begins, from the start of the run.
    pub begins: Duration,
    /// When it ends.
    pub ends: Duration,
    /// Messages a second at its begin.
    pub from: f64,
    /// And at its end.
    pub to: f64,
}

impl Phase {
    /// Behind `last`, or at the start of the run.
    fn after(last: Option<&Self>, from: f64, to: f64, seconds: u32) -> Self {
        let (first, begins) = last.map_or((0, Duration::ZERO), |last| (last.end, last.ends));
        let messages = (f64::midpoint(from, to) * f64::from(seconds)).round().max(1.0) as u64;
        let ends = begins + Duration::from_secs(seconds.into());
        Self { first, end: first + messages, begins, ends, from, to }
    }

    /// The first message of it that is due at `at` or later. Of a phase whose rate stays, as a step's does.
    pub fn first_due_at(&self, at: Duration) -> u64 {
        let passed = at.saturating_sub(self.begins).as_secs_f64();
        (self.first + (passed * self.from).ceil() as u64).min(self.end)
    }

    /// When a message of it is due. The n-th one is when n have been asked for: from·t + (to − from)/2T·t² = n.
    fn due(&self, index: u64) -> Duration {
        let n = (index - self.first) as f64;
        let seconds = (self.ends - self.begins).as_secs_f64();
        let bend = (self.to - self.from) / (2.0 * seconds);
        let t = if bend == 0.0 {
            n / self.from
        } else {
            ((self.from * self.from + 4.0 * bend * n).max(0.0).sqrt() - self.from) / (2.0 * bend)
        };
        self.begins + Duration::from_secs_f64(t.clamp(0.0, seconds))
    }
}

/// The phases of a run, the warm-up first if there is one.
#[derive(Debug, Clone)]
pub struct Schedule {
    phases: Vec<Phase>,
    warm_up: usize,
    /// How late a delivery may be; for ever, where nothing is said of it.
    limit: Duration,
}

impl Schedule {
    /// Of a load.
    pub fn new(load: &Load) -> Self {
        let mut phases: Vec<Phase> = Vec::new();
        let rate = f64::from(load.rate);
        let mut add = |from, to, seconds| phases.push(Phase::after(phases.last(), from, to, seconds));
        if load.warm_up_seconds > 0 {
            add(rate, rate, load.warm_up_seconds);
        }
        match load.profile {
            Profile::Steady => add(rate, rate, load.seconds),
            Profile::Ramp { to } => add(rate, to.into(), load.seconds),
            Profile::Steps { factor, at_most, .. } => {
                let mut of_step = rate;
                for _ in 0..at_most {
                    add(of_step, of_step, load.seconds);
                    of_step *= factor;
                }
            }
        }
        let limit = match load.profile {
            Profile::Steps { p99_ms, .. } => Duration::from_secs_f64(p99_ms / 1_000.0),
            Profile::Steady | Profile::Ramp { .. } => Duration::MAX,
        };
        Self { phases, warm_up: usize::from(load.warm_up_seconds > 0), limit }
    }

    /// The phase that is not measured.
    pub fn warm_up(&self) -> Option<&Phase> {
        self.phases[..self.warm_up].first()
    }

    /// Those that are.
    pub fn measured(&self) -> &[Phase] {
        &self.phases[self.warm_up..]
    }

    /// Which of the measured phases has what is due then; none of them has the warm-up's.
    pub fn measured_at(&self, due: Duration) -> Option<usize> {
        let at = self.phases.partition_point(|phase| phase.ends <= due);
        at.min(self.phases.len().saturating_sub(1)).checked_sub(self.warm_up)
    }

    /// How late a delivery may be.
    pub fn limit(&self) -> Duration {
        self.limit
    }

    /// Messages of the whole run.
    pub fn messages(&self) -> u64 {
        self.phases.last().map_or(0, |last| last.end)
    }

    /// How long the run takes.
    pub fn takes(&self) -> Duration {
        self.phases.last().map_or(Duration::ZERO, |last| last.ends)
    }

    /// When a message is due, from the start of the run; one that is none, at the end.
    pub fn due(&self, index: u64) -> Duration {
        let at = self.phases.partition_point(|phase| phase.end <= index);
        self.phases.get(at).map_or(self.takes(), |phase| phase.due(index))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(profile: Profile) -> Load {
        Load { rate: 100, body_bytes: 128, seconds: 10, warm_up_seconds: 2, profile }
    }

    #[test]
    fn a_steady_load_is_due_evenly() {
        let schedule = Schedule::new(&load(Profile::Steady));
        assert_eq!(schedule.messages(), 1_200);
        assert_eq!(schedule.due(0), Duration::ZERO);
        assert_eq!(schedule.due(250), Duration::from_millis(2_500));
        assert_eq!((schedule.warm_up().map(|phase| phase.end), schedule.measured().len()), (Some(200), 1));
    }

    #[test]
    fn a_ramp_begins_slow_and_ends_fast_and_never_goes_back() {
        for (to, messages) in [(300, 200 + 2_000), (10, 200 + 550)] {
            let schedule = Schedule::new(&load(Profile::Ramp { to }));
            assert_eq!(schedule.messages(), messages);
            let dues: Vec<f64> = (0..messages).map(|index| schedule.due(index).as_secs_f64()).collect();
            assert!(dues.is_sorted(), "to {to}");
            let within =
                |from: f64, to: f64| dues.iter().filter(|due| (from..to).contains(*due)).count() as f64;
            let (first, last) = (within(2.0, 3.0), within(11.0, 12.0));
            assert!((first - 100.0).abs() < 12.0 && (last - f64::from(to)).abs() < 12.0, "{first}, {last}");
        }
    }

    #[test]
    fn steps_follow_each_other_without_a_hole() {
        let profile = Profile::Steps { factor: 2.0, at_most: 3, p99_ms: 100.0 };
        let schedule = Schedule::new(&load(profile));
        let ends: Vec<u64> = schedule.measured().iter().map(|phase| phase.end).collect();
        assert_eq!(ends, [1_200, 3_200, 7_200]);
        assert_eq!(schedule.due(1_200), Duration::from_secs(12));
        assert_eq!(schedule.due(3_200 + 400), Duration::from_secs(23));
        assert_eq!(schedule.takes(), Duration::from_secs(32));
        let at = |ms| schedule.measured_at(Duration::from_millis(ms));
        assert_eq!([at(1_999), at(2_000), at(12_000), at(99_000)], [None, Some(0), Some(1), Some(2)]);
        let first_at = |ms| schedule.measured()[1].first_due_at(Duration::from_millis(ms));
        assert_eq!([first_at(11_000), first_at(21_900), first_at(22_000)], [1_200, 3_180, 3_200]);
    }
}
