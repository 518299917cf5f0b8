//! Typed writes over any backend.

use std::future::Future;

use serde::Serialize;

use crate::backend::PersistenceBackend;
use crate::batch::{Batch, Row};
use crate::clock::{Clock, SystemClock};
use crate::error::{PersistenceError, Result};

/// Typed writes, for every [`PersistenceBackend`].
///
/// Each call stores one row and waits until it is durable. To write many values, use a
/// [`Recorder`](crate::Recorder), which batches them.
///
/// ```
/// # use annals_core::{MemoryBackend, PersistenceBackend, StoreExt};
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// #[derive(serde::Serialize)]
/// struct Reading {
///     celsius: f64,
/// }
///
/// let history = MemoryBackend::new();
/// history.put("attic", &Reading { celsius: 21.5 }).await?;
/// history.put_at("attic", &Reading { celsius: 20.0 }, 1_740_081_234_000).await?;
/// assert_eq!(history.query("attic", Default::default()).await?.len(), 2);
/// # Ok::<(), annals_core::PersistenceError>(()) }).unwrap();
/// ```
pub trait StoreExt: PersistenceBackend {
    /// Stores `value` as a row of `record` at the current time.
    ///
    /// The value is serialized and the time is taken when this is called, not when the future is
    /// polled.
    ///
    /// # Errors
    /// As [`store`](PersistenceBackend::store), and
    /// [`Serialization`](PersistenceError::Serialization) when `T` fails to serialize.
    ///
    /// # Cancel safety
    /// As [`store`](PersistenceBackend::store).
    fn put<T: Serialize + ?Sized>(
        &self,
        record: &str,
        value: &T,
    ) -> impl Future<Output = Result<()>> + Send + use<'_, Self, T> {
        self.put_at(record, value, SystemClock.now_ms())
    }

    /// Stores `value` as a row of `record` at `stored_at`, in Unix milliseconds.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    ///
    /// # Cancel safety
    /// As [`store`](PersistenceBackend::store).
    fn put_at<T: Serialize + ?Sized>(
        &self,
        record: &str,
        value: &T,
        stored_at: u64,
    ) -> impl Future<Output = Result<()>> + Send + use<'_, Self, T> {
        // The limit on the size is the backend's: it checks the batch.
        let row = Row::with_limit(record, value, stored_at, usize::MAX);
        async move {
            match self.store_batch(&Batch::new([row?])).await {
                Err(PersistenceError::InvalidRow { source, .. }) => Err(*source),
                stored => stored,
            }
        }
    }
}

impl<B: PersistenceBackend + ?Sized> StoreExt for B {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::MemoryBackend;
    use crate::query::QueryParams;
    use crate::typed::QueryExt;

    #[tokio::test]
    async fn a_put_value_comes_back_and_a_refusal_is_that_of_store() {
        let backend = MemoryBackend::new().with_max_value_bytes(10);
        let before = SystemClock.now_ms();
        backend.put("a", "now").await.unwrap();
        backend.put_at("a", &[1, 2], 7).await.unwrap();
        let rows = backend.query_typed::<serde_json::Value>("a", QueryParams::default()).await;
        let rows = rows.unwrap().rows;
        assert!(rows[0].stored_at >= before);
        assert_eq!((rows[1].value.clone(), rows[1].stored_at), (serde_json::json!([1, 2]), 7));

        let large = backend.put("a", "more than ten bytes").await;
        assert!(
            matches!(large, Err(PersistenceError::ValueTooLarge { limit: 10, .. })),
            "{large:?}"
        );
        let name = backend.put("a*", &1).await;
        assert!(matches!(name, Err(PersistenceError::InvalidRecordName { .. })), "{name:?}");
        let late = backend.put_at("a", &1, u64::MAX).await;
        assert!(matches!(late, Err(PersistenceError::TimestampOutOfRange { .. })), "{late:?}");
        assert_eq!(backend.records("*", Default::default()).await.unwrap()[0].count, 2);
    }
}
