//! The history of live records in a SQLite file.
//!
//! [`SqliteBackend::new`] opens or creates the file and missing parent folders, synchronously and
//! without a runtime. One thread writes, with group commit. Readers have connections of their own and
//! never wait for it. Several processes can use one file.
//!
//! ```
//! # use annals_core::{PersistenceBackend, QueryExt};
//! # use annals_sqlite::SqliteBackend;
//! # let folder = tempfile::tempdir().unwrap();
//! # let file = folder.path().join("data/history.db");
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
//! let history = SqliteBackend::new(file)?;
//! history.store("accuracy::vienna", &serde_json::json!(0.94), 1_740_081_234_000).await?;
//! let latest: Vec<f64> = history.query_latest("accuracy::*", 5).await?;
//! assert_eq!(latest, [0.94]);
//! # Ok::<(), annals_core::PersistenceError>(()) }).unwrap();
//! ```
//!
//! A file that AimDB's own SQLite backend or an older version of this crate wrote is converted, in one
//! transaction, when it is opened. If that fails, the file is unchanged.
//!
//! Patterns are globs unless a query selects another grammar: `*` also matches dots, so `sensors.*`
//! returns `sensors.secret.deep`. To match AimDB's dotted topics segment by segment, use
//! [`Grammar::Topic`](annals_core::Grammar::Topic).
//!
//! Rows are stored in compressed blocks, which SQLite's own tools cannot read. `annals sql` runs SQL on
//! the rows.

mod aimdb;
mod config;
mod error;
mod maintenance;
mod open;
mod read;
mod read_only;
mod salvage;
mod schema;
mod tables;
mod transaction;
mod unchanged;
mod v1;
mod v2;
mod v3;
mod write;

use std::path::Path;
use std::sync::Arc;

use annals_core::{Guarantees, Result, forward_backend};
use annals_embedded::{Compacted, Embedded, Engine, Reserve};

pub use annals_embedded::{Damage, Report, remove_unfinished_files};
pub use config::SqliteConfig;

use read::{ConnectionPool, SqliteSnapshot};
use write::SqliteWriter;

/// The engine's name in errors and URLs.
const ENGINE: &str = "sqlite";

/// A history in a SQLite file.
///
/// Clones share the file's connections. Dropping the last one waits until everything accepted is
/// stored; [`close`](annals_core::PersistenceBackend::close) does the same without blocking.
#[derive(Debug, Clone)]
pub struct SqliteBackend {
    store: Embedded<Sqlite>,
    config: SqliteConfig,
}

impl SqliteBackend {
    /// Opens or creates the file at `path` with the default options: every acknowledged row survives
    /// the loss of power.
    ///
    /// # Errors
    /// If the file cannot be opened or created, is not a SQLite database, belongs to another program, or
    /// was written by a newer version.
    pub fn new(path: impl AsRef<Path>) -> Result<Self> {
        Self::open(SqliteConfig::new(path))
    }

    /// Opens or creates a file with these options. Waits up to the busy timeout for other processes that
    /// create it at the same time.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn open(config: SqliteConfig) -> Result<Self> {
        let readers = ConnectionPool::new(config.clone());
        if config.shared.read_only {
            drop(readers.snapshot()?);
            let engine = Sqlite { readers, guarantees: config.guarantees() };
            let store = Embedded::read_only(ENGINE, engine, &config.shared)?;
            return Ok(Self { store, config });
        }
        let reserve = Arc::new(Reserve::beside(&config.shared.path));
        let writer = reserve.lend(|| SqliteWriter::open(&config, readers.clone()))?;
        let engine = Sqlite { readers, guarantees: config.guarantees() };
        let store = Embedded::start(ENGINE, engine, writer, &config.shared, reserve)?;
        Ok(Self { store, config })
    }

    /// Brings all rows to rest, see [`Embedded::compact`]. `progress` is called after each step.
    ///
    /// # Errors
    /// The engine's error. Steps before remain.
    pub async fn bring_to_rest(&self, progress: impl FnMut(Compacted) + Send) -> Result<()> {
        self.store.compact(progress).await
    }
}

forward_backend! { impl[] for SqliteBackend => |this| this.store }

/// The engine: takes snapshots.
struct Sqlite {
    readers: ConnectionPool,
    guarantees: Guarantees,
}

impl Engine for Sqlite {
    type Writer = SqliteWriter;
    type Snapshot = SqliteSnapshot;

    fn snapshot(&self) -> Result<SqliteSnapshot> {
        self.readers.snapshot()
    }

    fn guarantees(&self) -> Guarantees {
        self.guarantees
    }

    fn close(&self) -> Result<()> {
        self.readers.close();
        Ok(())
    }
}
