//! A history of which only some records can be seen.

use std::collections::BTreeSet;
use std::sync::Arc;

use annals_core::aggregate::{Plan, by_rows};
use annals_core::{
    Aggregate, Bucket, BucketStream, FollowFrom, FollowPage, FollowParams, Grammar, Guarantees,
    Pattern, PersistenceBackend, PersistenceError, QueryParams, RawRow, RecordSummary, RowStream,
    StoredValue, Value, async_trait,
};
use futures::stream::{self, StreamExt, TryStreamExt};

use super::grants::Scope;

/// Rows of one page of an answer over many records.
const PAGE_ROWS: usize = 1024;

/// The records of `scope` and no other, for reading only.
///
/// A pattern that is certainly inside the scope goes to the backend as it is. Any other becomes the
/// names that it and the scope have in common, which are then asked for one by one; such an answer
/// sees each record at one moment, but not all of them at the same.
pub(super) struct Restricted {
    inner: Arc<dyn PersistenceBackend>,
    scope: Arc<Scope>,
}

impl Restricted {
    pub(super) fn new(inner: Arc<dyn PersistenceBackend>, scope: Scope) -> Self {
        Self { inner, scope: Arc::new(scope) }
    }

    /// The names that both the pattern and the scope match; `None` if the pattern is inside the
    /// scope.
    pub(super) async fn names(
        &self,
        pattern: &str,
        grammar: Grammar,
    ) -> Result<Option<BTreeSet<Arc<str>>>, PersistenceError> {
        let pattern = Pattern::new(pattern, grammar)?;
        if self.scope.covers(&pattern) {
            return Ok(None);
        }
        let mut names = BTreeSet::new();
        if let Some(name) = pattern.exact() {
            // It is outside, or it would be covered.
            debug_assert!(!self.scope.allows(name));
            return Ok(Some(names));
        }
        for granted in self.scope.patterns() {
            let newest = QueryParams::latest(1).with_grammar(granted.grammar());
            let mut rows = self.inner.query_stream(granted.as_str(), newest).await?;
            while let Some(row) = rows.try_next().await? {
                if pattern.matches(&row.record) {
                    names.insert(row.record);
                }
            }
        }
        Ok(Some(names))
    }
}

fn read_only<T>() -> Result<T, PersistenceError> {
    Err(PersistenceError::Unsupported("changing what is only read"))
}

#[async_trait]
impl PersistenceBackend for Restricted {
    async fn store(&self, _: &str, _: &Value, _: u64) -> Result<(), PersistenceError> {
        read_only()
    }

    async fn cleanup(&self, _: u64) -> Result<u64, PersistenceError> {
        read_only()
    }

    async fn query(
        &self,
        record_pattern: &str,
        params: QueryParams,
    ) -> Result<Vec<StoredValue>, PersistenceError> {
        self.query_stream(record_pattern, params).await?.into_values().await
    }

    async fn query_stream(
        &self,
        record_pattern: &str,
        params: QueryParams,
    ) -> Result<RowStream, PersistenceError> {
        let Some(names) = self.names(record_pattern, params.grammar).await? else {
            return self.inner.query_stream(record_pattern, params).await;
        };
        // Names are literal in this grammar.
        let params = params.with_grammar(Grammar::Glob);
        let inner = self.inner.clone();
        let streams = stream::iter(names).then(move |name| {
            let inner = inner.clone();
            async move { inner.query_stream(&name, params).await }
        });
        let pages = streams.try_flatten().try_chunks(PAGE_ROWS);
        let pages = pages.map(|page: Result<Vec<RawRow>, _>| page.map_err(|error| error.1));
        Ok(RowStream::from_pages(pages))
    }

    async fn aggregate_stream(
        &self,
        record_pattern: &str,
        aggregate: &Aggregate,
    ) -> Result<BucketStream, PersistenceError> {
        let plan = Plan::new(record_pattern, aggregate)?;
        let Some(names) = self.names(record_pattern, aggregate.params().grammar).await? else {
            return self.inner.aggregate_stream(record_pattern, aggregate).await;
        };
        if plan.merges() {
            return by_rows(self, record_pattern, aggregate).await;
        }
        let aggregate = aggregate.clone().grammar(Grammar::Glob);
        let inner = self.inner.clone();
        Ok(BucketStream::new(stream::iter(names).then(move |name| {
            let (inner, aggregate) = (inner.clone(), aggregate.clone());
            async move {
                let buckets = inner.aggregate_stream(&name, &aggregate).await?;
                buckets.try_collect::<Vec<Bucket>>().await
            }
        })))
    }

    async fn follow_page(
        &self,
        record_pattern: &str,
        params: &FollowParams,
    ) -> Result<FollowPage, PersistenceError> {
        let mut params = params.clone();
        loop {
            let mut page = self.inner.follow_page(record_pattern, &params).await?;
            page.retain(|row| self.scope.allows(&row.record));
            if !(page.rows.is_empty() && params.wait) {
                return Ok(page);
            }
            params.from = FollowFrom::Cursor(page.cursor);
        }
    }

    async fn records(
        &self,
        record_pattern: &str,
        grammar: Grammar,
    ) -> Result<Vec<RecordSummary>, PersistenceError> {
        let pattern = Pattern::new(record_pattern, grammar)?;
        if self.scope.covers(&pattern) {
            return self.inner.records(record_pattern, grammar).await;
        }
        let mut records: Vec<RecordSummary> = Vec::new();
        for granted in self.scope.patterns() {
            let found = self.inner.records(granted.as_str(), granted.grammar()).await?;
            records.extend(found.into_iter().filter(|found| pattern.matches(&found.record)));
        }
        // Patterns of a scope may overlap.
        records.sort_unstable_by(|a, b| a.record.cmp(&b.record));
        records.dedup_by(|a, b| a.record == b.record);
        Ok(records)
    }

    async fn health(&self) -> Result<(), PersistenceError> {
        self.inner.health().await
    }

    fn guarantees(&self) -> Guarantees {
        self.inner.guarantees()
    }
}
