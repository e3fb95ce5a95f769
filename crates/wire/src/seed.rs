//! The numbers of the system that this one replaces: what its clients are told by, over Socket.IO and in `error` over HTTP.
//! The one table of them.

use hubbub_core::entry::Kind;

/// An error's number.
pub type ErrorNumber = u16;

/// No error.
pub const NONE: ErrorNumber = 0;
/// Any other.
pub const UNKNOWN: ErrorNumber = 500;
/// There is no such room.
pub const NO_SUCH_ROOM: ErrorNumber = 600;
/// A message can't be sent.
pub const NOT_SENT: ErrorNumber = 602;
/// History can't be read.
pub const NO_HISTORY: ErrorNumber = 604;
/// The access token is not valid.
pub const INVALID_TOKEN: ErrorNumber = 1000;
/// The address or the password is wrong.
pub const INVALID_CREDENTIALS: ErrorNumber = 1001;
/// The account lacks the role.
pub const ROLE_MISSING: ErrorNumber = 1002;
/// The account service is away.
pub const ACCOUNTS_AWAY: ErrorNumber = 1003;
/// The account service refused.
pub const ACCOUNTS_REFUSED: ErrorNumber = 1004;

/// What was attempted: a failure is numbered by that where nothing better is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attempt {
    /// To send a message.
    Send,
    /// To read a room's log.
    History,
    /// Anything with accounts.
    Accounts,
    /// Anything else.
    Other,
}

impl Attempt {
    /// The number of its failure.
    pub fn number(self) -> ErrorNumber {
        match self {
            Self::Send => NOT_SENT,
            Self::History => NO_HISTORY,
            Self::Accounts => ACCOUNTS_REFUSED,
            Self::Other => UNKNOWN,
        }
    }
}

/// A person's account; a bot's is [`BOT`].
pub const PERSON: u8 = 1;
/// A bot's account.
pub const BOT: u8 = 3;

/// A message's `type`. Other entries have none: they are events of their own.
pub fn message_type(kind: Kind) -> Option<u8> {
    match kind {
        // A bot's answer is a text like any other there.
        Kind::Text | Kind::Bot => Some(1),
        Kind::Link => Some(2),
        Kind::Image => Some(3),
        Kind::Join | Kind::Leave | Kind::Topic | Kind::Erase | Kind::Erased | Kind::Retention => None,
    }
}

/// A `status`: of a user who is there or not, and of one who writes or stopped.
pub fn status(on: bool) -> u8 {
    u8::from(on)
}
