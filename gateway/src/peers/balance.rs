//! Whether this gateway has more connections than its share, and how many of them go elsewhere now: pure, so that time and the
//! others' words can be made up.
//!
//! Where a connection goes is the load balancer's choice: all that a gateway can do is to say `bye`. So it does that slowly, as many
//! as it has too many and no more, and then looks what came of it before it does so again: a balancer that sends them all back
//! makes the pauses longer, and is not fought.

use std::time::{Duration, Instant};

use hubbub_wire::tier::presence::Carried;

/// A gateway has clearly more than its share above this part of the mean,
const SHARE_MAX: f64 = 1.2;
/// and at least so many connections more: for fewer nobody is troubled.
const TOO_MANY_MIN: u64 = 50;
/// How long the gateways must have been the same ones, none of them ending: who was at one that ended or began is on the way.
const SETTLED: Duration = Duration::from_secs(15);
/// From the end of one round to the next, at least; doubled each time when a round was for nothing, up to the longest.
const PAUSE: Duration = Duration::from_secs(30);
const PAUSE_MAX: Duration = Duration::from_secs(3_600);

/// What a gateway makes of its own number of connections and the others'.
#[derive(Debug)]
pub struct Balance {
    per_second: u64,
    /// Since when the gateways are the same ones and at work.
    same_since: Option<Instant>,
    round: Option<Round>,
    /// No round before this.
    rests_until: Option<Instant>,
    pause: Duration,
    /// How many there were too many when the last round began, and how many it sent away.
    last: Option<(u64, u64)>,
}

/// So many are sent away, and then it is looked again.
#[derive(Debug)]
struct Round {
    too_many: u64,
    left: u64,
}

impl Balance {
    /// So many a second at most; 0: never any.
    pub fn new(per_second: u32) -> Self {
        Self {
            per_second: per_second.into(),
            same_since: None,
            round: None,
            rests_until: None,
            pause: PAUSE,
            last: None,
        }
    }

    /// A gateway came, went, or its silence is not understood.
    pub fn unsettle(&mut self) {
        (self.same_since, self.round) = (None, None);
    }

    /// How many connections are to go in this second. `others` have `None` for one that did not tell its load yet.
    pub fn turn(&mut self, now: Instant, here: Carried, others: &[Option<Carried>]) -> u64 {
        let told: Option<Vec<Carried>> = others.iter().copied().collect();
        let Some(told) = told.filter(|told| !here.ends && !told.iter().any(|load| load.ends)) else {
            self.unsettle();
            return 0;
        };
        let same_since = *self.same_since.get_or_insert(now);
        // One that takes nobody can't be given any.
        let takers: Vec<u64> = told.iter().filter(|load| load.takes).map(|load| load.connections).collect();
        if self.per_second == 0 || takers.is_empty() || now.duration_since(same_since) < SETTLED {
            return 0;
        }
        let mean = (here.connections + takers.iter().sum::<u64>()) / (takers.len() as u64 + 1);
        let too_many = here.connections.saturating_sub(mean);
        if self.round.is_none() && !self.begins(now, here.connections, mean) {
            return 0;
        }
        let round = self.round.get_or_insert(Round { too_many, left: too_many });
        // Others may have lost theirs meanwhile: never below the mean.
        let gone = self.per_second.min(round.left).min(too_many);
        round.left -= gone;
        if round.left == 0 || gone == 0 {
            self.last = Some((round.too_many, round.too_many - round.left));
            self.rests_until = Some(now + self.pause);
            self.round = None;
        }
        gone
    }

    fn begins(&mut self, now: Instant, here: u64, mean: u64) -> bool {
        let too_many = here.saturating_sub(mean);
        if self.rests_until.is_some_and(|until| now < until) {
            return false;
        }
        if too_many < TOO_MANY_MIN || (here as f64) < mean as f64 * SHARE_MAX {
            (self.pause, self.last) = (PAUSE, None);
            return false;
        }
        // Of those who were sent away a quarter at least must have stayed away, or it is for nothing.
        self.pause = match self.last {
            Some((before, sent)) if before.saturating_sub(too_many) < sent / 4 => {
                (self.pause * 2).min(PAUSE_MAX)
            }
            _ => PAUSE,
        };
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(connections: u64) -> Carried {
        Carried { connections, takes: true, ends: false }
    }

    /// Gateways and a load balancer that gives each who comes back to them by turns, or all to the first one. How many were sent
    /// away in so many seconds.
    struct World {
        now: Instant,
        gateways: Vec<(Balance, u64)>,
        turn: usize,
        is_unfair: bool,
    }

    impl World {
        fn of(connections: &[u64]) -> Self {
            let gateways = connections.iter().map(|count| (Balance::new(20), *count)).collect();
            Self { now: Instant::now(), gateways, turn: 0, is_unfair: false }
        }

        fn run(&mut self, seconds: u32) -> u64 {
            let mut sent = 0;
            for _ in 0..seconds {
                self.now += Duration::from_secs(1);
                let loads: Vec<_> = self.gateways.iter().map(|(_, count)| Some(load(*count))).collect();
                let mut coming = 0;
                for (n, (balance, count)) in self.gateways.iter_mut().enumerate() {
                    let others: Vec<_> =
                        loads.iter().enumerate().filter(|(m, _)| *m != n).map(|(_, l)| *l).collect();
                    let gone = balance.turn(self.now, load(*count), &others);
                    *count -= gone;
                    coming += gone;
                }
                for _ in 0..coming {
                    let to = if self.is_unfair { 0 } else { self.turn % self.gateways.len() };
                    self.gateways[to].1 += 1;
                    self.turn += 1;
                }
                sent += coming;
            }
            sent
        }

        fn counts(&self) -> Vec<u64> {
            self.gateways.iter().map(|(_, count)| *count).collect()
        }
    }

    #[test]
    fn a_new_gateway_gets_its_share_and_then_all_is_quiet() {
        let mut world = World::of(&[3_000, 3_000, 0]);
        assert_eq!(world.run(15), 0, "who was at one that began is on the way");
        let sent = world.run(1_000);
        let counts = world.counts();
        assert!(counts.iter().all(|count| (1_400..=2_400).contains(count)), "{counts:?}");
        assert!(sent < 5_000, "{sent}");
        assert_eq!(world.run(100_000), 0, "{counts:?} is even");
    }

    #[test]
    fn no_second_sends_away_more_than_it_may() {
        let mut world = World::of(&[3_000, 0]);
        assert!((0..500).all(|_| world.run(1) <= 20));
        let mut off = World::of(&[3_000, 0]);
        off.gateways[0].0 = Balance::new(0);
        assert_eq!(off.run(1_000), 0);
    }

    #[test]
    fn a_balancer_that_sends_all_back_is_not_fought() {
        let mut world = World::of(&[1_000, 0]);
        world.is_unfair = true;
        let first_day = world.run(86_400);
        // 500 in a round, at first each minute, at last each hour.
        assert!(first_day < 500 * 40, "{first_day}");
        world.is_unfair = false;
        world.run(20_000);
        assert!(world.counts()[0] < 700, "{:?}", world.counts());
    }

    #[test]
    fn small_differences_trouble_nobody() {
        assert_eq!(World::of(&[49, 0, 0]).run(1_000), 0);
        assert_eq!(World::of(&[1_150, 850]).run(1_000), 0);
    }

    #[test]
    fn while_one_ends_or_was_not_heard_nobody_is_sent_away() {
        let mut balance = Balance::new(20);
        let now = Instant::now();
        let at = |seconds| now + Duration::from_secs(seconds);
        let ending = Carried { ends: true, ..load(0) };
        for seconds in 0..100 {
            assert_eq!(balance.turn(at(seconds), load(1_000), &[Some(ending)]), 0);
            assert_eq!(balance.turn(at(seconds), load(1_000), &[Some(load(0)), None]), 0);
        }
        assert_eq!(balance.turn(at(100), load(1_000), &[Some(load(0))]), 0);
        assert_eq!(balance.turn(at(115), load(1_000), &[Some(load(0))]), 20);
        assert_eq!(balance.turn(at(116), Carried { ends: true, ..load(1_000) }, &[Some(load(0))]), 0);
    }

    #[test]
    fn one_that_takes_nobody_has_no_share_to_be_filled() {
        let mut balance = Balance::new(20);
        let now = Instant::now();
        let full = Carried { takes: false, ..load(0) };
        for seconds in 0..100 {
            assert_eq!(balance.turn(now + Duration::from_secs(seconds), load(1_000), &[Some(full)]), 0);
        }
    }
}
