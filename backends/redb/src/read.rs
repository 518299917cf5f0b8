//! Snapshots.

use annals_core::Result;
use annals_embedded::{Snapshot, Tables};
use redb::{Database, ReadTransaction, ReadableDatabase};

use crate::error::failed;
use crate::tables::RedbTables;

/// A read transaction.
pub(crate) struct RedbSnapshot(RedbTables<ReadTransaction>);

impl RedbSnapshot {
    pub(crate) fn take(database: &Database) -> Result<Self> {
        Ok(Self(RedbTables(database.begin_read().map_err(failed("query"))?)))
    }
}

impl Snapshot for RedbSnapshot {
    fn tables(&self) -> Result<&dyn Tables> {
        Ok(&self.0)
    }
}
