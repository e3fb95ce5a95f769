//! What stands before gateways: a load balancer that passes TCP on.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::copy_bidirectional_with_sizes;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::request;

/// How often it asks who is ready.
const ASK_EVERY: Duration = Duration::from_millis(100);
/// Bytes that it takes of one direction of one connection at once.
const BUFFER: usize = 4 * 1024;

/// Passes each connection on to the one that has the fewest of those targets whose `/readyz` says 200, until it is dropped; there
/// it stays. A target that can't be reached is passed over.
pub struct Balancer {
    address: SocketAddr,
    targets: watch::Sender<Vec<SocketAddr>>,
    ready: watch::Receiver<Vec<SocketAddr>>,
    _over: DropGuard,
}

impl Balancer {
    /// Before these.
    ///
    /// # Errors
    /// The system's.
    pub async fn before(targets: Vec<SocketAddr>) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let (targets, of) = watch::channel(targets);
        let (tell_ready, ready) = watch::channel(Vec::new());
        let over = CancellationToken::new();
        tokio::spawn(over.clone().run_until_cancelled_owned(ask_who_is_ready(of, tell_ready)));
        let (to, until) = (ready.clone(), over.clone());
        tokio::spawn(over.clone().run_until_cancelled_owned(async move {
            let counts = Counts::default();
            while let Ok((client, _)) = listener.accept().await {
                let passing = pass_on(client, to.clone(), counts.clone());
                tokio::spawn(until.clone().run_until_cancelled_owned(passing));
            }
        }));
        Ok(Self { address, targets, ready, _over: over.drop_guard() })
    }

    /// Where clients find it.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// One more target.
    pub fn add(&self, target: SocketAddr) {
        self.targets.send_modify(|targets| targets.push(target));
    }

    /// Those that were ready when they were last asked.
    pub fn ready(&self) -> Vec<SocketAddr> {
        self.ready.borrow().clone()
    }
}

async fn ask_who_is_ready(targets: watch::Receiver<Vec<SocketAddr>>, tell: watch::Sender<Vec<SocketAddr>>) {
    loop {
        let all = targets.borrow().clone();
        let mut ready = Vec::new();
        for target in all {
            let answer = request(target, "GET", "/readyz", None, None).await;
            ready.extend(answer.is_ok_and(|answer| answer.status == 200).then_some(target));
        }
        tell.send_replace(ready);
        tokio::time::sleep(ASK_EVERY).await;
    }
}

async fn pass_on(mut client: TcpStream, ready: watch::Receiver<Vec<SocketAddr>>, counts: Counts) {
    let mut targets = ready.borrow().clone();
    while let Some((target, _counted)) = counts.take_fewest(&targets) {
        if let Ok(mut server) = TcpStream::connect(target).await {
            // Frames are small: waiting for more of them only adds latency.
            let _ = (client.set_nodelay(true), server.set_nodelay(true));
            // However it ends, both sides see that it did.
            let _ = copy_bidirectional_with_sizes(&mut client, &mut server, BUFFER, BUFFER).await;
            return;
        }
        targets.retain(|other| *other != target);
    }
}

/// Connections of each target.
#[derive(Clone, Default)]
struct Counts(Arc<Mutex<HashMap<SocketAddr, usize>>>);

/// One of them, until it is dropped.
struct Counted(Counts, SocketAddr);

impl Counts {
    fn lock(&self) -> MutexGuard<'_, HashMap<SocketAddr, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The target with the fewest, and one more for it.
    fn take_fewest(&self, targets: &[SocketAddr]) -> Option<(SocketAddr, Counted)> {
        let mut counts = self.lock();
        let target = *targets.iter().min_by_key(|target| counts.get(target).copied().unwrap_or(0))?;
        *counts.entry(target).or_default() += 1;
        Some((target, Counted(self.clone(), target)))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        *self.0.lock().entry(self.1).or_default() -= 1;
    }
}
