//! Files written by AimDB's own SQLite backend: one table `record_history` with id, record_name,
//! value_json and stored_at.

use annals_core::{ErrorKind, MAX_TIMESTAMP, PersistenceError, RecordName};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Transaction};

use crate::error::failed;
use crate::schema::refused;

/// Where the old table stands while its rows are read.
const OLD: &str = "annals_aimdb_history";

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

/// Frees the name, which a view takes.
pub(crate) fn set_aside(transaction: &Transaction<'_>) -> Result<(), PersistenceError> {
    transaction
        .execute_batch(&format!("ALTER TABLE record_history RENAME TO {OLD}"))
        .map_err(failed("convert"))
}

/// Moves the rows over, in their order of arrival, and removes the old table.
///
/// Text that is not JSON any more is kept as it is: it is reported when it is read. A row that no
/// backend would have taken stops the conversion, so that nothing is dropped in silence.
pub(crate) fn convert(transaction: &Transaction<'_>) -> Result<(), PersistenceError> {
    let failed = failed("convert");
    check_rows(transaction)?;
    transaction
        .execute_batch(&format!(
            "INSERT INTO records (name) SELECT DISTINCT record_name COLLATE BINARY FROM {OLD};
             INSERT INTO history (record_id, stored_at, seq, value)
                 SELECT records.id, stored_at,
                     row_number() OVER (PARTITION BY records.id, stored_at ORDER BY old.id) - 1,
                     CAST(value_json AS TEXT)
                 FROM {OLD} AS old JOIN records ON records.name = old.record_name COLLATE BINARY
                 ORDER BY 1, 2, 3;"
        ))
        .map_err(failed)?;
    let missing: i64 = transaction
        .query_row(
            &format!("SELECT (SELECT count(*) FROM {OLD}) - (SELECT count(*) FROM history)"),
            [],
            |row| row.get(0),
        )
        .map_err(failed)?;
    if missing != 0 {
        let message = format!("{missing} rows of AimDB's table were not found again");
        return Err(refused(ErrorKind::Corrupt, message));
    }
    transaction.execute_batch(&format!("DROP TABLE {OLD}")).map_err(failed)
}

fn check_rows(transaction: &Transaction<'_>) -> Result<(), PersistenceError> {
    let failed = failed("convert");
    let wrong = |id: i64, what: &str| {
        refused(
            ErrorKind::Corrupt,
            format!(
                "row {id} of AimDB's table record_history has {what}; mend or delete it and open \
                 the file again (the file is as it was)"
            ),
        )
    };
    let mut rows = transaction
        .prepare(&format!("SELECT id, record_name, stored_at, value_json FROM {OLD}"))
        .map_err(failed)?;
    let mut rows = rows.query([]).map_err(failed)?;
    while let Some(row) = rows.next().map_err(failed)? {
        let id = row.get(0).map_err(failed)?;
        let name = row.get_ref(1).map_err(failed)?;
        let name = name.as_str().map_err(|_| wrong(id, "a record name that is not text"))?;
        RecordName::new(name).map_err(|error| wrong(id, &format!("an {error}")))?;
        match row.get_ref(2).map_err(failed)? {
            ValueRef::Integer(time) if (0..=MAX_TIMESTAMP as i64).contains(&time) => {}
            _ => return Err(wrong(id, "a time that is not Unix milliseconds")),
        }
        if matches!(row.get_ref(3).map_err(failed)?, ValueRef::Null) {
            return Err(wrong(id, "no value"));
        }
    }
    Ok(())
}
