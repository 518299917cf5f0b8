//! Rows that are erased or corrected, in one transaction.
//!
//! Enters: which rows, and what becomes of them. A run that has any of them is written anew, block by
//! block, and each row keeps the number under which it arrived. A head that has any of them becomes a
//! run: its blocks are known to readers by their numbers and cannot change. The write lock is held
//! meanwhile, so that nobody sees a part, nothing is stored in between, and the count is exact. Memory
//! is that of one run, still compressed.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use annals_core::{Erasure, Result, Row};

use super::changes;
use super::store::Store;
use crate::engine::{Transaction, Writer};
use crate::error::format_error;
use crate::format::{self, Block, Extent, Layout, NewRun, RunBuilder, RunIndex};
use crate::ids::{RecordId, Run, RunOrder};
use crate::read::{Caches, NameList, Runs};
use crate::state::State;
use crate::{Map, Set};

/// What becomes of a row.
enum Fate<'a> {
    Stays,
    Goes,
    Becomes(&'a str),
}

impl<W: Writer> Store<W> {
    /// Erases rows and returns how many. Names that lost all rows are removed.
    pub(crate) fn erase(&mut self, erasure: &Erasure, layout: &Layout) -> Result<u64> {
        let Some(window) = erasure.window() else { return Ok(0) };
        let caches = self.caches.clone();
        let (erased, flushed, forgotten) = self.commit("erase", |transaction, _| {
            let state = *transaction.state();
            let names = caches.names.exact_list(transaction.tables(), &state)?;
            let records: Map<RecordId, Arc<str>> =
                names.matching(&erasure.pattern).into_iter().collect();
            if records.is_empty() {
                return Ok((0, None, Map::default()));
            }
            let mut edit = Edit { caches: &caches, state, names, transaction, layout };
            let mut left = Set::default();
            let from_runs = edit.erase_from_runs(erasure, window, &records, &mut left)?;
            let (from_head, flushed) =
                edit.erase_from_head(erasure, window, &records, &mut left)?;
            let mut forgotten = records;
            forgotten.retain(|record, _| !left.contains(record));
            for (record, name) in &forgotten {
                changes::remove_name(edit.transaction, name, *record)?;
            }
            Ok((from_runs + from_head, flushed, forgotten))
        })?;
        self.flushed(flushed);
        if !forgotten.is_empty() {
            self.caches.names.clear();
            self.names.retain(|_, record| !forgotten.contains_key(record));
        }
        Ok(erased)
    }

    /// Replaces the value of the last row to arrive of those that the record has at the row's time.
    /// Returns whether there is one.
    pub(crate) fn correct(&mut self, row: &Row, layout: &Layout) -> Result<bool> {
        let caches = self.caches.clone();
        let (corrected, flushed) = self.commit("correct", |transaction, _| {
            let state = *transaction.state();
            let names = caches.names.exact_list(transaction.tables(), &state)?;
            let Some(record) = names.find(row.record.as_str()) else { return Ok((false, None)) };
            let mut edit = Edit { caches: &caches, state, names, transaction, layout };
            if let Some(flushed) = edit.correct_in_head(record, row)? {
                return Ok((true, Some(flushed)));
            }
            Ok((edit.correct_in_runs(record, row)?, None))
        })?;
        self.flushed(flushed);
        Ok(corrected)
    }
}

/// Changes rows within a transaction.
struct Edit<'a> {
    caches: &'a Caches,
    /// The state before.
    state: State,
    /// All names before.
    names: Arc<NameList>,
    transaction: &'a mut dyn Transaction,
    layout: &'a Layout,
}

impl Edit<'_> {
    /// Erases rows from the runs, and adds the records that have rows left to `left`.
    fn erase_from_runs(
        &mut self,
        erasure: &Erasure,
        (from, to): (u64, u64),
        records: &Map<RecordId, Arc<str>>,
        left: &mut Set<RecordId>,
    ) -> Result<u64> {
        let mut erased = 0;
        let takes = |record, time, json: &str| {
            (from..=to).contains(&time) && records.contains_key(&record) && erasure.takes(json)
        };
        for run in self.runs()?.iter() {
            let index = self.caches.run_index(self.transaction.tables(), run)?;
            let concerned: Vec<Extent> =
                index.iter().filter(|extent| records.contains_key(&extent.record)).collect();
            let is_whole = erasure.predicate.is_none()
                && (concerned.len(), run.first >= from, run.last <= to)
                    == (index.len(), true, true);
            if is_whole {
                changes::remove_run(self.transaction, run)?;
                erased += run.rows;
                continue;
            }
            let overlapping =
                concerned.iter().filter(|extent| extent.first <= to && extent.last >= from);
            let candidates: Vec<Range<u32>> = overlapping
                .map(|extent| extent.first_row..extent.first_row + extent.rows)
                .collect();
            if !self.any(run, &index, &candidates, &takes)? {
                left.extend(concerned.iter().map(|extent| extent.record));
                continue;
            }
            let rest = self.rewritten(run, &index, &mut |_, record, time, json| {
                if takes(record, time, json) { Fate::Goes } else { Fate::Stays }
            })?;
            erased += u64::from(index.rows() - rest.index.rows());
            left.extend(rest.index.iter().map(|extent| extent.record));
            self.replace(run, &rest)?;
        }
        Ok(erased)
    }

    /// Erases rows from the head, and adds the records that have rows left to `left`. Returns the last
    /// block of the head if that became a run.
    fn erase_from_head(
        &mut self,
        erasure: &Erasure,
        (from, to): (u64, u64),
        records: &Map<RecordId, Arc<str>>,
        left: &mut Set<RecordId>,
    ) -> Result<(u64, Option<u64>)> {
        let mut erased = 0;
        let mut rest = Vec::new();
        for (number, block) in self.head()? {
            let mut kept = Block::new();
            for (record, time, json) in block.iter() {
                let is_meant = (from..=to).contains(&time) && records.contains_key(&record);
                if is_meant && erasure.takes(json) {
                    erased += 1;
                } else {
                    left.insert(record);
                    kept.push(record, time, json);
                }
            }
            rest.push((number, kept));
        }
        if erased == 0 {
            return Ok((0, None));
        }
        Ok((erased, self.flush(rest)?))
    }

    /// Returns the last block of the head, which became a run, if it has the row.
    fn correct_in_head(&mut self, record: RecordId, row: &Row) -> Result<Option<u64>> {
        let mut head = self.head()?;
        let meant = (record, row.stored_at);
        let mut found = None;
        for (at, (_, block)) in head.iter().enumerate().rev() {
            let in_block =
                (0..block.len()).rfind(|row| (block.record(*row), block.time(*row)) == meant);
            if let Some(in_block) = in_block {
                found = Some((at, in_block));
                break;
            }
        }
        let Some((at, in_block)) = found else { return Ok(None) };
        let mut corrected = Block::new();
        for (number, (record, time, json)) in head[at].1.iter().enumerate() {
            corrected.push(
                record,
                time,
                if number == in_block { row.value.as_str() } else { json },
            );
        }
        head[at].1 = Arc::new(corrected);
        self.flush(head)
    }

    /// The run that arrived last has the last row to arrive.
    fn correct_in_runs(&mut self, record: RecordId, row: &Row) -> Result<bool> {
        let at = row.stored_at;
        for run in self.runs()?.iter().rev() {
            let index = self.caches.run_index(self.transaction.tables(), run)?;
            let Some(extent) = index.find(record) else { continue };
            if at < extent.first || at > extent.last {
                continue;
            }
            let rows = extent.first_row..extent.first_row + extent.rows;
            let mut meant = None;
            self.visit(run, &index, &[rows], &mut |number, of, time, _| {
                if (of, time) == (record, at) {
                    meant = Some(number);
                }
                true
            })?;
            if meant.is_none() {
                continue;
            }
            let corrected = self.rewritten(run, &index, &mut |number, _, _, _| {
                if Some(number) == meant { Fate::Becomes(row.value.as_str()) } else { Fate::Stays }
            })?;
            self.replace(run, &corrected)?;
            return Ok(true);
        }
        Ok(false)
    }

    /// The runs in order of arrival.
    fn runs(&self) -> Result<Arc<Runs>> {
        self.caches.runs(self.transaction.tables(), &self.state)
    }

    /// The blocks of the head in order of arrival.
    fn head(&self) -> Result<Vec<(u64, Arc<Block>)>> {
        let Some((first, last)) = self.state.head_bounds() else { return Ok(Vec::new()) };
        self.caches.head.blocks(self.transaction.tables(), &self.state, first..=last)
    }

    /// Replaces the head by a run of these blocks. Returns the number of the head's last block.
    fn flush(&mut self, blocks: Vec<(u64, impl Borrow<Block>)>) -> Result<Option<u64>> {
        let Some((last, _)) = blocks.last() else { return Ok(None) };
        let (last, engine) = (*last, self.caches.engine);
        let ranks = self.names.ranks();
        let rank = |record| ranks.get(&record).copied().unwrap_or(u32::MAX);
        let rows = blocks.iter().map(|(_, block)| block.borrow());
        let run = format::flush(rows, &rank, self.layout, false)
            .map_err(|error| format_error(engine, error))?
            .numbered(|position| blocks[position].0)
            .main;
        changes::remove_head(self.transaction, last)?;
        if let Some(run) = run {
            changes::add_run(engine, self.transaction, RunOrder { head: last, part: 0 }, &run)?;
        }
        Ok(Some(last))
    }

    /// Visits the rows in these ranges by number, until `goes_on` says no.
    fn visit(
        &self,
        run: &Run,
        index: &RunIndex,
        ranges: &[Range<u32>],
        goes_on: &mut dyn FnMut(u32, RecordId, u64, &str) -> bool,
    ) -> Result<()> {
        // The ranges by their first rows, so that each block is read once.
        let mut ordered: BTreeMap<u32, u32> =
            ranges.iter().map(|range| (range.start, range.end)).collect();
        let mut read: Option<(Range<u32>, Block)> = None;
        while let Some((mut next, end)) = ordered.pop_first() {
            while next < end {
                if !read.as_ref().is_some_and(|(rows, _)| rows.contains(&next)) {
                    let number = index.block_of(next);
                    let tables = self.transaction.tables();
                    let block = self.caches.read_block(tables, run, index, number)?;
                    read = Some((index.block_rows(number), block));
                }
                let Some((rows, block)) = &read else { break };
                for row in next..end.min(rows.end) {
                    let at = (row - rows.start) as usize;
                    if !goes_on(row, block.record(at), block.time(at), block.json(at)) {
                        return Ok(());
                    }
                }
                next = end.min(rows.end);
            }
        }
        Ok(())
    }

    /// Whether any row in these ranges is taken.
    fn any(
        &self,
        run: &Run,
        index: &RunIndex,
        ranges: &[Range<u32>],
        takes: &dyn Fn(RecordId, u64, &str) -> bool,
    ) -> Result<bool> {
        let mut found = false;
        self.visit(run, index, ranges, &mut |_, record, time, json| {
            found = takes(record, time, json);
            !found
        })?;
        Ok(found)
    }

    /// The run with what becomes of its rows, whose order stays.
    fn rewritten<'f>(
        &self,
        run: &Run,
        index: &RunIndex,
        fate: &mut dyn FnMut(u32, RecordId, u64, &str) -> Fate<'f>,
    ) -> Result<NewRun> {
        let arrivals = self.caches.arrivals(self.transaction.tables(), run)?;
        let mut builder = RunBuilder::new(self.layout, index.is_at_rest());
        let mut failed = None;
        let all = 0..index.rows();
        self.visit(run, index, std::slice::from_ref(&all), &mut |number, record, time, json| {
            let pushed = match fate(number, record, time, json) {
                Fate::Stays => builder.push(arrivals.of(number), record, time, json),
                Fate::Goes => Ok(()),
                Fate::Becomes(json) => builder.push(arrivals.of(number), record, time, json),
            };
            failed = pushed.err();
            failed.is_none()
        })?;
        let built = match failed {
            Some(error) => Err(error),
            None => builder.finish(),
        };
        built.map_err(|error| format_error(self.caches.engine, error))
    }

    fn replace(&mut self, run: &Run, by: &NewRun) -> Result<()> {
        changes::remove_run(self.transaction, run)?;
        match by.index.rows() {
            0 => Ok(()),
            _ => changes::add_run(self.caches.engine, self.transaction, run.order, by),
        }
    }
}
