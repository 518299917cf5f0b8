//! Where stores are made: an engine's files on a medium.

use std::collections::BTreeMap;
use std::io;
use std::marker::PhantomData;
use std::sync::Arc;

use annals_core::{PersistenceBackend, Result};
use tempfile::TempDir;

use crate::medium::Medium;

/// An engine that is tested.
pub trait Bed {
    /// Whether a store can be reopened after a failed sync while the kernel still shows pages that
    /// never got onto the medium. Otherwise the machine is restarted first.
    const OUTLIVES_A_FAILED_SYNC: bool;

    /// The name of a store's file.
    const FILE: &'static str;

    /// Opens or creates the store at a path, on the [medium under](Medium::under) that path, with
    /// [`tiny`](crate::tiny).
    ///
    /// # Errors
    /// The engine's error.
    fn open_on_medium(path: &str) -> Result<Arc<dyn PersistenceBackend>>;

    /// The same without a medium, for a store that lives long.
    ///
    /// # Errors
    /// The engine's error.
    fn open(path: &str) -> Result<Arc<dyn PersistenceBackend>>;
}

/// A folder for a new store.
pub struct Place<B> {
    folder: TempDir,
    path: String,
    bed: PhantomData<B>,
}

impl<B: Bed> Place<B> {
    /// A folder with a medium under the store's file.
    ///
    /// # Panics
    /// If the system refuses a folder.
    pub fn new(medium: Arc<Medium>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(B::FILE).display().to_string();
        Medium::lay_under(&path, medium);
        Self { folder, path, bed: PhantomData }
    }

    /// The store's file.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Opens the store, or creates it.
    ///
    /// # Errors
    /// The engine's error.
    pub fn open(&self) -> Result<Arc<dyn PersistenceBackend>> {
        B::open_on_medium(&self.path)
    }

    /// Leaves those files that the medium has after a loss of power.
    pub(crate) fn leave(&self, files: BTreeMap<String, Vec<u8>>) -> io::Result<()> {
        for file in std::fs::read_dir(self.folder.path())? {
            std::fs::remove_file(file?.path())?;
        }
        files.into_iter().try_for_each(|(path, content)| std::fs::write(path, content))
    }
}
