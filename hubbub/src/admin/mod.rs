//! Operators: the listener of the admin API ([`door`]), and `hubbub admin` ([`cli`]), which calls it ([`call`]) and shows what it says
//! ([`tables`]).

mod call;
pub mod cli;
pub mod door;
mod erase;
mod patience;
mod retention;
mod tables;

pub use hubbub_gateway::admin::Ports;
