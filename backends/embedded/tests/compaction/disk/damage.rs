//! What damage makes of a state.

use annals_embedded::{RecordId, Run};

use super::{Bytes, Data};

impl Data {
    /// Changes what the table of runs says of each.
    pub(crate) fn with_runs(&self, change: impl Fn(&mut Run)) -> Self {
        let mut data = self.clone();
        data.runs.values_mut().for_each(|(run, _)| change(run));
        data
    }

    /// Exchanges two names' records.
    pub(crate) fn with_names_exchanged(&self) -> Self {
        let mut data = self.clone();
        let ids: Vec<RecordId> = data.records.values().rev().copied().collect();
        data.records.values_mut().zip(ids).for_each(|(id, other)| *id = other);
        data
    }

    /// Loses a name.
    pub(crate) fn without_a_name(&self) -> Self {
        let mut data = self.clone();
        data.records.pop_first().unwrap();
        data
    }

    /// Loses the block of the head that `choose` takes.
    pub(crate) fn without_a_head_block(&self, choose: fn(&[u64]) -> u64) -> Self {
        let mut data = self.clone();
        let numbers: Vec<u64> = data.head.keys().copied().collect();
        data.head.remove(&choose(&numbers)).unwrap();
        data
    }

    /// Exchanges two blocks of the head.
    pub(crate) fn with_head_blocks_exchanged(&self) -> Self {
        let mut data = self.clone();
        let blocks: Vec<Bytes> = data.head.values().rev().cloned().collect();
        data.head.values_mut().zip(blocks).for_each(|(block, other)| *block = other);
        data
    }

    /// Exchanges blocks of runs.
    pub(crate) fn with_blocks_exchanged(&self) -> Self {
        let mut data = self.clone();
        let blocks: Vec<Bytes> = data.blocks.values().rev().cloned().collect();
        data.blocks.values_mut().zip(blocks).for_each(|(block, other)| *block = other);
        data
    }

    /// Loses a run.
    pub(crate) fn without_a_run(&self) -> Self {
        let mut data = self.clone();
        data.runs.pop_first().unwrap();
        data
    }

    /// Loses a writer.
    pub(crate) fn without_a_writer(&self) -> Self {
        let mut data = self.clone();
        data.writers.pop_first().unwrap();
        data
    }

    /// Changes a byte of every blob.
    pub(crate) fn damaged(&self) -> Self {
        let damage = |bytes: &mut Bytes| {
            let mut changed = bytes.to_vec();
            let middle = changed.len() / 2;
            changed[middle] ^= 0x55;
            *bytes = changed.into();
        };
        let mut data = self.clone();
        data.head.values_mut().for_each(damage);
        data.blocks.values_mut().for_each(damage);
        data
    }
}
