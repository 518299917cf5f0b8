//! Sweeping in bounded steps: stores and queries go on meanwhile.

use std::sync::Arc;

use annals_core::{CleanupPlan, ErrorKind, Pattern, PersistenceError};
use tokio_postgres::types::ToSql;

use crate::engine::Engine;
use crate::read::{NamePages, Named};

const OPERATION: &str = "cleanup";

/// Rows per step: a transaction of some ten milliseconds.
const STEP: i64 = 5000;

/// Removes what `plan` lets go, step by step, each step a transaction with a connection of its own.
pub(crate) async fn sweep(engine: Arc<Engine>, plan: CleanupPlan) -> Result<u64, PersistenceError> {
    engine.ready().await?;
    let mut removed = 0;
    let mut names = NamePages::new(Pattern::all());
    loop {
        let session = engine.reader(OPERATION).await?;
        let records = names.next(&engine, &session).await?;
        session.release();
        if records.is_empty() {
            break;
        }
        let spans = spans(&engine, &plan, &records).await?;
        removed += remove(&engine, spans).await?;
        prune(&engine, &records).await?;
    }
    let session = engine.reader(OPERATION).await?;
    let client = session.client();
    session.run(client.batch_execute(&engine.sql.begin_sweep)).await?;
    session.run(client.batch_execute(&engine.sql.expire_writers)).await?;
    session.commit().await?;
    session.release();
    Ok(removed)
}

/// What goes of some records: the rows up to a time and, at that time, up to a `seq`.
#[derive(Default)]
struct Spans {
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

async fn spans(
    engine: &Engine,
    plan: &CleanupPlan,
    records: &[Named],
) -> Result<Spans, PersistenceError> {
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
    let session = engine.reader(OPERATION).await?;
    let client = session.client();
    session.run(client.batch_execute(&engine.sql.begin_sweep)).await?;
    let rows = session.run(client.query(&engine.sql.keep_bounds, &[&ids, &keep])).await?;
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

async fn remove(engine: &Engine, mut spans: Spans) -> Result<u64, PersistenceError> {
    let mut removed = 0;
    while !spans.ids.is_empty() {
        let session = engine.reader(OPERATION).await?;
        let client = session.client();
        let step = session.run(client.prepare_cached(&engine.sql.sweep_step)).await?;
        session.run(client.batch_execute(&engine.sql.begin_sweep)).await?;
        let Spans { ids, from_time, last_time, last_seq } = &spans;
        let parameters: [&(dyn ToSql + Sync); 5] = [ids, from_time, last_time, last_seq, &STEP];
        let row = session.run(client.query_one(&step, &parameters)).await?;
        session.commit().await?;
        session.release();
        let (gone, doomed): (i64, i64) = (row.get(0), row.get(1));
        removed += gone.cast_unsigned();
        let reached = row.get::<_, Option<i64>>(2).zip(row.get::<_, Option<i64>>(3));
        match reached {
            Some((place, time)) if doomed == STEP => {
                spans.go_on_at(usize::try_from(place - 1).unwrap_or(0), time);
            }
            _ => break,
        }
    }
    Ok(removed)
}

/// Forgets the names of records without rows.
///
/// Other processes have ids cached. They share a lock while they store, and compare the generation
/// of names before they commit: taking the lock alone waits for those who compared already, and
/// raising the generation turns the others back.
async fn prune(engine: &Engine, records: &[Named]) -> Result<(), PersistenceError> {
    let ids: Vec<i64> = records.iter().map(|record| record.id).collect();
    let session = engine.reader(OPERATION).await?;
    let client = session.client();
    let empty = session.run(client.prepare_cached(&engine.sql.empty_records)).await?;
    session.run(client.batch_execute(&engine.sql.begin_sweep)).await?;
    let rows = session.run(client.query(&empty, &[&ids])).await?;
    if !rows.is_empty() {
        let empty: Vec<i64> = rows.iter().map(|row| row.get(0)).collect();
        match session.run(client.batch_execute(&engine.sql.lock_names)).await {
            // Somebody's store takes long. Names without rows are not listed: another time will do.
            Err(PersistenceError::Backend(error)) if error.kind() == ErrorKind::Busy => {
                tracing::debug!(%error, "names without rows stay for now");
                return Ok(());
            }
            locked => locked?,
        }
        if session.run(client.execute(&engine.sql.prune, &[&empty])).await? > 0 {
            session.run(client.batch_execute(&engine.sql.raise_generation)).await?;
        }
    }
    session.commit().await?;
    session.release();
    Ok(())
}
