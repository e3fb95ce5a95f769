//! Requests under way: who hears each answer, and when it is given up.
//!
//! One task watches over all deadlines: a future, a task and a timer for each request were a sixteenth of what is done for a
//! message.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use hubbub_core::ports::bus::{Answered, BusError, Payload};
use slab::Slab;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

/// Deadlines of what was answered stay for as many again as wait, and this many more, before they are swept out.
const STALE_MAX: usize = 1_024;

/// The requests of one bus.
#[derive(Default)]
pub(super) struct Asks {
    state: Mutex<State>,
    /// Told when a deadline comes before all others, and at the end.
    sooner: Arc<Notify>,
}

#[derive(Default)]
struct State {
    under_way: Slab<Ask>,
    deadlines: BinaryHeap<Reverse<(Instant, Ticket)>>,
    serial: u64,
    is_watched: bool,
}

struct Ask {
    serial: u64,
    answered: Answered,
}

/// Names a request, and no other one after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Ticket {
    serial: u64,
    slot: usize,
}

impl fmt::Display for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.slot, self.serial)
    }
}

impl FromStr for Ticket {
    type Err = ();

    fn from_str(name: &str) -> Result<Self, ()> {
        let (slot, serial) = name.split_once('-').ok_or(())?;
        Ok(Self { serial: serial.parse().map_err(drop)?, slot: slot.parse().map_err(drop)? })
    }
}

impl State {
    fn take(&mut self, ticket: Ticket) -> Option<Answered> {
        is_under_way(&self.under_way, ticket).then(|| self.under_way.remove(ticket.slot).answered)
    }

    /// Lets go of deadlines of what was answered. Rarely, so that it costs each of them next to nothing.
    fn sweep(&mut self) {
        if self.deadlines.len() > 2 * self.under_way.len() + STALE_MAX {
            self.deadlines.retain(|Reverse((_, ticket))| is_under_way(&self.under_way, *ticket));
        }
    }
}

fn is_under_way(asks: &Slab<Ask>, ticket: Ticket) -> bool {
    asks.get(ticket.slot).is_some_and(|ask| ask.serial == ticket.serial)
}

impl Asks {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing that can panic happens under the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request begins. It is over with [`Asks::end`], or as timed out. To be called within a runtime.
    pub(super) fn begin(self: &Arc<Self>, timeout: Duration, answered: Answered) -> Ticket {
        let deadline = Instant::now() + timeout;
        let mut state = self.lock();
        state.serial += 1;
        let serial = state.serial;
        let ticket = Ticket { serial, slot: state.under_way.insert(Ask { serial, answered }) };
        state.sweep();
        state.deadlines.push(Reverse((deadline, ticket)));
        let is_first = state.deadlines.peek().is_some_and(|Reverse((_, first))| *first == ticket);
        let is_watched = std::mem::replace(&mut state.is_watched, true);
        drop(state);
        if !is_watched {
            tokio::spawn(watch(Watching(Arc::downgrade(self)), self.sooner.clone()));
        } else if is_first {
            self.sooner.notify_one();
        }
        ticket
    }

    /// A request is answered, unless it was, or is given up.
    pub(super) fn end(&self, ticket: Ticket, answer: Result<Payload, BusError>) {
        let answered = self.lock().take(ticket);
        if let Some(answered) = answered {
            answered(answer);
        }
    }

    /// Gives up what is over its time; says when to look again.
    fn give_up(&self) -> Option<Instant> {
        let now = Instant::now();
        loop {
            let mut state = self.lock();
            let Reverse((deadline, ticket)) = *state.deadlines.peek()?;
            if deadline > now && is_under_way(&state.under_way, ticket) {
                return Some(deadline);
            }
            state.deadlines.pop();
            let answered = state.take(ticket);
            drop(state);
            if let Some(answered) = answered {
                answered(Err(BusError::TimedOut));
            }
        }
    }
}

impl Drop for Asks {
    fn drop(&mut self) {
        self.sooner.notify_one();
    }
}

/// Says, even if its runtime ends, that nobody watches any more.
struct Watching(Weak<Asks>);

impl Drop for Watching {
    fn drop(&mut self) {
        if let Some(asks) = self.0.upgrade() {
            asks.lock().is_watched = false;
        }
    }
}

async fn watch(watching: Watching, sooner: Arc<Notify>) {
    loop {
        let Some(next) = watching.0.upgrade().map(|asks| asks.give_up()) else { return };
        match next {
            None => sooner.notified().await,
            Some(at) => tokio::select! {
                () = sooner.notified() => {}
                () = sleep_until(at) => {}
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use tokio::sync::oneshot;

    use super::*;

    fn ask(asks: &Arc<Asks>, ms: u64) -> (Ticket, mpsc::Receiver<Result<Payload, BusError>>) {
        let (to, from) = mpsc::channel();
        let ticket = asks.begin(Duration::from_millis(ms), Box::new(move |answer| _ = to.send(answer)));
        (ticket, from)
    }

    #[tokio::test(start_paused = true)]
    async fn each_is_given_up_in_its_own_time_and_once() {
        let asks = Arc::<Asks>::default();
        let (late, of_late) = ask(&asks, 1_000);
        let (_, of_soon) = ask(&asks, 100);
        let (answered, of_answered) = ask(&asks, 50);
        asks.end(answered, Ok(Payload::default()));
        assert!(of_answered.try_recv().unwrap().is_ok());
        // Its place is another's by now, and an old answer is nobody's.
        let (again, of_again) = ask(&asks, 5_000);
        assert_eq!((again.slot, answered.to_string().parse()), (answered.slot, Ok(answered)));
        asks.end(answered, Ok(Payload::default()));
        tokio::time::sleep(Duration::from_millis(101)).await;
        assert!(matches!(of_soon.try_recv(), Ok(Err(BusError::TimedOut))));
        assert!([of_late.try_recv(), of_again.try_recv(), of_answered.try_recv()].iter().all(Result::is_err));
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(matches!(of_late.try_recv(), Ok(Err(BusError::TimedOut))));
        asks.end(late, Ok(Payload::default()));
        assert!(of_late.try_recv().is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn deadlines_of_what_was_answered_do_not_pile_up() {
        let asks = Arc::<Asks>::default();
        let (_, of_first) = ask(&asks, 60_000);
        for _ in 0..100_000 {
            let (ticket, _of_it) = ask(&asks, 60_000);
            asks.end(ticket, Ok(Payload::default()));
        }
        let deadlines = asks.lock().deadlines.len();
        assert!(deadlines <= STALE_MAX + 3, "{deadlines}");
        tokio::time::sleep(Duration::from_millis(60_001)).await;
        assert!(matches!(of_first.try_recv(), Ok(Err(BusError::TimedOut))), "what waits is not swept out");
    }

    #[test]
    fn the_end_of_the_runtime_that_watched_is_not_the_end_of_deadlines() {
        let asks = Arc::<Asks>::default();
        let runtime = || tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let first = runtime();
        first.block_on(async { ask(&asks, 60_000).0 });
        drop(first);
        let (to, told) = oneshot::channel();
        let told = runtime().block_on(async {
            asks.begin(Duration::from_millis(10), Box::new(move |answer| _ = to.send(answer)));
            tokio::time::timeout(Duration::from_secs(10), told).await
        });
        assert!(matches!(told, Ok(Ok(Err(BusError::TimedOut)))), "{told:?}");
    }
}
