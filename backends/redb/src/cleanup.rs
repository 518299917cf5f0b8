//! Rows, names and writers that go.

use annals_core::{PersistenceError, REMEMBERED_WRITERS};
use annals_embedded::{Expired, Key, RecordId};
use redb::{ReadableTable, ReadableTableMetadata, Table, WriteTransaction};

use crate::error::failed;
use crate::schema::{HISTORY, HistoryKey, NAMES, RECORDS, WRITERS, history_key};

/// Removes up to `limit` of a record's expired rows, the oldest first, and its name with the last
/// of its rows. Answers how many rows went; names that went are added to `emptied`.
pub(crate) fn remove(
    transaction: &WriteTransaction,
    expired: &mut Expired,
    limit: u64,
    emptied: &mut Vec<RecordId>,
) -> Result<u64, PersistenceError> {
    let mut history = transaction.open_table(HISTORY).map_err(failed("cleanup"))?;
    let record = expired.record;
    match oldest(&history, record)? {
        None => {
            drop_name(transaction, record, emptied)?;
            return Ok(0);
        }
        // The usual case, and cheap: what is to stay need not be looked for.
        Some(oldest) if oldest > expired.last_removed => return Ok(0),
        Some(_) => {}
    }
    let Some(last) = expired.last_to_go(|nth| nth_newest(&history, record, nth))? else {
        return Ok(0);
    };
    let from = history_key(record, Key::first_at(0));
    let (last, mut removed) = (history_key(record, last), 0);
    // Only up to the last row of this step: what is beyond it must not cost anything yet.
    let mut up_to = None;
    for row in history.range(from..=last).map_err(failed("cleanup"))? {
        up_to = Some(row.map_err(failed("cleanup"))?.0.value());
        removed += 1;
        if removed == limit {
            break;
        }
    }
    let Some(up_to) = up_to else { return Ok(0) };
    history.retain_in(from..=up_to, |_, _| false).map_err(failed("cleanup"))?;
    if removed < limit && oldest(&history, record)?.is_none() {
        drop_name(transaction, record, emptied)?;
    }
    Ok(removed)
}

fn oldest(
    history: &Table<'_, HistoryKey, &'static [u8]>,
    record: RecordId,
) -> Result<Option<u64>, PersistenceError> {
    let first = rows_of(history, record)?.next().transpose().map_err(failed("cleanup"))?;
    Ok(first.map(|(key, _)| key.value().1))
}

fn nth_newest(
    history: &Table<'_, HistoryKey, &'static [u8]>,
    record: RecordId,
    nth: u64,
) -> Result<Option<Key>, PersistenceError> {
    let Ok(others) = usize::try_from(nth.saturating_sub(1)) else { return Ok(None) };
    let nth = rows_of(history, record)?.rev().nth(others);
    Ok(nth.transpose().map_err(failed("cleanup"))?.map(|(key, _)| {
        let (_, stored_at, seq) = key.value();
        Key { stored_at, seq }
    }))
}

fn rows_of<'a>(
    history: &'a Table<'_, HistoryKey, &'static [u8]>,
    record: RecordId,
) -> Result<redb::Range<'a, HistoryKey, &'static [u8]>, PersistenceError> {
    history
        .range(history_key(record, Key::first_at(0))..=history_key(record, Key::last_at(u64::MAX)))
        .map_err(failed("cleanup"))
}

fn drop_name(
    transaction: &WriteTransaction,
    record: RecordId,
    emptied: &mut Vec<RecordId>,
) -> Result<(), PersistenceError> {
    let mut names = transaction.open_table(NAMES).map_err(failed("cleanup"))?;
    if let Some(name) = names.remove(record).map_err(failed("cleanup"))? {
        let mut records = transaction.open_table(RECORDS).map_err(failed("cleanup"))?;
        records.remove(name.value()).map_err(failed("cleanup"))?;
        emptied.push(record);
    }
    Ok(())
}

/// Lets go of writers beyond those that stored last.
pub(crate) fn forget_writers(transaction: &WriteTransaction) -> Result<(), PersistenceError> {
    let mut writers = transaction.open_table(WRITERS).map_err(failed("cleanup"))?;
    if writers.len().map_err(failed("cleanup"))? <= REMEMBERED_WRITERS {
        return Ok(());
    }
    let mut by_use = Vec::new();
    for entry in writers.iter().map_err(failed("cleanup"))? {
        let (writer, last) = entry.map_err(failed("cleanup"))?;
        by_use.push((last.value().1, writer.value()));
    }
    by_use.sort_unstable_by(|a, b| b.cmp(a));
    for (_, writer) in by_use.drain(REMEMBERED_WRITERS as usize..) {
        writers.remove(writer).map_err(failed("cleanup"))?;
    }
    Ok(())
}
