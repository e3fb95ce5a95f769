//! Commands of bots.

use hubbub_wire::tier::bots::CommandFacts;
use serde::Serialize;
use utoipa::ToSchema;

/// The commands that there are.
#[derive(Serialize, ToSchema)]
pub struct Commands {
    /// By their names.
    pub commands: Vec<BotCommand>,
}

/// A command as its bot describes it.
#[derive(Serialize, ToSchema)]
pub struct BotCommand {
    /// Its name.
    #[schema(example = "stock")]
    pub command: String,
    /// How it is written.
    #[schema(example = "/stock=CODE")]
    pub usage: String,
    /// What it is for.
    #[serde(skip_serializing_if = "String::is_empty")]
    #[schema(required = false, example = "the price of a stock")]
    pub about: String,
}

impl From<CommandFacts> for BotCommand {
    fn from(facts: CommandFacts) -> Self {
        Self { command: facts.command, usage: facts.usage, about: facts.about }
    }
}
