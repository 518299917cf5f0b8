//! redb files on a full disk.

use std::process::ExitCode;
use std::sync::Arc;

use annals_core::{PersistenceBackend, Result};
use annals_embedded::Tuning;
use annals_redb::{RedbBackend, RedbConfig};
use annals_test_faults::{FileEngine, full_disk_trials};

fn open(path: &str, tuning: Tuning) -> Result<Arc<dyn PersistenceBackend>> {
    Ok(Arc::new(RedbBackend::open(RedbConfig::new(path).with_tuning(tuning))?))
}

fn main() -> ExitCode {
    full_disk_trials(FileEngine { file: "history.redb", open, has_room_again: false })
}
