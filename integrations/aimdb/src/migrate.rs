//! Reads through the migration chains of AimDB 2.x's data contracts.

use std::future::Future;

use aimdb_data_contracts::{MigrationChain, MigrationError};
use annals_core::{PersistenceError, QueryParams, RawRow, TypedRows};

use crate::ext::AimDbQueryExt;

/// Queries of types that AimDB 2.x's `migration_chain!` knows the older versions of: rows of every
/// version come back as the current one.
///
/// A row that cannot be migrated is skipped with a warning and counted: its version is unknown or newer,
/// or a step fails.
pub trait AimDbMigrateExt: AimDbQueryExt {
    /// Like [`query_latest`](AimDbQueryExt::query_latest), with values that are migrated to `T`.
    fn query_latest_migrated<T: MigrationChain + Send + 'static>(
        &self,
        pattern: &str,
        n: usize,
    ) -> impl Future<Output = Result<Vec<T>, PersistenceError>> + Send {
        self.query_latest_with(pattern, n, migrated::<T>)
    }

    /// Like [`query_range`](AimDbQueryExt::query_range), with values that are migrated to `T`.
    fn query_range_migrated<T: MigrationChain + Send + 'static>(
        &self,
        pattern: &str,
        start: u64,
        end: u64,
    ) -> impl Future<Output = Result<Vec<T>, PersistenceError>> + Send {
        let typed = self.query_typed_migrated(pattern, QueryParams::range(start, end));
        async move { Ok(typed.await?.into()) }
    }

    /// Rows with their record and time, with values that are migrated to `T`, and the number of rows
    /// that were skipped.
    fn query_typed_migrated<T: MigrationChain + Send + 'static>(
        &self,
        pattern: &str,
        params: QueryParams,
    ) -> impl Future<Output = Result<TypedRows<T>, PersistenceError>> + Send {
        self.query_typed_with(pattern, params, migrated::<T>)
    }
}

impl<D: AimDbQueryExt> AimDbMigrateExt for D {}

fn migrated<T: MigrationChain>(row: &RawRow) -> Result<T, MigrationError> {
    T::migrate_from_bytes(row.json.as_bytes())
}
