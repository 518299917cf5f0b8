//! Followers that LISTEN. The interval at which they ask anyway is a day here: what arrives was notified.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::time::Duration;

use annals_core::{
    Cursor, FollowFrom, FollowParams, FollowStream, PersistenceBackend, PersistenceError, Position,
    RawRow, StoreExt,
};
use annals_postgres::PostgresBackend;
use annals_test_postgres::{Extension, Pooler};
use common::Place;
use futures::StreamExt;
use tokio::sync::mpsc;
use tokio::time::timeout;

const DAY: Duration = Duration::from_secs(24 * 3600);
/// Long enough for any machine, and far below the interval.
const LIMIT: Duration = Duration::from_secs(60);

/// A follower that waits already when something is stored.
struct Follower {
    rows: mpsc::UnboundedReceiver<Result<(RawRow, Cursor), PersistenceError>>,
}

impl Follower {
    /// Follows from what is there now.
    async fn new(backend: &PostgresBackend, interval: Duration) -> Self {
        let now = FollowParams::from(FollowFrom::Now).with_wait(false);
        let begin = backend.follow_page("*", &now).await.unwrap().cursor;
        let params = FollowParams::from(begin).with_poll_interval(interval);
        let mut stream = FollowStream::new(backend.clone(), "*", params);
        let (sender, rows) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Some(row) = stream.next().await {
                let row = row.map(|row| (row, stream.cursor().unwrap()));
                if sender.send(row).is_err() {
                    return;
                }
            }
        });
        Self { rows }
    }

    async fn next(&mut self) -> (String, Cursor) {
        let row = timeout(LIMIT, self.rows.recv()).await.unwrap();
        let (row, cursor) = row.unwrap().unwrap();
        (row.json.to_string(), cursor)
    }
}

/// The sessions of a place's followers that listen.
async fn listeners(place: &Place) -> i64 {
    let listening = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = '{}' \
         AND query LIKE '%LISTEN annals_%'",
        place.application()
    );
    place.number(&listening).await
}

/// Returns when a follower listens.
async fn until_listening(place: &Place) {
    let listening = async {
        while listeners(place).await == 0 {
            tokio::task::yield_now().await;
        }
    };
    timeout(LIMIT, listening).await.unwrap();
}

async fn rows_of_others_arrive(place: &Place) {
    // Storing and following have no pool in common.
    let (writer, reader) = (place.backend(), place.named_backend());
    writer.initialize().await.unwrap();
    let mut follower = Follower::new(&reader, DAY).await;
    until_listening(place).await;
    for value in 0..20 {
        writer.put_at("a", &value, 1).await.unwrap();
        assert_eq!(follower.next().await.0, value.to_string());
    }
    assert_eq!(listeners(place).await, 1);
}

async fn rows_of_others_arrive_at_once() {
    rows_of_others_arrive(&Place::new()).await;
}

async fn rows_of_others_arrive_in_a_hypertable() {
    rows_of_others_arrive(&Place::with(Extension::Timescale, "timescale=require")).await;
}

async fn rows_of_others_arrive_in_a_citus_cluster() {
    rows_of_others_arrive(&Place::with(Extension::Citus, "distribute=require")).await;
}

/// Nobody listens before there is a follower that waits, and all followers share one connection.
async fn one_connection_serves_all_followers() {
    let place = Place::new();
    let (writer, reader) = (place.backend(), place.named_backend());
    reader.initialize().await.unwrap();
    assert_eq!(listeners(&place).await, 0);
    let mut one = Follower::new(&reader, DAY).await;
    let mut other = Follower::new(&reader, DAY).await;
    until_listening(&place).await;
    for value in 0..5 {
        writer.put_at("a", &value, 1).await.unwrap();
        assert_eq!(one.next().await.0, value.to_string());
        assert_eq!(other.next().await.0, value.to_string());
    }
    assert_eq!(listeners(&place).await, 1);
    reader.close().await.unwrap();
    let ended = one.rows.recv().await.unwrap();
    assert!(matches!(ended, Err(PersistenceError::BackendShutdown)), "{ended:?}");
}

/// The follower connects again, and then sees what it was not told of.
async fn a_listener_that_is_ended_comes_back() {
    let place = Place::new();
    let (writer, reader) = (place.backend(), place.named_backend());
    let mut follower = Follower::new(&reader, DAY).await;
    let end = format!(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
         WHERE application_name = '{}' AND query LIKE '%LISTEN annals_%'",
        place.application()
    );
    for value in 0..3 {
        until_listening(&place).await;
        assert_eq!(place.number(&end).await, 1);
        writer.put_at("a", &value, 1).await.unwrap();
        assert_eq!(follower.next().await.0, value.to_string());
    }
}

async fn without_listen_nobody_listens_and_rows_arrive() {
    let place = Place::new();
    let options = format!("application_name={}&listen=false", place.application());
    let reader = PostgresBackend::new(place.config_with(&options));
    let writer = place.backend();
    let mut follower = Follower::new(&reader, Duration::from_millis(50)).await;
    for value in 0..5 {
        writer.put_at("a", &value, 1).await.unwrap();
        assert_eq!(follower.next().await.0, value.to_string());
        assert_eq!(listeners(&place).await, 0);
    }
}

/// A session that listens would stay behind in the pool for good.
async fn behind_a_transaction_pooler_nobody_listens() -> Result<(), String> {
    Pooler::find()?;
    let place = Place::new();
    let pooler = Pooler::get().unwrap();
    let pooled =
        Place { url: pooler.url(&place.url).unwrap(), schema: place.schema.clone(), options: "" };
    let (writer, reader) = (place.backend(), pooled.named_backend());
    let mut follower = Follower::new(&reader, Duration::from_millis(50)).await;
    for value in 0..20 {
        writer.put_at("a", &value, 1).await.unwrap();
        assert_eq!(follower.next().await.0, value.to_string());
        assert_eq!(listeners(&place).await, 0);
    }
    Ok(())
}

/// What a notification says is not believed: the history decides.
async fn a_notification_for_nothing_delivers_nothing() {
    let place = Place::new();
    let (writer, reader) = (place.backend(), place.named_backend());
    let mut follower = Follower::new(&reader, DAY).await;
    until_listening(&place).await;
    writer.put_at("a", &1, 1).await.unwrap();
    let (_, before) = follower.next().await;
    let channel = format!(
        "SELECT substring(query FROM 'annals_[0-9a-f]+') FROM pg_stat_activity \
         WHERE application_name = '{}' AND query LIKE '%LISTEN annals_%'",
        place.application()
    );
    let client = place.client().await;
    let channel: String = client.query_one(&channel, &[]).await.unwrap().get(0);
    for _ in 0..10 {
        client.execute("SELECT pg_notify($1, 'nothing')", &[&channel]).await.unwrap();
    }
    writer.put_at("a", &2, 1).await.unwrap();
    let (value, after) = follower.next().await;
    assert_eq!(value, "2");
    let arrival = |cursor| Position::parse("postgres", &cursor).unwrap().arrival;
    assert_eq!(arrival(after), arrival(before) + 1);
}

annals_test_postgres::server_tests! {
    async rows_of_others_arrive_at_once,
    async rows_of_others_arrive_in_a_hypertable with Timescale,
    async rows_of_others_arrive_in_a_citus_cluster with Citus,
    async one_connection_serves_all_followers,
    async a_listener_that_is_ended_comes_back,
    async without_listen_nobody_listens_and_rows_arrive,
    async behind_a_transaction_pooler_nobody_listens,
    async a_notification_for_nothing_delivers_nothing,
}
