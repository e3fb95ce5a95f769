//! A way between two processes that can be cut.

use std::net::{Ipv4Addr, SocketAddr};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

/// Passes TCP connections on, until it is dropped. While it is cut nothing goes through and nobody is told, as when a cable is
/// pulled: what was sent meanwhile arrives when it is healed.
pub struct Proxy {
    address: SocketAddr,
    cut: watch::Sender<bool>,
    _over: DropGuard,
}

impl Proxy {
    /// A way to this address.
    ///
    /// # Errors
    /// The system's.
    pub async fn to(target: SocketAddr) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let (cut, is_cut) = watch::channel(false);
        let over = CancellationToken::new();
        let until = over.clone();
        tokio::spawn(until.clone().run_until_cancelled_owned(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(until.clone().run_until_cancelled_owned(pass_on(
                    client,
                    target,
                    is_cut.clone(),
                )));
            }
        }));
        Ok(Self { address, cut, _over: over.drop_guard() })
    }

    /// Where it begins.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on nothing goes through.
    pub fn cut(&self) {
        self.cut.send_replace(true);
    }

    /// From now on all goes through.
    pub fn heal(&self) {
        self.cut.send_replace(false);
    }
}

async fn pass_on(client: TcpStream, target: SocketAddr, mut is_cut: watch::Receiver<bool>) {
    if is_cut.wait_for(|cut| !cut).await.is_err() {
        return;
    }
    let Ok(server) = TcpStream::connect(target).await else { return };
    let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
    let there = copy(from_client, to_server, is_cut.clone());
    let back = copy(from_server, to_client, is_cut);
    // One direction's end is the connection's.
    tokio::select! {
        () = there => {}
        () = back => {}
    }
}

async fn copy(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut is_cut: watch::Receiver<bool>) {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let Ok(count @ 1..) = from.read(&mut buffer).await else { return };
        if is_cut.wait_for(|cut| !cut).await.is_err() || to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}
