//! `annals query --aimx` and `annals records --aimx` as people run them.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[path = "../cli/support.rs"]
#[allow(dead_code, reason = "made for more tests than these")]
mod support;

mod failures;
#[allow(dead_code, reason = "made for more tests than these")]
mod fake;
mod queries;
mod real;
#[cfg(feature = "_test-aimdb-2")]
mod real_2;

use fake::Server;
use support::{Place, Run};

fn query(server: &Server, args: &[&str]) -> Run {
    Place::new().run(&[&["query", "--aimx", server.address()], args].concat())
}
