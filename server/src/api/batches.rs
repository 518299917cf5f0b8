//! Batches with an id: whether one that is sent again has the same rows.
//!
//! A store keeps only the last number of each writer, so that a device that starts counting anew has
//! all its batches taken for retries. The rows tell: what was stored last by this server is
//! remembered as a hash, and everything else is looked up in the store itself.

use std::collections::HashSet;

use annals_core::{
    Batch, BatchId, Grammar, Order, PersistenceBackend, PersistenceError, QueryParams, Row, Value,
};
use foldhash::fast::FixedState;
use futures::TryStreamExt;
use parking_lot::Mutex;
use quick_cache::sync::Cache;
use sha2::{Digest, Sha256};

/// How many writers are remembered.
const WRITERS: usize = 65_536;
/// How many rows of a batch are looked up in the store at most.
const PROBES: usize = 64;

/// What is known of batches and of queued names.
pub(crate) struct Batches {
    last: Cache<u128, (u64, [u8; 32])>,
    names: Mutex<HashSet<u64, FixedState>>,
    most_names: usize,
}

/// What became of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stored {
    Now,
    Before,
    /// Its number is taken, and not by these rows.
    Other,
}

impl Batches {
    pub(crate) fn new(most_names: usize) -> Self {
        Self { last: Cache::new(WRITERS), names: Mutex::default(), most_names }
    }

    /// Stores a batch unless its rows are stored already. `timed` says that the rows came with their
    /// times, without which they cannot be found again in the store.
    pub(super) async fn store(
        &self,
        history: &impl PersistenceBackend,
        batch: &Batch,
        timed: bool,
    ) -> Result<Stored, PersistenceError> {
        let Some(id) = batch.id() else {
            history.store_batch(batch).await?;
            return Ok(Stored::Now);
        };
        let hash = hash(batch.rows(), timed);
        if history.has_batch(id).await? {
            return self.compare(history, batch.rows(), id, hash, timed).await;
        }
        history.store_batch(batch).await?;
        self.last.insert(id.writer, (id.number, hash));
        Ok(Stored::Now)
    }

    async fn compare(
        &self,
        history: &impl PersistenceBackend,
        rows: &[Row],
        id: BatchId,
        hash: [u8; 32],
        timed: bool,
    ) -> Result<Stored, PersistenceError> {
        let same = match self.last.get(&id.writer) {
            Some((number, of_last)) if number == id.number => of_last == hash,
            _ if timed => are_stored(history, rows).await?,
            _ => false,
        };
        Ok(if same { Stored::Before } else { Stored::Other })
    }

    /// Notes the names of rows that are to be queued; `false` if they are more than may be.
    pub(super) fn note_names(&self, rows: &[Row]) -> bool {
        use std::hash::BuildHasher;
        let mut names = self.names.lock();
        for row in rows {
            let name = FixedState::default().hash_one(row.record.as_str());
            if names.len() >= self.most_names && !names.contains(&name) {
                return false;
            }
            names.insert(name);
        }
        true
    }
}

/// A hash of the rows as they were sent. The time of arrival is not part of it.
fn hash(rows: &[Row], timed: bool) -> [u8; 32] {
    let mut hash = Sha256::new();
    for row in rows {
        let (record, value) = (row.record.as_str().as_bytes(), row.value.as_str().as_bytes());
        hash.update((record.len() as u64).to_le_bytes());
        hash.update(record);
        hash.update((value.len() as u64).to_le_bytes());
        hash.update(value);
        hash.update(if timed { row.stored_at } else { 0 }.to_le_bytes());
    }
    hash.finalize().into()
}

/// Whether the store has the rows: all of a small batch, some of a large one.
async fn are_stored(
    history: &impl PersistenceBackend,
    rows: &[Row],
) -> Result<bool, PersistenceError> {
    let step = rows.len().div_ceil(PROBES).max(1);
    for row in rows.iter().step_by(step).chain(rows.last()) {
        let at = QueryParams::range(row.stored_at, row.stored_at)
            .with_order(Order::OldestFirst)
            .with_grammar(Grammar::Glob);
        // A name has no wildcard.
        let mut found = history.query_stream(row.record.as_str(), at).await?;
        let mut is_there = false;
        while let Some(stored) = found.try_next().await? {
            if same_value(&stored.json, row.value.as_str()) {
                is_there = true;
                break;
            }
        }
        if !is_there {
            return Ok(false);
        }
    }
    Ok(true)
}

/// A store may keep the text of a value or its meaning.
fn same_value(stored: &str, sent: &str) -> bool {
    let parsed = |text: &str| serde_json::from_str::<Value>(text).ok();
    stored == sent || parsed(stored).is_some_and(|stored| Some(stored) == parsed(sent))
}

#[cfg(test)]
mod tests {
    use annals_core::MemoryBackend;
    use serde_json::json;

    use super::*;

    fn batch(number: u64, rows: &[(&str, u64, u64)]) -> Batch {
        let rows = rows.iter().map(|(name, value, at)| Row::new(name, &json!(value), *at).unwrap());
        Batch::new(rows.collect::<Vec<_>>()).with_id(BatchId { writer: 1, number })
    }

    #[tokio::test]
    async fn the_same_rows_are_known_again_and_others_are_not() {
        let history = MemoryBackend::new();
        let batches = Batches::new(1);
        let store = async |batches: &Batches, batch: &Batch| {
            batches.store(&history, batch, true).await.unwrap()
        };
        let first = batch(1, &[("a", 1, 5), ("b", 2, 6)]);
        let second = batch(2, &[("a", 3, 7)]);
        assert_eq!(store(&batches, &first).await, Stored::Now);
        assert_eq!(store(&batches, &first).await, Stored::Before);
        assert_eq!(store(&batches, &second).await, Stored::Now);
        // A server that remembers nothing looks into the store; so does one that remembers a later
        // number.
        for batches in [&batches, &Batches::new(1)] {
            assert_eq!(store(batches, &first).await, Stored::Before);
            assert_eq!(store(batches, &batch(1, &[("a", 1, 5), ("b", 2, 9)])).await, Stored::Other);
            assert_eq!(store(batches, &batch(2, &[("a", 4, 7)])).await, Stored::Other);
        }
        assert_eq!(store(&batches, &batch(3, &[("a", 4, 7)])).await, Stored::Now);
    }

    #[tokio::test]
    async fn rows_without_times_are_known_by_their_hash_only() {
        let history = MemoryBackend::new();
        let batches = Batches::new(1);
        let first = batch(1, &[("a", 1, 5)]);
        let again = batch(1, &[("a", 1, 6)]);
        assert_eq!(batches.store(&history, &first, false).await.unwrap(), Stored::Now);
        assert_eq!(batches.store(&history, &again, false).await.unwrap(), Stored::Before);
        let restarted = Batches::new(1);
        assert_eq!(restarted.store(&history, &again, false).await.unwrap(), Stored::Other);
    }

    #[test]
    fn names_beyond_the_limit_are_refused_and_known_ones_pass() {
        let batches = Batches::new(2);
        let named = |name: &str| [Row::new(name, &json!(1), 1).unwrap()];
        assert!(batches.note_names(&named("a")) && batches.note_names(&named("b")));
        assert!(!batches.note_names(&named("c")));
        assert!(batches.note_names(&named("a")));
    }
}
