//! The HTTP interface over a real socket, with a backend that blocks and fails on command.
#![allow(clippy::unwrap_used, unreachable_pub, reason = "a test may panic")]

mod away;
mod backend;
mod caching;
mod drain;
mod erase;
mod follow;
mod guarded;
mod hostile;
mod limits;
mod probes;
mod read;
mod running;
mod tls;
mod tokens;
mod write;
