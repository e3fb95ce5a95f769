//! What a client may do wrong in its frames, and what it is told.

/// Why a connection's bytes can't be read on. The connection is to be closed with [`Violation::close_code`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// A client must mask every frame (RFC 6455, 5.1).
    #[error("a client's frames must be masked")]
    Unmasked,
    /// A reserved bit without an extension that gives it a meaning (5.2).
    #[error("a reserved bit is set and no extension was agreed")]
    ReservedBits,
    /// An opcode that means nothing (5.2).
    #[error("opcode {0} is reserved")]
    ReservedOpcode(u8),
    /// A ping, pong or close with more than 125 bytes (5.5).
    #[error("a control frame has more than 125 bytes")]
    ControlTooLong,
    /// A ping, pong or close in several frames (5.5).
    #[error("a control frame is fragmented")]
    ControlFragmented,
    /// A length in more bytes than it needs (5.2).
    #[error("a length is written in more bytes than it needs")]
    LengthNotMinimal,
    /// A length of 2^63 bytes or more (5.2).
    #[error("the top bit of a length is set")]
    LengthTopBit,
    /// A continuation without a message that it could continue (5.4).
    #[error("a continuation frame continues nothing")]
    NothingToContinue,
    /// A text or binary frame before the last message ended (5.4).
    #[error("a message begins inside another one")]
    MessageInMessage,
    /// A close frame of one byte: half a code (5.5.1).
    #[error("a close frame has half a code")]
    CloseTooShort,
    /// A code that must not be sent (7.4).
    #[error("close code {0} must not be sent")]
    CloseCode(u16),
    /// Text, or a close's reason, that is not UTF-8 (8.1).
    #[error("text is not UTF-8")]
    NotUtf8,
    /// A frame longer than [`Limits::frame_bytes_max`](super::Limits::frame_bytes_max).
    #[error("a frame is longer than {0} bytes")]
    FrameTooBig(usize),
    /// A message longer than [`Limits::message_bytes_max`](super::Limits::message_bytes_max).
    #[error("a message is longer than {0} bytes")]
    MessageTooBig(usize),
}

impl Violation {
    /// The code for the close frame: 1002 protocol error, 1007 invalid payload, 1009 too big.
    pub fn close_code(self) -> u16 {
        match self {
            Self::NotUtf8 => 1007,
            Self::FrameTooBig(_) | Self::MessageTooBig(_) => 1009,
            Self::Unmasked
            | Self::ReservedBits
            | Self::ReservedOpcode(_)
            | Self::ControlTooLong
            | Self::ControlFragmented
            | Self::LengthNotMinimal
            | Self::LengthTopBit
            | Self::NothingToContinue
            | Self::MessageInMessage
            | Self::CloseTooShort
            | Self::CloseCode(_) => 1002,
        }
    }

    /// The label of metrics, one a variant: it never changes and never carries a client's data.
    pub fn label(self) -> &'static str {
        match self {
            Self::Unmasked => "unmasked",
            Self::ReservedBits => "reserved_bits",
            Self::ReservedOpcode(_) => "reserved_opcode",
            Self::ControlTooLong => "control_too_long",
            Self::ControlFragmented => "control_fragmented",
            Self::LengthNotMinimal => "length_not_minimal",
            Self::LengthTopBit => "length_top_bit",
            Self::NothingToContinue => "nothing_to_continue",
            Self::MessageInMessage => "message_in_message",
            Self::CloseTooShort => "close_too_short",
            Self::CloseCode(_) => "close_code",
            Self::NotUtf8 => "not_utf8",
            Self::FrameTooBig(_) => "frame_too_big",
            Self::MessageTooBig(_) => "message_too_big",
        }
    }
}
