//! Asking again: whom, and for how long, when nobody answered, nobody was there, or somebody else is to be asked by now.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use ::metrics::counter;
use hubbub_core::ports::bus::{Bus, BusError, Message, Payload, Subject};
use hubbub_node::backoff::Backoff;
use hubbub_wire::tier::act::Told;
use hubbub_wire::tier::bots::ToldBots;
use hubbub_wire::tier::parcel;
use hubbub_wire::tier::query::Found;
use tokio::time::Instant;

use crate::error::Failure;
use crate::metrics;
use crate::pool::Pool;

/// Pauses before the retries to a partition that nobody holds just now.
const PAUSES: Backoff = Backoff::new(Duration::from_millis(5), Duration::from_millis(100));

/// How long an answer is waited for before what may be asked twice is asked again: its holder may have died with the
/// question, and the next one has not heard it. It doubles each time.
pub(crate) const ASK_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// A request that is tried until it is answered.
pub(crate) struct Again {
    pub(crate) bus: Arc<dyn Bus>,
    /// What was asked last.
    pub(crate) subject: Subject,
    /// Those who serve alike, if another one may be asked as well.
    pub(crate) pool: Option<Pool>,
    pub(crate) message: Message,
    pub(crate) twice: bool,
    pub(crate) nobody: (Duration, Failure),
    pub(crate) began: Instant,
    pub(crate) timeout: Duration,
    pub(crate) patience: Duration,
}

impl Again {
    fn left(&self) -> Duration {
        self.timeout.saturating_sub(self.began.elapsed())
    }

    /// Makes one try now, and calls `then` with what came of it. To be called within a runtime.
    pub(crate) fn try_then<T: Header>(self, then: impl FnOnce(Tried<T>) + Send + 'static) {
        let (bus, subject, message) = (self.bus.clone(), self.subject.clone(), self.message.clone());
        let patience = self.patience.min(self.left());
        let answered = move |answer| {
            then(match judge(answer, self.twice) {
                ControlFlow::Break(done) => Tried::Done(done),
                ControlFlow::Continue(missed) => Tried::Missed(Box::new(self), missed),
            });
        };
        bus.ask(&subject, message, patience, Box::new(answered));
    }

    /// Makes the first try now, and calls `then` with what came of it or of those after it. To be called within a runtime.
    pub(crate) fn ask_then<T: Header>(
        self,
        then: impl FnOnce(Result<(T, Payload), Failure>) + Send + 'static,
    ) {
        self.try_then(move |tried| match tried {
            Tried::Done(done) => then(done),
            Tried::Missed(again, missed) => {
                tokio::spawn(async move { then(again.ask(Some(missed)).await) });
            }
        });
    }

    /// Asks until there is an answer, or no time left. `missed` is what the last try lacked, if there was one.
    pub(crate) async fn ask<T: Header>(
        mut self,
        mut missed: Option<Missed>,
    ) -> Result<(T, Payload), Failure> {
        let mut backoff = PAUSES;
        loop {
            if let Some(missed) = missed {
                self.prepare(missed, &mut backoff).await?;
                counter!(metrics::ASKED_AGAIN).increment(1);
            }
            let left = self.left();
            if left.is_zero() {
                return Err(Failure::Unavailable);
            }
            let answer = self.bus.request(&self.subject, self.message.clone(), self.patience.min(left));
            match judge(answer.await, self.twice) {
                ControlFlow::Break(done) => return done,
                ControlFlow::Continue(next) => missed = Some(next),
            }
        }
    }

    /// Sees to whom the next try goes, and when.
    async fn prepare(&mut self, missed: Missed, backoff: &mut Backoff) -> Result<(), Failure> {
        // That one of several does not serve says nothing of the others.
        let nobody_serves = self.pool.as_ref().is_none_or(|pool| pool.is_shared(&self.subject));
        if let Some(pool) = &self.pool {
            self.subject = match missed {
                Missed::Answer => pool.after_silence(&self.subject),
                Missed::Server | Missed::Holder => pool.after_absence(),
            };
        }
        match missed {
            Missed::Answer => self.patience *= 2,
            Missed::Server if nobody_serves && self.began.elapsed() >= self.nobody.0 => {
                return Err(self.nobody.1.clone());
            }
            Missed::Server | Missed::Holder => backoff.pause().await,
        }
        Ok(())
    }
}

/// What came of one try.
pub(crate) enum Tried<T> {
    Done(Result<(T, Payload), Failure>),
    /// Another one may be made.
    Missed(Box<Again>, Missed),
}

/// What a try lacked.
pub(crate) enum Missed {
    /// Nobody answered in time.
    Answer,
    /// Nobody serves it just now.
    Server,
    /// The one who was asked is the wrong one by now.
    Holder,
}

/// What an answer means: it is one, or a try is to be made again.
fn judge<T: Header>(
    answer: Result<Payload, BusError>,
    twice: bool,
) -> ControlFlow<Result<(T, Payload), Failure>, Missed> {
    match answer {
        Err(BusError::TimedOut) => ControlFlow::Continue(Missed::Answer),
        Err(BusError::NoResponders) => ControlFlow::Continue(Missed::Server),
        Err(error) => ControlFlow::Break(Err(error.into())),
        Ok(mut payload) => match parcel::header::<T>(&mut payload) {
            Ok(header) if header.has_moved() && twice => ControlFlow::Continue(Missed::Holder),
            Ok(header) => ControlFlow::Break(Ok((header, payload))),
            Err(bad) => ControlFlow::Break(Err(bad.into())),
        },
    }
}

/// What an answer begins with.
pub(crate) trait Header: serde::de::DeserializeOwned + Clone + Send + Sync + 'static {
    /// Whether it is for somebody else to answer now.
    fn has_moved(&self) -> bool;
}

impl Header for Told {
    fn has_moved(&self) -> bool {
        matches!(self, Self::Moved)
    }
}

impl Header for ToldBots {
    fn has_moved(&self) -> bool {
        false
    }
}

impl Header for Found {
    fn has_moved(&self) -> bool {
        false
    }
}
