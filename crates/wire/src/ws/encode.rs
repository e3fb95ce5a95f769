//! A server's frames: whole, unmasked, appended to a buffer that the caller owns and may share between frames.

use std::ops::Deref;

use super::Opcode;
use super::frame::CONTROL_BYTES_MAX;

/// Most bytes of a close's reason: a control frame's 125 without the code.
pub const REASON_BYTES_MAX: usize = CONTROL_BYTES_MAX - 2;

/// A server frame's header: 2, 4 or 10 bytes, read through [`Deref`].
#[derive(Debug, Clone, Copy)]
pub struct Header {
    bytes: [u8; 10],
    len: u8,
}

impl Deref for Header {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

/// The header of a whole frame with a payload of `payload_len` bytes.
pub fn header(opcode: Opcode, payload_len: usize) -> Header {
    let mut bytes = [0; 10];
    bytes[0] = 0x80 | opcode as u8;
    let len = match (u8::try_from(payload_len), u16::try_from(payload_len)) {
        (Ok(short @ ..126), _) => {
            bytes[1] = short;
            2
        }
        (_, Ok(middle)) => {
            bytes[1] = 126;
            bytes[2..4].copy_from_slice(&middle.to_be_bytes());
            4
        }
        _ => {
            bytes[1] = 127;
            bytes[2..].copy_from_slice(&(payload_len as u64).to_be_bytes());
            10
        }
    };
    Header { bytes, len }
}

/// Appends one frame whose payload is `parts`, one after the other.
pub fn append(out: &mut Vec<u8>, opcode: Opcode, parts: &[&[u8]]) {
    let payload_len = parts.iter().map(|part| part.len()).sum();
    let header = header(opcode, payload_len);
    out.reserve(header.len() + payload_len);
    out.extend_from_slice(&header);
    for part in parts {
        out.extend_from_slice(part);
    }
}

/// Appends a text frame; the parts together must be UTF-8.
pub fn append_text(out: &mut Vec<u8>, parts: &[&[u8]]) {
    append(out, Opcode::Text, parts);
}

/// Appends a ping; what is beyond 125 bytes is cut off.
pub fn append_ping(out: &mut Vec<u8>, payload: &[u8]) {
    append(out, Opcode::Ping, &[&payload[..payload.len().min(CONTROL_BYTES_MAX)]]);
}

/// Appends a pong to a ping of this payload; what is beyond 125 bytes is cut off.
pub fn append_pong(out: &mut Vec<u8>, payload: &[u8]) {
    append(out, Opcode::Pong, &[&payload[..payload.len().min(CONTROL_BYTES_MAX)]]);
}

/// Appends a close. A reason longer than 123 bytes is cut at a character's end.
pub fn append_close(out: &mut Vec<u8>, code: u16, reason: &str) {
    let end = reason.floor_char_boundary(REASON_BYTES_MAX);
    append(out, Opcode::Close, &[&code.to_be_bytes(), &reason.as_bytes()[..end]]);
}

/// Appends a close that says nothing: the echo of one that said nothing.
pub fn append_close_empty(out: &mut Vec<u8>) {
    append(out, Opcode::Close, &[]);
}

/// The frames of bytes that were appended here, whole: what each is, and its payload.
pub fn frames(bytes: &[u8]) -> Frames<'_> {
    Frames { rest: bytes }
}

/// See [`frames`].
#[derive(Debug, Clone)]
pub struct Frames<'a> {
    rest: &'a [u8],
}

impl<'a> Frames<'a> {
    /// What follows the frame that was handed out last.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }
}

impl<'a> Iterator for Frames<'a> {
    type Item = (Opcode, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (&first, rest) = self.rest.split_first()?;
        let (&len, rest) = rest.split_first()?;
        let (len, rest) = match len {
            126 => rest.split_first_chunk().map(|(len, rest)| (u64::from(u16::from_be_bytes(*len)), rest))?,
            127 => rest.split_first_chunk().map(|(len, rest)| (u64::from_be_bytes(*len), rest))?,
            short => (u64::from(short), rest),
        };
        let (payload, rest) = rest.split_at_checked(usize::try_from(len).ok()?)?;
        self.rest = rest;
        Some((Opcode::from_bits(first & 0x0F)?, payload))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_takes_the_fewest_bytes() {
        let cases: [(usize, &[u8]); 6] = [
            (0, &[0x81, 0]),
            (125, &[0x81, 125]),
            (126, &[0x81, 126, 0, 126]),
            (65_535, &[0x81, 126, 0xFF, 0xFF]),
            (65_536, &[0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
            (1 << 40, &[0x81, 127, 0, 0, 1, 0, 0, 0, 0, 0]),
        ];
        for (len, bytes) in cases {
            assert_eq!(&*header(Opcode::Text, len), bytes, "{len}");
        }
    }

    #[test]
    fn parts_become_one_frame_behind_what_is_there() {
        let mut out = b"before".to_vec();
        append_text(&mut out, &[b"{\"a\":", b"1", b"}"]);
        append_pong(&mut out, b"p");
        assert_eq!(out, b"before\x81\x07{\"a\":1}\x8A\x01p");
    }

    #[test]
    fn a_reason_is_cut_between_characters() {
        let mut out = Vec::new();
        append_close(&mut out, 1008, &format!("a{}", "ü".repeat(100)));
        // 1 + 61 * 2 = 123 bytes would fit exactly; one byte before it, the 62nd ü would be split.
        assert_eq!(out[..4], [0x88, 125, 0x03, 0xF0]);
        out.clear();
        append_close(&mut out, 1008, &"ü".repeat(100));
        assert_eq!(out[..2], [0x88, 2 + 122]);
        assert!(std::str::from_utf8(&out[4..]).is_ok());
        out.clear();
        append_close_empty(&mut out);
        assert_eq!(out, [0x88, 0]);
    }

    #[test]
    fn what_was_appended_is_found_again() {
        let mut out = Vec::new();
        for len in [0, 125, 126, 65_535, 65_536] {
            append_text(&mut out, &[&vec![b'x'; len]]);
        }
        append_close(&mut out, 1001, "");
        let found: Vec<_> = frames(&out).map(|(opcode, payload)| (opcode, payload.len())).collect();
        let texts = [0, 125, 126, 65_535, 65_536].map(|len| (Opcode::Text, len));
        assert_eq!(found, [&texts[..], &[(Opcode::Close, 2)]].concat());
        assert_eq!(frames(&out[..out.len() - 1]).count(), 5, "what is cut short is no frame");
    }

    #[test]
    fn a_control_frame_keeps_to_125_bytes() {
        let mut out = Vec::new();
        append_ping(&mut out, &[7; 200]);
        assert_eq!((out[0], out[1], out.len()), (0x89, 125, 127));
    }
}
