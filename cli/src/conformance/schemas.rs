//! PostgreSQL: each store in a schema of its own, in the database that was named.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use annals::postgres::PostgresConfig;
use annals::{PersistenceBackend, async_trait};
use annals_conformance::{Harness, HarnessResult, unique_name};
use tokio_postgres::NoTls;

use crate::failure::Failure;

/// The options of the URL that are the backend's own; the driver does not know them.
const OWN_OPTIONS: [&str; 8] = [
    "schema",
    "max_value_bytes",
    "pool_size",
    "writers",
    "durability",
    "wait_timeout",
    "connect_timeout",
    "statement_timeout",
];

/// Stores in schemas of one database.
#[derive(Debug, Clone)]
pub(super) struct Schemas {
    /// The URL up to its options.
    base: String,
    options: Vec<String>,
    /// Those that were made and not removed yet.
    made: Arc<Mutex<BTreeSet<String>>>,
}

impl Schemas {
    pub(super) fn new(url: &str) -> Result<Self, Failure> {
        // Says what is wrong with the URL.
        PostgresConfig::from_url(url)?;
        let (base, options) = url.split_once('?').unwrap_or((url, ""));
        let options = options.split('&').filter(|pair| !pair.is_empty()).map(str::to_owned);
        Ok(Self { base: base.to_owned(), options: options.collect(), made: Arc::default() })
    }

    /// Whether the database is there.
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

    /// The URL with other options than its own for some.
    fn url(&self, set: &[(&str, &str)]) -> String {
        let kept = self.options.iter().filter(|pair| {
            let name = pair.split('=').next();
            !set.iter().any(|(set, _)| Some(*set) == name)
        });
        let set = set.iter().map(|(name, value)| format!("{name}={value}"));
        let options: Vec<_> = kept.cloned().chain(set).collect();
        format!("{}?{}", self.base, options.join("&"))
    }

    /// A connection of this program's own, beside the backend.
    async fn client(&self) -> HarnessResult<tokio_postgres::Client> {
        let for_driver = self.options.iter().filter(|pair| {
            let name = pair.split('=').next().unwrap_or_default();
            !OWN_OPTIONS.contains(&name) && name != "sslmode"
        });
        let options: Vec<_> = for_driver.map(String::as_str).collect();
        let url = format!("{}?{}", self.base, options.join("&"));
        let (client, connection) = tokio_postgres::connect(&url, NoTls).await?;
        // It ends with the client, which gets to hear of errors.
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
        Ok(annals::connect(&self.url(&[("schema", location)])).await?)
    }

    async fn remove(&self, location: &str) -> HarnessResult<()> {
        // The names are this suite's own: letters, digits and dashes.
        let drop_schema = format!("DROP SCHEMA IF EXISTS \"{location}\" CASCADE");
        self.client().await?.batch_execute(&drop_schema).await?;
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
        Ok(Some(annals::connect(&url).await?))
    }

    async fn size(&self, location: &str) -> HarnessResult<Option<u64>> {
        const SIZE: &str = "SELECT coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint \
                            FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
                            WHERE n.nspname = $1 AND c.relkind IN ('r', 'm')";
        let row = self.client().await?.query_one(SIZE, &[&location]).await?;
        let bytes: i64 = row.get(0);
        Ok(Some(u64::try_from(bytes)?))
    }
}
