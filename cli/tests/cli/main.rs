//! The program as people run it.
// clippy takes functions outside of #[test] for no tests.
#![allow(clippy::unwrap_used)]

mod cleanup;
mod collect;
mod conformance;
mod import;
mod query;
mod records;
mod support;
#[cfg(unix)]
mod terminal;
mod usage;
