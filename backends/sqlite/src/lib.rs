//! The history of live records in a SQLite file.
//!
//! [`SqliteBackend::new`] opens or creates the file, synchronously and without a runtime, and makes
//! missing parent folders. One thread writes, with group commit; readers have connections of their
//! own and never wait for it. Several processes may use one file.
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
//! A file written by AimDB's own SQLite backend opens with its rows, and so does one of this crate's
//! first version: it is converted in one transaction when it is opened, and stays as it was if that
//! fails.
//!
//! Rows lie in compressed blocks: `annals sql` answers SQL about them.

mod aimdb;
mod config;
mod error;
mod place;
mod read;
mod schema;
mod tables;
mod v1;
mod v2;
mod write;

use std::path::Path;

use annals_core::{Guarantees, PersistenceError, forward_backend};
use annals_embedded::{Embedded, Engine};

pub use config::SqliteConfig;

use read::{Idle, Pool, SqliteSnapshot};
use write::SqliteWriter;

/// The engine's name in errors and URLs.
const ENGINE: &str = "sqlite";

/// A history in a SQLite file.
///
/// Clones share the file's connections. Dropping the last one waits until everything accepted is
/// stored; [`close`](annals_core::PersistenceBackend::close) does the same without blocking.
#[derive(Debug, Clone)]
pub struct SqliteBackend(Embedded<Sqlite>);

impl SqliteBackend {
    /// Opens or creates the file at `path` with the default settings: every acknowledged row
    /// survives the loss of power.
    ///
    /// # Errors
    /// When the file cannot be opened or made, is not a SQLite database, belongs to another
    /// program, or was written by a newer version.
    pub fn new(path: impl AsRef<Path>) -> Result<Self, PersistenceError> {
        Self::open(SqliteConfig::new(path))
    }

    /// Opens or creates a file with settings of one's own. Waits up to the busy timeout for other
    /// processes that are creating it at the same time.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn open(config: SqliteConfig) -> Result<Self, PersistenceError> {
        let idle = Idle::default();
        let writer = SqliteWriter::open(&config, idle.clone())?;
        let shared = config.shared.clone();
        let engine = Sqlite { guarantees: config.guarantees(), pool: Pool::new(config, idle) };
        Ok(Self(Embedded::start(ENGINE, engine, writer, &shared)?))
    }
}

forward_backend! { impl[] for SqliteBackend => |this| this.0 }

/// The engine: hands out snapshots.
struct Sqlite {
    pool: Pool,
    guarantees: Guarantees,
}

impl Engine for Sqlite {
    type Writer = SqliteWriter;
    type Snapshot = SqliteSnapshot;

    fn snapshot(&self) -> Result<SqliteSnapshot, PersistenceError> {
        self.pool.snapshot()
    }

    fn guarantees(&self) -> Guarantees {
        self.guarantees
    }
}
