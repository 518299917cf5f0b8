//! What an engine has to bring.

use std::sync::Arc;

use annals_core::{Batch, Guarantees, Order, Pattern, PersistenceError, RawRow};

use crate::sweep::Sweep;

/// The number a record's name is interned as.
pub type RecordId = u32;

/// The place of a row within its record: time first, order of arrival among equal times second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// Unix time in milliseconds, 0 to `i64::MAX`.
    pub stored_at: u64,
    /// Upwards from 0 among rows of one record with the same time.
    pub seq: u32,
}

impl Key {
    /// The first place at a time.
    pub fn first_at(stored_at: u64) -> Self {
        Self { stored_at, seq: 0 }
    }

    /// The last place at a time.
    pub fn last_at(stored_at: u64) -> Self {
        Self { stored_at, seq: u32::MAX }
    }

    /// The place right after this one; `None` after the last of all.
    pub fn next(self) -> Option<Self> {
        match self.seq.checked_add(1) {
            Some(seq) => Some(Self { seq, ..self }),
            None => Some(Self::first_at(self.stored_at.checked_add(1)?)),
        }
    }

    /// The place right before this one; `None` before the first of all.
    pub fn previous(self) -> Option<Self> {
        match self.seq.checked_sub(1) {
            Some(seq) => Some(Self { seq, ..self }),
            None => Some(Self::last_at(self.stored_at.checked_sub(1)?)),
        }
    }
}

/// What a listing tells of a record's rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Summary {
    /// How many.
    pub count: u64,
    /// The smallest time, in Unix milliseconds.
    pub first: u64,
    /// The greatest time, in Unix milliseconds.
    pub last: u64,
}

/// An open store: takes snapshots for readers. The [`Writer`] lives on its own thread.
pub trait Engine: Send + Sync + 'static {
    /// The engine's writing half.
    type Writer: Writer;
    /// One state of the store.
    type Snapshot: Snapshot;

    /// Takes a snapshot of what is committed now. May block.
    ///
    /// # Errors
    /// What the engine reports.
    fn snapshot(&self) -> Result<Self::Snapshot, PersistenceError>;

    /// What the engine guarantees as it is configured.
    fn guarantees(&self) -> Guarantees;
}

/// The writing half of an engine, owned by one thread.
pub trait Writer: Send + 'static {
    /// Stores all batches, in order, in one transaction that is durable at the configured level
    /// when this returns Ok. A batch whose id was stored before is passed over.
    ///
    /// # Errors
    /// What the engine reports; then nothing of any batch is stored, or the error says that it
    /// cannot be known.
    fn store(&mut self, batches: &[Batch]) -> Result<(), PersistenceError>;

    /// The interned names.
    ///
    /// # Errors
    /// What the engine reports.
    fn records(&mut self) -> Result<Vec<(RecordId, Arc<str>)>, PersistenceError>;

    /// One step of a sweep in a transaction of its own: [`Sweep::step`] with at most `budget` rows.
    /// Names of records that are left without rows go too.
    ///
    /// # Errors
    /// What the engine reports; then nothing of this step is removed.
    fn sweep(&mut self, sweep: &mut Sweep, budget: u64) -> Result<(), PersistenceError>;

    /// What keeps the next transaction from succeeding, as far as it is known without trying.
    ///
    /// # Errors
    /// What is wrong.
    fn health(&mut self) -> Result<(), PersistenceError>;

    /// Housekeeping after a transaction; `idle` says that nobody waits. Failures are the engine's to
    /// remember and to report with the next call.
    fn maintain(&mut self, idle: bool);

    /// Lets go of the store after the last transaction.
    ///
    /// # Errors
    /// What the engine reports.
    fn close(self) -> Result<(), PersistenceError>;
}

/// One state of the store. Reads block, on a thread that may.
pub trait Snapshot: Send + 'static {
    /// The records that match, in byte order of their names. Some may have no rows.
    ///
    /// # Errors
    /// What the engine reports.
    fn records(&self, pattern: &Pattern) -> Result<Vec<(RecordId, Arc<str>)>, PersistenceError>;

    /// Count, first and last of a record; `None` if it has no rows.
    ///
    /// # Errors
    /// What the engine reports.
    fn summary(&self, record: RecordId) -> Result<Option<Summary>, PersistenceError>;

    /// The place of the `n`th newest row (counted from 1) between two places, both inclusive.
    ///
    /// # Errors
    /// What the engine reports.
    fn nth_newest(
        &self,
        record: RecordId,
        from: Key,
        to: Key,
        n: u64,
    ) -> Result<Option<Key>, PersistenceError>;

    /// Visits the rows of a record between two places, both inclusive, until `visit` answers
    /// false. Text that is not UTF-8 is handed on as [`NOT_TEXT`](Self::NOT_TEXT).
    ///
    /// # Errors
    /// What the engine reports.
    fn scan(
        &self,
        record: RecordId,
        from: Key,
        to: Key,
        order: Order,
        visit: &mut dyn FnMut(Key, &str) -> bool,
    ) -> Result<(), PersistenceError>;

    /// Stands in for a damaged value that is not even text. It is not JSON, so that it is counted
    /// as damaged where it is read.
    const NOT_TEXT: &'static str = "\u{fffd}";
}

/// Rows fetched at once.
pub(crate) type Page = Vec<RawRow>;
