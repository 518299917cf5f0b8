//! What the conformance harnesses of the engines share.

use annals_embedded::Tuning;
use annals_embedded::format::{self, Block, FormatError, Layout, seal, unseal};

/// Sizes at which the suite makes a store flush and merge all the time.
pub fn compacting() -> Tuning {
    Tuning {
        flush_rows: 40,
        flush_bytes: 8 << 10,
        flush_blocks: 12,
        tier_rows: [150, 600, 2_400],
        tier_bytes: [32 << 10, 128 << 10, 512 << 10],
        merged_runs: 3,
        split_rows: 60,
        layout: Layout {
            block_rows: 16,
            block_text: 2 << 10,
            fresh_rows: 3,
            fresh_from: 6,
            rest_rows: 64,
            rest_text: 8 << 10,
            rest_percent: usize::MAX,
            statistics_rows: 3,
        },
        step_rows: 20,
        divided_rows: 8,
    }
}

/// Replaces the text of a row in the block that belongs to this place, and counts such rows.
///
/// # Errors
/// If it is not a sealed block.
pub fn replace_row(
    place: format::Place,
    block: &[u8],
    (record, stored_at): (u32, u64),
    text: &str,
) -> Result<(Vec<u8>, usize), FormatError> {
    let (mut replaced, mut count) = (Block::new(), 0);
    for row in Block::decode(unseal(place, block)?)?.iter() {
        let hit = (row.0, row.1) == (record, stored_at);
        replaced.push(row.0, row.1, if hit { text } else { row.2 });
        count += usize::from(hit);
    }
    Ok((seal(place, &replaced.encode()?), count))
}
