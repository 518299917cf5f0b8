//! Where the suite's stores are, and what is done to them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use annals_conformance::{Guard, Harness, HarnessResult, unique_name};
use annals_core::{PersistenceBackend, async_trait};
use annals_embedded::Tuning;
use annals_embedded::format::Place;
use annals_redb::{RedbBackend, RedbConfig};
use annals_test_faults::{Medium, replace_row};
use redb::{Database, Key, ReadableTable, Table, TableDefinition};

use crate::storage::Storage;

const RECORDS: TableDefinition<'_, &str, u32> = TableDefinition::new("records");
const HEAD: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("head");
const BLOCKS: TableDefinition<'_, (u64, u32), &[u8]> = TableDefinition::new("blocks");

pub(crate) struct Files {
    pub(crate) name: &'static str,
    pub(crate) tuning: Tuning,
}

#[async_trait]
impl Harness for Files {
    fn name(&self) -> String {
        self.name.into()
    }

    async fn create(&self) -> HarnessResult<String> {
        let folder = std::env::temp_dir().join(unique_name("annals-redb"));
        Ok(folder.join("history.redb").display().to_string())
    }

    async fn open(&self, location: &str) -> HarnessResult<Arc<dyn PersistenceBackend>> {
        Ok(Arc::new(open(location, self.config(location))?))
    }

    async fn remove(&self, location: &str) -> HarnessResult<()> {
        Ok(std::fs::remove_dir_all(folder(location))?)
    }

    async fn open_with_max_value_bytes(
        &self,
        location: &str,
        max_value_bytes: usize,
    ) -> HarnessResult<Option<Arc<dyn PersistenceBackend>>> {
        let config = self.config(location).with_max_value_bytes(max_value_bytes);
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
            let corrupt = |place: Option<Place>, block: &[u8]| match place {
                Some(place) => Ok(replace_row(place, block, (id, stored_at), text)?),
                None => Ok((block.to_vec(), 0)),
            };
            // The last entry is the state.
            let head = |number: u64| (number < u64::MAX).then_some(Place::Head(number));
            let block = |(run, number)| Some(Place::Block(run, number));
            let changed = rewrite(&mut transaction.open_table(HEAD)?, head, corrupt)?
                + rewrite(&mut transaction.open_table(BLOCKS)?, block, corrupt)?;
            assert_eq!(changed, 1, "exactly one row to corrupt");
        }
        transaction.commit()?;
        Ok(Some(()))
    }

    async fn size(&self, location: &str) -> HarnessResult<Option<u64>> {
        Ok(Some(std::fs::metadata(location)?.len()))
    }

    async fn fail_syncs(&self, location: &str) -> HarnessResult<Option<Guard>> {
        Ok(Some(Box::new(Medium::under(location).failing_syncs())))
    }

    async fn fill_disk(&self, location: &str) -> HarnessResult<Option<Guard>> {
        Ok(Some(Box::new(Medium::under(location).full())))
    }
}

impl Files {
    fn config(&self, location: &str) -> RedbConfig {
        RedbConfig::new(location).with_tuning(self.tuning.clone())
    }
}

fn open(location: &str, config: RedbConfig) -> HarnessResult<RedbBackend> {
    std::fs::create_dir_all(folder(location))?;
    let path = location.to_owned();
    Ok(RedbBackend::open_with(move || Storage::open(&path), config)?)
}

fn folder(location: &str) -> PathBuf {
    Path::new(location).parent().map(Path::to_owned).unwrap_or_default()
}

/// Changes every block of a table; answers how many rows were changed.
fn rewrite<T: Copy, K: for<'a> Key<SelfType<'a> = T> + 'static>(
    table: &mut Table<'_, K, &'static [u8]>,
    place: impl Fn(T) -> Option<Place>,
    change: impl Fn(Option<Place>, &[u8]) -> HarnessResult<(Vec<u8>, usize)>,
) -> HarnessResult<usize> {
    let mut blocks = Vec::new();
    for entry in table.iter()? {
        let (key, block) = entry?;
        blocks.push((key.value(), change(place(key.value()), block.value())?));
    }
    let mut sum = 0;
    for (key, (block, changed)) in blocks {
        table.insert(key, block.as_slice())?;
        sum += changed;
    }
    Ok(sum)
}
