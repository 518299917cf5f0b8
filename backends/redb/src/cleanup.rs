//! Rows, names and writers that go.

use annals_core::{Clock, PersistenceError, SystemClock};
use annals_embedded::{Expired, Key, RecordId};
use redb::{ReadableTable, Table, WriteTransaction};

use crate::error::failed;
use crate::schema::{HISTORY, HistoryKey, NAMES, RECORDS, WRITERS, history_key};

/// A writer that stored nothing for so long will not repeat its last batch: 30 days.
const WRITER_MEMORY_MS: u64 = 30 * 24 * 3600 * 1000;

/// Removes up to `limit` of a record's expired rows, the oldest first, and its name with the last
/// of its rows. Answers how many rows went; names that went are added to `emptied`.
pub(crate) fn remove(
    transaction: &WriteTransaction,
    expired: &Expired,
    limit: u64,
    emptied: &mut Vec<RecordId>,
) -> Result<u64, PersistenceError> {
    let mut history = transaction.open_table(HISTORY).map_err(failed("cleanup"))?;
    let mut removed = 0;
    if let Some(last) = last_to_go(&history, expired)? {
        let from = history_key(expired.record, Key::first_at(0));
        let to = history_key(expired.record, last);
        history
            .retain_in(from..=to, |_, _| {
                let goes = removed < limit;
                removed += u64::from(goes);
                !goes
            })
            .map_err(failed("cleanup"))?;
    }
    if removed < limit && is_empty(&history, expired.record)? {
        drop_name(transaction, expired.record)?;
        emptied.push(expired.record);
    }
    Ok(removed)
}

/// The last place that may go, if the newest rows leave any.
fn last_to_go(
    history: &Table<'_, HistoryKey, &'static [u8]>,
    expired: &Expired,
) -> Result<Option<Key>, PersistenceError> {
    let last = Key::last_at(expired.last_removed);
    let Some(others) = expired.keep_newest.checked_sub(1) else { return Ok(Some(last)) };
    let mut newest = rows_of(history, expired.record)?.rev();
    let oldest_kept = usize::try_from(others).ok().and_then(|others| newest.nth(others));
    let Some(oldest_kept) = oldest_kept.transpose().map_err(failed("cleanup"))? else {
        return Ok(None);
    };
    let (_, stored_at, seq) = oldest_kept.0.value();
    Ok(Key { stored_at, seq }.previous().map(|before| before.min(last)))
}

fn rows_of<'a>(
    history: &'a Table<'_, HistoryKey, &'static [u8]>,
    record: RecordId,
) -> Result<redb::Range<'a, HistoryKey, &'static [u8]>, PersistenceError> {
    history
        .range(history_key(record, Key::first_at(0))..=history_key(record, Key::last_at(u64::MAX)))
        .map_err(failed("cleanup"))
}

fn is_empty(
    history: &Table<'_, HistoryKey, &'static [u8]>,
    record: RecordId,
) -> Result<bool, PersistenceError> {
    let first = rows_of(history, record)?.next();
    Ok(first.transpose().map_err(failed("cleanup"))?.is_none())
}

fn drop_name(transaction: &WriteTransaction, record: RecordId) -> Result<(), PersistenceError> {
    let mut names = transaction.open_table(NAMES).map_err(failed("cleanup"))?;
    if let Some(name) = names.remove(record).map_err(failed("cleanup"))? {
        let mut records = transaction.open_table(RECORDS).map_err(failed("cleanup"))?;
        records.remove(name.value()).map_err(failed("cleanup"))?;
    }
    Ok(())
}

/// Lets go of writers that are gone for good.
pub(crate) fn forget_writers(transaction: &WriteTransaction) -> Result<(), PersistenceError> {
    let before = SystemClock.now_ms().saturating_sub(WRITER_MEMORY_MS);
    let mut writers = transaction.open_table(WRITERS).map_err(failed("cleanup"))?;
    writers.retain(|_, (_, touched_at)| touched_at >= before).map_err(failed("cleanup"))
}
