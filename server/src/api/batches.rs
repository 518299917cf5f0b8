//! Batches with an id: whether one that is sent again has the same rows.
//!
//! Enters: what a client calls its batch, and who the client is. Leaves: the id under which the store
//! keeps it. A store keeps only the last number of each writer, so that a device that starts counting
//! anew would have all its batches taken for retries. Therefore the number in the store begins with
//! the client's number and ends with bits of a hash of the rows: it still ascends, and it tells from
//! every replica and after every restart whether the rows are the same.
//!
//! Nothing is looked up in the rows of the store, and the writer in the store is made of the name of
//! the token and the client's own: an answer tells a client about its own batches only, and never
//! what others have stored.

use annals_core::{Batch, BatchId, PersistenceBackend, PersistenceError, Row};
use sha2::{Digest, Sha256};

/// The bits of a batch's hash in its number: other rows under the last number are taken for the same
/// once in a million times.
const HASH_BITS: u32 = 20;
/// The greatest number that a client may give to a batch. Milliseconds since 1970 fit until 2248.
pub(super) const MAX_NUMBER: u64 = (i64::MAX as u64) >> HASH_BITS;

/// What a client calls its batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ClientBatch {
    pub(super) writer: u128,
    /// From 1 to [`MAX_NUMBER`].
    pub(super) number: u64,
}

/// What became of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stored {
    Now,
    Before,
    /// Its number is taken, and not by these rows.
    Other,
}

/// Stores rows unless the batch of this client, which the token's name tells, is stored already.
/// `timed` says that the rows came with their times; otherwise these are no part of what is compared.
pub(super) async fn store(
    history: &impl PersistenceBackend,
    token: &str,
    batch: ClientBatch,
    rows: Vec<Row>,
    timed: bool,
) -> Result<Stored, PersistenceError> {
    let writer = writer(token, batch.writer);
    let first = batch.number << HASH_BITS;
    let number = first | hash(&rows, timed);
    let is_taken = async |number: u64| history.has_batch(BatchId { writer, number }).await;
    if !is_taken(first).await? {
        let batch = Batch::new(rows).with_id(BatchId { writer, number });
        history.store_batch(&batch).await?;
        return Ok(Stored::Now);
    }
    // The store has this number or a greater one. It is this one if the next is free.
    let is_last = is_taken(number).await? && !is_taken(number + 1).await?;
    Ok(if is_last { Stored::Before } else { Stored::Other })
}

/// Whether this batch, or a later one of the client's writer, is stored.
pub(super) async fn is_stored(
    history: &impl PersistenceBackend,
    token: &str,
    batch: ClientBatch,
) -> Result<bool, PersistenceError> {
    let (writer, number) = (writer(token, batch.writer), batch.number << HASH_BITS);
    history.has_batch(BatchId { writer, number }).await
}

/// Tokens have writers of their own, whatever ids their clients choose.
fn writer(token: &str, of_client: u128) -> u128 {
    let mut hash = Sha256::new();
    hash.update(b"annals-server writer");
    hash.update(of_client.to_le_bytes());
    hash.update(token);
    let hash: [u8; 32] = hash.finalize().into();
    let (half, _) = hash.split_at(16);
    half.iter().fold(0, |writer, byte| writer << 8 | u128::from(*byte))
}

/// Bits of a hash of the rows as they were sent. The time of arrival is not part of it.
fn hash(rows: &[Row], timed: bool) -> u64 {
    let mut hash = Sha256::new();
    for row in rows {
        let (record, value) = (row.record.as_str().as_bytes(), row.value.as_str().as_bytes());
        hash.update((record.len() as u64).to_le_bytes());
        hash.update(record);
        hash.update((value.len() as u64).to_le_bytes());
        hash.update(value);
        hash.update(if timed { row.stored_at } else { 0 }.to_le_bytes());
    }
    let hash: [u8; 32] = hash.finalize().into();
    let bits = hash.iter().take(8).fold(0, |bits, byte| bits << 8 | u64::from(*byte));
    bits >> (u64::BITS - HASH_BITS)
}

#[cfg(test)]
mod tests {
    use annals_core::{Grammar, MemoryBackend};
    use serde_json::json;

    use super::*;

    async fn store(
        history: &MemoryBackend,
        token: &str,
        number: u64,
        rows: &[(&str, u64, u64)],
        timed: bool,
    ) -> Stored {
        let rows = rows.iter().map(|(name, value, at)| Row::new(name, &json!(value), *at).unwrap());
        let batch = ClientBatch { writer: 1, number };
        super::store(history, token, batch, rows.collect(), timed).await.unwrap()
    }

    #[tokio::test]
    async fn the_same_rows_are_known_again_and_others_are_not() {
        let history = MemoryBackend::new();
        let first = &[("a", 1, 5), ("b", 2, 6)];
        for number in [1, 2, 7, MAX_NUMBER] {
            let id = ClientBatch { writer: 1, number };
            assert!(!is_stored(&history, "", id).await.unwrap());
            assert_eq!(store(&history, "", number, first, true).await, Stored::Now, "{number}");
            assert!(is_stored(&history, "", id).await.unwrap());
            assert!(!is_stored(&history, "another", id).await.unwrap());
            assert_eq!(store(&history, "", number, first, true).await, Stored::Before, "{number}");
            for other in [&[("a", 1, 5), ("b", 2, 9)][..], &[("a", 1, 5), ("b", 3, 6)], &[]] {
                assert_eq!(store(&history, "", number, other, true).await, Stored::Other);
            }
        }
        // The writer has gone on.
        assert_eq!(store(&history, "", 2, first, true).await, Stored::Other);
        let stored = history.records("*", Grammar::Glob).await.unwrap();
        assert_eq!(stored.iter().map(|record| record.count).sum::<u64>(), 8);
    }

    #[tokio::test]
    async fn rows_without_times_are_known_by_what_was_sent() {
        let history = MemoryBackend::new();
        assert_eq!(store(&history, "", 1, &[("a", 1, 5)], false).await, Stored::Now);
        assert_eq!(store(&history, "", 1, &[("a", 1, 6)], false).await, Stored::Before);
        assert_eq!(store(&history, "", 1, &[("a", 2, 6)], false).await, Stored::Other);
    }

    #[tokio::test]
    async fn tokens_do_not_meet() {
        let history = MemoryBackend::new();
        for token in ["", "one", "two"] {
            assert_eq!(store(&history, token, 1, &[("a", 1, 5)], true).await, Stored::Now);
            assert_eq!(store(&history, token, 1, &[("a", 1, 5)], true).await, Stored::Before);
        }
    }

    /// A later program must make the same ids, or retries are stored twice.
    #[test]
    fn ids_stay_what_they_are() {
        let rows = [Row::new("a", &json!(1), 5).unwrap()];
        let ids = (0x71ba_f42c_d4dd_b107_ac29_4234_16e2_ec13, 0xa_168d);
        assert_eq!((writer("line-3", 1), hash(&rows, true)), ids);
    }
}
