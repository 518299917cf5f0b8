//! A stretch of runs, back in order of arrival.

use std::collections::VecDeque;
use std::sync::Arc;

use annals_core::Result;
use parking_lot::Mutex;

use crate::Map;
use crate::engine::Tables;
use crate::format::{Arrivals, Block};
use crate::ids::{RecordId, Run, RunId};
use crate::read::Caches;

/// How many rows a window has at most, unless more arrived under one number. To fill one, all blocks of
/// a run are read, so few windows mean little work.
const WINDOW_ROWS: usize = 1 << 17;
/// About how many bytes of text a window has at most.
const WINDOW_BYTES: u64 = 16 << 20;
/// Followers that are not at the same place each need one.
const WINDOWS: usize = 3;
/// How many runs are remembered: more than a store has.
const RUNS: usize = 1 << 14;

/// All rows of some runs that arrived under the numbers from `after`, exclusive, to `to`.
pub(crate) struct Window {
    runs: Vec<RunId>,
    pub(super) after: u64,
    pub(super) to: u64,
    /// By arrival, then record, then time and arrival under that number.
    pub(super) rows: Block,
    pub(super) arrivals: Vec<u64>,
}

/// The windows that were read last.
#[derive(Default)]
pub(crate) struct Windows {
    windows: Mutex<VecDeque<Arc<Window>>>,
    /// The smallest number of each run.
    firsts: Mutex<Map<RunId, u64>>,
}

impl Windows {
    pub(crate) fn clear(&self) {
        self.windows.lock().clear();
        self.firsts.lock().clear();
    }

    /// The smallest number under which a row of the run arrived.
    pub(super) fn first(&self, caches: &Caches, tables: &dyn Tables, run: &Run) -> Result<u64> {
        if let Some(first) = self.firsts.lock().get(&run.id) {
            return Ok(*first);
        }
        let first = caches.arrivals(tables, run)?.first();
        let mut firsts = self.firsts.lock();
        if firsts.len() >= RUNS {
            firsts.clear();
        }
        firsts.insert(run.id, first);
        Ok(first)
    }

    /// The window of what arrived behind a number and up to another, or a part of it that begins
    /// there. `runs` are all that have any of it.
    pub(super) fn get(
        &self,
        caches: &Caches,
        tables: &dyn Tables,
        runs: &[Run],
        (after, end): (u64, u64),
    ) -> Result<Arc<Window>> {
        let ids: Vec<RunId> = runs.iter().map(|run| run.id).collect();
        let known = self.windows.lock().iter().find(|window| window.has(&ids, after)).cloned();
        if let Some(window) = known {
            return Ok(window);
        }
        let window = Arc::new(Window::read(caches, tables, runs, (after, end))?);
        let mut windows = self.windows.lock();
        windows.truncate(WINDOWS - 1);
        windows.push_front(window.clone());
        Ok(window)
    }
}

impl Window {
    fn has(&self, runs: &[RunId], after: u64) -> bool {
        self.runs == runs && (self.after..self.to).contains(&after)
    }

    fn read(
        caches: &Caches,
        tables: &dyn Tables,
        runs: &[Run],
        (after, end): (u64, u64),
    ) -> Result<Self> {
        let arrivals: Vec<Arrivals> =
            runs.iter().map(|run| caches.arrivals(tables, run)).collect::<Result<_>>()?;
        let to = last_of_window(runs, &arrivals, (after, end));
        let wanted = |number: u64| number > after && number <= to;
        let mut source = Vec::new();
        let mut places: Vec<(u64, RecordId, u32, u32)> = Vec::new();
        for (run, arrivals) in runs.iter().zip(&arrivals) {
            let index = caches.run_index(tables, run)?;
            for number in 0..index.blocks() {
                let rows = index.block_rows(number);
                if !rows.clone().any(|row| wanted(arrivals.of(row))) {
                    continue;
                }
                let block = caches.read_block(tables, run, &index, number)?;
                let at = source.len() as u32;
                for (place, row) in rows.enumerate().filter(|(_, row)| wanted(arrivals.of(*row))) {
                    places.push((arrivals.of(row), block.record(place), at, place as u32));
                }
                source.push(block);
            }
        }
        // Within a record, blocks and rows are in order of time and arrival.
        places.sort_unstable();
        let mut rows = Block::new();
        for (_, record, block, row) in &places {
            let (block, row) = (&source[*block as usize], *row as usize);
            rows.push(*record, block.time(row), block.json(row));
        }
        let arrivals = places.iter().map(|place| place.0).collect();
        Ok(Self { runs: runs.iter().map(|run| run.id).collect(), after, to, rows, arrivals })
    }
}

/// The last number of a window that begins behind `after`: `end`, or a smaller one.
fn last_of_window(runs: &[Run], arrivals: &[Arrivals], (after, end): (u64, u64)) -> u64 {
    let (rows, bytes) =
        runs.iter().fold((0, 0), |(rows, bytes), run| (rows + run.rows, bytes + run.bytes));
    let average = (bytes / rows.max(1)).max(1);
    let most = usize::try_from(WINDOW_BYTES / average).unwrap_or(usize::MAX).clamp(1, WINDOW_ROWS);
    let mut numbers = Vec::new();
    for (run, arrivals) in runs.iter().zip(arrivals) {
        // The table of runs says how many rows there are; the index was compared with it.
        let rows = 0..run.rows as u32;
        numbers.extend(
            rows.map(|row| arrivals.of(row)).filter(|number| *number > after && *number <= end),
        );
    }
    if numbers.len() <= most {
        return end;
    }
    *numbers.select_nth_unstable(most - 1).1
}
