//! Conversion of files of AimDB's own SQLite backend, which have one table `record_history` with id,
//! record_name, value_json and stored_at.

use std::collections::HashMap;

use annals_core::{ErrorKind, MAX_TIMESTAMP, RecordName, Result};
use annals_embedded::{Conversion, Tuning};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row};

use crate::ENGINE;
use crate::error::{failed, refused};
use crate::tables::SqliteTables;
use crate::transaction::SqliteTransaction;

/// Whether the file has AimDB's table.
pub(crate) fn is_there(connection: &Connection) -> rusqlite::Result<bool> {
    let columns: i64 = connection.query_row(
        "SELECT count(*) FROM pragma_table_info('record_history') WHERE name IN ('id', \
         'record_name', 'value_json', 'stored_at') AND EXISTS (SELECT 1 FROM sqlite_schema WHERE \
         name = 'record_history' AND type = 'table')",
        [],
        |row| row.get(0),
    )?;
    Ok(columns == 4)
}

/// Moves the rows into runs, in their order of arrival, and drops the old table, within the open
/// transaction.
///
/// Text that is not JSON is kept and reported when it is read. A row that no backend accepts stops the
/// conversion, so that nothing is dropped silently.
pub(crate) fn convert(tables: &SqliteTables, tuning: &Tuning) -> Result<()> {
    let failed = failed("convert");
    let SqliteTables { connection, .. } = tables;
    let mut transaction = SqliteTransaction::begin(tables)?;
    let mut conversion = Conversion::new(ENGINE, &mut transaction, tuning);
    let mut ids = HashMap::new();
    let mut rows = connection
        .prepare(
            "SELECT id, record_name, stored_at, CAST(CAST(value_json AS TEXT) AS BLOB) FROM \
             record_history ORDER BY stored_at, id",
        )
        .map_err(failed)?;
    let mut rows = rows.query([]).map_err(failed)?;
    while let Some(row) = rows.next().map_err(failed)? {
        let (name, stored_at, value) = check(row)?;
        let record = match ids.get(name) {
            Some(record) => *record,
            None => {
                let record = conversion.add_name(name)?;
                ids.insert(name.to_owned(), record);
                record
            }
        };
        conversion.push(record, stored_at, value)?;
    }
    drop(rows);
    conversion.finish()?;
    transaction.finish()?;
    connection.execute_batch("DROP TABLE record_history").map_err(failed)
}

/// A row's name, time and value, if they are valid.
fn check<'a>(row: &'a Row<'_>) -> Result<(&'a str, u64, &'a [u8])> {
    let failed = failed("convert");
    let id: i64 = row.get(0).map_err(failed)?;
    let wrong = |what: &str| {
        let message = format!(
            "row {id} of AimDB's table record_history has {what}; repair or delete it and open the \
             file again (the file is unchanged)"
        );
        refused(ErrorKind::Corrupt, message)
    };
    let name = row.get_ref(1).map_err(failed)?;
    let name = name.as_str().map_err(|_| wrong("a record name that is not text"))?;
    RecordName::new(name).map_err(|error| wrong(&format!("an {error}")))?;
    let stored_at = match row.get_ref(2).map_err(failed)? {
        ValueRef::Integer(time) => u64::try_from(time).ok().filter(|time| *time <= MAX_TIMESTAMP),
        _ => None,
    };
    let stored_at = stored_at.ok_or_else(|| wrong("a time that is not Unix milliseconds"))?;
    let value = row.get_ref(3).map_err(failed)?;
    Ok((name, stored_at, value.as_blob().map_err(|_| wrong("no value"))?))
}
