//! How far a writer of batches came.

use crate::backend::PersistenceBackend;
use crate::batch::BatchId;
use crate::error::PersistenceError;

/// The number of a writer's last batch; 0 if the store knows none.
///
/// A backend answers only whether a number was reached, so that this takes 63 questions. A writer
/// that gives its numbers a meaning, the place in its input, say, finds out with it where to go on.
///
/// # Errors
/// Those of [`has_batch`](PersistenceBackend::has_batch).
///
/// ```
/// # use annals_core::{Batch, BatchId, MemoryBackend, PersistenceBackend, last_number};
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let store = MemoryBackend::new();
/// let id = BatchId { writer: 7, number: 41 };
/// store.store_batch(&Batch::new([]).with_id(id)).await?;
/// assert_eq!(last_number(&store, 7).await?, 41);
/// assert_eq!(last_number(&store, 8).await?, 0);
/// # Ok::<(), annals_core::PersistenceError>(())
/// # }).unwrap();
/// ```
pub async fn last_number<B: PersistenceBackend + ?Sized>(
    store: &B,
    writer: u128,
) -> Result<u64, PersistenceError> {
    last_number_within(store, writer, (0, i64::MAX as u64)).await
}

/// As [`last_number`], if it is known to lie within bounds: at least the first of them.
pub(crate) async fn last_number_within<B: PersistenceBackend + ?Sized>(
    store: &B,
    writer: u128,
    (mut known, mut beyond): (u64, u64),
) -> Result<u64, PersistenceError> {
    while known < beyond {
        let number = known + (beyond - known).div_ceil(2);
        if store.has_batch(BatchId { writer, number }).await? {
            known = number;
        } else {
            beyond = number - 1;
        }
    }
    Ok(known)
}
