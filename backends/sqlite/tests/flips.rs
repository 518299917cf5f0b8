//! Flipped bits, zeroed pages and files that end early: right rows or an error, never fewer rows.

#![allow(clippy::unwrap_used, reason = "test code")]

use std::path::PathBuf;
use std::sync::Arc;

use annals_core::{PersistenceBackend, Result};
use annals_sqlite::{SqliteBackend, SqliteConfig};
use annals_test_faults::{damage_is_an_error, tiny};

async fn open(path: PathBuf) -> Result<Arc<dyn PersistenceBackend>> {
    let config = SqliteConfig::new(&path).with_create(path.ends_with("sound"));
    Ok(Arc::new(SqliteBackend::open(config.with_tuning(tiny()))?))
}

#[tokio::test]
async fn a_damaged_file_gives_right_rows_or_an_error() {
    damage_is_an_error(60, 4096, open).await;
}
