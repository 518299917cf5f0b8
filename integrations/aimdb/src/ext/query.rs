//! History on the live handle.

use std::fmt::Display;
use std::future::Future;
use std::sync::Arc;

use annals_core::{
    Aggregate, Bucket, PersistenceBackend, PersistenceError, QueryExt, QueryParams, RawRow,
    RecorderStats, RowStream, StoredValue, TypedRows, TypedStream,
};
use serde::de::DeserializeOwned;

use crate::persistence::Persistence;

/// The number in the values of a record type that aggregates compute with.
///
/// ```
/// use annals_aimdb::Signal;
///
/// #[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
/// struct Accuracy {
///     value: f64,
///     samples: u32,
/// }
///
/// impl Signal for Accuracy {
///     const MEMBER: &'static str = "value";
/// }
/// ```
pub trait Signal {
    /// Where the number is in the JSON of a value: a JSON Pointer (RFC 6901) if it starts with `/`,
    /// otherwise the name of a top-level member. The empty text is the value itself.
    const MEMBER: &'static str;
}

/// History on the live handle: for `AimDb` of either AimDB line.
///
/// Queries read the store, never the live buffer. To wait until the store has what was pushed, call
/// [`Persistence::flush`].
///
/// # Patterns
/// A pattern is read in the line's grammar, or in the one that
/// [`PersistenceOptions::with_grammar`](crate::PersistenceOptions::with_grammar) sets. A pattern that
/// the topic grammar refuses, such as `accuracy::*`, is read as a glob. The grammar in `QueryParams`
/// and `Aggregate` is ignored.
///
/// # Errors
/// [`NotConfigured`](PersistenceError::NotConfigured) without `with_persistence`,
/// [`InvalidPattern`](PersistenceError::InvalidPattern) for the empty pattern, or any error of the
/// backend.
///
/// # Cancel safety
/// All queries: dropping the future changes nothing.
pub trait AimDbQueryExt {
    /// The persistence of this database: statistics, flush and close.
    ///
    /// # Errors
    /// [`NotConfigured`](PersistenceError::NotConfigured).
    fn persistence(&self) -> Result<Persistence, PersistenceError>;

    /// The newest `n` values of every matching record: by record name, then newest first. Rows
    /// that do not deserialize as `T` are skipped with a warning.
    fn query_latest<T: DeserializeOwned + Send>(
        &self,
        pattern: &str,
        n: usize,
    ) -> impl Future<Output = Result<Vec<T>, PersistenceError>> + Send {
        values(self.persistence(), pattern, QueryParams::latest(n))
    }

    /// All values of matching records from `start` to `end`, both inclusive, in Unix
    /// milliseconds: by record name, then newest first. There is no hidden limit. Rows that do not
    /// deserialize as `T` are skipped with a warning.
    fn query_range<T: DeserializeOwned + Send>(
        &self,
        pattern: &str,
        start: u64,
        end: u64,
    ) -> impl Future<Output = Result<Vec<T>, PersistenceError>> + Send {
        values(self.persistence(), pattern, QueryParams::range(start, end))
    }

    /// Like [`query_latest`](Self::query_latest), with values that `read` makes of the stored text:
    /// for rows of an older shape. A row for which it fails is skipped with a warning.
    fn query_latest_with<T: Send, E: Display>(
        &self,
        pattern: &str,
        n: usize,
        read: impl FnMut(&RawRow) -> Result<T, E> + Send + 'static,
    ) -> impl Future<Output = Result<Vec<T>, PersistenceError>> + Send {
        let typed = self.query_typed_with(pattern, QueryParams::latest(n), read);
        async move { Ok(typed.await?.into()) }
    }

    /// Like [`query_latest_with`](Self::query_latest_with) for any rows, with their record and time,
    /// and the number of rows that were skipped.
    fn query_typed_with<T: Send, E: Display>(
        &self,
        pattern: &str,
        params: QueryParams,
        read: impl FnMut(&RawRow) -> Result<T, E> + Send + 'static,
    ) -> impl Future<Output = Result<TypedRows<T>, PersistenceError>> + Send {
        let persistence = self.persistence();
        async move {
            let (backend, params) = reading(&persistence?, pattern, params);
            backend.query_typed_with(pattern, params, read).await
        }
    }

    /// Rows with their record and time, as JSON.
    fn query_raw(
        &self,
        pattern: &str,
        params: QueryParams,
    ) -> impl Future<Output = Result<Vec<StoredValue>, PersistenceError>> + Send {
        let persistence = self.persistence();
        async move {
            let (backend, params) = reading(&persistence?, pattern, params);
            backend.query(pattern, params).await
        }
    }

    /// Like [`query_raw`](Self::query_raw), as a stream of JSON text that is fetched while it is
    /// read.
    fn query_stream(
        &self,
        pattern: &str,
        params: QueryParams,
    ) -> impl Future<Output = Result<RowStream, PersistenceError>> + Send {
        let persistence = self.persistence();
        async move {
            let (backend, params) = reading(&persistence?, pattern, params);
            backend.query_stream(pattern, params).await
        }
    }

    /// Like [`query_stream`](Self::query_stream), with values as `T`. Rows that do not deserialize
    /// are skipped and counted.
    fn stream_typed<T: DeserializeOwned + Send>(
        &self,
        pattern: &str,
        params: QueryParams,
    ) -> impl Future<Output = Result<TypedStream<T>, PersistenceError>> + Send {
        let persistence = self.persistence();
        async move {
            let (backend, params) = reading(&persistence?, pattern, params);
            backend.stream_typed(pattern, params).await
        }
    }

    /// The value of every matching record at `time` (Unix milliseconds): its newest row that is not
    /// later.
    fn value_at(
        &self,
        pattern: &str,
        time: u64,
    ) -> impl Future<Output = Result<Vec<StoredValue>, PersistenceError>> + Send {
        self.query_raw(pattern, QueryParams::latest(1).with_end_time(time))
    }

    /// Aggregates of the numbers in matching records, in buckets of time: by record name, then
    /// oldest first unless `aggregate` says otherwise.
    ///
    /// # Errors
    /// Also [`InvalidAggregate`](PersistenceError::InvalidAggregate) for an option that cannot work,
    /// and [`TooManyBuckets`](PersistenceError::TooManyBuckets).
    fn aggregate(
        &self,
        pattern: &str,
        aggregate: &Aggregate,
    ) -> impl Future<Output = Result<Vec<Bucket>, PersistenceError>> + Send {
        buckets(self.persistence(), pattern, aggregate.clone())
    }

    /// Like [`aggregate`](Self::aggregate), for records of the type `T`. If `aggregate` names no
    /// member, the member is [`T::MEMBER`](Signal::MEMBER).
    fn aggregate_typed<T: Signal>(
        &self,
        pattern: &str,
        aggregate: &Aggregate,
    ) -> impl Future<Output = Result<Vec<Bucket>, PersistenceError>> + Send {
        let mut aggregate = aggregate.clone();
        if aggregate.member_text().is_empty() {
            aggregate = aggregate.member(T::MEMBER);
        }
        buckets(self.persistence(), pattern, aggregate)
    }

    /// The account of every value: see [`Persistence::stats`].
    ///
    /// # Errors
    /// [`NotConfigured`](PersistenceError::NotConfigured).
    fn persistence_stats(&self) -> Result<RecorderStats, PersistenceError> {
        Ok(self.persistence()?.stats())
    }
}

async fn values<T: DeserializeOwned + Send>(
    persistence: Result<Persistence, PersistenceError>,
    pattern: &str,
    params: QueryParams,
) -> Result<Vec<T>, PersistenceError> {
    let (backend, params) = reading(&persistence?, pattern, params);
    let typed = backend.query_typed(pattern, params).await?;
    Ok(typed.rows.into_iter().map(|row| row.value).collect())
}

async fn buckets(
    persistence: Result<Persistence, PersistenceError>,
    pattern: &str,
    aggregate: Aggregate,
) -> Result<Vec<Bucket>, PersistenceError> {
    let persistence = persistence?;
    let aggregate = aggregate.grammar(persistence.grammar_of(pattern));
    persistence.backend().aggregate(pattern, &aggregate).await
}

/// What to query, and the parameters in the handle's grammar.
fn reading(
    persistence: &Persistence,
    pattern: &str,
    params: QueryParams,
) -> (Arc<dyn PersistenceBackend>, QueryParams) {
    let grammar = persistence.grammar_of(pattern);
    (Arc::clone(persistence.backend()), params.with_grammar(grammar))
}
