//! What every process of Hubbub needs and no chat knows of.
//!
//! In the order in which a `main` uses them: [`config`] reads the settings, [`telemetry`] starts logs and metrics,
//! [`build_info`] says who is speaking.

pub mod build_info;
pub mod config;
pub mod process;
pub mod telemetry;
