//! `hubbub restored`: what clients saw of a store before it was restored is not to be relied on.

use anyhow::Context;
use hubbub_adapters::store::{CqlStore, OpenError, embedded};
use hubbub_node::telemetry::Metrics;
use tokio_util::sync::CancellationToken;

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
            let options = settings.database();
            let renewed = async { CqlStore::open(&options).await?.renew_log().await };
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
    println!("the log is {log_id} from now on: clients that saw it before the restore will read it again");
    Ok(())
}
