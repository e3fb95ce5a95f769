//! TLS in the process itself: a handshake, then a socket like any other for the rest of the gateway.
//!
//! A frame is written to its socket from the loop that made it, without a task; TLS can't be written so. Instead a task a
//! connection passes bytes between the client's socket and one end of a pair of local ones, and the gateway has the other end. That
//! costs what it costs where there is TLS, and nothing where there is none.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs as provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest, WriteHalf, copy, sink, split};
use tokio::net::unix::OwnedReadHalf;
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::task::TaskTracker;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

/// How long a handshake may take.
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);
/// How long a client may take to close its side after we closed ours.
const LINGER: Duration = Duration::from_secs(2);
/// How long a client may take for a piece of what is left after the gateway closed its side. The kernel says that there is room
/// only when a third of its buffer is free: that may be more than a mebibyte, and a client may be slow.
const TAKEN_WITHIN: Duration = Duration::from_secs(30);
/// Bytes that are passed on at a time.
const PIECE_BYTES: usize = 8 * 1024;
/// Bytes between us and the task: as much more may wait for a slow client.
const BETWEEN_BYTES: usize = 64 * 1024;
/// With what every TLS connection begins: the type of a handshake record.
const HANDSHAKE_RECORD: u8 = 22;

/// Bytes of a plain request that are passed over.
const PLAIN_READ_MAX: u64 = 64 * 1024;
const PLAIN: &[u8] =
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 50\r\n\
    Connection: close\r\n\r\nthis port speaks TLS only: use https:// or wss://\n";

/// Why certificate and key can't be used: one line with what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum BadTls {
    /// A file can't be read.
    #[error("can't read {}: {inside}", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// What the system said.
        inside: io::Error,
    },
    /// It has not what it should.
    #[error("{} {what}", path.display())]
    Content {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
}

/// Certificate and key of this server, which may be changed while it runs. Cheap to clone; all clones change together.
#[derive(Clone)]
pub struct Tls {
    shared: Arc<Shared>,
}

struct Shared {
    certificate: PathBuf,
    key: PathBuf,
    current: RwLock<Arc<ServerConfig>>,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls").field("certificate", &self.shared.certificate).finish_non_exhaustive()
    }
}

/// A listener whose connections have shaken hands.
pub struct TlsListener {
    listener: TcpListener,
    tls: Tls,
    tasks: TaskTracker,
    entering: JoinSet<io::Result<(TcpStream, SocketAddr)>>,
}

impl TlsListener {
    /// Shakes hands with those who come to `listener`.
    pub fn new(listener: TcpListener, tls: Tls) -> Self {
        Self { listener, tls, tasks: TaskTracker::new(), entering: JoinSet::new() }
    }
}

impl axum::serve::Listener for TlsListener {
    type Io = TcpStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (TcpStream, SocketAddr) {
        loop {
            tokio::select! {
                (stream, peer) = axum::serve::Listener::accept(&mut self.listener) => {
                    let (tls, tasks) = (self.tls.clone(), self.tasks.clone());
                    self.entering.spawn(async move { Ok((tls.enter(stream, &tasks).await?, peer)) });
                }
                Some(entered) = self.entering.join_next() => {
                    if let Ok(Ok(entered)) = entered {
                        return entered;
                    }
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

impl Tls {
    /// Reads a certificate, with those that it rests on behind it, and its key; both PEM files.
    ///
    /// # Errors
    /// [`BadTls`]; also when the certificate's time is over, or is not yet.
    pub fn load(certificate: PathBuf, key: PathBuf) -> Result<Self, BadTls> {
        let current = RwLock::new(read(&certificate, &key)?);
        Ok(Self { shared: Arc::new(Shared { certificate, key, current }) })
    }

    /// Reads the files again, for connections from now on.
    ///
    /// # Errors
    /// As of [`load`](Self::load); what was read before stays in force.
    pub fn reload(&self) -> Result<(), BadTls> {
        let new = read(&self.shared.certificate, &self.shared.key)?;
        *self.shared.current.write().unwrap_or_else(PoisonError::into_inner) = new;
        Ok(())
    }

    /// The socket behind the TLS of a client's; its task is one of `tasks`.
    ///
    /// # Errors
    /// When the client does not finish the handshake in time, or speaks another language.
    ///
    /// # Cancel safety
    /// Dropped, the client's socket is closed.
    pub async fn enter(&self, stream: TcpStream, tasks: &TaskTracker) -> io::Result<TcpStream> {
        let Ok(entered) = timeout(HANDSHAKE_MAX, self.shake_hands(stream)).await else {
            return Err(io::ErrorKind::TimedOut.into());
        };
        let client = entered?;
        let (ours, theirs) = pair()?;
        tasks.spawn(pass_on(client, theirs));
        Ok(ours)
    }

    async fn shake_hands(&self, mut stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let mut first = [0];
        if stream.peek(&mut first).await? == 1 && first[0] != HANDSHAKE_RECORD {
            stream.write_all(PLAIN).await?;
            stream.shutdown().await?;
            // Closed with something unread, the connection would be reset, and the answer lost.
            let _ = timeout(LINGER, copy(&mut stream.take(PLAIN_READ_MAX), &mut sink())).await;
            return Err(io::Error::new(io::ErrorKind::InvalidData, "not TLS"));
        }
        let config = self.shared.current.read().unwrap_or_else(PoisonError::into_inner).clone();
        TlsAcceptor::from(config).accept(stream).await
    }
}

/// Two ends of a local connection. Ours is called a TCP stream: the system makes no difference for what is done with it, reading,
/// writing and shutting down.
fn pair() -> io::Result<(TcpStream, UnixStream)> {
    let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
    for end in [&ours, &theirs] {
        end.set_nonblocking(true)?;
        socket2::SockRef::from(end).set_send_buffer_size(BETWEEN_BYTES)?;
    }
    let ours = std::net::TcpStream::from(OwnedFd::from(ours));
    Ok((TcpStream::from_std(ours)?, UnixStream::from_std(theirs)?))
}

/// Passes bytes on until both sides are done, or one is gone.
async fn pass_on(client: TlsStream<TcpStream>, gateway: UnixStream) {
    let (mut from_client, to_client) = split(client);
    let (from_gateway, mut to_gateway) = gateway.into_split();
    let inwards = async {
        let passed = copy(&mut from_client, &mut to_gateway).await;
        // The gateway hears that the client is done.
        let _ = to_gateway.shutdown().await;
        passed.map(drop)
    };
    let outwards = pass_out(from_gateway, to_client);
    tokio::pin!(inwards, outwards);
    let passed = tokio::select! {
        passed = &mut inwards => match passed {
            Ok(()) => outwards.await,
            broken => broken,
        },
        passed = &mut outwards => {
            // Closed at once, what is on its way to the client could be lost.
            let _ = timeout(LINGER, inwards).await;
            passed
        }
    };
    if let Err(error) = passed {
        tracing::debug!(%error, "a TLS connection ended in an error");
    }
}

/// Passes on what the gateway writes, to its end. Once the gateway has closed its side nobody else looks after the client: one that
/// takes no piece for a time then is let go.
async fn pass_out(mut gateway: OwnedReadHalf, mut client: WriteHalf<TlsStream<TcpStream>>) -> io::Result<()> {
    let mut buffer = vec![0; PIECE_BYTES];
    loop {
        let read = gateway.read(&mut buffer).await?;
        let write = async {
            if read == 0 {
                // A client that is gone does not hear the end.
                let _ = client.shutdown().await;
                return Ok(());
            }
            client.write_all(&buffer[..read]).await?;
            client.flush().await
        };
        let too_late = async {
            // Of a local socket that is nothing but: closed by the other end. What that left can be read still.
            gateway.ready(Interest::PRIORITY).await?;
            sleep(TAKEN_WITHIN).await;
            Err(io::ErrorKind::TimedOut.into())
        };
        tokio::select! {
            biased;
            written = write => written?,
            late = too_late => return late,
        }
        if read == 0 {
            return Ok(());
        }
    }
}

fn read(certificate: &Path, key: &Path) -> Result<Arc<ServerConfig>, BadTls> {
    let file = |path: &Path| {
        std::fs::read(path).map_err(|inside| BadTls::Unreadable { path: path.to_owned(), inside })
    };
    let content = |path: &Path, what: String| BadTls::Content { path: path.to_owned(), what };
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&file(certificate)?).collect();
    let chain = chain.map_err(|_| content(certificate, "is not PEM".into()))?;
    let Some(first) = chain.first() else {
        return Err(content(certificate, "has no certificate in PEM".into()));
    };
    let (_, parsed) = X509Certificate::from_der(first)
        .map_err(|_| content(certificate, "has a certificate that can't be read".into()))?;
    let validity = parsed.validity();
    if !validity.is_valid() {
        let time = format!("is valid from {} to {}, and not now", validity.not_before, validity.not_after);
        return Err(content(certificate, time));
    }
    let until = validity.not_after.timestamp();
    // What is wrong with a key is not said: its bytes are nobody's business.
    let private = PrivateKeyDer::from_pem_slice(&file(key)?)
        .map_err(|_| content(key, "has no private key in PEM".into()))?;
    let builder = ServerConfig::builder_with_provider(Arc::new(provider::default_provider()));
    let mut config = builder
        .with_safe_default_protocol_versions()
        .map(|builder| builder.with_no_client_auth())
        .and_then(|builder| builder.with_single_cert(chain, private))
        .map_err(|error| content(key, format!("can't be used with the certificate: {error}")))?;
    // WebSocket is an upgrade of HTTP/1.1.
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    metrics::gauge!(crate::metrics::TLS_UNTIL).set(until as f64);
    Ok(Arc::new(config))
}
