//! What the suite needs to know of a backend.

use std::any::Any;
use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use annals_core::PersistenceBackend;
use async_trait::async_trait;

/// Any error; `?` turns a [`PersistenceError`](annals_core::PersistenceError) into one.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// What a harness answers.
pub type HarnessResult<T> = Result<T, BoxError>;

/// Keeps a condition up until it is dropped.
pub type Guard = Box<dyn Any + Send>;

/// How the suite gets at stores of one kind.
///
/// Cases run in parallel, each in a tokio runtime of its own and each on a store of its own: a
/// harness must not keep anything that is bound to a runtime, such as a connection, from one call
/// to the next.
///
/// The optional hooks answer `None` by default, and the cases that need them are then reported as
/// skipped.
#[async_trait]
pub trait Harness: Send + Sync + 'static {
    /// The kind of store, for the names of the tests and for messages: `sqlite`, say. One binary
    /// may run several suites; their names must differ.
    fn name(&self) -> String;

    /// Makes room for a new and empty store and says where it is: a path, a URL, anything with
    /// which [`open`](Self::open) finds it in another process too.
    ///
    /// Nothing needs to be there yet. The suite opens and initializes it, sometimes from several
    /// processes at once.
    ///
    /// # Errors
    /// Any, if it cannot be made; the case then fails with it.
    async fn create(&self) -> HarnessResult<String>;

    /// Opens the store at `location`, which may have been opened before, may be open at this
    /// moment, and may have been left behind by a process that was killed.
    ///
    /// # Errors
    /// Any. A store that one process only can have open answers the second with an error.
    async fn open(&self, location: &str) -> HarnessResult<Arc<dyn PersistenceBackend>>;

    /// Removes the store at `location`. All of the suite's handles are gone by then, unless the
    /// case failed.
    ///
    /// # Errors
    /// Any; it is printed and nothing more.
    async fn remove(&self, location: &str) -> HarnessResult<()> {
        let _ = location;
        Ok(())
    }

    /// Hook for VALUE-3: as [`open`](Self::open), with a size limit for values in bytes.
    ///
    /// # Errors
    /// Any; the case fails with it.
    async fn open_with_max_value_bytes(
        &self,
        location: &str,
        max_value_bytes: usize,
    ) -> HarnessResult<Option<Arc<dyn PersistenceBackend>>> {
        let _ = (location, max_value_bytes);
        Ok(None)
    }

    /// Hook for VALUE-4: overwrites the text of the value that is stored for `record` at
    /// `stored_at`, behind the backend's back. The suite has closed the store and opens it again
    /// afterwards.
    ///
    /// # Errors
    /// Any; the case fails with it.
    async fn corrupt(
        &self,
        location: &str,
        record: &str,
        stored_at: u64,
        text: &str,
    ) -> HarnessResult<Option<()>> {
        let _ = (location, record, stored_at, text);
        Ok(None)
    }

    /// Hook for CLEANUP-3: how many bytes the store at `location` takes, everything included. The
    /// suite has it open at the time.
    ///
    /// # Errors
    /// Any; the case fails with it.
    async fn size(&self, location: &str) -> HarnessResult<Option<u64>> {
        let _ = location;
        Ok(None)
    }

    /// Hook for CONCURRENT-3: locks the store from outside, as another process in the middle of a
    /// write does, until the guard is dropped. The suite has it open at the time.
    ///
    /// # Errors
    /// Any; the case fails with it.
    async fn lock(&self, location: &str) -> HarnessResult<Option<Guard>> {
        let _ = location;
        Ok(None)
    }

    /// Hook for DURABLE-3: makes every sync of the store at `location` fail until the guard is
    /// dropped. The suite has it open at the time.
    ///
    /// # Errors
    /// Any; the case fails with it.
    async fn fail_syncs(&self, location: &str) -> HarnessResult<Option<Guard>> {
        let _ = location;
        Ok(None)
    }

    /// Hook for DURABLE-5: lets no file of the store at `location` grow until the guard is dropped, as a
    /// full disk does. The suite has it open at the time.
    ///
    /// # Errors
    /// Any; the case fails with it.
    async fn fill_disk(&self, location: &str) -> HarnessResult<Option<Guard>> {
        let _ = location;
        Ok(None)
    }
}

/// `prefix` with an ending that no other call, in this process or another, gives: for the names of
/// files, schemas and databases. The ending has lower case letters, digits and `-` only.
pub fn unique_name(prefix: &str) -> String {
    static CALLS: AtomicU64 = AtomicU64::new(0);
    let call = CALLS.fetch_add(1, Ordering::Relaxed);
    let nanos = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    format!("{prefix}-{:x}-{nanos:x}-{call:x}", std::process::id())
}
