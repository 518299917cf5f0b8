//! What an aggregate read last of each run: the rows of the next record often are in the same block.

use std::sync::Arc;

use crate::Map;
use crate::format::{Block, Numbers, Statistics, Verdicts};
use crate::ids::RunId;

/// What a question needs of a block: all of it, or only the numbers of the member and, if there is a
/// predicate, which rows satisfy it.
#[derive(Clone)]
pub(super) enum Ready {
    Block(Arc<Block>),
    Numbers(Arc<(Numbers, Option<Verdicts>)>),
}

/// The most runs of which the block read last is kept, some hundred kilobytes each.
const MOST_RUNS: usize = 256;

/// What was read last of each run, with the number of the block. The next record often is in the same.
#[derive(Default)]
pub(super) struct Recent {
    blocks: Map<RunId, (u32, Ready)>,
    statistics: Map<RunId, (u32, Arc<[Statistics]>)>,
}

impl Recent {
    pub(super) fn block(&self, run: RunId, number: u32) -> Option<&Ready> {
        self.blocks.get(&run).filter(|(last, _)| *last == number).map(|(_, ready)| ready)
    }

    pub(super) fn statistics(&self, run: RunId, number: u32) -> Option<&Arc<[Statistics]>> {
        self.statistics.get(&run).filter(|(last, _)| *last == number).map(|(_, all)| all)
    }

    pub(super) fn keep_block(&mut self, run: RunId, number: u32, ready: Ready) {
        self.blocks.insert(run, (number, ready));
    }

    pub(super) fn keep_statistics(&mut self, run: RunId, number: u32, all: Arc<[Statistics]>) {
        self.statistics.insert(run, (number, all));
    }

    /// Adds what was read later.
    pub(super) fn extend(&mut self, later: Self) {
        self.blocks.retain(|run, _| !later.blocks.contains_key(run));
        if self.blocks.len() + later.blocks.len() > MOST_RUNS {
            self.blocks.clear();
        }
        self.blocks.extend(later.blocks.into_iter().take(MOST_RUNS));
        self.statistics.extend(later.statistics);
    }
}
