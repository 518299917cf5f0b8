//! What an engine has to bring.

use std::ops::RangeInclusive;
use std::sync::Arc;

use annals_core::{BatchId, Guarantees, Pattern, PersistenceError, RawRow};

/// The number a record's name is interned as. It is never used again for another name.
pub type RecordId = u32;

/// The number of a run. It is never used again for another run.
pub type RunId = u64;

/// What is known of a run without its directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// Its number.
    pub id: RunId,
    /// Where it stands among the runs in order of arrival.
    pub order: RunOrder,
    /// How many rows it has.
    pub rows: u64,
    /// The smallest time in it, in Unix milliseconds.
    pub first: u64,
    /// The greatest time in it, in Unix milliseconds.
    pub last: u64,
    /// The size of its rows before they were compressed.
    pub bytes: u64,
}

/// The order of arrival among runs. Of two rows of one record with the same time, the one in the
/// run with the greater order came later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunOrder {
    /// The last block of the head that went into it.
    pub head: u64,
    /// A run may be split in two: 0 for the older rows, 1 for the newest ones of each record.
    pub part: u8,
}

/// A run to be written.
#[derive(Debug)]
pub struct RunToWrite<'a> {
    /// Its place among the runs, and what else is kept of it. The id is still open, and 0.
    pub run: Run,
    /// The encoded directory.
    pub directory: &'a [u8],
    /// The encoded blocks, numbered from 0.
    pub blocks: &'a [Vec<u8>],
}

/// What others did to the store since this writer's last transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Since {
    /// Nothing.
    Nothing,
    /// Another process wrote: names may be gone, or new.
    OthersWrote,
    /// The file was opened anew and may be without what was written last: numbers of blocks and
    /// runs may have been given a second time.
    Reopened,
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
    /// Runs `work` in one transaction that is durable at the configured level when this returns
    /// Ok.
    ///
    /// # Errors
    /// What `work` or the engine reports; then nothing stays, or the error says that it cannot be
    /// known.
    fn transaction<T>(
        &mut self,
        operation: &'static str,
        work: impl FnOnce(&mut dyn Transaction) -> Result<T, PersistenceError>,
    ) -> Result<T, PersistenceError>;

    /// What keeps the next transaction from succeeding, as far as it is known without trying.
    ///
    /// # Errors
    /// What is wrong.
    fn health(&mut self) -> Result<(), PersistenceError>;

    /// Housekeeping after a transaction; `idle` says that nobody waits. Failures are the engine's to
    /// remember and to report with the next call.
    fn maintain(&mut self, idle: bool);

    /// Housekeeping at a time when the folding holds no snapshot: a log can begin anew. After a
    /// cleanup space is wanted back now rather than later. Failures as with
    /// [`maintain`](Self::maintain).
    fn settle(&mut self, after_cleanup: bool);

    /// Lets go of the store after the last transaction.
    ///
    /// # Errors
    /// What the engine reports.
    fn close(self) -> Result<(), PersistenceError>;
}

/// A transaction that writes, alone.
pub trait Transaction {
    /// The tables as this transaction sees them.
    fn tables(&self) -> &dyn Tables;

    /// What others did since this writer's last transaction.
    fn since(&self) -> Since;

    /// Records the batch's number; answers whether it is above all of its writer's before.
    ///
    /// # Errors
    /// What the engine reports.
    fn claim(&mut self, batch: BatchId) -> Result<bool, PersistenceError>;

    /// Finds or makes the ids of names, none of which comes twice. In byte order they cost least.
    ///
    /// # Errors
    /// What the engine reports.
    fn intern(&mut self, names: &[&str]) -> Result<Vec<RecordId>, PersistenceError>;

    /// Appends a block to the head and answers its number, which is greater than all before.
    ///
    /// # Errors
    /// What the engine reports.
    fn append(&mut self, block: &[u8]) -> Result<u64, PersistenceError>;

    /// Removes the blocks of the head up to a number, inclusive.
    ///
    /// # Errors
    /// What the engine reports.
    fn remove_head(&mut self, last: u64) -> Result<(), PersistenceError>;

    /// Writes a run under an id of its own.
    ///
    /// # Errors
    /// What the engine reports.
    fn add_run(&mut self, run: &RunToWrite<'_>) -> Result<(), PersistenceError>;

    /// Removes a run with its directory and blocks.
    ///
    /// # Errors
    /// What the engine reports.
    fn remove_run(&mut self, run: RunId) -> Result<(), PersistenceError>;

    /// Removes a name, if it still has this id: another process may have given it a new one.
    ///
    /// # Errors
    /// What the engine reports.
    fn remove_name(&mut self, name: &str, record: RecordId) -> Result<(), PersistenceError>;

    /// Lets go of writers beyond those that stored last. Blocks tell the order: clocks jump.
    ///
    /// # Errors
    /// What the engine reports.
    fn forget_writers(&mut self) -> Result<(), PersistenceError>;
}

/// One state of the store. Reads block, on a thread that may.
pub trait Snapshot: Send + 'static {
    /// The tables of this state.
    ///
    /// # Errors
    /// What the engine reports.
    fn tables(&self) -> Result<&dyn Tables, PersistenceError>;
}

/// Takes the number of a block of the head and the block.
pub type Visit<'a> = dyn FnMut(u64, &[u8]) -> Result<(), PersistenceError> + 'a;

/// The tables of one state of the store.
pub trait Tables {
    /// The records that match, in byte order of their names. Some may have no rows.
    ///
    /// # Errors
    /// What the engine reports.
    fn records(&self, pattern: &Pattern) -> Result<Vec<(RecordId, Arc<str>)>, PersistenceError>;

    /// The numbers of the first and the last block of the head, if it has any.
    ///
    /// # Errors
    /// What the engine reports.
    fn head_bounds(&self) -> Result<Option<(u64, u64)>, PersistenceError>;

    /// Visits blocks of the head in order of their numbers.
    ///
    /// # Errors
    /// What `visit` or the engine reports.
    fn head(
        &self,
        numbers: RangeInclusive<u64>,
        visit: &mut Visit<'_>,
    ) -> Result<(), PersistenceError>;

    /// The runs, in any order.
    ///
    /// # Errors
    /// What the engine reports.
    fn runs(&self) -> Result<Vec<Run>, PersistenceError>;

    /// A run's encoded directory; `None` if there is no such run.
    ///
    /// # Errors
    /// What the engine reports.
    fn directory(&self, run: RunId) -> Result<Option<Vec<u8>>, PersistenceError>;

    /// A run's encoded block; `None` if there is no such block.
    ///
    /// # Errors
    /// What the engine reports.
    fn block(&self, run: RunId, number: u32) -> Result<Option<Vec<u8>>, PersistenceError>;
}

/// Rows fetched at once.
pub(crate) type Page = Vec<RawRow>;
