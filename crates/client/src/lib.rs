//! A client of Hubbub's native WebSocket protocol.
//!
//! [`Client::connect`] gives a handle with a verb for each request and the [`Events`] of the connection. With
//! [`Options::reconnect`] a lost connection is made again, goes on from the last entry seen of each room, and
//! every request that had no answer is sent again, unchanged, until its deadline: a message is kept once or
//! refused, or its outcome is [`Error::Deadline`], unknown.
//!
//! The client checks what the server promises: a room's entries come in order, each once, none missing. What
//! breaks the promise is an [`Event::Violation`], never hidden. [`raw`] is a bare socket for bad input.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use hubbub_client::{Client, Event, Options};
//!
//! let options = Options { token: "…".into(), reconnect: true, ..Options::new("ws://127.0.0.1:8080/v1/ws") };
//! let (client, mut events) = Client::connect(options).await?;
//! let room = client.create("tea", "").await?;
//! client.send_text(&room.id, "hello", None).await?;
//! while let Some(event) = events.next().await {
//!     if let Event::Entry(entry) = event {
//!         println!("{} {}: {:?}", entry.seq, entry.user.name, entry.what);
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! In reading order: [`Client`], what it sends and gets ([`answer`], [`entry`], [`event`]), the session that decides
//! and knows no socket, the loop that acts, the socket.

pub mod answer;
mod backoff;
mod client;
mod driver;
pub mod entry;
mod error;
pub mod event;
pub mod net;
mod options;
mod pending;
mod positions;
pub mod raw;
mod session;
mod socket;

pub use client::Client;
pub use entry::{Entry, What};
pub use error::{Error, Refusal};
pub use event::{Event, Events, Violation};
pub use options::Options;
