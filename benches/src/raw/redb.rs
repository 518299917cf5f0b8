//! redb by hand.

use std::path::Path;
use std::time::Instant;

use redb::{Database, ReadableDatabase, ReadableTableMetadata, TableDefinition};

use super::{Until, must_be, write};
use crate::Failure;
use crate::places::{Sample, sample, time};

/// By record, time and order of arrival.
const HISTORY: TableDefinition<'_, (u32, u64, u32), &[u8]> = TableDefinition::new("history");

/// Writes rows, `batch` to a commit; answers rows a second.
pub(crate) fn rows_per_second(
    file: &Path,
    batch: u64,
    records: u64,
    until: Until,
) -> Result<f64, Failure> {
    let database = Database::create(file)?;
    let (rows, speed) = write(until, batch, |numbers| {
        let transaction = database.begin_write()?;
        {
            let mut table = transaction.open_table(HISTORY)?;
            // In the order of the tree, which touches every leaf once.
            let mut sorted: Vec<u64> = numbers.collect();
            sorted.sort_unstable_by_key(|at| (at % records, *at));
            for at in sorted {
                let text = serde_json::to_string(&sample(at))?;
                table.insert((u32::try_from(at % records)?, time(at), 0), text.as_bytes())?;
            }
        }
        transaction.commit()?;
        Ok(())
    })?;
    let found = database.begin_read()?.open_table(HISTORY)?.len()?;
    must_be(found, rows)?;
    Ok(speed)
}

/// Microseconds for a transaction of one row.
pub(crate) fn single_commit(database: &Database, at: u64) -> Result<f64, Failure> {
    let begun = Instant::now();
    let text = serde_json::to_string(&sample(at))?;
    let transaction = database.begin_write()?;
    transaction.open_table(HISTORY)?.insert((1, time(at), 0), text.as_bytes())?;
    transaction.commit()?;
    Ok(begun.elapsed().as_secs_f64() * 1e6)
}

/// Rows a second of reading one record whole, into [`Sample`], newest first.
pub(crate) fn scan(file: &Path, record_id: u32, rows: u64) -> Result<f64, Failure> {
    let database = Database::open(file)?;
    let table = database.begin_read()?.open_table(HISTORY)?;
    let begun = Instant::now();
    let mut found = Vec::new();
    for row in table.range((record_id, 0, 0)..=(record_id, u64::MAX, u32::MAX))?.rev() {
        found.push(serde_json::from_slice::<Sample>(row?.1.value())?);
    }
    let elapsed = begun.elapsed().as_secs_f64();
    must_be(found.len() as u64, rows)?;
    Ok(rows as f64 / elapsed)
}
