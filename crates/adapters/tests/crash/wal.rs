//! Where commits end in a write-ahead log of SQLite, so that it can be hurt in a known place.

use std::ops::Range;

const HEADER: usize = 32;
const FRAME_HEADER: usize = 24;

/// The commits of a write-ahead log that are whole: the bytes of each, in order.
pub fn commits(wal: &[u8]) -> Vec<Range<usize>> {
    if wal.len() < HEADER {
        return vec![];
    }
    let page = u32::from_be_bytes(wal[8..12].try_into().unwrap()) as usize;
    let salts = &wal[16..24];
    let (mut commits, mut begin, mut at) = (Vec::new(), HEADER, HEADER);
    while at + FRAME_HEADER + page <= wal.len() && wal[at + 8..at + 16] == *salts {
        let ends = wal[at + 4..at + 8] != [0; 4];
        at += FRAME_HEADER + page;
        if ends {
            commits.push(begin..at);
            begin = at;
        }
    }
    commits
}

/// How many frames are in `bytes` of a write-ahead log.
pub fn frames(wal: &[u8], bytes: &Range<usize>) -> usize {
    let page = u32::from_be_bytes(wal[8..12].try_into().unwrap()) as usize;
    (bytes.end - HEADER) / (page + FRAME_HEADER)
}
