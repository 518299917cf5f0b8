//! What is left of erased rows in the file.

#![allow(clippy::unwrap_used, reason = "test code")]

use std::fs;
use std::path::Path;

use annals_core::{Erasure, Grammar, Pattern, PersistenceBackend, Row};
use annals_embedded::Tuning;
use annals_embedded::format::Layout;
use annals_redb::{RedbBackend, RedbConfig};
use serde_json::json;

/// Blocks of one row: so little text is stored as it is.
fn one_row_each() -> Tuning {
    // In the head, whose pages are written anew with each row.
    Tuning { layout: Layout { block_rows: 1, ..Layout::default() }, ..Tuning::default() }
}

/// How often any file of a folder has these bytes.
fn occurrences(folder: &Path, text: &str) -> usize {
    let files = fs::read_dir(folder).unwrap().map(|entry| fs::read(entry.unwrap().path()).unwrap());
    files
        .map(|bytes| bytes.windows(text.len()).filter(|bytes| *bytes == text.as_bytes()).count())
        .sum()
}

#[tokio::test]
async fn a_compaction_removes_the_last_bytes_of_erased_rows() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("history.redb");
    let config = RedbConfig::new(&path).with_tuning(one_row_each());
    let history = RedbBackend::open(config.clone()).unwrap();
    for at in 0..40 {
        history.store("badge::ada-7731", &json!(format!("door-{at}-k0ckpit")), at).await.unwrap();
        history.store("meter", &json!({ "v": format!("wr0ng-{at}") }), at).await.unwrap();
    }
    let ada = Pattern::new("badge::*", Grammar::Glob).unwrap();
    assert_eq!(history.erase(&Erasure::new(ada)).await.unwrap(), 40);
    for at in 0..40 {
        assert!(
            history.correct(&Row::new("meter", &json!({ "v": at }), at).unwrap()).await.unwrap()
        );
    }
    let marks = ["k0ckpit", "badge::ada-7731", "wr0ng-"];
    // The page with the name is used again at once.
    for mark in ["k0ckpit", "wr0ng-"] {
        assert!(occurrences(folder.path(), mark) > 0, "{mark} would not be found");
    }
    history.compact().await.unwrap();
    for mark in marks {
        assert_eq!(occurrences(folder.path(), mark), 0, "{mark}");
    }
    history.store("meter", &json!({ "v": 40 }), 40).await.unwrap();
    history.close().await.unwrap();
    for mark in marks {
        assert_eq!(occurrences(folder.path(), mark), 0, "{mark}");
    }
    let history = RedbBackend::open(config).unwrap();
    let rows = history.query("*", Default::default()).await.unwrap();
    assert_eq!(rows.len(), 41);
    assert!(rows.iter().all(|row| row.value == json!({ "v": row.stored_at })));
}
