//! `GET /v1/follow`.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use annals_server::{Config, Ending};
use reqwest::Response;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;
use tokio::time::timeout;

use crate::running::{Running, problem};

/// The events of an answer.
struct Events {
    answer: Response,
    text: String,
}

/// An event by its fields.
type Event = BTreeMap<String, String>;

impl Events {
    async fn of(service: &Running, query: &str) -> Self {
        Self::from(service.get(&format!("/v1/follow?{query}")).send().await.unwrap())
    }

    fn from(answer: Response) -> Self {
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()["content-type"], "text/event-stream");
        Self { answer, text: String::new() }
    }

    /// The next block of lines; `None` at the end.
    async fn block(&mut self) -> Option<String> {
        loop {
            if let Some((block, rest)) = self.text.split_once("\n\n") {
                let (block, rest) = (block.to_owned(), rest.to_owned());
                self.text = rest;
                return Some(block);
            }
            let chunk = self.answer.chunk().await.unwrap()?;
            self.text += std::str::from_utf8(&chunk).unwrap();
        }
    }

    /// The next event that has these fields.
    async fn with(&mut self, field: &str) -> Event {
        loop {
            let block = self.block().await.unwrap();
            let fields = block.lines().filter_map(|line| line.split_once(": "));
            let event: Event =
                fields.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
            if event.contains_key(field) {
                return event;
            }
        }
    }

    /// The next row, and its id.
    async fn row(&mut self) -> (Value, String) {
        let event = self.with("data").await;
        assert!(!event.contains_key("event"), "{event:?}");
        (
            serde_json::from_str(&event["data"]).unwrap(),
            event.get("id").cloned().unwrap_or_default(),
        )
    }
}

fn row(record: &str, value: u64) -> String {
    format!("{{\"record\":\"{record}\",\"value\":{value},\"stored_at\":{value}}}")
}

fn is(record: &str, value: u64) -> Value {
    serde_json::from_str(&row(record, value)).unwrap()
}

#[tokio::test]
async fn rows_come_as_they_are_stored_and_an_id_goes_on() {
    let service = Running::new().await;
    service.store(&format!("[{},{}]", row("a", 1), row("a", 2))).await;
    let mut now = Events::of(&service, "pattern=*").await;
    // The place is known before there is a row.
    let begin = now.with("id").await["id"].clone();
    let mut all = Events::of(&service, "pattern=*&from=0").await;
    let mut latest = Events::of(&service, "pattern=*&latest=1").await;
    assert_eq!(all.row().await.0, is("a", 1));
    let (second, id) = all.row().await;
    assert_eq!((second, latest.row().await.0), (is("a", 2), is("a", 2)));
    // A late one too, and one with line breaks in it.
    service.store(&row("b", 0)).await;
    for events in [&mut now, &mut all, &mut latest] {
        assert_eq!(events.row().await.0, is("b", 0));
    }
    service.store("{\"record\":\"b\",\"value\":{\n\"x\":\r\n[1,\n2]},\"stored_at\":3}").await;
    let (third, _) = all.row().await;
    assert_eq!(third["value"], json!({ "x": [1, 2] }));
    let rest = [is("b", 0), third];
    for (query, last) in [
        (format!("pattern=*&cursor={id}"), None),
        // The client repeats its parameters.
        ("pattern=*&from=0".to_owned(), Some(&id)),
        ("pattern=*".to_owned(), Some(&begin)),
    ] {
        let request = service.get(&format!("/v1/follow?{query}"));
        let request = match last {
            Some(id) => request.header("last-event-id", id),
            None => request,
        };
        let mut again = Events::from(request.send().await.unwrap());
        assert_eq!([again.row().await.0, again.row().await.0], rest, "{query}");
    }
    drop((now, all, latest));
    service.end().await;
}

#[tokio::test]
async fn a_wrong_request_is_a_problem() {
    let service = Running::new().await;
    for query in
        ["", "pattern=", "pattern=*&from=1&latest=1", "pattern=*&cursor=a%20b", "pattern=*&to=3"]
    {
        let answer = service.get(&format!("/v1/follow?{query}")).send().await.unwrap();
        assert_eq!(problem(answer).await.0, 400, "{query}");
    }
    let answer = service.get("/v1/follow?pattern=*").header("last-event-id", "a b");
    assert_eq!(problem(answer.send().await.unwrap()).await.0, 400);
    service.end().await;
}

/// `EventSource` must not ask for ever for a place that never comes back.
#[tokio::test]
async fn a_place_that_the_store_does_not_know_is_gone() {
    let service = Running::new().await;
    let gone = async |query: &str, last: Option<&str>| {
        let request = service.get(&format!("/v1/follow?{query}"));
        let request = match last {
            Some(last) => request.header("last-event-id", last),
            None => request,
        };
        let (status, problem) = problem(request.send().await.unwrap()).await;
        assert_eq!(status, 410, "{query}");
        assert!(problem["detail"].as_str().unwrap().contains("from a time"), "{problem}");
    };
    gone("pattern=*&cursor=another-1-2", None).await;
    gone("pattern=*", Some("another-1-2")).await;
    // It was good until now.
    let mut events = Events::of(&service, "pattern=*").await;
    let id = events.with("id").await["id"].clone();
    service.backend.forgets.store(true, Ordering::SeqCst);
    gone("pattern=*", Some(&id)).await;
    gone(&format!("pattern=*&cursor={id}"), None).await;
    // An answer that goes on with a page says so in its last event.
    let mut events = Events::of(&service, "pattern=*&from=0").await;
    let last = events.with("event").await;
    assert_eq!(last["event"], "error");
    let problem: Value = serde_json::from_str(&last["data"]).unwrap();
    assert_eq!(problem["status"], 410);
    assert_eq!(events.block().await, None);
    service.end().await;
}

#[tokio::test]
async fn followers_have_room_of_their_own_and_give_it_back() {
    let config = Config::default()
        .with_max_followers(2)
        .with_max_streams(1)
        .with_heartbeat(Duration::from_millis(10));
    let service = Running::with(config).await;
    let mut first = Events::of(&service, "pattern=*").await;
    let second = Events::of(&service, "pattern=*").await;
    let refused = service.get("/v1/follow?pattern=*").send().await.unwrap();
    assert_eq!(problem(refused).await.0, 503);
    service.store(&row("a", 1)).await;
    assert_eq!(service.lines("pattern=*").await.len(), 1);
    assert_eq!(first.row().await.0, is("a", 1));
    // A comment now and then.
    while first.block().await.unwrap() != ":" {}
    drop(second);
    while service.figure("annals_followers_open").await != "1" {}
    drop(Events::of(&service, "pattern=*").await);
    drop(first);
    service.end().await;
}

#[tokio::test]
async fn a_shutdown_sends_followers_elsewhere() {
    let mut service = Running::new().await;
    service.store(&row("a", 1)).await;
    let mut events = Events::of(&service, "pattern=*&from=0").await;
    assert_eq!(events.row().await.0, is("a", 1));
    service.signal();
    let last = events.with("data").await;
    assert_eq!(last["event"], "end");
    assert!(last["data"].contains("shutting down"), "{last:?}");
    assert_eq!(events.block().await, None);
    assert_eq!(service.end().await, Ending::AllStored);
}

/// It would hold a page in memory for as long as it likes.
#[tokio::test]
async fn a_follower_that_does_not_read_ends_with_an_error() {
    let config = Config::default().with_stall_timeout(Duration::from_secs(10));
    let service = Running::with(config).await;
    let long = "x".repeat(60_000);
    for batch in 0..4 {
        let rows: Vec<String> = (0..100)
            .map(|at| {
                let at = batch * 100 + at;
                format!("{{\"record\":\"a\",\"value\":\"{long}\",\"stored_at\":{at}}}")
            })
            .collect();
        service.store(&format!("[{}]", rows.join(","))).await;
    }
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4_096).unwrap();
    let mut slow = socket.connect(service.address().parse().unwrap()).await.unwrap();
    let head = "GET /v1/follow?pattern=*&from=0 HTTP/1.1\r\nhost: localhost\r\n\r\n";
    slow.write_all(head.as_bytes()).await.unwrap();
    let refused = async { while service.refusals("stalled_reader").await == 0 {} };
    timeout(Duration::from_secs(60), refused).await.unwrap();
    assert_eq!(service.figure("annals_followers_open").await, "0");
    let mut rest: Vec<u8> = Vec::new();
    let mut buffer = vec![0; 1 << 16];
    while !rest.windows(12).any(|bytes| bytes == b"event: error") {
        let read = slow.read(&mut buffer).await.unwrap();
        assert_ne!(read, 0, "it ends without an error");
        // An event may be in two pieces.
        let kept = rest.len().saturating_sub(12);
        rest.drain(..kept);
        rest.extend(&buffer[..read]);
    }
    service.end().await;
}

/// An `EventSource` gives up then, instead of passing over rows.
#[tokio::test]
async fn a_cursor_of_another_history_is_gone() {
    let (service, other) = (Running::new().await, Running::new().await);
    for service in [&service, &other] {
        service.store(&row("a", 1)).await;
        service.store(&row("a", 2)).await;
    }
    let mut events = Events::of(&service, "pattern=*&from=0").await;
    let (_, id) = events.row().await;
    drop(events);
    let path = "/v1/follow?pattern=*";
    let by_header = other.get(path).header("last-event-id", &id).send().await.unwrap();
    let by_cursor = other.get(&format!("{path}&cursor={id}")).send().await.unwrap();
    for answer in [by_header, by_cursor] {
        let (status, body) = problem(answer).await;
        assert_eq!(status, 410);
        assert!(body["detail"].as_str().unwrap().contains("follow from a time instead"), "{body}");
    }
    let mut events = Events::of(&service, &format!("pattern=*&cursor={id}")).await;
    assert_eq!(events.row().await.0["stored_at"], 2);
    drop(events);
    service.end().await;
    other.end().await;
}
