//! redb on a medium.

use std::sync::Arc;

use annals_core::{PersistenceBackend, Result};
use annals_redb::{RedbBackend, RedbConfig};
use annals_test_faults::{Bed, tiny, tiny_for_long};

use crate::storage::Storage;

pub(crate) struct Redb;

impl Bed for Redb {
    /// It would rely on pages that are not there, and does not check them after a proper close.
    const OUTLIVES_A_FAILED_SYNC: bool = false;
    const FILE: &'static str = "history.redb";

    fn open_on_medium(path: &str) -> Result<Arc<dyn PersistenceBackend>> {
        Ok(Arc::new(open(RedbConfig::new(path).with_tuning(tiny()))?))
    }

    fn open(path: &str) -> Result<Arc<dyn PersistenceBackend>> {
        Ok(Arc::new(RedbBackend::open(RedbConfig::new(path).with_tuning(tiny_for_long()))?))
    }
}

/// Opens a file on the medium under it.
pub(crate) fn open(config: RedbConfig) -> Result<RedbBackend> {
    let path = config.path().display().to_string();
    RedbBackend::open_with(move || Storage::open(&path), config)
}
