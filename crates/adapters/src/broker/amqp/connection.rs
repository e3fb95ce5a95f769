//! A connection that is made anew for ever.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{Stream, StreamExt};
use lapin::tcp::OwnedTLSConfig;
use lapin::{Connection, ConnectionProperties, DefaultConnectionBuilder, Event};
use metrics::{counter, gauge};

use super::topology::NoQueue;
use super::{AmqpOptions, CONNECTED, FAILED, Link};

/// Pauses between tries: doubled from the first to the last, each shortened by up to half.
const PAUSE_FIRST: Duration = Duration::from_millis(100);
const PAUSE_LAST: Duration = Duration::from_secs(5);
/// How long connecting, with all that belongs to it, may take.
const CONNECT_MAX: Duration = Duration::from_secs(10);

/// What is done over a connection.
pub(super) trait Session: Send {
    /// What it needs of a connection.
    type Ready: Send;

    /// Makes ready.
    fn prepare(
        &mut self,
        connection: &Connection,
    ) -> impl Future<Output = Result<Self::Ready, NoQueue>> + Send;

    /// Works until that is not possible any more.
    fn work(&mut self, ready: Self::Ready) -> impl Future<Output = String> + Send;

    /// The connection is lost.
    fn end(&mut self, why: &str);
}

/// Connects and works, again and again.
pub(super) async fn keep(
    options: Arc<AmqpOptions>,
    what: &'static str,
    link: Arc<Link>,
    mut session: impl Session,
) {
    let place = options.place();
    let mut pause = PAUSE_FIRST;
    loop {
        let begun = tokio::time::timeout(CONNECT_MAX, begin(&options, what, &mut session));
        // Boxed: it is large, and needed once a connection.
        let why = match Box::pin(begun).await {
            Ok(Ok((connection, ready))) => {
                tracing::info!(broker = place, what, "connected to the broker of the bots");
                link.is_well();
                let lost = lost(connection.events_listener(), &link, &place, what);
                let why = tokio::select! {
                    why = session.work(ready) => why,
                    why = lost => why,
                };
                pause = PAUSE_FIRST;
                why
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("no answer within {} s", CONNECT_MAX.as_secs()),
        };
        counter!(FAILED).increment(1);
        if link.is_in_trouble(why.clone()) {
            tracing::error!(broker = place, what, why, "the broker of the bots is away");
        }
        session.end(&why);
        tokio::time::sleep(pause.mul_f64(0.5 + fastrand::f64() / 2.0)).await;
        pause = (pause * 2).min(PAUSE_LAST);
    }
}

async fn begin<S: Session>(
    options: &AmqpOptions,
    what: &str,
    session: &mut S,
) -> Result<(Connection, S::Ready), NoQueue> {
    let name = format!("{} {what}", options.name);
    let tls = OwnedTLSConfig { identity: None, cert_chain: options.ca.clone() };
    let connection = DefaultConnectionBuilder::new()?
        .with_uri(options.uri.clone())
        .with_properties(ConnectionProperties::default().with_connection_name(name.into()))
        .with_tls_config(tls)
        .connect()
        .await?;
    let ready = session.prepare(&connection).await?;
    Ok((connection, ready))
}

/// Waits for the connection's end. While the broker takes nothing from it, it is in trouble: what was sent now would lie here, and
/// be carried out long after its sender was told that it was not.
async fn lost(events: impl Stream<Item = Event>, link: &Link, place: &str, what: &str) -> String {
    let mut events = std::pin::pin!(events);
    let mut usable = Usable(false);
    usable.set(true);
    loop {
        match events.next().await {
            Some(Event::Error(error)) => return error.to_string(),
            Some(Event::ConnectionBlocked(reason)) => {
                let why = format!("it takes nothing just now: {reason}");
                usable.set(false);
                if link.is_in_trouble(why.clone()) {
                    tracing::error!(broker = place, what, why, "the broker of the bots is away");
                }
            }
            Some(Event::ConnectionUnblocked) => {
                usable.set(true);
                link.is_well();
                tracing::info!(broker = place, what, "the broker of the bots takes what it is sent again");
            }
            Some(_) => {}
            None => return "the connection ended".into(),
        }
    }
}

/// Whether a connection is counted as one that can be used.
struct Usable(bool);

impl Usable {
    fn set(&mut self, usable: bool) {
        match (std::mem::replace(&mut self.0, usable), usable) {
            (false, true) => gauge!(CONNECTED).increment(1.0),
            (true, false) => gauge!(CONNECTED).decrement(1.0),
            _ => {}
        }
    }
}

impl Drop for Usable {
    fn drop(&mut self) {
        self.set(false);
    }
}
