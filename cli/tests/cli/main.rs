//! The program as people run it.
#![allow(missing_docs)]

mod cleanup;
mod collect;
mod conformance;
mod import;
mod postgres;
mod query;
mod records;
mod support;
#[cfg(unix)]
mod terminal;
mod usage;
