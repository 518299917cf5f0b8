//! The extension traits for AimDB's builder, registrar and live handle. Each line's module
//! implements them for its own types.

use std::fmt::Display;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use annals_core::{
    Aggregate, Bucket, Filter, PersistenceBackend, PersistenceError, QueryExt, QueryParams, RawRow,
    RecorderStats, RowStream, StoredValue, TypedRows, TypedStream,
};
use serde::de::DeserializeOwned;

use crate::options::PersistenceOptions;
use crate::persistence::Persistence;

/// Persistence for a database that is being built: for `AimDbBuilder` of either AimDB line.
pub trait AimDbBuilderPersistExt: Sized {
    /// Stores the history of this database in `backend` and keeps every value for `retention`.
    ///
    /// Call it before you configure the records: `.persist` requires it.
    ///
    /// It registers a retention sweep that runs at the start and then every 24 hours, and the
    /// handler with which AimDB's AimX server answers `record.query`. Any backend works, including
    /// your own with only the three required methods; a backend that blocks or fails delays neither
    /// producers nor tasks.
    ///
    /// Databases may share a backend. They then share its history: each finds what the others
    /// persist, and the shortest retention applies to all of it.
    #[must_use]
    fn with_persistence(self, backend: Arc<dyn PersistenceBackend>, retention: Duration) -> Self {
        self.with_persistence_options(backend, PersistenceOptions::new(retention))
    }

    /// Like [`with_persistence`](Self::with_persistence), with your own settings.
    ///
    /// # Configuration errors
    /// A retention policy that the backend cannot apply (see
    /// [`PersistenceOptions::with_retention`]), and a second history on one builder. They are
    /// reported in the same way as those of [`persist`](RecordRegistrarPersistExt::persist).
    #[must_use]
    fn with_persistence_options(
        self,
        backend: Arc<dyn PersistenceBackend>,
        options: PersistenceOptions,
    ) -> Self;
}

/// Persistence for a record that is being configured: for `RecordRegistrar` of either AimDB line.
///
/// A value only needs `T: Serialize`. Producers, consumers and buffers stay as they are.
///
/// # Configuration errors
/// Both methods report: no `with_persistence` on the builder before them, a name that no record may
/// have, and a name that is already taken in this database. [`persist`](Self::persist) also reports
/// a record without a buffer. AimDB 1.x panics while the record is configured (for the missing
/// buffer, in `build()`). AimDB 2.x fails in `build()` with `DbError::InvalidConfiguration`, which
/// names the record and the mistake (for the missing buffer, `DbError::MissingConfiguration`).
pub trait RecordRegistrarPersistExt<'r> {
    /// The line's own `BufferCfg`.
    type BufferCfg;

    /// Persists this record's values under `record_name`.
    ///
    /// It subscribes to the buffer and reads each value within the push that wakes the
    /// subscription. The producer pays for the serialization and never waits for the backend. A
    /// single producer cannot outrun it. When several threads push at once, one of them reads for
    /// all, and the buffer may overwrite values before they are read. A ring reports how many;
    /// [`persistence_stats`](AimDbQueryExt::persistence_stats) counts them as lost, and a warning
    /// says so at the first and then at most once a minute. A `SingleLatest` buffer overwrites
    /// values without any report. If no value may be lost, use
    /// [`persist_buffer`](Self::persist_buffer).
    ///
    /// # Mailboxes
    /// A `Mailbox` delivers each value to one reader. `persist` is one more reader and **takes
    /// values away from the others**; it logs an error at the first value. `persist_buffer` does
    /// not read the buffer.
    ///
    /// # The first values
    /// On AimDB 2.x, and on AimDB 1.x with a current-thread runtime, no value is missed at the
    /// start. On AimDB 1.x with several threads a `.source()` may run before anything can
    /// subscribe; the values it pushes by then are missed and not counted. `persist_buffer` records
    /// them.
    ///
    /// # Your own buffers
    /// A buffer must not wake its readers while it holds a lock that reading takes. AimDB's own
    /// buffers do not.
    ///
    /// # Panics in values
    /// A value that panics while it is serialized counts as lost. A value that panics while the
    /// buffer clones it ends the persistence of its record, which is logged as an error.
    #[track_caller]
    fn persist(&'r mut self, record_name: impl Into<String>) -> &'r mut Self {
        self.persist_filtered(record_name.into(), None)
    }

    /// Like [`persist`](Self::persist), with the values that pass `filter`.
    ///
    /// ```
    /// use std::time::Duration;
    /// use annals_aimdb::Filter;
    ///
    /// let filter = Filter::new().dead_band("celsius", 0.2).heartbeat(Duration::from_secs(600));
    /// # let _ = stringify!(
    /// reg.buffer(cfg).source(thermometer).persist_with("temperature::attic", filter);
    /// # );
    /// # let _ = filter;
    /// ```
    #[track_caller]
    fn persist_with(&'r mut self, record_name: impl Into<String>, filter: Filter) -> &'r mut Self {
        self.persist_filtered(record_name.into(), Some(filter))
    }

    /// Sets the buffer, as `.buffer(cfg)` does, and persists every value that is pushed into it
    /// under `record_name`: from the first one on, at any rate, for every kind of buffer. A
    /// `.buffer(cfg)` after it replaces this buffer; an error says so when the database starts.
    ///
    /// The push itself records the value, before the buffer has it. The producer pays for the
    /// serialization and never waits. The only limit is the capacity of the recorder
    /// ([`capacity_rows`](annals_core::RecorderConfig::capacity_rows), 65,536 by default): values
    /// beyond it count as dropped, with a warning.
    ///
    /// With several producers at once, the history has their values in the order in which the
    /// recorder received them, which may differ from the order in the buffer.
    #[track_caller]
    fn persist_buffer(
        &'r mut self,
        cfg: Self::BufferCfg,
        record_name: impl Into<String>,
    ) -> &'r mut Self {
        self.persist_buffer_filtered(cfg, record_name.into(), None)
    }

    /// Like [`persist_buffer`](Self::persist_buffer), with the values that pass `filter`. The buffer
    /// gets every value.
    #[track_caller]
    fn persist_buffer_with(
        &'r mut self,
        cfg: Self::BufferCfg,
        record_name: impl Into<String>,
        filter: Filter,
    ) -> &'r mut Self {
        self.persist_buffer_filtered(cfg, record_name.into(), Some(filter))
    }

    /// [`persist`](Self::persist) or [`persist_with`](Self::persist_with).
    fn persist_filtered(&'r mut self, record_name: String, filter: Option<Filter>) -> &'r mut Self;

    /// [`persist_buffer`](Self::persist_buffer) or
    /// [`persist_buffer_with`](Self::persist_buffer_with).
    fn persist_buffer_filtered(
        &'r mut self,
        cfg: Self::BufferCfg,
        record_name: String,
        filter: Option<Filter>,
    ) -> &'r mut Self;
}

/// Records that start with their newest stored value: for `RecordRegistrar` of either AimDB line,
/// where the value also implements `DeserializeOwned`.
pub trait RecordRegistrarRestoreExt<'r>: Sized {
    /// Puts the newest stored value into the record's buffer, before any producer runs. Call it
    /// after [`persist_buffer`](RecordRegistrarPersistExt::persist_buffer) for the same record.
    ///
    /// The buffer has the value until the first push. A subscription made before that begins with
    /// it: of a ring always, of a `SingleLatest` if it reads before the first push; of a `Mailbox`
    /// the first one that reads gets it. `AimDb`'s `latest` and `record.get` return it on 2.x, except
    /// for rings, which have no latest value there; on 1.x they know what was produced only.
    ///
    /// It is not stored again, and the record's filter takes it for the last value that passed. A
    /// record that is derived from this one may be derived again.
    ///
    /// The query blocks the calling thread until the backend has answered, at most ten seconds. It
    /// runs on a thread of annals, so that it works in any runtime. If there is no value, the
    /// record starts empty. It also does, and an error is logged, if the newest value does not
    /// deserialize or the backend fails.
    ///
    /// # Configuration errors
    /// No `persist_buffer` before it, or `persist`: AimDB gives no access to a buffer that was set
    /// with `.buffer(cfg)`. They are reported in the same way as those of
    /// [`persist`](RecordRegistrarPersistExt::persist).
    #[track_caller]
    fn restore(&'r mut self) -> &'r mut Self {
        self.restore_younger_than(Duration::MAX)
    }

    /// Like [`restore`](Self::restore), unless the value is older than `max_age`.
    fn restore_younger_than(&'r mut self, max_age: Duration) -> &'r mut Self;
}

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
/// [`PersistenceOptions::with_grammar`] sets. A pattern that the topic grammar refuses, such as
/// `accuracy::*`, is read as a glob. The grammar in `QueryParams` and `Aggregate` is ignored.
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

/// The error of a second `with_persistence` on one builder.
pub(crate) const TWICE: &str = ".with_persistence twice on one builder: a database has one history";

/// The error of a registrar without persistence.
pub(crate) fn without_persistence(record_name: &str) -> String {
    format!(
        ".persist(\"{}\") without .with_persistence(backend, retention) on the builder before it",
        record_name.escape_debug()
    )
}

/// The error of a live handle without persistence.
pub(crate) fn not_configured() -> PersistenceError {
    PersistenceError::NotConfigured(
        "call .with_persistence(backend, retention) on the builder".to_owned(),
    )
}
