//! Rows of an older layout become runs.

use std::borrow::Cow;

use annals_core::{BackendError, ErrorKind, Grammar, Pattern, PersistenceError};

use crate::cache::{corrupt, damaged};
use crate::engine::{RecordId, RunOrder, Transaction};
use crate::format::{Columns, fold};
use crate::map::Map;
use crate::store;
use crate::tuning::Tuning;

/// Takes the rows of an older layout and makes runs of them, within a transaction.
///
/// Rows of one record with the same time come in their order of arrival. Whatever order the others
/// come in, rows of about the same time should come together: a cleanup then removes whole runs.
pub struct Conversion<'a> {
    engine: &'static str,
    transaction: &'a mut dyn Transaction,
    tuning: &'a Tuning,
    /// Rows for the next run.
    rows: Columns,
}

impl<'a> Conversion<'a> {
    /// A conversion of no rows yet.
    pub fn new(
        engine: &'static str,
        transaction: &'a mut dyn Transaction,
        tuning: &'a Tuning,
    ) -> Self {
        Self { engine, transaction, tuning, rows: Columns::new() }
    }

    /// Finds or makes a record's id.
    ///
    /// # Errors
    /// What the engine reports.
    pub fn intern(&mut self, name: &str) -> Result<RecordId, PersistenceError> {
        let ids = self.transaction.intern(&[name])?;
        ids.first().copied().ok_or_else(|| corrupt(self.engine, "a name got no id"))
    }

    /// Takes a row. Text that is not UTF-8 is damage, and so that it stays visible as such, what is
    /// kept of it is not JSON.
    ///
    /// # Errors
    /// What the engine reports; [`ErrorKind::Corrupt`] when a record has no name.
    pub fn push(
        &mut self,
        record: RecordId,
        stored_at: u64,
        json: &[u8],
    ) -> Result<(), PersistenceError> {
        let json = match std::str::from_utf8(json) {
            Ok(json) => Cow::Borrowed(json),
            Err(_) => format!("\u{fffd}{}", String::from_utf8_lossy(json)).into(),
        };
        self.rows.push(record, stored_at, &json);
        let ([.., rows], [.., bytes]) = (self.tuning.class_rows, self.tuning.class_bytes);
        if self.rows.len() as u64 >= rows || self.rows.text_bytes() as u64 >= bytes {
            self.end_run(false)?;
        }
        Ok(())
    }

    /// Makes a run of the rows that are left.
    ///
    /// # Errors
    /// As [`push`](Self::push).
    pub fn finish(mut self) -> Result<(), PersistenceError> {
        let split = self.rows.len() as u64 >= self.tuning.split_rows;
        self.end_run(split)
    }

    fn end_run(&mut self, split: bool) -> Result<(), PersistenceError> {
        if self.rows.is_empty() {
            return Ok(());
        }
        let every = Pattern::new("*", Grammar::Glob)?;
        let records = self.transaction.tables().records(&every)?;
        let ranks: Map<RecordId, u32> =
            (0..).zip(records).map(|(rank, (record, _))| (record, rank)).collect();
        if let Some(record) = self.rows.records().iter().find(|id| !ranks.contains_key(id)) {
            let message = format!("there are rows of record {record}, which has no name");
            return Err(
                BackendError::new(self.engine, "convert", ErrorKind::Corrupt, message).into()
            );
        }
        let rank = |record| ranks.get(&record).copied().unwrap_or(u32::MAX);
        let merged = fold([&self.rows], &rank, &self.tuning.layout, split)
            .map_err(|error| damaged(self.engine, error))?;
        self.rows.clear();
        // Runs stand in the order of blocks of the head: one that is gone again.
        let head = self.transaction.append(&[])?;
        self.transaction.remove_head(head)?;
        for (part, run) in [(0, merged.main), (1, merged.fresh)] {
            if let Some(run) = run {
                store::add(self.engine, self.transaction, RunOrder { head, part }, &run)?;
            }
        }
        Ok(())
    }
}
