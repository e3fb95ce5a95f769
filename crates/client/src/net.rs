//! A stream to a server, by TLS where its address asks for it.

use std::io;
use std::sync::Arc;

use hyper::Uri;
use rustls::crypto::aws_lc_rs as provider;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::OnceCell;
use tokio_rustls::TlsConnector;

/// What bytes go over.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> Stream for T {}

/// Connects to the server of `ws://`, `http://`, `wss://` or `https://`; without a port to 80 or 443. A certificate must be good for
/// the address's host, and of an authority that this machine trusts; where `SSL_CERT_FILE` names a file, of one in that instead.
///
/// # Errors
/// When the address is none, nobody is there, or they can't show who they are.
///
/// # Cancel safety
/// Dropped, it connects no more.
pub async fn connect(uri: &Uri) -> io::Result<Box<dyn Stream>> {
    let (tls, port) = match uri.scheme_str() {
        Some("ws" | "http") => (false, 80),
        Some("wss" | "https") => (true, 443),
        _ => return Err(bad(format!("{uri} does not begin with ws:// or wss://"))),
    };
    let host = uri.host().ok_or_else(|| bad(format!("{uri} has no host")))?.trim_matches(['[', ']']);
    let socket = TcpStream::connect((host, uri.port_u16().unwrap_or(port))).await?;
    socket.set_nodelay(true)?;
    if !tls {
        return Ok(Box::new(socket));
    }
    let name = ServerName::try_from(host.to_owned()).map_err(|error| bad(format!("{host}: {error}")))?;
    let connector = TlsConnector::from(trust().await?);
    Ok(Box::new(connector.connect(name, socket).await?))
}

fn bad(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, what)
}

/// Whom TLS trusts. Read once, for it is hundreds of files.
async fn trust() -> io::Result<Arc<ClientConfig>> {
    static TRUST: OnceCell<Arc<ClientConfig>> = OnceCell::const_new();
    let read = || async { tokio::task::spawn_blocking(read_trust).await.map_err(io::Error::other)? };
    TRUST.get_or_try_init(read).await.cloned()
}

fn read_trust() -> io::Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    // What can't be read is left out: if the one that matters is among them, the handshake says so.
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let why = found.errors.first().map_or_else(String::new, |error| format!(": {error}"));
        return Err(bad(format!("this machine has no certificate authorities{why}")));
    }
    // By a provider that is named, so that it does not matter what another part of the process made the default.
    let builder = ClientConfig::builder_with_provider(Arc::new(provider::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().map_err(io::Error::other)?;
    Ok(Arc::new(builder.with_root_certificates(roots).with_no_client_auth()))
}
