//! Backends that forward to another one: pointers, and wrappers written with [`forward_backend!`].

use std::sync::Arc;

use crate::backend::PersistenceBackend;

/// Implements [`PersistenceBackend`](crate::PersistenceBackend) for a type by forwarding every
/// method, including the provided ones, to the backend that an expression yields.
///
/// A wrapper written by hand that forgets a provided method silently falls back to the default,
/// which may be slower or refuse what the wrapped backend can do. To change some of the methods,
/// write the implementation by hand and put `#[deny(clippy::missing_trait_methods)]` on it.
///
/// ```
/// use annals_core::{MemoryBackend, PersistenceBackend, StoreExt, forward_backend};
///
/// /// A backend with a name.
/// struct Named<B> {
///     name: &'static str,
///     backend: B,
/// }
///
/// forward_backend! { impl[B: PersistenceBackend] for Named<B> => |this| this.backend }
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let history = Named { name: "cache", backend: MemoryBackend::new() };
/// history.put("attic", &21.5).await?;
/// assert!(history.guarantees().selective_cleanup, "{} claims what it wraps", history.name);
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

            async fn query_stream(
                &self,
                record_pattern: &str,
                params: $crate::QueryParams,
            ) -> ::std::result::Result<$crate::RowStream, $crate::PersistenceError> {
                let $this = self;
                $inner.query_stream(record_pattern, params).await
            }

            async fn aggregate_stream(
                &self,
                record_pattern: &str,
                aggregate: &$crate::Aggregate,
            ) -> ::std::result::Result<$crate::BucketStream, $crate::PersistenceError> {
                let $this = self;
                $inner.aggregate_stream(record_pattern, aggregate).await
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
