//! Conversion of rows in an older format into runs.

use std::borrow::Cow;

use annals_core::{BackendError, ErrorKind, Result};

use super::{in_order, ranks};
use crate::engine::{RecordId, Transaction};
use crate::error::{corrupt, format_error};
use crate::format::{Block, flush};
use crate::tuning::Tuning;
use crate::write::add_run;

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

    /// Finds or allocates a record's id.
    ///
    /// # Errors
    /// The engine's error.
    pub fn intern(&mut self, name: &str) -> Result<RecordId> {
        let ids = self.transaction.intern(&[name])?;
        ids.first().copied().ok_or_else(|| corrupt(self.engine, "a name got no id"))
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
        let ranks = ranks(self.transaction.tables())?;
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
        let head = self.transaction.append(&[])?;
        self.transaction.remove_head(head)?;
        for (order, run) in in_order(head, runs) {
            add_run(self.engine, self.transaction, order, &run)?;
        }
        Ok(())
    }
}
