//! What is to be said in the end, with the evidence.

use std::collections::BTreeMap;
use std::fmt;

use hubbub_core::ids::RoomId;
use hubbub_testkit::checker::{self, History, Outcome, Seen, Step, Violation};
use serde::Serialize;

use super::people::Run;

/// Of many that are alike a person reads so many.
const SHOWN_MAX: usize = 20;

/// A time for which somebody had no connection, in seconds from the begin.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Outage {
    /// Who.
    pub who: String,
    /// From when.
    pub from: f64,
    /// Until when.
    pub to: f64,
}

/// A promise that was broken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Broken {
    /// Where.
    pub room: String,
    /// What was promised and is not so, with names and numbers.
    pub what: String,
}

/// A log that could not be read in the end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Unread {
    /// Whose.
    pub room: String,
    /// The gateway that did not give it.
    pub at: String,
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
    /// Messages that were acknowledged.
    pub acked: u64,
    /// That were refused.
    pub refused: u64,
    /// That had no answer in the end: they may be kept or not.
    pub unknown: u64,
    /// Entries in the logs.
    pub entries: u64,
    /// Entries that readers were sent, all together.
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

    /// Takes a room's log as each gateway gave it, or did not. The one by which the room is judged: the first that was read.
    pub(super) fn take_logs(
        &mut self,
        room: &RoomId,
        logs: impl IntoIterator<Item = (String, Option<Vec<Seen>>)>,
    ) -> Vec<Seen> {
        let mut first: Option<Vec<Seen>> = None;
        for (at, log) in logs {
            match (log, &first) {
                (None, _) => self.unread.push(Unread { room: room.to_string(), at }),
                (Some(log), None) => first = Some(log),
                (Some(log), Some(first)) if log != *first => {
                    self.logs_that_differ.push(OtherLog { room: room.clone(), at, log });
                }
                (Some(_), Some(_)) => {}
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
            self.count(history);
            if self.without_log.contains(room) {
                // Without a log everything would be lost. One is enough: what it lacks is lost, whoever else gives none.
                continue;
            }
            let is_away = self.unread.iter().any(|unread| unread.room == room.as_str());
            let mut broken = |what| self.broken.push(Broken { room: room.to_string(), what });
            let mut found = checker::check(history);
            // Who reads at a gateway that is away may be connected to it.
            found.retain(|found| !(is_away && matches!(found, Violation::ReaderEndsEarly { .. })));
            found.iter().for_each(|found| broken(format!("{found:?}")));
            for OtherLog { at, log, .. } in others.remove(room).into_iter().flatten() {
                broken(format!(
                    "two gateways show different logs: {at} has another one than the first that was read"
                ));
                // What is wrong with that one is named as well, or it is not known which of the two to believe.
                history.log = log;
                let also = checker::check(history);
                also.iter()
                    .filter(|also| {
                        !found.contains(also) && !matches!(also, Violation::ReaderEndsEarly { .. })
                    })
                    .for_each(|also| broken(format!("at {at}: {also:?}")));
            }
        }
        for (key, seq, again) in self.repeats_that_differ.drain(..) {
            let what = format!("{key} was acknowledged at {seq}, and sent again at {again}");
            self.broken.push(Broken { room: String::new(), what });
        }
        self.broken
            .extend(run.unreadable.take().into_iter().map(|what| Broken { room: String::new(), what }));
        self.outages = run.outages.take();
        self.outages.sort_by(|one, other| one.from.total_cmp(&other.from));
    }

    fn count(&mut self, history: &History) {
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
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { acked, refused, unknown, entries, read, told_behind, ack_max_s, .. } = self;
        writeln!(f, "{acked} messages acknowledged, {refused} refused, {unknown} without an answer")?;
        writeln!(f, "{entries} entries in the logs, {read} read live; told behind {told_behind} times")?;
        writeln!(f, "the longest wait for an acknowledgement: {ack_max_s:.2} s")?;
        let longest = self.outages.iter().map(|outage| outage.to - outage.from).fold(0.0, f64::max);
        writeln!(
            f,
            "{} lost connections that came back, away for at most {longest:.2} s",
            self.outages.len()
        )?;
        for Unread { room, at } in &self.unread {
            writeln!(f, "not read in the end: the log of {room} at {at}")?;
        }
        for Broken { room, what } in self.broken.iter().take(SHOWN_MAX) {
            writeln!(f, "  {room} {what}")?;
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
            (broken, _) => write!(f, "BROKEN: {broken} times"),
        }
    }
}

#[cfg(test)]
mod tests;
