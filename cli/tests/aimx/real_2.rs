//! AimDB 2.x's own AimX servers, as published, and `annals-aimdb`'s.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use aimdb_core_2::AimDbBuilder;
use aimdb_core_2::connector::ConnectorBuilder;
use aimdb_core_2::remote::AimxConfig;
use aimdb_tcp_connector_2::{TcpServer, framed_listener};
use aimdb_tokio_adapter_2::TokioAdapter;
use aimdb_tokio_adapter_2::net::TokioNet;
use aimdb_uds_connector_2::UdsServer;
use annals::{MemoryBackend, PersistenceBackend};
use annals_aimdb::{AimDbBuilderPersistExt, AimxServer};
use serde_json::{Value, json};

use crate::support::{Place, Run};

const EVER: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// More than a page of one record, two of each time, and more bytes than a frame over TCP holds.
async fn history() -> Arc<MemoryBackend> {
    let history = Arc::new(MemoryBackend::new());
    let now = 1_740_000_000_000;
    for i in 0..1_234 {
        let value = json!({"value": i, "note": "x".repeat(100)});
        history.store("accuracy.vienna", &value, now + i / 2).await.unwrap();
    }
    history.store("accuracy.graz", &json!(null), now + 7).await.unwrap();
    history.store("accuracy.graz.north", &json!(1), now + 7).await.unwrap();
    history.store("other", &json!(1), now + 7).await.unwrap();
    history
}

/// Runs a database with this server until the test's runtime ends.
async fn serve(server: impl ConnectorBuilder + 'static, history: Option<Arc<MemoryBackend>>) {
    let mut builder = AimDbBuilder::new().runtime(Arc::new(TokioAdapter)).with_connector(server);
    if let Some(history) = history {
        builder = builder.with_persistence(history, EVER);
    }
    let (db, runner) = builder.build().await.unwrap();
    tokio::spawn(async move {
        runner.run().await;
        drop(db);
    });
}

fn query(place: &Place, address: &str, args: &[&str]) -> Run {
    place.run(&[&["query", "--aimx", address], args].concat())
}

fn is_all_of_it(place: &Place, address: &str) {
    let latest = query(place, address, &["accuracy.*", "--latest", "1"]).ok().json_lines();
    let latest: Vec<_> = latest.iter().map(|row| (&row["record"], &row["stored_at"])).collect();
    assert_eq!(
        latest,
        [
            (&json!("accuracy.graz"), &json!(1_740_000_000_007_u64)),
            (&json!("accuracy.vienna"), &json!(1_740_000_000_616_u64)),
        ]
    );
    for (args, order) in
        [(&["accuracy.vienna"][..], -1), (&["accuracy.vienna", "--oldest-first"], 1)]
    {
        let rows = query(place, address, args).ok().json_lines();
        assert_eq!(rows.len(), 1_234, "{address}");
        let value = |row: &Value| row["value"]["value"].as_i64().unwrap();
        assert!(rows.windows(2).all(|pair| value(&pair[1]) - value(&pair[0]) == order), "{args:?}");
    }
    let records = place.run(&["records", "--aimx", address]).ok().json_lines();
    let counts: Vec<_> = records.iter().map(|record| record["count"].as_u64().unwrap()).collect();
    assert_eq!(counts, [1, 1, 1_234, 1], "{address}: every record, whatever its depth");
    let window = ["accuracy.#", "--from", "1740000000007", "--to", "1740000000007"];
    assert_eq!(query(place, address, &window).ok().json_lines().len(), 4, "{address}");
}

fn config(place: &Place) -> AimxConfig {
    AimxConfig::uds_default().socket_path(place.path("aimdb.sock").to_str().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn aimdbs_own_is_asked_over_a_unix_socket() {
    let place = Place::new();
    serve(UdsServer::from_config(config(&place)), Some(history().await)).await;
    is_all_of_it(&place, "unix:aimdb.sock");
    query(&place, "unix:aimdb.sock", &[""]).refused(2, "invalid pattern");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn aimdbs_own_is_asked_over_tcp() {
    let listener = TokioNet::listen("127.0.0.1:0").await.unwrap();
    let address = format!("tcp:{}", listener.local_addr().unwrap());
    serve(TcpServer::new(listener), Some(history().await)).await;
    is_all_of_it(&Place::new(), &address);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_checked_server_is_asked_over_either() {
    let place = Place::new();
    serve(AimxServer::unix(config(&place)), Some(history().await)).await;
    is_all_of_it(&place, "unix:aimdb.sock");

    let listener = TokioNet::listen("127.0.0.1:0").await.unwrap();
    let address = format!("tcp:{}", listener.local_addr().unwrap());
    let listener = Mutex::new(Some(framed_listener(listener)));
    let bind = move || Ok(listener.lock().unwrap().take().unwrap());
    let server = AimxServer::new(AimxConfig::uds_default(), bind);
    serve(server, Some(history().await)).await;
    is_all_of_it(&place, &address);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_persistence_each_says_what_it_can() {
    let place = Place::new();
    serve(UdsServer::from_config(config(&place)), None).await;
    query(&place, "unix:aimdb.sock", &["#"]).refused(1, "failed without saying why");
    serve(AimxServer::unix(config(&place)), None).await;
    query(&place, "unix:aimdb.sock", &["#"]).refused(1, "call .with_persistence(");
}
