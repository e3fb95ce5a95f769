//! The chain of segments that a room's log is stored in: which epoch's rows hold which seqs.
//!
//! Each segment names the one before it, so a reader starts at the epoch that a holder named and follows the chain
//! back. A segment ends where the next one *of the chain* starts. A row above that, or a segment outside the chain, was
//! written by a holder that was fenced: nobody was ever told of it, and nobody reads it.
//!
//! Source: `design/room-log-model.rs`, `read`; the model finds forks as soon as segments count without the chain.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use crate::ids::{Epoch, Seq};
use crate::ports::store::Segment;

/// Seqs that one segment holds for readers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// Whose rows.
    pub epoch: Epoch,
    /// Which of them, both ends included.
    pub seqs: RangeInclusive<u64>,
}

/// A chain that does not hold together: a segment names a predecessor that is not there, or one that is not older.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("segment of epoch {epoch} is missing or names no older one")]
pub struct BrokenChain {
    /// The segment that is wrong.
    pub epoch: Epoch,
}

/// Cuts `wanted` into the pieces of the segments, ascending. `newest` is the epoch that names `wanted`'s end as committed.
///
/// # Errors
/// [`BrokenChain`] when the pieces would not cover all of `wanted`.
pub fn pieces(
    segments: &[Segment],
    newest: Epoch,
    wanted: RangeInclusive<u64>,
) -> Result<Vec<Piece>, BrokenChain> {
    let by_epoch: BTreeMap<Epoch, &Segment> = segments.iter().map(|s| (s.epoch, s)).collect();
    let (first, mut last) = (*wanted.start(), *wanted.end());
    let mut found = Vec::new();
    let mut at = newest;
    while first <= last {
        let segment = by_epoch.get(&at).ok_or(BrokenChain { epoch: at })?;
        if segment.start.0 <= last {
            let from = segment.start.0.max(first);
            found.push(Piece { epoch: at, seqs: from..=last });
            if from == first {
                break;
            }
            last = from - 1;
        }
        at = segment.prev.filter(|prev| *prev < at).ok_or(BrokenChain { epoch: at })?;
    }
    found.reverse();
    Ok(found)
}

/// How many of `seqs` follow each other from `start` on: the end of a log is its longest unbroken prefix, for a row
/// after a gap was never acknowledged.
pub fn unbroken(start: Seq, seqs: impl IntoIterator<Item = Seq>) -> usize {
    seqs.into_iter().zip(start.0..).take_while(|(seq, expected)| seq.0 == *expected).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(epoch: u64, start: u64, prev: u64) -> Segment {
        Segment { epoch: Epoch(epoch), start: Seq(start), prev: (prev > 0).then_some(Epoch(prev)) }
    }

    fn piece(epoch: u64, seqs: RangeInclusive<u64>) -> Piece {
        Piece { epoch: Epoch(epoch), seqs }
    }

    #[test]
    fn each_seq_is_read_from_one_segment_of_the_chain() {
        // Epoch 4 was fenced before it said anything: 7 went on from 2.
        let segments = [segment(2, 1, 0), segment(4, 6, 2), segment(7, 6, 2), segment(9, 6, 7)];
        assert_eq!(pieces(&segments, Epoch(7), 3..=8), Ok(vec![piece(2, 3..=5), piece(7, 6..=8)]));
        assert_eq!(pieces(&segments, Epoch(9), 1..=6), Ok(vec![piece(2, 1..=5), piece(9, 6..=6)]));
        assert_eq!(pieces(&segments, Epoch(2), 1..=4), Ok(vec![piece(2, 1..=4)]));
    }

    #[test]
    fn nothing_is_wanted_of_an_empty_log() {
        #[expect(clippy::reversed_empty_ranges, reason = "an empty range is the case")]
        let none = 1..=0;
        assert_eq!(pieces(&[], Epoch(3), none), Ok(vec![]));
    }

    #[test]
    fn a_chain_with_a_missing_link_is_said() {
        assert_eq!(pieces(&[segment(7, 6, 2)], Epoch(7), 3..=8), Err(BrokenChain { epoch: Epoch(2) }));
        assert_eq!(pieces(&[segment(7, 6, 7)], Epoch(7), 3..=8), Err(BrokenChain { epoch: Epoch(7) }));
        assert_eq!(pieces(&[segment(7, 6, 0)], Epoch(7), 3..=8), Err(BrokenChain { epoch: Epoch(7) }));
    }

    #[test]
    fn a_log_ends_before_its_first_gap() {
        assert_eq!(unbroken(Seq(4), [4, 5, 7, 8].map(Seq)), 2);
        assert_eq!(unbroken(Seq(4), [5, 6].map(Seq)), 0);
    }
}
