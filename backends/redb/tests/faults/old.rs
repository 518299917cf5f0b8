//! Files as older versions made them.

use annals_test_faults::{OLD_ROWS as ROWS, OldFile, old_rows};
use redb::{Database, ReadableDatabase, ReadableTableMetadata, TableDefinition, TableHandle};

const META: TableDefinition<'_, &str, u64> = TableDefinition::new("annals_meta");
const RECORDS: TableDefinition<'_, &str, u32> = TableDefinition::new("records");
const NAMES: TableDefinition<'_, u32, &str> = TableDefinition::new("names");
const HISTORY: TableDefinition<'_, (u32, u64, u32), &[u8]> = TableDefinition::new("history");
const WRITERS: TableDefinition<'_, u128, (u64, u64)> = TableDefinition::new("writers");

/// A file of schema version 1.
pub(crate) const VERSION_1: OldFile = OldFile { make, is_whole };

fn make(path: &str) {
    let database = Database::create(path).unwrap();
    let transaction = database.begin_write().unwrap();
    {
        let mut meta = transaction.open_table(META).unwrap();
        meta.insert("schema_version", 1).unwrap();
        meta.insert("next_record", 3).unwrap();
        let mut records = transaction.open_table(RECORDS).unwrap();
        let mut names = transaction.open_table(NAMES).unwrap();
        for (id, name) in [(1, "a"), (2, "b")] {
            records.insert(name, id).unwrap();
            names.insert(id, name).unwrap();
        }
        let mut history = transaction.open_table(HISTORY).unwrap();
        for row in old_rows() {
            let at = row.value[0].as_u64().unwrap();
            let key = (1 + (at % 2) as u32, row.stored_at, (at % 4) as u32);
            history.insert(key, row.value.to_string().as_bytes()).unwrap();
        }
        transaction.open_table(WRITERS).unwrap();
    }
    transaction.commit().unwrap();
}

/// Whether a file is as [`make`] made it, or a new one.
fn is_whole(path: &str) -> bool {
    let database = Database::open(path).unwrap();
    let transaction = database.begin_read().unwrap();
    let mut tables: Vec<String> =
        transaction.list_tables().unwrap().map(|table| table.name().to_owned()).collect();
    tables.sort_unstable();
    let version = transaction.open_table(META).unwrap().get("schema_version").unwrap();
    match version.map(|version| version.value()) {
        Some(1) => {
            tables == ["annals_meta", "history", "names", "records", "writers"]
                && transaction.open_table(HISTORY).unwrap().len().unwrap() == ROWS
        }
        Some(_) => !tables.contains(&"history".to_owned()),
        None => false,
    }
}
