//! Faults of the medium for the embedded engines' tests.
//!
//! A [`Medium`] lies under the files of a store: an engine's shim asks it before each operation. It
//! counts them, lets one fail, and knows what a loss of power would leave. [`Life`] is what a store
//! is put through on it, and the [`Ledger`] knows what the store must hold afterwards. [`every`]
//! brings them together: one life for each operation that can fail. A [`storm()`] needs no medium: it
//! kills processes.

mod child;
mod conversion;
mod dice;
mod every;
mod ledger;
mod medium;
mod panics;
mod scenario;
mod storm;

pub use child::{Child, task, tell};
pub use conversion::{every_conversion, every_killed_conversion};
pub use dice::Dice;
pub use every::{Bed, every};
pub use ledger::{Ledger, Sent};
pub use medium::{Failure, Fault, Medium, Operation};
pub use panics::watch_threads;
pub use scenario::{Life, Open, tiny};
pub use storm::{storm, write};
