//! Rows, names and writers that go.

use annals_core::{Clock, PersistenceError, SystemClock};
use annals_embedded::{Expired, Key, RecordId};
use rusqlite::{Connection, OptionalExtension, params};

use crate::error::failed;

/// A writer that stored nothing for so long will not repeat its last batch: 30 days.
const WRITER_MEMORY_MS: u64 = 30 * 24 * 3600 * 1000;

/// Removes up to `limit` of a record's expired rows, the oldest first, and its name with the last
/// of its rows. Answers how many rows went; names that went are added to `emptied`.
pub(crate) fn remove(
    connection: &Connection,
    expired: &Expired,
    limit: u64,
    emptied: &mut Vec<RecordId>,
) -> Result<u64, PersistenceError> {
    let mut removed = || -> rusqlite::Result<u64> {
        let Some(up_to) = boundary(connection, expired, limit)? else {
            return drop_empty_name(connection, expired, emptied).map(|()| 0);
        };
        let removed = connection
            .prepare_cached(
                "DELETE FROM history WHERE record_id = ?1 AND (stored_at, seq) <= (?2, ?3)",
            )?
            .execute(params![expired.record, up_to.stored_at, up_to.seq])?
            as u64;
        if removed < limit {
            drop_empty_name(connection, expired, emptied)?;
        }
        Ok(removed)
    };
    removed().map_err(failed("cleanup"))
}

/// The last row to go in this step: the `limit`th oldest, but none that is to stay.
fn boundary(
    connection: &Connection,
    expired: &Expired,
    limit: u64,
) -> rusqlite::Result<Option<Key>> {
    let key = |row: &rusqlite::Row<'_>| Ok(Key { stored_at: row.get(0)?, seq: row.get(1)? });
    let mut last = Key::last_at(expired.last_removed);
    if expired.keep_newest > 0 {
        let oldest_kept = connection
            .prepare_cached(
                "SELECT stored_at, seq FROM history WHERE record_id = ?1 ORDER BY stored_at DESC, \
                 seq DESC LIMIT 1 OFFSET ?2",
            )?
            .query_row(params![expired.record, as_offset(expired.keep_newest)], key)
            .optional()?;
        match oldest_kept.and_then(Key::previous) {
            Some(before) => last = last.min(before),
            None => return Ok(None),
        }
    }
    connection
        .prepare_cached(
            "SELECT stored_at, seq FROM (SELECT stored_at, seq FROM history WHERE record_id = ?1 \
             AND (stored_at, seq) <= (?2, ?3) ORDER BY stored_at, seq LIMIT ?4) ORDER BY stored_at \
             DESC, seq DESC LIMIT 1",
        )?
        .query_row(
            params![
                expired.record,
                last.stored_at,
                last.seq,
                i64::try_from(limit).unwrap_or(i64::MAX)
            ],
            key,
        )
        .optional()
}

/// The Nth newest has N - 1 rows before it.
fn as_offset(nth: u64) -> i64 {
    i64::try_from(nth - 1).unwrap_or(i64::MAX)
}

fn drop_empty_name(
    connection: &Connection,
    expired: &Expired,
    emptied: &mut Vec<RecordId>,
) -> rusqlite::Result<()> {
    let dropped = connection
        .prepare_cached(
            "DELETE FROM records WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM history WHERE \
             record_id = ?1)",
        )?
        .execute([expired.record])?;
    if dropped > 0 {
        emptied.push(expired.record);
    }
    Ok(())
}

/// Lets go of writers that are gone for good.
pub(crate) fn forget_writers(connection: &Connection) -> Result<(), PersistenceError> {
    let before = SystemClock.now_ms().saturating_sub(WRITER_MEMORY_MS);
    connection
        .prepare_cached("DELETE FROM writers WHERE touched_at < ?1")
        .and_then(|mut delete| delete.execute([i64::try_from(before).unwrap_or(i64::MAX)]))
        .map_err(failed("cleanup"))
        .map(drop)
}
