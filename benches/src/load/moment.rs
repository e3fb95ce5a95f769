//! What was used and counted at one moment of a run.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;

use super::tally::{Counts, Tally};
use crate::procfs::{Usage, machine_cpu_seconds, own_thread_cpu};
use crate::targets::live::Live;

/// What is used and counted at one moment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    pub at: Instant,
    pub server: Option<Used>,
    pub database: Option<Usage>,
    pub own: Duration,
    pub machine: f64,
    pub counts: Counts,
}

/// What the server had used, and what had come by the time at which it said so.
#[derive(Debug, Clone, Copy)]
pub(super) struct Used {
    pub at: Instant,
    pub usage: Usage,
    pub counts: Counts,
}

/// A moment of which the server's part may still be on its way: whoever sends must not wait for it.
pub(super) struct Noted {
    moment: Moment,
    asked: Option<JoinHandle<Option<Used>>>,
}

/// What the server's CPU time between two moments was spent on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Spent {
    pub cpu_seconds: f64,
    pub seconds: f64,
    pub messages: u64,
    pub deliveries: u64,
}

impl Noted {
    /// Now. A server that is on this machine is read at once, one that says it itself is asked.
    pub fn now(live: &Rc<Live>, tally: &Rc<RefCell<Tally>>) -> anyhow::Result<Self> {
        let database = live.database_usage()?;
        let (at, own, machine) = (Instant::now(), own_thread_cpu(), machine_cpu_seconds()?);
        let counts = tally.borrow().counts;
        let usage = live.usage_of_processes()?;
        let server = usage.map(|usage| Used { at, usage, counts });
        let asked = live.says_it_itself().then(|| {
            let (live, tally) = (Rc::clone(live), Rc::clone(tally));
            tokio::task::spawn_local(async move {
                // A server that does not say it for a moment is no reason to stop a measurement.
                let usage = live.usage().await.ok().flatten()?;
                Some(Used { at: Instant::now(), usage, counts: tally.borrow().counts })
            })
        });
        Ok(Self { moment: Moment { at, server, database, own, machine, counts }, asked })
    }

    /// What is known of it without waiting.
    pub fn so_far(&self) -> &Moment {
        &self.moment
    }

    /// All of it, once the server has said its part or had its time for that.
    pub async fn whole(self) -> Moment {
        let server = match self.asked {
            Some(asked) => asked.await.ok().flatten(),
            None => self.moment.server,
        };
        Moment { server, ..self.moment }
    }
}

impl Moment {
    /// A moment of a target of which nothing is known, by when the generator had used so much.
    #[cfg(test)]
    pub fn of_generator(at: Instant, own: Duration) -> Self {
        Self { at, server: None, database: None, own, machine: 0.0, counts: Counts::default() }
    }

    /// Seconds, and the CPU seconds of the generator.
    pub fn until(&self, later: &Self) -> (f64, f64) {
        ((later.at - self.at).as_secs_f64(), (later.own - self.own).as_secs_f64())
    }

    /// What the server used, if it is known of both.
    pub fn spent_until(&self, later: &Self) -> Option<Spent> {
        let (from, to) = self.server.zip(later.server)?;
        Some(Spent {
            cpu_seconds: to.usage.cpu_seconds - from.usage.cpu_seconds,
            seconds: (to.at - from.at).as_secs_f64(),
            messages: to.counts.sent - from.counts.sent,
            deliveries: to.counts.deliveries - from.counts.deliveries,
        })
    }
}

impl Spent {
    /// CPU microseconds each of so many.
    pub fn us_each(&self, count: u64) -> f64 {
        self.cpu_seconds * 1e6 / count.max(1) as f64
    }
}
