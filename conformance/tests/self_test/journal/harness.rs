//! Journals in the folder for temporary files, and what a case may do to one from outside.

use std::fs;
use std::sync::{Arc, Mutex};

use annals_conformance::{Guard, Harness, HarnessResult, unique_name};
use annals_core::{DEFAULT_MAX_VALUE_BYTES, PersistenceBackend, Value, async_trait};

use super::{Flaw, Journal, outside};

pub(super) struct JournalHarness(pub(super) String, pub(super) Flaw);

#[async_trait]
impl Harness for JournalHarness {
    fn name(&self) -> String {
        self.0.clone()
    }

    async fn create(&self) -> HarnessResult<String> {
        let path = std::env::temp_dir().join(unique_name("annals-journal"));
        Ok(path.to_str().ok_or("a folder whose name is no text")?.to_owned())
    }

    async fn open(&self, location: &str) -> HarnessResult<Arc<dyn PersistenceBackend>> {
        Ok(Arc::new(Journal::open(location, self.1, DEFAULT_MAX_VALUE_BYTES)?))
    }

    async fn remove(&self, location: &str) -> HarnessResult<()> {
        match fs::remove_file(location) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }

    async fn open_with_max_value_bytes(
        &self,
        location: &str,
        max: usize,
    ) -> HarnessResult<Option<Arc<dyn PersistenceBackend>>> {
        Ok(Some(Arc::new(Journal::open(location, self.1, max)?)))
    }

    async fn corrupt(
        &self,
        location: &str,
        record: &str,
        stored_at: u64,
        text: &str,
    ) -> HarnessResult<Option<()>> {
        let mut damaged = String::new();
        for line in fs::read_to_string(location)?.lines() {
            let mut line: Value = serde_json::from_str(line)?;
            for row in line["rows"].as_array_mut().into_iter().flatten() {
                if row[0] == record && row[1] == stored_at {
                    row[2] = text.into();
                }
            }
            damaged += &(line.to_string() + "\n");
        }
        fs::write(location, damaged)?;
        Ok(Some(()))
    }

    async fn size(&self, location: &str) -> HarnessResult<Option<u64>> {
        Ok(Some(fs::metadata(location)?.len()))
    }

    async fn lock(&self, location: &str) -> HarnessResult<Option<Guard>> {
        let gate = outside(location, |outside| outside.gate.clone());
        Ok(Some(Box::new(gate.lock_owned().await)))
    }

    async fn fail_syncs(&self, location: &str) -> HarnessResult<Option<Guard>> {
        Ok(Some(Mend::later(outside(location, |outside| outside.syncs_fail.clone()))))
    }

    async fn fill_disk(&self, location: &str) -> HarnessResult<Option<Guard>> {
        Ok(Some(Mend::later(outside(location, |outside| outside.is_full.clone()))))
    }
}

/// What is broken until this is dropped.
struct Mend(Arc<Mutex<bool>>);

impl Mend {
    fn later(broken: Arc<Mutex<bool>>) -> Guard {
        *broken.lock().unwrap() = true;
        Box::new(Self(broken))
    }
}

impl Drop for Mend {
    fn drop(&mut self) {
        *self.0.lock().unwrap() = false;
    }
}
