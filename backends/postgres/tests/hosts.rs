//! Connecting: passwords from files and the environment, several hosts, replicas.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::fs;
use std::future::ready;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use annals_core::{
    Batch, ErrorKind, Grammar, PersistenceBackend, PersistenceError, QueryExt, QueryParams, Row,
};
use annals_postgres::{PostgresBackend, PostgresConfig};
use annals_test_postgres::LocalServer;
use futures::StreamExt;
use serde_json::json;
use tokio_postgres::NoTls;

/// A primary and its standby.
struct Pair {
    primary: LocalServer,
    standby: LocalServer,
}

impl Pair {
    fn get() -> &'static Self {
        static PAIR: OnceLock<Pair> = OnceLock::new();
        PAIR.get_or_init(Self::start)
    }

    fn start() -> Self {
        let primary = LocalServer::start().unwrap();
        let standby = primary.standby().unwrap();
        Self { primary, standby }
    }

    /// Both hosts in this order, and a port where no server listens.
    fn url(&self, hosts: [&LocalServer; 2], options: &str) -> String {
        let [first, second] = hosts.map(|host| format!("127.0.0.1:{}", host.port()));
        let password = self.primary.password();
        format!("postgres://annals:{password}@127.0.0.1:1,{first},{second}/postgres?{options}")
    }
}

fn kind_and_text(error: PersistenceError) -> (ErrorKind, String) {
    match error {
        PersistenceError::Backend(error) => (error.kind(), format!("{error} {error:?}")),
        other => panic!("{other:?}"),
    }
}

async fn client(server: &LocalServer) -> tokio_postgres::Client {
    let (client, connection) = tokio_postgres::connect(server.url(), NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

/// Waits until the standby has replayed what the primary has written by now.
async fn caught_up(pair: &Pair) {
    let (primary, standby) = (client(&pair.primary).await, client(&pair.standby).await);
    let position = primary.query_one("SELECT pg_current_wal_lsn()::text", &[]).await.unwrap();
    let position: String = position.get(0);
    let reached = "SELECT pg_last_wal_replay_lsn() >= $1::text::pg_lsn";
    while !standby.query_one(reached, &[&position]).await.unwrap().get::<_, bool>(0) {}
}

/// Rows of one record, one per millisecond.
fn rows(count: u64) -> Batch {
    let row = |time: u64| Row::new("a", &json!(time), time).unwrap();
    Batch::new((0..count).map(row).collect::<Vec<_>>())
}

fn write(path: &Path, text: &str, mode: u32) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn without_password(server: &LocalServer, options: &str) -> PostgresBackend {
    let port = server.port();
    let url = format!("postgres://annals@127.0.0.1:{port}/postgres?{options}");
    PostgresBackend::new(PostgresConfig::from_url(&url).unwrap())
}

/// A rotation of the secret replaces the file while the program runs.
async fn the_password_is_read_from_its_file_for_each_connection() {
    let server = &Pair::get().primary;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("password");
    let backend = without_password(server, &format!("password_file={}", file.display()));
    let (kind, text) = kind_and_text(backend.initialize().await.unwrap_err());
    assert_eq!(kind, ErrorKind::Config, "{text}");
    assert!(text.contains("`password_file`") && text.contains("No such file"), "{text}");
    fs::write(&file, "").unwrap();
    let (_, text) = kind_and_text(backend.initialize().await.unwrap_err());
    assert!(text.contains("is empty"), "{text}");
    fs::write(&file, "hunter2\n").unwrap();
    let (kind, text) = kind_and_text(backend.initialize().await.unwrap_err());
    assert_eq!(kind, ErrorKind::Permission, "{text}");
    assert!(text.contains("28P01") && !text.contains("hunter2"), "{text}");
    fs::write(&file, format!("{}\n", server.password())).unwrap();
    backend.initialize().await.unwrap();
}

async fn passwords_are_found_in_the_passfile_of_libpq() {
    let server = &Pair::get().primary;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pgpass");
    let backend = without_password(server, &format!("passfile={}", file.display()));
    let (kind, text) = kind_and_text(backend.initialize().await.unwrap_err());
    assert_eq!(kind, ErrorKind::Config, "{text}");
    assert!(text.contains("`passfile`"), "{text}");
    let line = format!("127.0.0.1:{}:*:annals:{}\n", server.port(), server.password());
    write(&file, &line, 0o644);
    let (kind, text) = kind_and_text(backend.initialize().await.unwrap_err());
    assert_eq!(kind, ErrorKind::Permission, "{text}");
    assert!(text.contains("`passfile`") && text.contains("0600"), "{text}");
    write(&file, "elsewhere:*:*:*:hunter2\n", 0o600);
    let (kind, text) = kind_and_text(backend.initialize().await.unwrap_err());
    assert_eq!(kind, ErrorKind::Config, "{text}");
    assert!(
        text.contains("password missing; set it in the URL") && !text.contains("hunter2"),
        "{text}"
    );
    write(&file, &format!("elsewhere:*:*:*:hunter2\n{line}"), 0o600);
    backend.initialize().await.unwrap();
}

/// Variables belong to a process, so this test starts itself again with each of them.
async fn passwords_are_found_in_the_environment() {
    const CHILD: &str = "ANNALS_TEST_WITHOUT_PASSWORD";
    if let Ok(url) = std::env::var(CHILD) {
        let backend = PostgresBackend::new(PostgresConfig::from_url(&url).unwrap());
        return backend.initialize().await.unwrap();
    }
    let server = &Pair::get().primary;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pgpass");
    write(&file, &format!("*:*:*:*:{}\n", server.password()), 0o600);
    let run = |variables: &[(&str, &str)]| {
        let url = format!("postgres://annals@127.0.0.1:{}/postgres", server.port());
        let mut child = Command::new(std::env::current_exe().unwrap());
        child.args(["--exact", "passwords_are_found_in_the_environment"]).env(CHILD, url);
        child.env_remove("PGPASSWORD").env_remove("PGPASSFILE").env("HOME", "/nowhere");
        child.envs(variables.iter().copied()).output().unwrap().status.success()
    };
    assert!(!run(&[]));
    assert!(run(&[("PGPASSWORD", server.password())]));
    assert!(!run(&[("PGPASSWORD", "hunter2")]));
    assert!(run(&[("PGPASSFILE", file.to_str().unwrap())]));
    // The file in the home directory is called `.pgpass`.
    fs::rename(&file, folder.path().join(".pgpass")).unwrap();
    assert!(run(&[("HOME", folder.path().to_str().unwrap())]));
}

async fn the_host_with_the_role_is_found() {
    let pair = Pair::get();
    let (primary, standby) = (&pair.primary, &pair.standby);
    let backend =
        PostgresBackend::connect(&pair.url([primary, standby], "schema=roles")).await.unwrap();
    backend.store("a", &json!(1), 1).await.unwrap();
    caught_up(pair).await;
    for (target, expected) in [
        ("any", standby),
        ("read-write", primary),
        ("primary", primary),
        ("standby", standby),
        ("read-only", standby),
        ("prefer-standby", standby),
    ] {
        for hosts in [[standby, primary], [primary, standby]] {
            let expected = if target == "any" { hosts[0] } else { expected };
            let options =
                format!("schema=roles&application_name=role&target_session_attrs={target}");
            let backend = PostgresBackend::connect(&pair.url(hosts, &options)).await.unwrap();
            assert_eq!(backend.query_latest::<i64>("a", 1).await.unwrap(), [1]);
            for server in [primary, standby] {
                let count = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'role'";
                let count: i64 = client(server).await.query_one(count, &[]).await.unwrap().get(0);
                let is = server.port() == expected.port();
                assert_eq!(count > 0, is, "{target} {}", server.port());
            }
            drop(backend);
            // The sessions of this round must be gone before the next one looks.
            for server in [primary, standby] {
                let count = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'role'";
                let client = client(server).await;
                while client.query_one(count, &[]).await.unwrap().get::<_, i64>(0) > 0 {}
            }
        }
    }
}

async fn without_the_role_the_error_names_every_host() {
    let pair = Pair::get();
    let both = [&pair.standby, &pair.standby];
    let url = pair.url(both, "target_session_attrs=primary");
    let error = PostgresBackend::connect(&url).await.unwrap_err();
    // The standby may be promoted.
    assert!(error.is_retryable(), "{error}");
    let text = error.to_string();
    assert!(text.contains("127.0.0.1:1: ") && text.contains("it is a standby"), "{text}");
    assert!(!text.contains(pair.primary.password()), "{text}");
    let both = [&pair.primary, &pair.primary];
    let url = pair.url(both, "target_session_attrs=standby");
    let error = PostgresBackend::connect(&url).await.unwrap_err();
    assert!(error.to_string().contains("it is not a standby"), "{error}");
    // A preference is not a condition.
    let url = pair.url(both, "schema=preferred&target_session_attrs=prefer-standby");
    PostgresBackend::connect(&url).await.unwrap().store("a", &json!(1), 1).await.unwrap();
}

/// With a single host and no `target_session_attrs`.
async fn writing_to_a_standby_is_refused_with_advice() {
    let pair = Pair::get();
    let url = pair.primary.url().to_owned() + "?schema=refused";
    PostgresBackend::connect(&url).await.unwrap();
    caught_up(pair).await;
    let url = format!("{}?schema=refused", pair.standby.url());
    let backend = PostgresBackend::connect(&url).await.unwrap();
    let (kind, text) = kind_and_text(backend.store("a", &json!(1), 1).await.unwrap_err());
    assert_eq!(kind, ErrorKind::Permission, "{text}");
    assert!(text.contains("target_session_attrs=read-write"), "{text}");
    let (kind, _) = kind_and_text(backend.cleanup(5).await.unwrap_err());
    assert_eq!(kind, ErrorKind::Permission);
}

/// Replay is paused, so that only the primary has the later rows.
async fn only_queries_go_to_the_replica() {
    let pair = Pair::start();
    let config = |schema| {
        let config = PostgresConfig::from_url(pair.primary.url()).unwrap().with_schema(schema);
        config.with_read_url(pair.standby.url()).unwrap()
    };
    let backend = PostgresBackend::new(config("replicated"));
    backend.store("a", &json!(1), 1).await.unwrap();
    caught_up(&pair).await;
    client(&pair.standby).await.batch_execute("SELECT pg_wal_replay_pause()").await.unwrap();
    backend.store("a", &json!(2), 2).await.unwrap();
    assert_eq!(backend.query_latest::<i64>("a", 9).await.unwrap(), [1]);
    assert_eq!(backend.query_stream("*", QueryParams::default()).await.unwrap().count().await, 1);
    assert_eq!(backend.records("*", Grammar::Glob).await.unwrap()[0].count, 1);
    // A sweep sees the rows of the primary.
    assert_eq!(backend.cleanup(2).await.unwrap(), 1);
    assert_eq!(backend.query_latest::<i64>("a", 9).await.unwrap(), [1]);
    let unknown = PostgresBackend::new(config("unreplicated"));
    unknown.store("a", &json!(1), 1).await.unwrap();
    let error = unknown.query_latest::<i64>("a", 1).await.unwrap_err();
    assert!(error.is_retryable() && error.to_string().contains("`read_url`"), "{error}");
    client(&pair.standby).await.batch_execute("SELECT pg_wal_replay_resume()").await.unwrap();
    caught_up(&pair).await;
    assert_eq!(backend.query_latest::<i64>("a", 9).await.unwrap(), [2]);
    assert_eq!(unknown.query_latest::<i64>("a", 1).await.unwrap(), [1]);
    backend.health().await.unwrap();

    // Without the primary, queries continue, also in a new process.
    pair.primary.crash().unwrap();
    assert_eq!(backend.query_latest::<i64>("a", 9).await.unwrap(), [2]);
    let new = PostgresBackend::new(config("replicated"));
    assert_eq!(new.query_latest::<i64>("a", 9).await.unwrap(), [2]);
    assert!(new.store("a", &json!(3), 3).await.unwrap_err().is_retryable());
    assert!(new.health().await.unwrap_err().is_retryable());

    // Without the replica they do not silently go to the primary.
    pair.primary.resume().unwrap();
    pair.standby.crash().unwrap();
    backend.store("a", &json!(3), 3).await.unwrap();
    assert!(backend.query_latest::<i64>("a", 9).await.unwrap_err().is_retryable());
    assert!(backend.health().await.unwrap_err().is_retryable());
    // Unless the URL names it.
    let read_url = pair.url([&pair.standby, &pair.primary], "target_session_attrs=prefer-standby");
    let config = config("replicated").with_read_url(&read_url).unwrap();
    let named = PostgresBackend::new(config);
    assert_eq!(named.query_latest::<i64>("a", 1).await.unwrap(), [3]);
}

/// The standby is stopped just before a migration: it has the rows, but not in the configured layout.
async fn a_replica_behind_a_migration_is_a_transient_error() {
    let pair = Pair::start();
    let config = |options: &str| {
        let url = format!("{}?schema=late&{options}", pair.primary.url());
        PostgresConfig::from_url(&url).unwrap().with_read_url(pair.standby.url()).unwrap()
    };
    let plain = PostgresBackend::new(config(""));
    plain.store_batch(&rows(10)).await.unwrap();
    caught_up(&pair).await;
    assert_eq!(plain.query_latest::<u64>("a", 99).await.unwrap().len(), 10);
    let standby = client(&pair.standby).await;
    standby.batch_execute("SELECT pg_wal_replay_pause()").await.unwrap();
    let partitioned = config("partition_interval=1s");
    PostgresBackend::migrate(partitioned.clone(), |_| {}).await.unwrap();
    let partitioned = PostgresBackend::new(partitioned);
    partitioned.store("b", &json!(1), 100_000).await.unwrap();
    let error = partitioned.query_latest::<u64>("a", 1).await.unwrap_err();
    assert!(error.is_retryable() && error.to_string().contains("`read_url`"), "{error}");
    // Backends that started before continue to read, now and afterwards.
    assert_eq!(plain.query_latest::<u64>("a", 99).await.unwrap().len(), 10);
    standby.batch_execute("SELECT pg_wal_replay_resume()").await.unwrap();
    caught_up(&pair).await;
    for backend in [&partitioned, &plain] {
        assert_eq!(backend.query_latest::<u64>("a", 99).await.unwrap().len(), 10);
        assert_eq!(backend.query_latest::<u64>("b", 99).await.unwrap(), [1]);
    }
    // The right layout on the primary does not excuse a wrong configuration.
    let wrong = PostgresBackend::new(config("timescale=require"));
    let (kind, text) = kind_and_text(wrong.query_latest::<u64>("a", 1).await.unwrap_err());
    assert_eq!(kind, ErrorKind::Config, "{text}");
}

/// How long replay waits for readers of what it is to drop: `-1` is for ever.
async fn wait_for_readers(standby: &LocalServer, delay: &str) {
    let setting = "max_standby_streaming_delay";
    standby.configure(&format!("{setting} = {delay}")).unwrap();
    standby.reload().unwrap();
    let show = format!("SELECT current_setting('{setting}')");
    while client(standby).await.query_one(&show, &[]).await.unwrap().get::<_, &str>(0) != delay {}
}

/// The primary has no readers, so that the sweep drops partitions at once.
async fn readers_of_a_replica_keep_a_dropped_partition() {
    let pair = Pair::start();
    wait_for_readers(&pair.standby, "-1").await;
    let url = format!("{}?schema=parts&partition_interval=10s", pair.primary.url());
    let config = PostgresConfig::from_url(&url).unwrap();
    let backend = PostgresBackend::new(config.with_read_url(pair.standby.url()).unwrap());
    backend.store_batch(&rows(30_000)).await.unwrap();
    caught_up(&pair).await;
    let open = || backend.query_stream("*", QueryParams::default());
    let mut stream = open().await.unwrap();
    assert!(stream.next().await.unwrap().is_ok());
    assert_eq!(backend.cleanup(20_000).await.unwrap(), 20_000);
    assert_eq!(stream.by_ref().filter(|row| ready(row.is_ok())).count().await, 29_999);
    drop(stream);
    caught_up(&pair).await;
    assert_eq!(open().await.unwrap().count().await, 10_000);

    // If the replica does not wait for its readers, they get a retryable error.
    wait_for_readers(&pair.standby, "0").await;
    let mut stream = open().await.unwrap();
    assert!(stream.next().await.unwrap().is_ok());
    assert_eq!(backend.cleanup(40_000).await.unwrap(), 10_000);
    caught_up(&pair).await;
    let last = stream.collect::<Vec<_>>().await.pop().unwrap();
    let error = last.unwrap_err();
    assert!(error.is_retryable(), "{error}");
    assert_eq!(backend.records("*", Grammar::Glob).await.unwrap(), []);
}

/// Queries need nothing from an upgrade, but once they waited for the replica to replay it.
async fn a_replica_that_lags_behind_an_upgrade_answers() {
    let pair = Pair::start();
    let config = || PostgresConfig::from_url(pair.primary.url()).unwrap().with_schema("lag");
    PostgresBackend::new(config()).store("a", &json!(1), 1).await.unwrap();
    let before = "ALTER TABLE lag.writers DROP COLUMN last_use, \
                    ADD COLUMN touched_at timestamptz NOT NULL; \
                  UPDATE lag.meta SET schema_version = 2";
    client(&pair.primary).await.batch_execute(before).await.unwrap();
    caught_up(&pair).await;
    let standby = client(&pair.standby).await;
    standby.batch_execute("SELECT pg_wal_replay_pause()").await.unwrap();
    let backend = PostgresBackend::new(config().with_read_url(pair.standby.url()).unwrap());
    backend.store("a", &json!(2), 2).await.unwrap();
    assert_eq!(backend.query_latest::<i64>("a", 9).await.unwrap(), [1]);
    assert_eq!(backend.cleanup(2).await.unwrap(), 1);
    assert_eq!(backend.query_latest::<i64>("a", 9).await.unwrap(), [1]);
    standby.batch_execute("SELECT pg_wal_replay_resume()").await.unwrap();
    caught_up(&pair).await;
    assert_eq!(backend.query_latest::<i64>("a", 9).await.unwrap(), [2]);
}

annals_test_postgres::server_tests! {
    async the_password_is_read_from_its_file_for_each_connection,
    async passwords_are_found_in_the_passfile_of_libpq,
    async passwords_are_found_in_the_environment,
    async the_host_with_the_role_is_found,
    async without_the_role_the_error_names_every_host,
    async writing_to_a_standby_is_refused_with_advice,
    async only_queries_go_to_the_replica,
    async a_replica_behind_a_migration_is_a_transient_error,
    async a_replica_that_lags_behind_an_upgrade_answers,
    async readers_of_a_replica_keep_a_dropped_partition,
}
