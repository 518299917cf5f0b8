//! Mistakes in the configuration: AimDB 1.x panics.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use aimdb_tokio_adapter::TokioRecordRegistrarExt;
use annals_aimdb::{
    AimDbBuilderPersistExt, Filter, PersistenceOptions, RecordRegistrarPersistExt,
    RecordRegistrarRestoreExt,
};
use annals_core::{MemoryBackend, RetentionPolicy};
use futures::FutureExt;

use super::line::{self, Builder, Cfg};
use crate::fixture::{Reading, ThreeMethods, WEEK};

fn panics(configure: impl FnOnce()) -> String {
    let panic = catch_unwind(AssertUnwindSafe(configure)).unwrap_err();
    *panic.downcast::<String>().unwrap()
}

fn persistent() -> Builder {
    line::builder().with_persistence(Arc::new(MemoryBackend::new()), WEEK)
}

#[test]
fn persist_without_with_persistence_says_so() {
    let message = panics(|| {
        line::builder().configure::<Reading>("a", |reg| {
            reg.buffer(Cfg::SingleLatest).persist("history of a");
        });
    });
    assert_eq!(
        message,
        ".persist(\"history of a\") without .with_persistence(backend, retention) on the builder \
         before it"
    );
    let message = panics(|| {
        line::builder().configure::<Reading>("a", |reg| {
            reg.persist_buffer(Cfg::SingleLatest, "a");
        });
    });
    assert!(message.contains(".with_persistence("), "{message}");
}

#[test]
fn a_name_that_no_record_may_have_is_refused() {
    let message = panics(|| {
        persistent().configure::<Reading>("a", |reg| {
            reg.buffer(Cfg::SingleLatest).persist("a*b");
        });
    });
    assert!(message.contains("invalid record name \"a*b\""), "{message}");
}

#[tokio::test]
async fn persist_without_a_buffer_says_so() {
    let mut builder = persistent();
    builder.configure::<Reading>("a", |reg| {
        reg.persist("a");
    });
    let panic = AssertUnwindSafe(builder.build()).catch_unwind().await.err().unwrap();
    let message = panic.downcast::<String>().unwrap();
    assert!(message.contains(".persist(\"a\") needs a buffer"), "{message}");
}

#[test]
fn a_retention_that_the_backend_cannot_carry_out_is_refused() {
    let policy = RetentionPolicy::new().keep("debug::*", Duration::from_secs(1)).unwrap();
    let options = PersistenceOptions::default().with_retention(policy);
    let message = panics(|| {
        let backend = Arc::new(ThreeMethods::default());
        drop(line::builder().with_persistence_options(backend, options));
    });
    assert!(message.contains("does not support"), "{message}");
}

#[test]
fn a_name_that_is_taken_is_refused() {
    let message = panics(|| {
        let mut builder = persistent();
        builder.configure::<Reading>("a", |reg| {
            reg.buffer(Cfg::SingleLatest).persist("a").persist("a");
        });
    });
    assert!(message.contains("\"a\": something is persisted under it already"), "{message}");
    let message = panics(|| {
        let mut builder = persistent();
        for key in ["a", "b"] {
            builder.configure::<Reading>(key, |reg| {
                reg.persist_buffer(Cfg::SingleLatest, "shared");
            });
        }
    });
    assert!(message.contains("\"shared\": something is persisted"), "{message}");
}

#[test]
fn a_second_history_is_refused() {
    let message = panics(|| {
        drop(persistent().with_persistence(Arc::new(MemoryBackend::new()), WEEK));
    });
    assert!(message.contains("twice on one builder"), "{message}");
}

#[test]
fn a_restore_without_a_buffer_of_its_own_is_refused() {
    let message = panics(|| {
        persistent().configure::<Reading>("a", |reg| {
            reg.buffer(Cfg::SingleLatest).persist("a").restore();
        });
    });
    assert!(message.contains("a: AimDB gives no access to a buffer"), "{message}");
    let message = panics(|| {
        persistent().configure::<Reading>("a", |reg| {
            reg.persist_buffer(Cfg::SingleLatest, "a").restore().restore();
        });
    });
    assert!(message.contains("it belongs after .persist_buffer"), "{message}");
}

#[test]
fn a_filter_that_cannot_work_is_refused() {
    let message = panics(|| {
        persistent().configure::<Reading>("a", |reg| {
            let filter = Filter::new().dead_band("n", -1.0);
            reg.buffer(Cfg::SingleLatest).persist_with("a", filter);
        });
    });
    assert!(message.contains("invalid filter \"-1\""), "{message}");
}
