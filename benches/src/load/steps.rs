//! Whether a step of a load that grows was held: by what was due in it. What came says nothing of what did not come.

use std::time::Duration;

use super::outcome::{Generator, Held};
use super::schedule::Phase;
use super::tally::OfPhase;

/// Less than this of a step's deliveries within the step: the server falls behind.
const SHARE_MIN_PERCENT: u64 = 90;
/// So many of a step's deliveries must come in time, for its p99 to be one of what was due.
const IN_TIME_MIN_PERCENT: u64 = 99;

/// What was due in a step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Due {
    /// Messages.
    messages: u64,
    /// Deliveries of them.
    deliveries: u64,
    /// Of those, the ones that may still be in time after the step's end.
    latest: u64,
    /// How late 99 of 100 of them may be.
    limit: Duration,
}

impl Due {
    /// In a phase, of which each message is delivered so many times, each at most so late.
    pub fn of(phase: &Phase, members: usize, limit: Duration) -> Self {
        let messages = phase.end - phase.first;
        let latest = phase.end - phase.first_due_at(phase.ends.saturating_sub(limit));
        let members = members as u64;
        Self { messages, deliveries: messages * members, latest: latest * members, limit }
    }
}

/// A step that has ended. What is under way then belongs to it, and is waited for while the next one goes on.
#[derive(Debug)]
pub(super) struct Step {
    held: Held,
    due: Due,
    at_end: OfPhase,
}

impl Step {
    /// A step of which this much came by its end.
    pub fn new(held: Held, due: Due, at_end: OfPhase, generator: &Generator) -> Self {
        let offered = generator.lateness.map_or(0, |lateness| lateness.count);
        let is_limit = generator.was_the_limit || offered < due.messages;
        let mut step = Self { held, due, at_end };
        step.held.generator_was_the_limit = is_limit;
        // What is under way may come yet.
        let last = OfPhase { came: at_end.came + step.under_way(), ..at_end };
        step.held.not_held = if is_limit {
            Some("the generator was itself the limit, the target may hold more".to_owned())
        } else {
            step.fails(last)
        };
        step
    }

    /// Whether the load may grow further.
    pub fn is_held(&self) -> bool {
        self.held.not_held.is_none()
    }

    /// What is to be said of it when nothing comes any more, and it is known what a delivery cost.
    pub fn end(mut self, last: OfPhase, cpu_us_a_delivery: Option<f64>) -> Held {
        self.held.cpu_us_a_delivery = cpu_us_a_delivery;
        if self.is_held() {
            self.held.not_held = self.fails(last);
        }
        self.held
    }

    /// Deliveries that were missing at the end, and could have been in time.
    fn under_way(&self) -> u64 {
        self.due.deliveries.saturating_sub(self.at_end.came).min(self.due.latest)
    }

    /// Why the target did not hold it, by what had come of it in the end.
    fn fails(&self, last: OfPhase) -> Option<String> {
        let deliveries = self.due.deliveries;
        let limit_ms = self.due.limit.as_secs_f64() * 1_000.0;
        let percent = |of: u64| of as f64 * 100.0 / deliveries.max(1) as f64;
        // What came after the end is taken as in time, for the next step delays it; but it must have come.
        let in_time = self.at_end.in_time + last.came.saturating_sub(self.at_end.came).min(self.under_way());
        if last.refused > 0 {
            Some(format!("{} sends were refused", last.refused))
        } else if self.at_end.came * 100 < deliveries * SHARE_MIN_PERCENT {
            Some(format!("{:.0} % of the deliveries came within the step", percent(self.at_end.came)))
        } else if in_time * 100 < deliveries * IN_TIME_MIN_PERCENT {
            let p99 = self.held.delivery.map(|delivery| delivery.p99_ms).filter(|p99| *p99 > limit_ms);
            Some(match p99 {
                Some(p99) => format!("p99 {p99:.0} ms"),
                // Of those that came it is within the limit: it is the others.
                None => {
                    // Not rounded up to what would have been enough.
                    let percent = (percent(in_time) * 10.0).floor() / 10.0;
                    format!("{percent:.1} % of the deliveries that were due came within {limit_ms} ms")
                }
            })
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests;
