//! What all nodes must know at once.

use hubbub_core::ids::{Millis, UserId};
use hubbub_core::ports::revocations::TokenId;
use serde::{Deserialize, Serialize};

/// Something that all nodes must know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Control {
    /// A token was called back: no more of it until its end.
    Revoked {
        /// Whose: finds the connections.
        user: UserId,
        /// Which token.
        token: TokenId,
        /// When it ends by itself.
        until: Millis,
    },
    /// A user was banned: no more of them.
    Banned {
        /// Who.
        user: UserId,
    },
    /// A user's ban was lifted.
    BanLifted {
        /// Whose.
        user: UserId,
    },
}
