//! Deletes single rows, in bounded steps.

use std::collections::HashSet;

use annals_core::{CleanupPlan, Outcome, PersistenceError, Result};

use super::{STEP, Stop, Sweep};
use crate::error;
use crate::net::{Parameter, Session, int8, int8s};
use crate::read::Named;

/// What a sweep deletes of some records: the rows up to a time and, at that time, up to a `seq`.
#[derive(Default)]
pub(super) struct Spans {
    ids: Vec<i64>,
    from_time: Vec<i64>,
    last_time: Vec<i64>,
    last_seq: Vec<i64>,
}

impl Spans {
    fn push(&mut self, id: i64, last_time: i64, last_seq: i64) {
        self.ids.push(id);
        self.from_time.push(0);
        self.last_time.push(last_time);
        self.last_seq.push(last_seq);
    }

    /// Continues at the record with this index and at this time. The rows before that are deleted.
    fn continue_at(&mut self, index: usize, time: i64) {
        for column in [&mut self.ids, &mut self.from_time, &mut self.last_time, &mut self.last_seq]
        {
            column.drain(..index);
        }
        self.from_time[0] = time;
    }
}

/// The progress of a sweep record by record: the index of a record among those with expired rows, and
/// the time to continue at.
#[derive(Clone, Copy)]
struct Progress {
    index: usize,
    from: i64,
}

/// How often in a row a step is repeated.
const ATTEMPTS: usize = 10;

/// Whether a step certainly did nothing and may succeed when it is repeated: a deadlock.
pub(super) fn is_transient(error: &PersistenceError) -> bool {
    error::is_busy(error) && error.outcome() == Outcome::NotApplied
}

impl Sweep<'_> {
    pub(super) async fn spans(&self, plan: &CleanupPlan, records: &[Named]) -> Result<Spans, Stop> {
        let mut spans = Spans::default();
        let cutoffs = records.iter().filter_map(|record| {
            // `last_removed` is within i64.
            Some((record.id, plan.last_removed(&record.name)?.cast_signed()))
        });
        if plan.keep_newest == 0 {
            cutoffs.for_each(|(id, last)| spans.push(id, last, i64::MAX));
            return Ok(spans);
        }
        // The key of the oldest row that is kept, once for each record. Rows that arrive later only
        // make more of the older ones removable.
        let (ids, cutoffs): (Vec<i64>, Vec<i64>) = cutoffs.unzip();
        let keep = i64::try_from(plan.keep_newest).unwrap_or(i64::MAX);
        let session = self.step().await?;
        let bounds = self.layout.keep_bounds(self.sql());
        let rows = session.query(&bounds, &[int8s(&ids), int8(&keep)]).await?;
        session.finish().await?;
        for row in rows {
            let (place, time, seq): (i64, i64, i64) = (row.get(0), row.get(1), row.get(2));
            let place = usize::try_from(place - 1).unwrap_or(usize::MAX);
            if let (Some(id), Some(cutoff)) = (ids.get(place), cutoffs.get(place)) {
                let (last_time, last_seq) = (*cutoff, i64::MAX).min((time, seq - 1));
                spans.push(*id, last_time, last_seq);
            }
        }
        Ok(spans)
    }

    /// Deletes rows of many records in one statement for each step.
    pub(super) async fn remove(&mut self, mut spans: Spans) -> Result<(), Stop> {
        let delete = delete_step(&self.sql().schema);
        while !spans.ids.is_empty() {
            let session = self.step().await?;
            let Spans { ids, from_time, last_time, last_seq } = &spans;
            let mut parameters: Vec<Parameter<'_>> =
                [ids, from_time, last_time, last_seq].map(int8s).into();
            parameters.push(int8(&STEP));
            let row = session.query_one(&delete, &parameters).await?;
            session.commit().await?;
            session.release();
            let (deleted, expired): (i64, i64) = (row.get(0), row.get(1));
            self.removed += deleted.cast_unsigned();
            let reached = row.get::<_, Option<i64>>(2).zip(row.get::<_, Option<i64>>(3));
            match reached {
                Some((place, time)) if expired == STEP => {
                    spans.continue_at(usize::try_from(place - 1).unwrap_or(0), time);
                }
                _ => break,
            }
        }
        Ok(())
    }

    /// Deletes rows record by record, where the layout asks for that.
    pub(super) async fn remove_by_record(&mut self, spans: Spans) -> Result<(), Stop> {
        let Some(last) = spans.last_time.iter().max() else { return Ok(()) };
        let session = self.step().await?;
        let select = self.layout.filter_records(self.sql(), "EXISTS", "h.stored_at <= $2");
        let rows = session.query(&select, &[int8s(&spans.ids), int8(last)]).await?;
        let expired: HashSet<i64> = rows.iter().map(|row| row.get(0)).collect();
        session.finish().await?;
        let expired: Vec<usize> =
            (0..spans.ids.len()).filter(|i| expired.contains(&spans.ids[*i])).collect();
        let mut progress = Progress { index: 0, from: 0 };
        let mut repeated = 0;
        while progress.index < expired.len() {
            match self.step_by_record(&spans, &expired, progress).await {
                Ok((deleted, next)) => {
                    self.removed += deleted;
                    progress = next;
                    repeated = 0;
                }
                // TimescaleDB's compression of a chunk takes its locks in another order.
                Err(Stop::Failed(error)) if is_transient(&error) && repeated < ATTEMPTS => {
                    tracing::debug!(%error, "a step of a sweep is repeated");
                    repeated += 1;
                }
                Err(stop) => return Err(stop),
            }
        }
        Ok(())
    }

    /// Makes one step from where the previous one ended; returns how many rows it deleted, and its end.
    async fn step_by_record(
        &self,
        spans: &Spans,
        expired: &[usize],
        mut progress: Progress,
    ) -> Result<(u64, Progress), Stop> {
        let session = self.step().await?;
        let (mut step, mut deleted) = (STEP, 0);
        while let (Some(&i), true) = (expired.get(progress.index), step > 0) {
            let span = (spans.ids[i], progress.from, spans.last_time[i], spans.last_seq[i]);
            let (count, time) = self.remove_some(&session, span, step).await?;
            deleted += count;
            // Each record counts as well, so that a step remains short.
            step -= count.cast_signed() + 10;
            progress = match time {
                Some(from) => Progress { from, ..progress },
                None => Progress { index: progress.index + 1, from: 0 },
            };
        }
        session.commit().await?;
        session.release();
        Ok((deleted, progress))
    }

    /// Deletes about `most` rows of a record; returns how many, and the time to continue at unless
    /// all are deleted.
    pub(super) async fn remove_some(
        &self,
        session: &Session,
        (id, from, last_time, last_seq): (i64, i64, i64, i64),
        most: i64,
    ) -> Result<(u64, Option<i64>)> {
        let s = &self.sql().schema;
        let expired = format!(
            "FROM {s}.history WHERE record_id = $1 \
             AND stored_at >= $2 AND stored_at <= $3 AND (stored_at, seq) <= ($3, $4)"
        );
        let bound = format!(
            "SELECT stored_at, seq {expired} ORDER BY stored_at, seq OFFSET $5::bigint LIMIT 1"
        );
        let key = [&id, &from, &last_time, &last_seq, &most].map(int8);
        let bound = session.query(&bound, &key).await?;
        let bound = bound.first();
        let (time, seq) = match bound {
            Some(row) => (row.get(0), row.get(1)),
            None => (last_time, last_seq),
        };
        let key = [&id, &from, &time, &seq].map(int8);
        let delete = format!("DELETE {expired}");
        let count = session.run(session.client().execute_typed(&delete, &key)).await?;
        Ok((count, bound.map(|_| time)))
    }
}

/// Deletes up to `$5` rows of the records `$1` between the times `$2` and the keys `$3`, `$4`. `$2` is
/// where the previous step ended: until a vacuum, the index still contains what that deleted, and each
/// step would skip it again.
fn delete_step(s: &str) -> String {
    format!(
        "WITH expired AS MATERIALIZED (\
           SELECT r.place, h.record_id, h.stored_at, h.seq \
           FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[]) \
             WITH ORDINALITY AS r (id, from_time, last_time, last_seq, place) \
           CROSS JOIN LATERAL (\
             SELECT record_id, stored_at, seq FROM {s}.history \
             WHERE record_id = r.id AND stored_at >= r.from_time \
             AND (stored_at, seq) <= (r.last_time, r.last_seq) \
             ORDER BY stored_at, seq LIMIT $5::bigint) h \
           LIMIT $5::bigint), \
         deleted AS (\
           DELETE FROM {s}.history h USING expired e \
           WHERE h.record_id = e.record_id AND h.stored_at = e.stored_at \
           AND h.seq = e.seq RETURNING 1) \
         SELECT (SELECT count(*) FROM deleted), (SELECT count(*) FROM expired), l.place, \
                (SELECT max(stored_at) FROM expired e WHERE e.place = l.place) \
         FROM (SELECT max(place) AS place FROM expired) l"
    )
}
