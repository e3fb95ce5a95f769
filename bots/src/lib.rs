//! Hubbub's own bot: it greets (`/hello=NAME`) and quotes stocks (`/stock=CODE`).
//!
//! [`Bot`] knows no transport: it makes an answer of a command's text. The program `hubbub-bot` puts it behind two queues of
//! RabbitMQ and is the example for those who write bots; what such a program must do is in `bots/README.md`.

mod command;
mod prices;
mod quotes;

pub use command::{COMMANDS, CommandFacts};
pub use prices::{BadPrices, Prices};

use command::Command;

/// Answers commands. Knows nobody and remembers nothing.
#[derive(Debug)]
pub struct Bot {
    prices: Prices,
}

/// What a bot says to a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// A sentence of at most 4,096 characters, the length of a message.
    pub text: String,
    /// Whether it complains instead of answering.
    pub is_error: bool,
}

impl Bot {
    /// A bot that takes quotes from there.
    pub fn new(prices: Prices) -> Self {
        Self { prices }
    }

    /// The answer to a command, such as `/hello=Ann`. With prices from a URL it takes up to 3 s, else it does not wait.
    ///
    /// # Cancel safety
    /// Nothing is kept, so nothing is lost.
    pub async fn answer(&self, text: &str) -> Reply {
        let code = match Command::read(text) {
            Ok(Command::Hello(name)) => return answer(format!("Hello {name}!")),
            Ok(Command::Stock(code)) => code,
            Err(usage) => return complaint(usage),
        };
        match self.prices.of(&code).await {
            Ok(Some(price)) => answer(format!("{code} quote is ${price} per share")),
            Ok(None) => complaint(format!("There is no quote of {code}")),
            Err(error) => {
                tracing::warn!(%code, %error, "a quote can't be had");
                complaint(format!("The quote of {code} can't be had now, try again later"))
            }
        }
    }
}

fn answer(text: String) -> Reply {
    Reply { text, is_error: false }
}

fn complaint(text: String) -> Reply {
    Reply { text, is_error: true }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn said(text: &str) -> Reply {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(Bot::new(Prices::built_in()).answer(text))
    }

    #[test]
    fn the_two_commands_are_answered() {
        for (command, text) in [
            ("/hello=Ann", "Hello Ann!"),
            ("/hello= Ann Lee ", "Hello Ann Lee!"),
            ("/hello=a=b", "Hello a=b!"),
            ("/stock=AAPL.US", "AAPL.US quote is $93.42 per share"),
            ("/stock=aapl.us", "AAPL.US quote is $93.42 per share"),
            (" /stock= aapl.us\n", "AAPL.US quote is $93.42 per share"),
        ] {
            assert_eq!(said(command), answer(text.into()), "{command}");
        }
    }

    #[test]
    fn what_can_not_be_answered_is_told_how() {
        let all = "Usage: /hello=NAME or /stock=CODE";
        let (name, code) = (format!("/hello={}", "n".repeat(65)), format!("/stock={}", "C".repeat(33)));
        for (command, text) in [
            ("/stock=NONE", "There is no quote of NONE"),
            ("/stock", "Usage: /stock=CODE"),
            ("/stock=", "Usage: /stock=CODE"),
            ("/stock= ", "Usage: /stock=CODE"),
            ("/stock=A B", "Usage: /stock=CODE"),
            ("/stock=É", "Usage: /stock=CODE"),
            (&code, "Usage: /stock=CODE"),
            ("/hello", "Usage: /hello=NAME"),
            ("/hello=", "Usage: /hello=NAME"),
            ("/hello=A\u{7}", "Usage: /hello=NAME"),
            (&name, "Usage: /hello=NAME"),
            ("/stocks=AAPL.US", all),
            ("/help", all),
            ("hello=Ann", all),
            ("/", all),
            ("", all),
        ] {
            assert_eq!(said(command), complaint(text.into()), "{command}");
        }
    }

    fn commands() -> impl Strategy<Value = String> {
        prop_oneof![any::<String>(), "/(hello|stock)=?\\PC{0,80}", "/(hello|stock)=(?s:.){0,80}"]
    }

    proptest! {
        #[test]
        fn an_answer_is_a_line_that_fits_in_a_message(command in commands()) {
            let reply = said(&command);
            prop_assert!(!reply.text.is_empty() && reply.text.chars().count() <= 4_096);
            prop_assert!(!reply.text.chars().any(char::is_control), "{:?}", reply.text);
        }

        #[test]
        fn a_name_is_greeted_as_it_is(name in "[^\\s\\p{C}][^\\p{C}]{0,62}") {
            let name = name.trim();
            prop_assert_eq!(said(&format!("/hello={name}")), answer(format!("Hello {name}!")));
        }
    }
}
