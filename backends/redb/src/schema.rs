//! The tables of a history and what they contain. `docs/file-format.md` describes all of them.

use annals_embedded::{RecordId, RunId};
use redb::TableDefinition;

/// The schema version.
pub(crate) const META: TableDefinition<'_, &str, u64> = TableDefinition::new("annals_meta");
pub(crate) const SCHEMA_VERSION: &str = "schema_version";

/// Record ids by name, in byte order.
pub(crate) const RECORDS: TableDefinition<'_, &str, RecordId> = TableDefinition::new("records");
/// One block of rows per transaction, by its number, and the state of the store behind the newest.
pub(crate) const HEAD: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("head");
pub(crate) const STATE: u64 = u64::MAX;
/// The entry of each run: order (head and part), rows, first, last, bytes, sealed.
pub(crate) const RUNS: TableDefinition<'_, RunId, RunEntry> = TableDefinition::new("run_entries");
pub(crate) type RunEntry = (u64, u8, u64, u64, u64, u64, bool);
/// Each run's index.
pub(crate) const RUN_INDEXES: TableDefinition<'_, RunId, &[u8]> =
    TableDefinition::new("directories");
/// Each run's blocks, numbered from 0.
pub(crate) const BLOCKS: TableDefinition<'_, (RunId, u32), &[u8]> = TableDefinition::new("blocks");
/// The last batch number of each writer, and the block of the head that was written with it.
pub(crate) const WRITERS: TableDefinition<'_, u128, (u64, u64)> = TableDefinition::new("writers");

/// The version that this program writes.
pub(crate) const VERSION: u64 = 4;
