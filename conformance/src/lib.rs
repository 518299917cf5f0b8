//! The conformance suite for annals backends: one test per clause of the contract, for any
//! implementation of [`PersistenceBackend`](annals_core::PersistenceBackend).
//!
//! # A store that lives in memory
//!
//! Put this into `tests/conformance.rs`:
//!
//! ```
//! use std::process::ExitCode;
//!
//! use annals_conformance::Suite;
//! use annals_core::MemoryBackend; // your backend here
//!
//! fn main() -> ExitCode {
//!     Suite::in_memory("my store", MemoryBackend::new).main()
//! }
//! ```
//!
//! and this into `Cargo.toml`, since the suite brings its own test runner:
//!
//! ```toml
//! [[test]]
//! name = "conformance"
//! harness = false
//! ```
//!
//! `cargo test` (or `cargo nextest run`) then runs one test per case, in parallel. A name filters:
//! `cargo test --test conformance range_2`. A failure prints the clause, the backend, what was
//! expected and what came.
//!
//! # A store that can be opened again
//!
//! Implement [`Harness`]: how to make an empty store, and how to open it. The cases about
//! durability close it, kill a process that writes to it, and open it again.
//!
//! ```no_run
//! use std::process::ExitCode;
//! use std::sync::Arc;
//!
//! use annals_conformance::{Harness, HarnessResult, Suite};
//! use annals_core::{PersistenceBackend, async_trait};
//! # use annals_core::MemoryBackend;
//! # struct MyStore;
//! # impl MyStore {
//! #     async fn open(_: &str) -> HarnessResult<MemoryBackend> { Ok(MemoryBackend::new()) }
//! # }
//!
//! struct MyHarness;
//!
//! #[async_trait]
//! impl Harness for MyHarness {
//!     fn name(&self) -> String {
//!         "my store".into()
//!     }
//!     async fn create(&self) -> HarnessResult<String> {
//!         let path = std::env::temp_dir().join(annals_conformance::unique_name("my-store"));
//!         Ok(path.display().to_string())
//!     }
//!     async fn open(&self, location: &str) -> HarnessResult<Arc<dyn PersistenceBackend>> {
//!         Ok(Arc::new(MyStore::open(location).await?))
//!     }
//!     async fn remove(&self, location: &str) -> HarnessResult<()> {
//!         Ok(std::fs::remove_file(location)?)
//!     }
//! }
//!
//! fn main() -> ExitCode {
//!     Suite::new(MyHarness).main()
//! }
//! ```
//!
//! # What is tested, and what is skipped
//!
//! What the backend claims through [`guarantees`](annals_core::PersistenceBackend::guarantees) is
//! tested; where a claim is absent, the suite tests that the call refuses or degrades as the trait
//! documents it. A case that cannot be run at all, because it is about something that is not
//! claimed or needs a hook that the [`Harness`] does not have, is reported as skipped with its
//! reason and never as passed.
//!
//! # From a program
//!
//! [`Suite::run`] runs the cases and returns a [`CaseResult`] for each. The program has to call
//! [`Suite::serve_child`] first and to say how it is started again
//! ([`Suite::with_child_args`]), or the cases that need a second process are skipped.
//!
//! # Environment
//!
//! * `ANNALS_CONFORMANCE_SEED`: a number; the seed of the random sequences of calls. A failure
//!   prints the one it was found with.
//! * `ANNALS_CONFORMANCE_RANDOM_CASES`: how many random sequences are tried (64).
//! * `ANNALS_CONFORMANCE_TIMEOUT`: seconds after which a case that hangs fails (180).

mod case;
mod cases;
mod check;
mod child;
mod context;
mod contract;
mod entry;
mod faulty;
mod harness;
mod in_memory;
mod random;
mod run;
mod suite;
mod warnings;

pub use case::{Case, CaseResult, Outcome};
pub use contract::Clause;
pub use entry::main;
pub use harness::{BoxError, Guard, Harness, HarnessResult, unique_name};
pub use run::RunOptions;
pub use suite::Suite;

/// The example of the README is a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadmeExample;
