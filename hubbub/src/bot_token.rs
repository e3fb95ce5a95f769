//! `hubbub bot-token`: a token by which a program may answer commands.

use anyhow::Context;
use hubbub_adapters::accounts::{BuiltIn, TOKEN_KEY};
use hubbub_adapters::store::{CqlStore, EmbeddedStore, OpenError, Options, embedded};
use hubbub_core::ids::{User, UserId};
use hubbub_core::limits::check_name;
use hubbub_core::ports::accounts::AccountStore;
use hubbub_node::telemetry::Metrics;
use tokio_util::sync::CancellationToken;

use crate::process::say;
use crate::restored::no_store_in;
use crate::settings::{BotTokenSettings, Database};

/// Prints a token and nothing else.
///
/// # Errors
/// When there is no server's data yet, or it can't be read.
pub async fn print(
    settings: BotTokenSettings,
    _metrics: Metrics,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let name = check_name(&settings.name)?;
    let id = UserId::parse(&format!("bot-{name}")).context("--name must be 1 to 60 of A-Z a-z 0-9 _ -")?;
    let key = match settings.from_database {
        true => {
            let options = settings.database()?;
            let opening = Box::pin(CqlStore::open_existing(&options));
            let Some(store) = shutdown.run_until_cancelled(opening).await else {
                anyhow::bail!("stopped before its end; run it again")
            };
            let store = store?.with_context(|| no_store_in(&options))?;
            // As a gateway that begins would.
            store.shared_secret(TOKEN_KEY, BuiltIn::new_key()?).await?
        }
        false => {
            let data = &settings.data;
            let unknown = || {
                format!("no server has begun with {} yet: start hubbub once, then ask again", data.display())
            };
            anyhow::ensure!(embedded::is_there(data), unknown());
            match EmbeddedStore::open(data, Options::default()) {
                Ok(store) => store.shared_secret(TOKEN_KEY, BuiltIn::new_key()?).await?,
                // A server runs with it, and has made the key if the accounts are its own.
                Err(OpenError::InUse { .. }) => {
                    let foreign = || {
                        format!(
                            "the server that runs with {} has accounts of another service: that one gives its bots their tokens",
                            data.display()
                        )
                    };
                    embedded::secret_of_running(data, TOKEN_KEY)?.with_context(foreign)?
                }
                Err(error) => return Err(error.into()),
            }
        }
    };
    let token = BuiltIn::bot_token(&key, User { id, name }, settings.valid)?;
    say(format_args!("{}\n", token.reveal()));
    Ok(())
}
