//! TLS by the server itself, as it was told, and told again by SIGHUP.

use std::path::PathBuf;

use hubbub_gateway::tls::Tls;
use tokio::signal::unix::{SignalKind, signal};

use crate::process::WrongSettings;
use crate::settings::pair;

/// What settings say: both files or none.
///
/// # Errors
/// One without the other, or files that can't be used.
pub fn of(certificate: Option<&PathBuf>, key: Option<&PathBuf>) -> Result<Option<Tls>, WrongSettings> {
    let both = pair("--tls-cert (TLS_CERT) and --tls-key (TLS_KEY)", &certificate, &key)?;
    both.map(|(certificate, key)| Tls::load(certificate.clone(), key.clone()))
        .transpose()
        .map_err(|bad| WrongSettings(format!("--tls-cert (TLS_CERT), --tls-key (TLS_KEY): {bad}")))
}

/// Reads the files again at each SIGHUP, for ever. Without TLS the signal is left alone.
///
/// # Errors
/// When the signal can't be had.
pub async fn reload_when_told(tls: Option<Tls>) -> std::io::Result<()> {
    let Some(tls) = tls else { return std::future::pending().await };
    let mut told = signal(SignalKind::hangup())?;
    while told.recv().await.is_some() {
        match tls.reload() {
            Ok(()) => tracing::info!("the TLS certificate was read again"),
            Err(error) => {
                tracing::error!(%error, "the TLS certificate can't be read again; the old one stays");
            }
        }
    }
    Ok(())
}
