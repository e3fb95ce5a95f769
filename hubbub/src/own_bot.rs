//! The bot inside the all-in-one, where no broker is set: it stands at the other end of two queues in the process.

use std::sync::Arc;
use std::time::Duration;

use hubbub_adapters::broker::LocalBots;
use hubbub_bots::{Bot, COMMANDS, Prices};
use hubbub_core::ids::{User, UserId};
use hubbub_core::limits::BotText;
use hubbub_core::ports::accounts::Secret;
use hubbub_core::ports::broker::Outgoing;
use hubbub_wire::amqp;
use hubbub_wire::tier::bots::CommandFacts;
use tokio::time::{Instant, interval};

use crate::process::WrongSettings;
use crate::settings::Settings;

/// How often it says which commands it has.
const ANNOUNCE_EVERY: Duration = Duration::from_secs(60);
/// Commands that are answered at once: with a quote URL each is a call.
const AT_ONCE: usize = 64;

/// The bot, its queues' other end, and what it is known by.
pub struct OwnBot {
    bot: Bot,
    bots: LocalBots,
    token: Secret,
}

impl OwnBot {
    /// A bot with a token of this process alone.
    ///
    /// # Errors
    /// Prices that can't be used.
    pub fn new(settings: &Settings, bots: LocalBots) -> Result<(Self, (Secret, User)), WrongSettings> {
        let prices = match (&settings.bot_quote_url, &settings.bot_prices) {
            (Some(url), None) => Prices::from_url(url),
            (None, Some(path)) => Prices::from_file(path),
            (None, None) => Ok(Prices::built_in()),
            (Some(_), Some(_)) => {
                let both = "prices come from one place: keep --bot-prices (BOT_PRICES) or --bot-quote-url (BOT_QUOTE_URL)";
                return Err(WrongSettings(both.into()));
            }
        };
        let prices = prices.map_err(|error| WrongSettings(error.to_string()))?;
        let token = Secret::new(uuid::Uuid::new_v4().to_string());
        let id = UserId::parse("bot").map_err(|error| WrongSettings(error.to_string()))?;
        let known_by = (token.clone(), User { id, name: "bot".into() });
        Ok((Self { bot: Bot::new(prices), bots, token }, known_by))
    }

    /// Answers until the chat is gone.
    pub async fn work(self) {
        let Self { bot, mut bots, token } = self;
        let (bot, places) = (Arc::new(bot), Arc::new(tokio::sync::Semaphore::new(AT_ONCE)));
        let facts = |facts: &hubbub_bots::CommandFacts| CommandFacts {
            command: facts.command.into(),
            usage: facts.usage.into(),
            about: facts.about.into(),
        };
        let commands: Vec<_> = COMMANDS.iter().map(facts).collect();
        let mut announce = interval(ANNOUNCE_EVERY);
        let answers = bots.answers();
        loop {
            tokio::select! {
                _ = announce.tick() => answers.say(None, amqp::announcement(&token, &commands)).await,
                command = bots.take() => {
                    let Some(command) = command else { return };
                    let (bot, token, answers) = (bot.clone(), token.clone(), answers.clone());
                    // Never closed.
                    let place = places.clone().acquire_owned().await.ok();
                    tokio::spawn(async move {
                        if let Some((id, body)) = answer(&bot, &token, command).await {
                            answers.say(Some(id), body).await;
                        }
                        drop(place);
                    });
                }
            }
        }
    }
}

async fn answer(bot: &Bot, token: &Secret, command: Outgoing) -> Option<(String, bytes::Bytes)> {
    let given = amqp::to_bot(&command.body)?;
    let began = Instant::now();
    let reply = bot.answer(&given.message).await;
    tracing::debug!(id = command.id, took = ?began.elapsed(), "the bot inside answers");
    // As long as a message, and never empty.
    let text = BotText::new(reply.text, reply.is_error).ok()?;
    Some((format!("{}-answer", command.id), amqp::answer(&given.chatroom, token, &text)))
}
