//! AimDB's example on 2.x, with the record name and the pattern as published.

use std::sync::Arc;
use std::time::Duration;

use aimdb_core_2::{AimDbBuilder, Producer, RuntimeContext, buffer::BufferCfg};
use aimdb_tokio_adapter_2::{TokioAdapter, TokioRecordRegistrarExt};
use annals_aimdb::{AimDbBuilderPersistExt, AimDbQueryExt, RecordRegistrarPersistExt};
use annals_sqlite::SqliteBackend;
use serde::{Deserialize, Serialize};

use crate::fixture::until;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Accuracy {
    value: f64,
}

async fn accuracy_producer(_ctx: RuntimeContext, producer: Producer<Accuracy>) {
    producer.produce(Accuracy { value: 0.94 });
}

#[tokio::test(flavor = "current_thread")]
async fn the_example_runs() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let runtime = Arc::new(TokioAdapter::new()?);

    // The folder `data` does not exist yet.
    let backend = Arc::new(SqliteBackend::new(folder.path().join("data/history.db"))?);
    let mut builder = AimDbBuilder::new()
        .runtime(runtime)
        .with_persistence(backend, Duration::from_secs(7 * 24 * 3600));
    builder.configure::<Accuracy>("accuracy::vienna", |reg| {
        reg.buffer(BufferCfg::SpmcRing { capacity: 500 })
            .source(accuracy_producer)
            .persist("accuracy::vienna");
    });
    let (db, runner) = builder.build().await?;
    let running = tokio::spawn(runner.run());
    until(|| db.persistence_stats().is_ok_and(|stats| stats.total.stored > 0)).await;

    let latest: Vec<Accuracy> = db.query_latest("accuracy::*", 5).await?;
    let (start, end) = (0, u64::MAX);
    let history: Vec<Accuracy> = db.query_range("accuracy::vienna", start, end).await?;
    assert_eq!(latest, [Accuracy { value: 0.94 }]);
    assert_eq!(history, latest);

    // As with AimDB's own persistence, the runner goes on after the source has ended.
    assert!(!running.is_finished());
    db.persistence()?.close().await?;
    running.await?;
    Ok(())
}
