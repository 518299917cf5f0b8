//! Queries a running AimDB over its remote access protocol, AimX.
//!
//! Both published versions are supported: 1.0 (AimDB 1.x) and 3.0 (AimDB 2.x). The answer to the hello
//! tells which one the server uses.

mod address;
mod backend;
mod client;
mod fault;
mod link;
mod walk;
mod wire;

pub(crate) use address::Address;
pub(crate) use backend::AimxBackend;
