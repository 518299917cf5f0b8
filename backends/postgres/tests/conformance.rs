//! PostgreSQL is held to the contract: in a database that sorts by bytes and in one that does not,
//! in every layout of the history (partitioned always, with an extension where the server that
//! `ANNALS_TEST_POSTGRES_URL` names has it), and behind PgBouncer in transaction mode.

use std::process::ExitCode;
use std::sync::Arc;

use annals_conformance::{Guard, Harness, HarnessResult, Suite, unique_name};
use annals_core::{PersistenceBackend, async_trait};
use annals_postgres::{PostgresBackend, PostgresConfig};
use annals_test_postgres::{Extension, Locale, Pooler, SKIP_VARIABLE, TestServer, skip_requested};
use tokio_postgres::{Client, NoTls};

/// Where the schemas of a suite are.
#[derive(Clone, Copy)]
enum Database {
    Sorted(Locale),
    With(Extension),
}

/// One schema for each store. Its location is two URLs with the schema in them: that of the backend,
/// with its options, and that of this harness, which goes past any pooler.
#[derive(Clone, Copy)]
struct Schemas {
    name: &'static str,
    database: Database,
    options: &'static str,
    pooled: bool,
}

#[async_trait]
impl Harness for Schemas {
    fn name(&self) -> String {
        self.name.into()
    }

    async fn create(&self) -> HarnessResult<String> {
        let server = TestServer::get()?;
        let url = match self.database {
            Database::Sorted(locale) => server.database(locale)?,
            Database::With(extension) => server.database_with(extension)?,
        };
        let schema = unique_name("suite");
        let way = if self.pooled { Pooler::get()?.url(&url)? } else { url.clone() };
        Ok(format!("{way}?schema={schema}{} {url}?schema={schema}", self.options))
    }

    async fn open(&self, location: &str) -> HarnessResult<Arc<dyn PersistenceBackend>> {
        Ok(Arc::new(PostgresBackend::new(config(location)?)))
    }

    async fn remove(&self, location: &str) -> HarnessResult<()> {
        let (client, schema) = connect(location).await?;
        if let Database::With(Extension::Timescale) = self.database {
            // It would fail once an hour for ever.
            let job = "SELECT delete_job(job_id) FROM timescaledb_information.jobs \
                       WHERE proc_schema = $1";
            client.execute(job, &[&schema]).await?;
        }
        Ok(client.batch_execute(&format!("DROP SCHEMA IF EXISTS \"{schema}\" CASCADE")).await?)
    }

    async fn open_with_max_value_bytes(
        &self,
        location: &str,
        max_value_bytes: usize,
    ) -> HarnessResult<Option<Arc<dyn PersistenceBackend>>> {
        let config = config(location)?.with_max_value_bytes(max_value_bytes);
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
        // In two steps: Citus wants to be told the record.
        let id = format!("SELECT id FROM \"{schema}\".records WHERE name = $1");
        let Some(id) = client.query_opt(&id, &[&record]).await? else { return Ok(None) };
        let update = format!(
            "UPDATE \"{schema}\".history SET value = $3 WHERE stored_at = $2 AND record_id = $1"
        );
        let stored_at = i64::try_from(stored_at)?;
        let changed = client.execute(&update, &[&id.get::<_, i64>(0), &stored_at, &text]).await?;
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
        // Partitions lie in the schema as the other tables do; chunks and shards do not.
        let elsewhere = match self.database {
            Database::With(Extension::Timescale | Extension::TimescaleApache) => {
                format!("(SELECT hypertable_size('\"{schema}\".history'))")
            }
            Database::With(Extension::Citus) => format!(
                "(SELECT sum(citus_total_relation_size(t)) FROM unnest(ARRAY[\
                   '\"{schema}\".history'::regclass, '\"{schema}\".records', \
                   '\"{schema}\".placements']) AS t)"
            ),
            Database::Sorted(_) => "0".to_owned(),
        };
        let size = format!(
            "SELECT (sum(pg_total_relation_size(c.oid)) + {elsewhere})::bigint FROM pg_class c \
             JOIN pg_namespace n ON n.oid = c.relnamespace \
             WHERE n.nspname = $1 AND c.relkind = 'r'"
        );
        let size: i64 = client.query_one(&size, &[&schema]).await?.get(0);
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

/// What a backend opens: the first part.
fn config(location: &str) -> HarnessResult<PostgresConfig> {
    let (url, _) = location.split_once(' ').ok_or("a location of one part")?;
    Ok(PostgresConfig::from_url(url)?)
}

/// Past any pooler.
async fn connect(location: &str) -> HarnessResult<(Client, String)> {
    let (_, direct) = location.split_once(' ').ok_or("a location of one part")?;
    let (url, schema) = direct.split_once("?schema=").ok_or("a location without a schema")?;
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    tokio::spawn(connection);
    Ok((client, schema.to_owned()))
}

fn suite(schemas: Schemas) -> Suite {
    if skip_requested() {
        return Suite::unavailable(schemas.name, format!("{SKIP_VARIABLE} names postgres"));
    }
    if let Database::With(extension) = schemas.database {
        // An error is for the cases to fail with.
        if let Ok(Some(reason)) = TestServer::lacks(extension) {
            return Suite::unavailable(schemas.name, reason);
        }
    }
    if schemas.pooled
        && let Err(reason) = Pooler::find()
    {
        return Suite::unavailable(schemas.name, reason);
    }
    Suite::new(schemas)
}

fn main() -> ExitCode {
    let direct =
        |name, database, options| suite(Schemas { name, database, options, pooled: false });
    let pooled = |name, database, options| suite(Schemas { name, database, options, pooled: true });
    let (bytes, icu) = (Database::Sorted(Locale::C), Database::Sorted(Locale::Icu));
    // So short that most cases have rows in several, and some in too many.
    let partitions = "&partition_interval=1s";
    let chunks = "&timescale=require&chunk_interval=10min";
    annals_conformance::main([
        direct("postgres", bytes, ""),
        direct("postgres_icu", icu, ""),
        direct("postgres_partitioned", icu, partitions),
        direct("postgres_timescale", Database::With(Extension::Timescale), chunks),
        direct("postgres_timescale_apache", Database::With(Extension::TimescaleApache), chunks),
        direct("postgres_citus", Database::With(Extension::Citus), "&distribute=require"),
        pooled("postgres_pgbouncer", bytes, ""),
        pooled("postgres_pgbouncer_partitioned", bytes, partitions),
    ])
}
