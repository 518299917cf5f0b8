//! The reference: the contract in the plainest data structures there are.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use serde_json::Value;
use tokio::sync::watch;

use crate::aggregate::{self, Aggregate, BucketStream};
use crate::backend::PersistenceBackend;
use crate::batch::{Batch, BatchId, Row};
use crate::cleanup::{CleanupPlan, Swept};
use crate::erasure::Erasure;
use crate::error::PersistenceError;
use crate::follow::{FollowFrom, FollowPage, FollowParams, Origin, Position};
use crate::guarantees::{Durability, Guarantees};
use crate::json::DEFAULT_MAX_VALUE_BYTES;
use crate::pattern::{Grammar, Pattern};
use crate::predicate::{self, Predicate};
use crate::query::{Order, Query, QueryParams, RawRow, RecordSummary, StoredValue};
use crate::stream::RowStream;

#[cfg(test)]
mod copies;

/// The kind of its cursors.
const KIND: &str = "memory";

/// A history in memory: the reference the engines are compared with, and a backend for tests.
///
/// Clones share one history. It is gone with the last clone, so it claims no durability; a query's
/// result is held in memory whole, so it claims no streaming.
///
/// ```
/// # use annals_core::{MemoryBackend, PersistenceBackend, QueryExt};
/// # use serde_json::json;
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let history = MemoryBackend::new();
/// history.store("temperature", &json!(21.5), 1_000).await?;
/// history.store("temperature", &json!(22.0), 2_000).await?;
/// let latest: Vec<f64> = history.query_latest("temp*", 1).await?;
/// assert_eq!(latest, [22.0]);
/// # Ok::<(), annals_core::PersistenceError>(()) }).unwrap();
/// ```
#[derive(Debug, Clone)]
pub struct MemoryBackend {
    history: Arc<Mutex<History>>,
    max_value_bytes: usize,
}

#[derive(Debug)]
struct History {
    identity: u64,
    origin: Option<Origin>,
    /// Per record its rows by time, equal times in order of arrival.
    records: BTreeMap<Arc<str>, Vec<Stored>>,
    /// The number under which the last row arrived, for those who wait for more.
    arrivals: watch::Sender<u64>,
    /// The last batch number of each writer.
    writers: HashMap<u128, u64>,
    closed: bool,
}

#[derive(Debug, Clone)]
struct Stored {
    stored_at: u64,
    json: Arc<str>,
    /// Rows are numbered from 1 as they arrive.
    arrival: u64,
}

impl Default for MemoryBackend {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryBackend {
    /// An empty history.
    pub fn new() -> Self {
        Self::with_history(History {
            identity: fastrand::u64(..),
            origin: None,
            records: BTreeMap::new(),
            arrivals: watch::Sender::default(),
            writers: HashMap::new(),
            closed: false,
        })
    }

    fn with_history(history: History) -> Self {
        let history = Arc::new(Mutex::new(history));
        Self { history, max_value_bytes: DEFAULT_MAX_VALUE_BYTES }
    }

    /// Sets the largest value taken, in bytes of JSON text.
    #[must_use]
    pub fn with_max_value_bytes(mut self, max_value_bytes: usize) -> Self {
        self.max_value_bytes = max_value_bytes;
        self
    }

    fn open(&self) -> Result<MutexGuard<'_, History>, PersistenceError> {
        // A panic while the lock was held leaves whole rows: every change is one push or drain.
        let history = self.history.lock().unwrap_or_else(PoisonError::into_inner);
        if history.closed { Err(PersistenceError::BackendShutdown) } else { Ok(history) }
    }
}

impl History {
    fn insert(&mut self, row: &Row) {
        let rows = self.records.entry(row.record.clone().into_shared()).or_default();
        let after_equals = rows.partition_point(|stored| stored.stored_at <= row.stored_at);
        self.arrivals.send_modify(|last| *last += 1);
        let (stored_at, arrival) = (row.stored_at, *self.arrivals.borrow());
        let json = row.value.clone().into_shared();
        rows.insert(after_equals, Stored { stored_at, json, arrival });
    }

    /// The matching rows behind a position in order of arrival, and their numbers.
    fn arrived(&self, pattern: &Pattern, position: &Position) -> Vec<(u64, RawRow)> {
        let mut arrived = Vec::new();
        for (record, rows) in self.records.iter().filter(|(record, _)| pattern.matches(record)) {
            let new = rows
                .iter()
                .filter(|row| row.arrival > position.arrival && row.stored_at >= position.since);
            arrived.extend(new.map(|row| {
                (row.arrival, RawRow::new(record.clone(), row.json.clone(), row.stored_at))
            }));
        }
        arrived.sort_unstable_by_key(|(arrival, _)| *arrival);
        arrived
    }

    fn select(&self, query: &Query) -> Vec<RawRow> {
        let mut selected = Vec::new();
        for (record, rows) in &self.records {
            if query.is_empty() || !query.pattern.matches(record) {
                continue;
            }
            let from = rows.partition_point(|row| row.stored_at < query.from);
            let to = rows.partition_point(|row| row.stored_at <= query.to);
            let in_window = rows.get(from..to).unwrap_or_default();
            let limit = usize::try_from(query.limit.unwrap_or(u64::MAX)).unwrap_or(usize::MAX);
            let newest = in_window.iter().rev().take(limit).map(|row| RawRow {
                record: record.clone(),
                json: row.json.clone(),
                stored_at: row.stored_at,
            });
            let first = selected.len();
            selected.extend(newest);
            if query.order == Order::OldestFirst {
                selected[first..].reverse();
            }
        }
        selected
    }

    fn sweep(&mut self, plan: &CleanupPlan) -> u64 {
        let mut removed = 0;
        for (record, rows) in &mut self.records {
            let Some(cutoff) = plan.cutoff_for(record) else { continue };
            let kept = usize::try_from(plan.keep_newest).unwrap_or(usize::MAX);
            let expired = rows.partition_point(|row| row.stored_at < cutoff);
            let expired = expired.min(rows.len().saturating_sub(kept));
            rows.drain(..expired);
            removed += expired as u64;
        }
        self.records.retain(|_, rows| !rows.is_empty());
        removed
    }

    fn erase(&mut self, erasure: &Erasure) -> u64 {
        let Some((from, to)) = erasure.window() else { return 0 };
        let mut removed = 0;
        for (record, rows) in &mut self.records {
            if !erasure.pattern.matches(record) {
                continue;
            }
            let before = rows.len();
            rows.retain(|row| !(from..=to).contains(&row.stored_at) || !erasure.takes(&row.json));
            removed += (before - rows.len()) as u64;
        }
        self.records.retain(|_, rows| !rows.is_empty());
        removed
    }

    fn correct(&mut self, row: Row) -> bool {
        let Some(rows) = self.records.get_mut(row.record.as_str()) else { return false };
        let after_equals = rows.partition_point(|stored| stored.stored_at <= row.stored_at);
        match rows[..after_equals].last_mut() {
            Some(stored) if stored.stored_at == row.stored_at => {
                stored.json = row.value.into_shared();
                true
            }
            _ => false,
        }
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl PersistenceBackend for MemoryBackend {
    async fn store(
        &self,
        record_name: &str,
        value: &Value,
        timestamp: u64,
    ) -> Result<(), PersistenceError> {
        let row = Row::with_limit(record_name, value, timestamp, self.max_value_bytes)?;
        self.open()?.insert(&row);
        Ok(())
    }

    async fn query(
        &self,
        record_pattern: &str,
        params: QueryParams,
    ) -> Result<Vec<StoredValue>, PersistenceError> {
        self.query_stream(record_pattern, params).await?.into_values().await
    }

    async fn cleanup(&self, older_than: u64) -> Result<u64, PersistenceError> {
        self.cleanup_plan(&CleanupPlan::older_than(older_than)).await
    }

    async fn initialize(&self) -> Result<(), PersistenceError> {
        self.open().map(drop)
    }

    async fn store_batch(&self, batch: &Batch) -> Result<(), PersistenceError> {
        batch.validate(self.max_value_bytes)?;
        let mut history = self.open()?;
        if let Some(id) = batch.id() {
            let last = history.writers.entry(id.writer).or_default();
            if id.number <= *last {
                return Ok(());
            }
            *last = id.number;
        }
        batch.rows().iter().for_each(|row| history.insert(row));
        Ok(())
    }

    async fn has_batch(&self, id: BatchId) -> Result<bool, PersistenceError> {
        let history = self.open()?;
        Ok(history.writers.get(&id.writer).is_some_and(|last| *last >= id.number))
    }

    async fn query_stream(
        &self,
        record_pattern: &str,
        params: QueryParams,
    ) -> Result<RowStream, PersistenceError> {
        let query = Query::new(record_pattern, &params)?;
        Ok(RowStream::from_rows(self.open()?.select(&query)))
    }

    async fn query_where(
        &self,
        record_pattern: &str,
        params: QueryParams,
        predicate: &Predicate,
    ) -> Result<RowStream, PersistenceError> {
        let mut all = Query::new(record_pattern, &params)?;
        all.limit = all.limit.filter(|limit| *limit == 0);
        let rows = RowStream::from_rows(self.open()?.select(&all));
        Ok(predicate::filtered(params, predicate, rows))
    }

    async fn aggregate_stream(
        &self,
        record_pattern: &str,
        aggregate: &Aggregate,
    ) -> Result<BucketStream, PersistenceError> {
        aggregate::by_rows(self, record_pattern, aggregate).await
    }

    async fn follow_page(
        &self,
        record_pattern: &str,
        params: &FollowParams,
    ) -> Result<FollowPage, PersistenceError> {
        let pattern = Pattern::new(record_pattern, params.grammar)?;
        let (history, origin, mut arrivals) = {
            let history = self.open()?;
            (history.identity, history.origin, history.arrivals.subscribe())
        };
        let first = Position { history, ..Position::default() };
        let mut position = match &params.from {
            FollowFrom::Cursor(cursor) => Position::resume(KIND, history, cursor)?,
            FollowFrom::Time(since) => Position { since: *since, ..first },
            FollowFrom::Now => Position { arrival: *arrivals.borrow_and_update(), ..first },
            FollowFrom::Latest(newest) => {
                let latest = QueryParams::latest(*newest).with_order(Order::OldestFirst);
                let query = Query::new(record_pattern, &latest.with_grammar(params.grammar))?;
                let history = self.open()?;
                let position = Position { arrival: *history.arrivals.borrow(), ..first };
                let rows = history.select(&query);
                if !rows.is_empty() {
                    return Ok(FollowPage::new(rows, position.cursor(KIND)?, true));
                }
                position
            }
        };
        loop {
            arrivals.mark_unchanged();
            let (mut arrived, last) = {
                let history = self.open()?;
                let last = *arrivals.borrow_and_update();
                (history.arrived(&pattern, &position), last)
            };
            let caught_up = arrived.len() <= params.page_rows;
            arrived.truncate(params.page_rows);
            if arrived.is_empty() && params.wait {
                position.arrival = position.arrival.max(last);
                drop(arrivals.changed().await);
                continue;
            }
            let (numbers, rows): (Vec<u64>, Vec<RawRow>) = arrived.into_iter().unzip();
            let end = if caught_up { last } else { numbers.last().copied().unwrap_or(last) };
            let at = move |arrival: u64| {
                Position { arrival: arrival.max(position.arrival), ..position }.cursor(KIND)
            };
            let page = FollowPage::new(rows, at(end)?, caught_up).with_origin(origin);
            return Ok(page.with_row_cursors(move |rows| {
                rows.checked_sub(1).and_then(|row| numbers.get(row)).and_then(|n| at(*n).ok())
            }));
        }
    }

    async fn records(
        &self,
        record_pattern: &str,
        grammar: Grammar,
    ) -> Result<Vec<RecordSummary>, PersistenceError> {
        let pattern = Pattern::new(record_pattern, grammar)?;
        let history = self.open()?;
        let matching = history.records.iter().filter(|(record, _)| pattern.matches(record));
        let summaries = matching.filter_map(|(record, rows)| {
            Some(RecordSummary {
                record: record.as_ref().to_owned(),
                count: rows.len() as u64,
                first: rows.first()?.stored_at,
                last: rows.last()?.stored_at,
            })
        });
        Ok(summaries.collect())
    }

    async fn cleanup_plan(&self, plan: &CleanupPlan) -> Result<u64, PersistenceError> {
        Ok(self.open()?.sweep(plan))
    }

    async fn sweep(&self, plan: &CleanupPlan) -> Result<Swept, PersistenceError> {
        let removed = self.cleanup_plan(plan).await?;
        Ok(Swept { removed, finished: true })
    }

    async fn erase(&self, erasure: &Erasure) -> Result<u64, PersistenceError> {
        Ok(self.open()?.erase(erasure))
    }

    async fn correct(&self, row: &Row) -> Result<bool, PersistenceError> {
        row.validate(self.max_value_bytes)?;
        Ok(self.open()?.correct(row.clone()))
    }

    async fn health(&self) -> Result<(), PersistenceError> {
        self.open().map(drop)
    }

    async fn close(&self) -> Result<(), PersistenceError> {
        let mut history = self.history.lock().unwrap_or_else(PoisonError::into_inner);
        history.closed = true;
        // Wakes those who wait.
        history.arrivals.send_modify(|_| {});
        Ok(())
    }

    fn guarantees(&self) -> Guarantees {
        Guarantees {
            durability: Durability::Volatile,
            atomic_batches: true,
            idempotent_batches: true,
            snapshot_queries: true,
            streamed_queries: false,
            selective_cleanup: true,
            erasure: true,
            many_processes: false,
            complete_follow: true,
        }
    }
}
