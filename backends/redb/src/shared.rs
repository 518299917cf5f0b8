//! The open file.

use std::fs::canonicalize;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};

use annals_core::{PersistenceError, Result};
use parking_lot::{Mutex, RwLock};
use redb::Database;

/// Opens the file again.
pub(crate) type Reopen = Box<dyn Fn() -> Result<Database> + Send>;

/// The open file, shared by the writer and snapshots, or the error that there is none. The lock is taken
/// for writing only to close and to reopen.
#[derive(Clone)]
pub(crate) struct Shared(Arc<Slot>);

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

type Slot = RwLock<Result<Database>>;

/// The files that this process has opened.
static OPENED: Mutex<Vec<(PathBuf, Weak<Slot>)>> = Mutex::new(Vec::new());

impl Shared {
    pub(crate) fn new(database: Database, path: &Path) -> Self {
        let slot = Arc::new(RwLock::new(Ok(database)));
        let mut opened = OPENED.lock();
        opened.retain(|(_, slot)| slot.strong_count() > 0);
        // A history on the user's own storage has no such path, and needs no entry.
        opened.extend(canonicalize(path).map(|path| (path, Arc::downgrade(&slot))));
        Self(slot)
    }

    /// Whether this process has the file open.
    pub(crate) fn is_open_here(path: &Path) -> bool {
        let Ok(path) = canonicalize(path) else { return false };
        let opened = OPENED.lock();
        let mut slots = opened.iter().filter(|(other, _)| *other == path);
        // A slot that is locked is being reopened.
        slots.any(|(_, slot)| {
            slot.upgrade().is_some_and(|slot| slot.try_read().is_none_or(|file| file.is_ok()))
        })
    }

    pub(crate) fn with<T>(&self, work: impl FnOnce(&Database) -> Result<T>) -> Result<T> {
        work(self.0.read().as_ref().map_err(Clone::clone)?)
    }

    /// Runs work that nobody else may be in the way of.
    pub(crate) fn with_mut<T>(&self, work: impl FnOnce(&mut Database) -> Result<T>) -> Result<T> {
        let mut slot = self.0.write();
        work(slot.as_mut().map_err(|error| error.clone())?)
    }

    /// Runs work that nobody else may be in the way of, and goes on with the file that it opened.
    pub(crate) fn exchange(
        &self,
        work: impl FnOnce(&mut Database) -> Result<Option<Database>>,
    ) -> Result<()> {
        let mut slot = self.0.write();
        if let Some(other) = work(slot.as_mut().map_err(|error| error.clone())?)? {
            *slot = Ok(other);
        }
        Ok(())
    }

    /// Closes the file and opens it again. Open streams end with an error.
    pub(crate) fn reopen(&self, reopen: &Reopen) -> Result<()> {
        let mut shared = self.0.write();
        // redb's lock excludes this process too, so the file has to be closed first.
        *shared = Err(PersistenceError::BackendShutdown);
        *shared = reopen();
        shared.as_ref().map(drop).map_err(Clone::clone)
    }

    pub(crate) fn take(&self) -> Option<Database> {
        std::mem::replace(&mut *self.0.write(), Err(PersistenceError::BackendShutdown)).ok()
    }
}
