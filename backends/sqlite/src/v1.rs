//! Conversion of schema version 1, where each row is a row of the table `history`.

use annals_core::Result;
use annals_embedded::{Conversion, State, Tuning};

use crate::error::failed;
use crate::tables::SqliteTables;
use crate::transaction::SqliteTransaction;
use crate::{ENGINE, v2, v3};

/// Moves the rows into runs and drops the old table, within the open transaction. Names, ids and batch
/// numbers do not change.
pub(crate) fn convert(tables: &SqliteTables, tuning: &Tuning) -> Result<()> {
    let failed = failed("convert");
    let SqliteTables { connection, .. } = tables;
    // It refers to a table that is dropped.
    connection.execute_batch("DROP VIEW IF EXISTS record_history").map_err(failed)?;
    let State { next_block, next_run, .. } = State::FIRST;
    let next = (next_block.cast_signed(), next_run.cast_signed());
    let state = v2::convert_names(connection, next).map_err(failed)?;
    v3::adopt_tables(tables, state)?;
    let mut transaction = SqliteTransaction::begin(tables)?;
    let mut conversion = Conversion::new(ENGINE, &mut transaction, tuning);
    let mut rows = connection
        .prepare(
            "SELECT record_id, stored_at, CAST(value AS BLOB) FROM history ORDER BY stored_at, \
             record_id, seq",
        )
        .map_err(failed)?;
    let mut rows = rows.query([]).map_err(failed)?;
    while let Some(row) = rows.next().map_err(failed)? {
        let (record, stored_at) = (row.get(0).map_err(failed)?, row.get(1).map_err(failed)?);
        let value = row.get_ref(2).and_then(|value| Ok(value.as_blob()?)).map_err(failed)?;
        conversion.push(record, stored_at, value)?;
    }
    drop(rows);
    conversion.finish()?;
    transaction.finish()?;
    connection.execute_batch("DROP TABLE history").map_err(failed)
}
