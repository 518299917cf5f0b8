//! What the Apache licence of TimescaleDB does not include.

use std::sync::Mutex;

use annals_core::{PersistenceBackend, QueryExt};
use annals_postgres::PostgresBackend;
use serde_json::json;

use crate::apache_hypertable;
use crate::common::batch;

/// Every warning of this process, as text.
static WARNINGS: Mutex<Vec<String>> = Mutex::new(Vec::new());

struct Warnings;

impl tracing::Subscriber for Warnings {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        *metadata.level() <= tracing::Level::WARN
    }
    fn event(&self, event: &tracing::Event<'_>) {
        struct Text(String);
        impl tracing::field::Visit for Text {
            fn record_debug(&mut self, _: &tracing::field::Field, value: &dyn std::fmt::Debug) {
                self.0.push_str(&format!("{value:?} "));
            }
        }
        let mut text = Text(String::new());
        event.record(&mut text);
        WARNINGS.lock().unwrap().push(text.0);
    }
    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }
    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}
}

/// The warning appears once for each backend, and never with `compress_after=off`.
pub(crate) async fn under_the_apache_licence_nothing_is_compressed() {
    tracing::subscriber::set_global_default(Warnings).unwrap();
    let said = || {
        let warnings = WARNINGS.lock().unwrap();
        warnings.iter().filter(|text| text.contains("compress_after=off")).count()
    };
    let place = apache_hypertable();
    let before = said();
    let off = PostgresBackend::new(place.config_with("chunk_interval=1s&compress_after=off"));
    off.store("a", &json!(1), 1).await.unwrap();
    let quiet = said();
    let backend = place.backend();
    backend.store_batch(&batch(10, 30_000)).await.unwrap();
    backend.query_latest::<i64>("*", 1).await.unwrap();
    let after = said();
    // Other tests in this process connect to such histories as well.
    assert!(quiet >= before && after > quiet, "{before} {quiet} {after}");
    let kept = format!(
        "SELECT count(*) FROM timescaledb_information.hypertables \
         WHERE hypertable_schema = '{}' AND NOT compression_enabled",
        place.schema
    );
    assert_eq!(place.number(&kept).await, 1);
}
