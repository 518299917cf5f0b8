//! What an engine provides: transactions, snapshots and the tables that both see.

use std::ops::RangeInclusive;

use annals_core::{Guarantees, Result};

use crate::error::{corrupt, format_error};
use crate::ids::{RecordId, Run, RunId};
use crate::state::{LastBatch, State};

/// What happened to the store since this writer's last transaction, other than by this writer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExternalChange {
    /// Nothing.
    None,
    /// Another process wrote: names may have been added or removed.
    Written,
    /// The file was reopened and may have lost the newest transactions, so numbers of blocks and runs
    /// may be allocated a second time.
    Reopened,
}

/// An open store, which takes snapshots for readers. The [`Writer`] belongs to another thread.
pub trait Engine: Send + Sync + 'static {
    /// The engine's writing half.
    type Writer: Writer;
    /// One state of the store.
    type Snapshot: Snapshot;

    /// Takes a snapshot of the committed state. May block.
    ///
    /// # Errors
    /// The engine's error.
    fn snapshot(&self) -> Result<Self::Snapshot>;

    /// What the engine guarantees in its configuration.
    fn guarantees(&self) -> Guarantees;

    /// Closes a store that has no [`Writer`] to do it.
    ///
    /// # Errors
    /// The engine's error.
    fn close(&self) -> Result<()> {
        Ok(())
    }
}

/// The writing half of an engine, owned by one thread.
pub trait Writer: Send + 'static {
    /// Runs `work` in a transaction and commits it. The transaction is durable at the configured
    /// level when this returns Ok. `operation` is for errors. An engine may roll the transaction back
    /// and run it again, if that makes room for it.
    ///
    /// # Errors
    /// The error of `work` or of the engine. Nothing was applied, unless the error's outcome is
    /// unknown.
    fn commit<T>(
        &mut self,
        operation: &'static str,
        work: impl FnMut(&mut dyn Transaction) -> Result<T>,
    ) -> Result<T>;

    /// Reports what prevents the next transaction, as far as it is known without trying.
    ///
    /// # Errors
    /// What is wrong.
    fn health(&mut self) -> Result<()>;

    /// Housekeeping after a transaction; `idle` means that no job waits. The engine keeps failures
    /// and reports them with the next call.
    fn maintain(&mut self, idle: bool);

    /// Housekeeping while the compactor holds no snapshot, so that a log can start over. After a
    /// cleanup, space should be freed at once. Failures are handled as in
    /// [`maintain`](Self::maintain).
    fn checkpoint(&mut self, after_cleanup: bool);

    /// Closes the store after the last transaction.
    ///
    /// # Errors
    /// The engine's error.
    fn close(self) -> Result<()>;
}

/// The only transaction that writes. Every method fails with the engine's error.
#[expect(clippy::missing_errors_doc, reason = "said once, for all of them")]
pub trait Transaction {
    /// The tables as this transaction sees them.
    fn tables(&self) -> &dyn Tables;

    /// What happened since this writer's last transaction.
    fn external_change(&self) -> ExternalChange;

    /// The state, including what this transaction has changed. The engine stores it if it has changed.
    fn state(&mut self) -> &mut State;

    /// Adds a name, which is not there.
    fn put_name(&mut self, name: &str, record: RecordId) -> Result<()>;

    /// Removes a name.
    fn remove_name(&mut self, name: &str) -> Result<()>;

    /// Adds or replaces the last batch of a writer.
    fn put_writer(&mut self, writer: u128, last: LastBatch) -> Result<()>;

    /// Removes a writer.
    fn remove_writer(&mut self, writer: u128) -> Result<()>;

    /// Adds a block to the head, with a number greater than all before.
    fn put_head(&mut self, number: u64, block: &[u8]) -> Result<()>;

    /// Removes the blocks of the head up to a number, inclusive.
    fn remove_head(&mut self, last: u64) -> Result<()>;

    /// Adds a run with its index.
    fn put_run(&mut self, run: &Run, index: &[u8]) -> Result<()>;

    /// Adds a block of a run.
    fn put_block(&mut self, run: RunId, number: u32, block: &[u8]) -> Result<()>;

    /// Removes a run with its index and blocks.
    fn remove_run(&mut self, run: RunId) -> Result<()>;
}

/// One state of the store. Reading it blocks.
pub trait Snapshot: Send + 'static {
    /// The tables of this state.
    ///
    /// # Errors
    /// The engine's error.
    fn tables(&self) -> Result<&dyn Tables>;
}

/// Receives the number and the content of a block of the head.
pub type Visit<'a> = dyn FnMut(u64, &[u8]) -> Result<()> + 'a;

/// Receives a name and its record's id.
pub type VisitName<'a> = dyn FnMut(&str, RecordId) -> Result<()> + 'a;

/// The tables of one state of the store, as they are stored: who reads them checks them. Every method fails with the engine's error.
#[expect(clippy::missing_errors_doc, reason = "said once, for all of them")]
pub trait Tables {
    /// The encoded state, if there is one. A transaction that writes sees the one before it.
    fn state(&self) -> Result<Option<Vec<u8>>>;

    /// Visits all names in byte order. Some may have no rows. Fails with the error of `visit`, too.
    fn names(&self, visit: &mut VisitName<'_>) -> Result<()>;

    /// The last batch of a writer, if the writer is remembered.
    fn writer(&self, writer: u128) -> Result<Option<LastBatch>>;

    /// All writers, in any order.
    fn writers(&self) -> Result<Vec<(u128, LastBatch)>>;

    /// Visits blocks of the head in order of their numbers. Fails with the error of `visit`, too.
    fn head(&self, numbers: RangeInclusive<u64>, visit: &mut Visit<'_>) -> Result<()>;

    /// The runs, in any order.
    fn runs(&self) -> Result<Vec<Run>>;

    /// A run's encoded index; `None` if there is no such run.
    fn run_index(&self, run: RunId) -> Result<Option<Vec<u8>>>;

    /// A run's encoded block; `None` if there is no such block.
    fn block(&self, run: RunId, number: u32) -> Result<Option<Vec<u8>>>;
}

impl State {
    /// The state that tables have.
    ///
    /// # Errors
    /// The engine's error; [`ErrorKind::Corrupt`](annals_core::ErrorKind::Corrupt) if there is none.
    pub fn of(engine: &'static str, tables: &dyn Tables) -> Result<Self> {
        let stored =
            tables.state()?.ok_or_else(|| corrupt(engine, "the state of the store is missing"))?;
        Self::decode(&stored).map_err(|error| format_error(engine, error))
    }
}
