//! How rows lie in a file, whichever engine keeps it.
//!
//! Rows are stored in [blocks](Columns). The *head* of a history is a block per transaction, in order
//! of arrival. A *run* is made of many of those ([`fold`]) or of other runs ([`merge`]): its rows are
//! sorted by record name, time and arrival and cut into blocks, and its [`Directory`] says which
//! record lies where. Nothing that is written is changed.
//!
//! Everything here is pure: bytes in, bytes out. Bytes that do not mean anything are
//! [`FormatError::Damaged`] and never a panic.

mod columns;
mod directory;
mod fold;
mod frame;
mod merge;
mod run;
mod split;
mod varint;

use std::io;

pub use columns::Columns;
pub use directory::{Directory, Extent};
pub use fold::fold;
pub use merge::{Source, merge};
pub use run::{Layout, NewRun, RunBuilder};
pub use split::Merged;

/// Why a block or a directory could not be read or made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// The bytes are not what was written.
    #[error("a block of the file is damaged: {0}")]
    Damaged(&'static str),
    /// The compressor failed, which it only does for want of memory.
    #[error("compressing failed: {0}")]
    Compressor(String),
}

impl From<io::Error> for FormatError {
    /// An error of the compressor's.
    fn from(error: io::Error) -> Self {
        Self::Compressor(error.to_string())
    }
}

#[cfg(test)]
mod tests;
