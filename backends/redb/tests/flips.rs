//! Flipped bits, zeroed pages and files that end early: right rows or an error, never fewer rows.

#![allow(clippy::unwrap_used, reason = "test code")]

use std::path::PathBuf;
use std::sync::Arc;

use annals_core::{PersistenceBackend, Result};
use annals_redb::{RedbBackend, RedbConfig};
use annals_test_faults::{damage_is_an_error, tiny};

async fn open(path: PathBuf, verify: bool) -> Result<Arc<dyn PersistenceBackend>> {
    let config = RedbConfig::new(&path).with_create(path.ends_with("sound")).with_verify(verify);
    Ok(Arc::new(RedbBackend::open(config.with_tuning(tiny()))?))
}

#[tokio::test]
async fn a_damaged_file_gives_right_rows_or_an_error() {
    damage_is_an_error(60, 4096, |path| open(path, true)).await;
}

#[tokio::test]
async fn a_damaged_file_gives_right_rows_or_an_error_without_the_check_at_opening() {
    damage_is_an_error(60, 4096, |path| open(path, false)).await;
}
