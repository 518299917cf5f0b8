//! Conversion of schema version 2, which stored names twice and the time of each writer's last batch.

use annals_core::Result;
use annals_embedded::{RecordId, State};
use redb::{ReadableTable, TableDefinition, WriteTransaction};

use crate::error::failed;
use crate::schema::WRITERS;

/// Ids to names.
const NAMES: TableDefinition<'_, RecordId, &str> = TableDefinition::new("names");

/// Converts names and writers, which are alike in versions 1 and 2. Writers keep their order, as if each
/// had stored one block.
pub(crate) fn convert_names(transaction: &WriteTransaction, state: &mut State) -> Result<()> {
    transaction.delete_table(NAMES).map_err(failed("convert"))?;
    let mut writers = transaction.open_table(WRITERS).map_err(failed("convert"))?;
    let mut by_time = Vec::new();
    for entry in writers.iter().map_err(failed("convert"))? {
        let (writer, last) = entry.map_err(failed("convert"))?;
        let (number, time) = last.value();
        by_time.push((time, writer.value(), number));
    }
    by_time.sort_unstable();
    for (_, writer, number) in by_time {
        writers.insert(writer, (number, state.next_block)).map_err(failed("convert"))?;
        state.next_block += 1;
    }
    Ok(())
}
