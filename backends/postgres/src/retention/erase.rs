//! Erases and corrects rows, each in one transaction.
//!
//! Both hold the lock of the sweeps, so that no row is counted twice. Stores continue.

use std::sync::Arc;

use annals_core::{Erasure, ErrorKind, PersistenceError, Result, Row};
use tokio_postgres::types::Type;

use super::{Contention, STEP, Stop, Sweep};
use crate::engine::Engine;
use crate::error;
use crate::net::{Session, int8, int8s};
use crate::read::{NamePages, Named};

/// Rows that are tested per statement, where there is a predicate.
const TESTED: i64 = 1_000;

/// How often the whole is repeated when the server ends it to resolve a deadlock. Nothing is applied
/// then: TimescaleDB's compression of a chunk takes its locks in another order.
const ATTEMPTS: usize = 10;

/// Erases what `erasure` selects, and then the names of records without rows.
pub(crate) async fn erase(engine: Arc<Engine>, erasure: Erasure) -> Result<u64> {
    let layout = &**engine.schema.ready(&engine.pools).await?;
    let sweep = Sweep { engine: &engine, layout, contention: Contention::Wait, removed: 0 };
    let Some(window) = erasure.window() else { return Ok(0) };
    let window = (window.0.cast_signed(), window.1.cast_signed());
    let mut attempts = 1;
    let (erased, records) = loop {
        match sweep.erase(&erasure, window).await {
            Err(Stop::Failed(error))
                if super::rows::is_transient(&error) && attempts < ATTEMPTS =>
            {
                tracing::debug!(%error, "an erase is repeated");
                attempts += 1;
            }
            done => break done.map_err(PersistenceError::from)?,
        }
    };
    for some in records.chunks(STEP as usize) {
        let pruned = sweep.prune(some).await.map_err(PersistenceError::from);
        pruned.map_err(|error| error.after_removing(erased))?;
    }
    Ok(erased)
}

/// Replaces the value of the last row to arrive of those that the record has at the row's time.
pub(crate) async fn correct(engine: Arc<Engine>, row: Row) -> Result<bool> {
    let layout = &**engine.schema.ready(&engine.pools).await?;
    let sweep = Sweep { engine: &engine, layout, contention: Contention::Wait, removed: 0 };
    sweep.correct(&row).await.map_err(PersistenceError::from)
}

impl From<Stop> for PersistenceError {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Failed(error) => error,
            // Only a sweep that does not wait is skipped.
            Stop::Skipped => error::own(super::OPERATION, ErrorKind::Busy, "a sweep is running"),
        }
    }
}

impl Sweep<'_> {
    /// Returns the number of rows, and the records that lost some.
    async fn erase(
        &self,
        erasure: &Erasure,
        window: (i64, i64),
    ) -> Result<(u64, Vec<Named>), Stop> {
        let session = self.step().await?;
        let mut names = NamePages::new(self.sql(), erasure.pattern.clone());
        let (mut erased, mut touched) = (0, Vec::new());
        loop {
            let records = names.next(&session).await?;
            if records.is_empty() {
                break;
            }
            for record in records {
                let rows = match erasure.predicate {
                    None => self.erase_all(&session, record.id, window).await?,
                    Some(_) => self.erase_some(&session, record.id, window, erasure).await?,
                };
                if rows > 0 {
                    erased += rows;
                    touched.push(record);
                }
            }
        }
        session.commit().await?;
        session.release();
        Ok((erased, touched))
    }

    async fn erase_all(
        &self,
        session: &Session,
        record: i64,
        (from, to): (i64, i64),
    ) -> Result<u64> {
        let (mut erased, mut next) = (0, Some(from));
        while let Some(from) = next {
            let rows = (record, from, to, i64::MAX);
            let (count, time) = self.remove_some(session, rows, STEP).await?;
            erased += count;
            next = time;
        }
        Ok(erased)
    }

    /// Tests the rows here: what a predicate means is the same on every backend.
    async fn erase_some(
        &self,
        session: &Session,
        record: i64,
        (from, to): (i64, i64),
        erasure: &Erasure,
    ) -> Result<u64> {
        let s = &self.sql().schema;
        let select = format!(
            "SELECT stored_at, seq, value FROM {s}.history WHERE record_id = $1 \
             AND stored_at >= $2 AND stored_at <= $3 AND (stored_at, seq) > ($2, $4) \
             ORDER BY stored_at, seq LIMIT $5::bigint"
        );
        // A compressed chunk decompresses what lies between the times only.
        let delete = format!(
            "DELETE FROM {s}.history WHERE record_id = $1 AND stored_at >= $2 AND stored_at <= $3 \
             AND seq = ANY ($4::bigint[])"
        );
        let (mut erased, mut after) = (0, (from, -1));
        loop {
            let key = [&record, &after.0, &to, &after.1, &TESTED].map(int8);
            let rows = session.query(&select, &key).await?;
            let Some(last) = rows.last() else { return Ok(erased) };
            let (first, last) = (after.0, (last.get::<_, i64>(0), last.get::<_, i64>(1)));
            let taken = rows.iter().filter(|row| erasure.takes(row.get(2)));
            let taken: Vec<i64> = taken.map(|row| row.get(1)).collect();
            if !taken.is_empty() {
                let key = [int8(&record), int8(&first), int8(&last.0), int8s(&taken)];
                erased += session.run(session.client().execute_typed(&delete, &key)).await?;
            }
            after = last;
        }
    }

    async fn correct(&self, row: &Row) -> Result<bool, Stop> {
        let s = &self.sql().schema;
        let session = self.step().await?;
        let name = row.record.as_str();
        let select = format!("SELECT id FROM {s}.records WHERE name = $1");
        let record = session.query(&select, &[(&name, Type::TEXT)]).await?;
        let at = row.stored_at.cast_signed();
        let mut corrected = 0;
        if let Some(record) = record.first().map(|row| row.get::<_, i64>(0)) {
            let select = format!(
                "SELECT seq FROM {s}.history WHERE record_id = $1 AND stored_at = $2 \
                 ORDER BY seq DESC LIMIT 1"
            );
            let last = session.query(&select, &[int8(&record), int8(&at)]).await?;
            if let Some(seq) = last.first().map(|row| row.get::<_, i64>(0)) {
                let update = format!(
                    "UPDATE {s}.history SET value = $4 \
                     WHERE record_id = $1 AND stored_at = $2 AND seq = $3"
                );
                let value = row.value.as_str();
                let key = [int8(&record), int8(&at), int8(&seq), (&value, Type::TEXT)];
                corrected = session.run(session.client().execute_typed(&update, &key)).await?;
            }
        }
        session.commit().await?;
        session.release();
        Ok(corrected > 0)
    }
}
