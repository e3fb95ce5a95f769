//! What every process of Hubbub needs and no chat knows of.
//!
//! In the order in which a `main` uses them: [`config`] reads the settings, [`telemetry`] starts logs, which [`log`] writes, and metrics, [`trace`] makes spans,
//! [`build_info`] says who is speaking, [`health`] tells whether work may be sent here, [`roster`] knows the other nodes, [`revoked`] the tokens that were called back, [`bans`] the users who may not come in, [`agent`] is what operators see of it, and [`signals`] ends it in order. What fails is tried again after a [`backoff`].

pub mod agent;
pub mod backoff;
pub mod bans;
pub mod build_info;
pub mod config;
pub mod health;
pub mod log;
pub mod process;
pub mod rate_limit;
pub mod revoked;
pub mod roster;
pub mod signals;
pub mod telemetry;
pub mod trace;
