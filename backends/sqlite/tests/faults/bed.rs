//! A SQLite file on a medium.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use annals_core::{PersistenceBackend, PersistenceError};
use annals_sqlite::{SqliteBackend, SqliteConfig};
use annals_test_faults::{Bed, Medium, tiny};
use tempfile::TempDir;

use crate::vfs;

pub(crate) struct Files {
    folder: TempDir,
    path: String,
}

impl Bed for Files {
    const OUTLIVES_A_FAILED_SYNC: bool = true;

    fn make(medium: Arc<Medium>) -> Self {
        vfs::register();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("history.db").display().to_string();
        vfs::put(&path, medium);
        Self { folder, path }
    }

    fn path(&self) -> &str {
        &self.path
    }

    fn open(&self) -> Result<Arc<dyn PersistenceBackend>, PersistenceError> {
        Ok(Arc::new(open(&self.path)?))
    }

    fn leave(&self, files: BTreeMap<String, Vec<u8>>) -> io::Result<()> {
        for file in std::fs::read_dir(self.folder.path())? {
            std::fs::remove_file(file?.path())?;
        }
        files.into_iter().try_for_each(|(path, content)| std::fs::write(path, content))
    }
}

/// Opens a file on the medium that was put under it.
pub(crate) fn open(path: &str) -> Result<SqliteBackend, PersistenceError> {
    vfs::register();
    SqliteBackend::open(SqliteConfig::new(path).with_vfs(vfs::NAME).with_tuning(tiny()))
}
