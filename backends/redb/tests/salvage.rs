//! A file whose end is missing.

#![allow(clippy::unwrap_used, reason = "test code")]

use std::collections::HashSet;
use std::fs;
use std::sync::{Arc, Mutex};

use annals_core::{Batch, PersistenceBackend, RawRow, Row};
use annals_redb::RedbBackend;
use serde_json::json;

const ROWS: u64 = 100_000;

#[tokio::test(flavor = "multi_thread")]
async fn what_is_left_of_a_file_that_was_cut_is_right() {
    let folder = tempfile::tempdir().unwrap();
    let (path, cut) = (folder.path().join("history"), folder.path().join("cut"));
    let history = RedbBackend::new(&path).unwrap();
    let mut all = HashSet::new();
    for part in 0..20 {
        let row = |n: u64| {
            // Hardly compressed, so that there are many pages.
            let value = json!({ "n": n, "v": n.wrapping_mul(0x9e37_79b9_7f4a_7c15) });
            Row::new(&format!("record::{}", n % 50), &value, n).unwrap()
        };
        let rows: Vec<Row> = (part * ROWS / 20..(part + 1) * ROWS / 20).map(row).collect();
        all.extend(rows.iter().map(|row| (row.stored_at, row.value.as_str().to_owned())));
        history.store_batch(&Batch::new(rows)).await.unwrap();
    }
    history.close().await.unwrap();
    let whole = fs::metadata(&path).unwrap().len();
    let mut found = Vec::new();
    for tenth in 1..=10 {
        fs::copy(&path, &cut).unwrap();
        let len = whole * tenth / 11 / 4096 * 4096;
        fs::OpenOptions::new().write(true).open(&cut).unwrap().set_len(len).unwrap();
        let salvaged: Arc<Mutex<Vec<RawRow>>> = Arc::default();
        let sink = salvaged.clone();
        let report = RedbBackend::salvage_file(&cut, move |rows| {
            sink.lock().unwrap().extend(rows);
            Ok(())
        })
        .await;
        let salvaged = std::mem::take(&mut *salvaged.lock().unwrap());
        let mut seen = HashSet::new();
        for row in &salvaged {
            let name = format!("record::{}", row.stored_at % 50);
            assert!(*row.record == *name || row.record.starts_with("lost+found::"), "{row:?}");
            assert!(all.contains(&(row.stored_at, row.json.to_string())), "{row:?}");
            assert!(seen.insert(row.stored_at), "twice: {row:?}");
        }
        match report {
            Ok(report) => assert!(!report.is_sound() && report.rows == salvaged.len() as u64),
            // What says what the file is may be lost.
            Err(error) => assert!(salvaged.is_empty(), "{error}"),
        }
        assert_eq!(fs::metadata(&cut).unwrap().len(), len);
        found.push(salvaged.len());
    }
    println!("rows from each tenth: {found:?}");
    // Names and the list of runs are at the beginning, whatever comes behind them.
    assert!(found[9] > ROWS as usize / 2 && found[6] > 0);
}
