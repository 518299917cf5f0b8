//! The program `annals`: collect, import and query the history of live records.
//!
//! The program itself is [`App::run`]. Adding a backend of your own makes a program with all of its
//! commands, on your backend too:
//!
//! ```no_run
//! use std::process::ExitCode;
//!
//! # use annals::MemoryBackend as MyStore;
//! fn main() -> ExitCode {
//!     annals_cli::App::new().backend("mystore", |_url| async { Ok(MyStore::new()) }).run()
//! }
//! ```
//!
//! # Features
//!
//! | feature | brings |
//! |---|---|
//! | `sqlite` (default) | `sqlite:` URLs |
//! | `sql` (default) | `annals sql` |
//! | `redb` | `redb:` URLs |
//! | `postgres` | `postgres:` URLs and `annals migrate` |
//! | `mcp` | `annals mcp` |
//! | `conformance` | `annals conformance` |
//! | `plot` | `--plot` and `--output svg` |
//! | `parquet` | Parquet in and out |
//! | `serve` | `annals serve` and `annals token` |
//! | `http` | `annals forward` to `annals serve` |
//! | `full` | all of them |
//!
//! A command that is not built in stays in `annals --help` and names its feature.

mod aggregate;
mod aimx;
mod app;
mod backend;
#[cfg(any(feature = "sqlite", feature = "redb"))]
mod backup;
mod cell;
#[cfg(any(feature = "sqlite", feature = "redb"))]
mod check;
mod cleanup;
mod cli;
mod collect;
#[cfg(any(feature = "sqlite", feature = "redb"))]
mod compact;
mod confirm;
#[cfg(feature = "conformance")]
mod conformance;
mod copy;
mod correct;
mod cursor_file;
mod erase;
mod export;
mod failure;
#[cfg(any(feature = "sqlite", feature = "redb"))]
mod file_store;
mod forward;
mod grammar;
mod import;
#[cfg(feature = "mcp")]
mod mcp;
#[cfg(feature = "postgres")]
mod migrate;
mod moment;
#[cfg(not(all(
    feature = "sql",
    feature = "postgres",
    feature = "mcp",
    feature = "conformance",
    feature = "serve",
    feature = "http",
    feature = "plot",
    feature = "parquet"
)))]
mod not_built_in;
mod output;
mod plot;
mod progress;
mod query;
mod records;
#[cfg(any(feature = "sqlite", feature = "redb"))]
mod restore;
#[cfg(any(feature = "sqlite", feature = "redb"))]
mod salvage;
mod screen;
#[cfg(feature = "serve")]
mod serve;
mod signals;
mod source;
#[cfg(any(feature = "sqlite", feature = "redb"))]
mod spinner;
#[cfg(feature = "sql")]
mod sql;
mod stderr;
mod store;
#[cfg(feature = "serve")]
mod token;
mod warnings;

pub use app::App;
#[cfg(feature = "_test-import")]
#[doc(hidden)]
pub use import::read_rows;
