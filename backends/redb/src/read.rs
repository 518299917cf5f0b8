//! Readers: one snapshot each.

use annals_core::PersistenceError;
use annals_embedded::{Snapshot, Tables};
use redb::{Database, ReadTransaction, ReadableDatabase};

use crate::error::failed;
use crate::tables::RedbTables;

/// A read transaction.
pub(crate) struct RedbSnapshot(RedbTables<ReadTransaction>);

impl RedbSnapshot {
    pub(crate) fn take(database: &Database) -> Result<Self, PersistenceError> {
        Ok(Self(RedbTables(database.begin_read().map_err(failed("query"))?)))
    }
}

impl Snapshot for RedbSnapshot {
    fn tables(&self) -> Result<&dyn Tables, PersistenceError> {
        Ok(&self.0)
    }
}
