//! The methods that AimDB's types get.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use annals_core::{
    PersistenceBackend, PersistenceError, QueryParams, RowStream, StoredValue, TypedStream,
};
use serde::de::DeserializeOwned;

use crate::options::PersistenceOptions;
use crate::persistence::Persistence;
use crate::stats::PersistenceStats;

/// Persistence for a database that is being built: for `AimDbBuilder` of either AimDB line.
pub trait AimDbBuilderPersistExt: Sized {
    /// Keeps the history of this database in `backend`, every value for `retention`.
    ///
    /// Call it before the records are configured: `.persist` looks for it.
    ///
    /// It registers a retention sweep at the start and then every 24 hours, and answers the
    /// `record.query` of AimDB's AimX server. Any backend will do, a third party's with the three
    /// required methods too; one that blocks or fails holds up neither producers nor tasks.
    ///
    /// Databases may share a backend, and share its history then: what one persists the other
    /// finds, and the shortest retention of them holds for all.
    #[must_use]
    fn with_persistence(self, backend: Arc<dyn PersistenceBackend>, retention: Duration) -> Self {
        self.with_persistence_options(backend, PersistenceOptions::new(retention))
    }

    /// As [`with_persistence`](Self::with_persistence), with settings of one's own.
    ///
    /// # Configuration errors
    /// A retention policy that the backend cannot carry out (see
    /// [`PersistenceOptions::with_retention`]), and a second history on one builder. They are
    /// reported as [`persist`](RecordRegistrarPersistExt::persist) reports its own.
    #[must_use]
    fn with_persistence_options(
        self,
        backend: Arc<dyn PersistenceBackend>,
        options: PersistenceOptions,
    ) -> Self;
}

/// Persistence for a record that is being configured: for `RecordRegistrar` of either AimDB line.
///
/// `T: Serialize` is all a value needs. Producers, consumers and buffers stay as they are.
///
/// # Configuration errors
/// No `with_persistence` on the builder before, a name that no record may have or that something
/// else of this database is persisted under, and for [`persist`](Self::persist) a record without a
/// buffer. Each line has its own way to report them,
/// and both methods keep to it: AimDB 1.x panics while it is configured (or, for the buffer, while
/// it is built), AimDB 2.x fails in `build()` with `DbError::InvalidConfiguration`, which names the
/// record and says what is wrong (for the buffer `DbError::MissingConfiguration`).
pub trait RecordRegistrarPersistExt<'r> {
    /// The line's own `BufferCfg`.
    type BufferCfg;

    /// Persists this record's values under `record_name`.
    ///
    /// It subscribes to the buffer and reads each value within the push that wakes it: that costs
    /// the producer the serialization, and never a wait for the backend. One producer cannot be too
    /// fast for it. Where several push at once, one of them reads for all, and a buffer may
    /// overwrite values before it gets to them: a ring says how many, and
    /// [`persistence_stats`](AimDbQueryExt::persistence_stats) counts them as lagged, with a
    /// warning at the first and then at most once a minute; `SingleLatest` overwrites without a
    /// word. Where nothing may be missed there is [`persist_buffer`](Self::persist_buffer).
    ///
    /// # Mailboxes
    /// A `Mailbox` gives each value to one reader only. This is one more reader, and **takes the
    /// values from the others**; it says so as an error at the first value. `persist_buffer` leaves
    /// them alone.
    ///
    /// # The first values
    /// On AimDB 2.x nothing is missed at the start. On AimDB 1.x nothing is missed on a
    /// current-thread runtime; with more threads a `.source()` may run before anything can
    /// subscribe, and what it pushes by then is missed without a trace. `persist_buffer` has it.
    ///
    /// # Buffers of one's own
    /// A buffer must not wake its readers while it holds a lock that reading takes. AimDB's own do
    /// not.
    ///
    /// # Panics of values
    /// A value that panics while it is serialized is counted as lagged. One that panics while the
    /// buffer clones it ends the persistence of its record, which is said as an error.
    fn persist(&'r mut self, record_name: impl Into<String>) -> &'r mut Self;

    /// Sets the buffer, as `.buffer(cfg)` does, and persists every value that is pushed into it
    /// under `record_name`: whatever the kind of the buffer, however fast, from the first one on.
    /// A `.buffer(cfg)` after it would replace this buffer; that is said as an error when the
    /// database starts.
    ///
    /// The value is recorded by the push itself, before the buffer has it. That costs the producer
    /// the serialization and never a wait. The only limit is the recorder's capacity
    /// ([`capacity_rows`](annals_core::RecorderConfig::capacity_rows), 65,536 by default): beyond
    /// it values are counted as dropped, with a warning.
    ///
    /// With several producers at once the history has their values in the order the recorder got
    /// them, which need not be the buffer's.
    fn persist_buffer(
        &'r mut self,
        cfg: Self::BufferCfg,
        record_name: impl Into<String>,
    ) -> &'r mut Self;
}

/// History on the live handle: for `AimDb` of either AimDB line.
///
/// Queries read the store, never the live buffer; [`Persistence::flush`] waits until the store has
/// what was pushed. Patterns are read in the line's grammar or the one that
/// [`PersistenceOptions::with_grammar`] chose.
///
/// # Errors
/// [`NotConfigured`](PersistenceError::NotConfigured) without `with_persistence`,
/// [`InvalidPattern`](PersistenceError::InvalidPattern), or what the engine reports.
pub trait AimDbQueryExt {
    /// The database's persistence: statistics, flush and close, besides the queries.
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
        let persistence = self.persistence();
        async move { persistence?.query_latest(pattern, n).await }
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
        let persistence = self.persistence();
        async move { persistence?.query_range(pattern, start, end).await }
    }

    /// Rows with their record and time, as JSON. The grammar of `params` counts for nothing: the
    /// database's own does.
    fn query_raw(
        &self,
        pattern: &str,
        params: QueryParams,
    ) -> impl Future<Output = Result<Vec<StoredValue>, PersistenceError>> + Send {
        let persistence = self.persistence();
        async move { persistence?.query_raw(pattern, params).await }
    }

    /// As [`query_raw`](Self::query_raw), fetched page by page while it is read, as text.
    fn query_stream(
        &self,
        pattern: &str,
        params: QueryParams,
    ) -> impl Future<Output = Result<RowStream, PersistenceError>> + Send {
        let persistence = self.persistence();
        async move { persistence?.query_stream(pattern, params).await }
    }

    /// As [`query_stream`](Self::query_stream), with values as `T`; rows that do not fit are
    /// skipped and counted.
    fn stream_typed<T: DeserializeOwned + Send>(
        &self,
        pattern: &str,
        params: QueryParams,
    ) -> impl Future<Output = Result<TypedStream<T>, PersistenceError>> + Send {
        let persistence = self.persistence();
        async move { persistence?.stream_typed(pattern, params).await }
    }

    /// What became of every value, by record: recorded, stored, lagged, dropped, pending. And how
    /// retention fares.
    ///
    /// # Errors
    /// [`NotConfigured`](PersistenceError::NotConfigured).
    fn persistence_stats(&self) -> Result<PersistenceStats, PersistenceError> {
        Ok(self.persistence()?.stats())
    }
}

/// What a builder says that has persistence already.
pub(crate) const TWICE: &str = ".with_persistence twice on one builder: a database has one history";

/// What a registrar says that finds no persistence.
pub(crate) fn without_persistence(record_name: &str) -> String {
    format!(
        ".persist(\"{}\") without .with_persistence(backend, retention) on the builder before it",
        record_name.escape_debug()
    )
}

/// What a live handle says that finds no persistence.
pub(crate) fn not_configured() -> PersistenceError {
    PersistenceError::NotConfigured(
        "call .with_persistence(backend, retention) on the builder".to_owned(),
    )
}
