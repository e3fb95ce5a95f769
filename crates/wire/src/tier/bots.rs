//! What a gateway asks of a bridge to the bots, and what bridges tell each other.

use hubbub_core::ids::{Millis, RoomId, UserId};
use hubbub_core::ports::accounts::Secret;
use serde::{Deserialize, Serialize, Serializer};

/// Commands that one bot may announce.
pub const COMMANDS_OF_BOT_MAX: usize = 50;
/// Longest name of a command, in bytes.
pub const COMMAND_BYTES_MAX: usize = 32;
/// Longest usage line or description of a command, in characters.
pub const USAGE_CHARS_MAX: usize = 200;

/// A request to a bridge.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AskBots {
    /// Hand a member's command to the bots.
    Command(Command),
    /// Which commands are known?
    Known,
}

/// A member's command.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Command {
    /// Which: the same again when it is asked again.
    pub id: String,
    /// In which room it was given.
    pub room: RoomId,
    /// What was written: a text that begins with `/`, within the limits of one.
    pub text: String,
    /// What the bots are given of the member's right.
    #[serde(serialize_with = "reveal")]
    pub token: Secret,
    /// When it was given.
    pub at: Millis,
    /// For how long the asker waits, in milliseconds from now.
    pub timeout_ms: u32,
}

fn reveal<S: Serializer>(secret: &Secret, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(secret.reveal())
}

/// A bridge's answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToldBots {
    /// The broker confirmed the command.
    Confirmed,
    /// No bot has such a command: a text for its sender alone.
    NoSuchCommand(String),
    /// What there is to know about commands: a text for its sender alone.
    Help(String),
    /// The bots can't be reached. It was not given to them.
    Away,
    /// No answer of the broker came in time, or too many wait: it may have been given to them.
    Unavailable,
    /// The commands that bots announced.
    Known(Vec<CommandFacts>),
}

/// A command as its bot describes it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct CommandFacts {
    /// Its name, without the `/`.
    pub command: String,
    /// How it is written.
    pub usage: String,
    /// What it is for; empty if the bot did not say.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub about: String,
}

/// What bridges tell each other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Announcement {
    /// A bot has these commands, and no others.
    Commands {
        /// Which bot.
        bot: UserId,
        /// All of them.
        commands: Vec<CommandFacts>,
        /// How long ago it said so, in milliseconds.
        age_ms: u64,
    },
    /// Say again what you know: a bridge began.
    Wanted,
}

impl CommandFacts {
    /// The name of the command that a text gives: what stands between `/` and the first `=` or white space.
    pub fn name_in(text: &str) -> Option<&str> {
        let rest = text.strip_prefix('/')?;
        rest.split(|c: char| c == '=' || c.is_whitespace()).next()
    }

    /// Whether it is within the limits: a name of `a-z A-Z 0-9 _ -`, and lines that are lines.
    pub fn is_sound(&self) -> bool {
        let name = self.command.as_bytes();
        let line =
            |text: &str| text.chars().count() <= USAGE_CHARS_MAX && !text.chars().any(char::is_control);
        (1..=COMMAND_BYTES_MAX).contains(&name.len())
            && name.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'))
            && line(&self.usage)
            && line(&self.about)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commands_name_ends_where_its_argument_begins() {
        let names = ["/stock=AAPL", "/stock", "/stock AAPL", "/=x", "/", "stock"].map(CommandFacts::name_in);
        assert_eq!(names, [Some("stock"), Some("stock"), Some("stock"), Some(""), Some(""), None]);
    }

    #[test]
    fn a_command_crosses_the_bus_with_its_token_and_is_printed_without() {
        let command = Command {
            id: "c".into(),
            room: RoomId::parse("r").unwrap(),
            text: "/x".into(),
            token: Secret::new("hidden".into()),
            at: Millis(1),
            timeout_ms: 5,
        };
        let ask = AskBots::Command(command);
        assert!(!format!("{ask:?}").contains("hidden"));
        let mut payload = crate::tier::parcel::pack(&ask).into();
        let AskBots::Command(read) = crate::tier::parcel::header(&mut payload).unwrap() else {
            panic!("another request")
        };
        assert_eq!(read.token.reveal(), "hidden");
    }
}
