//! The head becomes a run.

use super::split::Split;
use super::{Columns, FormatError, Layout, Merged};
use crate::engine::RecordId;
use crate::map::Map;

/// Makes runs of blocks of the head, which come in their order of arrival: one, or two as
/// [`merge`](super::merge) does. `rank` is a record's place among all names in byte order.
///
/// # Errors
/// [`FormatError::Compressor`].
pub fn fold<'a>(
    blocks: impl IntoIterator<Item = &'a Columns>,
    rank: &dyn Fn(RecordId) -> u32,
    layout: &Layout,
    split: bool,
) -> Result<Merged, FormatError> {
    let blocks: Vec<&Columns> = blocks.into_iter().collect();
    let mut ranks = Map::default();
    let mut rows = Vec::with_capacity(blocks.iter().map(|block| block.len()).sum());
    for (number, block) in blocks.iter().enumerate() {
        for (row, (record, stored_at)) in block.records().iter().zip(block.times()).enumerate() {
            let rank = *ranks.entry(*record).or_insert_with(|| rank(*record));
            rows.push((rank, *record, *stored_at, number as u32, row as u32));
        }
    }
    // Block and row are the order of arrival among equals.
    rows.sort_unstable();
    let mut runs = Split::new(layout, split, rows.len() as u64, ranks.len());
    for rows in rows.chunk_by(|one, next| one.1 == next.1) {
        for (done, (_, record, stored_at, number, row)) in rows.iter().enumerate() {
            let json = blocks[*number as usize].json(*row as usize);
            runs.push((rows.len() - done) as u64, *record, *stored_at, json)?;
        }
    }
    runs.finish()
}
