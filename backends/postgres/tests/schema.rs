//! Creating the schema, and refusing foreign tables.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use annals_core::{
    Cursor, Durability, ErrorKind, FollowFrom, FollowPage, FollowParams, PersistenceBackend,
    PersistenceError, QueryExt, Result,
};
use annals_postgres::PostgresBackend;
use common::Place;
use futures::future::join_all;
use serde_json::json;

fn kind(error: &PersistenceError) -> ErrorKind {
    match error {
        PersistenceError::Backend(error) => error.kind(),
        other => panic!("not the engine's: {other:?}"),
    }
}

/// `CREATE SCHEMA IF NOT EXISTS` and `CREATE TABLE IF NOT EXISTS` fail with a duplicate key when
/// two run at once.
async fn sixteen_backends_initialize_the_same_schema_at_once() {
    let place = Place::new();
    let backends: Vec<PostgresBackend> = (0..16).map(|_| place.backend()).collect();
    let initialized = join_all(backends.iter().map(|backend| async {
        backend.initialize().await?;
        backend.store("a", &json!(1), 1).await
    }));
    for result in initialized.await {
        result.unwrap();
    }
    assert_eq!(place.number("SELECT count(*) FROM {s}.history").await, 16);
    assert_eq!(place.number("SELECT count(*) FROM {s}.meta").await, 1);
    assert_eq!(place.number("SELECT count(*) FROM {s}.records").await, 1);
}

async fn a_schema_may_have_any_name() {
    let mut place = Place::new();
    let unique = place.schema.clone();
    for hostile in ["\"; DROP TABLE x; --", "'%_\\", "Übergröße ☃", "a b.c", "$1", "SELECT"] {
        place.schema = format!("{hostile}{unique}").chars().take(40).collect();
        let backend = place.backend();
        backend.initialize().await.unwrap();
        backend.store("a", &json!(1), 1).await.unwrap();
        assert_eq!(backend.query_latest::<i64>("*", 1).await.unwrap(), [1], "{hostile}");
        assert_eq!(backend.cleanup(2).await.unwrap(), 1);
        backend.close().await.unwrap();
        let schema = place.quoted();
        place.client().await.batch_execute(&format!("DROP SCHEMA {schema} CASCADE")).await.unwrap();
    }
}

async fn with_create_false_no_history_is_created() {
    let place = Place::with_options("create=false");
    let error = place.backend().query_latest::<i64>("a", 1).await.unwrap_err();
    assert_eq!(kind(&error), ErrorKind::Config, "{error}");
    assert!(error.to_string().contains("no history"), "{error}");
    assert_eq!(
        kind(&place.backend().store("a", &json!(1), 1).await.unwrap_err()),
        ErrorKind::Config
    );
    let schemas = format!("SELECT count(*) FROM pg_namespace WHERE nspname = '{}'", place.schema);
    assert_eq!(place.number(&schemas).await, 0);
    PostgresBackend::new(place.config_with("")).store("a", &json!(1), 1).await.unwrap();
    let backend = place.backend();
    assert_eq!(backend.query_latest::<i64>("a", 1).await.unwrap(), [1]);
    backend.store("a", &json!(2), 2).await.unwrap();
}

async fn a_newer_schema_is_refused() {
    let place = Place::new();
    place.backend().initialize().await.unwrap();
    let update = format!("UPDATE {}.meta SET schema_version = schema_version + 1", place.quoted());
    place.client().await.batch_execute(&update).await.unwrap();
    let error = place.backend().store("a", &json!(1), 1).await.unwrap_err();
    assert_eq!(kind(&error), ErrorKind::NewerSchema, "{error}");
    assert!(error.to_string().contains("upgrade"), "{error}");
    assert_eq!(place.number("SELECT count(*) FROM {s}.history").await, 0);
}

async fn foreign_tables_are_left_alone() {
    let place = Place::new();
    let schema = place.quoted();
    let foreign = format!("CREATE SCHEMA {schema}; CREATE TABLE {schema}.records (x int)");
    place.client().await.batch_execute(&foreign).await.unwrap();
    let error = place.backend().initialize().await.unwrap_err();
    assert!(!error.is_retryable() && error.to_string().contains("schema="), "{error}");
    // Nothing incomplete is left behind.
    let made = format!("SELECT count(*) FROM pg_tables WHERE schemaname = '{}'", place.schema);
    assert_eq!(place.number(&made).await, 1);

    let foreign =
        format!("CREATE TABLE {schema}.meta (x int); INSERT INTO {schema}.meta VALUES (1)");
    place.client().await.batch_execute(&foreign).await.unwrap();
    let error = place.backend().initialize().await.unwrap_err();
    assert_eq!(kind(&error), ErrorKind::Corrupt, "{error}");
}

async fn another_encoding_is_refused() {
    let place = Place::new();
    let name = format!("latin_{}", place.schema);
    let client = place.client().await;
    let create =
        format!("CREATE DATABASE \"{name}\" ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0");
    client.batch_execute(&create).await.unwrap();
    let url = place.url.replace("annals_test_icu", &name);
    let error = PostgresBackend::connect(&url).await.unwrap_err();
    assert_eq!(kind(&error), ErrorKind::Config);
    assert!(error.to_string().contains("LATIN1"), "{error}");
    client.batch_execute(&format!("DROP DATABASE \"{name}\" WITH (FORCE)")).await.unwrap();
}

async fn a_password_is_never_shown() {
    let place = Place::new();
    let (_, rest) = place.url.split_once("://").unwrap();
    let (_, host) = rest.rsplit_once('@').unwrap();
    for url in [
        format!("postgres://annals:hunter2@{host}"),
        "postgres://annals:hunter2@127.0.0.1:1/x".to_owned(),
        "postgres://annals:hunter2@no-such-host.invalid/x".to_owned(),
    ] {
        let config = annals_postgres::PostgresConfig::from_url(&url).unwrap();
        let backend = PostgresBackend::new(config);
        let error = backend.initialize().await.unwrap_err();
        let shown = format!("{error} {error:?} {backend:?}");
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}

async fn an_absent_server_is_retryable_and_a_wrong_password_is_not() {
    let place = Place::new();
    let (_, rest) = place.url.split_once("://").unwrap();
    let (_, host) = rest.rsplit_once('@').unwrap();
    let error = PostgresBackend::connect(&format!("postgres://annals:wrong@{host}")).await;
    assert_eq!(kind(&error.unwrap_err()), ErrorKind::Permission);
    let error = PostgresBackend::connect("postgres://a:b@127.0.0.1:1/x").await.unwrap_err();
    assert_eq!(kind(&error), ErrorKind::Connection, "{error}");
    assert!(error.is_retryable());
}

async fn the_claim_of_power_loss_matches_the_server() {
    let place = Place::new();
    let row = place.client().await.query_one("SHOW fsync", &[]).await.unwrap();
    let synced = row.get::<_, &str>(0) == "on";
    let expected = if synced { Durability::PowerLoss } else { Durability::Process };
    let backend = place.backend();
    assert_eq!(backend.guarantees().durability, Durability::Process, "nobody was asked yet");
    backend.initialize().await.unwrap();
    assert_eq!(backend.guarantees().durability, expected);
    let faster = PostgresBackend::new(place.config().with_durability(Durability::Process));
    faster.store("a", &json!(1), 1).await.unwrap();
    assert_eq!(faster.guarantees().durability, Durability::Process);
}

async fn a_view_shows_the_history() {
    let place = Place::new();
    place.backend().store("room 1", &json!({"c": 21.5}), 1_740_081_234_000).await.unwrap();
    let view = format!(
        "SELECT record_name, value_json::jsonb ->> 'c', stored_at FROM {}.record_history",
        place.quoted()
    );
    let row = place.client().await.query_one(&view, &[]).await.unwrap();
    assert_eq!((row.get::<_, &str>(0), row.get::<_, &str>(1)), ("room 1", "21.5"));
    assert_eq!(row.get::<_, i64>(2), 1_740_081_234_000);
}

async fn arrived(backend: &PostgresBackend, from: FollowFrom) -> Result<FollowPage> {
    backend.follow_page("*", &FollowParams::from(from).with_wait(false)).await
}

async fn assert_refused(backend: &PostgresBackend, cursor: &Cursor) {
    let error = arrived(backend, FollowFrom::Cursor(cursor.clone())).await.unwrap_err();
    assert!(matches!(error, PersistenceError::AnotherHistory { .. }), "{error}");
}

/// After an older state was put back, numbers are given a second time.
async fn a_cursor_of_another_history_is_refused() {
    let place = Place::new();
    let backend = place.backend();
    backend.store("a", &json!(1), 1).await.unwrap();
    // An earlier release created it. The first follower gives it an identity, and others find that.
    place.execute("ALTER TABLE {s}.meta DROP COLUMN history").await;
    let cursor = arrived(&backend, FollowFrom::Time(0)).await.unwrap().cursor;
    let other = place.backend();
    other.store("a", &json!(2), 2).await.unwrap();
    let page = arrived(&other, FollowFrom::Cursor(cursor.clone())).await.unwrap();
    assert_eq!(page.rows.len(), 1);
    // As `docs/operations.md` says.
    place.execute("UPDATE {s}.meta SET history = DEFAULT").await;
    for backend in [&backend, &other, &place.backend()] {
        assert_refused(backend, &cursor).await;
        assert_refused(backend, &page.cursor).await;
    }
    // Put back with its identity: a number that was never given out is noticed.
    let end = arrived(&backend, FollowFrom::Time(0)).await.unwrap().cursor;
    let put_back = "DELETE FROM {s}.history WHERE value = '2'; \
                    SELECT setval(pg_get_serial_sequence('{s}.history', 'seq'), 1)";
    place.execute(put_back).await;
    for backend in [&backend, &place.backend()] {
        assert_refused(backend, &end).await;
    }
}

annals_test_postgres::server_tests! {
    async sixteen_backends_initialize_the_same_schema_at_once,
    async a_schema_may_have_any_name,
    async with_create_false_no_history_is_created,
    async a_newer_schema_is_refused,
    async foreign_tables_are_left_alone,
    async another_encoding_is_refused,
    async a_password_is_never_shown,
    async an_absent_server_is_retryable_and_a_wrong_password_is_not,
    async the_claim_of_power_loss_matches_the_server,
    async a_view_shows_the_history,
    async a_cursor_of_another_history_is_refused,
}
