//! A log that is written, and one that stands still.

use std::sync::mpsc;

use super::*;

/// What was written.
#[derive(Clone, Default)]
pub(crate) struct Written(pub(crate) Arc<Mutex<Vec<u8>>>);

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn what_was_said_is_written_by_the_end() {
    let written = Written::default();
    let log = Log::start(written.clone());
    for n in 0..1_000 {
        writeln!(log.writer(), "{n}").unwrap();
        assert!(written.0.lock().unwrap().ends_with(b"\n"), "{n} is there when it was said");
    }
    drop(log);
    let expected: String = (0..1_000).map(|n| format!("{n}\n")).collect();
    assert_eq!(String::from_utf8(written.0.lock().unwrap().clone()).unwrap(), expected);
}

/// Writes nothing until it is let go.
struct Stands(mpsc::Receiver<()>);

impl Write for Stands {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = self.0.recv();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn where_it_stands_still_lines_are_dropped_and_the_end_comes() {
    let (_never, stands) = mpsc::channel();
    let log = Log::start(Stands(stands));
    let lines = LINES_MAX as u64 + 100;
    for _ in 0..lines {
        log.writer().write_all(b"line\n").unwrap();
    }
    assert!((99..=100).contains(&log.writer().dropped()), "{}", log.writer().dropped());
    drop(log);
}
