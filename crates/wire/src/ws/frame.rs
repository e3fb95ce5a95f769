//! A frame's header: what it says, and what is wrong with it when it is read alone.

use super::Violation;

/// Most payload bytes of a ping, pong or close.
pub(super) const CONTROL_BYTES_MAX: usize = 125;

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Opcode {
    /// Goes on with the message that a frame before began.
    Continuation = 0x0,
    /// Begins a text.
    Text = 0x1,
    /// Begins a message of bytes.
    Binary = 0x2,
    /// Ends the connection.
    Close = 0x8,
    /// Asks for a pong.
    Ping = 0x9,
    /// Answers a ping.
    Pong = 0xA,
}

impl Opcode {
    pub(super) fn from_bits(bits: u8) -> Option<Self> {
        Some(match bits {
            0x0 => Self::Continuation,
            0x1 => Self::Text,
            0x2 => Self::Binary,
            0x8 => Self::Close,
            0x9 => Self::Ping,
            0xA => Self::Pong,
            _ => return None,
        })
    }

    /// Whether this is a ping, pong or close: short, never fragmented, allowed between a message's frames.
    pub fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong)
    }
}

/// The header of a client's frame.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub fin: bool,
    pub opcode: Opcode,
    pub payload_len: u64,
    pub mask: [u8; 4],
    /// Bytes of the header itself: 6 to 14.
    pub header_len: usize,
}

/// A header, or how many bytes more it takes to go on with it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Parsed {
    Whole(Header),
    Need(usize),
}

impl Header {
    /// Reads the header at the start of `input`. `in_message`: whether a message has begun and not ended.
    ///
    /// Whatever the first two bytes show to be wrong is refused when they are there.
    pub(super) fn parse(input: &[u8], in_message: bool) -> Result<Parsed, Violation> {
        let &[first, second, ref after @ ..] = input else {
            return Ok(Parsed::Need(2 - input.len()));
        };
        let fin = first & 0x80 != 0;
        if first & 0x70 != 0 {
            return Err(Violation::ReservedBits);
        }
        let opcode = Opcode::from_bits(first & 0x0F).ok_or(Violation::ReservedOpcode(first & 0x0F))?;
        if second & 0x80 == 0 {
            return Err(Violation::Unmasked);
        }
        let short_len = second & 0x7F;
        check_first(fin, opcode, short_len, in_message)?;

        let extended_len = match short_len {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let header_len = 2 + extended_len + 4;
        if input.len() < header_len {
            return Ok(Parsed::Need(header_len - input.len()));
        }
        let (extended, after) = after.split_at(extended_len);
        let payload_len = match short_len {
            126 | 127 => extended.iter().fold(0, |len, byte| len << 8 | u64::from(*byte)),
            short => u64::from(short),
        };
        match short_len {
            126 if payload_len < 126 => return Err(Violation::LengthNotMinimal),
            127 if payload_len >> 63 == 1 => return Err(Violation::LengthTopBit),
            127 if payload_len < 1 << 16 => return Err(Violation::LengthNotMinimal),
            _ => {}
        }
        let mask = [after[0], after[1], after[2], after[3]];
        Ok(Parsed::Whole(Self { fin, opcode, payload_len, mask, header_len }))
    }
}

fn check_first(fin: bool, opcode: Opcode, short_len: u8, in_message: bool) -> Result<(), Violation> {
    match opcode {
        _ if opcode.is_control() && !fin => Err(Violation::ControlFragmented),
        _ if opcode.is_control() && usize::from(short_len) > CONTROL_BYTES_MAX => {
            Err(Violation::ControlTooLong)
        }
        Opcode::Continuation if !in_message => Err(Violation::NothingToContinue),
        Opcode::Text | Opcode::Binary if in_message => Err(Violation::MessageInMessage),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_tells_how_many_bytes_it_lacks() {
        let whole = [0x82, 0xFE, 0x01, 0x00, 1, 2, 3, 4];
        for have in 0..whole.len() {
            let need = if have < 2 { 2 - have } else { whole.len() - have };
            assert_eq!(Header::parse(&whole[..have], false), Ok(Parsed::Need(need)), "{have} bytes");
        }
        let header =
            Header { fin: true, opcode: Opcode::Binary, payload_len: 256, mask: [1, 2, 3, 4], header_len: 8 };
        assert_eq!(Header::parse(&whole, false), Ok(Parsed::Whole(header)));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let cases: [(&[u8], bool, Violation); 14] = [
            (&[0x81, 0x01], false, Violation::Unmasked),
            (&[0xC1, 0x81], false, Violation::ReservedBits),
            (&[0xA1, 0x81], false, Violation::ReservedBits),
            (&[0x91, 0x81], false, Violation::ReservedBits),
            (&[0x83, 0x81], false, Violation::ReservedOpcode(3)),
            (&[0x8F, 0x81], false, Violation::ReservedOpcode(15)),
            (&[0x89, 0xFE], false, Violation::ControlTooLong),
            (&[0x08, 0x80], false, Violation::ControlFragmented),
            (&[0x80, 0x80], false, Violation::NothingToContinue),
            (&[0x81, 0x80], true, Violation::MessageInMessage),
            (&[0x82, 0xFE, 0, 125, 0, 0, 0, 0], false, Violation::LengthNotMinimal),
            (&[0x82, 0xFF, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF, 0, 0, 0, 0], false, Violation::LengthNotMinimal),
            (&[0x82, 0xFF, 0x80, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0], false, Violation::LengthTopBit),
            (&[0x82, 0xFF, 0xFF, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], false, Violation::LengthTopBit),
        ];
        for (input, in_message, violation) in cases {
            assert_eq!(Header::parse(input, in_message), Err(violation), "{input:x?}");
        }
    }
}
