//! Aggregates: the server computes buckets, in one snapshot; what it cannot compute is folded here.
//!
//! Records are visited in chunks, in order of name. For counts, sums, extremes, ends, percentiles and
//! what is weighted by time the server [groups](groups) the rows of a chunk, and no row travels. For standard
//! deviations, and for buckets whose sums are not exact enough, it sends times and samples. If it cannot
//! [find](extract) a sample, the rows of that record are sent and folded as any backend's rows are.

mod extract;
mod groups;
mod window;

use std::collections::HashMap;
use std::pin::pin;
use std::sync::Arc;

use annals_core::aggregate::{Plan, Series};
use annals_core::{Bucket, BucketStream, ErrorKind, PersistenceError, Result};
use futures::{TryStreamExt, stream};
use tokio::sync::{mpsc, oneshot};
use tokio_postgres::types::Type;

use crate::engine::Engine;
use crate::error;
use crate::layout::{Kind, Layout};
use crate::net::{Parameter, Session, int8, int8s};
use crate::read::{Named, begin};
use crate::sql::Sql;
use crate::worker::Worker;
use extract::Extract;
use groups::{Grid, Group, Wanted, are_exact, can_group};

const OPERATION: &str = "aggregate";

/// The most groups of one statement, which are all in memory here.
const GROUPS: usize = 200_000;

/// A bucket with more samples is divided if its sum is not exact enough.
const MANY: u64 = 4_096;

/// Begins an answer, unless the server cannot compute any of it. Its snapshot is taken when this
/// returns.
pub(crate) async fn open(worker: &Arc<Worker>, plan: Arc<Plan>) -> Result<Option<BucketStream>> {
    // What a state or a predicate needs of a row is more than its sample.
    if plan.needs().states
        || plan.predicate().is_some()
        || Extract::new(plan.member(), true).is_none()
    {
        return Ok(None);
    }
    let (sender, records) = mpsc::channel(1);
    let (opened, opening) = oneshot::channel();
    worker.spawn(serve(worker.engine().clone(), plan, opened, sender))?;
    opening.await.map_err(|_| PersistenceError::BackendShutdown)??;
    // The stream counts as a handle: its task runs on the backend's thread.
    let state = (records, worker.clone());
    Ok(Some(BucketStream::new(stream::unfold(state, |(mut records, worker)| async {
        match records.recv().await {
            Some(Message::Buckets(buckets)) => Some((buckets, (records, worker))),
            Some(Message::End) => None,
            // The task ended without a word: its thread is gone.
            None => Some((Err(PersistenceError::BackendShutdown), (records, worker))),
        }
    }))))
}

enum Message {
    Buckets(Result<Vec<Bucket>>),
    End,
}

async fn serve(
    engine: Arc<Engine>,
    plan: Arc<Plan>,
    opened: oneshot::Sender<Result<()>>,
    records: mpsc::Sender<Message>,
) {
    let mut opened = Some(opened);
    let answered = tokio::select! {
        // Dropping `answer` closes its connection and cancels its statement on the server.
        () = records.closed() => return,
        answered = answer(&engine, &plan, &mut opened, &records) => answered,
    };
    let last = match (answered, opened) {
        (Ok(()), _) => Message::End,
        (Err(error), Some(opened)) => {
            // The caller may have dropped its future.
            let _ = opened.send(Err(error));
            return;
        }
        (Err(error), None) => Message::Buckets(Err(error)),
    };
    let _ = records.send(last).await;
}

async fn answer(
    engine: &Engine,
    plan: &Arc<Plan>,
    opened: &mut Option<oneshot::Sender<Result<()>>>,
    records: &mpsc::Sender<Message>,
) -> Result<()> {
    let layout = &**engine.schema.readable(&engine.pools).await?;
    let _permit = engine.pools.stream_permit(OPERATION).await?;
    let (session, mut names, mut page) = begin(engine, layout, OPERATION, plan.pattern()).await?;
    if let Some(opened) = opened.take() {
        // If the caller is gone, `records` is closed as well, which ends the task.
        let _ = opened.send(Ok(()));
    }
    let fenced = layout.kind() != Kind::Distributed;
    let Some(extract) = Extract::new(plan.member(), fenced) else { return Ok(()) };
    let merged = plan.merges().then(|| Series::merged(plan.clone()));
    let sql = &engine.schema.sql;
    let mut answer =
        Answer { sql, layout, session: &session, plan, extract, merged, done: 0, records };
    let everything = names.is_done();
    while !page.is_empty() {
        let at_once = layout.records_at_once().min(page.len());
        for some in page.chunks(at_once) {
            answer.chunk(some, everything && at_once == page.len()).await?;
        }
        page = names.next(&session).await?;
    }
    if let Some(merged) = answer.merged.take() {
        answer.send(merged.finish()?).await;
    }
    session.finish().await
}

/// An answer in progress.
struct Answer<'a> {
    sql: &'a Sql,
    layout: &'a dyn Layout,
    session: &'a Session,
    plan: &'a Arc<Plan>,
    extract: Extract,
    /// All records, where they are merged.
    merged: Option<Series>,
    /// How many records are finished.
    done: usize,
    records: &'a mpsc::Sender<Message>,
}

impl Answer<'_> {
    /// Answers for some records. `everything`: they are all that match.
    async fn chunk(&mut self, records: &[Named], everything: bool) -> Result<()> {
        let before = self.done;
        self.session.execute("SAVEPOINT annals_chunk").await?;
        let answered = match can_group(self.plan) {
            true => self.grouped(records, everything).await,
            false => self.sampled(records).await,
        };
        match &answered {
            Err(error) if error::is_data(error) => {}
            _ => answered?,
        }
        // This undoes the settings of the chunk as well.
        self.session
            .execute("ROLLBACK TO SAVEPOINT annals_chunk; RELEASE SAVEPOINT annals_chunk")
            .await?;
        // What is left has rows that the server cannot take apart, or too many buckets for one
        // statement: record by record, and then row by row.
        let rest = &records[self.done - before..];
        match records {
            [record] if !rest.is_empty() => self.by_rows(record).await,
            _ => {
                for record in rest {
                    Box::pin(self.chunk(std::slice::from_ref(record), false)).await?;
                }
                Ok(())
            }
        }
    }

    /// Lets the server compute the buckets. Leaves the records undone if they have to be divided.
    async fn grouped(&mut self, records: &[Named], everything: bool) -> Result<()> {
        let ids: Vec<i64> = records.iter().map(|record| record.id).collect();
        let Some(reach) = self.reach(&ids).await? else {
            return self.without_groups(records).await;
        };
        let (first, last) = reach.times;
        let Some((grid, groups)) = Grid::buckets(self.plan, first, last)? else {
            return if records.len() == 1 { self.sampled(records).await } else { Ok(()) };
        };
        let most = (GROUPS / groups).max(1);
        if records.len() > most {
            for some in records.chunks(most) {
                Box::pin(self.chunk(some, false)).await?;
            }
            return Ok(());
        }
        // Most rows of the table in one pass, or else a seek for each record. There may be no
        // statistics yet for the planner to decide.
        let in_one_pass = everything && self.is_most(&reach).await?;
        let settings = match in_one_pass {
            true => {
                "SET LOCAL enable_seqscan = on; SET LOCAL enable_bitmapscan = on; \
                 SET LOCAL enable_sort = on; \
                 SET LOCAL max_parallel_workers_per_gather TO DEFAULT"
            }
            false => "SET LOCAL enable_sort = on",
        };
        self.session.execute(settings).await?;
        let mut of_records: HashMap<i64, Vec<Group>> = HashMap::with_capacity(records.len());
        // Without the ids, a seek would walk the whole index.
        let all = in_one_pass && self.plan.pattern().is_all();
        for group in self.groups(&ids, (first, last), &grid, all).await? {
            of_records.entry(group.record_id).or_default().push(group);
        }
        let existing = self.existing(&ids).await?;
        for record in records {
            let groups = of_records.remove(&record.id).unwrap_or_default();
            if groups.is_empty() && !existing.contains(&record.id) {
                self.done += 1;
                continue;
            }
            let mut series = self.series(record).await?;
            for group in groups {
                self.add(record, group, &mut series).await?;
            }
            self.finish(series).await?;
        }
        Ok(())
    }

    /// The groups of some records, in order of time.
    async fn groups(
        &self,
        ids: &Vec<i64>,
        (first, last): (i64, i64),
        grid: &Grid,
        all: bool,
    ) -> Result<Vec<Group>> {
        let wanted = Wanted::new(self.plan);
        let select = wanted.statement(self.sql, self.plan, &self.extract, grid, all);
        let mut parameters = vec![int8s(ids), int8(&first), int8(&last)];
        parameters.extend(grid.parameters());
        let rows = self.session.client().query_typed_raw(&select, parameters);
        let mut rows = pin!(self.session.run(rows).await?);
        let mut groups = Vec::new();
        while let Some(row) = self.session.run(rows.try_next()).await? {
            groups.push(Group::read(wanted, self.plan, &row));
        }
        groups.sort_unstable_by_key(|group| group.rows);
        Ok(groups)
    }

    /// Adds a bucket: as the server computed it, from parts of it, or from its samples.
    async fn add(&self, record: &Named, bucket: Group, series: &mut Series) -> Result<()> {
        let (first, last) = bucket.rows;
        let mut groups = vec![bucket];
        // Percentiles are those of whole buckets.
        let divides = self.plan.percentiles().is_empty() && groups[0].count > MANY;
        if !are_exact(&groups) && divides {
            let grid = Grid::pieces((first, last), groups[0].count);
            let times = (first.cast_signed(), last.cast_signed());
            groups = self.groups(&vec![record.id], times, &grid, false).await?;
        }
        if !are_exact(&groups) {
            return self.samples(record, (first, last), series).await.map(drop);
        }
        for group in groups {
            series.partial(group.rows, group.partial())?;
        }
        Ok(())
    }

    async fn without_groups(&mut self, records: &[Named]) -> Result<()> {
        let ids = records.iter().map(|record| record.id).collect();
        let existing = self.existing(&ids).await?;
        for record in records {
            match existing.contains(&record.id) {
                true => {
                    let series = self.series(record).await?;
                    self.finish(series).await?;
                }
                false => self.done += 1,
            }
        }
        Ok(())
    }

    /// A series with its last sample before the window, if that is needed.
    async fn series(&self, record: &Named) -> Result<Series> {
        let mut series = Series::new(self.plan.clone(), record.name.clone());
        if let Some(sample) = self.before(record).await? {
            series.before(sample);
        }
        Ok(series)
    }

    /// Lets the server send times and samples.
    async fn sampled(&mut self, records: &[Named]) -> Result<()> {
        let ids = records.iter().map(|record| record.id).collect();
        let existing = self.existing(&ids).await?;
        for record in records {
            let mut series = self.series(record).await?;
            let has_rows = self.samples(record, self.plan.window(), &mut series).await?;
            match has_rows || existing.contains(&record.id) {
                true => self.finish(series).await?,
                false => self.done += 1,
            }
        }
        Ok(())
    }

    /// Adds the samples of a record between two times, inclusive; returns whether it has rows there.
    async fn samples(
        &self,
        record: &Named,
        times: (u64, u64),
        series: &mut Series,
    ) -> Result<bool> {
        let rows = format!("({}) AS rows", self.layout.oldest_first(self.sql));
        let select = self.extract.samples("place, stored_at", &rows);
        self.fetch(&select, record, times, |at, row| match row.get::<_, Option<f64>>(2) {
            Some(value) => series.sample(at, value),
            None => series.skip(at),
        })
        .await
    }

    /// Folds a record's rows here.
    async fn by_rows(&mut self, record: &Named) -> Result<()> {
        let mut series = Series::new(self.plan.clone(), record.name.clone());
        let params = self.plan.rows();
        let times = (params.start_time.unwrap_or(0), params.end_time.unwrap_or(u64::MAX));
        let select = self.layout.oldest_first(self.sql);
        let has_rows =
            self.fetch(&select, record, times, |at, row| series.row(at, row.get(2))).await?;
        match has_rows {
            true => self.finish(series).await,
            false => {
                self.done += 1;
                Ok(())
            }
        }
    }

    async fn fetch(
        &self,
        select: &str,
        record: &Named,
        (from, to): (u64, u64),
        mut add: impl FnMut(u64, &tokio_postgres::Row) -> Result<()>,
    ) -> Result<bool> {
        let (id, from) = (vec![record.id], from.cast_signed());
        let (to, limit) = (i64::try_from(to).unwrap_or(i64::MAX), None::<i64>);
        let parameters: [Parameter<'_>; 4] =
            [int8s(&id), int8(&from), int8(&to), (&limit, Type::INT8)];
        let rows = self.session.client().query_typed_raw(select, parameters);
        let mut rows = pin!(self.session.run(rows).await?);
        let mut last = None;
        while let Some(row) = self.session.run(rows.try_next()).await? {
            let at: i64 = row.get(1);
            if last.replace(at).is_some_and(|last| last > at) {
                let message = "a bug: the server's plan did not keep the rows in order";
                return Err(error::own(OPERATION, ErrorKind::Other, message));
            }
            add(at.cast_unsigned(), &row)?;
        }
        Ok(last.is_some())
    }

    /// Sends the buckets of a record that is complete, unless records are merged.
    async fn finish(&mut self, series: Series) -> Result<()> {
        match &mut self.merged {
            Some(merged) => merged.merge(series)?,
            None => {
                let buckets = series.finish()?;
                self.send(buckets).await;
            }
        }
        self.done += 1;
        Ok(())
    }

    async fn send(&self, buckets: Vec<Bucket>) {
        if !buckets.is_empty() {
            // If the receiver is gone, the task is about to end.
            let _ = self.records.send(Message::Buckets(Ok(buckets))).await;
        }
    }
}
