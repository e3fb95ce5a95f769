//! Breaches in words: which promise, who and what, and when, as far as that is known.

use std::collections::BTreeMap;

use hubbub_testkit::checker::{History, Outcome, Sent, Violation};

use super::verdict::Broken;

/// What is said of one violation. Those of one promise with one cause are one breach.
struct Said {
    promise: &'static str,
    cause: String,
    what: String,
    at_s: Option<f64>,
}

/// The breaches that the violations in a room are, in the order in which they were found.
pub(super) fn breaches(room: &str, found: &[Violation], history: &History) -> Vec<Broken> {
    let times = Times::of(history);
    let mut breaches: Vec<(String, Broken)> = Vec::new();
    for violation in found.iter().filter(|violation| !follows(violation, found)) {
        let Said { promise, cause, what, at_s } = say(violation, &times);
        let known = breaches.iter_mut().find(|(of, broken)| *of == cause && broken.promise == promise);
        match known {
            Some((_, broken)) => broken.times += 1,
            None => {
                let (room, promise) = (room.to_owned(), promise.to_owned());
                breaches.push((cause, Broken { room, promise, what, at_s, times: 1 }));
            }
        }
    }
    breaches.into_iter().map(|(_, broken)| broken).collect()
}

/// Whether it only says once more that an acknowledged message is not where it was said to be.
fn follows(violation: &Violation, found: &[Violation]) -> bool {
    let cause = match violation {
        Violation::Reordered { first, .. } => first,
        Violation::PageEndsEarly { acked, .. } => acked,
        _ => return false,
    };
    found.iter().any(|found| matches!(found, Violation::AckedIsLost { key, .. } if key == cause))
}

/// When messages were sent and acknowledged, in seconds from the begin.
struct Times<'a> {
    sent: BTreeMap<&'a str, &'a Sent>,
    places: BTreeMap<u64, &'a str>,
}

impl<'a> Times<'a> {
    fn of(history: &'a History) -> Self {
        let sent = history.sent.iter().map(|sent| (sent.key.as_str(), sent)).collect();
        // A text stands for its key.
        let place = |entry: &'a hubbub_testkit::checker::Seen| Some((entry.seq, entry.text.as_deref()?));
        Self { sent, places: history.log.iter().filter_map(place).collect() }
    }

    /// When that one was sent.
    fn sent(&self, key: &str) -> Option<f64> {
        Some(self.sent.get(key)?.began.as_secs_f64())
    }

    /// When its sender had the answer, and when it was sent if there was none.
    fn acked(&self, key: &str) -> Option<f64> {
        match self.sent.get(key)?.outcome {
            Outcome::Acked { at, .. } => Some(at.as_secs_f64()),
            Outcome::Refused | Outcome::Unknown => self.sent(key),
        }
    }

    /// When the message was sent that is there in the log, if it is one.
    fn at(&self, seq: u64) -> Option<f64> {
        self.sent(self.places.get(&seq)?)
    }
}

fn say(violation: &Violation, times: &Times<'_>) -> Said {
    let said = |promise, cause: &str, what, at_s| Said { promise, cause: cause.to_owned(), what, at_s };
    match violation {
        Violation::AckedIsLost { key, seq } => {
            let what = format!("{key} was acknowledged as {seq}, and is not there in the log");
            said("AckedIsLost", key, what, times.acked(key))
        }
        Violation::KeyIsDoubled { key, seqs } => {
            let what = format!("{key} is in the log more than once, as {seqs:?}");
            said("KeyIsDoubled", key, what, times.sent(key))
        }
        Violation::RefusedIsKept { key, seq } => {
            let what = format!("{key} was refused, and is in the log as {seq}");
            said("RefusedIsKept", key, what, times.sent(key))
        }
        Violation::NobodySentIt { seq, text } => {
            said("NobodySentIt", text, format!("nobody sent what is in the log as {seq}: {text}"), None)
        }
        Violation::GapInLog { after, next } => {
            let what = format!("in the log {next} follows {after}");
            said("GapInLog", &after.to_string(), what, times.at(*next))
        }
        Violation::TwoContents { seq, log, reader, shown } => {
            let log = log.as_deref().unwrap_or("nothing");
            let what = format!("{reader} was shown as {seq}: {shown}; the log has: {log}");
            said("TwoContents", reader, what, times.at(*seq))
        }
        Violation::GapForReader { reader, position, next } => {
            let what = format!("{reader} had {position}, and then was sent {next}");
            said("GapForReader", reader, what, times.at(*next))
        }
        Violation::RepeatForReader { reader, position, again } => {
            let what = format!("{reader} had {position}, and was sent {again} again");
            said("RepeatForReader", reader, what, times.at(*again))
        }
        Violation::ResetForReader { reader, position, head } => {
            let what = format!("{reader} had {position}, and was told of another log, which ends at {head}");
            said("ResetForReader", reader, what, times.at(*position))
        }
        Violation::ReaderEndsEarly { reader, position, head } => {
            let what = format!("{reader} was sent nothing after {position}, and the log ends at {head}");
            said("ReaderEndsEarly", reader, what, times.at(position + 1))
        }
        Violation::PageEndsEarly { reader, head, acked, seq } => {
            let what = format!("a page of {reader} ended at {head}, when {acked} was acknowledged as {seq}");
            said("PageEndsEarly", reader, what, times.acked(acked))
        }
        Violation::Reordered { first, first_seq, then, then_seq } => {
            let what = format!(
                "{first} was acknowledged as {first_seq} before {then} was sent, which is {then_seq}"
            );
            said("Reordered", first, what, times.sent(then))
        }
    }
}
