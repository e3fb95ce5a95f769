//! A set of keys behind an address (RFC 7517), fetched when it is needed and kept.
//!
//! - It is fetched when a token asks for a key that is not in it, and when it is older than `refresh_every`; at most once in
//!   `refetch_after`, whether that went well or not; one fetch at a time, for which all wait who need it.
//! - Who finds the set too old waits for the fetch as well: after a quiet time a key in it may long be withdrawn. But not
//!   while the address is known to be away: then it is fetched in the background.
//! - The last good set stays in use while the address is away or answers what is no set.
//! - A key that is not in a set just fetched makes a refusal. When the last fetch failed the key may be a new one, so then it
//!   is `Unavailable`.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;
use tokio::sync::watch;
use tokio::time::Instant;

use super::super::client::{Answer, HttpClient, HttpOptions, url};
use super::super::metrics::{KeyMeters, of_failure};
use super::super::option::BadOption;
use super::key::{Jwk, Key};

/// Keys of a set that are looked at. Issuers have two or three.
const KEYS_MAX: usize = 100;

/// What may be set of a key set behind an address.
#[derive(Debug, Clone)]
pub struct JwksOptions {
    /// Of the calls. Default as for any.
    pub http: HttpOptions,
    /// Least time from the beginning of one fetch to that of the next. Default 10 s.
    pub refetch_after: Duration,
    /// Age at which a set is fetched anew though nothing is missing, so that a key that was withdrawn goes. Default 10 min.
    pub refresh_every: Duration,
}

impl Default for JwksOptions {
    fn default() -> Self {
        Self {
            http: HttpOptions::default(),
            refetch_after: Duration::from_secs(10),
            refresh_every: Duration::from_secs(600),
        }
    }
}

/// Why there is no key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoKey {
    /// The set has none by that name.
    Unknown,
    /// Nobody can say. For the log.
    Unavailable(String),
}

/// The keys of one address.
#[derive(Clone)]
pub struct Jwks(Arc<Inner>);

struct Inner {
    client: HttpClient,
    refetch_after: Duration,
    refresh_every: Duration,
    started: Instant,
    state: Mutex<State>,
    meters: Arc<KeyMeters>,
}

#[derive(Default)]
struct State {
    set: Option<Set>,
    fetched_at: Duration,
    /// When the last fetch was over, however it went.
    landed_at: Duration,
    /// When the last fetch began, and how it went; none before the first.
    began_at: Option<Duration>,
    failure: Option<String>,
    /// A fetch under way; closed when it is over.
    fetch: Option<watch::Receiver<()>>,
}

/// Keys by name, and the one that is meant when a token names none: if there is only one.
struct Set {
    by_name: HashMap<String, Arc<Key>>,
    only: Option<Arc<Key>>,
}

impl Jwks {
    /// The set at an address. Nothing is fetched yet.
    pub fn new(
        option: &'static str,
        address: &str,
        options: JwksOptions,
        meters: Arc<KeyMeters>,
    ) -> Result<Self, BadOption> {
        Ok(Self(Arc::new(Inner {
            client: HttpClient::new(url::parse(option, address)?, &options.http)?,
            refetch_after: options.refetch_after,
            refresh_every: options.refresh_every,
            started: Instant::now(),
            state: Mutex::default(),
            meters,
        })))
    }

    /// The key that a token asks for.
    ///
    /// # Cancel safety
    /// A fetch goes on when the future is dropped. It ends within its timeout.
    pub async fn find(&self, kid: Option<&str>) -> Result<Arc<Key>, NoKey> {
        let fetch = {
            let now = self.0.now();
            let mut state = self.0.lock();
            let is_old = |since: Duration| now.saturating_sub(since) >= self.0.refresh_every;
            let known = state.get(kid);
            if let Some(key) = &known
                && !is_old(state.fetched_at)
            {
                return Ok(key.clone());
            }
            let fetch = match state.may_fetch(now, self.0.refetch_after) {
                true => Some(self.begin_fetch(&mut state, now)),
                false => state.fetch.clone(),
            };
            match (known, fetch) {
                (Some(_), Some(fetch)) if is_old(state.landed_at) => fetch,
                (Some(key), _) => return Ok(key),
                (None, Some(fetch)) => fetch,
                (None, None) => return Err(state.missing()),
            }
        };
        over(fetch).await;
        let state = self.0.lock();
        state.get(kid).ok_or_else(|| state.missing())
    }

    fn begin_fetch(&self, state: &mut State, now: Duration) -> watch::Receiver<()> {
        let (tell, fetch) = watch::channel(());
        state.began_at = Some(now);
        state.fetch = Some(fetch.clone());
        let landing =
            Landing { inner: self.0.clone(), _tell: tell, outcome: Err("the fetch was ended".into()) };
        tokio::spawn(run_fetch(landing));
        fetch
    }
}

/// Waits until the sender is gone.
async fn over(mut fetch: watch::Receiver<()>) {
    while fetch.changed().await.is_ok() {}
}

impl State {
    fn get(&self, kid: Option<&str>) -> Option<Arc<Key>> {
        let set = self.set.as_ref()?;
        match kid {
            Some(kid) => set.by_name.get(kid).cloned(),
            None => set.only.clone(),
        }
    }

    fn may_fetch(&self, now: Duration, refetch_after: Duration) -> bool {
        self.fetch.is_none() && self.began_at.is_none_or(|at| now.saturating_sub(at) >= refetch_after)
    }

    fn missing(&self) -> NoKey {
        match &self.failure {
            Some(failure) => NoKey::Unavailable(failure.clone()),
            None => NoKey::Unknown,
        }
    }
}

impl Inner {
    /// A time that never runs backwards.
    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No step between two writes of it can panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Puts a fetch's outcome where it belongs, whichever way the fetch ends: in its `Drop`.
struct Landing {
    inner: Arc<Inner>,
    _tell: watch::Sender<()>,
    outcome: Result<Set, String>,
}

async fn run_fetch(mut landing: Landing) {
    let answer = landing.inner.client.get(None).await;
    let (label, outcome) = match answer {
        Ok(Answer { status, body }) if status.as_u16() == 200 => match read(&body) {
            Some(set) => ("fetched", Ok(set)),
            None => ("unusable", Err("no set of keys that can be used".into())),
        },
        Ok(Answer { status, .. }) => ("trouble", Err(format!("status {}", status.as_u16()))),
        Err(error) => (of_failure(&error), Err(error.to_string())),
    };
    landing.inner.meters.fetch(label);
    landing.outcome = outcome;
}

impl Drop for Landing {
    fn drop(&mut self) {
        let now = self.inner.now();
        let mut state = self.inner.lock();
        state.fetch = None;
        state.landed_at = now;
        match std::mem::replace(&mut self.outcome, Err(String::new())) {
            Ok(set) => {
                let was_away = state.failure.take().is_some();
                (state.set, state.fetched_at) = (Some(set), now);
                drop(state);
                if was_away {
                    tracing::info!("the key set could be fetched again");
                }
            }
            Err(inside) => {
                let kept = state.set.is_some();
                state.failure = Some(inside.clone());
                drop(state);
                tracing::warn!(inside, kept, "the key set could not be fetched");
            }
        }
    }
}

/// The keys of a set that can be used; `None` if there is none. One key that can't be read does not spoil the others.
fn read(body: &[u8]) -> Option<Set> {
    #[derive(Deserialize)]
    struct Written {
        keys: Vec<Value>,
    }
    let written: Written = serde_json::from_slice(body).ok()?;
    let mut keys = Vec::new();
    for value in written.keys.into_iter().take(KEYS_MAX) {
        let Ok(jwk) = Jwk::deserialize(value) else { continue };
        if let Some(key) = Key::of_jwk(&jwk) {
            keys.push((jwk.kid, Arc::new(key)));
        }
    }
    let only = match &*keys {
        [] => return None,
        [(_, key)] => Some(key.clone()),
        _ => None,
    };
    let by_name = keys.into_iter().filter_map(|(kid, key)| Some((kid?, key))).collect();
    Some(Set { by_name, only })
}
