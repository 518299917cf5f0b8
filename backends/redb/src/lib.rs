//! The history of live records in a redb file.
//!
//! [`RedbBackend::new`] opens or creates the file and missing parent folders, synchronously and without
//! a runtime. One thread writes, with group commit. Readers have snapshots of their own and never wait
//! for it. One process can have the file open at a time, once; any other attempt fails with an error of
//! kind [`Busy`](annals_core::ErrorKind::Busy).
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
mod maintenance;
mod open;
mod read;
mod read_only;
mod salvage;
mod schema;
mod shared;
mod tables;
mod v1;
mod v2;
mod v3;
mod write;

use std::io;
use std::path::Path;
use std::sync::Arc;

use annals_core::{Guarantees, Result, forward_backend};
use annals_embedded::{Compacted, Embedded, Engine, Reserve};
use redb::{Database, StorageBackend};

pub use annals_embedded::{Damage, Report, remove_unfinished_files};
pub use config::RedbConfig;

use error::failed;
use read::RedbSnapshot;
use shared::{Reopen, Shared};
use write::RedbWriter;

/// The engine's name in errors and URLs.
const ENGINE: &str = "redb";

/// A history in a redb file.
///
/// Clones share the open file. Dropping the last one waits until everything accepted is stored;
/// [`close`](annals_core::PersistenceBackend::close) does the same without blocking.
#[derive(Debug, Clone)]
pub struct RedbBackend {
    store: Embedded<Redb>,
    shared: Shared,
    /// Of a file, not of the user's own storage.
    file: Option<RedbConfig>,
}

impl RedbBackend {
    /// Opens or creates the file at `path` with the default options: every acknowledged row survives
    /// the loss of power.
    ///
    /// # Errors
    /// If the file cannot be opened or created, is already open, is not a redb file, belongs to another
    /// program, or was written by a newer version.
    pub fn new(path: impl AsRef<Path>) -> Result<Self> {
        Self::open(RedbConfig::new(path))
    }

    /// Opens or creates a file with these options.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn open(config: RedbConfig) -> Result<Self> {
        if config.shared.read_only {
            let shared = Shared::new(open::open_read_only(&config)?, Some(&config.shared.path));
            let engine = Redb { shared: shared.clone(), guarantees: config.guarantees() };
            let store = Embedded::read_only(ENGINE, engine, &config.shared)?;
            return Ok(Self { store, shared, file: Some(config) });
        }
        let reserve = Arc::new(Reserve::beside(&config.shared.path));
        let open = {
            let (config, reserve) = (config.clone(), reserve.clone());
            // Repairing a file can take some space.
            move || reserve.lend(|| open::open(&config))
        };
        let path = Some(config.shared.path.as_path());
        let started = Self::start(open()?, &config, path, Some(Box::new(open)), reserve)?;
        Ok(Self { file: Some(config), ..started })
    }

    /// Opens a history on your own [`StorageBackend`], for example an encrypted one. The path in
    /// `config` is not used. `storage` is called once, and again after the storage was full: redb
    /// refuses every call after a failed one until the file is reopened.
    ///
    /// # Errors
    /// As [`new`](Self::new), and the error of `storage`.
    pub fn open_with<S: StorageBackend>(
        storage: impl Fn() -> io::Result<S> + Send + 'static,
        config: RedbConfig,
    ) -> Result<Self> {
        let open = {
            let config = config.clone();
            move || {
                let storage = storage().map_err(|error| failed("open")(redb::Error::Io(error)))?;
                open::open_on(storage, &config)
            }
        };
        Self::start(open()?, &config, None, Some(Box::new(open)), Arc::new(Reserve::none()))
    }

    /// As [`open_with`](Self::open_with), with a storage that cannot be reopened: after any failure,
    /// even a full disk, every call fails.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn open_on(storage: impl StorageBackend, config: RedbConfig) -> Result<Self> {
        Self::start(
            open::open_on(storage, &config)?,
            &config,
            None,
            None,
            Arc::new(Reserve::none()),
        )
    }

    fn start(
        database: Database,
        config: &RedbConfig,
        path: Option<&Path>,
        reopen: Option<Reopen>,
        reserve: Arc<Reserve>,
    ) -> Result<Self> {
        let shared = Shared::new(database, path);
        let writer = RedbWriter::new(shared.clone(), config.shared.durability, reopen);
        let engine = Redb { shared: shared.clone(), guarantees: config.guarantees() };
        let store = Embedded::start(ENGINE, engine, writer, &config.shared, reserve)?;
        Ok(Self { store, shared, file: None })
    }

    /// Brings all rows to rest, see [`Embedded::compact`]. `progress` is called after each step.
    ///
    /// # Errors
    /// The engine's error. Steps before remain.
    pub async fn bring_to_rest(&self, progress: impl FnMut(Compacted) + Send) -> Result<()> {
        self.store.compact(progress).await
    }
}

forward_backend! { impl[] for RedbBackend => |this| this.store }

/// The engine: takes snapshots.
struct Redb {
    shared: Shared,
    guarantees: Guarantees,
}

impl Engine for Redb {
    type Writer = RedbWriter;
    type Snapshot = RedbSnapshot;

    fn snapshot(&self) -> Result<RedbSnapshot> {
        self.shared.with(RedbSnapshot::take)
    }

    fn guarantees(&self) -> Guarantees {
        self.guarantees
    }

    fn close(&self) -> Result<()> {
        // What closing would write is kept in memory, and goes with it.
        drop(self.shared.take());
        Ok(())
    }
}
