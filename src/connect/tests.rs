//! Each build tests the features it has and the refusals of those it has not; CI builds them all.

use serde_json::json;

use std::sync::atomic::{AtomicUsize, Ordering};

use annals_core::{BackendError, ErrorKind, MemoryBackend, Recorder, RecorderConfig};

use super::*;
use crate::scheme::{register, register_with_guarantees};

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap()
        .block_on(future)
}

fn refusal(url: &str) -> String {
    match block_on(connect(url)) {
        Ok(_) => panic!("{url} was taken"),
        Err(error) => error.to_string(),
    }
}

fn not_configured(url: &str) -> String {
    match block_on(connect(url)) {
        Ok(_) => panic!("{url} was taken"),
        Err(PersistenceError::NotConfigured(message)) => message,
        Err(error) => panic!("{url}: {error:?}"),
    }
}

#[test]
fn memory_needs_no_feature_and_every_connection_is_its_own() {
    block_on(async {
        let one = connect("memory:").await.unwrap();
        let two = connect("memory://").await.unwrap();
        one.store("a", &json!(1), 1).await.unwrap();
        assert_eq!(one.query("*", Default::default()).await.unwrap().len(), 1);
        assert_eq!(two.query("*", Default::default()).await.unwrap().len(), 0);
    });
    assert!(not_configured("memory:name").contains("just memory:"));
    assert!(not_configured("memory:?max_value_bytes=5").contains("just memory:"));
}

#[test]
fn a_bare_path_is_told_how_to_become_a_url() {
    assert!(not_configured("history.db").contains("write sqlite:history.db"));
    assert!(not_configured("./data/h.redb").contains("write redb:./data/h.redb"));
    assert!(not_configured("").contains("sqlite:history.db"));
}

#[test]
fn an_unknown_scheme_is_told_what_is_known() {
    for url in ["mysql://localhost/db", "SQLITE:history.db", "file:history.db", ":", "://x"] {
        let message = not_configured(url);
        for known in ["sqlite:", "redb:", "postgres://", "memory:"] {
            assert!(message.contains(known), "{url}: {message}");
        }
    }
    assert!(not_configured("mysql://localhost/db").contains("mysql:"));
}

#[test]
fn no_error_repeats_a_secret() {
    for url in [
        "mysql://user:sesame@host/db",
        "user:sesame@host/db",
        "sesame@host:5432/db",
        "host=localhost password=sesame",
        "se$ame sesame:x",
        "memory:sesame",
        "postgres://user:sesame@host:not-a-port/db",
        "postgres://user:sesame@host/db?no_such_option=sesame",
    ] {
        let message = refusal(url);
        assert!(!message.contains("sesame"), "{url}: {message}");
    }
}

#[cfg(not(feature = "sqlite"))]
#[test]
fn without_its_feature_sqlite_names_it() {
    assert!(not_configured("sqlite:history.db").contains("`sqlite`"));
}

#[cfg(not(feature = "redb"))]
#[test]
fn without_its_feature_redb_names_it() {
    assert!(not_configured("redb:history.redb").contains("`redb`"));
}

#[cfg(not(feature = "postgres"))]
#[test]
fn without_its_feature_postgres_names_it() {
    assert!(not_configured("postgres://user:sesame@host/db").contains("`postgres`"));
    assert!(not_configured("postgresql:///db").contains("`postgres`"));
}

#[cfg(any(feature = "sqlite", feature = "redb"))]
fn a_file_is_made_and_kept(scheme: &str) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("new folder/what? now.db");
    let encoded = path.to_str().unwrap().replace(' ', "%20").replace('?', "%3F");
    for url in [format!("{scheme}:{encoded}"), format!("{scheme}://{encoded}")] {
        block_on(async {
            let history = connect(&url).await.unwrap();
            history.store("a", &json!(1), 1).await.unwrap();
            history.close().await.unwrap();
        });
    }
    assert!(path.is_file());
    let rows = block_on(async {
        let history = connect(&format!("{scheme}:{encoded}?readers=2")).await.unwrap();
        history.query("a", Default::default()).await.unwrap().len()
    });
    assert_eq!(rows, 2);
    for wrong in [format!("{scheme}:"), format!("{scheme}:{encoded}?no_such_option=1")] {
        assert!(block_on(connect(&wrong)).is_err(), "{wrong}");
    }
}

#[cfg(feature = "sqlite")]
#[test]
fn a_sqlite_url_opens_its_file() {
    a_file_is_made_and_kept("sqlite");
}

#[cfg(feature = "redb")]
#[test]
fn a_redb_url_opens_its_file() {
    a_file_is_made_and_kept("redb");
}

#[cfg(feature = "postgres")]
#[test]
fn a_postgres_url_that_no_server_answers_is_a_backend_error() {
    let message = refusal("postgres://nobody:sesame@127.0.0.1:1/db");
    assert!(message.starts_with("postgres"), "{message}");
}

#[test]
fn a_registered_scheme_opens_with_the_whole_url() {
    static LENGTH: AtomicUsize = AtomicUsize::new(0);
    register("own", |url| async move {
        LENGTH.store(url.len(), Ordering::SeqCst);
        Ok(MemoryBackend::new())
    })
    .unwrap();
    block_on(async {
        let history = connect("own:place?connect=now&size=5").await.unwrap();
        history.store("a", &json!(1), 1).await.unwrap();
        assert_eq!(history.query("a", Default::default()).await.unwrap().len(), 1);
    });
    assert_eq!(LENGTH.load(Ordering::SeqCst), "own:place?size=5".len());
    assert!(not_configured("mysql://localhost/db").contains("own:, "));
}

#[test]
fn a_scheme_that_is_taken_or_is_none_is_refused() {
    let refusal = |scheme: &str| {
        let error = register(scheme, |_| async { Ok(MemoryBackend::new()) }).unwrap_err();
        let PersistenceError::Backend(error) = error else { panic!("{scheme}: {error:?}") };
        assert_eq!(error.kind(), ErrorKind::Config);
        error.to_string()
    };
    // Reserved whatever the features are.
    for scheme in ["sqlite", "redb", "postgres", "postgresql", "memory"] {
        assert!(refusal(scheme).contains(&format!("{scheme}: is taken")));
    }
    for scheme in ["", "1st", "a b", "a:", "Own", "größe"] {
        assert!(refusal(scheme).contains("a letter, then letters"), "{scheme}");
    }
    register("twice", |_| async { Ok(MemoryBackend::new()) }).unwrap();
    assert!(refusal("twice").contains("twice: is taken"));
}

/// A scheme whose server is away for the first `attempts` attempts to open it.
fn away_for(scheme: &str, attempts: usize) {
    let left = AtomicUsize::new(attempts);
    let mut guarantees = annals_core::Guarantees::default();
    guarantees.atomic_batches = true;
    register_with_guarantees(scheme, guarantees, move |_| {
        let opens = left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1));
        async move {
            match opens {
                Ok(_) => {
                    Err(BackendError::new("own", "open", ErrorKind::Connection, "away").into())
                }
                Err(_) => Ok(MemoryBackend::new()),
            }
        }
    })
    .unwrap();
}

#[test]
fn a_lazy_connection_opens_at_the_first_call_that_can() {
    away_for("away", 2);
    block_on(async {
        assert!(connect("away:").await.err().unwrap().is_retryable());
        let history = connect("away:?connect=lazy").await.unwrap();
        assert!(history.guarantees().atomic_batches && !history.guarantees().idempotent_batches);
        let error = history.store("a", &json!(1), 1).await.unwrap_err();
        assert!(error.is_retryable(), "{error}");
        history.store("a", &json!(1), 1).await.unwrap();
        assert_eq!(history.guarantees(), MemoryBackend::new().guarantees());
        assert_eq!(history.query("a", Default::default()).await.unwrap().len(), 1);
        history.close().await.unwrap();
        let error = history.store("a", &json!(1), 1).await.unwrap_err();
        assert!(matches!(error, PersistenceError::BackendShutdown), "{error}");
    });
}

#[test]
fn a_recorder_keeps_its_values_until_the_server_comes() {
    away_for("later", 3);
    block_on(async {
        let history = connect_lazy("later:").unwrap();
        let recorder = Recorder::new(history.clone(), RecorderConfig::default());
        for value in 0..100 {
            recorder.record("a", &value).await.unwrap();
        }
        recorder.close().await.unwrap();
        assert_eq!(recorder.stats().total.stored, 100);
        assert_eq!(history.query("a", Default::default()).await.unwrap().len(), 100);
    });
}

#[test]
fn a_lazy_connection_that_is_closed_first_never_opens() {
    away_for("never", 0);
    block_on(async {
        let history = connect_lazy("never:").unwrap();
        history.close().await.unwrap();
        let error = history.health().await.unwrap_err();
        assert!(matches!(error, PersistenceError::BackendShutdown), "{error}");
    });
}

#[test]
fn a_lazy_connection_reports_a_wrong_url_at_once() {
    for url in
        ["mysql://h/d", "memory:name?connect=lazy", "sqlite:?connect=lazy", "redb:a?nonsense=1"]
    {
        assert!(connect_lazy(url).is_err(), "{url}");
    }
    assert!(not_configured("memory:?connect=later").contains("lazy or now"));
}
