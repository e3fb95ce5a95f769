//! A client's bytes become events.
//!
//! What is kept between two reads is one of: nothing (the usual case, a null pointer); the bytes of a header
//! or control frame that is not whole yet (up to 131); the payload so far of a message that came in parts;
//! and, after the caller stopped in the middle of a read, what it did not yet take of it. Payload is unmasked
//! and, in a text, checked as UTF-8 as it comes, so a bad text is refused at the byte that makes it bad.

use std::ops::ControlFlow;

use fastwebsockets::unmask;

use super::frame::{Header, Opcode, Parsed};
use super::message::{Message, Progress};
use super::{Event, Violation};

/// How much a client may send at once. Checked on a frame's header, before its payload is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Most payload bytes of one text, binary or continuation frame.
    pub frame_bytes_max: usize,
    /// Most payload bytes of one message, however many frames it has.
    pub message_bytes_max: usize,
}

/// Reads one connection's frames. At rest it is one null pointer.
#[derive(Debug, Default)]
pub struct Decoder(Option<Box<State>>);

impl Decoder {
    /// A decoder at the first byte after the handshake.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes what one read brought, in order, and calls `on` for every event in it. `bytes` are unmasked in place.
    ///
    /// `on` stops the decoder by [`ControlFlow::Break`], right behind the frame of its event. The call then
    /// returns `Break` and the rest of `bytes` is kept. Go on by a later call with the next read or with an
    /// empty slice; not reading in between is what keeps the rest as small as one read.
    ///
    /// After [`Event::Close`] or a violation everything is ignored.
    ///
    /// # Errors
    /// The first violation. Events of the frames before it have been handed out.
    pub fn feed(
        &mut self,
        limits: Limits,
        bytes: &mut [u8],
        mut on: impl FnMut(Event<'_>) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, Violation> {
        let mut state = self.0.take().map_or_else(State::default, |state| *state);
        let fed = state.feed(limits, bytes, &mut on);
        if fed.is_err() {
            state = State { closed: true, ..State::default() };
        }
        if !state.is_at_rest() {
            self.0 = Some(Box::new(state));
        }
        fed
    }

    /// Whether nothing is kept: the client owes no byte of a frame or message, and none of its bytes wait here.
    pub fn is_at_rest(&self) -> bool {
        self.0.is_none()
    }

    /// Bytes of memory reserved for what is kept: at most one message, one control frame, and the rest of a
    /// read in which `on` stopped.
    pub fn reserved_bytes(&self) -> usize {
        self.0.as_ref().map_or(0, |state| {
            size_of::<State>()
                + state.rest.capacity()
                + state.message.as_ref().map_or(0, Message::reserved_bytes)
        })
    }
}

#[derive(Debug, Default)]
struct State {
    /// Bytes not looked at yet or not enough to go on with, from `rest_from`. Empty while a frame is under way.
    rest: Vec<u8>,
    rest_from: usize,
    message: Option<Message>,
    closed: bool,
}

/// Why parsing came to an end.
enum End {
    /// Nothing is left.
    Dry,
    /// What is left lacks this many bytes to go on with.
    Need(usize),
    /// The caller said so.
    Stopped,
    /// A close frame came.
    Closed,
}

impl State {
    fn is_at_rest(&self) -> bool {
        self.rest.is_empty() && self.message.is_none() && !self.closed
    }

    fn feed(
        &mut self,
        limits: Limits,
        mut bytes: &mut [u8],
        on: &mut impl FnMut(Event<'_>) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, Violation> {
        if self.closed {
            return Ok(ControlFlow::Continue(()));
        }
        // What an earlier read left goes first. Where it breaks off it gets just the bytes that complete a
        // header or a control frame, so that what follows is parsed where it lies.
        let mut rest = std::mem::take(&mut self.rest);
        let mut from = std::mem::take(&mut self.rest_from);
        while from < rest.len() {
            let (used, end) = self.parse(limits, &mut rest[from..], on)?;
            from += used;
            match end {
                End::Dry => {}
                End::Closed => return Ok(ControlFlow::Continue(())),
                End::Need(_) if bytes.is_empty() => {
                    self.keep(rest, from);
                    return Ok(ControlFlow::Continue(()));
                }
                End::Need(missing) => {
                    let (next, later) = bytes.split_at_mut(missing.min(bytes.len()));
                    rest.extend_from_slice(next);
                    bytes = later;
                }
                End::Stopped => {
                    rest.extend_from_slice(bytes);
                    self.keep(rest, from);
                    return Ok(ControlFlow::Break(()));
                }
            }
        }
        let (used, end) = self.parse(limits, bytes, on)?;
        if matches!(end, End::Need(_) | End::Stopped) {
            self.rest = bytes[used..].to_vec();
        }
        Ok(match end {
            End::Stopped => ControlFlow::Break(()),
            End::Dry | End::Need(_) | End::Closed => ControlFlow::Continue(()),
        })
    }

    /// Keeps `rest[from..]`. Moves it to its own memory only when more than half is used up, so that a caller
    /// who stops at every frame pays for each byte once or twice, and no buffer stays larger than twice its content.
    fn keep(&mut self, rest: Vec<u8>, from: usize) {
        if from > rest.len() / 2 {
            self.rest = rest[from..].to_vec();
        } else {
            self.rest = rest;
            self.rest_from = from;
        }
    }

    /// Takes frames from `input` until one of the [`End`]s; tells how many bytes it used.
    fn parse(
        &mut self,
        limits: Limits,
        input: &mut [u8],
        on: &mut impl FnMut(Event<'_>) -> ControlFlow<()>,
    ) -> Result<(usize, End), Violation> {
        let mut used = 0;
        loop {
            if let Some(message) = &mut self.message
                && let Some(missing) = message.missing()
            {
                let from = used;
                used += missing.min(input.len() - from);
                match message.take(&mut input[from..used], limits)? {
                    Progress::InFrame => return Ok((used, End::Dry)),
                    Progress::BetweenFrames => {}
                    Progress::Whole => {
                        let flow = on(message.event()?);
                        self.message = None;
                        if flow.is_break() {
                            return Ok((used, End::Stopped));
                        }
                    }
                }
            }
            if used == input.len() {
                return Ok((used, End::Dry));
            }
            let header = match Header::parse(&input[used..], self.message.is_some())? {
                Parsed::Whole(header) => header,
                Parsed::Need(missing) => return Ok((used, End::Need(missing))),
            };
            let payload_len = self.check_size(&header, limits)?;
            let payload_from = used + header.header_len;
            let here = input.len() - payload_from;
            let in_place = header.opcode.is_control() || header.fin && header.opcode != Opcode::Continuation;
            if in_place && here >= payload_len {
                used = payload_from + payload_len;
                let payload = &mut input[payload_from..used];
                unmask(payload, header.mask);
                let flow = on(Event::of(header.opcode, payload)?);
                if header.opcode == Opcode::Close {
                    *self = Self { closed: true, ..Self::default() };
                    return Ok((used, End::Closed));
                }
                if flow.is_break() {
                    return Ok((used, End::Stopped));
                }
            } else if header.opcode.is_control() {
                return Ok((used, End::Need(payload_len - here)));
            } else {
                used = payload_from;
                let message = self.message.get_or_insert_with(|| Message::new(header.opcode));
                message.begin_frame(&header, payload_len);
            }
        }
    }

    fn check_size(&self, header: &Header, limits: Limits) -> Result<usize, Violation> {
        let frame_too_big = Violation::FrameTooBig(limits.frame_bytes_max);
        let payload_len = usize::try_from(header.payload_len).map_err(|_| frame_too_big)?;
        if header.opcode.is_control() {
            return Ok(payload_len);
        }
        if payload_len > limits.frame_bytes_max {
            return Err(frame_too_big);
        }
        let so_far = self.message.as_ref().map_or(0, Message::len);
        match payload_len > limits.message_bytes_max.saturating_sub(so_far) {
            true => Err(Violation::MessageTooBig(limits.message_bytes_max)),
            false => Ok(payload_len),
        }
    }
}

#[cfg(test)]
mod tests;
