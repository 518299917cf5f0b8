//! `record.query` over AimDB 2.x's WebSocket connector, which asks its `authorize_query` first.

use std::future::Future;
use std::net::{SocketAddr, TcpListener};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use aimdb_core_2::remote::{PROTOCOL_VERSION, VERSION_PARAM};
use aimdb_websocket_connector_2::{
    AuthError, AuthHandler, AuthRequest, ClientInfo, Permissions, WebSocketConnector,
};
use annals_aimdb::AimDbBuilderPersistExt;
use annals_core::{MemoryBackend, PersistenceBackend};
use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::{Error, Message};

use super::line::{self, Db};
use crate::fixture::WEEK;

type Fut<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Allows every subscription that `grants` allows; `history` says whether that includes history.
struct Gate {
    grants: &'static str,
    history: bool,
}

impl AuthHandler for Gate {
    fn authenticate<'a>(&'a self, _: &'a AuthRequest) -> Fut<'a, Result<Permissions, AuthError>> {
        let subscribe_patterns = vec![self.grants.to_owned()];
        Box::pin(async { Ok(Permissions { subscribe_patterns, write_patterns: Vec::new() }) })
    }

    fn authorize_query<'a>(&'a self, client: &'a ClientInfo, pattern: &'a str) -> Fut<'a, bool> {
        match self.history {
            true => self.authorize_subscribe(client, pattern),
            false => Box::pin(async { false }),
        }
    }
}

struct Server {
    url: String,
    _db: Db,
}

impl Server {
    async fn start(gate: Gate) -> Self {
        let backend = MemoryBackend::new();
        for (at, name) in ["accuracy.graz", "accuracy.vienna", "secret.graz"].iter().enumerate() {
            backend.store(name, &json!({"value": at}), at as u64 + 1).await.unwrap();
        }
        let address = free_address();
        let builder = line::builder()
            .with_persistence(Arc::new(backend), WEEK * 10_000)
            .with_connector(WebSocketConnector::new().bind(address).path("/ws").with_auth(gate));
        let db = line::start(builder).await;
        // The connector does not say when it listens.
        let listens = async {
            while TcpStream::connect(address).await.is_err() {
                tokio::task::yield_now().await;
            }
        };
        timeout(Duration::from_secs(60), listens).await.expect("it never listened");
        Self { url: format!("ws://{address}/ws"), _db: db }
    }

    /// The answer to one `record.query`.
    async fn query(&self, params: Value) -> Value {
        let url = format!("{}?{VERSION_PARAM}={PROTOCOL_VERSION}", self.url);
        let (mut socket, _) = connect_async(url).await.unwrap();
        let request = json!({"t": "req", "id": 1, "method": "record.query", "params": params});
        socket.send(Message::text(request.to_string())).await.unwrap();
        let answer = socket.next().await.unwrap().unwrap();
        serde_json::from_str(answer.to_text().unwrap()).unwrap()
    }
}

/// The connector takes an address, not a listener.
fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// The topics of an answer.
fn topics(answer: &Value) -> Vec<&str> {
    let records = answer["ok"]["records"].as_array().unwrap_or_else(|| panic!("{answer}"));
    records.iter().map(|record| record["topic"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_client_gets_the_history_of_what_it_may_read() {
    let server = Server::start(Gate { grants: "accuracy.*", history: true }).await;
    let everything = |name| json!({"name": name, "start": 0});
    let both = server.query(everything("accuracy.*")).await;
    assert_eq!(topics(&both), ["accuracy.graz", "accuracy.vienna"]);
    assert_eq!(topics(&server.query(everything("accuracy.graz")).await), ["accuracy.graz"]);

    for name in ["#", "*", "*.graz", "accuracy.#", "secret.graz", "accuracy::*", ""] {
        let answer = server.query(everything(name)).await;
        assert_eq!((&answer["err"], &answer["ok"]), (&json!("denied"), &Value::Null), "{name}");
    }
    let all = server.query(json!({})).await;
    assert_eq!(all["err"], "denied", "no name is every record");
}

/// What the connector takes for a name within the grant must not be a wildcard to annals.
#[tokio::test]
async fn wildcards_of_another_grammar_reach_nothing() {
    let server = Server::start(Gate { grants: "accuracy.*", history: true }).await;
    for name in ["accuracy.*a*", "accuracy.g*", "accuracy.?raz", "accuracy.[g]raz"] {
        let answer = server.query(json!({"name": name, "start": 0})).await;
        let rows = answer["ok"]["records"].as_array().map_or(0, Vec::len);
        assert_eq!(rows, 0, "{name}: {answer}");
    }
}

#[tokio::test]
async fn the_live_value_may_be_granted_without_the_history() {
    let server = Server::start(Gate { grants: "#", history: false }).await;
    let answer = server.query(json!({"name": "accuracy.graz", "limit": 1})).await;
    assert_eq!(answer["err"], "denied", "{answer}");
}

/// The connector refuses a client that does not name AimX's version in the URL.
#[tokio::test]
async fn a_client_names_the_version_in_the_url() {
    let server = Server::start(Gate { grants: "#", history: true }).await;
    match connect_async(&server.url).await {
        Err(Error::Http(refusal)) => assert_eq!(refusal.status(), 426),
        other => panic!("{other:?}"),
    }
    assert_eq!(topics(&server.query(json!({"name": "secret.graz"})).await), ["secret.graz"]);
}
