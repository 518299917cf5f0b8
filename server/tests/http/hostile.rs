//! Clients that take more than they need: each gets no more than its share, and is counted.

use std::time::Duration;

use annals_server::Config;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use crate::running::{Running, problem};

const ROW: &str = r#"{"record":"a","value":1,"stored_at":1}"#;

/// A server with an answer of 22 MB, more than the buffers between it and a client hold.
async fn with_much(config: Config) -> Running {
    let service = Running::with(config).await;
    let text = "x".repeat(100);
    let row = |n: u64| format!(r#"{{"record":"a","value":"{text}","stored_at":{n}}}"#);
    for part in 0..4 {
        let rows: Vec<String> = (0..50_000).map(|n| row(part * 50_000 + n)).collect();
        service.store(&format!("[{}]", rows.join(","))).await;
    }
    service
}

async fn send(service: &Running, text: &str) -> TcpStream {
    let mut stream = TcpStream::connect(service.address()).await.unwrap();
    stream.write_all(text.replace('\n', "\r\n").as_bytes()).await.unwrap();
    stream
}

async fn rest(mut stream: TcpStream) -> String {
    let mut bytes = Vec::new();
    let read = timeout(Duration::from_secs(60), stream.read_to_end(&mut bytes)).await;
    // A reset is an end, too.
    drop(read.unwrap());
    String::from_utf8_lossy(&bytes).into_owned()
}

const HISTORY: &str = "GET /v1/history?pattern=a HTTP/1.1\nhost: localhost\n\n";

/// Sixty clients held 425 MB for ever.
#[tokio::test]
async fn clients_that_never_read_hold_nothing_for_long() {
    let config = Config::default().with_stall_timeout(Duration::from_millis(500));
    let service = with_much(config).await;
    let mut stalled = Vec::new();
    for _ in 0..30 {
        stalled.push(send(&service, HISTORY).await);
    }
    // Short questions are answered meanwhile.
    assert_eq!(service.get("/v1/records").send().await.unwrap().status(), 200);
    while service.refusals("stalled_connection").await == 0 {}
    service.until("annals_connections", "1").await;
    assert_eq!(service.figure("annals_streams_open").await, "0");
    for stream in stalled {
        assert!(!rest(stream).await.ends_with("0\r\n\r\n"));
    }
    service.end().await;
}

/// Seven readers that did not read stopped all others.
#[tokio::test]
async fn the_oldest_stalled_reader_goes_when_others_wait() {
    let config = Config::default().with_max_streams(2).with_stall_timeout(Duration::from_secs(6));
    let service = with_much(config).await;
    let stalled = [send(&service, HISTORY).await, send(&service, HISTORY).await];
    service.until("annals_streams_open", "2").await;
    for _ in 0..2 {
        let answer = service.get("/v1/history?pattern=a&limit=1").send().await.unwrap();
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.text().await.unwrap().lines().count(), 1);
    }
    assert!(service.refusals("stalled_reader_sent_away").await >= 1);
    drop(stalled);
    service.end().await;
}

/// A reader at 300 kB/s was cut off, since it did not take a whole piece in time.
#[tokio::test]
async fn a_slow_reader_gets_everything() {
    let config = Config::default().with_stall_timeout(Duration::from_millis(500));
    let service = with_much(config).await;
    let request = "GET /v1/history?pattern=a&limit=40000 HTTP/1.1\nhost: localhost\n\
                   connection: close\n\n";
    let mut stream = send(&service, request).await;
    let (mut piece, mut bytes) = (vec![0; 64 << 10], Vec::new());
    let begun = Instant::now();
    loop {
        sleep(Duration::from_millis(30)).await;
        let read = stream.read(&mut piece).await.unwrap();
        if read == 0 {
            break;
        }
        bytes.extend_from_slice(&piece[..read]);
    }
    assert!(begun.elapsed() > Duration::from_millis(1_500), "{:?}", begun.elapsed());
    assert!(bytes.ends_with(b"0\r\n\r\n") && bytes.len() > 4_000_000, "{}", bytes.len());
    service.end().await;
}

/// Sixty-four sockets that announced a body took all permits to write.
#[tokio::test]
async fn what_is_announced_takes_no_room() {
    let config = Config::default().with_request_timeout(Duration::from_secs(2)).with_max_writes(2);
    let mut service = Running::with(config).await;
    // The server closes a kept connection after the same time as the silent ones.
    service.client = reqwest::Client::builder().pool_max_idle_per_host(0).build().unwrap();
    let head = "POST /v1/rows HTTP/1.1\nhost: localhost\ncontent-type: application/json\n\
                content-length: 8000000\n\n";
    let mut silent = Vec::new();
    for _ in 0..64 {
        silent.push(send(&service, head).await);
    }
    service.store(ROW).await;
    assert_eq!(service.figure("annals_body_bytes").await, "0");
    for stream in silent {
        let answer = rest(stream).await;
        assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    }
    assert_eq!(service.refusals("slow_body").await, 64);
    service.end().await;
}

#[tokio::test]
async fn a_body_may_take_long_if_it_arrives() {
    let config =
        Config::default().with_request_timeout(Duration::from_millis(300)).with_min_rate(10);
    let service = Running::with(config).await;
    let head = |length: usize| {
        format!(
            "POST /v1/rows HTTP/1.1\nhost: localhost\ncontent-type: application/json\n\
             connection: close\ncontent-length: {length}\n\n"
        )
    };
    // 200 bytes per second.
    let mut slow = send(&service, &head(ROW.len() + 200)).await;
    let padded = format!("{}{ROW}", " ".repeat(200));
    for piece in padded.as_bytes().chunks(10) {
        sleep(Duration::from_millis(50)).await;
        slow.write_all(piece).await.unwrap();
    }
    assert!(rest(slow).await.starts_with("HTTP/1.1 200"));
    // Half of the least rate.
    let mut drop_by_drop = send(&service, &head(1_000)).await;
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(30) {
        sleep(Duration::from_millis(200)).await;
        if drop_by_drop.write_all(b" ").await.is_err() {
            break;
        }
    }
    assert!(begun.elapsed() < Duration::from_secs(30), "it is still read");
    assert_eq!(service.refusals("slow_body").await, 1);
    service.end().await;
}

#[tokio::test]
async fn a_length_above_the_limit_is_refused_before_the_body_is_sent() {
    let service = Running::new().await;
    let head = "POST /v1/rows HTTP/1.1\nhost: localhost\ncontent-type: application/json\n\
                content-length: 8388609\n\n";
    let answer = rest(send(&service, head).await).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    assert_eq!(service.refusals("body_too_large").await, 1);
    service.end().await;
}

/// Bodies that are held back are refused when the memory for them is taken, and give it back.
#[tokio::test]
async fn bodies_take_no_more_memory_than_there_is() {
    let config = Config::default().with_memory(400_000).with_body_limit(60_000);
    let service = Running::with(config).await;
    let head = "POST /v1/rows HTTP/1.1\nhost: localhost\ncontent-type: application/json\n\
                content-length: 60000\n\n";
    let mut held = Vec::new();
    for _ in 0..8 {
        let mut stream = send(&service, head).await;
        stream.write_all(&[b' '; 40_000]).await.unwrap();
        held.push(stream);
    }
    while service.refusals("memory").await < 7 {}
    service.until("annals_body_bytes", "40000").await;
    drop(held);
    service.until("annals_body_bytes", "0").await;
    service.store(ROW).await;
    service.end().await;
}

#[tokio::test]
async fn so_many_connections_and_no_more() {
    let config =
        Config::default().with_max_connections(20).with_request_timeout(Duration::from_secs(5));
    let service = Running::with(config).await;
    // The client keeps this connection.
    assert_eq!(service.figure("annals_connections").await, "1");
    let mut idle = Vec::new();
    for _ in 0..19 {
        idle.push(TcpStream::connect(service.address()).await.unwrap());
    }
    service.until("annals_connections", "20").await;
    let mut refused = 0;
    for _ in 0..100 {
        let answer = rest(TcpStream::connect(service.address()).await.unwrap()).await;
        refused += u64::from(answer.is_empty() || answer.starts_with("HTTP/1.1 503"));
    }
    assert_eq!(refused, 100);
    assert_eq!(service.refusals("connections").await, 100);
    for stream in idle {
        rest(stream).await;
    }
    service.until("annals_connections", "1").await;
    service.end().await;
}

/// A page under a name that resolves to this machine must not reach it.
#[tokio::test]
async fn a_foreign_host_is_refused() {
    let service = Running::new().await;
    for (host, expected) in [
        ("localhost", 200),
        ("localhost:8086", 200),
        ("127.0.0.1:9", 200),
        ("[::1]:80", 200),
        ("evil.example", 403),
        ("localhost.evil.example:8086", 403),
        ("192.0.2.1", 403),
        ("a b", 403),
    ] {
        let answer = service.get("/v1/records").header("host", host).send().await.unwrap();
        assert_eq!(answer.status(), expected, "{host}");
        if expected == 403 {
            let (_, problem) = problem(answer).await;
            assert!(problem["detail"].as_str().unwrap().contains("Host"), "{problem}");
        }
    }
    assert_eq!(service.refusals("foreign_host").await, 4);
    service.end().await;
}

#[tokio::test]
async fn only_this_machine_is_served_without_tokens() {
    use std::sync::Arc;

    use annals_core::{MemoryBackend, PersistenceError};
    use annals_server::{Access, Server, serve};

    let listen = || tokio::net::TcpListener::bind("0.0.0.0:0");
    let server = |config| Server::new(Arc::new(MemoryBackend::new()), config).unwrap();
    let refused = serve(listen().await.unwrap(), server(Config::default()), None, async {}).await;
    assert!(matches!(refused, Err(PersistenceError::NotConfigured(_))), "{refused:?}");
    let open = Config::default().with_access(Access::Open);
    serve(listen().await.unwrap(), server(open), None, async {}).await.unwrap();
}
