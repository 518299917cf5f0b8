//! Files as older versions made them.

use annals_core::StoredValue;
use redb::{Database, ReadableDatabase, ReadableTableMetadata, TableDefinition, TableHandle};
use serde_json::json;

/// Rows, so that a conversion makes several runs with [`tiny`](annals_test_faults::tiny).
const ROWS: u64 = 160;

const META: TableDefinition<'_, &str, u64> = TableDefinition::new("annals_meta");
const RECORDS: TableDefinition<'_, &str, u32> = TableDefinition::new("records");
const NAMES: TableDefinition<'_, u32, &str> = TableDefinition::new("names");
const HISTORY: TableDefinition<'_, (u32, u64, u32), &[u8]> = TableDefinition::new("history");
const WRITERS: TableDefinition<'_, u128, (u64, u64)> = TableDefinition::new("writers");

/// Makes a file of schema version 1.
pub(crate) fn make(path: &str) {
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
        for row in rows() {
            let at = row.value[0].as_u64().unwrap();
            let key = (1 + (at % 2) as u32, row.stored_at, (at % 4) as u32);
            history.insert(key, row.value.to_string().as_bytes()).unwrap();
        }
        transaction.open_table(WRITERS).unwrap();
    }
    transaction.commit().unwrap();
}

/// Whether a file is as [`make`] made it, or a new one.
pub(crate) fn is_whole(path: &str) -> bool {
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

/// Its rows, records in order and each oldest first.
pub(crate) fn rows() -> Vec<StoredValue> {
    let of = |record: u64| (0..ROWS).filter(move |at| at % 2 == record);
    let row = |at: u64| StoredValue {
        record_name: ["a", "b"][(at % 2) as usize].into(),
        value: json!([at, "x".repeat(40)]),
        stored_at: at / 4,
    };
    of(0).chain(of(1)).map(row).collect()
}
