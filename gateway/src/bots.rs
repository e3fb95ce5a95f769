//! Commands: a member's text that begins with `/` is no entry of the log, but goes to the bots.

use std::future::Future;
use std::time::SystemTime;

use futures_util::FutureExt;
use hubbub_core::code::Code;
use hubbub_core::ids::{Key, RoomId, User, UserId};
use hubbub_core::limits::Content;
use hubbub_core::ports::accounts::{CommandRight, Secret};
use hubbub_core::room::Refusal;
use hubbub_wire::native::request::BadRequest;
use hubbub_wire::tier::bots::{Command, ToldBots};
use sha2::{Digest, Sha256};

use crate::Gateway;
use crate::config::BotTokens;
use crate::error::Failure;

/// A command that was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Given {
    /// Its id.
    pub command: String,
    /// What its sender alone is told, if it was answered here and now.
    pub notice: Option<String>,
}

/// The text of a message that is a command.
pub fn command_in(content: &Content) -> Option<&str> {
    match content {
        Content::Text(text) if text.starts_with('/') => Some(text),
        _ => None,
    }
}

impl Gateway {
    /// Whether bots are given whole access tokens, which connections keep for that.
    pub fn gives_whole_tokens(&self) -> bool {
        match self.config.bot_tokens {
            BotTokens::Nothing => false,
            BotTokens::ForCommand => self.accounts.built_in().is_none(),
            BotTokens::Whole => true,
        }
    }

    /// Asks a room's holder whether somebody is a member: what another gateway acknowledged, or this one a moment ago, may not be heard
    /// here yet. The question is on its way when this returns.
    ///
    /// # Errors
    /// `NotMember`; `Unavailable`.
    pub fn check_member(
        &self,
        room: &RoomId,
        user: &UserId,
    ) -> impl Future<Output = Result<(), Failure>> + 'static + use<> {
        self.asker.sync(room, 0, vec![user.clone()]).map(|synced| match synced {
            Ok((synced, _)) if !synced.members.is_empty() => Ok(()),
            Ok(_) | Err(Failure::Refused(Refusal::NoSuchRoom)) => Err(Refusal::NotMember.into()),
            Err(failure) => Err(failure),
        })
    }

    /// Gives a member's command to the bots. It is on its way when this returns. `bearer` is the member's access token, where
    /// bots are given it.
    ///
    /// # Errors
    /// `NoBots`, `BotsAway`; `Bad` where there is no such command; `Unavailable`, and then the bots may have it.
    pub fn give_command(
        &self,
        user: &User,
        bearer: Option<&Secret>,
        room: RoomId,
        text: String,
        key: Option<&Key>,
    ) -> impl Future<Output = Result<Given, Failure>> + 'static + use<> {
        let id = command_id(user, &room, key);
        let token = self.token_for_bots(user, bearer, &room, &id);
        let asker = self.asker.clone();
        let told = token.map(|token| {
            let command =
                Command { id: id.clone(), room, text, token, at: SystemTime::now().into(), timeout_ms: 0 };
            asker.command(&user.id, command)
        });
        async move {
            let given = |notice| Ok(Given { command: id, notice });
            match told?.await? {
                ToldBots::Confirmed => given(None),
                ToldBots::Help(text) => given(Some(text)),
                ToldBots::NoSuchCommand(message) => {
                    Err(BadRequest { code: Code::BadRequest, field: None, message }.into())
                }
                ToldBots::Away => Err(Failure::BotsAway),
                ToldBots::Unavailable | ToldBots::Known(_) => Err(Failure::Unavailable),
            }
        }
    }

    fn token_for_bots(
        &self,
        user: &User,
        bearer: Option<&Secret>,
        room: &RoomId,
        command: &str,
    ) -> Result<Secret, Failure> {
        if self.config.bot_tokens == BotTokens::Nothing {
            return Ok(Secret::new(String::new()));
        }
        match (self.gives_whole_tokens(), bearer, self.accounts.built_in()) {
            (true, Some(bearer), _) => Ok(bearer.clone()),
            (_, _, Some(accounts)) => {
                let (user, room) = (user.clone(), room.clone());
                Ok(accounts.command_token(CommandRight { user, room, command: command.into() })?)
            }
            (_, None, None) | (false, Some(_), None) => Err(Failure::Unavailable),
        }
    }
}

/// A command's id. With a key it is made from user, room and key, so that a repeat, whichever gateway it comes to, is the same
/// command; without one it is new.
fn command_id(user: &User, room: &RoomId, key: Option<&Key>) -> String {
    let Some(key) = key else { return uuid::Uuid::now_v7().simple().to_string() };
    let mut hash = Sha256::new();
    for part in ["command", user.id.as_str(), room.as_str(), key.as_str()] {
        hash.update(part);
        hash.update([0]);
    }
    let digest: [u8; 32] = hash.finalize().into();
    digest[..16].iter().map(|byte| format!("{byte:02x}")).collect()
}
