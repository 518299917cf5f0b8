//! AimDB's published example, with other crate names and the omitted parts filled in.

use std::sync::Arc;
use std::time::Duration;

use aimdb_core::{AimDbBuilder, Producer, RuntimeContext, buffer::BufferCfg};
use aimdb_tokio_adapter::{TokioAdapter, TokioRecordRegistrarExt};
use annals_aimdb::{AimDbBuilderPersistExt, AimDbQueryExt, RecordRegistrarPersistExt};
use annals_sqlite::SqliteBackend;
use serde::{Deserialize, Serialize};

use crate::fixture::until;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Accuracy {
    value: f64,
}

async fn accuracy_producer(
    _ctx: RuntimeContext<TokioAdapter>,
    producer: Producer<Accuracy, TokioAdapter>,
) {
    producer.produce(Accuracy { value: 0.94 }).await.unwrap();
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
    let db = builder.build().await?;
    until(|| db.persistence_stats().is_ok_and(|stats| stats.total.stored > 0)).await;

    let latest: Vec<Accuracy> = db.query_latest("accuracy::*", 5).await?;
    let (start, end) = (0, u64::MAX);
    let history: Vec<Accuracy> = db.query_range("accuracy::vienna", start, end).await?;
    assert_eq!(latest, [Accuracy { value: 0.94 }]);
    assert_eq!(history, latest);
    Ok(())
}
