//! The requests that have no answer yet: when each is to be sent again, and when it is given up.
//!
//! A request keeps its `ref` and its text for as long as it lives, so that what is sent again is the same request.

use std::collections::{BTreeMap, BTreeSet};

use hubbub_core::ids::RoomId;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::Error;

/// Where the answer's text goes.
pub(crate) type Reply = oneshot::Sender<Result<String, Error>>;

/// What a good answer changes beside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Effect {
    None,
    /// We made a room and are its first member.
    Created,
    Joined(RoomId),
    Left(RoomId),
}

#[derive(Debug)]
pub(crate) struct Request {
    text: String,
    pub(crate) effect: Effect,
    deadline: Instant,
    /// How often it was refused for now.
    pub(crate) refusals: u32,
    due: Option<Instant>,
    reply: Reply,
}

impl Request {
    pub(crate) fn new(text: String, effect: Effect, deadline: Instant, reply: Reply) -> Self {
        Self { text, effect, deadline, refusals: 0, due: None, reply }
    }

    /// Ends it. A caller that has gone away doesn't mind.
    pub(crate) fn finish(self, result: Result<String, Error>) {
        let _ = self.reply.send(result);
    }
}

/// Requests by `ref`. Deadlines rise with it: all requests of a client have the same time.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    last_reference: u64,
    requests: BTreeMap<u64, Request>,
    due: BTreeSet<(Instant, u64)>,
}

impl Pending {
    /// The `ref` of the next request: 1, 2, 3 …
    pub(crate) fn next_reference(&mut self) -> u64 {
        self.last_reference += 1;
        self.last_reference
    }

    /// Whether a request of this `ref` was ever made.
    pub(crate) fn was_asked(&self, reference: u64) -> bool {
        reference <= self.last_reference
    }

    pub(crate) fn add(&mut self, reference: u64, request: Request) {
        self.requests.insert(reference, request);
    }

    /// Takes the request that this answers.
    pub(crate) fn answered(&mut self, reference: u64) -> Option<Request> {
        let request = self.requests.remove(&reference)?;
        if let Some(due) = request.due {
            self.due.remove(&(due, reference));
        }
        Some(request)
    }

    /// Puts a request back that is to be sent again at `due`; gives it back if that is not before its deadline.
    pub(crate) fn retry(
        &mut self,
        reference: u64,
        mut request: Request,
        due: Instant,
    ) -> Result<(), Request> {
        if due >= request.deadline {
            return Err(request);
        }
        request.refusals += 1;
        request.due = Some(due);
        self.due.insert((due, reference));
        self.requests.insert(reference, request);
        Ok(())
    }

    /// The texts of the requests that are due by `now`.
    pub(crate) fn take_due(&mut self, now: Instant) -> Vec<String> {
        let mut texts = Vec::new();
        while let Some((due, reference)) = self.due.first().copied()
            && due <= now
        {
            self.due.remove(&(due, reference));
            if let Some(request) = self.requests.get_mut(&reference) {
                request.due = None;
                texts.push(request.text.clone());
            }
        }
        texts
    }

    /// There is no connection: nothing is due before the next one, and all of it then.
    pub(crate) fn await_connection(&mut self) {
        self.due.clear();
        self.requests.values_mut().for_each(|request| request.due = None);
    }

    /// The texts of all requests, oldest first: for a new connection. One whose caller is gone is dropped.
    pub(crate) fn all(&mut self) -> Vec<String> {
        self.requests.retain(|_, request| !request.reply.is_closed());
        self.requests.values().map(|request| request.text.clone()).collect()
    }

    /// Ends what has reached its deadline.
    pub(crate) fn expire(&mut self, now: Instant) {
        while let Some(oldest) = self.requests.first_entry()
            && oldest.get().deadline <= now
        {
            let reference = *oldest.key();
            if let Some(request) = self.answered(reference) {
                request.finish(Err(Error::Deadline));
            }
        }
    }

    /// Ends everything.
    pub(crate) fn fail(&mut self, error: &Error) {
        self.due.clear();
        for request in std::mem::take(&mut self.requests).into_values() {
            request.finish(Err(error.clone()));
        }
    }

    /// When [`take_due`](Self::take_due) or [`expire`](Self::expire) has something to do.
    pub(crate) fn next_wake(&self) -> Option<Instant> {
        let deadline = self.requests.first_key_value().map(|(_, request)| request.deadline);
        let due = self.due.first().map(|(due, _)| *due);
        deadline.into_iter().chain(due).min()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    type Answer = oneshot::Receiver<Result<String, Error>>;

    fn ask(pending: &mut Pending, deadline: Instant) -> (u64, Answer) {
        let (reply, answer) = oneshot::channel();
        let reference = pending.next_reference();
        pending.add(reference, Request::new(format!("request {reference}"), Effect::None, deadline, reply));
        (reference, answer)
    }

    fn in_seconds(now: Instant, seconds: u64) -> Instant {
        now + Duration::from_secs(seconds)
    }

    #[test]
    fn a_new_connection_gets_every_request_again_in_order() {
        let (mut pending, now) = (Pending::default(), Instant::now());
        let kept: Vec<_> = (0..3).map(|_| ask(&mut pending, in_seconds(now, 9))).collect();
        let (gone, gone_answer) = ask(&mut pending, in_seconds(now, 9));
        drop(gone_answer);
        let first = pending.answered(kept[0].0).unwrap();
        assert!(pending.retry(kept[0].0, first, in_seconds(now, 1)).is_ok());
        pending.await_connection();
        assert_eq!(pending.next_wake(), Some(in_seconds(now, 9)), "a deadline");
        assert_eq!(pending.all(), ["request 1", "request 2", "request 3"]);
        assert!(pending.answered(gone).is_none());
        assert_eq!(pending.take_due(in_seconds(now, 2)), [""; 0], "it has been sent again already");
    }

    #[test]
    fn a_retry_comes_when_it_is_due_and_only_once() {
        let (mut pending, now) = (Pending::default(), Instant::now());
        let (reference, _answer) = ask(&mut pending, in_seconds(now, 9));
        let request = pending.answered(reference).unwrap();
        assert!(pending.retry(reference, request, in_seconds(now, 3)).is_ok());
        assert_eq!(pending.next_wake(), Some(in_seconds(now, 3)));
        assert_eq!(pending.take_due(in_seconds(now, 2)), [""; 0]);
        assert_eq!(pending.take_due(in_seconds(now, 3)), ["request 1"]);
        assert_eq!(pending.take_due(in_seconds(now, 3)), [""; 0]);
        let request = pending.answered(reference).unwrap();
        assert_eq!(request.refusals, 1);
        assert!(pending.retry(reference, request, in_seconds(now, 9)).is_err(), "not before the deadline");
    }

    #[test]
    fn a_deadline_ends_a_request_and_no_younger_one() {
        let (mut pending, now) = (Pending::default(), Instant::now());
        let (_, mut old) = ask(&mut pending, in_seconds(now, 5));
        let (_, mut young) = ask(&mut pending, in_seconds(now, 6));
        assert_eq!(pending.next_wake(), Some(in_seconds(now, 5)));
        pending.expire(in_seconds(now, 5));
        assert_eq!(old.try_recv(), Ok(Err(Error::Deadline)));
        assert!(young.try_recv().is_err());
        let end = Error::Closed { code: Some(4401), reason: "not_authenticated".into() };
        pending.fail(&end);
        assert_eq!(young.try_recv(), Ok(Err(end)));
        assert_eq!(pending.next_wake(), None);
    }
}
