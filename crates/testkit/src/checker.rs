//! Whether one room kept the promises. Pure: what happened in, every violation out.
//!
//! The log as it is read in the end is the measure. Senders say what they were told, readers what they were sent; each
//! promise is a function of its own below.

use std::collections::BTreeMap;
use std::time::Duration;

use hubbub_client::{Entry, Event, What};
use hubbub_core::ids::Seq;

/// An entry as somebody saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Its place.
    pub seq: u64,
    /// All that everybody sees of it: two that differ here are two contents.
    pub content: String,
    /// The text, if it is a message. Texts are unique in a test: they stand for their keys.
    pub text: Option<String>,
}

impl From<&Entry> for Seen {
    fn from(entry: &Entry) -> Self {
        // The key is for the sender only, so it is no part of what everybody sees.
        let content = format!("{} {} {} {:?}", entry.user.id, entry.user.name, entry.at, entry.what);
        let text = match &entry.what {
            What::Text(text) => Some(text.clone()),
            _ => None,
        };
        Self { seq: entry.seq.0, content, text }
    }
}

/// What a sender knows of one message. Instants count from one begin for all senders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// Its key.
    pub key: String,
    /// Its text, which no other message has.
    pub text: String,
    /// When it was first sent.
    pub began: Duration,
    /// What the sender was told.
    pub outcome: Outcome,
}

/// What became of a message, as far as its sender knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It is kept.
    Acked {
        /// Where.
        seq: u64,
        /// When the sender knew.
        at: Duration,
    },
    /// It is not kept.
    Refused,
    /// No answer: it may be kept.
    Unknown,
}

/// What a reader was sent, in the order in which it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// An entry.
    Entry(Seen),
    /// Told that entries after this one up to the other were dropped.
    Behind {
        /// The last one that was sent.
        after: u64,
        /// The last one that was dropped.
        head: u64,
    },
    /// Told that the log is another one.
    Reset {
        /// Its last seq.
        head: u64,
    },
}

impl Step {
    /// The step that an event is for the room, if it is one. What the client reports as a repeat is one again: judging
    /// is done here.
    pub fn of(event: &Event) -> Option<(hubbub_core::ids::RoomId, Self)> {
        use hubbub_client::Violation::Repeat;
        match event {
            Event::Entry(entry) | Event::Violation(Repeat { entry, .. }) => {
                Some((entry.room.clone(), Self::Entry(entry.into())))
            }
            Event::Behind(behind) => {
                let (Seq(after), Seq(head)) = (behind.after, behind.head);
                Some((behind.room.clone(), Self::Behind { after, head }))
            }
            Event::Reset(reset) => Some((reset.room.clone(), Self::Reset { head: reset.head.0 })),
            _ => None,
        }
    }
}

/// One reader's stream, over all its connections.
#[derive(Debug, Clone, Default)]
pub struct Reader {
    /// Who.
    pub name: String,
    /// The position at which it began: its first entry is the next one.
    pub began_at: u64,
    /// What came.
    pub steps: Vec<Step>,
    /// Where the log was shown to end, by pages that were asked for.
    pub shown: Vec<Shown>,
    /// Whether it read to the end, so that its last entry is the log's last.
    pub to_the_end: bool,
}

/// A page that ended where the log did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shown {
    /// When it was asked for.
    pub asked: Duration,
    /// The last entry there was by its word.
    pub head: u64,
}

/// All that is known of one room.
#[derive(Debug, Clone, Default)]
pub struct History {
    /// What was sent.
    pub sent: Vec<Sent>,
    /// What was read live.
    pub readers: Vec<Reader>,
    /// The log as it is in the end, from seq 1.
    pub log: Vec<Seen>,
}

/// A promise that was broken.
#[expect(missing_docs, reason = "a variant's sentence says what its fields are")]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Violation {
    /// An acknowledged message is not at its place in the log.
    AckedIsLost { key: String, seq: u64 },
    /// One key is more than one entry.
    KeyIsDoubled { key: String, seqs: Vec<u64> },
    /// A message that was refused is an entry.
    RefusedIsKept { key: String, seq: u64 },
    /// The log has a message that nobody sent.
    NobodySentIt { seq: u64, text: String },
    /// The log is not 1, 2, 3 ….
    GapInLog { after: u64, next: u64 },
    /// Two contents for one seq: what the log has, and what was shown.
    TwoContents { seq: u64, log: Option<String>, reader: String, shown: String },
    /// A reader was not sent what follows its position.
    GapForReader { reader: String, position: u64, next: u64 },
    /// A reader was sent an entry again.
    RepeatForReader { reader: String, position: u64, again: u64 },
    /// A reader was told of another log, though there is only one.
    ResetForReader { reader: String, position: u64, head: u64 },
    /// A reader was never sent the last entries.
    ReaderEndsEarly { reader: String, position: u64, head: u64 },
    /// A message was acknowledged before a page was asked for, and the log ended before it there.
    PageEndsEarly { reader: String, head: u64, acked: String, seq: u64 },
    /// One message was acknowledged before the other was sent, but has a higher seq.
    Reordered { first: String, first_seq: u64, then: String, then_seq: u64 },
}

/// Every violation in a room.
pub fn check(history: &History) -> Vec<Violation> {
    let mut found = Vec::new();
    log_has_no_gap(history, &mut found);
    acked_is_kept_and_once(history, &mut found);
    order_is_real_time(history, &mut found);
    for reader in &history.readers {
        reader_has_no_gap_and_no_repeat(reader, history, &mut found);
        all_see_the_same(reader, history, &mut found);
        page_has_all_acked(reader, history, &mut found);
    }
    found
}

fn log_has_no_gap(history: &History, found: &mut Vec<Violation>) {
    let mut position = 0;
    for entry in &history.log {
        if entry.seq != position + 1 {
            found.push(Violation::GapInLog { after: position, next: entry.seq });
        }
        position = entry.seq;
    }
}

/// Where each text is in the log.
fn places(history: &History) -> BTreeMap<&str, Vec<u64>> {
    let mut places: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
    for entry in &history.log {
        if let Some(text) = &entry.text {
            places.entry(text).or_default().push(entry.seq);
        }
    }
    places
}

fn acked_is_kept_and_once(history: &History, found: &mut Vec<Violation>) {
    let mut places = places(history);
    for sent in &history.sent {
        let seqs = places.remove(sent.text.as_str()).unwrap_or_default();
        if seqs.len() > 1 {
            found.push(Violation::KeyIsDoubled { key: sent.key.clone(), seqs: seqs.clone() });
        }
        match sent.outcome {
            Outcome::Acked { seq, .. } if !seqs.contains(&seq) => {
                found.push(Violation::AckedIsLost { key: sent.key.clone(), seq });
            }
            Outcome::Refused => {
                found.extend(
                    seqs.first().map(|seq| Violation::RefusedIsKept { key: sent.key.clone(), seq: *seq }),
                );
            }
            Outcome::Acked { .. } | Outcome::Unknown => {}
        }
    }
    for (text, seqs) in places {
        found.extend(seqs.iter().map(|seq| Violation::NobodySentIt { seq: *seq, text: text.into() }));
    }
}

/// Acknowledged before the other was sent: a lower seq.
fn order_is_real_time(history: &History, found: &mut Vec<Violation>) {
    let places = places(history);
    let mut acks: Vec<(Duration, u64, &str)> = Vec::new();
    let mut begins: Vec<(Duration, u64, &str)> = Vec::new();
    for sent in &history.sent {
        let kept = places.get(sent.text.as_str()).and_then(|seqs| seqs.first()).copied();
        match sent.outcome {
            Outcome::Acked { seq, at } => {
                acks.push((at, seq, &sent.key));
                begins.push((sent.began, seq, &sent.key));
            }
            _ => begins.extend(kept.map(|seq| (sent.began, seq, sent.key.as_str()))),
        }
    }
    acks.sort_unstable();
    begins.sort_unstable();
    // The highest seq acknowledged so far: whatever is sent from now on must be above it.
    let mut highest: Option<(u64, &str)> = None;
    let mut acks = acks.into_iter().peekable();
    for (began, then_seq, then) in begins {
        while let Some((_, seq, key)) = acks.next_if(|(at, ..)| *at < began) {
            highest = highest.max(Some((seq, key)));
        }
        if let Some((first_seq, first)) = highest.filter(|(first_seq, _)| *first_seq >= then_seq) {
            let (first, then) = (first.into(), then.into());
            found.push(Violation::Reordered { first, first_seq, then, then_seq });
        }
    }
}

fn reader_has_no_gap_and_no_repeat(reader: &Reader, history: &History, found: &mut Vec<Violation>) {
    let name = || reader.name.clone();
    let mut position = reader.began_at;
    for step in &reader.steps {
        let (first, last) = match step {
            Step::Entry(seen) => (seen.seq, seen.seq),
            // What was dropped is named exactly, or the reader could not fetch it.
            Step::Behind { after, head } => (after + 1, *head),
            Step::Reset { head } => {
                found.push(Violation::ResetForReader { reader: name(), position, head: *head });
                position = *head;
                continue;
            }
        };
        if first > position + 1 {
            found.push(Violation::GapForReader { reader: name(), position, next: first });
        } else if first <= position {
            found.push(Violation::RepeatForReader { reader: name(), position, again: first });
        }
        position = position.max(last);
    }
    let head = history.log.last().map_or(0, |entry| entry.seq);
    if reader.to_the_end && position < head {
        found.push(Violation::ReaderEndsEarly { reader: name(), position, head });
    }
}

fn all_see_the_same(reader: &Reader, history: &History, found: &mut Vec<Violation>) {
    let log: BTreeMap<u64, &str> =
        history.log.iter().map(|entry| (entry.seq, entry.content.as_str())).collect();
    for step in &reader.steps {
        let Step::Entry(seen) = step else { continue };
        let kept = log.get(&seen.seq).copied();
        if kept != Some(&seen.content) {
            found.push(Violation::TwoContents {
                seq: seen.seq,
                log: kept.map(Into::into),
                reader: reader.name.clone(),
                shown: seen.content.clone(),
            });
        }
    }
}

fn page_has_all_acked(reader: &Reader, history: &History, found: &mut Vec<Violation>) {
    let acked = |sent: &'_ Sent| match sent.outcome {
        Outcome::Acked { seq, at } => Some((at, seq, sent.key.clone())),
        Outcome::Refused | Outcome::Unknown => None,
    };
    let mut acks: Vec<_> = history.sent.iter().filter_map(acked).collect();
    acks.sort_unstable();
    let mut shown = reader.shown.clone();
    shown.sort_unstable_by_key(|shown| shown.asked);
    let mut highest = None;
    let mut acks = acks.into_iter().peekable();
    for Shown { asked, head } in shown {
        while let Some((_, seq, key)) = acks.next_if(|(at, ..)| *at < asked) {
            highest = highest.max(Some((seq, key)));
        }
        if let Some((seq, acked)) = highest.clone().filter(|(seq, _)| *seq > head) {
            found.push(Violation::PageEndsEarly { reader: reader.name.clone(), head, acked, seq });
        }
    }
}

#[cfg(test)]
mod tests;
