//! `record.query` over AimDB 1.x's own AimX server, through a raw socket.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use aimdb_core::remote::AimxConfig;
use annals_aimdb::AimDbBuilderPersistExt;
use annals_aimdb::adapter::line1::ToAimDb;
use annals_core::{MemoryBackend, PersistenceBackend};
use serde_json::json;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;

use super::line::{self, Builder, Db};
use crate::fixture::{ThreeMethods, WEEK, until};

/// A database with an AimX server.
struct Server {
    folder: TempDir,
    _db: Db,
}

impl Server {
    async fn start(builder: Builder) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = AimxConfig::uds_default().socket_path(socket(&folder));
        let db = line::start(builder.with_remote_access(config)).await;
        Self { folder, _db: db }
    }

    async fn with(backend: Arc<dyn PersistenceBackend>) -> Self {
        Self::start(line::builder().with_persistence(backend, WEEK * 10_000)).await
    }

    /// The answer to one `record.query`, byte for byte.
    async fn query(&self, params: &str) -> String {
        ask(&socket(&self.folder), params).await
    }
}

fn socket(folder: &TempDir) -> PathBuf {
    folder.path().join("aimdb.sock")
}

async fn ask(socket: &Path, params: &str) -> String {
    let mut stream = BufReader::new(UnixStream::connect(socket).await.unwrap());
    let (mut welcome, mut answer) = (String::new(), String::new());
    stream.write_all(b"{\"version\":\"1.0\",\"client\":\"a test\"}\n").await.unwrap();
    // The server loses what arrives together with the hello.
    stream.read_line(&mut welcome).await.unwrap();
    assert!(welcome.starts_with("{\"version\":\"1.0\""), "{welcome}");
    let request = format!("{{\"id\":1,\"method\":\"record.query\",\"params\":{params}}}\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    stream.read_line(&mut answer).await.unwrap();
    answer.trim_end().to_owned()
}

async fn accuracies() -> Arc<MemoryBackend> {
    let backend = Arc::new(MemoryBackend::new());
    for (record, value, at) in [
        ("accuracy::vienna", 0.93, 1_740_081_204_000),
        ("accuracy::vienna", 0.94, 1_740_081_234_000),
        ("accuracy::graz", 0.91, 1_740_081_234_000),
        ("other", 1.0, 1_740_081_234_000),
    ] {
        backend.store(record, &json!({ "value": value }), at).await.unwrap();
    }
    backend
}

#[tokio::test]
async fn the_answer_has_the_documented_shape_byte_for_byte() {
    let server = Server::with(accuracies().await).await;
    assert_eq!(
        server.query(r#"{"name":"accuracy::*","limit":1}"#).await,
        r#"{"id":1,"result":{"count":2,"values":[{"record":"accuracy::graz","stored_at":1740081234000,"value":{"value":0.91}},{"record":"accuracy::vienna","stored_at":1740081234000,"value":{"value":0.94}}]}}"#
    );
    assert_eq!(
        server.query(r#"{"name":"accuracy::vienna","limit":9}"#).await,
        r#"{"id":1,"result":{"count":2,"values":[{"record":"accuracy::vienna","stored_at":1740081234000,"value":{"value":0.94}},{"record":"accuracy::vienna","stored_at":1740081204000,"value":{"value":0.93}}]}}"#
    );
    let nothing = r#"{"id":1,"result":{"count":0,"values":[]}}"#;
    assert_eq!(server.query(r#"{"name":"nothing"}"#).await, nothing);
    assert_eq!(server.query(r#"{"limit":0}"#).await, nothing);
}

/// Compares with AimDB's own persistence over the same rows.
#[tokio::test]
async fn the_answer_is_that_of_aimdbs_own_persistence_byte_for_byte() {
    use aimdb_persistence::AimDbBuilderPersistExt;

    let rows = accuracies().await;
    let ours = Server::with(rows.clone()).await;
    let own = Arc::new(ToAimDb::new(rows));
    let own = AimDbBuilderPersistExt::with_persistence(line::builder(), own, WEEK * 10_000);
    let theirs = Server::start(own).await;
    for params in [
        r#"{}"#,
        r#"{"name":"accuracy::*"}"#,
        r#"{"name":"accuracy::*","limit":2}"#,
        r#"{"name":"accuracy::vienna","limit":5,"start":1740081204000,"end":1740081204000}"#,
        r#"{"name":"nothing","limit":5}"#,
        r#"[]"#,
    ] {
        let (ours, theirs) = (ours.query(params).await, theirs.query(params).await);
        assert!(ours.starts_with(r#"{"id":1,"result":{"count":"#), "{ours}");
        assert_eq!(ours, theirs, "{params}");
    }
}

#[tokio::test]
async fn a_window_without_a_limit_is_the_whole_window() {
    let backend = Arc::new(MemoryBackend::new());
    let start: u64 = 1_740_000_000_000;
    for at in (0..5_760).map(|n| start + n * 30_000) {
        backend.store("a", &json!(at), at).await.unwrap();
    }
    let server = Server::with(backend).await;
    let count = async |params: String| {
        let answer: serde_json::Value = serde_json::from_str(&server.query(&params).await).unwrap();
        answer["result"]["count"].as_u64().unwrap()
    };
    let end = start + 48 * 3_600_000;
    assert_eq!(count(format!(r#"{{"name":"a","start":{start},"end":{end}}}"#)).await, 5_760);
    assert_eq!(count(format!(r#"{{"name":"a","start":{start}}}"#)).await, 5_760);
    assert_eq!(count(format!(r#"{{"name":"a","end":{}}}"#, u64::MAX)).await, 5_760);
    assert_eq!(count(format!(r#"{{"name":"a","start":{start},"limit":7}}"#)).await, 7);
    assert_eq!(count(r#"{"name":"a"}"#.to_owned()).await, 1);
}

/// AimDB's server ignores such a parameter before it calls the handler, which cannot tell it from an
/// absent one. This test documents that, and fails when AimDB changes it.
#[tokio::test]
async fn a_parameter_of_the_wrong_type_is_ignored_by_the_server() {
    let server = Server::with(accuracies().await).await;
    let latest = server.query(r#"{"name":"accuracy::*"}"#).await;
    assert_eq!(server.query(r#"{"name":"accuracy::*","limit":"5"}"#).await, latest);
    assert_eq!(server.query(r#"{"name":"accuracy::*","limit":-1}"#).await, latest);
    assert_eq!(server.query(r#"{"name":7}"#).await, server.query("{}").await);
}

#[tokio::test]
async fn an_error_reaches_the_client_without_secrets() {
    let backend = Arc::new(ThreeMethods::default());
    let server = Server::with(backend.clone()).await;
    assert_eq!(
        server.query(r#"{"name":""}"#).await,
        r#"{"id":1,"error":{"code":"query_error","message":"invalid pattern \"\": it is empty; `*` matches every record"}}"#
    );
    backend.failing.store(true, Ordering::SeqCst);
    assert_eq!(
        server.query("{}").await,
        r#"{"id":1,"error":{"code":"query_error","message":"shelf: use failed: no answer from postgres://app:***@db:5432/history"}}"#
    );
}

/// With a single thread for all tasks: a query that blocks its caller blocks none of AimDB's tasks.
#[tokio::test(flavor = "current_thread")]
async fn a_blocking_query_delays_no_task() {
    let backend = Arc::new(ThreeMethods::default());
    backend.querying.set(true);
    let server = Arc::new(Server::with(backend.clone()).await);
    let asking = tokio::spawn({
        let server = server.clone();
        async move { server.query("{}").await }
    });
    until(|| backend.querying.arrived() > 0).await;
    assert!(!asking.is_finished());
    backend.querying.set(false);
    assert_eq!(asking.await.unwrap(), r#"{"id":1,"result":{"count":0,"values":[]}}"#);
}
