//! Records in the order of their keys, however many there are: sorted in pieces that fit into memory, kept in a file without a
//! name, merged as they are read. The file is gone with the process, however that ends.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::File;
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::Path;

use anyhow::Context;

/// Bytes that are sorted at once.
const PIECE_BYTES: usize = 64 * 1024 * 1024;
/// Bytes of all reading buffers together, and of one at least.
const BUFFERS_BYTES: usize = 32 * 1024 * 1024;
const BUFFER_BYTES_MIN: usize = 16 * 1024;
/// Lengths of a key and of what it stands for, before both.
const HEAD_BYTES: usize = 8;

/// Takes records.
pub(super) struct Sorter {
    file: File,
    written: u64,
    /// Where each piece is in the file.
    pieces: Vec<(u64, u64)>,
    piece: Vec<u8>,
    /// Where each record of the piece begins.
    records: Vec<usize>,
    piece_bytes: usize,
}

/// A record: what it is sorted by, and what it says.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Record {
    pub(super) key: Vec<u8>,
    pub(super) value: Vec<u8>,
}

fn lengths(at: &[u8]) -> (usize, usize) {
    let number = |from: usize| {
        let bytes = at.get(from..from + 4).and_then(|bytes| bytes.try_into().ok());
        bytes.map_or(0, u32::from_be_bytes) as usize
    };
    (number(0), number(4))
}

fn key_of(piece: &[u8], record: usize) -> &[u8] {
    let (key, _) = lengths(&piece[record..]);
    &piece[record + HEAD_BYTES..record + HEAD_BYTES + key]
}

impl Sorter {
    /// With room for its file in this folder: as much as all records are.
    pub(super) fn new(folder: &Path) -> anyhow::Result<Self> {
        Self::in_pieces_of(folder, PIECE_BYTES)
    }

    fn in_pieces_of(folder: &Path, piece_bytes: usize) -> anyhow::Result<Self> {
        let file = tempfile::tempfile_in(folder);
        let file = file.with_context(|| format!("can't write to {}; see --scratch", folder.display()))?;
        Ok(Self { file, written: 0, pieces: Vec::new(), piece: Vec::new(), records: Vec::new(), piece_bytes })
    }

    /// Takes one more.
    pub(super) fn push(&mut self, key: &[u8], value: &[u8]) -> anyhow::Result<()> {
        let length = |bytes: &[u8]| u32::try_from(bytes.len()).context("a record of more than 4 GiB");
        let (key_bytes, value_bytes) = (length(key)?.to_be_bytes(), length(value)?.to_be_bytes());
        self.records.push(self.piece.len());
        for part in [&key_bytes[..], &value_bytes[..], key, value] {
            self.piece.extend_from_slice(part);
        }
        if self.piece.len() >= self.piece_bytes {
            self.write_piece()?;
        }
        Ok(())
    }

    fn write_piece(&mut self) -> anyhow::Result<()> {
        let Self { piece, records, .. } = self;
        // Stable: of two with the same key the one that came first is first.
        records.sort_by(|one, other| key_of(piece, *one).cmp(key_of(piece, *other)));
        let mut to = BufWriter::with_capacity(1024 * 1024, &self.file);
        for record in &*records {
            let (key, value) = lengths(&piece[*record..]);
            to.write_all(&piece[*record..record + HEAD_BYTES + key + value]).context("the scratch file")?;
        }
        to.flush().context("the scratch file")?;
        drop(to);
        let bytes = piece.len() as u64;
        self.pieces.push((self.written, self.written + bytes));
        self.written += bytes;
        piece.clear();
        records.clear();
        Ok(())
    }

    /// All that was taken, from the first.
    pub(super) fn sorted(mut self) -> anyhow::Result<Sorted> {
        if !self.records.is_empty() {
            self.write_piece()?;
        }
        let buffer = (BUFFERS_BYTES / self.pieces.len().max(1)).max(BUFFER_BYTES_MIN);
        let pieces = self.pieces.iter().map(|(from, end)| Piece {
            next: *from,
            end: *end,
            buffer: Vec::with_capacity(buffer),
            taken: 0,
        });
        let mut sorted = Sorted {
            file: self.file,
            bytes: self.written,
            buffer_bytes: buffer,
            pieces: pieces.collect(),
            firsts: BinaryHeap::new(),
        };
        let begin = Mark(self.pieces.iter().map(|(from, _)| *from).collect());
        sorted.rewind(&begin)?;
        Ok(sorted)
    }
}

/// A part of the file that is sorted.
struct Piece {
    /// Where in the file the buffer ends.
    next: u64,
    end: u64,
    buffer: Vec<u8>,
    /// Of the buffer.
    taken: usize,
}

impl Piece {
    /// Where in the file the next record begins.
    fn place(&self) -> u64 {
        self.next - (self.buffer.len() - self.taken) as u64
    }

    /// Makes sure that so many bytes are in the buffer.
    fn need(&mut self, file: &mut File, bytes: usize, at_once: usize) -> io::Result<()> {
        if self.buffer.len() - self.taken >= bytes {
            return Ok(());
        }
        self.buffer.drain(..self.taken);
        self.taken = 0;
        let left = usize::try_from(self.end - self.next).unwrap_or(usize::MAX);
        let more = at_once.max(bytes).min(left);
        file.seek(SeekFrom::Start(self.next))?;
        let read = file.take(more as u64).read_to_end(&mut self.buffer)?;
        self.next += read as u64;
        match self.buffer.len() >= bytes {
            true => Ok(()),
            false => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    fn next(&mut self, file: &mut File, at_once: usize) -> io::Result<Option<Record>> {
        if self.place() == self.end {
            return Ok(None);
        }
        self.need(file, HEAD_BYTES, at_once)?;
        let (key, value) = lengths(&self.buffer[self.taken..]);
        self.need(file, HEAD_BYTES + key + value, at_once)?;
        let from = self.taken + HEAD_BYTES;
        let record = Record {
            key: self.buffer[from..from + key].into(),
            value: self.buffer[from + key..from + key + value].into(),
        };
        self.taken = from + key + value;
        Ok(Some(record))
    }
}

/// Records in order.
pub(super) struct Sorted {
    file: File,
    bytes: u64,
    buffer_bytes: usize,
    pieces: Vec<Piece>,
    /// The next record of each piece, the first of all on top.
    firsts: BinaryHeap<Reverse<(Record, usize)>>,
}

/// A place to come back to.
pub(super) struct Mark(Vec<u64>);

impl Sorted {
    /// The next one.
    pub(super) fn next(&mut self) -> anyhow::Result<Option<Record>> {
        let Some(Reverse((record, piece))) = self.firsts.pop() else { return Ok(None) };
        self.fetch(piece)?;
        Ok(Some(record))
    }

    /// The next one's key.
    pub(super) fn peek(&self) -> Option<&[u8]> {
        self.firsts.peek().map(|Reverse((record, _))| &record.key[..])
    }

    fn fetch(&mut self, piece: usize) -> anyhow::Result<()> {
        let next = self.pieces[piece].next(&mut self.file, self.buffer_bytes);
        if let Some(record) = next.context("the scratch file")? {
            self.firsts.push(Reverse((record, piece)));
        }
        Ok(())
    }

    /// Where this is.
    pub(super) fn mark(&self) -> Mark {
        let mut places: Vec<u64> = self.pieces.iter().map(Piece::place).collect();
        for Reverse((record, piece)) in &self.firsts {
            places[*piece] -= (HEAD_BYTES + record.key.len() + record.value.len()) as u64;
        }
        Mark(places)
    }

    /// Goes back to a mark.
    pub(super) fn rewind(&mut self, mark: &Mark) -> anyhow::Result<()> {
        self.firsts.clear();
        for (number, place) in mark.0.iter().enumerate() {
            let piece = &mut self.pieces[number];
            let begins = piece.next - piece.buffer.len() as u64;
            match (begins..=piece.next).contains(place) {
                // Most often it is in the buffer still.
                true => piece.taken = (*place - begins) as usize,
                false => {
                    piece.buffer.clear();
                    (piece.next, piece.taken) = (*place, 0);
                }
            }
            self.fetch(number)?;
        }
        Ok(())
    }

    /// Of all bytes, how many are read.
    pub(super) fn read_of(&self) -> (u64, u64) {
        let left: u64 = self.pieces.iter().map(|piece| piece.end - piece.place()).sum();
        (self.bytes - left, self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn whatever_came_is_there_in_order_and_again_from_any_place(
            keys in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..12), 0..200),
            piece_bytes in 1usize..2_000, mark_at in 0usize..200,
        ) {
            let folder = tempfile::tempdir().unwrap();
            let mut sorter = Sorter::in_pieces_of(folder.path(), piece_bytes).unwrap();
            let mut expected = Vec::new();
            for (number, key) in keys.into_iter().enumerate() {
                let record = Record { key, value: vec![7; number] };
                sorter.push(&record.key, &record.value).unwrap();
                expected.push(record);
            }
            expected.sort_by(|one, other| one.key.cmp(&other.key));
            let mut sorted = sorter.sorted().unwrap();
            let mut mark = sorted.mark();
            let mut found = Vec::new();
            while let Some(record) = sorted.next().unwrap() {
                found.push(record);
                if found.len() == mark_at {
                    mark = sorted.mark();
                }
            }
            prop_assert_eq!(&found, &expected);
            let from = if mark_at <= expected.len() { mark_at } else { 0 };
            sorted.rewind(&mark).unwrap();
            let again = std::iter::from_fn(|| sorted.next().unwrap()).collect::<Vec<_>>();
            prop_assert_eq!(&again[..], &expected[from..]);
            prop_assert_eq!(sorted.read_of().0, sorted.read_of().1);
        }
    }
}
