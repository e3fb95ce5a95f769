//! The products behind Hubbub's ports: one folder a port, one module a product. Only a `main.rs` names them.

pub mod accounts;
pub mod broker;
pub mod bus;
pub mod leases;
pub mod store;
