//! Conversion of rows in an older format into runs.

use std::borrow::Cow;

use annals_core::{BackendError, ErrorKind, Result};

use super::in_order;
use crate::Map;
use crate::engine::Transaction;
use crate::error::format_error;
use crate::format::{Block, Place, content_size, flush, seal};
use crate::ids::RecordId;
use crate::tuning::Tuning;
use crate::write::{add_name, add_run};

/// Takes the rows of an older format and writes runs, within a transaction.
///
/// Rows with the same record and time must come in their order of arrival. The order of all others is
/// free, but rows of about the same time should come together: a cleanup then removes whole runs.
pub struct Conversion<'a> {
    engine: &'static str,
    transaction: &'a mut dyn Transaction,
    tuning: &'a Tuning,
    /// The rows of the next run.
    rows: Block,
}

impl<'a> Conversion<'a> {
    /// A conversion without rows.
    pub fn new(
        engine: &'static str,
        transaction: &'a mut dyn Transaction,
        tuning: &'a Tuning,
    ) -> Self {
        Self { engine, transaction, tuning, rows: Block::new() }
    }

    /// Adds a name, which is not there.
    ///
    /// # Errors
    /// The engine's error.
    pub fn add_name(&mut self, name: &str) -> Result<RecordId> {
        add_name(self.engine, self.transaction, name)
    }

    /// Adds a row. Text that is not UTF-8 is damaged. It is kept in a form that is not JSON, so that
    /// the damage stays visible.
    ///
    /// # Errors
    /// The engine's error; [`ErrorKind::Corrupt`] if a record has no name.
    pub fn push(&mut self, record: RecordId, stored_at: u64, json: &[u8]) -> Result<()> {
        let json = match std::str::from_utf8(json) {
            Ok(json) => Cow::Borrowed(json),
            Err(_) => format!("\u{fffd}{}", String::from_utf8_lossy(json)).into(),
        };
        self.rows.push(record, stored_at, &json);
        let ([.., rows], [.., bytes]) = (self.tuning.tier_rows, self.tuning.tier_bytes);
        if self.rows.len() as u64 >= rows || self.rows.text_bytes() as u64 >= bytes {
            self.end_run(false)?;
        }
        Ok(())
    }

    /// Writes the rows that are left.
    ///
    /// # Errors
    /// As [`push`](Self::push).
    pub fn finish(mut self) -> Result<()> {
        let split = self.rows.len() as u64 >= self.tuning.split_rows;
        self.end_run(split)
    }

    fn end_run(&mut self, split: bool) -> Result<()> {
        if self.rows.is_empty() {
            return Ok(());
        }
        let mut ranks = Map::default();
        self.transaction.tables().names(&mut |_, record| {
            let rank = ranks.len() as u32;
            ranks.insert(record, rank);
            Ok(())
        })?;
        if let Some(record) = self.rows.records().iter().find(|id| !ranks.contains_key(id)) {
            let message = format!("there are rows of record {record}, which has no name");
            return Err(
                BackendError::new(self.engine, "convert", ErrorKind::Corrupt, message).into()
            );
        }
        let rank = |record| ranks.get(&record).copied().unwrap_or(u32::MAX);
        let runs = flush([&self.rows], &rank, &self.tuning.layout, split)
            .map_err(|error| format_error(self.engine, error))?;
        self.rows.clear();
        // Runs are ordered by blocks of the head, so this one gets the number of a block.
        let state = self.transaction.state();
        let head = state.allocate_block();
        state.head = state.next_block;
        for (order, run) in in_order(head, runs.numbered(|_| head)) {
            add_run(self.engine, self.transaction, order, &run)?;
        }
        Ok(())
    }
}

/// Takes over the tables of schema version 3, within a transaction: counts the names, runs and writers,
/// and seals the blocks of the head. Blocks of runs stay as they are until the compactor rewrites them.
///
/// The state must have the next ids. Numbers that version 3 left out of the head are closed up.
///
/// # Errors
/// The engine's error.
pub fn adopt(transaction: &mut dyn Transaction) -> Result<()> {
    let mut state = *transaction.state();
    let tables = transaction.tables();
    tables.names(&mut |name, record| {
        state.names.add_name(name, record);
        Ok(())
    })?;
    tables.runs()?.iter().for_each(|run| state.runs.add_run(run));
    for (writer, last) in tables.writers()? {
        state.writers.add_writer(writer, last);
    }
    let mut blocks = Vec::new();
    // The engine may keep the state at the greatest number.
    tables.head(0..=i64::MAX as u64 - 1, &mut |number, block| {
        blocks.push((number, block.to_vec()));
        Ok(())
    })?;
    let last = blocks.last().map(|(number, _)| *number);
    state.next_block = state.next_block.max(last.map_or(0, |last| last + 1));
    state.head = state.next_block - blocks.len() as u64;
    let largest = blocks.iter().filter_map(|(_, block)| content_size(block)).max();
    state.largest_block = largest.unwrap_or_default();
    *transaction.state() = state;
    if let Some(last) = last {
        transaction.remove_head(last)?;
    }
    for (number, (_, block)) in (state.head..).zip(&blocks) {
        transaction.put_head(number, &seal(Place::Head(number), block))?;
    }
    Ok(())
}
