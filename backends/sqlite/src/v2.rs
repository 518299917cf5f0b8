//! Conversion of schema version 2. It has the same blocks of runs, but allocated numbers by
//! AUTOINCREMENT, and stored the time of each writer's last batch.
//!
//! Two columns were renamed in version 3, so that a program of version 2 that still has the file open
//! fails instead of allocating a number twice.

use rusqlite::{Connection, params};

use crate::schema::{SCHEMA_VERSION, TABLES};

/// Moves everything but blocks into the current tables, within the open transaction.
pub(crate) fn convert(connection: &Connection) -> rusqlite::Result<()> {
    let (next_block, next_run) = (next(connection, "head")?, next(connection, "runs")?);
    connection.execute_batch(
        "ALTER TABLE head RENAME TO head_2;
         ALTER TABLE runs RENAME TO runs_2;",
    )?;
    convert_names(connection, next_block, next_run)?;
    connection.execute_batch(
        "INSERT INTO head (number, content) SELECT number, block FROM head_2;
         INSERT INTO runs (id, order_head, order_part, rows, first, last, text_bytes, directory)
             SELECT id, order_head, order_part, rows, first, last, bytes, directory FROM runs_2;
         DROP TABLE head_2;
         DROP TABLE runs_2;",
    )
}

/// Creates the current tables and moves names and writers, which are alike in versions 1 and 2. Writers
/// keep their order, as if each had stored one block.
pub(crate) fn convert_names(
    connection: &Connection,
    next_block: i64,
    next_run: i64,
) -> rusqlite::Result<()> {
    let next_record = next(connection, "records")?;
    connection.execute_batch(
        "ALTER TABLE annals_meta RENAME TO meta_2;
         ALTER TABLE records RENAME TO records_2;
         ALTER TABLE writers RENAME TO writers_2;",
    )?;
    connection.execute_batch(TABLES)?;
    connection.execute_batch(
        "INSERT INTO records (name, id) SELECT name, id FROM records_2 ORDER BY name;",
    )?;
    connection.execute(
        "INSERT INTO writers (writer, number, block)
             SELECT writer, number, ?1 - 1 + row_number() OVER (ORDER BY touched_at) FROM writers_2",
        [next_block],
    )?;
    connection.execute(
        "INSERT INTO annals_meta (schema_version, next_record, next_block, next_run)
             SELECT ?1, ?2, ?3 + (SELECT count(*) FROM writers), ?4",
        params![SCHEMA_VERSION, next_record, next_block, next_run],
    )?;
    connection.execute_batch("DROP TABLE meta_2; DROP TABLE records_2; DROP TABLE writers_2;")
}

/// What AUTOINCREMENT would allocate next.
fn next(connection: &Connection, table: &str) -> rusqlite::Result<i64> {
    let select = "SELECT coalesce(max(seq), 0) + 1 FROM sqlite_sequence WHERE name = ?1";
    connection.query_row(select, [table], |row| row.get(0))
}
