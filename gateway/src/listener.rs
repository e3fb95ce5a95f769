//! Accepts sockets, gives each to a shard, and lets them go again when the gateway drains.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use http::{Request, Response, Version, header};
use hubbub_core::code::CloseCode;
use hubbub_core::ports::bus::{BusError, Message, Payload, Subject, Subscription};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};
use tower_service::Service;

use crate::Gateway;
use crate::ear::Heard;
use crate::http::access_log::AccessLine;
use crate::http::unread::linger;
use crate::http::{ClientAddress, problem};
use crate::presence::Arrived;
use crate::shard::Shard;
use crate::socketio;
use crate::write_timeout::WriteTimeout;
use crate::ws::upgrade;

/// Bytes of a request's head; beyond it 431.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// How long a client may take for a request's head, and how long a connection may be idle between requests.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// How often it is said that connections can't be accepted.
const SAID_AGAIN: Duration = Duration::from_secs(1);
/// Between two closes of a drain, at most: a few connections need no window.
const FEW_APART: Duration = Duration::from_millis(20);
/// Sockets on their way to a shard of another thread.
const HANDED_MAX: usize = 1_024;

/// One shard as its event loop runs it.
#[derive(Clone)]
struct Door {
    shard: Arc<Shard>,
    router: Router,
    requests: TaskTracker,
    drain: CancellationToken,
}

/// Serves until `drain` is cancelled and every connection was told bye and closed, or `config.drain_window` and a
/// grace are over.
///
/// Runs its first shard on the calling runtime, which must be a current-thread one, and each further one on a thread of
/// its own.
///
/// # Errors
/// When the bus can't be listened to, or a thread can't be made.
pub async fn serve(
    gateway: Arc<Gateway>,
    listener: TcpListener,
    router: Router,
    drain: CancellationToken,
) -> std::io::Result<()> {
    let mut others = Vec::new();
    let mut threads = Vec::new();
    for index in 1..gateway.config.shards {
        let (hand, handed) = mpsc::channel(HANDED_MAX);
        let (gateway, router, drain) = (gateway.clone(), router.clone(), drain.clone());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let thread = std::thread::Builder::new().name(format!("shard-{index}"));
        threads
            .push(thread.spawn(move || runtime.block_on(run_handed(gateway, index, router, drain, handed)))?);
        others.push(hand);
    }
    let door = Door::new(gateway.clone(), 0, router, drain.clone());
    let _heard = door.listen_to_all().await.map_err(std::io::Error::other)?;
    let leaving = CancellationToken::new();
    let peers = match &gateway.peers {
        None => None,
        Some(peers) => {
            let listening = peers.listen(&*gateway.bus).await.map_err(std::io::Error::other)?;
            let life = peers.clone().live(gateway.clone(), listening, leaving.clone());
            Some(AbortOnDropHandle::new(tokio::spawn(life)))
        }
    };
    send_at_once(&listener)?;
    let next = AtomicUsize::new(0);
    let mut said: Option<Instant> = None;
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = drain.cancelled() => break,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file handles, most likely: those that close make room.
                metrics::counter!(crate::metrics::REFUSED, "reason" => "not_accepted").increment(1);
                if said.is_none_or(|said| said.elapsed() >= SAID_AGAIN) {
                    said = Some(Instant::now());
                    tracing::error!(%error, "could not accept a connection");
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let turn = next.fetch_add(1, Ordering::Relaxed) % (others.len() + 1);
        match turn.checked_sub(1).and_then(|other| others.get(other)) {
            None => door.take(stream, peer),
            Some(hand) => {
                // A shard whose line is full is too busy for one more.
                if let Ok(stream) = stream.into_std()
                    && hand.try_send((stream, peer)).is_err()
                {
                    metrics::counter!(crate::metrics::REFUSED, "reason" => "full").increment(1);
                }
            }
        }
    }
    drop(listener);
    drop(others);
    door.let_go().await;
    tokio::task::spawn_blocking(|| {
        for thread in threads {
            if thread.join().is_err() {
                tracing::error!("a shard's thread ended in a panic");
            }
        }
    })
    .await
    .map_err(std::io::Error::other)?;
    // Only now, when the last connection is gone: the others drop all of ours with it.
    leaving.cancel();
    if let Some(peers) = peers
        && peers.await.is_err()
    {
        tracing::error!("the task that knows the other gateways ended in a panic");
    }
    Ok(())
}

/// Frames are small and gathered by us: waiting for more of them only adds latency. Who is accepted has it of the listener, on Linux as on
/// the BSDs, and that is a system call less for each.
fn send_at_once(listener: &TcpListener) -> std::io::Result<()> {
    socket2::SockRef::from(listener).set_tcp_nodelay(true)
}

async fn run_handed(
    gateway: Arc<Gateway>,
    index: usize,
    router: Router,
    drain: CancellationToken,
    mut handed: mpsc::Receiver<(std::net::TcpStream, SocketAddr)>,
) {
    let door = Door::new(gateway, index, router, drain);
    let _heard = match door.listen_to_all().await {
        Ok(heard) => heard,
        Err(error) => {
            tracing::error!(%error, "a shard can't listen to the bus");
            return;
        }
    };
    while let Some((stream, peer)) = handed.recv().await {
        match TcpStream::from_std(stream) {
            Ok(stream) => door.take(stream, peer),
            Err(error) => tracing::error!(%error, "a socket could not be handed to a shard"),
        }
    }
    door.let_go().await;
}

/// Does what a shard does for ever, and begins again if it panics: its connections would be told nothing any more, and nobody would
/// see that.
async fn for_ever<F>(what: &str, shard: Arc<Shard>, work: fn(Arc<Shard>) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    while let Err(end) = tokio::spawn(work(shard.clone())).await {
        if end.is_cancelled() {
            return;
        }
        tracing::error!(what, shard = shard.index, "an event loop's work panicked, and begins again");
    }
}

impl Door {
    fn new(gateway: Arc<Gateway>, index: usize, router: Router, drain: CancellationToken) -> Self {
        let shard = Shard::new(gateway, index);
        tokio::spawn(for_ever("turns", shard.clone(), Shard::run));
        tokio::spawn(for_ever("sweep", shard.clone(), Shard::sweep_every_second));
        Self { shard, router, requests: TaskTracker::new(), drain }
    }

    /// What every shard hears: where busy logs end, who joined what, which rooms were made, which tokens were called back,
    /// and that the bus may have lost something.
    async fn listen_to_all(&self) -> Result<Vec<Subscription>, BusError> {
        let gateway = &self.shard.gateway;
        let ear = self.shard.ear.clone();
        let mut heard = vec![gateway.bus.watch_losses(Arc::new(move || ear.lose()))];
        let heads = gateway.asker.partitions().all().map(Subject::Heads);
        let of_all = heads.map(|subject| (subject, Heard::Heads as fn(Payload) -> Heard)).chain([
            (Subject::Memberships, Heard::Joined as fn(Payload) -> Heard),
            (Subject::Directory, Heard::RoomMade),
            (Subject::Control, Heard::Control),
        ]);
        for (subject, make) in of_all {
            let ear = self.shard.ear.clone();
            let listener = Arc::new(move |Message { payload, .. }| {
                let len = payload.size();
                ear.leave(make(payload), len);
            });
            heard.push(gateway.bus.listen(subject, listener).await?);
        }
        Ok(heard)
    }

    /// Serves a socket's HTTP requests, the last of which may upgrade it.
    fn take(&self, stream: TcpStream, peer: SocketAddr) {
        let address = peer.ip().to_canonical();
        let gateway = &self.shard.gateway;
        // A proxy's connections are those of many; each of them is counted when it upgrades. Not those of the proxy, for clients
        // may be in its network.
        let is_proxy = gateway.config.proxies.is_one(address);
        let max = gateway.config.connections_of_address_max;
        let refused = if !gateway.has_place() {
            Some("no_place")
        } else {
            (!is_proxy && gateway.addresses.arrive(&address, max) == Arrived::TooMany).then_some("address")
        };
        if let Some(reason) = refused {
            metrics::counter!(crate::metrics::REFUSED, "reason" => reason).increment(1);
            return;
        }
        let counted = HttpSocket::count(gateway.clone(), (!is_proxy).then_some(address));
        let door = self.clone();
        self.requests.spawn(async move {
            if let Some(stream) = door.enter(stream).await {
                door.serve(stream, address).await;
            }
            drop(counted);
        });
    }

    /// The socket to speak HTTP over: the client's, or the one behind its TLS. `None` when the client did not get so far.
    async fn enter(&self, stream: TcpStream) -> Option<TcpStream> {
        let Some(tls) = &self.shard.gateway.config.tls else { return Some(stream) };
        // Boxed: where there is no TLS a connection's task should not be as large as a handshake.
        let entering = Box::pin(tls.enter(stream, &self.requests));
        match self.drain.run_until_cancelled(entering).await? {
            Ok(stream) => Some(stream),
            Err(error) => {
                tracing::debug!(%error, "a TLS handshake was not finished");
                metrics::counter!(crate::metrics::REFUSED, "reason" => "tls").increment(1);
                None
            }
        }
    }

    async fn serve(&self, stream: TcpStream, address: IpAddr) {
        let stream = WriteTimeout::new(stream, self.shard.gateway.config.slow_consumer_timeout);
        let (shard, router) = (self.shard.clone(), self.router.clone());
        let service =
            service_fn(move |request| answer(shard.clone(), router.clone(), request, ClientAddress(address)));
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .max_buf_size(HEAD_BYTES_MAX)
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades();
        tokio::pin!(connection);
        let served = tokio::select! {
            served = &mut connection => served,
            () = self.drain.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = served {
            tracing::debug!(%error, "an HTTP connection ended in an error");
        }
    }

    /// Tells every connection bye, each with its own time to come back, and waits for them.
    async fn let_go(&self) {
        let config = &self.shard.gateway.config;
        let all = self.shard.with(|state| state.ids());
        // So that as many come back a second as can be taken in, and no more.
        let spread_ms = (all.len() as u64 / 10).clamp(1_000, 60_000);
        let (count, began) = (all.len(), Instant::now());
        for (n, id) in all.into_iter().enumerate() {
            // By the clock and not by pauses: a timer's ticks would add up to more than the window.
            let due = began + due(n, count, config.drain_window);
            if due > Instant::now() {
                tokio::time::sleep_until(due).await;
            }
            let reconnect_after_ms = 100 + fastrand::u64(..spread_ms);
            self.shard.with(|state| state.close(id, CloseCode::GoingAway, reconnect_after_ms));
        }
        self.requests.close();
        let gone = async {
            self.requests.wait().await;
            while self.shard.with(|state| !state.connections.is_empty()) {
                self.shard.settled.notified().await;
            }
        };
        if tokio::time::timeout(Duration::from_secs(4), gone).await.is_err() {
            tracing::warn!("some connections did not close in time");
        }
    }
}

/// A socket that is no connection yet, or never will be, as it is counted until it is dropped.
struct HttpSocket {
    gateway: Arc<Gateway>,
    /// By where it comes from as well, unless that is a proxy.
    address: Option<IpAddr>,
}

impl HttpSocket {
    /// One whose address was found to have a place.
    fn count(gateway: Arc<Gateway>, address: Option<IpAddr>) -> Self {
        gateway.http_sockets.fetch_add(1, Ordering::Relaxed);
        Self { gateway, address }
    }
}

impl Drop for HttpSocket {
    fn drop(&mut self) {
        self.gateway.http_sockets.fetch_sub(1, Ordering::Relaxed);
        if let Some(address) = &self.address {
            self.gateway.addresses.depart(address);
        }
    }
}

/// When one of so many connections is closed, since the first one was: spread over the window, and sooner where there are few.
fn due(n: usize, count: usize, window: Duration) -> Duration {
    let even = window.mul_f64(n as f64 / count.max(1) as f64);
    even.min(FEW_APART * u32::try_from(n).unwrap_or(u32::MAX))
}

async fn answer(
    shard: Arc<Shard>,
    mut router: Router,
    mut request: Request<Incoming>,
    ClientAddress(peer): ClientAddress,
) -> Result<Response<Body>, std::convert::Infallible> {
    if request.version() == Version::HTTP_11 && request.headers().get_all(header::HOST).iter().count() != 1 {
        let failure = upgrade::bad("an HTTP/1.1 request has one Host header");
        return Ok(problem::response(&failure));
    }
    let config = &shard.gateway.config;
    let is_brought = config.proxies.is_one(peer);
    let address = ClientAddress(match is_brought {
        true => config.proxies.client(peer, request.headers()),
        false => peer,
    });
    let line = AccessLine::begin(&request, address.0);
    let response = match request.uri().path() {
        "/v1/ws" => upgrade::upgrade(&shard, request, address.0, is_brought),
        "/socket.io/" | "/socket.io" => {
            socketio::door::answer(&shard, linger(request), address.0, is_brought).await
        }
        _ => {
            request.extensions_mut().insert(address);
            router.call(linger(request)).await?
        }
    };
    line.end(response.status());
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_is_accepted_is_sent_to_at_once() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        send_at_once(&listener).unwrap();
        let address = listener.local_addr().unwrap();
        let (_client, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
        assert!(accepted.unwrap().0.nodelay().unwrap());
    }

    #[tokio::test]
    async fn what_panics_begins_again() {
        static BEGUN: AtomicUsize = AtomicUsize::new(0);
        async fn once(_: Arc<Shard>) {
            assert!(BEGUN.fetch_add(1, Ordering::Relaxed) > 0, "the first time it does");
        }
        let shard = Shard::new(crate::http::tests::state(crate::config::Config::default()).gateway, 0);
        for_ever("test", shard, once).await;
        assert_eq!(BEGUN.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn closes_are_spread_over_the_window_however_many_there_are() {
        let window = Duration::from_secs(2);
        for count in [100, 1_000, 100_000] {
            let halfway = due(count / 2, count, window);
            assert_eq!(halfway, window / 2, "{count}");
        }
        assert_eq!(due(2, 3, window), FEW_APART * 2);
        assert_eq!(due(99, 100, Duration::ZERO), Duration::ZERO);
        assert_eq!(due(0, 0, window), Duration::ZERO);
    }
}
