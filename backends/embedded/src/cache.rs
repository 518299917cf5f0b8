//! What readers share: the decoded head, directories and blocks.
//!
//! Blocks and runs never change, and their numbers are not given twice, so that nothing here goes
//! stale; it only becomes useless.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use annals_core::{BackendError, ErrorKind, PersistenceError};
use quick_cache::Weighter;
use quick_cache::unsync::Cache;

use crate::engine::{Run, RunId, Tables};
use crate::format::{Columns, Directory, FormatError};
use crate::head::HeadCache;

/// Bytes of directories and of blocks that are kept: enough for the directories of some hundred
/// million rows, and for the newest rows of a few thousand records.
const DIRECTORY_BYTES: u64 = 32 << 20;
const BLOCK_BYTES: u64 = 6 << 20;

/// Shared by all who read one store.
pub(crate) struct Caches {
    pub(crate) engine: &'static str,
    pub(crate) head: HeadCache,
    /// How often everything was forgotten.
    opening: AtomicU64,
    directories: Kept<RunId, Directory>,
    blocks: Kept<(RunId, u32), Columns>,
}

type Kept<K, V> = Mutex<Cache<K, Arc<V>, Weight>>;

#[derive(Clone)]
struct Weight;

impl<K> Weighter<K, Arc<Directory>> for Weight {
    fn weight(&self, _: &K, directory: &Arc<Directory>) -> u64 {
        directory.memory() as u64
    }
}

impl<K> Weighter<K, Arc<Columns>> for Weight {
    fn weight(&self, _: &K, block: &Arc<Columns>) -> u64 {
        block.memory() as u64
    }
}

impl Caches {
    pub(crate) fn new(engine: &'static str) -> Self {
        Self {
            engine,
            head: HeadCache::new(engine),
            opening: AtomicU64::new(0),
            directories: Mutex::new(Cache::with_weighter(256, DIRECTORY_BYTES, Weight)),
            blocks: Mutex::new(Cache::with_weighter(64, BLOCK_BYTES, Weight)),
        }
    }

    /// Forgets everything: numbers may be given a second time.
    pub(crate) fn clear(&self) {
        self.opening.fetch_add(1, Ordering::SeqCst);
        self.head.clear();
        lock(&self.directories).clear();
        lock(&self.blocks).clear();
    }

    /// What was read under another opening must not decide about what is there now. Asked for before
    /// the snapshot is taken.
    pub(crate) fn opening(&self) -> u64 {
        self.opening.load(Ordering::SeqCst)
    }

    pub(crate) fn directory(
        &self,
        tables: &dyn Tables,
        run: &Run,
    ) -> Result<Arc<Directory>, PersistenceError> {
        if let Some(directory) = lock(&self.directories).get(&run.id) {
            return Ok(directory.clone());
        }
        let encoded = tables.directory(run.id)?.ok_or_else(|| missing(self.engine))?;
        let directory = Directory::decode(&encoded).map_err(|found| damaged(self.engine, found))?;
        // The table's columns have no checksum of their own, and a cleanup goes by them.
        let told = (u64::from(directory.rows()), directory.first(), directory.last());
        if told != (run.rows, run.first, run.last) {
            let what = "the table of runs says other things of a run than its directory";
            return Err(corrupt(self.engine, what));
        }
        let directory = Arc::new(directory);
        lock(&self.directories).insert(run.id, directory.clone());
        Ok(directory)
    }

    pub(crate) fn block(
        &self,
        tables: &dyn Tables,
        run: RunId,
        directory: &Directory,
        number: u32,
    ) -> Result<Arc<Columns>, PersistenceError> {
        if let Some(block) = lock(&self.blocks).get(&(run, number)) {
            return Ok(block.clone());
        }
        let block = Arc::new(self.read_block(tables, run, directory, number)?);
        lock(&self.blocks).insert((run, number), block.clone());
        Ok(block)
    }

    /// For whoever goes through a run once: leaves the cache to the others.
    pub(crate) fn read_block(
        &self,
        tables: &dyn Tables,
        run: RunId,
        directory: &Directory,
        number: u32,
    ) -> Result<Columns, PersistenceError> {
        let encoded = tables.block(run, number)?.ok_or_else(|| missing(self.engine))?;
        let block = Columns::decode(&encoded).map_err(|found| damaged(self.engine, found))?;
        if block.len() != directory.block_rows(number).len() {
            return Err(corrupt(
                self.engine,
                "a block has other rows than its run's directory says",
            ));
        }
        Ok(block)
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing that panics is done under these locks; a value behind them is whole.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn damaged(engine: &'static str, found: FormatError) -> PersistenceError {
    let kind = match &found {
        FormatError::Damaged(_) => ErrorKind::Corrupt,
        FormatError::Compressor(_) => ErrorKind::Other,
    };
    BackendError::new(engine, "query", kind, found.to_string()).with_source(found).into()
}

pub(crate) fn corrupt(engine: &'static str, what: &str) -> PersistenceError {
    let message = format!("the file is damaged: {what}");
    BackendError::new(engine, "query", ErrorKind::Corrupt, message).into()
}

pub(crate) fn is_corrupt(error: &PersistenceError) -> bool {
    matches!(error, PersistenceError::Backend(error) if error.kind() == ErrorKind::Corrupt)
}

fn missing(engine: &'static str) -> PersistenceError {
    corrupt(engine, "a part of a run is missing")
}
