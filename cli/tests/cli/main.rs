//! The program as people run it.
// clippy takes functions outside of #[test] for no tests.
#![allow(clippy::unwrap_used)]

mod aggregate;
#[cfg(all(unix, feature = "sql"))]
mod answers;
mod cleanup;
mod collect;
mod conformance;
mod copy;
mod erase;
mod export;
#[cfg(unix)]
mod follow;
mod formats;
#[cfg(unix)]
mod forward;
mod forward_http;
mod guides;
mod import;
mod import_advice;
mod import_doubts;
mod import_formats;
mod import_hostile;
mod import_kills;
mod import_names;
#[cfg(feature = "parquet")]
mod import_parquet;
mod import_resume;
mod keep;
mod kills;
mod live_storm;
mod query;
#[cfg(all(unix, feature = "sql"))]
mod read_only;
mod records;
#[cfg(feature = "sql")]
mod sql;
mod support;
#[cfg(unix)]
mod terminal;
mod usage;
