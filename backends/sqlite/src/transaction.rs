//! A transaction that writes: names, blocks of the head, runs and the state.

use annals_core::{BackendError, ErrorKind, Result};
use annals_embedded::{
    ExternalChange, LastBatch, RecordId, Run, RunId, State, Tables, Transaction,
};
use rusqlite::{ToSql, params};

use crate::ENGINE;
use crate::error::failed;
use crate::tables::{STATE, SqliteTables, block_key, has_old_blocks};

/// A transaction that holds the write lock.
pub(crate) struct SqliteTransaction<'a> {
    tables: &'a SqliteTables,
    /// What other processes did since the last one.
    pub(crate) change: ExternalChange,
    state: State,
    /// What is stored.
    stored: Option<State>,
}

impl<'a> SqliteTransaction<'a> {
    /// Reads the state.
    pub(crate) fn begin(tables: &'a SqliteTables) -> Result<Self> {
        Ok(Self::after(tables, State::of(ENGINE, tables)?))
    }

    /// After a transaction that left this state.
    pub(crate) fn after(tables: &'a SqliteTables, state: State) -> Self {
        Self { tables, change: ExternalChange::None, state, stored: Some(state) }
    }

    /// For a file that has no state yet.
    pub(crate) fn with(tables: &'a SqliteTables, state: State) -> Self {
        Self { tables, change: ExternalChange::None, state, stored: None }
    }

    /// Stores the state if necessary, and returns it.
    pub(crate) fn finish(self) -> Result<State> {
        if self.stored != Some(self.state) {
            self.execute(
                "store",
                "INSERT INTO head (number, frame) VALUES (?1, ?2) ON CONFLICT (number) DO UPDATE \
                 SET frame = excluded.frame",
                params![STATE, self.state.encode()],
            )?;
        }
        Ok(self.state)
    }

    fn execute(&self, operation: &'static str, sql: &str, values: &[&dyn ToSql]) -> Result<usize> {
        let SqliteTables { connection, .. } = self.tables;
        connection
            .prepare_cached(sql)
            .and_then(|mut statement| statement.execute(values))
            .map_err(failed(operation))
    }
}

impl Transaction for SqliteTransaction<'_> {
    fn tables(&self) -> &dyn Tables {
        self.tables
    }

    fn external_change(&self) -> ExternalChange {
        self.change
    }

    fn state(&mut self) -> &mut State {
        &mut self.state
    }

    fn put_name(&mut self, name: &str, record: RecordId) -> Result<()> {
        let insert = "INSERT INTO records (name, id) VALUES (?1, ?2)";
        self.execute("store", insert, params![name, record]).map(drop)
    }

    fn remove_name(&mut self, name: &str) -> Result<()> {
        self.execute("cleanup", "DELETE FROM records WHERE name = ?1", params![name]).map(drop)
    }

    fn put_writer(&mut self, writer: u128, last: LastBatch) -> Result<()> {
        let put = "INSERT OR REPLACE INTO writers (writer, number, block) VALUES (?1, ?2, ?3)";
        let values = params![writer.to_be_bytes(), last.number, last.block];
        self.execute("store", put, values).map(drop)
    }

    fn remove_writer(&mut self, writer: u128) -> Result<()> {
        let delete = "DELETE FROM writers WHERE writer = ?1";
        self.execute("cleanup", delete, params![writer.to_be_bytes()]).map(drop)
    }

    fn put_head(&mut self, number: u64, block: &[u8]) -> Result<()> {
        let insert = "INSERT INTO head (number, frame) VALUES (?1, ?2)";
        self.execute("store", insert, params![number, block]).map(drop)
    }

    fn remove_head(&mut self, last: u64) -> Result<()> {
        let delete = "DELETE FROM head WHERE number <= ?1 AND number < ?2";
        self.execute("compact", delete, params![last, STATE]).map(drop)
    }

    fn put_run(&mut self, run: &Run, index: &[u8]) -> Result<()> {
        let Run { id, order, rows, first, last, bytes, sealed } = run;
        self.execute(
            "compact",
            "INSERT INTO runs (id, order_head, order_part, rows, first, last, text_bytes, \
             run_index, sealed) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
            params![id, order.head, order.part, rows, first, last, bytes, index, sealed],
        )
        .map(drop)
    }

    fn put_block(&mut self, run: RunId, number: u32, block: &[u8]) -> Result<()> {
        let insert = "INSERT INTO blocks (id, block) VALUES (?1, ?2)";
        let key = block_key(run, number).ok_or_else(|| {
            let message = "there are no more keys for blocks; copy the history into a new file";
            BackendError::new(ENGINE, "compact", ErrorKind::Other, message)
        })?;
        self.execute("compact", insert, params![key, block]).map(drop)
    }

    fn remove_run(&mut self, run: RunId) -> Result<()> {
        if let (Some(first), Some(last)) = (block_key(run, 0), block_key(run, u32::MAX)) {
            let delete = "DELETE FROM blocks WHERE id BETWEEN ?1 AND ?2";
            self.execute("compact", delete, params![first, last])?;
        }
        if has_old_blocks(&self.tables.connection).map_err(failed("compact"))? {
            self.execute("compact", "DELETE FROM old_blocks WHERE run = ?1", params![run])?;
        }
        self.execute("compact", "DELETE FROM runs WHERE id = ?1", params![run]).map(drop)
    }
}
