//! Space that is kept back, so that a full disk can be cleaned up.
//!
//! Removing rows writes before it frees anything. So a file that nothing is read from, the reserve, lies
//! beside the store. When opening the store or removing rows fails for want of space, the reserve shrinks
//! to its first line, the work is done once more, and the reserve then takes back what is free. Only a
//! removal that succeeds leaves a part of that to the next rows.

#[cfg_attr(any(target_os = "linux", target_os = "android"), path = "allocated.rs")]
#[cfg_attr(not(any(target_os = "linux", target_os = "android")), path = "none.rs")]
mod file;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use annals_core::Result;
use parking_lot::Mutex;

use crate::error::is_full;
use file::ReserveFile;

/// The reserve of one store.
#[derive(Debug)]
pub struct Reserve {
    store: Option<PathBuf>,
    lent: Mutex<Lent>,
    is_lent: AtomicBool,
}

/// The reserve while its space is free for work.
#[derive(Debug, Default)]
struct Lent {
    /// How many threads work with it.
    users: usize,
    /// Locked against other processes.
    file: Option<ReserveFile>,
}

impl Reserve {
    /// The reserve beside a store's file, which need not be there yet.
    pub fn beside(store: &Path) -> Self {
        Self { store: Some(store.to_owned()), ..Self::none() }
    }

    /// Of a store that is not a file.
    pub fn none() -> Self {
        Self { store: None, lent: Mutex::default(), is_lent: AtomicBool::new(false) }
    }

    /// Does work, and does it once more with the space of the reserve if there was none. Work that fails
    /// for want of space must have had no effect, or continue where it ended.
    ///
    /// # Errors
    /// Those of the work.
    pub fn lend<T>(&self, work: impl FnMut() -> Result<T>) -> Result<T> {
        self.lend_and(work, false)
    }

    /// As [`lend`](Self::lend), for work that removes rows.
    ///
    /// # Errors
    /// Those of the work.
    pub(crate) fn lend_to_remove<T>(&self, work: impl FnMut() -> Result<T>) -> Result<T> {
        self.lend_and(work, true)
    }

    fn lend_and<T>(&self, mut work: impl FnMut() -> Result<T>, removes: bool) -> Result<T> {
        match work() {
            Err(error) if is_full(&error) && self.release() => {
                let mut loan = Loan { reserve: self, has_removed: false };
                tracing::warn!("the disk is full, and the reserve is used");
                let done = work();
                loan.has_removed = removes && done.is_ok();
                done
            }
            done => done,
        }
    }

    /// Whether its space is free for work, and for nothing else.
    pub(crate) fn is_lent(&self) -> bool {
        self.is_lent.load(Ordering::Acquire)
    }

    /// Whether less is free than the reserve is to take. Work that nobody waits for is left alone then: it
    /// would take what a cleanup has freed for the next rows. And if it fails for want of space, redb's file
    /// has to be opened again, and streams end.
    pub(crate) fn is_short(&self) -> bool {
        self.store.as_deref().is_some_and(file::is_short)
    }

    /// Makes the reserve, or fits its size to that of the store, if the disk has ample space. A store
    /// without one works as well, so nobody is told.
    pub(crate) fn keep(&self) {
        let lent = self.lent.lock();
        if lent.users == 0
            && let Some(store) = &self.store
            && let Err(error) = file::keep(store)
        {
            tracing::debug!(%error, "no space could be reserved");
        }
    }

    /// Frees the space. Returns whether there was any.
    fn release(&self) -> bool {
        let mut lent = self.lent.lock();
        if lent.users == 0 {
            lent.file = self.store.as_deref().and_then(file::release);
        }
        let is_lent = lent.file.is_some();
        lent.users += usize::from(is_lent);
        self.is_lent.store(is_lent, Ordering::Release);
        is_lent
    }
}

/// The free bytes of the disk on which a store lies, where they can be known.
pub fn free_space(store: &Path) -> Option<u64> {
    file::free(store)
}

/// Ends with the space being taken back.
struct Loan<'a> {
    reserve: &'a Reserve,
    has_removed: bool,
}

impl Drop for Loan<'_> {
    fn drop(&mut self) {
        let mut lent = self.reserve.lent.lock();
        lent.users -= 1;
        if lent.users == 0 {
            self.reserve.is_lent.store(false, Ordering::Release);
            if let Some(file) = lent.file.take() {
                file.take_back(self.has_removed);
            }
        }
    }
}

#[cfg(test)]
#[cfg(any(target_os = "linux", target_os = "android"))]
mod tests;
