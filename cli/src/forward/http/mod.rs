//! A history behind `annals serve`, as the destination of a forwarder.
//!
//! Enters: batches with ids. Leaves: requests with the same ids. The server refuses a number that is
//! taken by other rows; for a forwarder that means that they were stored before they were erased or
//! corrected in the source, as a store of its own would answer.

mod answer;

use std::fmt;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use annals::{
    BackendError, Batch, BatchId, ErrorKind, Guarantees, Outcome, PersistenceBackend,
    PersistenceError, QueryParams, Result, Row, StoredValue, Value, async_trait,
};
use flate2::Compression;
use flate2::write::GzEncoder;
use reqwest_rustls::header::{CONTENT_ENCODING, CONTENT_TYPE};
use reqwest_rustls::redirect::Policy;
use reqwest_rustls::{Client, RequestBuilder, Response, StatusCode, Url};
use serde::Serialize;
use serde_json::value::RawValue;
use tokio::time::{Instant, sleep_until};

use crate::failure::Failure;
use answer::{Acknowledged, Known};

const ENGINE: &str = "http";
/// For the name of the server, the connection and TLS.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// For a request that makes no progress.
const READ_TIMEOUT: Duration = Duration::from_secs(60);
/// For a whole request, over a line of some kilobytes per second.
const TIMEOUT: Duration = Duration::from_secs(15 * 60);
/// Where the token comes from.
#[derive(Clone)]
pub(super) enum Token {
    None,
    Given(String),
    /// Read for each request, so that it can be replaced.
    File(PathBuf),
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}

/// A history that takes batches over HTTP.
#[derive(Debug, Clone)]
pub(super) struct HttpHistory {
    client: Client,
    base: Url,
    token: Token,
    /// The server asked to be left alone until then.
    not_before: Arc<Mutex<Instant>>,
}

/// The operation that changes nothing.
const HAS_BATCH: &str = "has_batch";

/// The token in a file.
pub(super) fn read_token(path: &Path) -> io::Result<String> {
    let content = fs::read_to_string(path)?;
    match content.split_whitespace().collect::<Vec<_>>()[..] {
        [token] => Ok(token.to_owned()),
        _ => Err(io::Error::other("it has to hold one token and nothing else")),
    }
}

/// Whether a URL names a server.
pub(super) fn is_http(url: &str) -> bool {
    url.starts_with("http://") || url.starts_with("https://")
}

impl HttpHistory {
    /// The history behind the server at `url`, such as `https://db.example` or, behind a proxy,
    /// `https://db.example/annals`. Nothing is connected yet.
    pub(super) fn new(url: &str, token: Token) -> Result<Self, Failure> {
        let unusable = |why: &str| Failure::Usage(format!("--to {}: {why}", without_user(url)));
        let mut base: Url = url.parse().map_err(|_| unusable("it is no URL"))?;
        if !base.username().is_empty() || base.password().is_some() {
            return Err(unusable("give the token with --token-file, not in the URL"));
        }
        if base.query().is_some() || base.fragment().is_some() {
            return Err(unusable("write only the scheme, the host and the path of the server"));
        }
        let path = format!("{}/", base.path().trim_end_matches('/'));
        base.set_path(&path);
        // The certificates are the system's, or those that `SSL_CERT_FILE` names.
        let client = Client::builder()
            // To another place the token must not go.
            .redirect(Policy::none())
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(READ_TIMEOUT)
            .timeout(TIMEOUT)
            .user_agent(concat!("annals/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| unusable(&error.to_string()))?;
        let not_before = Arc::new(Mutex::new(Instant::now()));
        Ok(Self { client, base, token, not_before })
    }

    /// Whether a token would travel in the clear to another machine.
    pub(super) fn shows_the_token(&self) -> bool {
        let is_local = self.base.host_str().is_some_and(|host| {
            let host = host.trim_matches(['[', ']']);
            host == "localhost"
                || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
        });
        self.base.scheme() == "http" && !is_local && !matches!(self.token, Token::None)
    }

    fn url(&self, path: &str) -> Result<Url> {
        let url = self.base.join(path);
        url.map_err(|error| self.error("connect", ErrorKind::Config, error.to_string()).into())
    }

    fn error(&self, operation: &'static str, kind: ErrorKind, message: String) -> BackendError {
        BackendError::new(ENGINE, operation, kind, format!("{}: {message}", self.base))
    }

    /// Sends a request about a batch. The server's wish to be left alone is respected before.
    async fn send(
        &self,
        operation: &'static str,
        request: RequestBuilder,
        id: BatchId,
    ) -> Result<Response> {
        let not_before = *self.not_before.lock().unwrap_or_else(PoisonError::into_inner);
        sleep_until(not_before).await;
        let token = match &self.token {
            Token::None => None,
            Token::Given(token) => Some(token.clone()),
            Token::File(path) => {
                let read = read_token(path).map_err(|error| {
                    let message = format!("the token in {}: {error}", path.display());
                    // It may be about to be replaced.
                    self.error(operation, ErrorKind::Busy, message)
                })?;
                Some(read)
            }
        };
        let request = request
            .header("annals-writer", format!("{:032x}", id.writer))
            .header("annals-batch", id.number);
        let request = match &token {
            Some(token) => request.bearer_auth(token),
            None => request,
        };
        request.send().await.map_err(|error| {
            let kind = if error.is_timeout() { ErrorKind::Timeout } else { ErrorKind::Connection };
            // The URL is part of the message already.
            let message = with_causes(&error.without_url());
            let outcome = match operation {
                HAS_BATCH => Outcome::NotApplied,
                _ => Outcome::Unknown,
            };
            self.error(operation, kind, message).with_outcome(outcome).into()
        })
    }
}

fn without_user(url: &str) -> String {
    match url.split_once("://") {
        Some((scheme, rest)) => {
            format!("{scheme}://{}", rest.rsplit_once('@').map_or(rest, |(_, host)| host))
        }
        None => url.to_owned(),
    }
}

fn with_causes(error: &dyn std::error::Error) -> String {
    let mut message = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        message += &format!(": {error}");
        cause = error.source();
    }
    message
}

/// The body of a request, in JSON and compressed row by row.
fn body(rows: &[Row]) -> std::io::Result<Vec<u8>> {
    #[derive(Serialize)]
    struct Sent<'a> {
        record: &'a str,
        value: &'a RawValue,
        stored_at: u64,
    }
    let mut body = GzEncoder::new(Vec::new(), Compression::fast());
    for (index, row) in rows.iter().enumerate() {
        body.write_all(if index == 0 { b"[" } else { b",\n" })?;
        // The text as it is in the source: numbers keep all of their digits.
        let value: &RawValue = serde_json::from_str(row.value.as_str())?;
        let (record, stored_at) = (row.record.as_str(), row.stored_at);
        serde_json::to_writer(&mut body, &Sent { record, value, stored_at })?;
    }
    body.write_all(b"]")?;
    body.finish()
}

/// The names and values of a request. With what is around each row it stays below what a server takes.
pub(super) const BATCH_BYTES: usize = 4 << 20;

#[async_trait]
impl PersistenceBackend for HttpHistory {
    async fn store(&self, _: &str, _: &Value, _: u64) -> Result<()> {
        Err(PersistenceError::Unsupported("storing single rows over HTTP"))
    }

    async fn query(&self, _: &str, _: QueryParams) -> Result<Vec<StoredValue>> {
        Err(PersistenceError::Unsupported("querying over HTTP"))
    }

    async fn cleanup(&self, _: u64) -> Result<u64> {
        Err(PersistenceError::Unsupported("cleaning up over HTTP"))
    }

    async fn store_batch(&self, batch: &Batch) -> Result<()> {
        const OPERATION: &str = "store_batch";
        let Some(id) = batch.id() else {
            return Err(PersistenceError::Unsupported("storing batches without an id over HTTP"));
        };
        let body = body(batch.rows())
            .map_err(|error| self.error(OPERATION, ErrorKind::Config, error.to_string()))?;
        let request = self
            .client
            .post(self.url("v1/rows")?)
            .header(CONTENT_TYPE, "application/json")
            .header(CONTENT_ENCODING, "gzip")
            .body(body);
        let response = self.send(OPERATION, request, id).await?;
        match response.status() {
            StatusCode::OK => {
                // A proxy or the login page of a network may answer as well: only the number of rows
                // says that it was the server.
                let rows = Some(batch.rows().len() as u64);
                match response.json::<Acknowledged>().await {
                    Ok(answer) if [answer.stored, answer.already_stored].contains(&rows) => Ok(()),
                    _ => Err(self.of_a_stranger(OPERATION)),
                }
            }
            status if status.is_success() => Err(self.of_a_stranger(OPERATION)),
            StatusCode::CONFLICT if self.has_batch(id).await? => Ok(()),
            _ => Err(self.refused(OPERATION, response).await),
        }
    }

    async fn has_batch(&self, id: BatchId) -> Result<bool> {
        let request = self.client.get(self.url("v1/batch")?);
        let response = self.send(HAS_BATCH, request, id).await?;
        match response.status() {
            StatusCode::OK => {
                let known = response.json::<Known>().await.map_err(|error| {
                    let message = with_causes(&error.without_url());
                    self.error(HAS_BATCH, ErrorKind::Connection, message)
                })?;
                Ok(known.stored)
            }
            // An earlier release.
            status if status.is_success() => Err(self.of_a_stranger(HAS_BATCH)),
            StatusCode::NOT_FOUND => {
                Err(PersistenceError::Unsupported("telling whether a batch is stored"))
            }
            _ => Err(self.refused(HAS_BATCH, response).await),
        }
    }

    fn guarantees(&self) -> Guarantees {
        Guarantees::default().with_atomic_batches(true).with_idempotent_batches(true)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Read};
    use std::net::TcpListener;

    use super::*;

    /// A login page said 200, the rows were taken for stored, and retention removed them in the source.
    #[tokio::test]
    async fn only_an_answer_about_these_rows_counts_as_stored() {
        let rows = vec![Row::new("a", &Value::from(1), 1).unwrap(); 3];
        for (body, is_stored) in [
            (r#"{"stored":3}"#, true),
            (r#"{"already_stored":3}"#, true),
            (r#"{"stored":0}"#, false),
            (r#"{"stored":4}"#, false),
            (r#"{"accepted":3}"#, false),
            ("<html>Log in</html>", false),
            ("", false),
        ] {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let url = format!("http://{}", listener.local_addr().unwrap());
            let answering = std::thread::spawn(move || {
                let (mut client, _) = listener.accept().unwrap();
                let mut request = BufReader::new(client.try_clone().unwrap());
                let (mut length, mut line) = (0, String::new());
                while request.read_line(&mut line).unwrap() > 2 {
                    if let Some(text) = line.to_lowercase().strip_prefix("content-length:") {
                        length = text.trim().parse().unwrap();
                    }
                    line.clear();
                }
                request.read_exact(&mut vec![0; length]).unwrap();
                let length = body.len();
                write!(client, "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{body}")
                    .unwrap();
            });
            let history = HttpHistory::new(&url, Token::None).unwrap();
            let batch = Batch::new(rows.clone()).with_id(BatchId { writer: 1, number: 1 });
            let stored = history.store_batch(&batch).await;
            answering.join().unwrap();
            match stored {
                Ok(()) => assert!(is_stored, "{body}"),
                Err(error) => {
                    assert!(!is_stored && error.outcome() == Outcome::Unknown, "{body}: {error}");
                    assert!(error.is_retryable() && error.to_string().contains("login"), "{error}");
                }
            }
        }
    }
}
