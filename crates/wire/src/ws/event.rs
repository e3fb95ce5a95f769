//! What a client said, made of a whole frame or message.

use std::str;

use super::{Opcode, Violation};

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

impl<'a> Event<'a> {
    /// The event of a whole, unmasked payload. A continuation has none of its own.
    pub(super) fn of(opcode: Opcode, payload: &'a [u8]) -> Result<Self, Violation> {
        Ok(match opcode {
            Opcode::Text => Self::Text(text(payload)?),
            Opcode::Binary | Opcode::Continuation => Self::Binary(payload),
            Opcode::Ping => Self::Ping(payload),
            Opcode::Pong => Self::Pong(payload),
            Opcode::Close => Self::Close(match payload {
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
}

fn text(bytes: &[u8]) -> Result<&str, Violation> {
    str::from_utf8(bytes).map_err(|_| Violation::NotUtf8)
}

/// Codes that RFC 6455 (7.4) or its IANA registry gives to close frames, and those for libraries and applications.
fn may_be_sent(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}
