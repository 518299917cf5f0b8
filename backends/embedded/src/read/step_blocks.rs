//! The blocks that a step has read.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::format::Block;
use crate::ids::RunId;

/// The most bytes of blocks that are kept, besides the block read last.
const MOST_BYTES: usize = 4 << 20;

/// The blocks read last: the row that is wanted of the next record often is in one of them. The cache that
/// all readers share has no room for blocks that are read once in a while.
#[derive(Default)]
pub(super) struct StepBlocks {
    /// In the order in which they were read.
    blocks: VecDeque<(RunId, u32, Arc<Block>)>,
    bytes: usize,
}

impl StepBlocks {
    pub(super) fn get(&self, run: RunId, number: u32) -> Option<&Arc<Block>> {
        let found = self.blocks.iter().find(|(id, last, _)| (*id, *last) == (run, number));
        found.map(|(_, _, block)| block)
    }

    pub(super) fn put(&mut self, run: RunId, number: u32, block: Arc<Block>) {
        self.bytes += block.memory();
        self.blocks.push_back((run, number, block));
        while self.bytes > MOST_BYTES && self.blocks.len() > 1 {
            let Some((_, _, oldest)) = self.blocks.pop_front() else { break };
            self.bytes -= oldest.memory();
        }
    }

    pub(super) fn clear(&mut self) {
        self.blocks.clear();
        self.bytes = 0;
    }
}
