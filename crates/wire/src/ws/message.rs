//! A message that came in several frames or several reads, gathered until it is whole.

use std::str;

use fastwebsockets::unmask;

use super::frame::Header;
use super::{Event, Limits, Opcode, Violation};

/// A message of which a part has come.
#[derive(Debug)]
pub(super) struct Message {
    is_text: bool,
    bytes: Vec<u8>,
    /// How many bytes at the end are the beginning of a character: 0 to 3.
    unchecked: usize,
    /// The frame under way; `None` between two frames.
    frame: Option<Frame>,
}

/// A frame of which a part has come.
#[derive(Debug)]
struct Frame {
    fin: bool,
    /// Rotated with every part, so that it fits the next byte.
    mask: [u8; 4],
    missing: usize,
}

/// How far a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    /// Its frame lacks bytes.
    InFrame,
    /// Another frame must follow.
    BetweenFrames,
    /// It is whole.
    Whole,
}

impl Message {
    /// A message that begins with a frame of this opcode.
    pub(super) fn new(opcode: Opcode) -> Self {
        Self { is_text: opcode == Opcode::Text, bytes: Vec::new(), unchecked: 0, frame: None }
    }

    /// Payload bytes so far.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Bytes of memory reserved for the payload.
    pub(super) fn reserved_bytes(&self) -> usize {
        self.bytes.capacity()
    }

    /// Goes on with the frame of this header, of `payload_len` bytes.
    pub(super) fn begin_frame(&mut self, header: &Header, payload_len: usize) {
        self.frame = Some(Frame { fin: header.fin, mask: header.mask, missing: payload_len });
    }

    /// How many bytes the frame under way lacks; `None` between two frames.
    pub(super) fn missing(&self) -> Option<usize> {
        self.frame.as_ref().map(|frame| frame.missing)
    }

    /// Takes a part of the frame under way, not longer than what is missing. Unmasks it in place.
    pub(super) fn take(&mut self, part: &mut [u8], limits: Limits) -> Result<Progress, Violation> {
        let Some(frame) = &mut self.frame else { return Ok(Progress::BetweenFrames) };
        unmask(part, frame.mask);
        frame.mask.rotate_left(part.len() % 4);
        // Room grows with what has come, by doubling, and never beyond what may still come: a header's claim
        // alone reserves nothing.
        let len = self.bytes.len();
        if self.bytes.capacity() - len < part.len() {
            let may_come = match frame.fin {
                true => frame.missing,
                false => limits.message_bytes_max.saturating_sub(len).max(part.len()),
            };
            self.bytes.reserve_exact(part.len().max(len).min(may_come));
        }
        self.bytes.extend_from_slice(part);
        frame.missing -= part.len();
        let progress = match (frame.missing, frame.fin) {
            (0, true) => Progress::Whole,
            (0, false) => Progress::BetweenFrames,
            _ => Progress::InFrame,
        };
        if progress != Progress::InFrame {
            self.frame = None;
        }
        self.check_text(len)?;
        Ok(progress)
    }

    /// Checks the text from `len` on, and the character that the part before broke off.
    fn check_text(&mut self, len: usize) -> Result<(), Violation> {
        if self.is_text {
            let from = len - self.unchecked;
            self.unchecked = match str::from_utf8(&self.bytes[from..]) {
                Ok(_) => 0,
                Err(error) if error.error_len().is_none() => self.bytes.len() - from - error.valid_up_to(),
                Err(_) => return Err(Violation::NotUtf8),
            };
        }
        Ok(())
    }

    /// The event of the whole message. A text is checked once more, which costs less than it saves to keep
    /// what is checked in another buffer: whole frames in one read, nearly all there are, never come here.
    pub(super) fn event(&self) -> Result<Event<'_>, Violation> {
        Event::of(if self.is_text { Opcode::Text } else { Opcode::Binary }, &self.bytes)
    }
}
