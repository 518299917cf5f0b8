//! Asking a running AimDB for history, over its remote access protocol AimX.
//!
//! Both published versions are spoken: 1.0 (AimDB 1.x) and 3.0 (AimDB 2.x). The server's answer to
//! the hello tells which one it is.

mod address;
mod backend;
mod client;
mod fault;
mod link;
mod walk;
mod wire;

pub(crate) use address::Address;
pub(crate) use backend::AimxBackend;
