//! Rows, names and writers that go.

use annals_core::{PersistenceError, REMEMBERED_WRITERS};
use annals_embedded::{Expired, Key, RecordId};
use rusqlite::{Connection, OptionalExtension, params};

use crate::error::failed;

/// Removes up to `limit` of a record's expired rows, the oldest first, and its name with the last
/// of its rows. Answers how many rows went; names that went are added to `emptied`.
pub(crate) fn remove(
    connection: &Connection,
    expired: &mut Expired,
    limit: u64,
    emptied: &mut Vec<RecordId>,
) -> Result<u64, PersistenceError> {
    let failed = failed("cleanup");
    match oldest(connection, expired.record).map_err(failed)? {
        None => {
            drop_empty_name(connection, expired.record, emptied).map_err(failed)?;
            return Ok(0);
        }
        // The usual case, and cheap: what is to stay need not be looked for.
        Some(oldest) if oldest > expired.last_removed => return Ok(0),
        Some(_) => {}
    }
    let record = expired.record;
    let last = expired.last_to_go(|nth| nth_newest(connection, record, nth).map_err(failed))?;
    let Some(last) = last else { return Ok(0) };
    let Some(up_to) = boundary(connection, record, last, limit).map_err(failed)? else {
        return Ok(0);
    };
    let removed = connection
        .prepare_cached("DELETE FROM history WHERE record_id = ?1 AND (stored_at, seq) <= (?2, ?3)")
        .and_then(|mut delete| delete.execute(params![record, up_to.stored_at, up_to.seq]))
        .map_err(failed)? as u64;
    if removed < limit {
        drop_empty_name(connection, record, emptied).map_err(failed)?;
    }
    Ok(removed)
}

fn oldest(connection: &Connection, record: RecordId) -> rusqlite::Result<Option<u64>> {
    connection
        .prepare_cached(
            "SELECT stored_at FROM history WHERE record_id = ?1 ORDER BY stored_at LIMIT 1",
        )?
        .query_row([record], |row| row.get(0))
        .optional()
}

fn key(row: &rusqlite::Row<'_>) -> rusqlite::Result<Key> {
    Ok(Key { stored_at: row.get(0)?, seq: row.get(1)? })
}

fn nth_newest(
    connection: &Connection,
    record: RecordId,
    nth: u64,
) -> rusqlite::Result<Option<Key>> {
    // The Nth newest has N - 1 rows before it.
    let offset = i64::try_from(nth.saturating_sub(1)).unwrap_or(i64::MAX);
    connection
        .prepare_cached(
            "SELECT stored_at, seq FROM history WHERE record_id = ?1 ORDER BY stored_at DESC, seq \
             DESC LIMIT 1 OFFSET ?2",
        )?
        .query_row(params![record, offset], key)
        .optional()
}

/// The last row to go in this step: the `limit`th oldest, but none beyond `last`.
fn boundary(
    connection: &Connection,
    record: RecordId,
    last: Key,
    limit: u64,
) -> rusqlite::Result<Option<Key>> {
    connection
        .prepare_cached(
            "SELECT stored_at, seq FROM (SELECT stored_at, seq FROM history WHERE record_id = ?1 \
             AND (stored_at, seq) <= (?2, ?3) ORDER BY stored_at, seq LIMIT ?4) ORDER BY stored_at \
             DESC, seq DESC LIMIT 1",
        )?
        .query_row(
            params![record, last.stored_at, last.seq, i64::try_from(limit).unwrap_or(i64::MAX)],
            key,
        )
        .optional()
}

fn drop_empty_name(
    connection: &Connection,
    record: RecordId,
    emptied: &mut Vec<RecordId>,
) -> rusqlite::Result<()> {
    let dropped = connection
        .prepare_cached(
            "DELETE FROM records WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM history WHERE \
             record_id = ?1)",
        )?
        .execute([record])?;
    if dropped > 0 {
        emptied.push(record);
    }
    Ok(())
}

/// Lets go of writers beyond those that stored last.
pub(crate) fn forget_writers(connection: &Connection) -> Result<(), PersistenceError> {
    connection
        .prepare_cached(
            "DELETE FROM writers WHERE writer IN (SELECT writer FROM writers ORDER BY touched_at \
             DESC LIMIT -1 OFFSET ?1)",
        )
        .and_then(|mut delete| delete.execute([REMEMBERED_WRITERS]))
        .map_err(failed("cleanup"))
        .map(drop)
}
