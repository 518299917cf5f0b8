//! The history of live records in a redb file.
//!
//! [`RedbBackend::new`] opens or creates the file, synchronously and without a runtime, and makes
//! missing parent folders. One thread writes, with group commit; readers have snapshots of their
//! own and never wait for it. One process may have the file open at a time; the next one gets an
//! error that says so.
//!
//! ```
//! # use annals_core::{PersistenceBackend, QueryExt};
//! # use annals_redb::RedbBackend;
//! # let folder = tempfile::tempdir().unwrap();
//! # let file = folder.path().join("data/history.redb");
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
//! let history = RedbBackend::new(file)?;
//! history.store("accuracy::vienna", &serde_json::json!(0.94), 1_740_081_234_000).await?;
//! let latest: Vec<f64> = history.query_latest("accuracy::*", 5).await?;
//! assert_eq!(latest, [0.94]);
//! # Ok::<(), annals_core::PersistenceError>(()) }).unwrap();
//! ```

mod config;
mod error;
mod read;
mod schema;
mod tables;
mod v1;
mod v2;
mod write;

use std::io;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use annals_core::{Guarantees, PersistenceError, forward_backend};
use annals_embedded::{Embedded, Engine};
use redb::{Database, StorageBackend};

pub use config::RedbConfig;

use error::failed;
use read::RedbSnapshot;
use write::RedbWriter;

/// The engine's name in errors and URLs.
const ENGINE: &str = "redb";

/// A history in a redb file.
///
/// Clones share the open file. Dropping the last one waits until everything accepted is stored;
/// [`close`](annals_core::PersistenceBackend::close) does the same without blocking.
#[derive(Debug, Clone)]
pub struct RedbBackend(Embedded<Redb>);

impl RedbBackend {
    /// Opens or creates the file at `path` with the default settings: every acknowledged row
    /// survives the loss of power.
    ///
    /// # Errors
    /// When the file cannot be opened or made, is open already, is not a redb file, belongs to
    /// another program, or was written by a newer version.
    pub fn new(path: impl AsRef<Path>) -> Result<Self, PersistenceError> {
        Self::open(RedbConfig::new(path))
    }

    /// Opens or creates a file with settings of one's own.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn open(config: RedbConfig) -> Result<Self, PersistenceError> {
        let open = {
            let config = config.clone();
            move || schema::open(&config)
        };
        Self::start(open()?, &config, Some(Box::new(open)))
    }

    /// Opens a history on a [`StorageBackend`] of one's own, encrypted, say; the path of `config` is
    /// not used. `storage` is called once, and again whenever the storage had no room: redb refuses
    /// every call after a failed one until it is opened anew.
    ///
    /// # Errors
    /// As [`new`](Self::new), and what `storage` reports.
    pub fn open_with<S: StorageBackend>(
        storage: impl Fn() -> io::Result<S> + Send + 'static,
        config: RedbConfig,
    ) -> Result<Self, PersistenceError> {
        let open = {
            let config = config.clone();
            move || {
                let storage = storage().map_err(|error| failed("open")(redb::Error::Io(error)))?;
                schema::open_on(storage, &config)
            }
        };
        Self::start(open()?, &config, Some(Box::new(open)))
    }

    /// As [`open_with`](Self::open_with), with a storage that cannot be opened again: after a
    /// failure, and be it for want of room, every call fails.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn open_on(
        storage: impl StorageBackend,
        config: RedbConfig,
    ) -> Result<Self, PersistenceError> {
        Self::start(schema::open_on(storage, &config)?, &config, None)
    }

    fn start(
        database: Database,
        config: &RedbConfig,
        reopen: Option<Reopen>,
    ) -> Result<Self, PersistenceError> {
        let shared = Shared(Arc::new(RwLock::new(Ok(database))));
        let writer = RedbWriter::new(shared.clone(), config.durability, reopen);
        let engine = Redb { shared, guarantees: config.guarantees() };
        Ok(Self(Embedded::start(ENGINE, engine, writer, &config.shared)?))
    }
}

forward_backend! { impl[] for RedbBackend => |this| this.0 }

/// How the file is opened once more.
type Reopen = Box<dyn Fn() -> Result<Database, PersistenceError> + Send>;

/// The open file, shared by the writer and whoever takes snapshots, or why there is none. The
/// lock is taken for writing only to close and to open again.
#[derive(Clone)]
struct Shared(Arc<RwLock<Result<Database, PersistenceError>>>);

impl Shared {
    fn with<T>(
        &self,
        work: impl FnOnce(&Database) -> Result<T, PersistenceError>,
    ) -> Result<T, PersistenceError> {
        let database = self.0.read().unwrap_or_else(PoisonError::into_inner);
        work(database.as_ref().map_err(Clone::clone)?)
    }

    /// Closes the file and opens it once more. Streams that are open end with an error.
    fn reopen(&self, reopen: &Reopen) -> Result<(), PersistenceError> {
        let mut shared = self.0.write().unwrap_or_else(PoisonError::into_inner);
        // redb keeps others out, this process too: the old one has to go first.
        *shared = Err(PersistenceError::BackendShutdown);
        *shared = reopen();
        shared.as_ref().map(drop).map_err(Clone::clone)
    }

    fn take(&self) -> Option<Database> {
        let mut shared = self.0.write().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *shared, Err(PersistenceError::BackendShutdown)).ok()
    }
}

/// The engine: hands out snapshots.
struct Redb {
    shared: Shared,
    guarantees: Guarantees,
}

impl Engine for Redb {
    type Writer = RedbWriter;
    type Snapshot = RedbSnapshot;

    fn snapshot(&self) -> Result<RedbSnapshot, PersistenceError> {
        self.shared.with(RedbSnapshot::take)
    }

    fn guarantees(&self) -> Guarantees {
        self.guarantees
    }
}
