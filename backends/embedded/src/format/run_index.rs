//! The index of a run: which record is where.

use std::ops::Range;

use super::varint::{Reader, put, put_step};
use super::{FormatError, frame};
use crate::ids::RecordId;

/// The smallest encoding of an extent: record, rows, first, and the distance to last.
const LEAST_EXTENT_BYTES: usize = 4;

/// Follows the index of a run whose rows are at rest.
const AT_REST: u8 = 1;

/// The rows of one record in a run. They are adjacent, the oldest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// The record.
    pub record: RecordId,
    /// The position of the oldest one among all rows of the run.
    pub first_row: u32,
    /// Their number, at least 1.
    pub rows: u32,
    /// The time of the oldest one, in Unix milliseconds.
    pub first: u64,
    /// The time of the newest one.
    pub last: u64,
}

/// An extent for each record of a run, in byte order of names, and the rows of each block. It takes 28
/// bytes per record in memory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunIndex {
    records: Vec<RecordId>,
    /// The row after each extent.
    ends: Vec<u32>,
    firsts: Vec<u64>,
    lasts: Vec<u64>,
    /// The row after each block.
    blocks: Vec<u32>,
    /// The extents in order of their records' ids.
    by_id: Vec<u32>,
    /// Whether the rows are at rest.
    rest: bool,
}

impl RunIndex {
    /// An empty index.
    pub(super) fn new(rest: bool) -> Self {
        Self { rest, ..Self::default() }
    }

    /// Whether the rows are at rest: in columns, as far as that makes them smaller.
    pub fn is_at_rest(&self) -> bool {
        self.rest
    }

    /// The number of records.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether the run is empty.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// The number of rows.
    pub fn rows(&self) -> u32 {
        self.ends.last().copied().unwrap_or_default()
    }

    /// The smallest time in the run, in Unix milliseconds; 0 if it is empty.
    pub fn first(&self) -> u64 {
        self.firsts.iter().min().copied().unwrap_or_default()
    }

    /// The greatest time in the run.
    pub fn last(&self) -> u64 {
        self.lasts.iter().max().copied().unwrap_or_default()
    }

    /// The extent at a position.
    ///
    /// # Panics
    /// If there is no such position.
    pub fn get(&self, place: usize) -> Extent {
        let first_row = if place == 0 { 0 } else { self.ends[place - 1] };
        Extent {
            record: self.records[place],
            first_row,
            rows: self.ends[place] - first_row,
            first: self.firsts[place],
            last: self.lasts[place],
        }
    }

    /// All extents, in byte order of their records' names.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Extent> {
        (0..self.len()).map(|place| self.get(place))
    }

    /// The extent of a record.
    pub fn find(&self, record: RecordId) -> Option<Extent> {
        let found = self.by_id.binary_search_by_key(&record, |at| self.records[*at as usize]);
        found.ok().map(|index| self.get(self.by_id[index] as usize))
    }

    /// The number of blocks.
    pub fn blocks(&self) -> u32 {
        // There are at most as many as rows.
        self.blocks.len() as u32
    }

    /// The number of the block with a row, counted from 0.
    pub fn block_of(&self, row: u32) -> u32 {
        self.blocks.partition_point(|end| *end <= row) as u32
    }

    /// The rows of a block, counted from the first row of the run.
    ///
    /// # Panics
    /// If there is no such block.
    pub fn block_rows(&self, block: u32) -> Range<u32> {
        let block = block as usize;
        let start = if block == 0 { 0 } else { self.blocks[block - 1] };
        start..self.blocks[block]
    }

    /// Its memory in bytes.
    pub fn memory(&self) -> usize {
        4 * (self.records.capacity() + self.ends.capacity() + self.by_id.capacity())
            + 8 * (self.firsts.capacity() + self.lasts.capacity())
            + 4 * self.blocks.capacity()
    }

    /// Adds a row to the last extent, or begins one. Times of one record must not decrease.
    pub(super) fn push(&mut self, record: RecordId, stored_at: u64) {
        let row = self.rows();
        if self.records.last() == Some(&record)
            && let (Some(end), Some(last)) = (self.ends.last_mut(), self.lasts.last_mut())
        {
            debug_assert!(*last <= stored_at, "rows of a run come in order of time");
            *end = row + 1;
            *last = stored_at;
        } else {
            self.records.push(record);
            self.ends.push(row + 1);
            self.firsts.push(stored_at);
            self.lasts.push(stored_at);
        }
    }

    /// Ends a block after this many more rows.
    pub(super) fn end_block(&mut self, rows: usize) {
        let start = self.blocks.last().copied().unwrap_or(0);
        self.blocks.push(start + rows as u32);
    }

    /// Prepares [`find`](Self::find) once all rows are added.
    pub(super) fn sort_by_id(&mut self) -> Result<(), FormatError> {
        self.by_id = (0..self.records.len() as u32).collect();
        self.by_id.sort_unstable_by_key(|place| self.records[*place as usize]);
        let mut neighbours = self.by_id.windows(2);
        if neighbours.any(
            |pair| matches!(*pair, [a, b] if self.records[a as usize] == self.records[b as usize]),
        ) {
            return Err(FormatError::Damaged("a record is in it twice"));
        }
        Ok(())
    }

    /// Encodes and compresses the index.
    ///
    /// # Errors
    /// [`FormatError::Compressor`].
    pub fn encode(&self) -> Result<Vec<u8>, FormatError> {
        frame::compress(|out| {
            put(out, self.len() as u64);
            let mut previous = 0;
            for record in self.records.iter().map(|record| u64::from(*record)) {
                put_step(out, previous, record);
                previous = record;
            }
            put_ends(out, &self.ends);
            let mut previous = 0;
            for first in &self.firsts {
                put_step(out, previous, *first);
                previous = *first;
            }
            for (first, last) in self.firsts.iter().zip(&self.lasts) {
                put(out, last - first);
            }
            put(out, self.blocks.len() as u64);
            put_ends(out, &self.blocks);
            // Without it, the bytes are those of older files.
            if self.rest {
                out.push(AT_REST);
            }
        })
    }

    /// Decodes what [`encode`](Self::encode) made.
    ///
    /// # Errors
    /// [`FormatError::Damaged`] if it is not an index.
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        frame::decompress(bytes, |content| {
            let mut reader = Reader(content);
            let count = reader.count(LEAST_EXTENT_BYTES)?;
            let mut records = Vec::with_capacity(count);
            let mut previous = 0;
            for _ in 0..count {
                previous = reader.step(previous)?;
                let record = RecordId::try_from(previous);
                records.push(record.map_err(|_| FormatError::Damaged("a record has no such id"))?);
            }
            let ends = ends(&mut reader, count)?;
            let mut firsts = Vec::with_capacity(count);
            let mut previous = 0;
            for _ in 0..count {
                previous = reader.step(previous)?;
                firsts.push(previous);
            }
            let mut lasts = Vec::with_capacity(count);
            for first in &firsts {
                let last = first.checked_add(reader.number()?);
                lasts.push(last.ok_or(FormatError::Damaged("a time is out of range"))?);
            }
            let count = reader.count(1)?;
            let blocks = self::ends(&mut reader, count)?;
            let rest = match reader.0 {
                [] => false,
                [AT_REST] => true,
                _ => return Err(FormatError::Damaged("something follows it")),
            };
            if blocks.last() != ends.last() {
                return Err(FormatError::Damaged("its blocks do not add up"));
            }
            let mut index = Self { records, ends, firsts, lasts, blocks, by_id: Vec::new(), rest };
            index.sort_by_id()?;
            Ok(index)
        })
    }
}

/// Encodes adjacent ranges by their lengths.
fn put_ends(out: &mut Vec<u8>, ends: &[u32]) {
    let mut start = 0;
    for end in ends {
        put(out, u64::from(end - start));
        start = *end;
    }
}

/// Decodes adjacent ranges, none of which is empty.
fn ends(reader: &mut Reader<'_>, count: usize) -> Result<Vec<u32>, FormatError> {
    let mut end = 0u32;
    let mut ends = Vec::with_capacity(count);
    for _ in 0..count {
        let rows = reader.small()?;
        end = end
            .checked_add(rows)
            .filter(|_| rows > 0)
            .ok_or(FormatError::Damaged("its rows do not add up"))?;
        ends.push(end);
    }
    Ok(ends)
}
