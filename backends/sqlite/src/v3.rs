//! Conversion of schema version 3, which had no checksums outside of blocks and stored the next ids in
//! `annals_meta`.
//!
//! Columns are renamed, so that a program of version 3 that still has the file open fails instead of
//! storing rows that the state does not count.

use annals_core::Result;
use annals_embedded::{State, adopt};
use rusqlite::Connection;

use crate::error::failed;
use crate::schema::SCHEMA_VERSION;
use crate::tables::SqliteTables;
use crate::transaction::SqliteTransaction;

/// Converts the tables within the open transaction. Blocks of runs stay where they are.
pub(crate) fn convert(tables: &SqliteTables) -> Result<()> {
    let state = change_tables(&tables.connection).map_err(failed("convert"))?;
    adopt_tables(tables, state)
}

fn change_tables(connection: &Connection) -> rusqlite::Result<State> {
    let state = connection.query_row(
        "SELECT next_record, next_block, next_run FROM annals_meta",
        [],
        |row| {
            let (next_record, next_block) = (row.get(0)?, row.get(1)?);
            Ok(State { next_record, next_block, next_run: row.get(2)?, ..State::FIRST })
        },
    )?;
    connection.execute_batch(
        "DROP TABLE annals_meta;
         CREATE TABLE annals_meta (schema_version INTEGER NOT NULL) STRICT;
         ALTER TABLE head RENAME COLUMN content TO frame;
         ALTER TABLE runs RENAME COLUMN directory TO run_index;
         ALTER TABLE runs ADD COLUMN sealed INTEGER NOT NULL DEFAULT 0;",
    )?;
    connection.execute("INSERT INTO annals_meta VALUES (?1)", [SCHEMA_VERSION])?;
    Ok(state)
}

/// Makes the state of tables that have none. `state` has the next ids.
pub(crate) fn adopt_tables(tables: &SqliteTables, state: State) -> Result<()> {
    let mut transaction = SqliteTransaction::with(tables, state);
    adopt(&mut transaction)?;
    transaction.finish().map(drop)
}
