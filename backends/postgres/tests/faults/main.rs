//! Faults of the server and the network, and what happens to the rows.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[path = "../common/mod.rs"]
mod common;
mod cuts;
mod hangs;

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use annals_core::{
    Batch, ErrorKind, Outcome, PersistenceBackend, PersistenceError, QueryExt, QueryParams,
    Recorder, RecorderConfig, RetryPolicy,
};
use annals_postgres::{PostgresBackend, PostgresConfig};
use annals_test_postgres::{LocalServer, Pooler};
use common::Place;
use serde_json::json;
use tokio_postgres::{Client, NoTls};

use cuts::random_cuts_neither_lose_nor_duplicate_rows;
use hangs::{
    a_server_that_hangs_is_a_timeout_within_the_limits, a_silent_connection_is_given_up,
    closing_ends_in_time_if_the_server_hangs, closing_reports_an_unanswered_commit_as_unknown,
};

async fn client(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

fn kind(error: &PersistenceError) -> ErrorKind {
    match error {
        PersistenceError::Backend(error) => error.kind(),
        other => panic!("{other:?}"),
    }
}

/// Retries at once, so that a test with many outages does not spend its time in pauses.
fn recorder(backend: &PostgresBackend) -> Recorder {
    let delays = (Duration::from_millis(1), Duration::from_millis(50));
    let retry = RetryPolicy::default().with_delays(delays.0, delays.1);
    Recorder::new(Arc::new(backend.clone()), RecorderConfig::default().with_retry(retry))
}

/// Records one row per millisecond while `work` runs; returns how many.
async fn record_while(recorder: &Recorder, work: impl Future<Output = ()>) -> u64 {
    let mut work = std::pin::pin!(work);
    let mut recorded = 0;
    let mut going_on = 0;
    // Some rows before, some during and some after.
    while going_on < 50 {
        recorder.record_at("a", &recorded, recorded).await.unwrap();
        recorded += 1;
        if recorded < 50 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        } else if going_on > 0 {
            going_on += 1;
        } else if tokio::time::timeout(Duration::from_millis(1), &mut work).await.is_ok() {
            going_on = 1;
        }
    }
    recorder.flush().await.unwrap();
    recorded
}

async fn blocking(work: impl FnOnce() + Send + 'static) {
    tokio::task::spawn_blocking(work).await.unwrap();
}

async fn a_recorder_survives_restarts_of_the_server() {
    let server = Arc::new(LocalServer::start().unwrap());
    let backend = PostgresBackend::connect(server.url()).await.unwrap();
    let recorder = recorder(&backend);
    let restarts = async {
        for _ in 0..3 {
            let server = server.clone();
            blocking(move || {
                server.crash().unwrap();
                server.resume().unwrap();
            })
            .await;
        }
    };
    let recorded = record_while(&recorder, restarts).await;
    let back: Vec<u64> = backend.query_latest("a", usize::MAX).await.unwrap();
    assert_eq!(back, (0..recorded).rev().collect::<Vec<_>>());
    assert!(recorder.stats().total.balances());
}

/// The standby is synchronous, so that it has every acknowledged row.
async fn a_recorder_follows_a_failover() {
    let primary = LocalServer::start().unwrap();
    let standby = Arc::new(primary.standby().unwrap());
    let admin = client(primary.url()).await;
    admin.batch_execute("ALTER SYSTEM SET synchronous_standby_names = '*'").await.unwrap();
    primary.reload().unwrap();
    let synchronous = "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'";
    while admin.query_one(synchronous, &[]).await.unwrap().get::<_, i64>(0) == 0 {}
    let (password, first, second) = (primary.password(), primary.port(), standby.port());
    let url = format!(
        "postgres://annals:{password}@127.0.0.1:{first},127.0.0.1:{second}/postgres\
         ?target_session_attrs=primary"
    );
    let backend = PostgresBackend::connect(&url).await.unwrap();
    let recorder = recorder(&backend);
    let failover = async {
        let standby = standby.clone();
        blocking(move || {
            primary.crash().unwrap();
            standby.promote().unwrap();
            // It must not listen on its port again during the test.
            drop(primary);
        })
        .await;
    };
    let recorded = record_while(&recorder, failover).await;
    let there = PostgresBackend::connect(standby.url()).await.unwrap();
    let back: Vec<u64> = there.query_latest("a", usize::MAX).await.unwrap();
    assert_eq!(back, (0..recorded).rev().collect::<Vec<_>>());
}

async fn too_many_connections_are_a_transient_error() {
    let server = LocalServer::start().unwrap();
    server.configure("max_connections = 6\nsuperuser_reserved_connections = 1").unwrap();
    server.crash().unwrap();
    server.resume().unwrap();
    client(server.url()).await.batch_execute("CREATE ROLE plain LOGIN PASSWORD 'x'").await.unwrap();
    let url = server.url().replace(&format!("annals:{}", server.password()), "plain:x");
    let admin = client(server.url()).await;
    admin.batch_execute("GRANT CREATE ON DATABASE postgres TO plain").await.unwrap();
    drop(admin);
    let mut held = Vec::new();
    while let Ok((client, connection)) = tokio_postgres::connect(&url, NoTls).await {
        held.push((client, tokio::spawn(connection)));
    }
    let backend = PostgresBackend::new(PostgresConfig::from_url(&url).unwrap());
    let error = backend.store("a", &json!(1), 1).await.unwrap_err();
    assert_eq!(kind(&error), ErrorKind::Full, "{error}");
    assert!(error.is_retryable() && error.to_string().contains("53300"), "{error}");
    assert_eq!(error.outcome(), Outcome::NotApplied);
    let recorder = recorder(&backend);
    recorder.record_at("a", &2, 2).await.unwrap();
    for (client, connection) in held {
        drop(client);
        let _ = connection.await;
    }
    recorder.flush().await.unwrap();
    assert_eq!(backend.query_latest::<i64>("a", 9).await.unwrap(), [2]);
}

/// Streams hold all connections but one, and a sweep that waits for a lock holds the last.
async fn an_exhausted_pool_is_a_transient_timeout() {
    let place = Place::new();
    let backend = place.backend();
    backend.store_batch(&common::batch(1, 3000)).await.unwrap();
    let limit = Duration::from_millis(200);
    let config = place.config().with_pool_size(2).with_wait_timeout(limit);
    let small = PostgresBackend::new(config);
    let stream = small.query_stream("*", QueryParams::default()).await.unwrap();
    let error = small.query_stream("*", QueryParams::default()).await.unwrap_err();
    assert_eq!(kind(&error), ErrorKind::Timeout, "{error}");
    assert!(error.is_retryable() && error.to_string().contains("`pool_size`"), "{error}");
    // This lock does not block readers.
    let locker = place.client().await;
    let lock = format!("BEGIN; LOCK TABLE {}.history IN EXCLUSIVE MODE", place.quoted());
    locker.batch_execute(&lock).await.unwrap();
    let waiting = tokio::spawn({
        let small = small.clone();
        async move { small.cleanup(u64::MAX).await }
    });
    let blocked = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' \
                   AND query LIKE '%{s}.history%' AND pid <> pg_backend_pid()";
    while place.number(blocked).await == 0 {}
    let error = small.query("a", QueryParams::latest(1)).await.unwrap_err();
    assert_eq!(kind(&error), ErrorKind::Timeout, "{error}");
    assert!(error.to_string().contains("`wait_timeout`"), "{error}");
    assert_eq!(error.outcome(), Outcome::NotApplied);
    locker.batch_execute("COMMIT").await.unwrap();
    assert_eq!(waiting.await.unwrap().unwrap(), 3000);
    drop(stream);
}

/// Uses a separate file system for the tables, which only root can create.
async fn a_full_disk_is_a_transient_error() -> Result<(), String> {
    let mount = |arguments: &[&str]| {
        let output = Command::new("mount").args(arguments).output();
        output.ok().filter(|output| output.status.success()).map(drop)
    };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap().to_owned();
    mount(&["-t", "tmpfs", "-o", "size=3m", "tmpfs", &path])
        .ok_or("no small file system can be mounted here: that takes root")?;
    struct Mounted(String);
    impl Drop for Mounted {
        fn drop(&mut self) {
            let _ = Command::new("umount").args(["-l", &self.0]).status();
        }
    }
    let mounted = Mounted(path.clone());
    let server = LocalServer::start().unwrap();
    let place = Path::new(&path).join("tables");
    std::fs::create_dir(&place).unwrap();
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let owner = std::fs::metadata(server.data()).unwrap();
    let (user, group) = {
        use std::os::unix::fs::MetadataExt;
        (owner.uid(), owner.gid())
    };
    std::os::unix::fs::chown(&place, Some(user), Some(group)).unwrap();
    let create = format!("CREATE TABLESPACE small LOCATION '{}'", place.display());
    client(server.url()).await.batch_execute(&create).await.unwrap();
    let url = format!("{}?options=-c%20default_tablespace%3Dsmall", server.url());
    let backend = PostgresBackend::connect(&url).await.unwrap();
    let filling = |number: u64| {
        let rows = (0..100).map(|i| {
            // Incompressible.
            let noise: Vec<u64> =
                (0..50).map(|j| (number * 7919 + i * 104_729 + j).pow(2)).collect();
            annals_core::Row::new("a", &json!(noise), number).unwrap()
        });
        Batch::new(rows.collect::<Vec<_>>())
    };
    let mut stored = 0;
    let error = loop {
        match backend.store_batch(&filling(stored)).await {
            Ok(()) => stored += 1,
            Err(error) => break error,
        }
        assert!(stored < 1000, "3 MiB are never full");
    };
    assert_eq!(kind(&error), ErrorKind::Full, "{error}");
    assert_eq!(error.outcome(), Outcome::NotApplied);
    assert!(error.is_retryable());
    let count = || async { backend.query("a", QueryParams::default()).await.unwrap().len() as u64 };
    assert_eq!(count().await, stored * 100, "what was acknowledged and nothing else");
    mount(&["-o", "remount,size=64m", &path]).ok_or("it cannot be made larger")?;
    backend.store_batch(&filling(stored)).await.unwrap();
    assert_eq!(count().await, (stored + 1) * 100);
    drop(backend);
    drop(server);
    drop(mounted);
    Ok(())
}

/// PgBouncer uses one code for nearly everything, transient or not.
async fn errors_of_a_pooler_are_distinguished() -> Result<(), String> {
    Pooler::find()?;
    let place = Place::new();
    let pooler = Pooler::start(&place.url, 1, "query_wait_timeout = 1").unwrap();
    let url = pooler.url(&place.url).unwrap();
    let backend = |options: &str| {
        let config = PostgresConfig::from_url(&format!("{url}?{options}")).unwrap();
        PostgresBackend::new(config.with_schema(&place.schema))
    };
    let error = backend("options=-c%20jit%3Doff").initialize().await.unwrap_err();
    assert_eq!(kind(&error), ErrorKind::Config, "{error}");
    assert!(error.to_string().contains("options"), "{error}");

    let pooled = backend("");
    pooled.store_batch(&common::batch(1, 3000)).await.unwrap();
    let stream = pooled.query_stream("*", QueryParams::default()).await.unwrap();
    // The stream holds the only connection.
    let error = pooled.store("a", &json!(1), 1).await.unwrap_err();
    assert_eq!(kind(&error), ErrorKind::Connection, "{error}");
    assert!(error.is_retryable() && error.to_string().contains("query_wait_timeout"), "{error}");
    drop(stream);
    // Until the pooler has noticed.
    while pooled.store("a", &json!(1), 1).await.is_err() {}
    Ok(())
}

annals_test_postgres::server_tests! {
    async random_cuts_neither_lose_nor_duplicate_rows,
    async a_recorder_survives_restarts_of_the_server,
    async a_recorder_follows_a_failover,
    async too_many_connections_are_a_transient_error,
    async an_exhausted_pool_is_a_transient_timeout,
    async a_server_that_hangs_is_a_timeout_within_the_limits,
    async a_silent_connection_is_given_up,
    async closing_ends_in_time_if_the_server_hangs,
    async closing_reports_an_unanswered_commit_as_unknown,
    async a_full_disk_is_a_transient_error,
    async errors_of_a_pooler_are_distinguished,
}
