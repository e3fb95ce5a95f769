//! The Socket.IO door, by the official clients of both generations over each transport, and by hand where no client would do it.

pub mod clients;
mod contract;
mod directory;
mod engine;
mod limits;
mod suites;
mod tokens;
