//! Consecutive blocks of the head with an index of their rows.

use std::ops::{Range, RangeInclusive};

use super::Numbered;
use crate::ids::RecordId;

/// A row, ordered as readers need it: by record, then by time, then by arrival.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    record: RecordId,
    stored_at: u64,
    number: u64,
    row: u32,
}

/// Blocks and the index of their rows.
pub(crate) struct Segment {
    numbers: RangeInclusive<u64>,
    blocks: Vec<Numbered>,
    entries: Vec<Entry>,
}

impl Segment {
    pub(super) fn new(numbers: RangeInclusive<u64>, blocks: Vec<Numbered>) -> Self {
        let mut entries = Vec::with_capacity(blocks.iter().map(|(_, block)| block.len()).sum());
        for (number, block) in &blocks {
            let rows = (0..).zip(block.records().iter().zip(block.times()));
            entries.extend(rows.map(|(row, (record, stored_at))| Entry {
                record: *record,
                stored_at: *stored_at,
                number: *number,
                row,
            }));
        }
        entries.sort_unstable();
        Self { numbers, blocks, entries }
    }

    pub(super) fn merged(&self, later: &Self) -> Self {
        let mut entries = Vec::with_capacity(self.entries.len() + later.entries.len());
        entries.extend_from_slice(&self.entries);
        entries.extend_from_slice(&later.entries);
        // Both halves are sorted; this sort detects that and merges them.
        entries.sort();
        Self {
            numbers: *self.numbers.start()..=*later.numbers.end(),
            blocks: self.blocks.iter().chain(&later.blocks).cloned().collect(),
            entries,
        }
    }

    /// The part with these block numbers.
    pub(super) fn cut(&self, numbers: &RangeInclusive<u64>) -> Self {
        let start = *self.numbers.start().max(numbers.start());
        let end = *self.numbers.end().min(numbers.end());
        let has = |number: &u64| (start..=end).contains(number);
        Self {
            numbers: start..=end,
            blocks: self.blocks.iter().filter(|(number, _)| has(number)).cloned().collect(),
            entries: self.entries.iter().filter(|entry| has(&entry.number)).copied().collect(),
        }
    }

    /// The numbers of its blocks; some may be missing.
    pub(super) fn numbers(&self) -> &RangeInclusive<u64> {
        &self.numbers
    }

    pub(super) fn rows(&self) -> usize {
        self.entries.len()
    }

    /// The positions of a record's rows, by time and arrival.
    pub(crate) fn rows_of(&self, record: RecordId) -> Range<usize> {
        let begin = self.entries.partition_point(|entry| entry.record < record);
        let rows = self.entries[begin..].partition_point(|entry| entry.record == record);
        begin..begin + rows
    }

    /// How many of the rows at these positions have this time or an earlier one.
    pub(crate) fn rows_up_to(&self, positions: Range<usize>, time: u64) -> usize {
        self.entries[positions].partition_point(|entry| entry.stored_at <= time)
    }

    pub(crate) fn time(&self, position: usize) -> u64 {
        self.entries[position].stored_at
    }

    pub(crate) fn json(&self, position: usize) -> &str {
        let Entry { number, row, .. } = self.entries[position];
        let block = self.blocks.partition_point(|(other, _)| *other < number);
        self.blocks[block].1.json(row as usize)
    }

    /// Each record's smallest time.
    pub(crate) fn firsts(&self) -> impl Iterator<Item = (RecordId, u64)> {
        let records = self.entries.chunk_by(|one, other| one.record == other.record);
        records.filter_map(|rows| rows.first().map(|entry| (entry.record, entry.stored_at)))
    }
}
