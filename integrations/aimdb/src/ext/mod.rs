//! The extension traits for AimDB's builder, registrar and live handle. Each line's module
//! implements them for its own types.

mod query;

use std::sync::Arc;
use std::time::Duration;

use annals_core::{Filter, PersistenceBackend, PersistenceError};

use crate::options::PersistenceOptions;
pub use query::{AimDbQueryExt, Signal};

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
