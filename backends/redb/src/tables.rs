//! The tables as a snapshot or a transaction sees them.

use std::ops::RangeInclusive;
use std::sync::Arc;

use annals_core::{Pattern, Result};
use annals_embedded::{RecordId, Run, RunId, RunOrder, Tables, Visit};
use redb::{
    Key, ReadOnlyTable, ReadTransaction, ReadableTable, Table, TableDefinition, TableError, Value,
    WriteTransaction,
};

use crate::error::failed;
use crate::schema::{BLOCKS, HEAD, RECORDS, RUN_INDEXES, RUNS, WRITERS};

/// A transaction of either kind, which opens tables for reading.
pub(crate) trait OpenTable {
    type Table<'a, K: Key + 'static, V: Value + 'static>: ReadableTable<K, V>
    where
        Self: 'a;

    fn open<K: Key + 'static, V: Value + 'static>(
        &self,
        table: TableDefinition<'_, K, V>,
    ) -> Result<Self::Table<'_, K, V>, TableError>;
}

impl OpenTable for ReadTransaction {
    type Table<'a, K: Key + 'static, V: Value + 'static> = ReadOnlyTable<K, V>;

    fn open<K: Key + 'static, V: Value + 'static>(
        &self,
        table: TableDefinition<'_, K, V>,
    ) -> Result<Self::Table<'_, K, V>, TableError> {
        self.open_table(table)
    }
}

impl OpenTable for WriteTransaction {
    type Table<'a, K: Key + 'static, V: Value + 'static> = Table<'a, K, V>;

    fn open<K: Key + 'static, V: Value + 'static>(
        &self,
        table: TableDefinition<'_, K, V>,
    ) -> Result<Self::Table<'_, K, V>, TableError> {
        self.open_table(table)
    }
}

/// The tables of a transaction of either kind.
pub(crate) struct RedbTables<T>(pub(crate) T);

impl<T: OpenTable> RedbTables<T> {
    fn open<K: Key + 'static, V: Value + 'static>(
        &self,
        table: TableDefinition<'_, K, V>,
    ) -> Result<T::Table<'_, K, V>> {
        self.0.open(table).map_err(failed("query"))
    }
}

impl<T: OpenTable> Tables for RedbTables<T> {
    fn records(&self, pattern: &Pattern) -> Result<Vec<(RecordId, Arc<str>)>> {
        let names = self.open(RECORDS)?;
        if let Some(name) = pattern.exact() {
            let id = names.get(name).map_err(failed("query"))?;
            return Ok(id.map(|id| (id.value(), name.into())).into_iter().collect());
        }
        let prefix = pattern.literal_prefix();
        let mut records = Vec::new();
        for entry in names.range(prefix..).map_err(failed("query"))? {
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

    fn last_batch(&self, writer: u128) -> Result<Option<u64>> {
        let last =
            self.open(WRITERS)?.get(writer).map_err(failed("query"))?.map(|last| last.value().0);
        Ok(last)
    }

    fn head_bounds(&self) -> Result<Option<(u64, u64)>> {
        let head = self.open(HEAD)?;
        let first = head.first().map_err(failed("query"))?.map(|(number, _)| number.value());
        let last = head.last().map_err(failed("query"))?.map(|(number, _)| number.value());
        Ok(first.zip(last))
    }

    fn head(&self, numbers: RangeInclusive<u64>, visit: &mut Visit<'_>) -> Result<()> {
        for entry in self.open(HEAD)?.range(numbers).map_err(failed("query"))? {
            let (number, block) = entry.map_err(failed("query"))?;
            visit(number.value(), block.value())?;
        }
        Ok(())
    }

    fn runs(&self) -> Result<Vec<Run>> {
        let mut runs = Vec::new();
        for entry in self.open(RUNS)?.iter().map_err(failed("query"))? {
            let (id, run) = entry.map_err(failed("query"))?;
            let (head, part, rows, first, last, bytes) = run.value();
            let order = RunOrder { head, part };
            runs.push(Run { id: id.value(), order, rows, first, last, bytes });
        }
        Ok(runs)
    }

    fn run_index(&self, run: RunId) -> Result<Option<Vec<u8>>> {
        let indexes = self.open(RUN_INDEXES)?;
        let index = indexes.get(run).map_err(failed("query"))?;
        Ok(index.map(|index| index.value().to_vec()))
    }

    fn block(&self, run: RunId, number: u32) -> Result<Option<Vec<u8>>> {
        let blocks = self.open(BLOCKS)?;
        let block = blocks.get((run, number)).map_err(failed("query"))?;
        Ok(block.map(|block| block.value().to_vec()))
    }
}
