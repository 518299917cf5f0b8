//! A block in columns: the form of rows at rest.
//!
//! JSON values of one record nearly always have one *shape*: the text with its scalars cut out. A block
//! keeps each shape once and a typed column for each place of a scalar: integers with a scale, floats, a
//! dictionary, or text. Rows come back letter for letter. The encoder proves that for each block, and
//! the text form is used for rows that gain nothing.
//!
//! Enters: sorted rows ([`Block`]). Leaves: bytes, and from these rows again, or the numbers of one
//! member ([`Numbers`]), for which only that column and the times are read. The bytes are described in
//! `docs/file-format.md`.

mod choose;
mod column;
mod decode;
mod encode;
mod filter;
mod number;
mod numbers;
mod print;
mod scan;
mod segment;
mod statistics;
mod summary;
mod times;
mod value;

#[cfg(test)]
mod tests;

pub(super) use decode::{Columns, Packed};
pub use filter::{Verdict, Verdicts};
pub use numbers::{Numbers, Stretch};
pub use summary::Statistics;

use super::{Block, FormatError};

/// The first byte of a block in columns. A block of text begins with the first byte of a zstd frame.
pub(super) const VERSION: u8 = 2;

/// The most rows of a block.
pub(super) const MOST_ROWS: usize = 1 << 16;

/// The most shapes of a block. Rows of other shapes are kept as a whole.
const MOST_SHAPES: usize = 64;

/// The most scalars of a shape.
const MOST_SCALARS: usize = 256;

/// The most scalars of all columns of a block together.
const MOST_CELLS: usize = 1 << 22;

/// The most bytes of text of a block.
const MOST_TEXT: usize = 16 << 20;

/// Text up to this length is copied with a fixed length and cut afterwards, which takes a few instructions
/// where a copy of any length is a call.
const SHORT: usize = 32;

/// Encodes rows in columns. `None` if the text form suits them better.
///
/// # Errors
/// [`FormatError::Compressor`].
pub(super) fn encode(
    block: &Block,
    statistics_rows: usize,
) -> Result<Option<Vec<u8>>, FormatError> {
    encode::encode(block, statistics_rows)
}

fn decode(block: &[u8]) -> Result<Block, FormatError> {
    Block::decode(block)
}

/// Appends the first bytes of a text that has at least [`SHORT`] of them.
#[inline]
fn push_start(text: &[u8], length: usize, out: &mut Vec<u8>) {
    match text.first_chunk::<SHORT>() {
        Some(short) if length <= SHORT => {
            let end = out.len() + length;
            out.extend_from_slice(short);
            out.truncate(end);
        }
        _ => out.extend_from_slice(&text[..length]),
    }
}
