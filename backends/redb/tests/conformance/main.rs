//! redb is held to the contract.

mod failing_storage;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use annals_conformance::{Guard, Harness, HarnessResult, Suite, unique_name};
use annals_core::{PersistenceBackend, async_trait};
use annals_embedded::format::Columns;
use annals_redb::{RedbBackend, RedbConfig};
use redb::{Database, ReadableTable, TableDefinition};

use failing_storage::FailingStorage;

const RECORDS: TableDefinition<'_, &str, u32> = TableDefinition::new("records");
const HEAD: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("head");

struct Files;

#[async_trait]
impl Harness for Files {
    fn name(&self) -> String {
        "redb".into()
    }

    async fn create(&self) -> HarnessResult<String> {
        let folder = std::env::temp_dir().join(unique_name("annals-redb"));
        Ok(folder.join("history.redb").display().to_string())
    }

    async fn open(&self, location: &str) -> HarnessResult<Arc<dyn PersistenceBackend>> {
        Ok(Arc::new(open(location, RedbConfig::new(location))?))
    }

    async fn remove(&self, location: &str) -> HarnessResult<()> {
        Ok(std::fs::remove_dir_all(folder(location))?)
    }

    async fn open_with_max_value_bytes(
        &self,
        location: &str,
        max_value_bytes: usize,
    ) -> HarnessResult<Option<Arc<dyn PersistenceBackend>>> {
        let config = RedbConfig::new(location).with_max_value_bytes(max_value_bytes);
        Ok(Some(Arc::new(open(location, config)?)))
    }

    async fn corrupt(
        &self,
        location: &str,
        record: &str,
        stored_at: u64,
        text: &str,
    ) -> HarnessResult<Option<()>> {
        let transaction = Database::open(location)?.begin_write()?;
        {
            let records = transaction.open_table(RECORDS)?;
            let id = records.get(record)?.ok_or("no such record")?.value();
            let mut head = transaction.open_table(HEAD)?;
            let mut blocks = Vec::new();
            for entry in head.iter()? {
                let (number, block) = entry?;
                blocks.push((number.value(), Columns::decode(block.value())?));
            }
            let mut changed = 0;
            for (number, block) in blocks {
                let mut damaged = Columns::new();
                for (record, time, json) in block.iter() {
                    let hit = (record, time) == (id, stored_at);
                    damaged.push(record, time, if hit { text } else { json });
                    changed += usize::from(hit);
                }
                head.insert(number, damaged.encode()?.as_slice())?;
            }
            assert_eq!(changed, 1, "exactly one row to corrupt");
        }
        transaction.commit()?;
        Ok(Some(()))
    }

    async fn size(&self, location: &str) -> HarnessResult<Option<u64>> {
        Ok(Some(std::fs::metadata(location)?.len()))
    }

    async fn fail_syncs(&self, location: &str) -> HarnessResult<Option<Guard>> {
        Ok(Some(Box::new(FailingSyncs::new(failing_storage::switch(location)))))
    }
}

fn open(location: &str, config: RedbConfig) -> HarnessResult<RedbBackend> {
    std::fs::create_dir_all(folder(location))?;
    Ok(RedbBackend::open_on(FailingStorage::open(location)?, config)?)
}

/// Syncs fail until this is dropped.
struct FailingSyncs(&'static AtomicBool);

impl FailingSyncs {
    fn new(switch: &'static AtomicBool) -> Self {
        switch.store(true, Ordering::SeqCst);
        Self(switch)
    }
}

impl Drop for FailingSyncs {
    fn drop(&mut self) {
        self.0.store(false, Ordering::SeqCst);
    }
}

fn folder(location: &str) -> PathBuf {
    Path::new(location).parent().map(Path::to_owned).unwrap_or_default()
}

fn main() -> ExitCode {
    Suite::new(Files).main()
}
