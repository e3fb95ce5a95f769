//! Files of one JSON document a line, as `mongoexport` writes them.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use anyhow::Context;

/// Longest line that is read: a document of MongoDB has 16 MiB at most, and as Extended JSON up to four times as much.
const LINE_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// What some editors put before a text.
const BYTE_ORDER_MARK: [u8; 3] = [0xEF, 0xBB, 0xBF];

/// A file of lines.
pub(super) struct Lines {
    name: String,
    file: BufReader<File>,
    number: u64,
    bytes: u64,
    bytes_read: u64,
    line: Vec<u8>,
}

/// One of them.
pub(super) struct Line<'a> {
    /// Counted from 1.
    pub(super) number: u64,
    /// `None` when it is too long.
    pub(super) text: Option<&'a [u8]>,
}

impl Lines {
    pub(super) fn open(path: &Path) -> anyhow::Result<Self> {
        let can_not = || format!("can't read {}", path.display());
        let file = File::open(path).with_context(can_not)?;
        let bytes = file.metadata().with_context(can_not)?.len();
        let name = path.display().to_string();
        let mut file = BufReader::with_capacity(256 * 1024, file);
        let begin = file.fill_buf().with_context(can_not)?;
        let other = match begin {
            [0x1F, 0x8B, ..] => Some("is compressed by gzip: unpack it first"),
            [0xFF, 0xFE, ..] | [0xFE, 0xFF, ..] => {
                Some("is in UTF-16: export it again, or convert it to UTF-8")
            }
            _ => None,
        };
        anyhow::ensure!(other.is_none(), "{name} {}", other.unwrap_or_default());
        let mark = if begin.starts_with(&BYTE_ORDER_MARK) { BYTE_ORDER_MARK.len() } else { 0 };
        file.consume(mark);
        let begin = file.fill_buf().with_context(can_not)?;
        let first = begin.iter().find(|byte| !byte.is_ascii_whitespace());
        anyhow::ensure!(
            first != Some(&b'['),
            "{name} is one JSON array; export it again without --jsonArray, so that each document is a line"
        );
        Ok(Self { name, file, number: 0, bytes, bytes_read: mark as u64, line: Vec::new() })
    }

    /// The file's name, for people.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Of its bytes, how many are read.
    pub(super) fn read_of(&self) -> (u64, u64) {
        (self.bytes_read, self.bytes)
    }

    /// The next line that is not empty.
    pub(super) fn next(&mut self) -> anyhow::Result<Option<Line<'_>>> {
        loop {
            self.line.clear();
            let failed = || format!("can't read {}", self.name);
            let mut limited = (&mut self.file).take(LINE_BYTES_MAX);
            let read = limited.read_until(b'\n', &mut self.line).with_context(failed)?;
            if read == 0 {
                return Ok(None);
            }
            (self.number, self.bytes_read) = (self.number + 1, self.bytes_read + read as u64);
            let number = self.number;
            if read as u64 == LINE_BYTES_MAX && self.line.last() != Some(&b'\n') {
                self.bytes_read += self.file.skip_until(b'\n').with_context(failed)? as u64;
                self.line.clear();
                return Ok(Some(Line { number, text: None }));
            }
            if !self.line.trim_ascii().is_empty() {
                return Ok(Some(Line { number, text: Some(self.line.trim_ascii()) }));
            }
        }
    }
}
