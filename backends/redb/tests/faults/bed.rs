//! A redb file on a medium.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use annals_core::{BackendError, ErrorKind, PersistenceBackend, PersistenceError};
use annals_redb::{RedbBackend, RedbConfig};
use annals_test_faults::{Bed, Medium, tiny};
use tempfile::TempDir;

use crate::storage::{self, Storage};

pub(crate) struct Files {
    _folder: TempDir,
    path: String,
}

impl Bed for Files {
    fn make(medium: Arc<Medium>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("history.redb").display().to_string();
        storage::put(&path, medium);
        Self { _folder: folder, path }
    }

    fn open(&self) -> Result<Arc<dyn PersistenceBackend>, PersistenceError> {
        let storage = Storage::open(&self.path)
            .map_err(|error| BackendError::new("test", "open", ErrorKind::Io, error.to_string()))?;
        let config = RedbConfig::new(&self.path).with_tuning(tiny());
        Ok(Arc::new(RedbBackend::open_on(storage, config)?))
    }

    fn leave(&self, files: BTreeMap<String, Vec<u8>>) -> io::Result<()> {
        files.into_iter().try_for_each(|(path, content)| std::fs::write(path, content))
    }
}
