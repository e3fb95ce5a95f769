//! What a measured message's body says about itself, found in a delivery by a search for bytes.
//!
//! A delivery is never parsed as JSON: at 400,000 of them a second the generator would be the limit.

use std::sync::LazyLock;

use memchr::memmem::Finder;

/// Bytes of a stamp: a body can't be shorter.
pub const STAMP_BYTES: usize = 2 + ROOM_DIGITS + SENDER_DIGITS + COUNT_DIGITS + DUE_DIGITS;

const MARK: &[u8; 2] = b"~#";
const FILLER: u8 = b'x';
const ROOM_DIGITS: usize = 6;
const SENDER_DIGITS: usize = 6;
const COUNT_DIGITS: usize = 8;
const DUE_DIGITS: usize = 12;

static FINDER: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(MARK));

/// Which message of the run this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// Number of its room.
    pub room: u32,
    /// Which of the room's members sent it.
    pub sender: u32,
    /// Which of the room's messages it is: 0, 1, 2 …
    pub count: u32,
    /// When it was due, in microseconds from the start of the run.
    pub due: u64,
}

/// A stamp in what came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found<'a> {
    /// The stamp.
    pub stamp: Stamp,
    /// What is before it.
    pub head: &'a [u8],
    /// What is behind it: the rest of the body first.
    pub rest: &'a [u8],
}

impl Stamp {
    /// What follows the stamp of a body of `bytes` bytes, with the quotation mark at its end.
    pub fn filler(bytes: usize) -> Vec<u8> {
        let mut filler = vec![FILLER; bytes.saturating_sub(STAMP_BYTES)];
        filler.push(b'"');
        filler
    }

    /// Appends a body of `bytes` bytes: the stamp, and filler that needs no escape in JSON.
    pub fn write_body(&self, bytes: usize, out: &mut Vec<u8>) {
        let end = out.len() + bytes.max(STAMP_BYTES);
        out.extend_from_slice(MARK);
        digits(u64::from(self.room), ROOM_DIGITS, out);
        digits(u64::from(self.sender), SENDER_DIGITS, out);
        digits(u64::from(self.count), COUNT_DIGITS, out);
        digits(self.due, DUE_DIGITS, out);
        out.resize(end, FILLER);
    }

    /// Finds the stamp in a frame, whatever is around it.
    pub fn find(frame: &[u8]) -> Option<Found<'_>> {
        let (head, marked) = frame.split_at(FINDER.find(frame)?);
        let (stamp, behind) = marked.split_at_checked(STAMP_BYTES)?;
        let mut rest = &stamp[MARK.len()..];
        let mut take = |count| {
            let (digits, behind) = rest.split_at_checked(count)?;
            rest = behind;
            number(digits)
        };
        let stamp = Self {
            room: u32::try_from(take(ROOM_DIGITS)?).ok()?,
            sender: u32::try_from(take(SENDER_DIGITS)?).ok()?,
            count: u32::try_from(take(COUNT_DIGITS)?).ok()?,
            due: take(DUE_DIGITS)?,
        };
        Some(Found { stamp, head, rest: behind })
    }
}

/// The text that follows `name`, which ends with its quotation mark, as in `"room":"r"`. What we look for has no escapes.
pub fn text_after<'a>(name: &Finder<'_>, frame: &'a [u8]) -> Option<&'a [u8]> {
    let rest = &frame[name.find(frame)? + name.needle().len()..];
    Some(&rest[..memchr::memchr(b'"', rest)?])
}

/// The whole number that follows `name` in a frame, as in `"seq":17`.
pub fn number_after(name: &Finder<'_>, frame: &[u8]) -> Option<u64> {
    let rest = &frame[name.find(frame)? + name.needle().len()..];
    let rest = rest.trim_ascii_start();
    let len = rest.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(rest.len());
    number(&rest[..len])
}

fn digits(mut value: u64, count: usize, out: &mut Vec<u8>) {
    let start = out.len();
    out.resize(start + count, b'0');
    for place in out[start..].iter_mut().rev() {
        *place = b'0' + (value % 10) as u8;
        value /= 10;
    }
}

/// A number in decimal digits and nothing else.
pub fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |value, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        value.checked_mul(10)?.checked_add(digit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAMP: Stamp = Stamp { room: 199, sender: 9, count: 40_000, due: 9_876_543 };

    #[test]
    fn a_stamp_is_found_in_whatever_is_around_it() {
        for bytes in [0, 64, 128, 4_096] {
            let mut frame = br#"{"type":"message","seq":7,"text":""#.to_vec();
            let before = frame.len();
            STAMP.write_body(bytes, &mut frame);
            assert_eq!(frame.len() - before, bytes.max(STAMP_BYTES));
            frame.extend_from_slice(br#"","at":1}"#);
            let found = Stamp::find(&frame).expect("a stamp");
            assert_eq!((found.stamp, found.head), (STAMP, &frame[..before]));
            assert!(found.rest.starts_with(&Stamp::filler(bytes)), "{found:?}");
        }
    }

    #[test]
    fn what_is_no_stamp_is_none() {
        for frame in
            [&b""[..], b"{}", b"~#", b"~#00000100000100000001", b"~#abcdefghijklmnopqrstuvwxyzabcdefgh"]
        {
            assert_eq!(Stamp::find(frame), None);
        }
    }

    #[test]
    fn numbers_are_read_with_or_without_a_space() {
        let seq = Finder::new(b"\"seq\":");
        assert_eq!(number_after(&seq, br#"{"seq":17,"x":1}"#), Some(17));
        assert_eq!(number_after(&seq, br#"{"seq": 18}"#), Some(18));
        assert_eq!(number_after(&seq, br#"{"seq":"a"}"#), None);
        assert_eq!(number_after(&seq, b"{}"), None);
    }
}
