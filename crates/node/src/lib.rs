//! What every process of Hubbub needs and no chat knows of.
//!
//! [`config`] reads the settings.

pub mod config;
