//! A backend behind a proxy that reads along: rows that travel, and plans as they were executed.
//!
//! The server's module `auto_explain` sends the plan of each statement as a notice when it ends, which is
//! before the answer that ends the transaction.

use annals_postgres::{PostgresBackend, SslMode};
use annals_test_postgres::Proxy;
use serde_json::Value;

use super::Place;

/// Settings of the sessions of the backend.
const SETTINGS: &str = "-c session_preload_libraries=auto_explain \
    -c auto_explain.log_min_duration=0 -c auto_explain.log_analyze=on \
    -c auto_explain.log_timing=off -c auto_explain.log_format=json \
    -c auto_explain.log_level=notice";

pub struct Observed {
    pub backend: PostgresBackend,
    proxy: Proxy,
}

impl Observed {
    /// An error says that the server has no `auto_explain`, or does not let this role use it.
    pub async fn new(place: &Place) -> Result<Self, String> {
        let loaded = place.client().await.batch_execute("LOAD 'auto_explain'").await;
        loaded.map_err(|error| format!("auto_explain cannot be loaded: {error}"))?;
        let proxy = Proxy::start(&place.url).unwrap();
        let settings = SETTINGS.replace(' ', "%20").replace('=', "%3D");
        let through = Place {
            url: proxy.url(&place.url).unwrap(),
            schema: place.schema.clone(),
            options: "",
        };
        let config = through.config_with(&format!("options={settings}&{}", place.options));
        let backend = PostgresBackend::new(config.with_sslmode(SslMode::Disable));
        Ok(Self { backend, proxy })
    }

    /// What a question costs.
    pub async fn watch<T>(&self, question: impl Future<Output = T>) -> (T, Cost) {
        let traffic = self.proxy.traffic();
        let before = traffic.rows();
        traffic.take_notices();
        let answer = question.await;
        let mut scans = Vec::new();
        for notice in traffic.take_notices() {
            let Some(plan) = notice.find('{').filter(|_| notice.contains("plan:")) else {
                continue;
            };
            let explained: Value = serde_json::from_str(&notice[plan..]).unwrap();
            collect(&explained["Plan"], &mut scans);
        }
        (answer, Cost { rows: traffic.rows() - before, scans })
    }
}

/// The scans of the history in a plan.
fn collect(node: &Value, scans: &mut Vec<Scan>) {
    let text = |key: &str| node[key].as_str().unwrap_or_default().to_owned();
    let number = |key: &str| node[key].as_f64().unwrap_or(0.0);
    if text("Relation Name").starts_with("history") {
        let each = number("Actual Rows") + number("Rows Removed by Filter");
        scans.push(Scan {
            table: text("Relation Name"),
            kind: text("Node Type"),
            condition: text("Index Cond"),
            loops: number("Actual Loops"),
            // Rounded by the server, for each loop.
            rows: each * number("Actual Loops"),
        });
    }
    for part in node["Plans"].as_array().into_iter().flatten() {
        collect(part, scans);
    }
}

#[derive(Debug)]
pub struct Scan {
    pub table: String,
    pub kind: String,
    condition: String,
    pub loops: f64,
    pub rows: f64,
}

/// What the server read and sent.
#[derive(Debug)]
pub struct Cost {
    /// The rows that travelled.
    pub rows: u64,
    /// The scans of the history, those that were planned and not executed as well.
    pub scans: Vec<Scan>,
}

impl Cost {
    /// The rows of the history that the server read.
    pub fn read(&self) -> f64 {
        self.scans.iter().map(|scan| scan.rows).sum()
    }

    /// Every scan that was executed is a search in the index, and they read `most` rows in all.
    pub fn assert_seeks(&self, name: &str, most: f64) {
        let executed = || self.scans.iter().filter(|scan| scan.loops > 0.0);
        assert!(executed().next().is_some(), "{name}: the history was not asked");
        for scan in executed() {
            let seeks = scan.kind.starts_with("Index") && scan.condition.contains("record_id");
            assert!(seeks, "{name}: {scan:?}");
        }
        assert!(self.read() <= most, "{name}: {} rows were read: {:#?}", self.read(), self.scans);
    }

    /// Tables that were read or, with `planned`, that a plan names at all: for these the server took
    /// locks.
    pub fn tables(&self, planned: bool) -> Vec<&str> {
        let named = self.scans.iter().filter(|scan| planned || scan.loops > 0.0);
        let mut tables: Vec<&str> = named.map(|scan| &*scan.table).collect();
        tables.sort_unstable();
        tables.dedup();
        tables
    }
}
