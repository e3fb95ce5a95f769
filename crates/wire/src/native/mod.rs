//! The native protocol's JSON: what clients ask ([`request`]) and what they are told ([`answer`]).

pub mod answer;
pub mod request;
