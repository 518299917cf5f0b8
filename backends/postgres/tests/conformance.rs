//! PostgreSQL is held to the contract, in a database that sorts by bytes and in one that does not.

use std::process::ExitCode;
use std::sync::Arc;

use annals_conformance::{Guard, Harness, HarnessResult, Suite, unique_name};
use annals_core::{PersistenceBackend, async_trait};
use annals_postgres::{PostgresBackend, PostgresConfig};
use annals_test_postgres::{Locale, SKIP_VARIABLE, TestServer, skip_requested};
use tokio_postgres::{Client, NoTls};

/// One schema for each store; its location is the URL with the schema in it.
struct Schemas(&'static str, Locale);

#[async_trait]
impl Harness for Schemas {
    fn name(&self) -> String {
        self.0.into()
    }

    async fn create(&self) -> HarnessResult<String> {
        let url = TestServer::get()?.database(self.1)?;
        Ok(format!("{url}?schema={}", unique_name("suite")))
    }

    async fn open(&self, location: &str) -> HarnessResult<Arc<dyn PersistenceBackend>> {
        Ok(Arc::new(PostgresBackend::new(PostgresConfig::from_url(location)?)))
    }

    async fn remove(&self, location: &str) -> HarnessResult<()> {
        let (client, schema) = connect(location).await?;
        Ok(client.batch_execute(&format!("DROP SCHEMA IF EXISTS \"{schema}\" CASCADE")).await?)
    }

    async fn open_with_max_value_bytes(
        &self,
        location: &str,
        max_value_bytes: usize,
    ) -> HarnessResult<Option<Arc<dyn PersistenceBackend>>> {
        let config = PostgresConfig::from_url(location)?.with_max_value_bytes(max_value_bytes);
        Ok(Some(Arc::new(PostgresBackend::new(config))))
    }

    async fn corrupt(
        &self,
        location: &str,
        record: &str,
        stored_at: u64,
        text: &str,
    ) -> HarnessResult<Option<()>> {
        let (client, schema) = connect(location).await?;
        let update = format!(
            "UPDATE \"{schema}\".history SET value = $3 WHERE stored_at = $2 \
             AND record_id = (SELECT id FROM \"{schema}\".records WHERE name = $1)"
        );
        let stored_at = i64::try_from(stored_at)?;
        let changed = client.execute(&update, &[&record, &stored_at, &text]).await?;
        Ok((changed > 0).then_some(()))
    }

    /// After a vacuum: the server's own comes once a minute, which no test waits for. It keeps
    /// what a snapshot anywhere in the database may still see, and other cases run in this one:
    /// those that were there first have to end.
    async fn size(&self, location: &str) -> HarnessResult<Option<u64>> {
        let (client, schema) = connect(location).await?;
        let now: i64 = client.query_one("SELECT txid_current()", &[]).await?.get(0);
        let older = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
                     AND pid <> pg_backend_pid() \
                     AND age(backend_xmin) > age(($1::bigint % 4294967296)::text::xid)";
        while client.query_one(older, &[&now]).await?.get::<_, i64>(0) > 0 {}
        for table in ["history", "records", "writers", "meta"] {
            client.batch_execute(&format!("VACUUM \"{schema}\".{table}")).await?;
        }
        let size = "SELECT sum(pg_total_relation_size(c.oid))::bigint FROM pg_class c \
                    JOIN pg_namespace n ON n.oid = c.relnamespace \
                    WHERE n.nspname = $1 AND c.relkind = 'r'";
        let size: i64 = client.query_one(size, &[&schema]).await?.get(0);
        Ok(Some(u64::try_from(size)?))
    }

    async fn lock(&self, location: &str) -> HarnessResult<Option<Guard>> {
        let (client, schema) = connect(location).await?;
        let lock = format!("BEGIN; LOCK TABLE \"{schema}\".history IN EXCLUSIVE MODE");
        client.batch_execute(&lock).await?;
        // Dropping the connection ends its transaction.
        Ok(Some(Box::new(client)))
    }
}

async fn connect(location: &str) -> HarnessResult<(Client, String)> {
    let (url, schema) = location.split_once("?schema=").ok_or("a location without a schema")?;
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    tokio::spawn(connection);
    Ok((client, schema.to_owned()))
}

fn main() -> ExitCode {
    let databases = [("postgres", Locale::C), ("postgres_icu", Locale::Icu)];
    annals_conformance::main(databases.map(|(name, locale)| {
        if skip_requested() {
            Suite::unavailable(name, format!("{SKIP_VARIABLE} names postgres"))
        } else {
            Suite::new(Schemas(name, locale))
        }
    }))
}
