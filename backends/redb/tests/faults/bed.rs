//! A redb file on a medium.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use annals_core::{PersistenceBackend, PersistenceError};
use annals_redb::{RedbBackend, RedbConfig};
use annals_test_faults::{Bed, Medium, tiny};
use redb::{DatabaseError, StorageError};
use tempfile::TempDir;

use crate::storage::{self, Storage};

pub(crate) struct Files {
    _folder: TempDir,
    path: String,
}

impl Bed for Files {
    /// It would build on pages that are not there, and does not look after a proper close.
    const OUTLIVES_A_FAILED_SYNC: bool = false;

    fn make(medium: Arc<Medium>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("history.redb").display().to_string();
        storage::put(&path, medium);
        Self { _folder: folder, path }
    }

    fn path(&self) -> &str {
        &self.path
    }

    fn open(&self) -> Result<Arc<dyn PersistenceBackend>, PersistenceError> {
        Ok(Arc::new(open(RedbConfig::new(&self.path).with_tuning(tiny()))?))
    }

    fn leave(&self, files: BTreeMap<String, Vec<u8>>) -> io::Result<()> {
        files.into_iter().try_for_each(|(path, content)| std::fs::write(path, content))
    }
}

/// Opens a file on the medium that was put under it.
pub(crate) fn open(config: RedbConfig) -> Result<RedbBackend, PersistenceError> {
    let path = config.path().display().to_string();
    let storage = move || {
        Storage::open(&path).map_err(|error| match error {
            DatabaseError::Storage(StorageError::Io(error)) => error,
            other => io::Error::other(other),
        })
    };
    RedbBackend::open_with(storage, config)
}
