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
    fn make(medium: Arc<Medium>) -> Self {
        vfs::register();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("history.db").display().to_string();
        vfs::put(&path, medium);
        Self { folder, path }
    }

    fn open(&self) -> Result<Arc<dyn PersistenceBackend>, PersistenceError> {
        let config = SqliteConfig::new(&self.path).with_vfs(vfs::NAME).with_tuning(tiny());
        Ok(Arc::new(SqliteBackend::open(config)?))
    }

    fn leave(&self, files: BTreeMap<String, Vec<u8>>) -> io::Result<()> {
        for file in std::fs::read_dir(self.folder.path())? {
            std::fs::remove_file(file?.path())?;
        }
        files.into_iter().try_for_each(|(path, content)| std::fs::write(path, content))
    }
}
