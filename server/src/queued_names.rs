//! The names of records that were written through the queue behind 202.

use std::collections::HashSet;
use std::hash::BuildHasher;

use annals_core::Row;
use foldhash::fast::FixedState;
use parking_lot::Mutex;

/// The records that have an account in the recorder, by the hashes of their names.
pub(crate) struct QueuedNames {
    names: Mutex<HashSet<u64, FixedState>>,
    most: usize,
}

impl QueuedNames {
    pub(crate) fn new(most: usize) -> Self {
        Self { names: Mutex::default(), most }
    }

    /// Notes the names of rows that are to be queued; `false` if they are more than may be.
    pub(crate) fn note(&self, rows: &[Row]) -> bool {
        let mut names = self.names.lock();
        for row in rows {
            let name = FixedState::default().hash_one(row.record.as_str());
            if names.len() >= self.most && !names.contains(&name) {
                return false;
            }
            names.insert(name);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn names_beyond_the_limit_are_refused_and_known_ones_pass() {
        let queued = QueuedNames::new(2);
        let named = |name: &str| [Row::new(name, &json!(1), 1).unwrap()];
        assert!(queued.note(&named("a")) && queued.note(&named("b")));
        assert!(!queued.note(&named("c")));
        assert!(queued.note(&named("a")));
    }
}
