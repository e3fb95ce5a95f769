//! The gateway: holds sockets, and nothing that a restart may lose.
//!
//! In reading order: what it is told ([`config`]) and how it fails ([`error`]); what it asks of the other tiers
//! ([`actions`]); a [`shard`] owns connections and the rooms they are members of; [`fanout`] is the hot path.

pub mod actions;
pub mod config;
pub mod error;
pub mod http;
pub mod metrics;
pub mod presence;
pub mod rate_limit;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use hubbub_core::ids::{Partitions, UserId};
use hubbub_core::ports::accounts::{Account, Accounts, Role, Secret};
use hubbub_core::ports::bus::Bus;

use crate::actions::Asker;
use crate::config::Config;
use crate::error::Failure;
use crate::presence::Presence;
use crate::rate_limit::RateLimit;

/// The ports a gateway stands on.
#[derive(Clone)]
pub struct Ports {
    /// To the other tiers.
    pub bus: Arc<dyn Bus>,
    /// Who a token stands for.
    pub accounts: Arc<dyn Accounts>,
    /// How many partitions there are.
    pub partitions: Partitions,
}

/// What all doors and shards of a gateway share.
pub struct Gateway {
    /// Settings.
    pub config: Config,
    /// To the other tiers.
    pub asker: Asker,
    /// To the other tiers, for listening.
    pub bus: Arc<dyn Bus>,
    /// Who a token stands for.
    pub accounts: Arc<dyn Accounts>,
    /// Who is there.
    pub presence: Presence,
    /// Messages, joins and rooms, a user.
    pub sends: RateLimit<UserId>,
    /// Reads, a user.
    pub reads: RateLimit<UserId>,
    draining: AtomicBool,
}

impl Gateway {
    /// A gateway that does not listen yet.
    pub fn new(config: Config, ports: Ports) -> Arc<Self> {
        metrics::describe();
        Arc::new(Self {
            asker: Asker::new(ports.bus.clone(), ports.partitions, config.action_timeout),
            bus: ports.bus,
            accounts: ports.accounts,
            presence: Presence::default(),
            sends: RateLimit::new(config.sends_per_second, config.sends_burst),
            reads: RateLimit::new(config.reads_per_second, config.reads_burst),
            draining: AtomicBool::new(false),
            config,
        })
    }

    /// The account of a token that may chat.
    ///
    /// # Errors
    /// `Accounts`, `RoleMissing`.
    pub async fn authenticate(&self, token: &Secret) -> Result<Account, Failure> {
        let account = self.accounts.validate(token).await?;
        match account.roles.contains(&Role::User) {
            true => Ok(account),
            false => Err(Failure::RoleMissing),
        }
    }

    /// Whether the gateway takes no new work any more.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }
}
