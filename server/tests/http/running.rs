//! A server in the process of the test.

use std::sync::Arc;
use std::time::Duration;

use annals_server::{Config, Ending, Server, Tls, serve};
use reqwest::{Client, RequestBuilder, Response, StatusCode};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::backend::Controlled;

pub struct Running {
    pub backend: Arc<Controlled>,
    pub base: String,
    pub client: Client,
    stop: Option<oneshot::Sender<()>>,
    ending: JoinHandle<Ending>,
}

impl Running {
    pub async fn new() -> Self {
        Self::with(Config::default()).await
    }

    pub async fn with(config: Config) -> Self {
        // The times of most tests are small numbers.
        Self::start(config.with_earliest(0), None, Arc::new(Controlled::default())).await
    }

    /// Starts a server in front of `backend`.
    pub async fn start(config: Config, tls: Option<Tls>, backend: Arc<Controlled>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let scheme = if tls.is_some() { "https" } else { "http" };
        let base = format!("{scheme}://{}", listener.local_addr().unwrap());
        let (stop, stopped) = oneshot::channel();
        let server = Server::new(backend.clone(), config).unwrap();
        let ending = tokio::spawn(async move {
            let stopped = async {
                stopped.await.unwrap();
            };
            serve(listener, server, tls, stopped).await.unwrap()
        });
        Self { backend, base, client: Client::new(), stop: Some(stop), ending }
    }

    pub fn address(&self) -> &str {
        self.base.split_once("://").unwrap().1
    }

    pub fn get(&self, path: &str) -> RequestBuilder {
        self.client.get(format!("{}{path}", self.base))
    }

    pub fn delete(&self, query: &str) -> RequestBuilder {
        self.client.delete(format!("{}/v1/history?{query}", self.base))
    }

    pub fn post(&self, body: impl Into<String>) -> RequestBuilder {
        self.client
            .post(format!("{}/v1/rows", self.base))
            .header("content-type", "application/json")
            .body(body.into())
    }

    /// Stores rows, which must succeed.
    pub async fn store(&self, body: &str) {
        let answer = self.post(body).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK, "{}", answer.text().await.unwrap());
    }

    /// The lines of a query, which must succeed.
    pub async fn lines(&self, query: &str) -> Vec<String> {
        let answer = self.get(&format!("/v1/history?{query}")).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        assert_eq!(answer.headers()["content-type"], "application/x-ndjson");
        answer.text().await.unwrap().lines().map(str::to_owned).collect()
    }

    /// One value of `/metrics`.
    pub async fn figure(&self, name: &str) -> String {
        let text = self.get("/metrics").send().await.unwrap().text().await.unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
        line.unwrap_or_else(|| panic!("{name} is not in {text}")).to_owned()
    }

    /// Waits until one value of `/metrics` is this.
    pub async fn until(&self, name: &str, value: &str) {
        let reached = async { while self.figure(name).await != value {} };
        assert!(timeout(Duration::from_secs(60), reached).await.is_ok(), "{name} is not {value}");
    }

    /// How many requests or connections were refused for a reason.
    pub async fn refusals(&self, reason: &str) -> u64 {
        let text = self.get("/metrics").send().await.unwrap().text().await.unwrap();
        let name = format!("annals_refusals_total{{reason=\"{reason}\"}} ");
        let line = text.lines().find_map(|line| line.strip_prefix(&name));
        line.map_or(0, |count| count.parse().unwrap())
    }

    pub fn signal(&mut self) {
        self.stop.take().unwrap().send(()).unwrap();
    }

    pub async fn end(mut self) -> Ending {
        if self.stop.is_some() {
            self.signal();
        }
        self.ending.await.unwrap()
    }
}

/// The status and the members of a problem, after a check of its form.
pub async fn problem(answer: Response) -> (u16, Value) {
    let status = answer.status().as_u16();
    assert_eq!(answer.headers()["content-type"], "application/problem+json");
    let body: Value = answer.json().await.unwrap();
    assert_eq!(body["status"], status);
    assert!(body["title"].is_string() && body["detail"].is_string(), "{body}");
    (status, body)
}
