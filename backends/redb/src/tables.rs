//! The tables as a snapshot or a transaction sees them.

use std::ops::RangeInclusive;

use annals_core::Result;
use annals_embedded::{LastBatch, Run, RunId, RunOrder, Tables, Visit, VisitName};
use redb::{
    Key, ReadOnlyTable, ReadTransaction, ReadableTable, Table, TableDefinition, TableError, Value,
    WriteTransaction,
};

use crate::error::failed;
use crate::schema::{BLOCKS, HEAD, RECORDS, RUN_INDEXES, RUNS, STATE, WRITERS};

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
    fn state(&self) -> Result<Option<Vec<u8>>> {
        let head = self.open(HEAD)?;
        let state = head.get(STATE).map_err(failed("query"))?;
        Ok(state.map(|state| state.value().to_vec()))
    }

    fn names(&self, visit: &mut VisitName<'_>) -> Result<()> {
        for entry in self.open(RECORDS)?.iter().map_err(failed("query"))? {
            let (name, id) = entry.map_err(failed("query"))?;
            visit(name.value(), id.value())?;
        }
        Ok(())
    }

    fn writer(&self, writer: u128) -> Result<Option<LastBatch>> {
        let writers = self.open(WRITERS)?;
        let last = writers.get(writer).map_err(failed("query"))?;
        Ok(last.map(|last| last_batch(last.value())))
    }

    fn writers(&self) -> Result<Vec<(u128, LastBatch)>> {
        let mut writers = Vec::new();
        for entry in self.open(WRITERS)?.iter().map_err(failed("query"))? {
            let (writer, last) = entry.map_err(failed("query"))?;
            writers.push((writer.value(), last_batch(last.value())));
        }
        Ok(writers)
    }

    fn head(&self, numbers: RangeInclusive<u64>, visit: &mut Visit<'_>) -> Result<()> {
        let numbers = *numbers.start()..=(*numbers.end()).min(STATE - 1);
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
            let (head, part, rows, first, last, bytes, sealed) = run.value();
            let order = RunOrder { head, part };
            runs.push(Run { id: id.value(), order, rows, first, last, bytes, sealed });
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

fn last_batch((number, block): (u64, u64)) -> LastBatch {
    LastBatch { number, block }
}
