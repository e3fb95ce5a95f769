//! Settings: from flags, the environment and a file, in that order, over defaults.
//!
//! One table, made by [`settings!`](crate::settings), is the only place that knows a setting; the struct that the program reads, `--help`, the names in
//! the environment and in the file, what is printed as in force and the sentence of an error all follow from it.
//!
//! ```
//! use std::net::IpAddr;
//! use hubbub_node::config::{Sources, kinds::{IpAddress, Optional, Port, Secret}};
//!
//! hubbub_node::settings! {
//!     /// What an example can be told.
//!     #[derive(Debug)]
//!     pub struct Settings {
//!         "Listening" => {
//!             /// TCP port of the HTTP server.
//!             port: u16 = Port, env ["PORT"], default "3000";
//!             /// Address to listen on.
//!             interface: IpAddr = IpAddress, env ["INTERFACE"], default "127.0.0.1";
//!         }
//!         "Accounts" => {
//!             /// Password of the account service.
//!             auth_password: Option<hubbub_core::ports::accounts::Secret> = Optional(Secret), env ["AUTH_PASSWORD"], default "";
//!         }
//!     }
//! }
//!
//! let sources = Sources::new(["example", "--port", "8080"]).with_env([("INTERFACE", "::1"), ("PORT", "80")]);
//! let loaded = sources.load::<Settings>(clap::Command::new("example")).expect("well-formed settings");
//! assert_eq!(loaded.settings.port, 8080);
//! assert!(loaded.settings.interface.is_ipv6());
//! println!("{}", loaded.in_force); // what `example config` prints
//!
//! let wrong = Sources::new(["example"]).with_env([("PORT", "eighty")]);
//! let error = wrong.load::<Settings>(clap::Command::new("example")).err().expect("not a port");
//! assert_eq!(error.to_string(), r#"port: "eighty" (from environment PORT) must be a port number from 0 to 65535; 0 lets the system choose"#);
//! ```
//!
//! # Rules
//! - The key in the file is the long flag without its dashes (`port`, `data-dir`); a flag may stand before or after a subcommand.
//! - An empty variable of the environment is an unset one. Of a setting's several names in it the first that is set counts.
//! - The file is what `--config` or `HUBBUB_CONFIG` names, which then has to exist, else `hubbub.toml` in the current folder if there is one.
//! - Only the value in force is checked: a wrong one that a nearer source covers does no harm.
//! - In an orchestrator that injects `<SERVICE>_PORT` variables, a setting must not be called `HUBBUB_PORT`.

mod error;
mod file;
mod in_force;
pub mod kinds;
mod nearest;
mod sources;
mod table;

pub use error::{ConfigError, Source};
pub use in_force::InForce;
pub use sources::{Loaded, Retired, Sources};
pub use table::{FromTable, Setting};

#[cfg(test)]
mod tests;
