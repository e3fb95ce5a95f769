//! Accounts and tokens.

use std::sync::Arc;

use hubbub_core::ids::{Millis, RoomId, UserId};
use hubbub_core::ports::accounts::{Role, Secret};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Where people's accounts are.
#[derive(Serialize, ToSchema)]
pub struct WhereAccountsAre {
    /// Whether people register and log in here; otherwise their tokens come from another service.
    pub built_in: bool,
}

/// A new account.
#[derive(Deserialize, ToSchema)]
pub struct Register {
    /// What others see.
    #[schema(value_type = String, required, min_length = 1, max_length = 80, example = "Ann")]
    pub name: Option<String>,
    /// The address to log in with.
    #[schema(value_type = String, required, max_length = 254, example = "ann@example.org")]
    pub email: Option<String>,
    /// 8 to 256 bytes.
    #[schema(value_type = String, required, format = Password, min_length = 8, max_length = 256, example = "correct horse")]
    pub password: Option<Secret>,
}

/// An account that was made.
#[derive(Serialize, ToSchema)]
pub struct Registered {
    /// The user's id.
    #[schema(value_type = String, example = "5f0c1d2e")]
    pub id: UserId,
    /// The user's name.
    #[schema(value_type = String, example = "Ann")]
    pub name: Arc<str>,
}

/// Address and password.
#[derive(Deserialize, ToSchema)]
pub struct LogIn {
    /// The address of the account.
    #[schema(value_type = String, required, example = "ann@example.org")]
    pub email: Option<String>,
    /// Its password.
    #[schema(value_type = String, required, format = Password, example = "correct horse")]
    pub password: Option<Secret>,
}

/// An access token.
#[derive(Serialize, ToSchema)]
pub struct Token {
    /// For `Authorization: Bearer` and for `hello`. It lasts for a limited time.
    pub token: String,
}

/// A token that was called back.
#[derive(Serialize, ToSchema)]
pub struct LoggedOut {
    /// When it would have ended by itself.
    #[schema(value_type = u64, example = 1767225600000_u64)]
    pub until: Millis,
}

/// Who a token stands for.
#[derive(Serialize, ToSchema)]
pub struct Validated {
    /// The user's id.
    #[schema(value_type = String, example = "5f0c1d2e")]
    pub user: UserId,
    /// The user's name.
    #[schema(value_type = String, example = "Ann")]
    pub name: Arc<str>,
    /// 1 a person, 3 a bot.
    #[serde(rename = "type")]
    #[schema(example = 1)]
    pub kind: u8,
    /// `user` may chat, `bot` answers commands. Of a token that came to a bot with a command: none.
    #[schema(value_type = Vec<String>, example = json!(["user"]))]
    pub roles: Vec<Role>,
    /// Of a token that came to a bot with a command: the room.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub chatroom: Option<RoomId>,
    /// Of such a token: the command's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
}
