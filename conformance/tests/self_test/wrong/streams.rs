//! Backends whose streams are no snapshot, or hold what others need.

use std::sync::atomic::{AtomicUsize, Ordering};

use annals_core::{
    BackendError, Batch, ErrorKind, Grammar, Guarantees, MemoryBackend, Order, PersistenceBackend,
    QueryParams, RawRow, RowStream, Value, async_trait,
};
use futures::stream::{self, StreamExt};

use crate::subject::{Subject, twisted};
use crate::twist::{Result, Twist, select};

pub(super) fn subjects() -> Vec<Subject> {
    vec![
        twisted("no_snapshot", || NoSnapshot, &["QUERY-3"]).unseen_by_random(),
        twisted(
            "snapshot_of_the_first_pages",
            || SnapshotOfTheFirstPages,
            &["QUERY-3", "CORRECT-1"],
        )
        .unseen_by_random()
        .caught_by("query_3_a_long_stream_sees_batches_whole_or_not_at_all"),
        twisted("streams_are_leaked", || LeaksStreams(0.into()), &["QUERY-4"]).unseen_by_random(),
        twisted("readers_lock_writers_out", ReadersLockWritersOut::default, &["QUERY-4"])
            .unseen_by_random(),
    ]
}

/// Every record is read when the stream gets to it.
struct NoSnapshot;

#[async_trait]
impl Twist for NoSnapshot {
    async fn stream(
        &self,
        inner: &MemoryBackend,
        pattern: &str,
        params: QueryParams,
    ) -> Result<RowStream> {
        let mut names: Vec<String> = Vec::new();
        // Which rows there are at all is asked in one go, so that crossed bounds stay empty.
        for row in select(
            inner,
            pattern,
            params.with_limit_per_record(params.limit_per_record.map(|n| n.min(1))),
        )
        .await?
        {
            if names.last().is_none_or(|last| **last != *row.record) {
                names.push(row.record.to_string());
            }
        }
        let (inner, params) = (inner.clone(), params.with_grammar(Grammar::Glob));
        let pages =
            stream::unfold((names.into_iter(), inner), move |(mut names, inner)| async move {
                let rows = select(&inner, &names.next()?, params).await;
                Some((rows, (names, inner)))
            });
        Ok(RowStream::from_pages(pages))
    }
}

/// What is on the first pages is of one state of the store, and the rest of a later one.
struct SnapshotOfTheFirstPages;

#[async_trait]
impl Twist for SnapshotOfTheFirstPages {
    async fn stream(
        &self,
        inner: &MemoryBackend,
        pattern: &str,
        params: QueryParams,
    ) -> Result<RowStream> {
        const FIRST: usize = 5_000;
        let mut rows = select(inner, pattern, params).await?;
        if rows.len() <= FIRST {
            return Ok(RowStream::from_rows(rows));
        }
        rows.truncate(FIRST);
        let last = rows[FIRST - 1].clone();
        let (inner, pattern) = (inner.clone(), pattern.to_owned());
        let rest = stream::once(async move {
            let mut rows = select(&inner, &pattern, params).await?;
            // What comes behind the last one, wherever that is now.
            let behind = |row: &RawRow| match params.order {
                Order::NewestFirst => row.stored_at < last.stored_at,
                Order::OldestFirst => row.stored_at > last.stored_at,
            };
            rows.retain(|row| row.record > last.record || row.record == last.record && behind(row));
            Ok(rows)
        });
        Ok(RowStream::from_pages(stream::iter([Ok(rows)]).chain(rest)))
    }
}

/// A stream keeps its connection when it is dropped.
struct LeaksStreams(AtomicUsize);

#[async_trait]
impl Twist for LeaksStreams {
    async fn stream(
        &self,
        inner: &MemoryBackend,
        pattern: &str,
        params: QueryParams,
    ) -> Result<RowStream> {
        // Queries share the pool, but give back: only reads of `*` without a limit are streams here.
        if pattern == "*"
            && params == QueryParams::default()
            && self.0.fetch_add(1, Ordering::SeqCst) >= 55
        {
            let message = "no connection became free in time";
            return Err(BackendError::new("wrong", "query", ErrorKind::Timeout, message).into());
        }
        Ok(RowStream::from_rows(select(inner, pattern, params).await?))
    }
}

/// A reader holds a lock that writers need. A snapshot is not claimed.
#[derive(Default)]
struct ReadersLockWritersOut(std::sync::Arc<tokio::sync::RwLock<()>>);

#[async_trait]
impl Twist for ReadersLockWritersOut {
    fn claims(&self, claims: Guarantees) -> Guarantees {
        claims.with_snapshot_queries(false)
    }

    async fn store(
        &self,
        inner: &MemoryBackend,
        record: &str,
        value: &Value,
        at: u64,
    ) -> Result<()> {
        let _writing = self.0.write().await;
        inner.store(record, value, at).await
    }

    async fn store_batch(&self, inner: &MemoryBackend, batch: &Batch) -> Result<()> {
        let _writing = self.0.write().await;
        inner.store_batch(batch).await
    }

    async fn stream(
        &self,
        inner: &MemoryBackend,
        pattern: &str,
        params: QueryParams,
    ) -> Result<RowStream> {
        let reading = self.0.clone().read_owned().await;
        let rows = select(inner, pattern, params).await?;
        let pages = rows.chunks(100).map(|page| Ok(page.to_vec())).collect::<Vec<_>>();
        Ok(RowStream::from_pages(stream::iter(pages.into_iter().inspect(move |_| {
            let _ = &reading;
        }))))
    }
}
