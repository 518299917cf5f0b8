//! PostgreSQL: each store in its own schema of the named database.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use annals::{PersistenceBackend, async_trait};
use annals_conformance::{BoxError, Guard, Harness, HarnessResult, unique_name};
use tokio_postgres::{Client, NoTls};

use super::gate::Gate;
use crate::failure::Failure;

/// The options of the URL that the driver knows too. The others are the backend's.
const DRIVER_OPTIONS: [&str; 16] = [
    "application_name",
    "channel_binding",
    "dbname",
    "host",
    "hostaddr",
    "keepalives",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_retries",
    "load_balance_hosts",
    "options",
    "password",
    "port",
    "sslnegotiation",
    "tcp_user_timeout",
    "user",
];

/// Identifies the suite's sessions on the server.
const APPLICATION: &str = "application_name";

/// Stores in schemas of one database.
#[derive(Debug, Clone)]
pub(super) struct Schemas {
    /// The URL up to its options.
    base: String,
    options: Vec<String>,
    /// Those that were created and not removed yet.
    made: Arc<Mutex<BTreeSet<String>>>,
    gate: Gate,
}

impl Schemas {
    pub(super) fn new(url: &str, gate: Gate) -> Self {
        let (base, options) = url.split_once('?').unwrap_or((url, ""));
        let options = options.split('&').filter(|pair| !pair.is_empty()).map(str::to_owned);
        let (base, mut options) = (base.to_owned(), options.collect::<Vec<_>>());
        if !options.iter().any(|pair| pair.starts_with(&format!("{APPLICATION}="))) {
            options.push(format!("{APPLICATION}=annals-conformance-{}", std::process::id()));
        }
        Self { base, options, made: Arc::default(), gate }
    }

    /// Whether the database can be reached.
    pub(super) async fn check(&self) -> Result<(), Failure> {
        let refused = |error| Failure::Failed(format!("the database cannot be reached: {error}"));
        self.client().await.map(drop).map_err(refused)
    }

    /// Removes every schema that is left.
    pub(super) async fn remove_all(&self) -> HarnessResult<()> {
        let left = self.made().clone();
        for schema in left {
            self.remove(&schema).await?;
        }
        Ok(())
    }

    fn made(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The URL with the options in `set` in place of its own.
    fn url(&self, set: &[(&str, &str)]) -> String {
        let kept = self.options.iter().filter(|pair| {
            let name = pair.split('=').next();
            !set.iter().any(|(set, _)| Some(*set) == name)
        });
        let set = set.iter().map(|(name, value)| format!("{name}={value}"));
        let options: Vec<_> = kept.cloned().chain(set).collect();
        format!("{}?{}", self.base, options.join("&"))
    }

    /// A connection beside the backend's.
    async fn client(&self) -> HarnessResult<Client> {
        let for_driver = self.options.iter().filter(|pair| {
            let name = pair.split('=').next().unwrap_or_default();
            DRIVER_OPTIONS.contains(&name)
        });
        let options: Vec<_> = for_driver.map(String::as_str).collect();
        let url = format!("{}?{}", self.base, options.join("&"));
        let (client, connection) = tokio_postgres::connect(&url, NoTls).await.map_err(in_full)?;
        // It ends with the client, which reports its errors.
        tokio::spawn(connection);
        Ok(client)
    }
}

#[async_trait]
impl Harness for Schemas {
    fn name(&self) -> String {
        "postgres".to_owned()
    }

    async fn create(&self) -> HarnessResult<String> {
        let schema = unique_name("annals-conformance");
        self.made().insert(schema.clone());
        Ok(schema)
    }

    async fn open(&self, location: &str) -> HarnessResult<Arc<dyn PersistenceBackend>> {
        let _pass = self.gate.pass().await?;
        Ok(annals::connect(&self.url(&[("schema", location)])).await?)
    }

    async fn remove(&self, location: &str) -> HarnessResult<()> {
        // The suite made the name: letters, digits and dashes.
        let drop_schema = format!("DROP SCHEMA IF EXISTS \"{location}\" CASCADE");
        self.client().await?.batch_execute(&drop_schema).await.map_err(in_full)?;
        self.made().remove(location);
        Ok(())
    }

    async fn open_with_max_value_bytes(
        &self,
        location: &str,
        max_value_bytes: usize,
    ) -> HarnessResult<Option<Arc<dyn PersistenceBackend>>> {
        let limit = max_value_bytes.to_string();
        let url = self.url(&[("schema", location), ("max_value_bytes", &limit)]);
        let _pass = self.gate.pass().await?;
        Ok(Some(annals::connect(&url).await?))
    }

    /// After a vacuum, since the server's own comes once a minute. A vacuum keeps what a snapshot may
    /// still see, and other cases run at the same time: the older ones have to end first.
    async fn size(&self, location: &str) -> HarnessResult<Option<u64>> {
        const OLDER: &str = "SELECT count(*) FROM pg_stat_activity \
                             WHERE datname = current_database() AND pid <> pg_backend_pid() \
                             AND application_name = current_setting('application_name') \
                             AND age(backend_xmin) > age(($1::bigint % 4294967296)::text::xid)";
        const SIZE: &str = "SELECT coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint \
                            FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
                            WHERE n.nspname = $1 AND c.relkind = 'r'";
        let client = self.client().await?;
        let now: i64 = client.query_one("SELECT txid_current()", &[]).await?.try_get(0)?;
        while client.query_one(OLDER, &[&now]).await?.try_get::<_, i64>(0)? > 0 {}
        for table in tables(&client, location).await? {
            client.batch_execute(&format!("VACUUM {table}")).await?;
        }
        let bytes: i64 = client.query_one(SIZE, &[&location]).await?.try_get(0)?;
        Ok(Some(u64::try_from(bytes)?))
    }

    async fn lock(&self, location: &str) -> HarnessResult<Option<Guard>> {
        let client = self.client().await?;
        let tables = tables(&client, location).await?.join(", ");
        client.batch_execute(&format!("BEGIN; LOCK TABLE {tables} IN EXCLUSIVE MODE")).await?;
        // Dropping the connection ends its transaction.
        Ok(Some(Box::new(client)))
    }
}

/// The error with the server's message: the driver itself shows "db error" only.
fn in_full(error: tokio_postgres::Error) -> BoxError {
    match error.as_db_error() {
        Some(reported) => reported.message().to_owned().into(),
        None => error.into(),
    }
}

/// The tables of a schema, quoted.
async fn tables(client: &Client, schema: &str) -> HarnessResult<Vec<String>> {
    const TABLES: &str = "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables \
                          WHERE schemaname = $1";
    let rows = client.query(TABLES, &[&schema]).await?;
    Ok(rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?)
}
