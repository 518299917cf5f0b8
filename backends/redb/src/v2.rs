//! Conversion of schema version 2, which stored names twice and the time of each writer's last batch.

use annals_core::{ErrorKind, Result};
use annals_embedded::RecordId;
use redb::{ReadableTable, TableDefinition, WriteTransaction};

use crate::error::failed;
use crate::schema::{META, NEXT_BLOCK, WRITERS, refused};

/// Ids to names.
const NAMES: TableDefinition<'_, RecordId, &str> = TableDefinition::new("names");

/// Converts names and writers, which are alike in versions 1 and 2. Writers keep their order, as if each
/// had stored one block.
pub(crate) fn convert_names(transaction: &WriteTransaction) -> Result<()> {
    transaction.delete_table(NAMES).map_err(failed("convert"))?;
    let mut writers = transaction.open_table(WRITERS).map_err(failed("convert"))?;
    let mut by_time = Vec::new();
    for entry in writers.iter().map_err(failed("convert"))? {
        let (writer, last) = entry.map_err(failed("convert"))?;
        let (number, time) = last.value();
        by_time.push((time, writer.value(), number));
    }
    by_time.sort_unstable();
    let mut meta = transaction.open_table(META).map_err(failed("convert"))?;
    let next = meta.get(NEXT_BLOCK).map_err(failed("convert"))?.map(|next| next.value());
    let mut next = next.ok_or_else(|| {
        refused(ErrorKind::Corrupt, "the file does not say which block is next".to_owned())
    })?;
    for (_, writer, number) in by_time {
        writers.insert(writer, (number, next)).map_err(failed("convert"))?;
        next += 1;
    }
    meta.insert(NEXT_BLOCK, next).map_err(failed("convert")).map(drop)
}
