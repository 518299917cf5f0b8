//! Conversion of schema version 1, where each row is an entry of the table `history`.

use std::ops::RangeInclusive;

use annals_core::{BackendError, ErrorKind, Result};
use annals_embedded::{Conversion, RecordId, Tuning};
use redb::{Database, ReadOnlyTable, ReadableDatabase, ReadableTable, TableDefinition};

use crate::ENGINE;
use crate::error::failed;
use crate::schema::RECORDS;
use crate::write::RedbTransaction;

/// The key is record, time, order of arrival.
type Key = (RecordId, u64, u32);
const HISTORY: TableDefinition<'_, Key, &[u8]> = TableDefinition::new("history");

/// Rows are counted in this many equal parts of the time between the first and the last.
const BUCKETS: usize = 1 << 16;

/// Moves the rows into runs and removes the old table, within the open transaction. Names, ids and batch
/// numbers do not change.
pub(crate) fn convert(
    database: &Database,
    transaction: &mut RedbTransaction,
    tuning: &Tuning,
) -> Result<()> {
    // The committed state, which can be read while the transaction writes.
    let snapshot = database.begin_read().map_err(failed("convert"))?;
    let history = snapshot.open_table(HISTORY).map_err(failed("convert"))?;
    let names = snapshot.open_table(RECORDS).map_err(failed("convert"))?;
    let mut records = Vec::new();
    for entry in names.iter().map_err(failed("convert"))? {
        records.push(entry.map_err(failed("convert"))?.1.value());
    }
    let [.., run_rows] = tuning.tier_rows;
    let times = Times::count(&history)?;
    let mut conversion = Conversion::new(ENGINE, transaction, tuning);
    let mut left = times.rows;
    for window in times.windows(run_rows) {
        for record in &records {
            let keys = (*record, *window.start(), 0)..=(*record, *window.end(), u32::MAX);
            for row in history.range(keys).map_err(failed("convert"))? {
                let (key, value) = row.map_err(failed("convert"))?;
                conversion.push(*record, key.value().1, value.value())?;
                left -= 1;
            }
        }
    }
    if left > 0 {
        let message = format!("{left} rows of the file have no record name");
        return Err(BackendError::new(ENGINE, "convert", ErrorKind::Corrupt, message).into());
    }
    conversion.finish()?;
    transaction.delete(HISTORY)
}

/// The distribution of rows over time.
struct Times {
    first: u64,
    last: u64,
    rows: u64,
    buckets: Vec<u64>,
}

impl Times {
    fn count(history: &ReadOnlyTable<Key, &'static [u8]>) -> Result<Self> {
        let mut times = Self { first: u64::MAX, last: 0, rows: 0, buckets: vec![0; BUCKETS] };
        times.visit(history, |times, time| {
            times.rows += 1;
            times.first = times.first.min(time);
            times.last = times.last.max(time);
        })?;
        times.visit(history, |times, time| {
            let bucket = times.bucket(time);
            times.buckets[bucket] += 1;
        })?;
        Ok(times)
    }

    fn visit(
        &mut self,
        history: &ReadOnlyTable<Key, &'static [u8]>,
        mut visit: impl FnMut(&mut Self, u64),
    ) -> Result<()> {
        for row in history.iter().map_err(failed("convert"))? {
            visit(self, row.map_err(failed("convert"))?.0.value().1);
        }
        Ok(())
    }

    /// The whole time in milliseconds.
    fn span(&self) -> u128 {
        u128::from(self.last - self.first) + 1
    }

    fn bucket(&self, time: u64) -> usize {
        (u128::from(time - self.first) * BUCKETS as u128 / self.span()) as usize
    }

    /// The first time of a bucket; for the bucket after the last, the first time after all rows.
    fn begin(&self, bucket: usize) -> u128 {
        u128::from(self.first) + (bucket as u128 * self.span()).div_ceil(BUCKETS as u128)
    }

    /// Windows that together have all rows, each about this many if times are spread evenly.
    fn windows(&self, rows: u64) -> Vec<RangeInclusive<u64>> {
        let mut windows = Vec::new();
        if self.rows == 0 {
            return windows;
        }
        let (mut begin, mut sum) = (self.first, 0);
        for (bucket, count) in self.buckets.iter().enumerate() {
            sum += count;
            let end = self.begin(bucket + 1);
            if sum >= rows || (bucket + 1 == BUCKETS && sum > 0) {
                // Times are at most i64::MAX, so the next one exists.
                let after = u64::try_from(end).unwrap_or(u64::MAX);
                windows.push(begin..=after - 1);
                (begin, sum) = (after, 0);
            }
        }
        windows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn windows(times: &[u64], rows: u64) -> Vec<RangeInclusive<u64>> {
        let (first, last) = (*times.iter().min().unwrap(), *times.iter().max().unwrap());
        let mut counted =
            Times { first, last, rows: times.len() as u64, buckets: vec![0; BUCKETS] };
        for time in times {
            let bucket = counted.bucket(*time);
            counted.buckets[bucket] += 1;
        }
        counted.windows(rows)
    }

    #[test]
    fn windows_hold_every_time_once() {
        let spread: Vec<u64> = (0..1_000).map(|at| 1_740_081_234_000 + at * 977).collect();
        let ends = [0, i64::MAX as u64];
        for times in [&spread[..], &ends, &[7], &[7, 7, 8], &[i64::MAX as u64; 3]] {
            for rows in [1, 10, 1_000_000] {
                let windows = windows(times, rows);
                for time in times {
                    let holding = windows.iter().filter(|window| window.contains(time)).count();
                    assert_eq!(holding, 1, "{time} in {windows:?}");
                }
            }
        }
        assert_eq!(windows(&spread, 100).len(), 10);
        assert_eq!(windows(&spread, 1_000_000).len(), 1);
    }
}
