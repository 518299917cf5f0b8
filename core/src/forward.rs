//! Backends that forward to another one: pointers, and wrappers written with [`forward_backend!`].

use std::sync::Arc;

use crate::backend::PersistenceBackend;

/// Implements [`PersistenceBackend`] for a wrapper by forwarding every method, the provided ones too.
/// A wrapper that forgot one would fall back to the default without any warning.
///
/// `forward_backend! { impl[generics] for Type => |this| expression }`: the expression gives the
/// backend that the calls go to. A wrapper that changes some methods forwards from an inner type, or
/// implements the trait under `#[deny(clippy::missing_trait_methods)]`.
///
/// ```
/// use annals_core::{MemoryBackend, PersistenceBackend, StoreExt, forward_backend};
///
/// struct Named<B> {
///     name: String,
///     backend: B,
/// }
///
/// forward_backend! { impl[B: PersistenceBackend] for Named<B> => |this| this.backend }
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let named = Named { name: "test".into(), backend: MemoryBackend::new() };
/// named.put("temperature", &21.5).await?;
/// assert!(named.guarantees().atomic_batches, "the claims of {} are the inner ones", named.name);
/// # Ok::<(), annals_core::PersistenceError>(()) }).unwrap();
/// ```
#[macro_export]
macro_rules! forward_backend {
    (impl[$($generics:tt)*] for $type:ty => |$this:ident| $inner:expr) => {
        #[deny(clippy::missing_trait_methods)]
        #[$crate::async_trait]
        impl<$($generics)*> $crate::PersistenceBackend for $type {
            async fn store(
                &self,
                record_name: &str,
                value: &$crate::Value,
                timestamp: u64,
            ) -> ::std::result::Result<(), $crate::PersistenceError> {
                let $this = self;
                $inner.store(record_name, value, timestamp).await
            }

            async fn query(
                &self,
                record_pattern: &str,
                params: $crate::QueryParams,
            ) -> ::std::result::Result<::std::vec::Vec<$crate::StoredValue>, $crate::PersistenceError>
            {
                let $this = self;
                $inner.query(record_pattern, params).await
            }

            async fn cleanup(
                &self,
                older_than: u64,
            ) -> ::std::result::Result<u64, $crate::PersistenceError> {
                let $this = self;
                $inner.cleanup(older_than).await
            }

            async fn initialize(&self) -> ::std::result::Result<(), $crate::PersistenceError> {
                let $this = self;
                $inner.initialize().await
            }

            async fn store_batch(
                &self,
                batch: &$crate::Batch,
            ) -> ::std::result::Result<(), $crate::PersistenceError> {
                let $this = self;
                $inner.store_batch(batch).await
            }

            async fn has_batch(
                &self,
                id: $crate::BatchId,
            ) -> ::std::result::Result<bool, $crate::PersistenceError> {
                let $this = self;
                $inner.has_batch(id).await
            }

            async fn query_stream(
                &self,
                record_pattern: &str,
                params: $crate::QueryParams,
            ) -> ::std::result::Result<$crate::RowStream, $crate::PersistenceError> {
                let $this = self;
                $inner.query_stream(record_pattern, params).await
            }

            async fn query_where(
                &self,
                record_pattern: &str,
                params: $crate::QueryParams,
                predicate: &$crate::Predicate,
            ) -> ::std::result::Result<$crate::RowStream, $crate::PersistenceError> {
                let $this = self;
                $inner.query_where(record_pattern, params, predicate).await
            }

            async fn aggregate_stream(
                &self,
                record_pattern: &str,
                aggregate: &$crate::Aggregate,
            ) -> ::std::result::Result<$crate::BucketStream, $crate::PersistenceError> {
                let $this = self;
                $inner.aggregate_stream(record_pattern, aggregate).await
            }

            async fn follow_page(
                &self,
                record_pattern: &str,
                params: &$crate::FollowParams,
            ) -> ::std::result::Result<$crate::FollowPage, $crate::PersistenceError> {
                let $this = self;
                $inner.follow_page(record_pattern, params).await
            }

            async fn records(
                &self,
                record_pattern: &str,
                grammar: $crate::Grammar,
            ) -> ::std::result::Result<
                ::std::vec::Vec<$crate::RecordSummary>,
                $crate::PersistenceError,
            > {
                let $this = self;
                $inner.records(record_pattern, grammar).await
            }

            async fn cleanup_plan(
                &self,
                plan: &$crate::CleanupPlan,
            ) -> ::std::result::Result<u64, $crate::PersistenceError> {
                let $this = self;
                $inner.cleanup_plan(plan).await
            }

            async fn sweep(
                &self,
                plan: &$crate::CleanupPlan,
            ) -> ::std::result::Result<$crate::Swept, $crate::PersistenceError> {
                let $this = self;
                $inner.sweep(plan).await
            }

            async fn erase(
                &self,
                erasure: &$crate::Erasure,
            ) -> ::std::result::Result<u64, $crate::PersistenceError> {
                let $this = self;
                $inner.erase(erasure).await
            }

            async fn correct(
                &self,
                row: &$crate::Row,
            ) -> ::std::result::Result<bool, $crate::PersistenceError> {
                let $this = self;
                $inner.correct(row).await
            }

            async fn health(&self) -> ::std::result::Result<(), $crate::PersistenceError> {
                let $this = self;
                $inner.health().await
            }

            async fn close(&self) -> ::std::result::Result<(), $crate::PersistenceError> {
                let $this = self;
                $inner.close().await
            }

            fn guarantees(&self) -> $crate::Guarantees {
                let $this = self;
                $inner.guarantees()
            }
        }
    };
}

forward_backend! { impl[B: PersistenceBackend + ?Sized] for Arc<B> => |this| (**this) }
forward_backend! { impl[B: PersistenceBackend + ?Sized] for Box<B> => |this| (**this) }
forward_backend! { impl[B: PersistenceBackend + ?Sized] for &B => |this| (**this) }
