//! What is to be removed, in steps that leave room for others.

use annals_core::PersistenceError;

use crate::engine::{Key, RecordId};

/// So many keys that are passed over, to find the newest rows that stay, count as one removed row.
/// An estimate, not a measurement: it only has to keep a step from growing with what stays.
const KEYS_PER_ROW: u64 = 16;

/// A record that may have something to let go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expired {
    /// The record.
    pub record: RecordId,
    /// Rows up to this time go, inclusive, in Unix milliseconds.
    pub last_removed: u64,
    /// The newest so many stay whatever their age.
    keep_newest: u64,
    /// The last place that may go, once it is known; the inner `None`: nothing may.
    last: Option<Option<Key>>,
}

impl Expired {
    pub(crate) fn new(record: RecordId, last_removed: u64, keep_newest: u64) -> Self {
        Self { record, last_removed, keep_newest, last: None }
    }

    /// The last place that may go, if any. `nth_newest` finds the place of the record's Nth newest
    /// row, counted from 1; it is asked once at most. What arrives later only makes more rows go
    /// next time.
    ///
    /// # Errors
    /// What `nth_newest` reports.
    pub fn last_to_go(
        &mut self,
        nth_newest: impl FnOnce(u64) -> Result<Option<Key>, PersistenceError>,
    ) -> Result<Option<Key>, PersistenceError> {
        if let Some(last) = self.last {
            return Ok(last);
        }
        let by_age = Key::last_at(self.last_removed);
        let last = match self.keep_newest {
            0 => Some(by_age),
            kept => nth_newest(kept)?.and_then(Key::previous).map(|before| before.min(by_age)),
        };
        self.last = Some(last);
        Ok(last)
    }
}

/// A sweep and how far it got.
#[derive(Debug)]
pub struct Sweep {
    remaining: Vec<Expired>,
    removed: u64,
    begun: bool,
}

impl Sweep {
    pub(crate) fn new(mut expired: Vec<Expired>) -> Self {
        expired.reverse();
        Self { remaining: expired, removed: 0, begun: false }
    }

    /// True once, before the first step: the time for what is done once in a sweep.
    pub fn begins(&mut self) -> bool {
        !std::mem::replace(&mut self.begun, true)
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
        mut remove: impl FnMut(&mut Expired, u64) -> Result<u64, PersistenceError>,
    ) -> Result<(), PersistenceError> {
        let mut left = budget;
        while left > 0 {
            let Some(expired) = self.remaining.last_mut() else { break };
            let known = expired.last.is_some();
            let removed = remove(expired, left)?;
            let walked = match expired.last {
                Some(_) if !known => expired.keep_newest / KEYS_PER_ROW,
                _ => 0,
            };
            if removed < left {
                self.remaining.pop();
            }
            self.removed += removed;
            left = left.saturating_sub(removed.max(1).saturating_add(walked));
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
        let expired = |record| Expired::new(record, 0, 0);
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

    #[test]
    fn what_stays_is_looked_for_once_and_paid_for() {
        let mut sweep = Sweep::new((0..4).map(|record| Expired::new(record, 9, 320)).collect());
        let (mut looked, mut seen) = (0, Vec::new());
        for _ in 0..2 {
            sweep
                .step(41, |expired, _| {
                    let last = expired.last_to_go(|nth| {
                        looked += 1;
                        assert_eq!(nth, 320);
                        Ok(Some(Key { stored_at: 4, seq: 0 }))
                    })?;
                    assert_eq!(last, Some(Key::last_at(3)));
                    seen.push(expired.record);
                    Ok(0)
                })
                .unwrap();
        }
        assert_eq!((looked, seen), (4, vec![0, 1, 2, 3]));
        assert!(sweep.is_done());
    }
}
