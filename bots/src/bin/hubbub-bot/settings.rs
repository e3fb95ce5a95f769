//! Flags, and the variables of the environment that may stand for them.

use std::path::PathBuf;

use anyhow::{Context, anyhow, ensure};
use clap::Parser;
use hubbub_bots::Prices;
use lapin::types::ShortString;
use lapin::uri::{AMQPAuthority, AMQPScheme, AMQPUri, AMQPUserInfo};

/// Answers /hello=NAME and /stock=CODE in the rooms of Hubbub, over two queues of RabbitMQ.
///
/// Give secrets by the environment: flags can be seen in the list of processes.
// Not `Debug`: it has secrets.
#[derive(Parser)]
#[command(name = "hubbub-bot", version)]
pub struct Flags {
    /// The broker, as amqp://user:password@host:port/vhost (amqps for TLS); instead of the five below.
    #[arg(long, env = "AMQP_URL", hide_env_values = true)]
    amqp_url: Option<String>,
    /// amqp or amqps.
    #[arg(long, env = "AMQP_PROTOCOL", default_value = "amqp")]
    amqp_protocol: String,
    /// Host of the broker.
    #[arg(long, env = "AMQP_SERVER", default_value = "127.0.0.1")]
    amqp_server: String,
    /// Its port; 5672 for amqp, 5671 for amqps if it is not given.
    #[arg(long, env = "AMQP_PORT")]
    amqp_port: Option<u16>,
    /// User there.
    #[arg(long, env = "AMQP_USERNAME", default_value = "guest")]
    amqp_username: String,
    /// The user's password.
    #[arg(long, env = "AMQP_PASSWORD", default_value = "guest", hide_env_values = true)]
    amqp_password: String,
    /// Queue from bots to the chat.
    #[arg(long, env = "AMQP_QUEUE", default_value = "bot-jobsity-chat")]
    amqp_queue: String,
    /// Queue from the chat to bots; AMQP_BOT_QUEUE_BOT is read as well.
    #[arg(long, env = "AMQP_BOT_QUEUE")]
    amqp_bot_queue: Option<String>,
    #[arg(long, env = "AMQP_BOT_QUEUE_BOT", hide = true, default_value = "bot-jobsity-bot")]
    amqp_bot_queue_bot: String,
    /// What the bot proves with that it is one: `hubbub bot-token --name NAME` makes it.
    #[arg(long, env = "BOT_TOKEN", hide_env_values = true)]
    bot_token: String,
    /// File of prices, a line CODE,PRICE each; a small table is built in.
    #[arg(long, env = "BOT_PRICES")]
    bot_prices: Option<PathBuf>,
    /// Service of prices, as https://host/path?s={code}, instead of a file.
    #[arg(long, env = "BOT_QUOTE_URL", hide_env_values = true, conflicts_with = "bot_prices")]
    bot_quote_url: Option<String>,
}

/// The two queues.
pub struct Queues {
    /// Commands come by it.
    pub to_bots: ShortString,
    /// Answers go by it.
    pub to_chat: ShortString,
}

impl Flags {
    /// The broker. No error says what was given, for it may have a password in it.
    pub fn broker(&self) -> anyhow::Result<AMQPUri> {
        if let Some(url) = &self.amqp_url {
            return url.parse().map_err(|_| anyhow!("AMQP_URL is not amqp://user:password@host:port/vhost"));
        }
        let scheme: AMQPScheme =
            self.amqp_protocol.parse().map_err(|_| anyhow!("AMQP_PROTOCOL must be amqp or amqps"))?;
        let port = self.amqp_port.unwrap_or(scheme.default_port());
        let userinfo =
            AMQPUserInfo { username: self.amqp_username.clone(), password: self.amqp_password.clone() };
        let authority = AMQPAuthority { userinfo, host: self.amqp_server.clone(), port };
        Ok(AMQPUri { scheme, authority, ..AMQPUri::default() })
    }

    /// The queues' names.
    pub fn queues(&self) -> anyhow::Result<Queues> {
        let name = |name: &str| ShortString::try_new(name).context("a queue's name has at most 255 bytes");
        let to_bots = self.amqp_bot_queue.as_ref().unwrap_or(&self.amqp_bot_queue_bot);
        Ok(Queues { to_bots: name(to_bots)?, to_chat: name(&self.amqp_queue)? })
    }

    /// The bot's own token.
    pub fn token(&self) -> anyhow::Result<&str> {
        ensure!(
            !self.bot_token.trim().is_empty(),
            "BOT_TOKEN is empty; `hubbub bot-token --name NAME` makes one"
        );
        Ok(self.bot_token.trim())
    }

    /// Where quotes are from.
    pub fn prices(&self) -> anyhow::Result<Prices> {
        Ok(match (&self.bot_prices, &self.bot_quote_url) {
            (Some(path), _) => Prices::from_file(path)?,
            (None, Some(url)) => Prices::from_url(url)?,
            (None, None) => Prices::built_in(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags(given: &[&str]) -> Flags {
        Flags::parse_from([&["hubbub-bot", "--bot-token=t"], given].concat())
    }

    #[test]
    fn the_broker_is_a_url_or_in_parts() {
        for (given, broker) in [
            (&[][..], "amqp://guest:guest@127.0.0.1:5672/%2f"),
            (&["--amqp-url=amqps://a:b@c.example/d"], "amqps://a:b@c.example:5671/d"),
            (&["--amqp-protocol=amqps", "--amqp-server=c.example"], "amqps://guest:guest@c.example:5671/%2f"),
            (
                &["--amqp-port=1", "--amqp-username=a@b", "--amqp-password=:/"],
                "amqp://a%40b:%3a%2f@127.0.0.1:1/%2f",
            ),
        ] {
            assert_eq!(flags(given).broker().unwrap(), broker.parse().unwrap(), "{given:?}");
        }
    }

    #[test]
    fn the_queue_to_bots_has_two_names() {
        for (given, queue) in [
            (&[][..], "bot-jobsity-bot"),
            (&["--amqp-bot-queue-bot=a"], "a"),
            (&["--amqp-bot-queue=b", "--amqp-bot-queue-bot=a"], "b"),
        ] {
            assert_eq!(flags(given).queues().unwrap().to_bots.as_str(), queue);
        }
        assert!(flags(&[&format!("--amqp-queue={}", "q".repeat(256))]).queues().is_err());
    }
}
