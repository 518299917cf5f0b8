//! The head in memory: its blocks as they came, and an index of their rows.

use std::collections::BTreeMap;
use std::ops::{Range, RangeInclusive};
use std::sync::{Arc, Mutex};

use annals_core::PersistenceError;

use crate::cache::{damaged, lock};
use crate::engine::{RecordId, Tables};
use crate::format::Columns;
use crate::tuning::HeadSize;

/// A row of the head, in the order that readers want: by record, then by time, then by arrival.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    record: RecordId,
    stored_at: u64,
    number: u64,
    row: u32,
}

/// Blocks with neighbouring numbers and the index of their rows.
pub(crate) struct Segment {
    numbers: RangeInclusive<u64>,
    blocks: Vec<(u64, Arc<Columns>)>,
    entries: Vec<Entry>,
}

impl Segment {
    fn new(numbers: RangeInclusive<u64>, blocks: Vec<(u64, Arc<Columns>)>) -> Self {
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

    fn merged(&self, later: &Self) -> Self {
        let mut entries = Vec::with_capacity(self.entries.len() + later.entries.len());
        entries.extend_from_slice(&self.entries);
        entries.extend_from_slice(&later.entries);
        // Two sorted runs: this sort finds and merges them.
        entries.sort();
        Self {
            numbers: *self.numbers.start()..=*later.numbers.end(),
            blocks: self.blocks.iter().chain(&later.blocks).cloned().collect(),
            entries,
        }
    }

    /// The part of it that a snapshot has.
    fn cut(&self, numbers: &RangeInclusive<u64>) -> Self {
        let start = *self.numbers.start().max(numbers.start());
        let end = *self.numbers.end().min(numbers.end());
        let has = |number: &u64| (start..=end).contains(number);
        Self {
            numbers: start..=end,
            blocks: self.blocks.iter().filter(|(number, _)| has(number)).cloned().collect(),
            entries: self.entries.iter().filter(|entry| has(&entry.number)).copied().collect(),
        }
    }

    /// The places of a record's rows, by time and arrival.
    pub(crate) fn rows_of(&self, record: RecordId) -> Range<usize> {
        let begin = self.entries.partition_point(|entry| entry.record < record);
        let rows = self.entries[begin..].partition_point(|entry| entry.record == record);
        begin..begin + rows
    }

    /// How many of the rows at these places are at a time or before it.
    pub(crate) fn rows_up_to(&self, places: Range<usize>, time: u64) -> usize {
        self.entries[places].partition_point(|entry| entry.stored_at <= time)
    }

    pub(crate) fn time(&self, place: usize) -> u64 {
        self.entries[place].stored_at
    }

    pub(crate) fn json(&self, place: usize) -> &str {
        let Entry { number, row, .. } = self.entries[place];
        let block = self.blocks.partition_point(|(other, _)| *other < number);
        self.blocks[block].1.json(row as usize)
    }

    /// Each record's smallest time.
    pub(crate) fn firsts(&self) -> impl Iterator<Item = (RecordId, u64)> {
        let records = self.entries.chunk_by(|one, other| one.record == other.record);
        records.filter_map(|rows| rows.first().map(|entry| (entry.record, entry.stored_at)))
    }

    fn rows(&self) -> usize {
        self.entries.len()
    }
}

/// The head as one snapshot has it: segments in order of arrival.
pub(crate) type HeadView = Vec<Arc<Segment>>;

/// The decoded head, shared by the writer, who puts new blocks in, and all readers.
pub(crate) struct HeadCache {
    engine: &'static str,
    /// Held for moments: the writer must not wait for readers.
    blocks: Mutex<Blocks>,
    /// Held while a reader brings it up to date: the others would do the same work. Segments do
    /// not overlap and are in order.
    index: Mutex<Vec<Arc<Segment>>>,
}

#[derive(Default)]
struct Blocks {
    /// No block below this is in the head any more.
    begin: u64,
    by_number: BTreeMap<u64, Arc<Columns>>,
}

impl HeadCache {
    pub(crate) fn new(engine: &'static str) -> Self {
        Self { engine, blocks: Mutex::default(), index: Mutex::default() }
    }

    pub(crate) fn insert(&self, number: u64, block: Arc<Columns>) {
        let mut blocks = lock(&self.blocks);
        if number >= blocks.begin {
            blocks.by_number.insert(number, block);
        }
    }

    /// Lets go of blocks that have been folded. Older snapshots have them still, and read them
    /// again.
    pub(crate) fn folded(&self, last: u64) {
        let mut blocks = lock(&self.blocks);
        blocks.begin = blocks.begin.max(last.saturating_add(1));
        let begin = blocks.begin;
        let later = blocks.by_number.split_off(&begin);
        let gone = std::mem::replace(&mut blocks.by_number, later);
        drop(blocks);
        drop(gone);
    }

    pub(crate) fn clear(&self) {
        let mut index = lock(&self.index);
        *lock(&self.blocks) = Blocks::default();
        index.clear();
    }

    /// The blocks with these numbers, as far as there are any.
    pub(crate) fn blocks(
        &self,
        tables: &dyn Tables,
        numbers: RangeInclusive<u64>,
    ) -> Result<Vec<(u64, Arc<Columns>)>, PersistenceError> {
        let mut found: Vec<(u64, Arc<Columns>)> = lock(&self.blocks)
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
                let block =
                    Columns::decode(encoded).map_err(|found| damaged(self.engine, found))?;
                found.push((number, Arc::new(block)));
                Ok(())
            })?;
        }
        for (number, block) in &found[cached..] {
            self.insert(*number, block.clone());
        }
        found.sort_unstable_by_key(|(number, _)| *number);
        Ok(found)
    }

    /// The head that a snapshot has.
    pub(crate) fn view(&self, tables: &dyn Tables) -> Result<HeadView, PersistenceError> {
        let Some((first, last)) = tables.head_bounds()? else { return Ok(HeadView::new()) };
        if let Some(folded) = first.checked_sub(1) {
            // By another process, perhaps.
            self.folded(folded);
        }
        let mut index = lock(&self.index);
        let begin = lock(&self.blocks).begin;
        index.retain(|segment| *segment.numbers.end() >= begin);
        if first >= begin {
            self.extend(&mut index, tables, first, last)?;
        }
        let known: Vec<Arc<Segment>> = index.clone();
        drop(index);
        let numbers = first..=last;
        let mut view = HeadView::new();
        let mut next = first;
        for segment in known {
            let (start, end) = (*segment.numbers.start(), *segment.numbers.end());
            if end < first || start > last {
                continue;
            }
            if next < start {
                view.push(self.segment(tables, next..=start - 1)?);
            }
            next = end.saturating_add(1);
            let whole = start >= first && end <= last;
            view.push(if whole { segment } else { Arc::new(segment.cut(&numbers)) });
        }
        if next <= last {
            view.push(self.segment(tables, next..=last)?);
        }
        Ok(view)
    }

    fn segment(
        &self,
        tables: &dyn Tables,
        numbers: RangeInclusive<u64>,
    ) -> Result<Arc<Segment>, PersistenceError> {
        Ok(Arc::new(Segment::new(numbers.clone(), self.blocks(tables, numbers)?)))
    }

    /// Indexes what came since. Each segment is at least twice as large as the next, so that there
    /// are few of them and a row is sorted few times.
    fn extend(
        &self,
        index: &mut Vec<Arc<Segment>>,
        tables: &dyn Tables,
        first: u64,
        last: u64,
    ) -> Result<(), PersistenceError> {
        let next = index.last().map_or(first, |segment| segment.numbers.end().saturating_add(1));
        if next > last {
            return Ok(());
        }
        index.push(self.segment(tables, next..=last)?);
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

/// How much there is in blocks.
pub(crate) fn size_of(blocks: &[(u64, Arc<Columns>)]) -> HeadSize {
    let mut size = HeadSize::default();
    for (_, block) in blocks {
        size.add(HeadSize { rows: block.len(), bytes: block.text_bytes(), blocks: 1 });
    }
    size
}
