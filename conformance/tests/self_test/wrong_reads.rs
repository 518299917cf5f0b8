//! Backends whose queries and listings are wrong.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use annals_core::{
    BackendError, Batch, ErrorKind, Grammar, Guarantees, MAX_TIMESTAMP, MemoryBackend, Order,
    Pattern, PersistenceBackend, PersistenceError, QueryParams, RawRow, RecordSummary, RowStream,
    Value, async_trait,
};
use futures::stream::{self, StreamExt};

use crate::twist::{Result, Twist, select};

/// A wrong backend that only changes the parameters of a query.
macro_rules! wrong_params {
    ($($(#[$doc:meta])* $name:ident: |$params:ident| $body:expr;)*) => {$(
        $(#[$doc])*
        pub(crate) struct $name;

        #[async_trait]
        impl Twist for $name {
            async fn select(&self, inner: &MemoryBackend, pattern: &str, mut $params: QueryParams) -> Result<Vec<RawRow>> {
                $body;
                select(inner, pattern, $params).await
            }
        }
    )*};
}

wrong_params! {
    /// `stored_at < end`.
    ExclusiveEnd: |params| match params.end_time {
        Some(0) => params.limit_per_record = Some(0),
        // Bounds beyond the last timestamp are none, here too.
        Some(end) if end <= MAX_TIMESTAMP => params.end_time = Some(end - 1),
        _ => {}
    };
    /// `stored_at > start`.
    ExclusiveStart: |params| match params.start_time {
        Some(MAX_TIMESTAMP) => params.limit_per_record = Some(0),
        Some(start) if start < MAX_TIMESTAMP => params.start_time = Some(start + 1),
        _ => {}
    };
    /// The start is never looked at.
    NoStart: |params| if params.start_time <= params.end_time || params.end_time.is_none() {
        params.start_time = None;
    };
    /// `LIMIT 0` for no limit.
    ZeroIsEverything: |params| if params.limit_per_record == Some(0) {
        params.limit_per_record = None;
    };
    /// `ORDER BY … DESC`, always.
    AlwaysNewestFirst: |params| params.order = Order::NewestFirst;
    /// `*` as in the first grammar.
    OneGrammar: |params| params.grammar = Grammar::Glob;
    /// A window without a limit returns the newest row of each record.
    WindowMeansLatest: |params| if params.start_time.or(params.end_time).is_some() {
        params.limit_per_record.get_or_insert(1);
    };
    /// Start and end are put in order first.
    SwapsBounds: |params| if params.start_time.is_some() && params.end_time.is_some()
        && params.start_time > params.end_time
    {
        std::mem::swap(&mut params.start_time, &mut params.end_time);
    };
}

/// A bound that does not fit the column is an error.
pub(crate) struct RefusesGreatBounds;

#[async_trait]
impl Twist for RefusesGreatBounds {
    async fn select(
        &self,
        inner: &MemoryBackend,
        pattern: &str,
        params: QueryParams,
    ) -> Result<Vec<RawRow>> {
        if params.start_time.max(params.end_time).is_some_and(|bound| bound > MAX_TIMESTAMP) {
            let message = "out of range integral type conversion attempted";
            return Err(BackendError::new("wrong", "query", ErrorKind::Other, message).into());
        }
        select(inner, pattern, params).await
    }
}

/// A wrong backend that changes the rows that the reference finds.
macro_rules! wrong_rows {
    ($($(#[$doc:meta])* $name:ident: |$rows:ident, $params:ident| $body:expr;)*) => {$(
        $(#[$doc])*
        pub(crate) struct $name;

        #[async_trait]
        impl Twist for $name {
            async fn select(&self, inner: &MemoryBackend, pattern: &str, $params: QueryParams) -> Result<Vec<RawRow>> {
                let mut $rows = select(inner, pattern, $params).await?;
                $body;
                Ok($rows)
            }
        }
    )*};
}

fn same_time(a: &RawRow, b: &RawRow) -> bool {
    a.record == b.record && a.stored_at == b.stored_at
}

wrong_rows! {
    /// One `LIMIT` for the whole query.
    GlobalLimit: |rows, params| rows.truncate(params.limit_per_record.unwrap_or(usize::MAX));
    /// A round number that somebody thought enough.
    Cap: |rows, params| rows.truncate(if params.limit_per_record.is_some() { usize::MAX } else { 10_000 });
    /// A key of record and time: the last to arrive replaces the others.
    OneRowPerTime: |rows, params| {
        if params.order == Order::OldestFirst { rows.reverse(); }
        rows.dedup_by(|a, b| same_time(a, b));
        if params.order == Order::OldestFirst { rows.reverse(); }
    };
    /// The first of equals to arrive comes first.
    FirstOfEqualsFirst: |rows, _params| {
        let runs: Vec<usize> = rows.chunk_by(same_time).map(<[_]>::len).collect();
        let mut rest = &mut rows[..];
        for run in runs {
            let (equals, others) = rest.split_at_mut(run);
            equals.reverse();
            rest = others;
        }
    };
    /// Records in the order of a locale that passes over case and punctuation.
    LocaleOrder: |rows, _params| rows.sort_by_key(|row| {
        row.record.chars().filter(|c| c.is_alphanumeric()).collect::<String>().to_lowercase()
    });
}

/// The newest N are taken first, and then those within the window.
pub(crate) struct LimitBeforeWindow;

#[async_trait]
impl Twist for LimitBeforeWindow {
    async fn select(
        &self,
        inner: &MemoryBackend,
        pattern: &str,
        params: QueryParams,
    ) -> Result<Vec<RawRow>> {
        let newest = params.with_start_time(None).with_end_time(None);
        let window = params.with_limit_per_record(None);
        if params.limit_per_record.is_none() {
            return select(inner, pattern, params).await;
        }
        // Crossed and great bounds are the reference's matter.
        let mut inside = select(inner, pattern, window.with_limit_per_record(1)).await?;
        if inside.is_empty() {
            return Ok(inside);
        }
        inside = select(inner, pattern, newest).await?;
        let start = params.start_time.filter(|start| *start <= MAX_TIMESTAMP).unwrap_or(0);
        inside.retain(|row| (start..=params.end_time.unwrap_or(u64::MAX)).contains(&row.stored_at));
        Ok(inside)
    }
}

/// Oldest first with a limit returns the oldest.
pub(crate) struct LimitTakesOldest;

#[async_trait]
impl Twist for LimitTakesOldest {
    async fn select(
        &self,
        inner: &MemoryBackend,
        pattern: &str,
        params: QueryParams,
    ) -> Result<Vec<RawRow>> {
        let few = params.limit_per_record.is_some_and(|limit| limit < 5);
        if params.order == Order::NewestFirst || !few {
            return select(inner, pattern, params).await;
        }
        let all = select(inner, pattern, params.with_limit_per_record(None)).await?;
        let limit = params.limit_per_record.unwrap_or(0);
        let records = all.chunk_by(|a, b| a.record == b.record);
        Ok(records.flat_map(|rows| rows.iter().take(limit).cloned()).collect())
    }
}

/// Reads the history to return the end of it.
pub(crate) struct FullScan;

#[async_trait]
impl Twist for FullScan {
    async fn select(
        &self,
        inner: &MemoryBackend,
        pattern: &str,
        params: QueryParams,
    ) -> Result<Vec<RawRow>> {
        if params.limit_per_record.is_some() {
            select(inner, pattern, params.with_limit_per_record(None)).await?;
        }
        select(inner, pattern, params).await
    }
}

/// Every record is read when the stream gets to it.
pub(crate) struct NoSnapshot;

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
pub(crate) struct SnapshotOfTheFirstPages;

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
pub(crate) struct LeaksStreams(pub(crate) AtomicUsize);

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
pub(crate) struct ReadersLockWritersOut(pub(crate) std::sync::Arc<tokio::sync::RwLock<()>>);

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

/// Counts one row too many.
pub(crate) struct Miscounts;

#[async_trait]
impl Twist for Miscounts {
    async fn records(
        &self,
        inner: &MemoryBackend,
        pattern: &str,
        grammar: Grammar,
    ) -> Result<Vec<RecordSummary>> {
        let mut records = inner.records(pattern, grammar).await?;
        records.iter_mut().for_each(|record| record.count += 1);
        Ok(records)
    }
}

/// The table of names is the listing.
#[derive(Default)]
pub(crate) struct ListsEmptyRecords(Mutex<BTreeSet<String>>);

#[async_trait]
impl Twist for ListsEmptyRecords {
    async fn records(
        &self,
        inner: &MemoryBackend,
        pattern: &str,
        grammar: Grammar,
    ) -> Result<Vec<RecordSummary>> {
        let matches = Pattern::new(pattern, grammar)?;
        let mut records = inner.records(pattern, grammar).await?;
        for name in self.0.lock().unwrap().iter().filter(|name| matches.matches(name)) {
            if records.iter().all(|record| record.record != *name) {
                records.push(RecordSummary::new(name.clone(), 0, 0, 0));
            }
        }
        records.sort_by(|a, b| a.record.cmp(&b.record));
        Ok(records)
    }

    async fn store(
        &self,
        inner: &MemoryBackend,
        record: &str,
        value: &Value,
        at: u64,
    ) -> Result<()> {
        let stored: std::result::Result<(), PersistenceError> =
            inner.store(record, value, at).await;
        stored?;
        self.0.lock().unwrap().insert(record.to_owned());
        Ok(())
    }
}
