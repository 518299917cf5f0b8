//! SQLite on a medium.

use std::sync::Arc;

use annals_core::{PersistenceBackend, Result};
use annals_sqlite::{SqliteBackend, SqliteConfig};
use annals_test_faults::{Bed, tiny, tiny_for_long};

use crate::vfs;

pub(crate) struct Sqlite;

impl Bed for Sqlite {
    const OUTLIVES_A_FAILED_SYNC: bool = true;
    const FILE: &'static str = "history.db";

    fn open_on_medium(path: &str) -> Result<Arc<dyn PersistenceBackend>> {
        vfs::register();
        let config = SqliteConfig::new(path).with_vfs(vfs::NAME).with_tuning(tiny());
        Ok(Arc::new(SqliteBackend::open(config)?))
    }

    fn open(path: &str) -> Result<Arc<dyn PersistenceBackend>> {
        Ok(Arc::new(SqliteBackend::open(SqliteConfig::new(path).with_tuning(tiny_for_long()))?))
    }
}
