//! Allocation of record ids, block numbers and run ids.

use annals_core::{BackendError, ErrorKind, Result};

use crate::engine::{RecordId, RunId};

/// The next record id, block number and run id. None is allocated twice, because decoded blocks are
/// cached by these numbers.
///
/// An engine stores them beside its tables. It does not have to write them for every block, only when
/// blocks are removed: the next block number is also above that of the last block in the head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdAllocator {
    /// The next record's id.
    pub record: u64,
    /// The next block's number.
    pub block: u64,
    /// The next run's id.
    pub run: u64,
}

impl IdAllocator {
    /// The allocator of an empty store.
    pub const FIRST: Self = Self { record: 1, block: 1, run: 1 };

    /// The stored numbers, advanced beyond the last block in the head.
    #[must_use]
    pub fn after(self, last_block: Option<u64>) -> Self {
        let block = last_block.map_or(0, |last| last.saturating_add(1));
        Self { block: self.block.max(block), ..self }
    }

    /// Allocates a record id.
    ///
    /// # Errors
    /// When all 2^32 ids have been used.
    pub fn allocate_record(&mut self, engine: &'static str) -> Result<RecordId> {
        let id = RecordId::try_from(self.record).map_err(|_| {
            BackendError::new(engine, "store", ErrorKind::Other, "all record ids are used up")
        })?;
        self.record += 1;
        Ok(id)
    }

    /// Allocates a block number.
    pub fn allocate_block(&mut self) -> u64 {
        self.block += 1;
        self.block - 1
    }

    /// Allocates a run id.
    pub fn allocate_run(&mut self) -> RunId {
        self.run += 1;
        self.run - 1
    }
}
