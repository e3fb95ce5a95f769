//! How people are let in, and let in again.

use std::cell::Cell;
use std::time::{Duration, Instant};

use anyhow::anyhow;
use hubbub_client::{Client, Error, Events, Options};
use tokio::time::{sleep, timeout};

use super::Plan;
use crate::targets::accounts::Door;

/// How long one try to let somebody in may take, and what is between two.
const TRY_MAX: Duration = Duration::from_secs(10);
const TRY_EVERY: Duration = Duration::from_millis(200);

/// One address of the deployment.
pub(super) struct Gate {
    pub url: String,
    pub door: Door,
}

/// Knows everybody's name and token.
pub(super) struct Registry<'a> {
    pub plan: &'a Plan,
    gates: &'a [Gate],
    /// What everything that is made begins with.
    pub name: &'a str,
    /// Somebody was let in: what is away from now on is what the operator breaks, and comes back.
    reached: Cell<bool>,
}

impl<'a> Registry<'a> {
    pub fn new(plan: &'a Plan, gates: &'a [Gate], name: &'a str) -> Self {
        Self { plan, gates, name, reached: Cell::new(false) }
    }

    /// Lets the n-th of them come. Once anybody did, that is tried again until `patience` is over.
    pub async fn come(&self, n: usize, who: &str) -> anyhow::Result<(Client, Events)> {
        let until = Instant::now() + self.plan.patience;
        loop {
            let try_max = if self.reached.get() { TRY_MAX } else { self.plan.patience };
            let tried = timeout(try_max, async { Ok(Client::connect(self.options(n, who).await?).await?) });
            let error: anyhow::Error = match tried.await {
                Ok(Ok(came)) => {
                    self.reached.set(true);
                    return Ok(came);
                }
                Ok(Err(error)) => error,
                Err(_) => anyhow!("no answer within {} s", try_max.as_secs()),
            };
            let is_refused = matches!(error.downcast_ref(), Some(Error::Refused(refusal))
                if !refusal.known_code().is_some_and(|code| code.retry()));
            if is_refused || !self.reached.get() || Instant::now() >= until {
                return Err(error.context(format!("letting {who} in")));
            }
            sleep(TRY_EVERY).await;
        }
    }

    /// Lets somebody in again whose connection ended for good, with a new token where that is an account of ours. One try.
    pub async fn come_again(&self, n: usize, who: &str) -> anyhow::Result<Client> {
        let token = match self.token(n) {
            Some(token) => token,
            None => self.gate(n).door.log_in(&self.account(n, who)).await?,
        };
        let (client, mut events) = Client::connect(self.options_with(n, token)).await?;
        tokio::task::spawn_local(async move { while events.next().await.is_some() {} });
        Ok(client)
    }

    /// How the n-th of them connects, again and again until `patience` is over.
    async fn options(&self, n: usize, who: &str) -> anyhow::Result<Options> {
        let token = match self.token(n) {
            Some(token) => token,
            None => self.gate(n).door.register(&self.account(n, who)).await?,
        };
        Ok(self.options_with(n, token))
    }

    fn options_with(&self, n: usize, token: String) -> Options {
        Options {
            token,
            client_name: concat!("hubbub-verify/", env!("CARGO_PKG_VERSION")).into(),
            reconnect: true,
            reconnect_wait_max: Duration::from_secs(1),
            deadline: self.plan.patience,
            ..Options::new(&self.gate(n).url)
        }
    }

    fn gate(&self, n: usize) -> &Gate {
        &self.gates[n % self.gates.len()]
    }

    /// One that was brought, if any were.
    fn token(&self, n: usize) -> Option<String> {
        let at = n.checked_rem(self.plan.tokens.len())?;
        Some(self.plan.tokens[at].clone())
    }

    /// The name of an account of ours.
    fn account(&self, n: usize, who: &str) -> String {
        format!("{}-{who}{n}", self.name)
    }
}
