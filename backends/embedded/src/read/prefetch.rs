//! The blocks that the next records need, decoded on two threads.

use std::sync::Arc;
use std::thread;

use annals_core::{Order, Query, Result};
use tokio::sync::Semaphore;

use super::{Caches, View};
use crate::engine::{RecordId, Snapshot};
use crate::format::{Block, RunIndex};

/// So many blocks are decoded at once, all of which a view keeps.
const BLOCKS: usize = 4;

/// Queries for more rows of each record read on in other blocks.
const MOST_ROWS: u64 = 64;

/// Fewer records are hardly worth a thread.
const LEAST_RECORDS: usize = 16;

/// A block that has not been decoded.
struct Wanted {
    run: usize,
    index: Arc<RunIndex>,
    number: u32,
    encoded: Vec<u8>,
}

impl Wanted {
    fn decode(&self, caches: &Caches) -> Result<Block> {
        caches.decode_block(&self.index, self.number, &self.encoded)
    }
}

/// Reads the blocks at rest that have the first rows in the window of the next records, if these are few rows
/// of many records and a reader is free to decode half of the blocks. Returns for how many records.
pub(super) fn prefetch<S: Snapshot>(
    view: &View<S>,
    records: &[(RecordId, Arc<str>)],
    query: &Query,
    readers: &Semaphore,
) -> Result<usize> {
    let is_worth_it =
        records.len() >= LEAST_RECORDS && query.limit.is_some_and(|limit| limit <= MOST_ROWS);
    let Some(_second) = is_worth_it.then(|| readers.try_acquire().ok()).flatten() else {
        return Ok(records.len());
    };
    let (mut wanted, mut count) = (Vec::<Wanted>::new(), 0);
    for (record, _) in records {
        if let Some((run, index, number)) = first_block(view, *record, query)?
            && view.cached_block(run, number).is_none()
            && !wanted.iter().any(|other| (other.run, other.number) == (run, number))
        {
            if wanted.len() == BLOCKS {
                break;
            }
            let caches = &view.caches;
            let encoded = caches.encoded_block(view.tables()?, &view.runs[run], &index, number)?;
            wanted.push(Wanted { run, index, number, encoded });
        }
        count += 1;
    }
    if wanted.len() < 2 {
        return Ok(count);
    }
    let (caches, (here, there)) = (&*view.caches, wanted.split_at(wanted.len() / 2));
    let decode = |part: &[Wanted]| -> Result<Vec<Block>> {
        part.iter().map(|wanted| wanted.decode(caches)).collect()
    };
    let (one, other) = thread::scope(|scope| {
        let other = scope.spawn(|| decode(there));
        (decode(here), other.join())
    });
    let other = other.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    for (wanted, block) in wanted.iter().zip(one?.into_iter().chain(other?)) {
        view.cache_block(wanted.run, wanted.number, block);
    }
    Ok(count)
}

/// The block at rest with the first row of a record in the window, if the run indexes tell which one it is.
fn first_block<S: Snapshot>(
    view: &View<S>,
    record: RecordId,
    query: &Query,
) -> Result<Option<(usize, Arc<RunIndex>, u32)>> {
    let newest_first = query.order == Order::NewestFirst || query.limit.is_some();
    for run in view.by_time(newest_first) {
        let bounds = &view.runs[*run];
        if bounds.first > query.to || bounds.last < query.from {
            continue;
        }
        let index = view.run_index(*run)?;
        let Some(extent) = index.find(record) else { continue };
        if extent.first > query.to || extent.last < query.from {
            continue;
        }
        let (first, last) = (extent.first_row, extent.first_row + extent.rows - 1);
        let (first, last) = (index.block_of(first), index.block_of(last));
        let number = match newest_first {
            true if extent.last <= query.to => last,
            false if extent.first >= query.from => first,
            _ if first == last => first,
            _ => return Ok(None),
        };
        return Ok(index.is_at_rest().then_some((*run, index, number)));
    }
    Ok(None)
}
