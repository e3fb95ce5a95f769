//! `hubbub restored`: what clients saw of a store before it was restored is not to be relied on.

use anyhow::Context;
use hubbub_adapters::store::{CqlOptions, CqlStore, OpenError, embedded};
use hubbub_node::telemetry::Metrics;
use tokio_util::sync::CancellationToken;

use crate::process::say;
use crate::settings::{Database, RestoredSettings};

/// Gives the log a new id, so that each client that comes back is told `reset`.
///
/// # Errors
/// When there is no store, or it is in use.
pub async fn run(
    settings: RestoredSettings,
    _metrics: Metrics,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let log_id = match settings.from_database {
        true => {
            let options = settings.database()?;
            let renewed = async {
                let store = CqlStore::open_existing(&options).await?;
                anyhow::Ok(store.with_context(|| no_store_in(&options))?.renew_log().await?)
            };
            match shutdown.run_until_cancelled(Box::pin(renewed)).await {
                Some(renewed) => renewed?,
                None => anyhow::bail!("stopped before its end; run it again"),
            }
        }
        false => {
            let data = &settings.data;
            anyhow::ensure!(embedded::is_there(data), "there is no store in {}", data.display());
            match embedded::renew_log(data) {
                Err(error @ OpenError::InUse { .. }) => {
                    return Err(error).context("a server runs on this data; stop the server first");
                }
                renewed => renewed?,
            }
        }
    };
    say(format_args!(
        "the log is {log_id} from now on: clients that saw it before the restore will read it again\n"
    ));
    Ok(())
}

/// That no cluster has begun with this database, and what to look at.
pub(crate) fn no_store_in(options: &CqlOptions) -> String {
    format!(
        "no cluster has begun with the keyspace {} of the database at {}: it is not restored yet, or --cql or --cql-keyspace names another",
        options.keyspace,
        options.nodes.join(",")
    )
}
