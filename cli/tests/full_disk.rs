//! The program on a disk without a free byte, on which the program that stored was killed.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::io::Write;
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;

use annals::redb::{RedbBackend, RedbConfig};
use annals::sqlite::{SqliteBackend, SqliteConfig};
use annals::{PersistenceBackend, Result};
use annals_embedded::Tuning;
use annals_test_faults::{FileEngine, FilledStore, filled_store_trials};
use serde_json::{Value, json};

const NAME: &str = "a_full_disk_is_asked_cleaned_up_and_imported_to";

fn main() -> ExitCode {
    let engines = [
        FileEngine { file: "history.db", open: open_sqlite, has_room_again: true },
        FileEngine { file: "history.redb", open: open_redb, has_room_again: false },
    ];
    filled_store_trials(NAME, &engines, asked_cleaned_up_and_imported_to)
}

fn open_sqlite(path: &str, tuning: Tuning) -> Result<Arc<dyn PersistenceBackend>> {
    Ok(Arc::new(SqliteBackend::open(SqliteConfig::new(path).with_tuning(tuning))?))
}

fn open_redb(path: &str, tuning: Tuning) -> Result<Arc<dyn PersistenceBackend>> {
    Ok(Arc::new(RedbBackend::open(RedbConfig::new(path).with_tuning(tuning))?))
}

/// Runs the program on the store. Returns what it prints.
fn annals(store: &FilledStore<'_>, args: &[&str], input: &str) -> String {
    let scheme = if store.file.ends_with(".db") { "sqlite" } else { "redb" };
    let mut command = Command::new(env!("CARGO_BIN_EXE_annals"));
    command.arg("--backend").arg(format!("{scheme}:{}", store.file)).args(args);
    command.current_dir(store.folder).env_remove("RUST_LOG");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn json_lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The rows of each record at these times, and nothing else.
fn has_rows(store: &FilledStore<'_>, first: u64, end: u64) {
    let rows = json_lines(&annals(store, &["query", "*", "--oldest-first"], ""));
    let found = rows.iter().map(|row| (row["record"].as_str(), row["stored_at"].as_u64()));
    let expected = FilledStore::RECORDS.into_iter().flat_map(|record| {
        (first..end)
            .flat_map(move |at| (0..FilledStore::ROWS).map(move |_| (Some(record), Some(at))))
    });
    assert!(found.eq(expected), "{} rows are there", rows.len());
    assert!(rows.iter().all(|row| row["value"][0] == row["stored_at"]), "other values are there");
}

fn asked_cleaned_up_and_imported_to(store: &FilledStore<'_>) {
    let end = store.end;
    has_rows(store, 0, end);
    store.fill_disk();
    let expected = FilledStore::RECORDS.map(|record| {
        let count = end * FilledStore::ROWS;
        json!({ "record": record, "count": count, "first": 0, "last": end - 1 })
    });
    assert_eq!(json_lines(&annals(store, &["records"], "")), expected);
    store.fill_disk();
    let third = end / 3;
    let time = format!("1970-01-01T00:00:{:02}.{:03}Z", third / 1000, third % 1000);
    let removed = annals(store, &["cleanup", "--older-than", &time], "");
    assert_eq!(removed, format!("{}\n", third * FilledStore::ROWS * 2));
    has_rows(store, third, end);
    store.make_room();
    let row = json!({ "record": "later", "value": 1, "stored_at": end });
    annals(store, &["import"], &format!("{row}\n"));
    let later = json_lines(&annals(store, &["query", "later"], ""));
    assert_eq!(later, [row]);
}
