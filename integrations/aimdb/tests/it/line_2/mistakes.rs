//! Mistakes in the configuration: AimDB 2.x reports them in `build()`.

use std::sync::Arc;
use std::time::Duration;

use aimdb_core_2::DbError;
use aimdb_tokio_adapter_2::TokioRecordRegistrarExt;
use annals_aimdb::{
    AimDbBuilderPersistExt, Filter, PersistenceOptions, RecordRegistrarPersistExt,
    RecordRegistrarRestoreExt,
};
use annals_core::{MemoryBackend, RetentionPolicy};

use super::line::{self, Builder, Cfg};
use crate::fixture::{Reading, ThreeMethods, WEEK};

async fn mistake(builder: Builder) -> String {
    let error = builder.build().await.err().unwrap();
    assert!(matches!(error, DbError::InvalidConfiguration { .. }), "{error}");
    error.to_string()
}

fn persistent() -> Builder {
    line::builder().with_persistence(Arc::new(MemoryBackend::new()), WEEK)
}

#[tokio::test]
async fn persist_without_with_persistence_says_so() {
    let mut builder = line::builder();
    builder.configure::<Reading>("a", |reg| {
        reg.buffer(Cfg::SingleLatest).persist("history of a");
    });
    builder.configure::<Reading>("b", |reg| {
        reg.persist_buffer(Cfg::SingleLatest, "history of b");
    });
    assert_eq!(
        mistake(builder).await,
        "invalid configuration (2 error(s)): \
         record 'a' (.persist(\"history of a\") without .with_persistence(backend, retention) on \
         the builder before it): Invalid connector URL; \
         record 'b' (.persist(\"history of b\") without .with_persistence(backend, retention) on \
         the builder before it): Invalid connector URL"
    );
}

#[tokio::test]
async fn a_name_that_no_record_may_have_is_refused() {
    let mut builder = persistent();
    builder.configure::<Reading>("a", |reg| {
        reg.buffer(Cfg::SingleLatest).persist("mqtt://a*b");
    });
    let message = mistake(builder).await;
    assert!(message.contains("record 'a'"), "{message}");
    assert!(message.contains("invalid record name \"mqtt:a*b\""), "{message}");
}

#[tokio::test]
async fn persist_without_a_buffer_says_so() {
    let mut builder = persistent();
    builder.configure::<Reading>("a", |reg| {
        reg.persist("a");
    });
    let error = builder.build().await.err().unwrap();
    assert!(error.to_string().contains("buffer for record 'a'"), "{error}");
}

#[tokio::test]
async fn a_retention_that_the_backend_cannot_carry_out_is_refused() {
    let policy = RetentionPolicy::new().keep("debug.gc", Duration::from_secs(1)).unwrap();
    let options = PersistenceOptions::default().with_retention(policy);
    let backend = Arc::new(ThreeMethods::default());
    let message = mistake(line::builder().with_persistence_options(backend, options)).await;
    assert!(message.contains("does not support"), "{message}");
}

#[tokio::test]
async fn a_name_that_is_taken_is_refused() {
    let mut builder = persistent();
    builder.configure::<Reading>("a", |reg| {
        reg.buffer(Cfg::SingleLatest).persist("a").persist("a");
    });
    for key in ["b", "c"] {
        builder.configure::<Reading>(key, |reg| {
            reg.persist_buffer(Cfg::SingleLatest, "shared");
        });
    }
    let message = mistake(builder).await;
    assert!(message.contains("\"a\": something is persisted under it already"), "{message}");
    assert!(message.contains("record 'c'") && message.contains("\"shared\""), "{message}");
}

#[tokio::test]
async fn a_second_history_is_refused() {
    let builder = persistent().with_persistence(Arc::new(MemoryBackend::new()), WEEK);
    assert!(mistake(builder).await.contains("twice on one builder"));
}

#[tokio::test]
async fn a_restore_without_a_buffer_of_its_own_is_refused() {
    let mut builder = persistent();
    builder.configure::<Reading>("a", |reg| {
        reg.buffer(Cfg::SingleLatest).persist("a").restore();
    });
    let message = mistake(builder).await;
    assert!(message.contains("a: AimDB gives no access to a buffer"), "{message}");
}

#[tokio::test]
async fn a_filter_that_cannot_work_is_refused() {
    let mut builder = persistent();
    builder.configure::<Reading>("a", |reg| {
        let filter = Filter::new().dead_band("n", -1.0);
        reg.buffer(Cfg::SingleLatest).persist_with("a", filter);
    });
    let message = mistake(builder).await;
    assert!(message.contains("invalid filter \"-1\""), "{message}");
}
