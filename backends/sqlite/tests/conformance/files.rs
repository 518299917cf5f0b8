//! Where the suite's stores are, and what is done to them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use annals_conformance::{Guard, Harness, HarnessResult, unique_name};
use annals_core::{PersistenceBackend, async_trait};
use annals_embedded::Tuning;
use annals_embedded::format::Place;
use annals_sqlite::{SqliteBackend, SqliteConfig};
use annals_test_faults::{Medium, replace_row};
use rusqlite::{Connection, params};

use crate::vfs;

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
        let folder = std::env::temp_dir().join(unique_name("annals-sqlite"));
        Ok(folder.join("history.db").display().to_string())
    }

    async fn open(&self, location: &str) -> HarnessResult<Arc<dyn PersistenceBackend>> {
        Ok(Arc::new(SqliteBackend::open(self.config(location))?))
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
        Ok(Some(Arc::new(SqliteBackend::open(config)?)))
    }

    async fn corrupt(
        &self,
        location: &str,
        record: &str,
        stored_at: u64,
        text: &str,
    ) -> HarnessResult<Option<()>> {
        let connection = Connection::open(location)?;
        let id: u32 =
            connection
                .query_row("SELECT id FROM records WHERE name = ?1", [record], |row| row.get(0))?;
        let blocks: Vec<(Option<u64>, u64, Vec<u8>)> = connection
            .prepare("SELECT NULL, number, frame FROM head WHERE number < 9223372036854775807 UNION ALL SELECT id >> 32, id & 0xffffffff, block FROM blocks")?
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
            .collect::<Result<_, _>>()?;
        let mut changed = 0;
        for (run, number, block) in blocks {
            let place = match run {
                None => Place::Head(number),
                Some(run) => Place::Block(run, number as u32),
            };
            let (damaged, count) = replace_row(place, &block, (id, stored_at), text)?;
            changed += count;
            let update = match run {
                None => "UPDATE head SET frame = ?1 WHERE number = ?2 AND ?3 IS NULL",
                Some(_) => "UPDATE blocks SET block = ?1 WHERE id = ?2 | ?3 << 32",
            };
            connection.execute(update, params![damaged, number, run])?;
        }
        assert_eq!(changed, 1, "exactly one row to corrupt");
        Ok(Some(()))
    }

    async fn size(&self, location: &str) -> HarnessResult<Option<u64>> {
        let mut size = 0;
        for file in std::fs::read_dir(folder(location))? {
            size += file?.metadata()?.len();
        }
        Ok(Some(size))
    }

    async fn lock(&self, location: &str) -> HarnessResult<Option<Guard>> {
        let connection = Connection::open(location)?;
        connection.busy_timeout(std::time::Duration::from_secs(5))?;
        connection.execute_batch("BEGIN EXCLUSIVE")?;
        Ok(Some(Box::new(connection)))
    }

    async fn fail_syncs(&self, location: &str) -> HarnessResult<Option<Guard>> {
        Ok(Some(Box::new(Medium::under(location).failing_syncs())))
    }

    async fn fill_disk(&self, location: &str) -> HarnessResult<Option<Guard>> {
        Ok(Some(Box::new(Medium::under(location).full())))
    }
}

impl Files {
    fn config(&self, location: &str) -> SqliteConfig {
        vfs::register();
        SqliteConfig::new(location).with_vfs(vfs::NAME).with_tuning(self.tuning.clone())
    }
}

fn folder(location: &str) -> PathBuf {
    Path::new(location).parent().map(Path::to_owned).unwrap_or_default()
}
