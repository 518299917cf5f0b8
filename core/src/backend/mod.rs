//! The trait that every store of history implements.

mod polling;

use std::collections::BTreeMap;

use async_trait::async_trait;
use serde_json::Value;

use crate::aggregate::{self, Aggregate, BucketStream};
use crate::batch::{Batch, BatchId, Row};
use crate::cleanup::{CleanupPlan, Swept};
use crate::erasure::Erasure;
use crate::error::PersistenceError;
use crate::follow::{FollowPage, FollowParams};
use crate::guarantees::Guarantees;
use crate::json::DEFAULT_MAX_VALUE_BYTES;
use crate::pattern::Grammar;
use crate::predicate::{self, Predicate};
use crate::query::{QueryParams, RawRow, RecordSummary, StoredValue};
use crate::stream::RowStream;

/// A store of history.
///
/// Three methods are required: [`store`](Self::store), [`query`](Self::query) and
/// [`cleanup`](Self::cleanup). All others have a default that is right for any backend with those
/// three, and [`guarantees`](Self::guarantees) says what a backend does better than the defaults.
/// The contract that holds for all of them is in `docs/contract.md`; `annals-conformance` tests it.
///
/// Backends are shared between tasks: every method takes `&self`, and `Arc<dyn
/// PersistenceBackend>` is a backend too.
#[async_trait]
pub trait PersistenceBackend: Send + Sync {
    /// Stores `value` as a row of `record_name` at `timestamp` (Unix milliseconds).
    ///
    /// # Errors
    /// [`InvalidRecordName`](PersistenceError::InvalidRecordName),
    /// [`TimestampOutOfRange`](PersistenceError::TimestampOutOfRange),
    /// [`ValueTooLarge`](PersistenceError::ValueTooLarge) and
    /// [`ValueTooDeep`](PersistenceError::ValueTooDeep) before anything is stored
    /// ([`Row::new`](crate::Row::new) checks all four), or what the engine reports.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the row stored once or not at all.
    async fn store(
        &self,
        record_name: &str,
        value: &Value,
        timestamp: u64,
    ) -> Result<(), PersistenceError>;

    /// The rows of all records that match `record_pattern`, ordered by record name (byte order),
    /// then newest first unless `params.order` says otherwise.
    ///
    /// A row whose text is no longer JSON is skipped with a warning.
    /// [`QueryExt::query_typed`](crate::QueryExt::query_typed) counts them.
    ///
    /// # Errors
    /// [`InvalidPattern`](PersistenceError::InvalidPattern), or what the engine reports.
    ///
    /// # Cancel safety
    /// A query changes nothing: dropping the future has no effect.
    async fn query(
        &self,
        record_pattern: &str,
        params: QueryParams,
    ) -> Result<Vec<StoredValue>, PersistenceError>;

    /// Removes the rows of all records with `stored_at < older_than` (Unix milliseconds) and
    /// returns exactly how many.
    ///
    /// # Errors
    /// What the engine reports. Rows removed before it stay removed: if there were any, it comes
    /// within [`PartialCleanup`](PersistenceError::PartialCleanup), which tells how many.
    ///
    /// # Cancel safety
    /// Dropping the future may stop it half-way; calling it again does the rest.
    async fn cleanup(&self, older_than: u64) -> Result<u64, PersistenceError>;

    /// Makes the store ready: creates or upgrades what it needs. Calling it again does nothing.
    /// Any number of processes may call it at once where
    /// [`many_processes`](Guarantees::many_processes) is claimed.
    ///
    /// # Errors
    /// What the engine reports.
    ///
    /// # Cancel safety
    /// Dropping the future may leave a part of the work done; calling it again does the rest.
    async fn initialize(&self) -> Result<(), PersistenceError> {
        Ok(())
    }

    /// Stores all rows of a batch, in order.
    ///
    /// The default stores one row after the other: it can break off with
    /// [`PartialBatch`](PersistenceError::PartialBatch) and takes no notice of the batch's id.
    ///
    /// # Errors
    /// [`InvalidRow`](PersistenceError::InvalidRow) before anything is stored, or what the engine
    /// reports.
    ///
    /// # Cancel safety
    /// With [`atomic_batches`](Guarantees::atomic_batches) dropping the future leaves the batch
    /// stored once or not at all.
    async fn store_batch(&self, batch: &Batch) -> Result<(), PersistenceError> {
        batch.validate(DEFAULT_MAX_VALUE_BYTES)?;
        for (stored, row) in batch.rows().iter().enumerate() {
            let value = row.value.to_value()?;
            match self.store(row.record.as_str(), &value, row.stored_at).await {
                Ok(()) => {}
                Err(error) if stored == 0 => return Err(error),
                Err(error) => {
                    return Err(PersistenceError::PartialBatch { stored, source: Box::new(error) });
                }
            }
        }
        Ok(())
    }

    /// Whether the batch with this id, or a later one of its writer, is stored. An import that was
    /// stopped goes on behind the batches that are.
    ///
    /// # Errors
    /// [`Unsupported`](PersistenceError::Unsupported) where
    /// [`idempotent_batches`](Guarantees::idempotent_batches) is not claimed, or what the engine
    /// reports.
    ///
    /// # Cancel safety
    /// Nothing is changed.
    async fn has_batch(&self, id: BatchId) -> Result<bool, PersistenceError> {
        let _ids_are_not_kept = id;
        Err(PersistenceError::Unsupported("telling whether a batch is stored"))
    }

    /// As [`query`](Self::query), fetched page by page while it is read.
    ///
    /// The default asks [`query`](Self::query) and holds the whole result.
    ///
    /// # Errors
    /// As [`query`](Self::query); an error on the way is the stream's last item.
    ///
    /// # Cancel safety
    /// A query changes nothing. Dropping the stream releases what it holds; dropping a pending `next`
    /// loses no row.
    async fn query_stream(
        &self,
        record_pattern: &str,
        params: QueryParams,
    ) -> Result<RowStream, PersistenceError> {
        let values = self.query(record_pattern, params).await?;
        let mut rows: Vec<RawRow> = Vec::with_capacity(values.len());
        for StoredValue { record_name, value, stored_at } in values {
            let record = match rows.last() {
                Some(last) if *last.record == *record_name => last.record.clone(),
                _ => record_name.into(),
            };
            let json = serde_json::to_string(&value)?.into();
            rows.push(RawRow { record, json, stored_at });
        }
        Ok(RowStream::from_rows(rows))
    }

    /// The rows of a query that satisfy `predicate`. A limit selects the newest N of them.
    ///
    /// The default reads all rows of the window with [`query_stream`](Self::query_stream) and tests
    /// each. It is right for any backend. For the newest N rows oldest first it holds N rows.
    ///
    /// # Errors
    /// As [`query_stream`](Self::query_stream).
    ///
    /// # Cancel safety
    /// As [`query_stream`](Self::query_stream).
    async fn query_where(
        &self,
        record_pattern: &str,
        params: QueryParams,
        predicate: &Predicate,
    ) -> Result<RowStream, PersistenceError> {
        predicate::by_rows(self, record_pattern, params, predicate).await
    }

    /// What `aggregate` asks about the matching records: buckets by record name (byte order), then
    /// by start.
    ///
    /// The default reads the rows with [`query_stream`](Self::query_stream) and folds them: it is
    /// right for any backend, and one answer sees one state of the store where a query does. Memory
    /// is what the stream of rows holds, and one record's buckets.
    ///
    /// # Errors
    /// [`InvalidPattern`](PersistenceError::InvalidPattern),
    /// [`InvalidAggregate`](PersistenceError::InvalidAggregate),
    /// [`TooManyBuckets`](PersistenceError::TooManyBuckets),
    /// [`Unsupported`](PersistenceError::Unsupported) for merged records and functions that need the
    /// order in time, or what the engine reports. An error on the way, among them
    /// [`TooManySamples`](PersistenceError::TooManySamples), is the stream's last item.
    ///
    /// # Cancel safety
    /// Nothing is changed.
    async fn aggregate_stream(
        &self,
        record_pattern: &str,
        aggregate: &Aggregate,
    ) -> Result<BucketStream, PersistenceError> {
        aggregate::by_rows(self, record_pattern, aggregate).await
    }

    /// The matching rows that arrived where `params.from` begins, or behind its cursor, and the cursor
    /// behind them. Unless told not to, it waits until there is something.
    ///
    /// [`FollowExt::follow`](crate::FollowExt::follow) makes a stream of it. The order is that of the
    /// contract's FOLLOW-2.
    ///
    /// The default follows by time: it queries the rows of the last minute every
    /// [`poll_interval`](FollowParams::poll_interval), for which it needs a tokio runtime with a timer,
    /// and does not see rows that are older than one of their record that was delivered. Its cursors
    /// have some bytes for each record that was written during that minute.
    ///
    /// # Errors
    /// [`InvalidPattern`](PersistenceError::InvalidPattern),
    /// [`InvalidCursor`](PersistenceError::InvalidCursor) for a cursor of another kind of store,
    /// [`AnotherHistory`](PersistenceError::AnotherHistory) for one of another history, or what the
    /// engine reports.
    ///
    /// # Cancel safety
    /// Following changes nothing: the same call again returns the same rows.
    async fn follow_page(
        &self,
        record_pattern: &str,
        params: &FollowParams,
    ) -> Result<FollowPage, PersistenceError> {
        polling::poll_page(self, record_pattern, params).await
    }

    /// The matching records that have rows, in byte order of their names.
    ///
    /// The default reads all their rows.
    ///
    /// # Errors
    /// [`InvalidPattern`](PersistenceError::InvalidPattern), or what the engine reports.
    ///
    /// # Cancel safety
    /// A listing changes nothing: dropping the future has no effect.
    async fn records(
        &self,
        record_pattern: &str,
        grammar: Grammar,
    ) -> Result<Vec<RecordSummary>, PersistenceError> {
        let params = QueryParams { grammar, ..QueryParams::default() };
        let mut records = BTreeMap::new();
        for StoredValue { record_name, stored_at, .. } in self.query(record_pattern, params).await?
        {
            let summary = records.entry(record_name).or_insert_with_key(|name| RecordSummary {
                record: name.clone(),
                count: 0,
                first: stored_at,
                last: stored_at,
            });
            summary.count += 1;
            summary.first = summary.first.min(stored_at);
            summary.last = summary.last.max(stored_at);
        }
        Ok(records.into_values().collect())
    }

    /// Removes the rows that `plan` says are expired and returns exactly how many.
    ///
    /// The default takes a plain cut-off for all records alike and hands it to
    /// [`cleanup`](Self::cleanup).
    ///
    /// # Errors
    /// [`Unsupported`](PersistenceError::Unsupported) for any other plan where
    /// [`selective_cleanup`](Guarantees::selective_cleanup) is not claimed, or as
    /// [`cleanup`](Self::cleanup).
    ///
    /// # Cancel safety
    /// As [`cleanup`](Self::cleanup): dropping the future may stop it part-way.
    async fn cleanup_plan(&self, plan: &CleanupPlan) -> Result<u64, PersistenceError> {
        self.cleanup(plan.plain_only()?).await
    }

    /// As [`cleanup_plan`](Self::cleanup_plan), but leaves the work to another process that is at
    /// it already. [`Retention`](crate::Retention) calls this from each of many replicas.
    ///
    /// The default never leaves it.
    ///
    /// # Errors
    /// As [`cleanup_plan`](Self::cleanup_plan).
    ///
    /// # Cancel safety
    /// As [`cleanup`](Self::cleanup): dropping the future may stop it part-way.
    async fn sweep(&self, plan: &CleanupPlan) -> Result<Swept, PersistenceError> {
        let removed = self.cleanup_plan(plan).await?;
        Ok(Swept { removed, finished: true })
    }

    /// Removes the rows that `erasure` selects, all at once, and returns exactly how many.
    ///
    /// This is for what must go: what a person wants forgotten, or what should not have been recorded.
    /// A batch keeps its id, so that it is not stored again. For what is old, see
    /// [`cleanup_plan`](Self::cleanup_plan).
    ///
    /// # Errors
    /// [`Unsupported`](PersistenceError::Unsupported) where [`erasure`](Guarantees::erasure) is not
    /// claimed, which is the default; or what the engine reports.
    ///
    /// # Cancel safety
    /// Dropping the future leaves all of these rows there or none.
    async fn erase(&self, erasure: &Erasure) -> Result<u64, PersistenceError> {
        let _stays = erasure;
        Err(PersistenceError::Unsupported("erasing rows"))
    }

    /// Replaces the value of the row that the record of `row` has at its time by that of `row`, letter
    /// for letter, and returns whether there is one. Of several rows at that time it is the last to
    /// arrive. The row keeps its time and its place in the order of arrival.
    ///
    /// # Errors
    /// As [`store`](Self::store), before anything is changed;
    /// [`Unsupported`](PersistenceError::Unsupported) where [`erasure`](Guarantees::erasure) is not
    /// claimed, which is the default; or what the engine reports.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the row with its old or its new value.
    async fn correct(&self, row: &Row) -> Result<bool, PersistenceError> {
        let _stays = row;
        Err(PersistenceError::Unsupported("correcting rows"))
    }

    /// Whether the store can be reached and asked.
    ///
    /// The default asks for nothing of no record.
    ///
    /// # Errors
    /// What the engine reports.
    ///
    /// # Cancel safety
    /// The check changes nothing: dropping the future has no effect.
    async fn health(&self) -> Result<(), PersistenceError> {
        self.query("health", QueryParams::latest(0)).await.map(drop)
    }

    /// Waits until everything accepted is stored and lets go of the store. Every later call, on
    /// any clone, fails with [`BackendShutdown`](PersistenceError::BackendShutdown); closing again
    /// does nothing.
    ///
    /// The default does nothing: a backend with three methods holds nothing back.
    ///
    /// # Errors
    /// What the engine reports.
    ///
    /// # Cancel safety
    /// Once polled, the backend closes even if the future is dropped; call it again to wait for the end.
    async fn close(&self) -> Result<(), PersistenceError> {
        Ok(())
    }

    /// What this backend does better than the defaults.
    fn guarantees(&self) -> Guarantees {
        Guarantees::default()
    }
}
