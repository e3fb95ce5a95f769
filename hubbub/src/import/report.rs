//! What an import tells whoever runs it: how far it is, which lines it did not take, what differs.

use std::fmt::Display;
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

/// How often progress is shown on a terminal, and in a log.
const SHOWN_EVERY: Duration = Duration::from_millis(250);
const LOGGED_EVERY: Duration = Duration::from_secs(5);
/// Differences that are named; the others are only counted.
const NAMED_MAX: u64 = 100;

/// The count of all that was not as it should be.
pub(super) struct Report {
    strict: bool,
    /// Says nothing: what it counts was said before.
    silent: bool,
    /// The files, as they are named to people.
    pub(super) chatrooms: String,
    pub(super) messages: String,
    /// Lines that were not taken.
    pub(super) refused: u64,
    /// What of the store is not as the files have it.
    pub(super) differences: u64,
    progress: Progress,
}

impl Report {
    pub(super) fn new(strict: bool, chatrooms: String, messages: String) -> Self {
        let (silent, progress) = (false, Progress::new(""));
        Self { strict, silent, chatrooms, messages, refused: 0, differences: 0, progress }
    }

    /// One for going through the same once more.
    pub(super) fn silent(&self) -> Self {
        Self { silent: true, ..Self::new(false, self.chatrooms.clone(), self.messages.clone()) }
    }

    /// A line is not taken.
    ///
    /// # Errors
    /// When no line may be refused.
    pub(super) fn refuse(&mut self, file: &str, line: u64, reason: &dyn Display) -> anyhow::Result<()> {
        self.refused += 1;
        anyhow::ensure!(!self.strict, "{file}:{line}: {reason}; stopped, as --strict says");
        if !self.silent {
            self.progress.say(&format_args!("{file}:{line}: not taken: {reason}"));
        }
        Ok(())
    }

    /// A message is not taken.
    ///
    /// # Errors
    /// As of [`refuse`](Self::refuse).
    pub(super) fn refuse_message(&mut self, line: u64, reason: &dyn Display) -> anyhow::Result<()> {
        let file = self.messages.clone();
        self.refuse(&file, line, reason)
    }

    /// A line is taken, and not quite as it is.
    pub(super) fn note(&mut self, file: &str, line: u64, note: &str) {
        self.progress.say(&format_args!("{file}:{line}: {note}"));
    }

    /// The store differs from the files.
    pub(super) fn differs(&mut self, what: &dyn Display) {
        self.differences += 1;
        if self.differences <= NAMED_MAX {
            self.progress.say(&format_args!("check: {what}"));
        } else if self.differences == NAMED_MAX + 1 {
            self.progress.say(&"check: more differences are not named");
        }
    }

    /// The next part of the work.
    pub(super) fn begin(&mut self, what: &str) {
        self.progress.end();
        self.progress = Progress::new(what);
    }

    /// One more is done; of all bytes so many.
    pub(super) fn advance(&mut self, bytes: impl FnOnce() -> (u64, u64)) {
        if !self.silent {
            self.progress.advance(bytes);
        }
    }

    /// The last part is done.
    pub(super) fn end(&mut self) {
        self.progress.end();
    }
}

struct Progress {
    what: String,
    began: Instant,
    shown: Instant,
    every: Duration,
    terminal: bool,
    done: u64,
    /// A line on the terminal that the next one overwrites.
    pending: bool,
}

impl Progress {
    fn new(what: &str) -> Self {
        let (now, terminal) = (Instant::now(), std::io::stderr().is_terminal());
        let every = if terminal { SHOWN_EVERY } else { LOGGED_EVERY };
        Self { what: what.into(), began: now, shown: now, every, terminal, done: 0, pending: false }
    }

    fn advance(&mut self, bytes: impl FnOnce() -> (u64, u64)) {
        self.done += 1;
        // The clock is not read at each.
        if self.done.is_multiple_of(64) && self.shown.elapsed() >= self.every {
            self.shown = Instant::now();
            let line = self.line(Some(bytes()));
            self.pending = self.terminal;
            // Whoever closed standard error does not want to know.
            let _ = match self.terminal {
                true => write!(std::io::stderr(), "\r\x1b[K{line}"),
                false => writeln!(std::io::stderr(), "{line}"),
            };
        }
    }

    fn line(&self, bytes: Option<(u64, u64)>) -> String {
        let seconds = self.began.elapsed().as_secs_f64().max(0.001);
        let (what, done, rate) =
            (&self.what, grouped(self.done), grouped((self.done as f64 / seconds) as u64));
        let left = bytes.filter(|(read, _)| *read > 0).map_or_else(String::new, |(read, of)| {
            let left = seconds * (of.saturating_sub(read)) as f64 / read as f64;
            format!(", {} %, {} left", read * 100 / of.max(1), spoken(left))
        });
        format!("{what}: {done} lines, {rate}/s{left}")
    }

    /// Says something beside the progress.
    fn say(&mut self, text: &dyn Display) {
        let cleared = if std::mem::take(&mut self.pending) { "\r\x1b[K" } else { "" };
        let _ = writeln!(std::io::stderr(), "{cleared}{text}");
    }

    fn end(&mut self) {
        if self.done > 0 {
            let line = format!("{} in {}", self.line(None), spoken(self.began.elapsed().as_secs_f64()));
            self.say(&line);
        }
        self.done = 0;
    }
}

fn spoken(seconds: f64) -> String {
    let seconds = seconds.round() as u64;
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3_600, seconds / 60 % 60),
    }
}

/// 1234567 as 1,234,567.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.char_indices() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_times_are_written_for_people() {
        assert_eq!([0, 12, 999, 1_000, 1_234_567].map(grouped), ["0", "12", "999", "1,000", "1,234,567"]);
        assert_eq!(
            [0.4, 59.6, 3_599.0, 7_260.0].map(spoken),
            ["0 s", "1 min 0 s", "59 min 59 s", "2 h 1 min"]
        );
    }
}
