//! A client's bytes become events.
//!
//! What is kept between two reads is one of: nothing (the usual case, a null pointer); the bytes of a header
//! or control frame that is not whole yet (up to 131); the payload so far of a message that came in parts;
//! and, after the caller stopped in the middle of a read, what it did not yet take of it. Payload is unmasked
//! and, in a text, checked as UTF-8 as it comes, so a bad text is refused at the byte that makes it bad.

use std::ops::ControlFlow;
use std::str;

use fastwebsockets::unmask;

use super::Violation;
use super::frame::{Header, Opcode, Parsed};

/// How much a client may send at once. Checked on a frame's header, before its payload is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Most payload bytes of one text, binary or continuation frame.
    pub frame_bytes_max: usize,
    /// Most payload bytes of one message, however many frames it has.
    pub message_bytes_max: usize,
}

/// What a client said. It borrows from the read buffer: copy what is to be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event<'a> {
    /// A whole text message.
    Text(&'a str),
    /// A whole message of bytes.
    Binary(&'a [u8]),
    /// To be answered by a pong with the same payload, up to 125 bytes.
    Ping(&'a [u8]),
    /// An answer to a ping, or a sign of life nobody asked for.
    Pong(&'a [u8]),
    /// The last event: its code and reason, if it has any. To be echoed, then the socket is closed.
    Close(Option<(u16, &'a str)>),
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
                + state.message.as_ref().map_or(0, |m| m.bytes.capacity())
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

/// A message of which a part has come.
#[derive(Debug)]
struct Message {
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
            if let Some(frame) = self.message.as_mut().and_then(|message| message.frame.as_mut()) {
                let here = frame.missing.min(input.len() - used);
                let part = &mut input[used..used + here];
                used += here;
                match self.take_part(limits, part)? {
                    Part::FrameGoesOn => return Ok((used, End::Dry)),
                    Part::MessageGoesOn => {}
                    Part::MessageEnds(message) => {
                        if message.hand_out(on)?.is_break() {
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
                let event = event_of(header.opcode, payload)?;
                let flow = on(event);
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
                message.frame = Some(Frame { fin: header.fin, mask: header.mask, missing: payload_len });
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
        let so_far = self.message.as_ref().map_or(0, |message| message.bytes.len());
        match payload_len > limits.message_bytes_max.saturating_sub(so_far) {
            true => Err(Violation::MessageTooBig(limits.message_bytes_max)),
            false => Ok(payload_len),
        }
    }

    fn take_part(&mut self, limits: Limits, part: &mut [u8]) -> Result<Part, Violation> {
        let Some(mut message) = self.message.take() else { return Ok(Part::MessageGoesOn) };
        let Some(mut frame) = message.frame.take() else { return Ok(Part::MessageGoesOn) };
        unmask(part, frame.mask);
        frame.mask.rotate_left(part.len() % 4);
        message.append(part, &frame, limits)?;
        frame.missing -= part.len();
        if frame.missing == 0 && frame.fin {
            return Ok(Part::MessageEnds(message));
        }
        let part = if frame.missing == 0 { Part::MessageGoesOn } else { Part::FrameGoesOn };
        message.frame = (frame.missing > 0).then_some(frame);
        self.message = Some(message);
        Ok(part)
    }
}

/// What a part of a message's payload was.
enum Part {
    FrameGoesOn,
    MessageGoesOn,
    MessageEnds(Message),
}

impl Message {
    fn new(opcode: Opcode) -> Self {
        Self { is_text: opcode == Opcode::Text, bytes: Vec::new(), unchecked: 0, frame: None }
    }

    /// Room grows with what has come, by doubling, and never beyond what may still come: a header's claim
    /// alone reserves nothing.
    fn append(&mut self, part: &[u8], frame: &Frame, limits: Limits) -> Result<(), Violation> {
        let len = self.bytes.len();
        if self.bytes.capacity() - len < part.len() {
            let may_come = match frame.fin {
                true => frame.missing,
                false => limits.message_bytes_max.saturating_sub(len).max(part.len()),
            };
            self.bytes.reserve_exact(part.len().max(len).min(may_come));
        }
        self.bytes.extend_from_slice(part);
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

    fn hand_out(
        &self,
        on: &mut impl FnMut(Event<'_>) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, Violation> {
        let opcode = if self.is_text { Opcode::Text } else { Opcode::Binary };
        event_of(opcode, &self.bytes).map(on)
    }
}

/// The event of a whole payload. A continuation has none of its own.
fn event_of(opcode: Opcode, payload: &[u8]) -> Result<Event<'_>, Violation> {
    let text = |bytes| str::from_utf8(bytes).map_err(|_| Violation::NotUtf8);
    Ok(match opcode {
        Opcode::Text => Event::Text(text(payload)?),
        Opcode::Binary | Opcode::Continuation => Event::Binary(payload),
        Opcode::Ping => Event::Ping(payload),
        Opcode::Pong => Event::Pong(payload),
        Opcode::Close => Event::Close(match payload {
            [] => None,
            [_] => return Err(Violation::CloseTooShort),
            [high, low, reason @ ..] => {
                let code = u16::from_be_bytes([*high, *low]);
                if !may_be_sent(code) {
                    return Err(Violation::CloseCode(code));
                }
                Some((code, text(reason)?))
            }
        }),
    })
}

/// Codes that RFC 6455 (7.4) or its IANA registry gives to close frames, and those for libraries and applications.
fn may_be_sent(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

#[cfg(test)]
mod tests;
