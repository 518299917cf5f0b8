//! The open file.

use std::fs::canonicalize;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};

use annals_core::{PersistenceError, Result};
use annals_embedded::OpenFile;
use parking_lot::{Mutex, RwLock};
use redb::Database;

use crate::ENGINE;

/// Opens the file again.
pub(crate) type Reopen = Box<dyn Fn() -> Result<Database> + Send>;

/// The open file, shared by the writer and snapshots, or the error that there is none. The lock is taken
/// for writing only to close and to reopen.
#[derive(Clone)]
pub(crate) struct Shared {
    slot: Arc<Slot>,
    /// `None` on the user's own storage.
    file: Arc<Mutex<Option<OpenFile>>>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

type Slot = RwLock<Result<Database>>;

/// The files that this process has opened.
static OPENED: Mutex<Vec<(PathBuf, Weak<Slot>)>> = Mutex::new(Vec::new());

impl Shared {
    /// `path` is `None` on the user's own storage.
    pub(crate) fn new(database: Database, path: Option<&Path>) -> Self {
        let slot = Arc::new(RwLock::new(Ok(database)));
        let mut opened = OPENED.lock();
        opened.retain(|(_, slot)| slot.strong_count() > 0);
        let place = path.and_then(|path| canonicalize(path).ok());
        opened.extend(place.map(|path| (path, Arc::downgrade(&slot))));
        let file = path.map(|path| OpenFile::at(ENGINE, path));
        Self { slot, file: Arc::new(Mutex::new(file)) }
    }

    /// Fails if the file is no longer at its path.
    pub(crate) fn check(&self, operation: &'static str) -> Result<()> {
        // While a compaction replaces the file, it is another one.
        let _slot = self.slot.read();
        self.check_file(operation)
    }

    fn check_file(&self, operation: &'static str) -> Result<()> {
        self.file.lock().as_ref().map_or(Ok(()), |file| file.check(operation))
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
        work(self.slot.read().as_ref().map_err(Clone::clone)?)
    }

    /// Runs work that nobody else may be in the way of.
    pub(crate) fn with_mut<T>(&self, work: impl FnOnce(&mut Database) -> Result<T>) -> Result<T> {
        let mut slot = self.slot.write();
        work(slot.as_mut().map_err(|error| error.clone())?)
    }

    /// Runs work that nobody else may be in the way of, and goes on with the file that it opened.
    pub(crate) fn exchange(
        &self,
        work: impl FnOnce(&mut Database) -> Result<Option<Database>>,
    ) -> Result<()> {
        let mut slot = self.slot.write();
        if let Some(other) = work(slot.as_mut().map_err(|error| error.clone())?)? {
            *slot = Ok(other);
            if let Some(file) = &mut *self.file.lock() {
                file.renew();
            }
        }
        Ok(())
    }

    /// Closes the file and opens it again. Open streams end with an error.
    pub(crate) fn reopen(&self, reopen: &Reopen) -> Result<()> {
        let mut shared = self.slot.write();
        self.check_file("open")?;
        // redb's lock excludes this process too, so the file has to be closed first.
        *shared = Err(PersistenceError::BackendShutdown);
        *shared = reopen();
        shared.as_ref().map(drop).map_err(Clone::clone)
    }

    pub(crate) fn take(&self) -> Option<Database> {
        std::mem::replace(&mut *self.slot.write(), Err(PersistenceError::BackendShutdown)).ok()
    }
}
