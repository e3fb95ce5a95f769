//! Where lines of the log go: to a thread of its own, which writes them.
//!
//! What they are written to may stand still: a pipe whose other end hangs, a terminal that is halted by Ctrl-S. The server must not, and
//! must be able to end. So whoever says something waits until it is written, as if there were no thread, for [`WRITTEN_MAX`]; and if it
//! is not by then, nobody waits until all is. No more than [`LINES_MAX`] lines do; one more is dropped, and counted.
//!
//! Not by `tracing-appender`: where its queue is full at the end it says so by `println!`, on the same terminal, and never ends.

use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use tracing_subscriber::fmt::MakeWriter;

/// Lines that wait.
const LINES_MAX: usize = 4_096;
/// How long one waits for its line.
const WRITTEN_MAX: Duration = Duration::from_millis(20);
/// How long the end of the process waits for all.
const END_MAX: Duration = Duration::from_secs(1);

/// The log of a process. Dropped, it waits until what was said is written, for a second at most.
pub struct Log(Writer);

/// A handle to it, which blocks for [`WRITTEN_MAX`] at most.
#[derive(Debug, Clone)]
pub struct Writer {
    lines: SyncSender<Vec<u8>>,
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    taken: AtomicU64,
    dropped: AtomicU64,
    written: Mutex<u64>,
    one_more: Condvar,
    /// Whether where they go stands still.
    stands: AtomicBool,
}

impl Counts {
    /// Waits until so many are written, or it took too long. Whether they are.
    fn wait(&self, most: Duration, lines: impl Fn() -> u64) -> bool {
        let written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.one_more.wait_timeout_while(written, most, |written| *written < lines());
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }

    fn has_written(&self) {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        *written += 1;
        if *written >= self.taken.load(Ordering::Acquire) {
            self.stands.store(false, Ordering::Relaxed);
        }
        drop(written);
        self.one_more.notify_all();
    }
}

impl Log {
    /// Begins to write.
    pub fn start(mut to: impl Write + Send + 'static) -> Self {
        let (lines, taken) = sync_channel::<Vec<u8>>(LINES_MAX);
        let counts = Arc::new(Counts::default());
        let counted = counts.clone();
        let writer = std::thread::Builder::new().name("log".into()).spawn(move || {
            for line in taken {
                // Where nobody listens there is nobody to tell that.
                let _ = to.write_all(&line);
                counted.has_written();
            }
        });
        // Without a thread lines are dropped, for the channel is closed, and counted.
        drop(writer);
        Self(Writer { lines, counts })
    }

    /// A handle for whoever says something.
    pub fn writer(&self) -> Writer {
        self.0.clone()
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        let counts = &self.0.counts;
        counts.wait(END_MAX, || counts.taken.load(Ordering::Acquire));
    }
}

impl Writer {
    /// Lines that were dropped.
    pub fn dropped(&self) -> u64 {
        self.counts.dropped.load(Ordering::Relaxed)
    }
}

/// A call is a line.
impl Write for Writer {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        // Before it is there: whoever waits for the end must not find fewer taken than written.
        let counts = &self.counts;
        let nth = counts.taken.fetch_add(1, Ordering::AcqRel) + 1;
        if self.lines.try_send(line.to_vec()).is_err() {
            counts.taken.fetch_sub(1, Ordering::AcqRel);
            counts.dropped.fetch_add(1, Ordering::Relaxed);
        } else if !counts.stands.load(Ordering::Relaxed) && !counts.wait(WRITTEN_MAX, || nth) {
            counts.stands.store(true, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Writer {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

#[cfg(test)]
pub(crate) mod tests;
