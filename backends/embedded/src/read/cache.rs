//! What all readers of a store share: the decoded head, run indexes and blocks.
//!
//! Blocks and runs never change and their numbers are not reused, so an entry never becomes wrong.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use annals_core::aggregate::Member;
use annals_core::{PersistenceError, Result};
use parking_lot::Mutex;
use quick_cache::Weighter;
use quick_cache::unsync::Cache;

use crate::engine::{Run, RunId, Tables};
use crate::error::{corrupt, format_error};
use crate::format::{Block, Numbers, RunIndex};
use crate::head::Head;

/// Bytes of run indexes and of blocks that are kept: enough for the indexes of some hundred million
/// rows, and for the newest rows of a few thousand records.
const INDEX_BYTES: u64 = 32 << 20;
const BLOCK_BYTES: u64 = 6 << 20;

/// Shared by all readers of one store.
pub(crate) struct Caches {
    pub(crate) engine: &'static str,
    pub(crate) head: Head,
    /// How often everything was cleared.
    opening: AtomicU64,
    indexes: Cached<RunId, RunIndex>,
    blocks: Cached<(RunId, u32), Block>,
}

type Cached<K, V> = Mutex<Cache<K, Arc<V>, Weight>>;

#[derive(Clone)]
struct Weight;

impl<K> Weighter<K, Arc<RunIndex>> for Weight {
    fn weight(&self, _: &K, index: &Arc<RunIndex>) -> u64 {
        index.memory() as u64
    }
}

impl<K> Weighter<K, Arc<Block>> for Weight {
    fn weight(&self, _: &K, block: &Arc<Block>) -> u64 {
        block.memory() as u64
    }
}

impl Caches {
    pub(crate) fn new(engine: &'static str) -> Self {
        Self {
            engine,
            head: Head::new(engine),
            opening: AtomicU64::new(0),
            indexes: Mutex::new(Cache::with_weighter(256, INDEX_BYTES, Weight)),
            blocks: Mutex::new(Cache::with_weighter(64, BLOCK_BYTES, Weight)),
        }
    }

    /// Clears everything, because the file was reopened and numbers may be allocated again.
    pub(crate) fn clear(&self) {
        self.opening.fetch_add(1, Ordering::SeqCst);
        self.head.clear();
        self.indexes.lock().clear();
        self.blocks.lock().clear();
    }

    /// Identifies the opening of the file. Read it before taking a snapshot: a state that was read
    /// under one opening must not decide about what is there under another.
    pub(crate) fn opening(&self) -> u64 {
        self.opening.load(Ordering::SeqCst)
    }

    pub(crate) fn run_index(&self, tables: &dyn Tables, run: &Run) -> Result<Arc<RunIndex>> {
        if let Some(index) = self.indexes.lock().get(&run.id) {
            return Ok(index.clone());
        }
        let encoded = tables.run_index(run.id)?.ok_or_else(|| missing(self.engine))?;
        let index = RunIndex::decode(&encoded).map_err(|error| format_error(self.engine, error))?;
        // The table of runs has no checksum, and a cleanup relies on it.
        if (u64::from(index.rows()), index.first(), index.last()) != (run.rows, run.first, run.last)
        {
            return Err(corrupt(self.engine, "the table of runs contradicts the index of a run"));
        }
        let index = Arc::new(index);
        self.indexes.lock().insert(run.id, index.clone());
        Ok(index)
    }

    pub(crate) fn block(
        &self,
        tables: &dyn Tables,
        run: RunId,
        index: &RunIndex,
        number: u32,
    ) -> Result<Arc<Block>> {
        if let Some(block) = self.blocks.lock().get(&(run, number)) {
            return Ok(block.clone());
        }
        let block = Arc::new(self.read_block(tables, run, index, number)?);
        self.blocks.lock().insert((run, number), block.clone());
        Ok(block)
    }

    /// Reads a block without caching it, for those who read a run once.
    pub(crate) fn read_block(
        &self,
        tables: &dyn Tables,
        run: RunId,
        index: &RunIndex,
        number: u32,
    ) -> Result<Block> {
        self.decode_block(index, number, &self.encoded_block(tables, run, number)?)
    }

    pub(super) fn encoded_block(
        &self,
        tables: &dyn Tables,
        run: RunId,
        number: u32,
    ) -> Result<Vec<u8>> {
        tables.block(run, number)?.ok_or_else(|| missing(self.engine))
    }

    pub(super) fn decode_block(
        &self,
        index: &RunIndex,
        number: u32,
        encoded: &[u8],
    ) -> Result<Block> {
        let block = Block::decode(encoded).map_err(|error| format_error(self.engine, error))?;
        self.check_rows(index, number, block.len())?;
        Ok(block)
    }

    /// Reads the numbers of a member from an encoded block, if it is in columns.
    pub(super) fn decode_numbers(
        &self,
        index: &RunIndex,
        number: u32,
        encoded: &[u8],
        member: &Member,
    ) -> Result<Option<Numbers>> {
        let numbers = Block::decode_numbers(encoded, member);
        let Some(numbers) = numbers.map_err(|error| format_error(self.engine, error))? else {
            return Ok(None);
        };
        self.check_rows(index, number, numbers.len())?;
        Ok(Some(numbers))
    }

    fn check_rows(&self, index: &RunIndex, number: u32, rows: usize) -> Result<()> {
        if rows != index.block_rows(number).len() {
            return Err(corrupt(self.engine, "a block contradicts the index of its run"));
        }
        Ok(())
    }
}

fn missing(engine: &'static str) -> PersistenceError {
    corrupt(engine, "a part of a run is missing")
}
