//! A schema of its own for each test, in a shared database.
#![allow(dead_code, reason = "not every test file uses all of it")]
#![allow(clippy::unwrap_used, unreachable_pub, reason = "a test may panic")]

pub mod observed;

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use annals_core::{Batch, Row};
use annals_postgres::{PostgresBackend, PostgresConfig};
use annals_test_postgres::{Extension, Locale, TestServer};
use serde_json::json;
use tokio_postgres::{Client, NoTls};

/// Where a test does its work.
pub struct Place {
    pub url: String,
    pub schema: String,
    /// Of the URL: `partition_interval=1s`, say.
    pub options: &'static str,
}

impl Place {
    /// In the database whose locale sorts unlike bytes, where mistakes show.
    pub fn new() -> Self {
        Self::at(TestServer::get().unwrap().database(Locale::Icu).unwrap(), "")
    }

    /// As [`new`](Self::new), with options of the URL.
    pub fn with_options(options: &'static str) -> Self {
        Self { options, ..Self::new() }
    }

    /// In a database with an extension, with options of the URL.
    pub fn with(extension: Extension, options: &'static str) -> Self {
        Self::at(TestServer::get().unwrap().database_with(extension).unwrap(), options)
    }

    fn at(url: String, options: &'static str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos();
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let schema = format!("t{}_{count}_{now}", std::process::id());
        Self { url, schema, options }
    }

    pub fn config(&self) -> PostgresConfig {
        self.config_with(self.options)
    }

    /// With other options.
    pub fn config_with(&self, options: &str) -> PostgresConfig {
        let url = format!("{}?{options}", self.url);
        PostgresConfig::from_url(&url).unwrap().with_schema(&self.schema)
    }

    pub fn backend(&self) -> PostgresBackend {
        PostgresBackend::new(self.config())
    }

    /// A backend whose sessions the server lists under [`application`](Self::application).
    pub fn named_backend(&self) -> PostgresBackend {
        let options = format!("application_name={}&{}", self.application(), self.options);
        PostgresBackend::new(self.config_with(&options))
    }

    /// The server cuts names off at 63 bytes.
    pub fn application(&self) -> String {
        format!("annals {}", self.schema).replace(' ', "-")
    }

    /// A connection of the test's own.
    pub async fn client(&self) -> Client {
        let (client, connection) = tokio_postgres::connect(&self.url, NoTls).await.unwrap();
        tokio::spawn(connection);
        client
    }

    /// The schema's name as an identifier.
    pub fn quoted(&self) -> String {
        format!("\"{}\"", self.schema.replace('"', "\"\""))
    }

    /// Runs statements; `{s}` stands for the schema.
    pub async fn execute(&self, sql: &str) {
        let sql = sql.replace("{s}", &self.quoted());
        self.client().await.batch_execute(&sql).await.unwrap();
    }

    /// A number out of the database; `{s}` stands for the schema.
    pub async fn number(&self, sql: &str) -> i64 {
        let sql = sql.replace("{s}", &self.quoted());
        self.client().await.query_one(&sql, &[]).await.unwrap().get(0)
    }
}

pub fn row(record: &str, value: i64, stored_at: u64) -> Row {
    Row::new(record, &json!(value), stored_at).unwrap()
}

/// `rows` rows of `records` records, `r0` upwards, one millisecond apart.
pub fn batch(records: u64, rows: u64) -> Batch {
    let row = |i: u64| row(&format!("r{}", i % records), i as i64, i / records);
    Batch::new((0..rows).map(row).collect::<Vec<_>>())
}
