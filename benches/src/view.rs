//! What a measurement shows while it runs: on a terminal one line that is written over, elsewhere plain lines, fewer of them.

use std::cell::Cell;
use std::io::{IsTerminal, Write, stderr};
use std::time::{Duration, Instant};

use crate::load::outcome::Quantiles;
use crate::load::series::Sample;

/// Between two plain lines.
const PLAIN_EVERY: Duration = Duration::from_secs(5);
/// Between two counts on a terminal.
const COUNT_EVERY: Duration = Duration::from_millis(200);

/// Writes to standard error.
#[derive(Debug, Clone)]
pub struct View {
    what: String,
    terminal: bool,
    shown: Cell<Instant>,
}

impl View {
    /// A view of one measurement, whose lines begin with `what`.
    pub fn new(what: String) -> Self {
        // A dumb one writes nothing over.
        let dumb = std::env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb");
        Self { what, terminal: stderr().is_terminal() && !dumb, shown: Cell::new(Instant::now()) }
    }

    /// A second is over.
    pub fn sample(&self, sample: &Sample, takes: Duration) {
        self.show(Duration::from_millis(500), || line(sample, takes));
    }

    /// Something is being made, one by one.
    pub fn count(&self, what: &str, done: usize, of: usize) {
        self.show(COUNT_EVERY, || format!("{what} {done} of {of}"));
    }

    /// Something else is to be shown, if it is time.
    pub fn line(&self, line: impl FnOnce() -> String) {
        self.show(COUNT_EVERY, line);
    }

    /// It is over: this line stays.
    pub fn finish(&self, line: &str) {
        // Whoever closed it does not want to know.
        let _ = if self.terminal {
            writeln!(stderr(), "\r\x1b[K{} {line}", self.what)
        } else {
            writeln!(stderr(), "{} {line}", self.what)
        };
    }

    fn show(&self, every: Duration, line: impl FnOnce() -> String) {
        let every = if self.terminal { every } else { PLAIN_EVERY };
        if self.shown.get().elapsed() >= every {
            self.shown.set(Instant::now());
            self.write(&line());
        }
    }

    fn write(&self, line: &str) {
        let whole = format!("{} {line}", self.what);
        let _ = if self.terminal {
            // A row that is full makes a second one, which is not written over.
            let columns = rustix::termios::tcgetwinsize(stderr()).map_or(80, |size| usize::from(size.ws_col));
            write!(stderr(), "\r\x1b[K{}", fitted(&whole, columns.saturating_sub(1)))
        } else {
            writeln!(stderr(), "{whole}")
        };
    }
}

/// The text in so many columns: without what only sets columns apart where it is too long, and then without its end.
fn fitted(text: &str, columns: usize) -> String {
    if text.chars().count() <= columns {
        return text.to_owned();
    }
    let words: Vec<&str> = text.split_ascii_whitespace().collect();
    words.join(" ").chars().take(columns).collect()
}

/// What matters most is first, for a narrow terminal has no room for the rest.
fn line(sample: &Sample, takes: Duration) -> String {
    let ms = |quantiles: Option<Quantiles>| {
        quantiles.map_or("-".to_owned(), |ms| format!("{:.1}/{:.1}/{:.1}", ms.p50_ms, ms.p99_ms, ms.max_ms))
    };
    let mut line = format!(
        "{:.0} of {:.0} s: p50/p99/max {} ms, {:.0} deliveries/s, {:.0} messages/s",
        sample.at_s,
        takes.as_secs_f64(),
        ms(sample.delivery),
        sample.deliveries_a_second,
        sample.sent_a_second
    );
    if sample.ack.is_some() {
        line.push_str(&format!(", ack {} ms", ms(sample.ack)));
    }
    if let (Some(cores), Some(rss)) = (sample.server_cores, sample.rss_mib) {
        line.push_str(&format!(", server {cores:.2} cores {rss:.0} MiB"));
    }
    line.push_str(&format!(", {} errors", sample.errors));
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_never_longer_than_the_terminal_is_wide() {
        let text = "day        round 1/3 hubbub                   3 of 12 s: 40 messages/s";
        assert_eq!(fitted(text, 80), text);
        assert_eq!(fitted(text, 60), "day round 1/3 hubbub 3 of 12 s: 40 messages/s");
        assert_eq!(fitted(text, 20), "day round 1/3 hubbub");
        assert_eq!(fitted("µµµ", 2), "µµ");
    }

    #[test]
    fn a_line_says_how_far_it_is_how_fast_and_what_went_wrong() {
        let quantiles =
            Quantiles { count: 9, p50_ms: 1.0, p99_ms: 9.04, max_ms: 12.0, ..Quantiles::default() };
        let sample = Sample {
            at_s: 3.0,
            sent_a_second: 40.0,
            deliveries_a_second: 40_000.0,
            delivery: Some(quantiles),
            ack: None,
            server_cores: Some(0.5),
            rss_mib: Some(30.2),
            generator_cores: 0.4,
            late_ms: 0.1,
            errors: 2,
        };
        assert_eq!(
            line(&sample, Duration::from_secs(12)),
            "3 of 12 s: p50/p99/max 1.0/9.0/12.0 ms, 40000 deliveries/s, 40 messages/s, server 0.50 cores 30 MiB, 2 errors"
        );
    }
}
