//! The checksum that every row carries, so that a changed bit is found when the row is read.

use hubbub_core::ports::store::Stored;
use xxhash_rust::xxh3::Xxh3;

use super::failure::damaged;

/// xxh3-64 over a table's name and a row's columns in order, key included: a whole row in a wrong place is found too.
pub(super) struct RowSum(Xxh3);

impl RowSum {
    pub(super) fn of(table: &str) -> Self {
        Self(Xxh3::new()).text(table)
    }

    pub(super) fn bytes(mut self, bytes: &[u8]) -> Self {
        // With its length before it, no two rows are the same sequence of bytes.
        self.0.update(&(bytes.len() as u64).to_be_bytes());
        self.0.update(bytes);
        self
    }

    pub(super) fn text(self, text: &str) -> Self {
        self.bytes(text.as_bytes())
    }

    pub(super) fn number(mut self, number: i64) -> Self {
        self.0.update(&number.to_be_bytes());
        self
    }

    pub(super) fn maybe_text(self, text: Option<&str>) -> Self {
        match text {
            Some(text) => self.number(1).text(text),
            None => self.number(0),
        }
    }

    pub(super) fn maybe_number(self, number: Option<i64>) -> Self {
        match number {
            Some(number) => self.number(1).number(number),
            None => self.number(0),
        }
    }

    /// As SQLite keeps it.
    pub(super) fn done(self) -> i64 {
        self.0.digest().cast_signed()
    }

    /// Says damage of `row` unless the stored sum is this one.
    pub(super) fn check(self, stored: i64, row: impl FnOnce() -> String) -> Stored<()> {
        match self.done() == stored {
            true => Ok(()),
            false => Err(damaged(format_args!("{}: checksum does not match", row()))),
        }
    }
}
