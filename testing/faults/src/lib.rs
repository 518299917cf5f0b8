//! Faults of the medium, for tests of the embedded engines.
//!
//! A [`Medium`] lies under the files of a store: an engine's shim asks it before each operation. It
//! counts operations, lets one fail, and knows what a loss of power would leave. An engine implements
//! [`Bed`] and gets two sets of tests: [`fault_trials`] plays a store's life once for each operation
//! that can fail, and [`kill_trials`] kills processes. In both, a ledger knows which rows the store must
//! hold afterwards.

#![allow(clippy::unwrap_used, reason = "test code")]

mod bed;
mod child;
mod conversion;
mod corrupt;
mod dice;
mod every;
mod flips;
mod full_disk;
mod ledger;
mod medium;
mod panics;
mod scenario;
mod small_disk;
mod storm;
mod trials;

pub use bed::{Bed, Place};
pub use conversion::{OLD_ROWS, OldFile, old_rows};
pub use corrupt::{compacting, replace_row};
pub use dice::Dice;
pub use flips::damage_is_an_error;
pub use full_disk::{FileEngine, FilledStore, filled_store_trials, full_disk_trials};
pub use medium::{Failure, Fault, Lasting, Medium, Operation};
pub use scenario::{tiny, tiny_for_long};
pub use trials::{fault_trials, kill_trials};
