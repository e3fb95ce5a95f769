//! Answers that wait until what they rest on is durable.
//!
//! A room decides on its newest state, committed or not. An answer from that state, a repeat or a refusal as much
//! as an `ok`, is true only once every entry is durable that was in the state: an answer given earlier is a false
//! ack if the entries never land. The idea is s2's (`lite/src/backend/append.rs`, an answer's durability dependency).

use std::collections::VecDeque;

use crate::ids::Seq;

/// Answers in the order in which they were decided, each with the last seq it rests on.
#[derive(Debug)]
pub struct Held<T> {
    queue: VecDeque<(Seq, T)>,
}

impl<T> Default for Held<T> {
    fn default() -> Self {
        Self { queue: VecDeque::new() }
    }
}

impl<T> Held<T> {
    /// Holds an answer until all up to `rests_on` is durable. `rests_on` never falls from call to call.
    pub fn hold(&mut self, rests_on: Seq, answer: T) {
        debug_assert!(self.queue.back().is_none_or(|(last, _)| *last <= rests_on));
        self.queue.push_back((rests_on, answer));
    }

    /// The next answer that may go, now that all up to `durable` is.
    pub fn release(&mut self, durable: Seq) -> Option<T> {
        let (rests_on, _) = self.queue.front()?;
        if *rests_on > durable {
            return None;
        }
        self.queue.pop_front().map(|(_, answer)| answer)
    }

    /// Whether an answer could go.
    pub fn has_ready(&self, durable: Seq) -> bool {
        self.queue.front().is_some_and(|(rests_on, _)| *rests_on <= durable)
    }

    /// All of them: what they rest on will not become durable by this holder.
    pub fn give_up(&mut self) -> impl Iterator<Item = T> + '_ {
        self.queue.drain(..).map(|(_, answer)| answer)
    }

    /// Drops those that are not to be kept; says whether there were any.
    pub fn retain(&mut self, mut keep: impl FnMut(&T) -> bool) -> bool {
        let before = self.queue.len();
        self.queue.retain(|(_, answer)| keep(answer));
        self.queue.len() < before
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_decided_on_an_entry_in_flight_waits_for_it() {
        let mut held = Held::default();
        held.hold(Seq(4), "repeat of 3");
        held.hold(Seq(5), "ok 5");
        held.hold(Seq(5), "refused after 5");
        assert_eq!(held.release(Seq(3)), None);
        assert_eq!(held.release(Seq(4)), Some("repeat of 3"));
        assert_eq!(held.release(Seq(4)), None);
        assert!(!held.has_ready(Seq(4)));
        assert!(held.retain(|answer| *answer != "ok 5"));
        assert!(!held.retain(|_| true));
        assert_eq!(held.give_up().collect::<Vec<_>>(), ["refused after 5"]);
        assert!(held.is_empty());
    }
}
