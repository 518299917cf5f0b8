//! Conversion of schema version 2. It has the same blocks of runs, but allocated numbers by
//! AUTOINCREMENT, and stored the time of each writer's last batch.
//!
//! Columns were renamed since, so that a program of version 2 that still has the file open fails
//! instead of allocating a number twice.

use annals_core::Result;
use annals_embedded::State;
use rusqlite::Connection;

use crate::error::failed;
use crate::schema::{SCHEMA_VERSION, TABLES};
use crate::tables::SqliteTables;
use crate::v3;

/// Moves everything but blocks into the current tables, within the open transaction.
pub(crate) fn convert(tables: &SqliteTables) -> Result<()> {
    let state = move_tables(&tables.connection).map_err(failed("convert"))?;
    v3::adopt_tables(tables, state)
}

fn move_tables(connection: &Connection) -> rusqlite::Result<State> {
    let next = (next(connection, "head")?, next(connection, "runs")?);
    connection.execute_batch(
        "ALTER TABLE head RENAME TO head_2;
         ALTER TABLE runs RENAME TO runs_2;",
    )?;
    let state = convert_names(connection, next)?;
    connection.execute_batch(
        "INSERT INTO head (number, frame) SELECT number, block FROM head_2;
         INSERT INTO runs (id, order_head, order_part, rows, first, last, text_bytes, run_index, sealed)
             SELECT id, order_head, order_part, rows, first, last, bytes, directory, 0 FROM runs_2;
         DROP TABLE head_2;
         DROP TABLE runs_2;",
    )?;
    Ok(state)
}

/// Creates the current tables and moves names and writers, which are alike in versions 1 and 2. Writers
/// keep their order, as if each had stored one block. Returns a state with the next ids.
pub(crate) fn convert_names(
    connection: &Connection,
    (next_block, next_run): (i64, i64),
) -> rusqlite::Result<State> {
    let next_record = next(connection, "records")?;
    connection.execute_batch(
        "DROP TABLE annals_meta;
         ALTER TABLE records RENAME TO records_2;
         ALTER TABLE writers RENAME TO writers_2;",
    )?;
    connection.execute_batch(TABLES)?;
    connection.execute_batch(
        "INSERT INTO records (name, id) SELECT name, id FROM records_2 ORDER BY name;",
    )?;
    let writers = connection.execute(
        "INSERT INTO writers (writer, number, block)
             SELECT writer, number, ?1 - 1 + row_number() OVER (ORDER BY touched_at) FROM writers_2",
        [next_block],
    )?;
    connection.execute("INSERT INTO annals_meta VALUES (?1)", [SCHEMA_VERSION])?;
    connection.execute_batch("DROP TABLE records_2; DROP TABLE writers_2;")?;
    Ok(State {
        next_record: next_record.cast_unsigned(),
        next_block: next_block.cast_unsigned() + writers as u64,
        next_run: next_run.cast_unsigned(),
        ..State::FIRST
    })
}

/// What AUTOINCREMENT would allocate next.
fn next(connection: &Connection, table: &str) -> rusqlite::Result<i64> {
    let select = "SELECT coalesce(max(seq), 0) + 1 FROM sqlite_sequence WHERE name = ?1";
    connection.query_row(select, [table], |row| row.get(0))
}
