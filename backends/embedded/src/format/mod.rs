//! The bytes in a file, the same for every engine.
//!
//! Enters and leaves: bytes, and rows in memory. Everything here is a pure function. Rows are stored
//! in [blocks](Block). The *head* of a history has one block per transaction, in order of arrival. A
//! *run* is made from blocks of the head ([`flush`]) or from other runs ([`merge`]): its rows are
//! sorted by record name, time and arrival and divided into blocks, and its [`RunIndex`] says which
//! record is where. What was written never changes. A [seal](seal()) behind it says where it belongs. Bytes that mean nothing are
//! [`FormatError::Damaged`], never a panic.

mod arrivals;
mod block;
mod columns;
mod flush;
mod frame;
mod merge;
mod run;
mod run_index;
mod seal;
mod varint;

use std::io;

pub use arrivals::Arrivals;
pub use block::Block;
pub use columns::{Numbers, Statistics, Stretch, Verdict, Verdicts};
pub use flush::flush;
pub use merge::{MergeInput, merge};
pub use run::{Form, Layout, NewRun, NewRuns, RunBuilder};
pub use run_index::{Extent, RunIndex};
pub use seal::{FRAME_BYTES, Place, check_size, content_size, seal, unseal};

/// Why a block or a run index could not be read or made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// The bytes are not what was written.
    #[error("a block of the file is damaged: {0}")]
    Damaged(&'static str),
    /// The compressor failed, which it does only without memory.
    #[error("compressing failed: {0}")]
    Compressor(String),
}

impl From<io::Error> for FormatError {
    /// An error of the compressor.
    fn from(error: io::Error) -> Self {
        Self::Compressor(error.to_string())
    }
}

#[cfg(test)]
mod tests;
