//! What is to be removed, in steps that leave room for others.

use annals_core::PersistenceError;

use crate::engine::RecordId;

/// A record that has something to let go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expired {
    /// The record.
    pub record: RecordId,
    /// Rows up to this time go, inclusive, in Unix milliseconds.
    pub last_removed: u64,
    /// The newest so many stay whatever their age.
    pub keep_newest: u64,
}

/// A sweep and how far it got.
#[derive(Debug)]
pub struct Sweep {
    remaining: Vec<Expired>,
    removed: u64,
}

impl Sweep {
    pub(crate) fn new(mut expired: Vec<Expired>) -> Self {
        expired.reverse();
        Self { remaining: expired, removed: 0 }
    }

    /// Goes on with the sweep for about `budget` rows: `remove` takes away up to the given number
    /// of a record's expired rows, oldest first, and says how many it found. Fewer than asked for
    /// means that the record is done. Looking at a record counts as a row, so that a step over many
    /// records without expired rows ends as well.
    ///
    /// # Errors
    /// What `remove` reports; the sweep must then be given up.
    pub fn step(
        &mut self,
        budget: u64,
        mut remove: impl FnMut(&Expired, u64) -> Result<u64, PersistenceError>,
    ) -> Result<(), PersistenceError> {
        let mut left = budget;
        while left > 0 {
            let Some(expired) = self.remaining.last() else { break };
            let removed = remove(expired, left)?;
            if removed < left {
                self.remaining.pop();
            }
            self.removed += removed;
            left = left.saturating_sub(removed.max(1));
        }
        Ok(())
    }

    /// How many rows are removed so far.
    pub(crate) fn removed(&self) -> u64 {
        self.removed
    }

    pub(crate) fn is_done(&self) -> bool {
        self.remaining.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_step_is_bounded_and_the_count_exact() {
        let expired = |record| Expired { record, last_removed: 0, keep_newest: 0 };
        let mut rows = [25_u64, 0, 10, 7];
        let mut sweep = Sweep::new((0..4).map(expired).collect());
        let mut steps = 0;
        while !sweep.is_done() {
            let mut in_step = 0;
            sweep
                .step(10, |expired, limit| {
                    let here = &mut rows[expired.record as usize];
                    let removed = limit.min(*here);
                    *here -= removed;
                    in_step += removed;
                    Ok(removed)
                })
                .unwrap();
            assert!(in_step <= 10);
            steps += 1;
        }
        assert_eq!((sweep.removed(), rows), (42, [0; 4]));
        assert!((5..=7).contains(&steps), "{steps}");
    }
}
