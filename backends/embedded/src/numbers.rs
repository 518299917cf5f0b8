//! The numbers that a store gives.

use annals_core::{BackendError, ErrorKind, PersistenceError};

use crate::engine::{RecordId, RunId};

/// The next numbers of records, blocks and runs. None is given twice: what readers have decoded goes
/// by them.
///
/// An engine keeps them beside its tables. It need not write them for every block, since the next
/// number of a block is also above that of the last one in the head: only when blocks are removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Numbers {
    /// The next record's.
    pub record: u64,
    /// The next block's.
    pub block: u64,
    /// The next run's.
    pub run: u64,
}

impl Numbers {
    /// Those of a store without anything in it.
    pub const FIRST: Self = Self { record: 1, block: 1, run: 1 };

    /// What is written, made true by the number of the last block in the head.
    #[must_use]
    pub fn after(self, last_block: Option<u64>) -> Self {
        let block = last_block.map_or(0, |last| last.saturating_add(1));
        Self { block: self.block.max(block), ..self }
    }

    /// Gives a record its id.
    ///
    /// # Errors
    /// When all are used up: four thousand million names are.
    pub fn take_record(&mut self, engine: &'static str) -> Result<RecordId, PersistenceError> {
        let id = RecordId::try_from(self.record).map_err(|_| {
            BackendError::new(engine, "store", ErrorKind::Other, "all record ids are used up")
        })?;
        self.record += 1;
        Ok(id)
    }

    /// Gives a block its number.
    pub fn take_block(&mut self) -> u64 {
        self.block += 1;
        self.block - 1
    }

    /// Gives a run its number.
    pub fn take_run(&mut self) -> RunId {
        self.run += 1;
        self.run - 1
    }
}
