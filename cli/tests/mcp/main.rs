//! `annals mcp`, driven by the protocol's own client library.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[path = "../aimx/fake.rs"]
#[allow(dead_code, reason = "made for more tests than these")]
mod fake;
#[path = "../cli/support.rs"]
#[allow(dead_code, reason = "made for more tests than these")]
mod support;

mod client;
mod news;
mod paging;
mod protocol;
mod tools;
