//! What is to be said in the end, with the evidence.

use std::collections::BTreeMap;
use std::fmt;

use hubbub_core::ids::RoomId;
use hubbub_testkit::checker::{self, History, Outcome, Seen, Sent, Step, Violation};
use serde::Serialize;

use super::logs::NoLog;
use super::people::{Run, Told};
use super::words::breaches;

/// Of many that are alike a person reads so many.
const SHOWN_MAX: usize = 20;

/// A time for which somebody had no connection, in seconds from the begin.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Outage {
    /// Who.
    pub who: String,
    /// From when.
    pub from: f64,
    /// Until when; `None` if it never came back.
    pub to: Option<f64>,
    /// What ended the connection.
    pub why: String,
}

/// A promise that was broken.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Broken {
    /// Where.
    pub room: String,
    /// Which promise.
    pub promise: String,
    /// What is not so, with names and numbers; of several times the first.
    pub what: String,
    /// When that was, in seconds from the begin, if it is known.
    pub at_s: Option<f64>,
    /// How often.
    pub times: u64,
}

impl Broken {
    /// Once, at no known time.
    fn once(room: &str, promise: &str, what: String) -> Self {
        Self { room: room.to_owned(), promise: promise.to_owned(), what, at_s: None, times: 1 }
    }
}

/// A log that could not be read in the end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Unread {
    /// Whose.
    pub room: String,
    /// The gateway that did not give it.
    pub at: String,
    /// What was heard of it last.
    pub why: String,
}

/// A log that is said not to be there.
#[derive(Debug)]
struct DeniedLog {
    room: RoomId,
    at: String,
    why: String,
}

/// A log that is not as the one by which its room is judged.
#[derive(Debug)]
struct OtherLog {
    room: RoomId,
    at: String,
    log: Vec<Seen>,
}

/// What was seen, and what of it is wrong.
#[derive(Debug, Default, Serialize)]
pub struct Verdict {
    /// Messages that were due.
    pub due: u64,
    /// That were not sent when they were due, since their sender waited for the answer to another one.
    pub not_sent: u64,
    /// Messages that were acknowledged.
    pub acked: u64,
    /// That were refused.
    pub refused: u64,
    /// Of those, how many by which word.
    pub refused_by: BTreeMap<String, u64>,
    /// That had no answer in the end: they may be kept or not.
    pub unknown: u64,
    /// Entries in the logs.
    pub entries: u64,
    /// Entries that all were sent or read, together.
    pub read: u64,
    /// How often a reader was told that it is behind, which is no breach.
    pub told_behind: u64,
    /// The longest wait for an acknowledgement, in seconds.
    pub ack_max_s: f64,
    /// Times without a connection.
    pub outages: Vec<Outage>,
    /// Every promise that was broken.
    pub broken: Vec<Broken>,
    /// Logs that could not be read in the end.
    pub unread: Vec<Unread>,
    #[serde(skip)]
    pub(super) repeats_that_differ: Vec<(String, u64, u64)>,
    #[serde(skip)]
    logs_that_differ: Vec<OtherLog>,
    #[serde(skip)]
    denied: Vec<DeniedLog>,
    /// Rooms whose log no gateway gave.
    #[serde(skip)]
    without_log: Vec<RoomId>,
}

impl Verdict {
    /// Whether every promise was kept, as far as was seen.
    pub fn is_kept(&self) -> bool {
        self.broken.is_empty() && self.is_conclusive()
    }

    /// Whether it was seen whether they were.
    pub fn is_conclusive(&self) -> bool {
        self.acked > 0 && self.unread.is_empty()
    }

    /// Takes what a sender was told, and gives back what became of its messages.
    pub(super) fn hear(&mut self, told: Told) -> Vec<(RoomId, Sent)> {
        self.repeats_that_differ.extend(told.repeats_that_differ);
        self.due += told.due;
        self.not_sent += told.due - told.sent.len() as u64;
        for (word, count) in told.refused {
            *self.refused_by.entry(word).or_default() += count;
        }
        told.sent
    }

    /// Takes a room's log as each gateway gave it, or did not. The one by which the room is judged: the first that was read.
    pub(super) fn take_logs(
        &mut self,
        room: &RoomId,
        logs: impl IntoIterator<Item = (String, Result<Vec<Seen>, NoLog>)>,
    ) -> Vec<Seen> {
        let mut first: Option<Vec<Seen>> = None;
        for (at, log) in logs {
            match (log, &first) {
                (Err(NoLog::Silent(why)), _) => {
                    self.unread.push(Unread { room: room.to_string(), at, why });
                }
                (Err(NoLog::Denied(why)), _) => {
                    self.denied.push(DeniedLog { room: room.clone(), at, why });
                }
                (Ok(log), None) => first = Some(log),
                (Ok(log), Some(first)) if log != *first => {
                    self.logs_that_differ.push(OtherLog { room: room.clone(), at, log });
                }
                (Ok(_), Some(_)) => {}
            }
        }
        first.unwrap_or_else(|| {
            self.without_log.push(room.clone());
            Vec::new()
        })
    }

    /// Holds what people were told and shown against the logs.
    pub(super) fn judge(&mut self, histories: &mut BTreeMap<RoomId, History>, run: &Run) {
        let mut others: BTreeMap<RoomId, Vec<OtherLog>> = BTreeMap::new();
        for other in self.logs_that_differ.drain(..) {
            others.entry(other.room.clone()).or_default().push(other);
        }
        for (room, history) in histories {
            let acked = self.count(history);
            let is_away = self.take_denied(room, acked)
                || self.unread.iter().any(|unread| unread.room == room.as_str());
            if self.without_log.contains(room) {
                // Without a log everything would be lost. One is enough: what it lacks is lost, whoever else gives none.
                continue;
            }
            let mut found = checker::check(history);
            // Who reads at a gateway that is away may be connected to it.
            found.retain(|found| !(is_away && matches!(found, Violation::ReaderEndsEarly { .. })));
            self.broken.extend(breaches(room.as_str(), &found, history));
            for OtherLog { at, log, .. } in others.remove(room).into_iter().flatten() {
                let what = format!(
                    "two gateways show different logs: {at} has another one than the first that was read"
                );
                self.broken.push(Broken::once(room.as_str(), "OneLog", what));
                // What is wrong with that one is named as well, or it is not known which of the two to believe.
                history.log = log;
                let mut also = checker::check(history);
                also.retain(|also| {
                    !found.contains(also) && !matches!(also, Violation::ReaderEndsEarly { .. })
                });
                for broken in breaches(room.as_str(), &also, history) {
                    self.broken.push(Broken { what: format!("at {at}: {}", broken.what), ..broken });
                }
            }
        }
        for (key, seq, again) in self.repeats_that_differ.drain(..) {
            let what = format!("{key} was acknowledged as {seq}, and sent again as {again}");
            self.broken.push(Broken::once("", "RepeatIsTheSame", what));
        }
        let unreadable = run.unreadable.take();
        self.broken.extend(unreadable.into_iter().map(|what| Broken::once("", "Readable", what)));
        self.outages = run.take_outages();
    }

    /// A log that is said not to be there, though something was acknowledged in it, is a breach, whatever the others show. Whether
    /// there was one.
    fn take_denied(&mut self, room: &RoomId, acked: u64) -> bool {
        let denied: Vec<_> = self.denied.extract_if(.., |denied| denied.room == *room).collect();
        for DeniedLog { at, why, .. } in &denied {
            if acked == 0 {
                self.unread.push(Unread { room: room.to_string(), at: at.clone(), why: why.clone() });
            } else {
                let what = format!("the log with {acked} acknowledged messages is not there at {at}: {why}");
                self.broken.push(Broken::once(room.as_str(), "AckedIsLost", what));
            }
        }
        !denied.is_empty()
    }

    /// Adds what there is in a room. How many messages were acknowledged in it.
    fn count(&mut self, history: &History) -> u64 {
        let acked_before = self.acked;
        for sent in &history.sent {
            match sent.outcome {
                Outcome::Acked { at, .. } => {
                    self.acked += 1;
                    self.ack_max_s = self.ack_max_s.max(at.saturating_sub(sent.began).as_secs_f64());
                }
                Outcome::Refused => self.refused += 1,
                Outcome::Unknown => self.unknown += 1,
            }
        }
        self.entries += history.log.len() as u64;
        for step in history.readers.iter().flat_map(|reader| &reader.steps) {
            match step {
                Step::Entry(_) => self.read += 1,
                Step::Behind { .. } => self.told_behind += 1,
                Step::Reset { .. } => {}
            }
        }
        self.acked - acked_before
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { acked, refused, unknown, entries, read, told_behind, ack_max_s, .. } = self;
        writeln!(f, "{acked} messages acknowledged, {refused} refused, {unknown} without an answer")?;
        for (word, count) in &self.refused_by {
            writeln!(f, "refused {count} times: {word}")?;
        }
        if self.not_sent > 0 {
            let Self { due, not_sent, .. } = self;
            writeln!(
                f,
                "{not_sent} of {due} that were due were not sent: their senders waited for the answer to another one"
            )?;
        }
        writeln!(f, "{entries} entries in the logs, {read} sent and read; told behind {told_behind} times")?;
        writeln!(f, "the longest wait for an acknowledgement: {ack_max_s:.2} s")?;
        let back: Vec<f64> =
            self.outages.iter().filter_map(|outage| Some(outage.to? - outage.from)).collect();
        let longest = back.iter().copied().fold(0.0, f64::max);
        writeln!(f, "{} lost connections that came back, away for at most {longest:.2} s", back.len())?;
        let lasting = self.outages.iter().filter(|outage| outage.to.is_none());
        if let Some(Outage { who, from, why, .. }) = lasting.clone().next() {
            let count = lasting.count();
            writeln!(f, "{count} that did not come back, first {who}, after {from:.1} s: {why}")?;
        }
        for Unread { room, at, why } in &self.unread {
            writeln!(f, "not read in the end: the log of {room} at {at}: {why}")?;
        }
        for Broken { room, promise, what, at_s, times } in self.broken.iter().take(SHOWN_MAX) {
            let at = at_s.map_or_else(String::new, |at| format!(" at {at:.1} s"));
            let more = if *times > 1 { format!(", and {} more like it", times - 1) } else { String::new() };
            writeln!(f, "  {room} {promise}{at}: {what}{more}")?;
        }
        if self.broken.len() > SHOWN_MAX {
            writeln!(f, "  and {} more", self.broken.len() - SHOWN_MAX)?;
        }
        match (self.broken.len(), self.is_conclusive()) {
            (0, true) => write!(
                f,
                "KEPT: each acknowledged message is there once, in order, without a gap, and the same for every reader"
            ),
            (0, false) => {
                write!(f, "NOT SEEN: nothing was acknowledged, or a log could not be read in the end")
            }
            (1, _) => write!(f, "BROKEN: once"),
            (broken, _) => write!(f, "BROKEN: {broken} times"),
        }
    }
}

#[cfg(test)]
mod tests;
