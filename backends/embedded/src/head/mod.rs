//! The head: the unsorted level of the store, in memory.
//!
//! Enters: the blocks that the writer appends, or that a reader finds in the tables. Leaves: the
//! segments of one snapshot, in which each record's rows are sorted. The head is durable in the
//! engine's tables; here are only decoded copies, shared by the writer and all readers. A flush
//! removes blocks from the beginning.

mod segment;

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;

use annals_core::Result;
use parking_lot::Mutex;

use crate::engine::Tables;
use crate::error::{corrupt, format_error};
use crate::format::{Block, FRAME_BYTES, Place, check_size, unseal};
use crate::state::State;

pub(crate) use segment::Segment;

/// A block of the head with its number.
type Numbered = (u64, Arc<Block>);

/// The decoded head.
pub(crate) struct Head {
    engine: &'static str,
    /// Held for moments only: the writer must not wait for readers.
    blocks: Mutex<Blocks>,
    /// Segments in order, without overlaps. Held while one reader extends it, since all others would
    /// do the same work.
    index: Mutex<Vec<Arc<Segment>>>,
}

#[derive(Default)]
struct Blocks {
    /// Blocks below this number are no longer in the head.
    begin: u64,
    by_number: BTreeMap<u64, Arc<Block>>,
}

impl Head {
    pub(crate) fn new(engine: &'static str) -> Self {
        Self { engine, blocks: Mutex::default(), index: Mutex::default() }
    }

    pub(crate) fn insert(&self, number: u64, block: Arc<Block>) {
        let mut blocks = self.blocks.lock();
        if number >= blocks.begin {
            blocks.by_number.insert(number, block);
        }
    }

    /// Drops blocks that were flushed. Older snapshots still have them, and decode them again.
    pub(crate) fn flushed(&self, last: u64) {
        let mut blocks = self.blocks.lock();
        blocks.begin = blocks.begin.max(last.saturating_add(1));
        let begin = blocks.begin;
        let later = blocks.by_number.split_off(&begin);
        let flushed = std::mem::replace(&mut blocks.by_number, later);
        drop(blocks);
        drop(flushed);
    }

    pub(crate) fn clear(&self) {
        let mut index = self.index.lock();
        *self.blocks.lock() = Blocks::default();
        index.clear();
    }

    /// The blocks with these numbers, in order. The head must have all of them.
    pub(crate) fn blocks(
        &self,
        tables: &dyn Tables,
        state: &State,
        numbers: RangeInclusive<u64>,
    ) -> Result<Vec<Numbered>> {
        let mut found: Vec<Numbered> = self
            .blocks
            .lock()
            .by_number
            .range(numbers.clone())
            .map(|(number, block)| (*number, block.clone()))
            .collect();
        let mut missing = Vec::new();
        let mut next = *numbers.start();
        for (number, _) in &found {
            if next < *number {
                missing.push(next..=number - 1);
            }
            next = number.saturating_add(1);
        }
        if next <= *numbers.end() {
            missing.push(next..=*numbers.end());
        }
        let cached = found.len();
        for numbers in missing {
            tables.head(numbers, &mut |number, encoded| {
                let block = decode(self.engine, state, number, encoded)?;
                found.push((number, Arc::new(block)));
                Ok(())
            })?;
        }
        for (number, block) in &found[cached..] {
            self.insert(*number, block.clone());
        }
        found.sort_unstable_by_key(|(number, _)| *number);
        if !found.iter().map(|(number, _)| *number).eq(numbers) {
            return Err(corrupt(self.engine, "a block of the head is missing"));
        }
        Ok(found)
    }

    /// The head of a snapshot, as segments in order of arrival.
    pub(crate) fn segments(&self, tables: &dyn Tables, state: &State) -> Result<Vec<Arc<Segment>>> {
        let Some((first, last)) = state.head_bounds() else { return Ok(Vec::new()) };
        if let Some(flushed) = first.checked_sub(1) {
            // Possibly by another process.
            self.flushed(flushed);
        }
        let mut index = self.index.lock();
        let begin = self.blocks.lock().begin;
        index.retain(|segment| *segment.numbers().end() >= begin);
        if first >= begin {
            self.extend(&mut index, tables, state, (first, last))?;
        }
        let known: Vec<Arc<Segment>> = index.clone();
        drop(index);
        let numbers = first..=last;
        let mut segments = Vec::new();
        let mut next = first;
        for segment in known {
            let (start, end) = segment.numbers().clone().into_inner();
            if end < first || start > last {
                continue;
            }
            if next < start {
                segments.push(self.segment(tables, state, next..=start - 1)?);
            }
            next = end.saturating_add(1);
            let whole = start >= first && end <= last;
            segments.push(if whole { segment } else { Arc::new(segment.cut(&numbers)) });
        }
        if next <= last {
            segments.push(self.segment(tables, state, next..=last)?);
        }
        Ok(segments)
    }

    fn segment(
        &self,
        tables: &dyn Tables,
        state: &State,
        numbers: RangeInclusive<u64>,
    ) -> Result<Arc<Segment>> {
        Ok(Arc::new(Segment::new(numbers.clone(), self.blocks(tables, state, numbers)?)))
    }

    /// Indexes new blocks. Each segment is at least twice as large as the next, so there are few
    /// segments, and a row is sorted few times.
    fn extend(
        &self,
        index: &mut Vec<Arc<Segment>>,
        tables: &dyn Tables,
        state: &State,
        (first, last): (u64, u64),
    ) -> Result<()> {
        let next = index.last().map_or(first, |segment| segment.numbers().end().saturating_add(1));
        if next > last {
            return Ok(());
        }
        index.push(self.segment(tables, state, next..=last)?);
        while let [.., earlier, later] = &index[..]
            && earlier.rows() < 2 * later.rows()
        {
            let merged = Arc::new(earlier.merged(later));
            index.truncate(index.len() - 2);
            index.push(merged);
        }
        Ok(())
    }
}

/// Decodes a block of the head of this state.
pub(crate) fn decode(
    engine: &'static str,
    state: &State,
    number: u64,
    stored: &[u8],
) -> Result<Block> {
    let most = state.largest_block.saturating_add(FRAME_BYTES);
    let frame = unseal(Place::Head(number), stored);
    let frame = frame.and_then(|frame| check_size(frame, most).map(|()| frame));
    frame.and_then(Block::decode).map_err(|error| format_error(engine, error))
}
