//! The listener of the admin API: its own, so that no rule of a proxy before the public one has to keep it in.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context;
use hubbub_gateway::Gateway;
use hubbub_gateway::admin::credentials::Credentials;
use hubbub_gateway::admin::{Ports, router};
use hubbub_gateway::http::ClientAddress;
use hubbub_gateway::tls::{Tls, TlsListener};
use tokio::net::TcpListener;

use crate::cluster::door::bind;

/// The admin API, bound to its port.
pub struct Door {
    listener: TcpListener,
    credentials: Credentials,
    tls: Option<Tls>,
}

impl Door {
    /// Takes the port, where there is to be one.
    ///
    /// # Errors
    /// When the port can't be had.
    pub async fn bind(
        told: Option<(SocketAddr, Credentials)>,
        tls: Option<Tls>,
    ) -> anyhow::Result<Option<Self>> {
        let Some((address, credentials)) = told else { return Ok(None) };
        let listener = bind(address.ip(), address.port()).await.context("--admin-port (ADMIN_PORT)")?;
        let scheme = if tls.is_some() { "https" } else { "http" };
        let url = format!("{scheme}://{}", listener.local_addr()?);
        tracing::info!(%url, "admin API starts");
        Ok(Some(Self { listener, credentials, tls }))
    }

    /// Answers until dropped.
    ///
    /// # Errors
    /// The system's.
    pub async fn serve(self, gateway: Arc<Gateway>, ports: Ports) -> anyhow::Result<()> {
        let Self { listener, credentials, tls } = self;
        let router =
            router(gateway, ports, credentials).into_make_service_with_connect_info::<ClientAddress>();
        match tls {
            None => axum::serve(listener, router).await,
            Some(tls) => axum::serve(TlsListener::new(listener, tls), router).await,
        }
        .context("the admin API ended")
    }
}

/// Answers until dropped, if there is one.
///
/// # Errors
/// As [`Door::serve`].
pub async fn serve(door: Option<Door>, gateway: Arc<Gateway>, ports: Ports) -> anyhow::Result<()> {
    match door {
        Some(door) => door.serve(gateway, ports).await,
        None => std::future::pending().await,
    }
}
