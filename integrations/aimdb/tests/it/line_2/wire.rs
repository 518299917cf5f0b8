//! `record.query` over AimDB 2.x's own AimX server on a Unix socket, through AimDB's own client and
//! through a raw socket.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use aimdb_client_2::AimxConnection;
use aimdb_core_2::connector::ConnectorBuilder;
use aimdb_core_2::remote::AimxConfig;
use aimdb_uds_connector_2::UdsServer;
use annals_aimdb::adapter::line2::ToAimDb;
use annals_aimdb::{AimDbBuilderPersistExt, AimxServer};
use annals_core::{MemoryBackend, PersistenceBackend};
use serde_json::json;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;

use super::line::{self, Builder, Db};
use crate::fixture::{ThreeMethods, WEEK};

/// A database with an AimX server.
struct Server {
    folder: TempDir,
    _db: Db,
}

impl Server {
    async fn start(builder: Builder) -> Self {
        Self::serving(builder, UdsServer::from_config).await
    }

    async fn serving<S: ConnectorBuilder + 'static>(
        builder: Builder,
        server: fn(AimxConfig) -> S,
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = AimxConfig::uds_default().socket_path(socket(&folder).to_str().unwrap());
        let db = line::start(builder.with_connector(server(config))).await;
        Self { folder, _db: db }
    }

    /// With this project's server in place of AimDB's.
    async fn checked(backend: Arc<dyn PersistenceBackend>) -> Self {
        let builder = line::builder().with_persistence(backend, WEEK * 10_000);
        Self::serving(builder, AimxServer::unix).await
    }

    async fn with(backend: Arc<dyn PersistenceBackend>) -> Self {
        Self::start(line::builder().with_persistence(backend, WEEK * 10_000)).await
    }

    /// The answer to one `record.query`, byte for byte.
    async fn query(&self, params: &str) -> String {
        self.ask("record.query", params).await
    }

    async fn ask(&self, method: &str, params: &str) -> String {
        let stream = UnixStream::connect(socket(&self.folder)).await.unwrap();
        let mut stream = BufReader::new(stream);
        let request =
            format!("{{\"t\":\"req\",\"id\":1,\"method\":\"{method}\",\"params\":{params}}}\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_line(&mut answer).await.unwrap();
        answer.trim_end().to_owned()
    }

    async fn client(&self) -> AimxConnection {
        let endpoint = format!("unix://{}", socket(&self.folder).display());
        AimxConnection::connect(&endpoint).await.unwrap()
    }
}

fn socket(folder: &TempDir) -> PathBuf {
    folder.path().join("aimdb.sock")
}

async fn accuracies() -> Arc<MemoryBackend> {
    let backend = Arc::new(MemoryBackend::new());
    for (record, value, at) in [
        ("accuracy.vienna", 0.93, 1_740_081_204_000),
        ("accuracy.vienna", 0.94, 1_740_081_264_000),
        ("accuracy.graz", 0.91, 1_740_081_234_000),
        ("accuracy.graz.north", 0.90, 1_740_081_234_000),
        ("other", 1.0, 1_740_081_200_000),
    ] {
        backend.store(record, &json!({ "value": value }), at).await.unwrap();
    }
    backend
}

#[tokio::test]
async fn the_answer_has_the_documented_shape_byte_for_byte() {
    let server = Server::with(accuracies().await).await;
    assert_eq!(
        server.query(r#"{"name":"accuracy.*","limit":1}"#).await,
        r#"{"t":"reply","id":1,"ok":{"records":[{"payload":{"value":0.91},"topic":"accuracy.graz","ts":1740081234000},{"payload":{"value":0.94},"topic":"accuracy.vienna","ts":1740081264000}],"total":2}}"#
    );
    assert_eq!(
        server.query(r#"{"name":"accuracy.vienna","limit":9}"#).await,
        r#"{"t":"reply","id":1,"ok":{"records":[{"payload":{"value":0.93},"topic":"accuracy.vienna","ts":1740081204000},{"payload":{"value":0.94},"topic":"accuracy.vienna","ts":1740081264000}],"total":2}}"#
    );
    assert_eq!(
        server.query(r#"{"name":"nothing"}"#).await,
        r#"{"t":"reply","id":1,"ok":{"records":[],"total":0}}"#
    );
}

/// Compares with AimDB's own persistence over the same rows.
#[tokio::test]
async fn the_answer_is_that_of_aimdbs_own_persistence_byte_for_byte() {
    use aimdb_persistence_2::AimDbBuilderPersistExt;

    let rows = accuracies().await;
    let ours = Server::with(rows.clone()).await;
    let own = Arc::new(ToAimDb::new(rows.clone()));
    let own = AimDbBuilderPersistExt::with_persistence(line::builder(), own, WEEK * 10_000);
    let theirs = Server::start(own).await;
    let checked = Server::checked(rows).await;
    for params in [
        r#"{}"#,
        r##"{"name":"accuracy.#"}"##,
        r#"{"name":"accuracy.*","limit":2}"#,
        r#"{"name":"accuracy.vienna","limit":5,"start":1740081204000,"end":1740081204000}"#,
        r#"{"name":"nothing","limit":5}"#,
    ] {
        let (ours, theirs) = (ours.query(params).await, theirs.query(params).await);
        assert!(ours.starts_with(r#"{"t":"reply","id":1,"ok":{"records":"#), "{ours}");
        assert_eq!(ours, theirs, "{params}");
        assert_eq!(checked.query(params).await, theirs, "{params}");
    }
}

#[tokio::test]
async fn aimdbs_own_client_gets_the_history() {
    let server = Server::with(accuracies().await).await;
    let client = server.client().await;
    let answer = client.query(json!({ "name": "accuracy.*", "limit": 1 })).await.unwrap();
    assert_eq!(
        answer,
        json!({
            "records": [
                { "topic": "accuracy.graz", "payload": { "value": 0.91 }, "ts": 1_740_081_234_000_u64 },
                { "topic": "accuracy.vienna", "payload": { "value": 0.94 }, "ts": 1_740_081_264_000_u64 },
            ],
            "total": 2,
        })
    );
    let all = client.query(json!({})).await.unwrap();
    assert_eq!(all["total"], 4, "{all}");
}

#[tokio::test]
async fn a_window_without_a_limit_is_the_whole_window() {
    let backend = Arc::new(MemoryBackend::new());
    let start: u64 = 1_740_000_000_000;
    for at in (0..5_760).map(|n| start + n * 30_000) {
        backend.store("a", &json!(at), at).await.unwrap();
    }
    let server = Server::with(backend).await;
    let client = server.client().await;
    let end = start + 48 * 3_600_000;
    for (params, total) in [
        (json!({ "name": "a", "start": start, "end": end }), 5_760),
        (json!({ "name": "a", "end": u64::MAX }), 5_760),
        (json!({ "name": "a", "start": start, "limit": 7 }), 7),
        (json!({ "name": "a" }), 1),
    ] {
        assert_eq!(client.query(params.clone()).await.unwrap()["total"], total, "{params}");
    }
}

/// AimDB's own server ignores such a parameter before it calls the handler, which cannot tell it from
/// an absent one. This test documents that, and fails when AimDB changes it. `AimxServer` reports it.
#[tokio::test]
async fn a_parameter_of_the_wrong_type_is_ignored_by_the_server() {
    let server = Server::with(accuracies().await).await;
    let latest = server.query(r#"{"name":"accuracy.*"}"#).await;
    assert_eq!(server.query(r#"{"name":"accuracy.*","limit":"5"}"#).await, latest);
    assert_eq!(server.query(r#"{"name":7}"#).await, server.query("{}").await);
}

/// AimDB's own server replies to an error with a code and no message.
#[tokio::test]
async fn an_error_reaches_the_client_of_aimdbs_own_server_as_its_code() {
    let backend = Arc::new(ThreeMethods::default());
    let server = Server::with(backend.clone()).await;
    let internal = r#"{"t":"reply","id":1,"err":"internal"}"#;
    assert_eq!(server.query(r#"{"name":""}"#).await, internal);
    backend.failing.store(true, Ordering::SeqCst);
    assert_eq!(server.query("{}").await, internal);
}

fn refused(message: &str) -> String {
    format!(r#"{{"t":"reply","id":1,"err":"internal","message":{}}}"#, json!(message))
}

#[tokio::test]
async fn a_parameter_of_the_wrong_type_is_an_error_that_names_it() {
    let server = Server::checked(accuracies().await).await;
    let number = "a whole number from 0 on";
    for (params, message) in [
        (r#"{"limit":"5"}"#, format!("`limit` is \"5\" where {number} is expected")),
        (r#"{"limit":-1}"#, format!("`limit` is -1 where {number} is expected")),
        (r#"{"limit":1.5}"#, format!("`limit` is 1.5 where {number} is expected")),
        (r#"{"name":"a","start":{}}"#, format!("`start` is {{}} where {number} is expected")),
        (r#"{"end":true}"#, format!("`end` is true where {number} is expected")),
        (r#"{"name":7}"#, "`name` is 7 where text is expected".to_owned()),
        ("[]", "the parameters of record.query are an object".to_owned()),
    ] {
        assert_eq!(server.query(params).await, refused(&message), "{params}");
    }
    let long = server.query(&format!("{{\"limit\":\"{}\"}}", "é".repeat(10_000))).await;
    assert!(long.len() < 300 && long.contains('…'), "{long}");
    // Null counts as absent.
    let latest = server.query("{}").await;
    let nulls = r#"{"name":null,"limit":null,"start":null,"end":null}"#;
    assert_eq!(server.query(nulls).await, latest);
    assert_eq!(server.query("null").await, latest);
    assert_eq!(server.query(&format!("{{\"limit\":{}}}", u64::MAX)).await.len(), {
        server.query(r#"{"limit":99}"#).await.len()
    });
}

#[tokio::test]
async fn an_error_reaches_the_client_with_its_message_and_without_secrets() {
    let backend = Arc::new(ThreeMethods::default());
    let server = Server::checked(backend.clone()).await;
    let empty = "invalid pattern \"\": it is empty; `#` matches every record";
    assert_eq!(server.query(r#"{"name":""}"#).await, refused(empty));
    // Access is granted by patterns of this grammar, so no other is accepted.
    let mixed = server.query(r#"{"name":"accuracy::*"}"#).await;
    assert!(mixed.contains("accuracy::*") && mixed.contains("`accuracy.*`"), "{mixed}");
    backend.failing.store(true, Ordering::SeqCst);
    let failed = "shelf: use failed: no answer from postgres://app:***@db:5432/history";
    assert_eq!(server.query("{}").await, refused(failed));
    // AimDB's own client ignores the unknown member.
    let error = server.client().await.query(json!({})).await.unwrap_err();
    assert!(format!("{error:?}").contains("code: \"internal\""), "{error:?}");

    let without = Server::serving(line::builder(), AimxServer::unix).await;
    assert!(without.query("{}").await.contains(".with_persistence("));
}

#[tokio::test]
async fn the_rest_of_the_checked_server_is_aimdbs_own() {
    let rows = accuracies().await;
    let (theirs, ours) = (Server::with(rows.clone()).await, Server::checked(rows).await);
    for (method, params) in [
        ("hello", r#"{"client":"a test","version":"3.0"}"#),
        ("hello", r#"{"client":"a test","version":"1.0"}"#),
        ("record.list", "{}"),
        ("record.get", r#"{"name":"none"}"#),
        ("nothing", "{}"),
    ] {
        let expected = theirs.ask(method, params).await;
        assert_eq!(ours.ask(method, params).await, expected, "{method}");
    }
    let mode = |server: &Server| {
        use std::os::unix::fs::PermissionsExt;
        std::fs::metadata(socket(&server.folder)).unwrap().permissions().mode() & 0o777
    };
    assert_eq!((mode(&ours), mode(&theirs)), (0o600, 0o600));
}

#[tokio::test]
async fn the_socket_of_a_dead_server_is_replaced_and_a_file_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = socket(&folder);
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let config = || AimxConfig::uds_default().socket_path(path.to_str().unwrap());
    let builder = || line::builder().with_connector(AimxServer::unix(config()));
    drop(builder().build().await.unwrap());
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, "mine").unwrap();
    let error = builder().build().await.err().unwrap().to_string();
    assert!(error.contains("cannot be bound"), "{error}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "mine");
}
