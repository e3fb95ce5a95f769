//! Accounts of another service, asked as the system did that this one replaces: `GET {base}/v1/accounts/validate` with the
//! bearer token. What its answers mean is in [`verdict`].
//!
//! - *Cached*: a valid token for `valid_ttl` or until its end, a refused one for `refused_ttl`. So a token that is called back
//!   counts for up to `valid_ttl` more. Kept is a keyed hash of a token and never the token. The two kinds have a bound each:
//!   a flood of made-up tokens pushes out no good answer.
//! - *One call a token*: who asks about a token while a call about it is under way gets that call's answer.
//! - *Away*: an answer that does not come, or says nothing of the token, is `Unavailable`, and not kept. After
//!   `breaker_failures` calls in a row without an answer, or with one that says that the service is in trouble (5xx, 429),
//!   all tokens that are not cached are `Unavailable` at once for `breaker_pause`; then one call tries. Any other answer may
//!   be about its one token, whose owner must not be able to shut out everybody else.
//! - *Bounded*: see [`HttpOptions`]; and at most `asked_max` tokens are asked about at once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::StatusCode;
use hubbub_core::ids::Millis;
use hubbub_core::ports::PortFuture;
use hubbub_core::ports::accounts::{Account, Accounts, AccountsError, BuiltInAccounts, Secret};
use tokio::sync::watch;
use tokio::time::Instant;

use super::cache::{Cache, Hasher, TokenHash};
use super::client::{CallError, HttpClient, HttpOptions, url};
use super::metrics::{ServiceMeters, of_failure};
use super::option::BadOption;
use super::{foreign, now, unavailable};

mod breaker;
mod verdict;

use breaker::{Breaker, Change};
use verdict::Verdict;

/// Where the account service answers, under its base address.
const PATH: &str = "/v1/accounts/validate";
const BASE: &str = "AUTH_SERVER";
/// How often it is logged that answers say nothing of a token: one user can cause them without end.
const LOGGED_EVERY: Duration = Duration::from_secs(60);

/// What may be set of the adapter of an account service.
#[derive(Debug, Clone)]
pub struct AuthServerOptions {
    /// Of the calls.
    pub http: HttpOptions,
    /// How long a valid token is not asked about again. Default 30 s.
    pub valid_ttl: Duration,
    /// How long a refused token is not asked about again. Default 5 s.
    pub refused_ttl: Duration,
    /// Answers that are kept, of either kind: some 300 bytes a valid one, 100 a refused one. Default 20,000.
    pub cached_max: usize,
    /// Tokens that are asked about at once, those that wait for a place among the calls included; more are `Unavailable`
    /// at once. Default 1,024.
    pub asked_max: usize,
    /// When an account ends whose token's end neither the service nor the token tells: then a connection has to show its
    /// token again. Default 1 h.
    pub session_max: Duration,
    /// Failures in a row that open the breaker; 0 counts as 1. Default 5.
    pub breaker_failures: u32,
    /// For how long it opens. Default 5 s.
    pub breaker_pause: Duration,
}

impl Default for AuthServerOptions {
    fn default() -> Self {
        Self {
            http: HttpOptions::default(),
            valid_ttl: Duration::from_secs(30),
            refused_ttl: Duration::from_secs(5),
            cached_max: 20_000,
            asked_max: 1_024,
            session_max: Duration::from_secs(3_600),
            breaker_failures: 5,
            breaker_pause: Duration::from_secs(5),
        }
    }
}

type Validated = Result<Account, AccountsError>;

/// Accounts of another service.
pub struct AuthServer(Arc<Inner>);

struct Inner {
    client: HttpClient,
    options: AuthServerOptions,
    hasher: Hasher,
    started: Instant,
    state: Mutex<State>,
    meters: ServiceMeters,
}

struct State {
    valid: Cache<Account>,
    refused: Cache<()>,
    /// The calls under way: where each will put its answer.
    calls: HashMap<TokenHash, watch::Receiver<Option<Validated>>>,
    breaker: Breaker,
    /// When it was last logged that an answer said nothing of a token.
    logged_at: Option<Duration>,
}

/// What to do about a token.
enum Plan {
    Answered(Validated),
    Wait(watch::Receiver<Option<Validated>>),
}

impl AuthServer {
    /// The accounts of the service at a base address, such as `https://accounts.example.org`. Nothing is called yet.
    ///
    /// # Errors
    /// An address that is not http or https, or has a user, a query or a fragment; certificates that can't be read.
    pub fn new(base: &str, options: AuthServerOptions) -> Result<Self, BadOption> {
        let client = HttpClient::new(url::under(BASE, base, PATH)?, &options.http)?;
        let state = State {
            valid: Cache::new(options.cached_max),
            refused: Cache::new(options.cached_max),
            calls: HashMap::new(),
            breaker: Breaker::new(options.breaker_failures, options.breaker_pause),
            logged_at: None,
        };
        Ok(Self(Arc::new(Inner {
            client,
            options,
            hasher: Hasher::random()?,
            started: Instant::now(),
            state: Mutex::new(state),
            meters: ServiceMeters::new(),
        })))
    }

    async fn account_of(&self, token: &Secret) -> Validated {
        if !foreign::may_be_token(token) {
            return Err(AccountsError::InvalidToken);
        }
        let mut answer = match self.plan(token) {
            Plan::Answered(answer) => return answer,
            Plan::Wait(answer) => answer,
        };
        let answer = answer.wait_for(Option::is_some).await.ok().and_then(|answer| answer.clone());
        answer.unwrap_or_else(|| Err(unavailable("the call ended without an answer")))
    }

    fn plan(&self, token: &Secret) -> Plan {
        let Inner { hasher, meters, options, .. } = &*self.0;
        let (key, now) = (hasher.hash(token), self.0.now());
        let mut state = self.0.lock();
        // By both clocks: the one that can't be set back, and the one that the account's end is of.
        if let Some(account) = state.valid.get(&key, now).filter(|account| account.expires_at > super::now())
        {
            meters.hits_valid.increment(1);
            return Plan::Answered(Ok(account));
        }
        if state.refused.get(&key, now).is_some() {
            meters.hits_refused.increment(1);
            return Plan::Answered(Err(AccountsError::InvalidToken));
        }
        if let Some(answer) = state.calls.get(&key) {
            meters.hits_shared.increment(1);
            return Plan::Wait(answer.clone());
        }
        if state.calls.len() >= options.asked_max {
            meters.unasked_full.increment(1);
            return Plan::Answered(Err(unavailable("too many tokens are being asked about")));
        }
        if !state.breaker.admits(now) {
            meters.unasked_breaker.increment(1);
            return Plan::Answered(Err(unavailable(
                "the account service failed and is not asked for a while",
            )));
        }
        let (tell, answer) = watch::channel(None);
        state.calls.insert(key, answer.clone());
        let landing = Landing { inner: self.0.clone(), key, tell, outcome: None, service: Service::Fails };
        tokio::spawn(call(landing, token.clone()));
        Plan::Wait(answer)
    }
}

impl Accounts for AuthServer {
    /// Needs a tokio runtime with I/O and time.
    ///
    /// # Cancel safety
    /// A call goes on when the future is dropped: others may wait for it, and its answer is kept. It ends within its timeout.
    fn validate<'a>(&'a self, token: &'a Secret) -> PortFuture<'a, Validated> {
        Box::pin(self.account_of(token))
    }

    fn built_in(&self) -> Option<&dyn BuiltInAccounts> {
        None
    }
}

impl Inner {
    /// A time that never runs backwards.
    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic elsewhere can at worst leave an answer in one of two indexes, which costs a place, not safety.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Until when a valid token counts: what the service says, what the token says, or the longest session.
    fn end(&self, said: Option<Millis>, token: &Secret) -> Millis {
        let session = u64::try_from(self.options.session_max.as_millis()).unwrap_or(u64::MAX);
        let told = [said, foreign::end_by_itself(token)].into_iter().flatten().min();
        told.unwrap_or(Millis(now().0.saturating_add(session)))
    }
}

/// Puts a call's outcome where it belongs, whichever way the call ends: in its `Drop`.
struct Landing {
    inner: Arc<Inner>,
    key: TokenHash,
    tell: watch::Sender<Option<Validated>>,
    outcome: Option<Validated>,
    service: Service,
}

/// What a call tells of the service, whatever it tells of its token.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Service {
    Answers,
    Fails,
    NotAsked,
}

impl Service {
    fn of_status(status: StatusCode) -> Self {
        match status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
            true => Self::Fails,
            false => Self::Answers,
        }
    }

    fn of_error(error: &CallError) -> Self {
        match error {
            CallError::Busy => Self::NotAsked,
            CallError::TooLarge => Self::Answers,
            CallError::TimedOut | CallError::Failed(_) => Self::Fails,
        }
    }
}

async fn call(mut landing: Landing, token: Secret) {
    let inner = landing.inner.clone();
    let began = inner.started.elapsed();
    let answer = inner.client.get(Some(&token)).await;
    inner.meters.call_seconds.record(inner.now().saturating_sub(began));
    landing.service = match &answer {
        Ok(answer) => Service::of_status(answer.status),
        Err(error) => Service::of_error(error),
    };
    let verdict = answer.map(|answer| verdict::read(answer.status, &answer.body));
    let (label, outcome) = match verdict {
        Ok(Verdict::Valid { user, roles, end }) => {
            let expires_at = inner.end(end.map(|end| end.millis()), &token);
            match expires_at > now() {
                true => ("valid", Ok(Account { user, roles, expires_at })),
                false => ("refused", Err(AccountsError::InvalidToken)),
            }
        }
        Ok(Verdict::Refused) => ("refused", Err(AccountsError::InvalidToken)),
        Ok(Verdict::Trouble(what)) => ("trouble", Err(unavailable(what))),
        Err(error) => (of_failure(&error), Err(unavailable(error))),
    };
    inner.meters.call(label);
    landing.outcome = Some(outcome);
}

impl Drop for Landing {
    fn drop(&mut self) {
        // Without an outcome the task was ended, by a panic or with its runtime.
        let outcome = self.outcome.take().unwrap_or_else(|| Err(unavailable("the call was ended")));
        let (inner, key, now) = (&*self.inner, self.key, self.inner.now());
        let mut state = inner.lock();
        state.calls.remove(&key);
        match &outcome {
            Ok(account) => {
                let left = Duration::from_millis(account.expires_at.0.saturating_sub(super::now().0));
                let end = now.saturating_add(inner.options.valid_ttl.min(left));
                state.valid.put(key, account.clone(), now, end);
            }
            Err(AccountsError::InvalidToken) => {
                state.valid.remove(&key);
                state.refused.put(key, (), now, now.saturating_add(inner.options.refused_ttl));
            }
            Err(_) => {}
        }
        let change = match self.service {
            Service::Answers => state.breaker.answered(),
            Service::Fails => state.breaker.failed(now),
            Service::NotAsked => {
                state.breaker.gave_up(now);
                None
            }
        };
        let says_nothing =
            self.service == Service::Answers && matches!(outcome, Err(AccountsError::Unavailable { .. }));
        let is_due = says_nothing && state.logged_at.is_none_or(|at| now.saturating_sub(at) >= LOGGED_EVERY);
        if is_due {
            state.logged_at = Some(now);
        }
        drop(state);
        if let (true, Err(AccountsError::Unavailable { inside })) = (is_due, &outcome) {
            // The breaker stays closed and says nothing, and a slip in the address looks like this.
            tracing::warn!(inside, "the account service's answer says nothing of the token");
        }
        match (change, &outcome) {
            (Some(Change::Opened), Err(AccountsError::Unavailable { inside })) => {
                inner.meters.breaker_open.set(1.0);
                let pause = inner.options.breaker_pause;
                tracing::warn!(inside, ?pause, "the account service fails and is not asked for a while");
            }
            (Some(Change::Closed), _) => {
                inner.meters.breaker_open.set(0.0);
                tracing::info!("the account service answers again");
            }
            _ => {}
        }
        self.tell.send_replace(Some(outcome));
    }
}
