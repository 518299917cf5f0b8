//! The interface over a real socket, in front of backends that do as they are told.
#![allow(clippy::unwrap_used, unreachable_pub, reason = "a test may panic")]

mod away;
mod backend;
mod drain;
mod limits;
mod probes;
mod read;
mod running;
mod write;
