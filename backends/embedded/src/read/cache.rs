//! What all readers of a store share: the decoded head, run indexes and blocks.
//!
//! Blocks and runs never change and their numbers are not reused, so an entry never becomes wrong.

use std::cmp::Reverse;
use std::ops::{Deref, Range};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use annals_core::aggregate::Member;
use annals_core::{PersistenceError, Predicate, Result};
use parking_lot::Mutex;
use quick_cache::Weighter;
use quick_cache::unsync::Cache;

use super::names::Names;
use crate::engine::Tables;
use crate::error::{corrupt, format_error};
use crate::follow::{NamesById, News, Windows};
use crate::format::{
    Arrivals, Block, FRAME_BYTES, FormatError, Numbers, Place, RunIndex, Statistics, Verdicts,
    check_size, unseal,
};
use crate::head::Head;
use crate::ids::{ARRIVALS, Run, RunId};
use crate::state::{State, Sum};

/// Bytes of run indexes and of blocks that are kept: enough for the indexes of some hundred million
/// rows, and for the newest rows of a few thousand records.
const INDEX_BYTES: u64 = 32 << 20;
const BLOCK_BYTES: u64 = 6 << 20;

/// Shared by all readers of one store.
pub(crate) struct Caches {
    pub(crate) engine: &'static str,
    pub(crate) head: Head,
    pub(crate) names: Names,
    /// The runs that have this sum, in order of arrival.
    runs: Mutex<Option<(Sum, Arc<Runs>)>>,
    /// How often everything was cleared.
    opening: AtomicU64,
    indexes: Cached<RunId, RunIndex>,
    blocks: Cached<(RunId, u32), Block>,
    /// What followers wait for.
    pub(crate) news: News,
    pub(crate) windows: Windows,
    pub(crate) names_by_id: NamesById,
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

/// Runs in order of arrival.
#[derive(Debug)]
pub(crate) struct Runs {
    runs: Vec<Run>,
    by_last: Vec<usize>,
    by_first: Vec<usize>,
}

impl Deref for Runs {
    type Target = [Run];

    fn deref(&self) -> &[Run] {
        &self.runs
    }
}

impl Runs {
    fn new(mut runs: Vec<Run>) -> Self {
        runs.sort_unstable_by_key(|run| run.order);
        let mut by_last: Vec<usize> = (0..runs.len()).collect();
        let mut by_first = by_last.clone();
        by_last.sort_unstable_by_key(|run| Reverse((runs[*run].last, *run)));
        by_first.sort_unstable_by_key(|run| (runs[*run].first, *run));
        Self { runs, by_last, by_first }
    }

    /// The places of the runs with the greatest times first, or of those with the smallest.
    pub(crate) fn by_time(&self, newest_first: bool) -> &[usize] {
        if newest_first { &self.by_last } else { &self.by_first }
    }
}

impl Caches {
    pub(crate) fn new(engine: &'static str) -> Self {
        Self {
            engine,
            head: Head::new(engine),
            names: Names::new(engine),
            runs: Mutex::default(),
            opening: AtomicU64::new(0),
            indexes: Mutex::new(Cache::with_weighter(256, INDEX_BYTES, Weight)),
            blocks: Mutex::new(Cache::with_weighter(64, BLOCK_BYTES, Weight)),
            news: News::new(),
            windows: Windows::default(),
            names_by_id: NamesById::default(),
        }
    }

    /// Clears everything, because the file was reopened and numbers may be allocated again.
    pub(crate) fn clear(&self) {
        self.opening.fetch_add(1, Ordering::SeqCst);
        self.head.clear();
        self.names.clear();
        *self.runs.lock() = None;
        self.indexes.lock().clear();
        self.blocks.lock().clear();
        self.windows.clear();
        self.names_by_id.clear();
    }

    /// Identifies the opening of the file. Read it before taking a snapshot: a state that was read
    /// under one opening must not decide about what is there under another.
    pub(crate) fn opening(&self) -> u64 {
        self.opening.load(Ordering::SeqCst)
    }

    /// The runs of a state, in order of arrival.
    pub(crate) fn runs(&self, tables: &dyn Tables, state: &State) -> Result<Arc<Runs>> {
        if let Some((sum, runs)) = &*self.runs.lock()
            && *sum == state.runs
        {
            return Ok(runs.clone());
        }
        let (runs, mut sum) = (tables.runs()?, Sum::default());
        runs.iter().for_each(|run| sum.add_run(run));
        if sum != state.runs {
            return Err(corrupt(self.engine, "the runs are not those that were stored"));
        }
        let runs = Arc::new(Runs::new(runs));
        *self.runs.lock() = Some((sum, runs.clone()));
        Ok(runs)
    }

    pub(crate) fn run_index(&self, tables: &dyn Tables, run: &Run) -> Result<Arc<RunIndex>> {
        if let Some(index) = self.indexes.lock().get(&run.id) {
            return Ok(index.clone());
        }
        let index = Arc::new(self.read_index(tables, run)?);
        self.indexes.lock().insert(run.id, index.clone());
        Ok(index)
    }

    /// Reads an index without caching it.
    pub(crate) fn read_index(&self, tables: &dyn Tables, run: &Run) -> Result<RunIndex> {
        let encoded = tables.run_index(run.id)?.ok_or_else(|| missing(self.engine))?;
        let most = FRAME_BYTES.saturating_add(EXTENT_BYTES.saturating_mul(run.rows));
        let index = checked(run, Place::Index(run.id), &encoded, most).and_then(RunIndex::decode);
        let index = index.map_err(|error| format_error(self.engine, error))?;
        if (u64::from(index.rows()), index.first(), index.last()) != (run.rows, run.first, run.last)
        {
            return Err(corrupt(self.engine, "the table of runs contradicts the index of a run"));
        }
        Ok(index)
    }

    /// A block, if it is cached.
    pub(super) fn cached_block(&self, run: RunId, number: u32) -> Option<Arc<Block>> {
        self.blocks.lock().get(&(run, number)).cloned()
    }

    pub(super) fn cache_block(&self, run: RunId, number: u32, block: Arc<Block>) {
        self.blocks.lock().insert((run, number), block);
    }

    /// When the rows of a run arrived. Runs that an older version wrote do not say it.
    pub(crate) fn arrivals(&self, tables: &dyn Tables, run: &Run) -> Result<Arrivals> {
        let Some(stored) = tables.block(run.id, ARRIVALS)? else {
            return Ok(Arrivals::At(run.order.head));
        };
        let rows = u32::try_from(run.rows)
            .map_err(|_| corrupt(self.engine, "a run has more rows than there are numbers"))?;
        let most = FRAME_BYTES.saturating_add(ROW_BYTES.saturating_mul(run.rows));
        let numbers = checked(run, Place::Block(run.id, ARRIVALS), &stored, most)
            .and_then(|encoded| Arrivals::decode(encoded, rows));
        numbers.map_err(|error| format_error(self.engine, error))
    }

    /// Reads a block without caching it, for those who read a run once.
    pub(crate) fn read_block(
        &self,
        tables: &dyn Tables,
        run: &Run,
        index: &RunIndex,
        number: u32,
    ) -> Result<Block> {
        self.decode_block(index, number, &self.encoded_block(tables, run, index, number)?)
    }

    /// Reads a block as it is encoded, and checks that it is the one that was stored there.
    pub(crate) fn encoded_block(
        &self,
        tables: &dyn Tables,
        run: &Run,
        index: &RunIndex,
        number: u32,
    ) -> Result<Vec<u8>> {
        let mut stored = tables.block(run.id, number)?.ok_or_else(|| missing(self.engine))?;
        let rows = index.block_rows(number).len() as u64;
        let most =
            ROW_BYTES.saturating_mul(rows).saturating_add(FRAME_BYTES.saturating_add(run.bytes));
        let length = checked(run, Place::Block(run.id, number), &stored, most).map(<[u8]>::len);
        stored.truncate(length.map_err(|error| format_error(self.engine, error))?);
        Ok(stored)
    }

    /// Reads a block of a run whose index is lost, if there is such a block.
    pub(crate) fn read_block_without_index(
        &self,
        tables: &dyn Tables,
        run: &Run,
        number: u32,
    ) -> Result<Option<Block>> {
        let Some(stored) = tables.block(run.id, number)? else { return Ok(None) };
        let most = run.bytes.saturating_add(FRAME_BYTES << 10);
        let frame = checked(run, Place::Block(run.id, number), &stored, most);
        let block = frame.and_then(Block::decode);
        block.map(Some).map_err(|error| format_error(self.engine, error))
    }

    pub(crate) fn decode_block(
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

    /// What the columns of a block tell of a predicate, if it is in columns.
    pub(super) fn verdicts(
        &self,
        block: &Block,
        predicate: &Predicate,
    ) -> Result<Option<Verdicts>> {
        block.verdicts(predicate).map_err(|error| format_error(self.engine, error))
    }

    /// What an encoded block tells of a predicate, if it is in columns.
    pub(super) fn decode_verdicts(
        &self,
        index: &RunIndex,
        number: u32,
        encoded: &[u8],
        predicate: &Predicate,
        asked: Range<usize>,
    ) -> Result<Option<Verdicts>> {
        let verdicts = Block::decode_verdicts(encoded, predicate, asked);
        let Some(verdicts) = verdicts.map_err(|error| format_error(self.engine, error))? else {
            return Ok(None);
        };
        self.check_rows(index, number, verdicts.len())?;
        Ok(Some(verdicts))
    }

    /// Reads the statistics of a member from an encoded block, as far as it has them, and what they tell of a
    /// predicate.
    pub(super) fn decode_statistics(
        &self,
        index: &RunIndex,
        number: u32,
        encoded: &[u8],
        (member, predicate): (&Member, Option<&Predicate>),
    ) -> Result<Vec<Statistics>> {
        let read = Block::decode_statistics(encoded, member, predicate);
        let (rows, statistics) = read.map_err(|error| format_error(self.engine, error))?;
        if !statistics.is_empty() {
            self.check_rows(index, number, rows)?;
        }
        Ok(statistics)
    }

    /// Compares the statistics in an encoded block with its rows.
    pub(crate) fn check_statistics(&self, encoded: &[u8]) -> Result<()> {
        Block::check_statistics(encoded).map_err(|error| format_error(self.engine, error))
    }

    fn check_rows(&self, index: &RunIndex, number: u32, rows: usize) -> Result<()> {
        if rows != index.block_rows(number).len() {
            return Err(corrupt(self.engine, "a block contradicts the index of its run"));
        }
        Ok(())
    }
}

/// The most that an extent in an index and a row without its text take before compression.
const EXTENT_BYTES: u64 = 64;
const ROW_BYTES: u64 = 64;

/// A frame of a run, if it is the one that belongs there and is no larger than it can be.
fn checked<'a>(
    run: &Run,
    place: Place,
    stored: &'a [u8],
    most: u64,
) -> Result<&'a [u8], FormatError> {
    let frame = if run.sealed { unseal(place, stored)? } else { stored };
    check_size(frame, most).map(|()| frame)
}

fn missing(engine: &'static str) -> PersistenceError {
    corrupt(engine, "a part of a run is missing")
}
