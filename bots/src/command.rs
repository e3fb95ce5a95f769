//! What the bot can be told. Pure.

/// What people are told of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CommandFacts {
    /// Its name, without the slash.
    pub command: &'static str,
    /// How it is written.
    pub usage: &'static str,
    /// What it does, in a sentence.
    pub about: &'static str,
}

const HELLO: CommandFacts =
    CommandFacts { command: "hello", usage: "/hello=NAME", about: "Greets someone by name" };
const STOCK: CommandFacts =
    CommandFacts { command: "stock", usage: "/stock=CODE", about: "Says what a share costs" };

/// All commands, as they are announced to the chat.
pub const COMMANDS: &[CommandFacts] = &[HELLO, STOCK];

const NAME_CHARS_MAX: usize = 64;
const CODE_CHARS_MAX: usize = 32;

/// A command that can be answered.
#[derive(Debug, PartialEq, Eq)]
pub enum Command {
    /// Greets them: 1 to 64 characters, none of them a control character.
    Hello(String),
    /// Quotes it: 1 to 32 visible characters of ASCII, in upper case.
    Stock(String),
}

impl Command {
    /// Reads `/hello=NAME` or `/stock=CODE`.
    ///
    /// # Errors
    /// The line that says how the command is written, or, if it is none of ours, how all are.
    pub fn read(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let (command, value) = text.split_once('=').unwrap_or((text, ""));
        let value = value.trim();
        match command {
            "/hello" if is_name(value) => Ok(Self::Hello(value.into())),
            "/hello" => Err(usage(&[HELLO])),
            "/stock" if is_code(value) => Ok(Self::Stock(value.to_ascii_uppercase())),
            "/stock" => Err(usage(&[STOCK])),
            _ => Err(usage(COMMANDS)),
        }
    }
}

fn is_name(text: &str) -> bool {
    (1..=NAME_CHARS_MAX).contains(&text.chars().count()) && !text.chars().any(char::is_control)
}

fn is_code(text: &str) -> bool {
    (1..=CODE_CHARS_MAX).contains(&text.len()) && text.chars().all(|c| c.is_ascii_graphic())
}

fn usage(commands: &[CommandFacts]) -> String {
    let all: Vec<_> = commands.iter().map(|command| command.usage).collect();
    format!("Usage: {}", all.join(" or "))
}
