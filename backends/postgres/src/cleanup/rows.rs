//! Removing rows one by one, in bounded steps.

use std::collections::HashSet;

use annals_core::{CleanupPlan, ErrorKind, Outcome, PersistenceError};
use tokio_postgres::types::Type;

use super::{STEP, Stop, Sweep};
use crate::read::Named;
use crate::session::{Parameter, Session};

/// What goes of some records: the rows up to a time and, at that time, up to a `seq`.
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

    /// Goes on at the record with this place and this time; what comes before is done.
    fn go_on_at(&mut self, place: usize, time: i64) {
        for column in [&mut self.ids, &mut self.from_time, &mut self.last_time, &mut self.last_seq]
        {
            column.drain(..place);
        }
        self.from_time[0] = time;
    }
}

/// How far a sweep record by record has come: the place of a record among those that have something
/// expired, and the time to go on at.
#[derive(Clone, Copy)]
struct Reached {
    place: usize,
    from: i64,
}

/// How often in a row a step is made again.
const ATTEMPTS: usize = 10;

/// Whether it did nothing, and may do better the next time: a deadlock.
fn passes(error: &PersistenceError) -> bool {
    let PersistenceError::Backend(reported) = error else { return false };
    reported.kind() == ErrorKind::Busy && error.outcome() == Outcome::NotApplied
}

impl Sweep<'_> {
    pub(super) async fn spans(&self, plan: &CleanupPlan, records: &[Named]) -> Result<Spans, Stop> {
        let mut spans = Spans::default();
        let cutoffs = records.iter().filter_map(|record| {
            // `last_removed` stays within i64.
            Some((record.id, plan.last_removed(&record.name)?.cast_signed()))
        });
        if plan.keep_newest == 0 {
            cutoffs.for_each(|(id, last)| spans.push(id, last, i64::MAX));
            return Ok(spans);
        }
        // The key of the oldest row that is kept, once for each record. Rows that arrive later only
        // make more of the older ones superfluous.
        let (ids, cutoffs): (Vec<i64>, Vec<i64>) = cutoffs.unzip();
        let keep = i64::try_from(plan.keep_newest).unwrap_or(i64::MAX);
        let session = self.step().await?;
        let client = session.client();
        let bounds = &self.engine.sql.keep_bounds;
        let parameters: [Parameter<'_>; 2] = [(&ids, Type::INT8_ARRAY), (&keep, Type::INT8)];
        let rows = session.run(client.query_typed(bounds, &parameters)).await?;
        session.run(client.batch_execute("COMMIT")).await?;
        session.release();
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

    /// Of many records in one statement.
    pub(super) async fn remove(&mut self, mut spans: Spans) -> Result<(), Stop> {
        while !spans.ids.is_empty() {
            let session = self.step().await?;
            let client = session.client();
            let Spans { ids, from_time, last_time, last_seq } = &spans;
            let columns = [ids, from_time, last_time, last_seq];
            let mut parameters: Vec<Parameter<'_>> =
                columns.map(|column| (column as _, Type::INT8_ARRAY)).into();
            parameters.push((&STEP, Type::INT8));
            let step = client.query_typed_one(&self.engine.sql.sweep_step, &parameters);
            let row = session.run(step).await?;
            session.commit().await?;
            session.release();
            let (gone, doomed): (i64, i64) = (row.get(0), row.get(1));
            self.removed += gone.cast_unsigned();
            let reached = row.get::<_, Option<i64>>(2).zip(row.get::<_, Option<i64>>(3));
            match reached {
                Some((place, time)) if doomed == STEP => {
                    spans.go_on_at(usize::try_from(place - 1).unwrap_or(0), time);
                }
                _ => break,
            }
        }
        Ok(())
    }

    /// Record by record: a shard is found by the record, and a compressed chunk unpacks only the
    /// batches of a record and a time that the statement names.
    pub(super) async fn remove_by_record(&mut self, spans: Spans) -> Result<(), Stop> {
        let Some(last) = spans.last_time.iter().max() else { return Ok(()) };
        let session = self.step().await?;
        let client = session.client();
        let select = &self.engine.sql.expired_records;
        let parameters: [Parameter<'_>; 2] = [(&spans.ids, Type::INT8_ARRAY), (last, Type::INT8)];
        let rows = session.run(client.query_typed(select, &parameters)).await?;
        let expired: HashSet<i64> = rows.iter().map(|row| row.get(0)).collect();
        session.run(client.batch_execute("COMMIT")).await?;
        session.release();
        let places: Vec<usize> =
            (0..spans.ids.len()).filter(|i| expired.contains(&spans.ids[*i])).collect();
        let mut reached = Reached { place: 0, from: 0 };
        let mut refused = 0;
        while reached.place < places.len() {
            match self.step_by_record(&spans, &places, reached).await {
                Ok((gone, next)) => {
                    self.removed += gone;
                    reached = next;
                    refused = 0;
                }
                // A job of TimescaleDB's that compresses a chunk locks in an order of its own.
                Err(Stop::Failed(error)) if passes(&error) && refused < ATTEMPTS => {
                    tracing::debug!(%error, "a step of a sweep is made again");
                    refused += 1;
                }
                Err(stop) => return Err(stop),
            }
        }
        Ok(())
    }

    /// One step from where the one before ended; returns how many rows it removed, and its end.
    async fn step_by_record(
        &self,
        spans: &Spans,
        places: &[usize],
        mut reached: Reached,
    ) -> Result<(u64, Reached), Stop> {
        let session = self.step().await?;
        let (mut step, mut gone) = (STEP, 0);
        while let (Some(&i), true) = (places.get(reached.place), step > 0) {
            let span = (spans.ids[i], reached.from, spans.last_time[i], spans.last_seq[i]);
            let (count, time) = self.remove_some(&session, span, step).await?;
            gone += count;
            // Each look at a record counts, so that a step stays short.
            step -= count.cast_signed() + 10;
            reached = match time {
                Some(from) => Reached { from, ..reached },
                None => Reached { place: reached.place + 1, from: 0 },
            };
        }
        session.commit().await?;
        session.release();
        Ok((gone, reached))
    }

    /// Removes about `most` rows of a record; returns how many, and the time to go on at unless
    /// all are gone.
    async fn remove_some(
        &self,
        session: &Session,
        (id, from, last_time, last_seq): (i64, i64, i64, i64),
        most: i64,
    ) -> Result<(u64, Option<i64>), PersistenceError> {
        let sql = &self.engine.sql;
        let client = session.client();
        let int8 = |value| -> Parameter<'_> { (value, Type::INT8) };
        let key = [int8(&id), int8(&from), int8(&last_time), int8(&last_seq), int8(&most)];
        let bound = session.run(client.query_typed_opt(&sql.record_bound, &key)).await?;
        let (time, seq) = match &bound {
            Some(row) => (row.get(0), row.get(1)),
            None => (last_time, last_seq),
        };
        let key = [int8(&id), int8(&from), int8(&time), int8(&seq)];
        let count = session.run(client.execute_typed(&sql.record_delete, &key)).await?;
        Ok((count, bound.map(|_| time)))
    }
}
