//! Blocks of the head become a run.

use super::run::SplitBuilder;
use super::{Block, Form, FormatError, Layout, NewRuns};
use crate::Map;
use crate::ids::RecordId;

/// Sorts blocks of the head, which come in their order of arrival, into one run, or into two as
/// [`merge`](super::merge) does. `rank` is a record's position among all names in byte order.
///
/// # Errors
/// [`FormatError::Compressor`].
pub fn flush<'a>(
    blocks: impl IntoIterator<Item = &'a Block>,
    rank: &dyn Fn(RecordId) -> u32,
    layout: &Layout,
    split: bool,
) -> Result<NewRuns, FormatError> {
    let blocks: Vec<&Block> = blocks.into_iter().collect();
    let mut ranks = Map::default();
    let mut rows = Vec::with_capacity(blocks.iter().map(|block| block.len()).sum());
    for (number, block) in blocks.iter().enumerate() {
        for (row, (record, stored_at)) in block.records().iter().zip(block.times()).enumerate() {
            let rank = *ranks.entry(*record).or_insert_with(|| rank(*record));
            rows.push((rank, *record, *stored_at, number as u32, row as u32));
        }
    }
    // Among equals, block and row are the order of arrival.
    rows.sort_unstable();
    let form = Form { split, rest: false };
    let mut runs = SplitBuilder::new(layout, form, rows.len() as u64, ranks.len());
    for rows in rows.chunk_by(|one, next| one.1 == next.1) {
        for (done, (_, record, stored_at, number, row)) in rows.iter().enumerate() {
            let json = blocks[*number as usize].json(*row as usize);
            let left = (rows.len() - done) as u64;
            runs.push(left, u64::from(*number), *record, *stored_at, json)?;
        }
    }
    runs.finish()
}
