//! Readers: one snapshot each.

use std::sync::Arc;

use annals_core::{Order, Pattern, PersistenceError};
use annals_embedded::{Key, RecordId, Snapshot, Summary};
use redb::{Database, ReadOnlyTable, ReadTransaction, ReadableDatabase, StorageError};

use crate::error::failed;
use crate::schema::{HISTORY, HistoryKey, RECORDS, history_key};

/// A read transaction and the tables it reads.
pub(crate) struct RedbSnapshot {
    records: ReadOnlyTable<&'static str, RecordId>,
    history: ReadOnlyTable<HistoryKey, &'static [u8]>,
    /// Keeps the pages that the tables read; dropped after them.
    _transaction: ReadTransaction,
}

impl RedbSnapshot {
    pub(crate) fn take(database: &Database) -> Result<Self, PersistenceError> {
        let transaction = database.begin_read().map_err(failed("query"))?;
        let records = transaction.open_table(RECORDS).map_err(failed("query"))?;
        let history = transaction.open_table(HISTORY).map_err(failed("query"))?;
        Ok(Self { records, history, _transaction: transaction })
    }

    fn rows(
        &self,
        record: RecordId,
        from: Key,
        to: Key,
    ) -> Result<redb::Range<'static, HistoryKey, &'static [u8]>, PersistenceError> {
        self.history
            .range(history_key(record, from)..=history_key(record, to))
            .map_err(failed("query"))
    }
}

fn key_of(key: HistoryKey) -> Key {
    Key { stored_at: key.1, seq: key.2 }
}

impl Snapshot for RedbSnapshot {
    fn records(&self, pattern: &Pattern) -> Result<Vec<(RecordId, Arc<str>)>, PersistenceError> {
        if let Some(name) = pattern.exact() {
            let id = self.records.get(name).map_err(failed("query"))?;
            return Ok(id.map(|id| (id.value(), name.into())).into_iter().collect());
        }
        let prefix = pattern.literal_prefix();
        let mut records = Vec::new();
        for entry in self.records.range(prefix..).map_err(failed("query"))? {
            let (name, id) = entry.map_err(failed("query"))?;
            if !name.value().starts_with(prefix) {
                break;
            }
            if pattern.matches(name.value()) {
                records.push((id.value(), name.value().into()));
            }
        }
        Ok(records)
    }

    fn summary(&self, record: RecordId) -> Result<Option<Summary>, PersistenceError> {
        let mut summary: Option<Summary> = None;
        for row in self.rows(record, Key::first_at(0), Key::last_at(u64::MAX))? {
            let stored_at = row.map_err(failed("query"))?.0.value().1;
            let summary =
                summary.get_or_insert(Summary { count: 0, first: stored_at, last: stored_at });
            summary.count += 1;
            summary.last = stored_at;
        }
        Ok(summary)
    }

    fn nth_newest(
        &self,
        record: RecordId,
        from: Key,
        to: Key,
        n: u64,
    ) -> Result<Option<Key>, PersistenceError> {
        let Ok(others) = usize::try_from(n.saturating_sub(1)) else { return Ok(None) };
        let nth = self.rows(record, from, to)?.rev().nth(others);
        Ok(nth.transpose().map_err(failed("query"))?.map(|(key, _)| key_of(key.value())))
    }

    fn scan(
        &self,
        record: RecordId,
        from: Key,
        to: Key,
        order: Order,
        visit: &mut dyn FnMut(Key, &str) -> bool,
    ) -> Result<(), PersistenceError> {
        let mut rows = self.rows(record, from, to)?;
        let mut next = || match order {
            Order::NewestFirst => rows.next_back(),
            Order::OldestFirst => rows.next(),
        };
        while let Some(row) = next() {
            let (key, value) = row.map_err(failed::<StorageError>("query"))?;
            let json = std::str::from_utf8(value.value()).unwrap_or(Self::NOT_TEXT);
            if !visit(key_of(key.value()), json) {
                break;
            }
        }
        Ok(())
    }
}
