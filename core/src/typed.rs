//! Typed reads over any backend.

use std::fmt::Display;
use std::future::Future;

use futures::{StreamExt, TryStreamExt};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::aggregate::{Aggregate, Bucket};
use crate::backend::PersistenceBackend;
use crate::error::PersistenceError;
use crate::name::RecordName;
use crate::query::{QueryParams, RawRow, StoredValue, TypedRow};
use crate::stream::TypedStream;

/// The rows of a query that deserialized as `T`, and how many did not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct TypedRows<T> {
    /// The rows, in the query's order.
    pub rows: Vec<TypedRow<T>>,
    /// How many rows were skipped because they did not deserialize.
    pub skipped: u64,
}

/// The values alone.
impl<T> From<TypedRows<T>> for Vec<T> {
    fn from(typed: TypedRows<T>) -> Self {
        typed.rows.into_iter().map(|row| row.value).collect()
    }
}

/// Typed reads, aggregates and the value at a time, for every [`PersistenceBackend`].
///
/// All of them take the pattern in the first grammar ([`Grammar::Glob`](crate::Grammar::Glob))
/// unless the parameters say otherwise, deserialize straight from the stored text, skip rows that
/// do not fit with a warning, and are cancel safe: nothing is changed by a query.
///
/// # Errors
/// [`InvalidPattern`](PersistenceError::InvalidPattern), or what the engine reports.
pub trait QueryExt: PersistenceBackend {
    /// The newest `n` values of every matching record: by record name, then newest first.
    fn query_latest<T: DeserializeOwned + Send>(
        &self,
        pattern: &str,
        n: usize,
    ) -> impl Future<Output = Result<Vec<T>, PersistenceError>> + Send {
        values(self, pattern, QueryParams::latest(n))
    }

    /// All values of matching records from `start` to `end`, both inclusive, in Unix
    /// milliseconds: by record name, then newest first. There is no hidden limit; see
    /// [`stream_typed`](Self::stream_typed) for results larger than memory.
    fn query_range<T: DeserializeOwned + Send>(
        &self,
        pattern: &str,
        start: u64,
        end: u64,
    ) -> impl Future<Output = Result<Vec<T>, PersistenceError>> + Send {
        values(self, pattern, QueryParams::range(start, end))
    }

    /// Rows with their record and time, and the number of rows that were skipped. With
    /// `T = Box<RawValue>` a value is the stored JSON text, checked for validity and otherwise
    /// untouched.
    fn query_typed<T: DeserializeOwned + Send>(
        &self,
        pattern: &str,
        params: QueryParams,
    ) -> impl Future<Output = Result<TypedRows<T>, PersistenceError>> + Send {
        async move { collected(self.stream_typed(pattern, params).await?).await }
    }

    /// The streamed form of [`query_typed`](Self::query_typed).
    fn stream_typed<T: DeserializeOwned + Send>(
        &self,
        pattern: &str,
        params: QueryParams,
    ) -> impl Future<Output = Result<TypedStream<T>, PersistenceError>> + Send {
        async move { Ok(self.query_stream(pattern, params).await?.typed()) }
    }

    /// As [`query_latest`](Self::query_latest), with values that `read` makes of the stored text: for
    /// rows of an older shape. A row for which it fails is skipped with a warning.
    /// [`query_typed_with`](Self::query_typed_with) tells how many were.
    fn query_latest_with<T: Send, E: Display>(
        &self,
        pattern: &str,
        n: usize,
        read: impl FnMut(&RawRow) -> Result<T, E> + Send + 'static,
    ) -> impl Future<Output = Result<Vec<T>, PersistenceError>> + Send {
        async move { Ok(self.query_typed_with(pattern, QueryParams::latest(n), read).await?.into()) }
    }

    /// As [`query_typed`](Self::query_typed), with values that `read` makes of the stored text.
    /// [`RowStream::typed_with`](crate::RowStream::typed_with) is the streamed form.
    fn query_typed_with<T: Send, E: Display>(
        &self,
        pattern: &str,
        params: QueryParams,
        read: impl FnMut(&RawRow) -> Result<T, E> + Send + 'static,
    ) -> impl Future<Output = Result<TypedRows<T>, PersistenceError>> + Send {
        async move { collected(self.query_stream(pattern, params).await?.typed_with(read)).await }
    }

    /// The newest value of one record, for a program that starts where it left off. `None` if there
    /// is none, or if the newest does not deserialize as `T`, which a warning reports: an older value
    /// would not be the current one.
    ///
    /// Tell a filtered recorder about it with [`RecordHandle::resume`](crate::RecordHandle::resume).
    ///
    /// # Errors
    /// [`InvalidRecordName`](PersistenceError::InvalidRecordName), or what the engine reports.
    fn restore<T: DeserializeOwned + Send>(
        &self,
        record: &str,
    ) -> impl Future<Output = Result<Option<TypedRow<T>>, PersistenceError>> + Send {
        self.restore_since(record, 0)
    }

    /// As [`restore`](Self::restore), unless the newest value is older than `since` (Unix
    /// milliseconds).
    ///
    /// # Errors
    /// As [`restore`](Self::restore).
    fn restore_since<T: DeserializeOwned + Send>(
        &self,
        record: &str,
        since: u64,
    ) -> impl Future<Output = Result<Option<TypedRow<T>>, PersistenceError>> + Send {
        async move {
            // As a pattern it would match others.
            RecordName::new(record)?;
            let newest = QueryParams::latest(1).with_start_time(since);
            Ok(self.query_typed(record, newest).await?.rows.into_iter().next())
        }
    }

    /// The buckets of an [`Aggregate`], by record name, then by start.
    /// [`aggregate_stream`](PersistenceBackend::aggregate_stream) is the streamed form.
    fn aggregate(
        &self,
        pattern: &str,
        aggregate: &Aggregate,
    ) -> impl Future<Output = Result<Vec<Bucket>, PersistenceError>> + Send {
        async move { self.aggregate_stream(pattern, aggregate).await?.try_collect().await }
    }

    /// The value of every matching record at `time` (Unix milliseconds): its newest row that is not
    /// later. It costs one seek per record.
    fn value_at(
        &self,
        pattern: &str,
        time: u64,
    ) -> impl Future<Output = Result<Vec<StoredValue>, PersistenceError>> + Send {
        async move { self.query(pattern, QueryParams::latest(1).with_end_time(time)).await }
    }
}

impl<B: PersistenceBackend + ?Sized> QueryExt for B {}

async fn values<T: DeserializeOwned + Send, B: PersistenceBackend + ?Sized>(
    backend: &B,
    pattern: &str,
    params: QueryParams,
) -> Result<Vec<T>, PersistenceError> {
    backend.stream_typed(pattern, params).await?.map_ok(|row| row.value).try_collect().await
}

async fn collected<T>(mut stream: TypedStream<T>) -> Result<TypedRows<T>, PersistenceError> {
    let rows = stream.by_ref().try_collect().await?;
    Ok(TypedRows { rows, skipped: stream.skipped() })
}
