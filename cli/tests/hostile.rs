//! A running `annals serve` under attack: its memory and its file descriptors stay bounded.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tempfile::TempDir;

struct Server {
    child: Child,
    address: String,
    /// Reads the log; the lines about panics.
    log: Option<JoinHandle<Vec<String>>>,
    _folder: TempDir,
}

impl Server {
    fn start(options: &[&str]) -> Self {
        allow_descriptors();
        let folder = tempfile::tempdir().unwrap();
        let mut program = Command::new(env!("CARGO_BIN_EXE_annals"));
        program.arg("--backend").arg(format!("sqlite:{}/h.db", folder.path().display()));
        program.args(["serve", "--listen", "127.0.0.1:0"]).args(options);
        let mut child = program.stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let first = lines.next().unwrap().unwrap();
        let address = first.split_once("http://").unwrap().1.to_owned();
        let log = thread::spawn(move || {
            let lines = lines.map_while(Result::ok);
            lines.filter(|line| line.contains("panicked")).collect()
        });
        Self { child, address, log: Some(log), _folder: folder }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(120))).unwrap();
        stream
    }

    fn get(&self, path: &str) -> String {
        let mut stream = self.connect();
        let request =
            format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    fn file(&self, name: &str) -> String {
        format!("/proc/{}/{name}", self.child.id())
    }

    /// A line of /proc/PID/status, in KiB.
    fn memory(&self, line: &str) -> u64 {
        let status = fs::read_to_string(self.file("status")).unwrap();
        let line = status.lines().find_map(|text| text.strip_prefix(line)).unwrap();
        line.trim_start_matches(':').trim().trim_end_matches(" kB").parse().unwrap()
    }

    fn descriptors(&self) -> usize {
        fs::read_dir(self.file("fd")).unwrap().count()
    }
}

/// Raises the limit of open files of this process and of those that it starts.
fn allow_descriptors() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    let wanted = limit.maximum.map_or(8_192, |most| most.min(8_192));
    if limit.current.is_some_and(|current| current < wanted) {
        limit.current = Some(wanted);
        setrlimit(Resource::Nofile, limit).unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let panics = self.log.take().unwrap().join().unwrap();
        if !thread::panicking() {
            assert_eq!(panics, Vec::<String>::new());
        }
    }
}

/// Bodies of 100,000 names each took 788 MB together.
#[test]
fn bodies_of_many_rows_take_no_more_memory_than_is_set() {
    const MEMORY_MIB: u64 = 48;
    let server =
        Server::start(&["--memory", "48", "--request-timeout", "60s", "--grace-period", "90s"]);
    let before = server.memory("VmRSS");
    let clients = (0..24).map(|client| {
        let mut stream = server.connect();
        thread::spawn(move || {
            let rows: Vec<String> = (0..30_000)
                .map(|row| format!(r#"{{"record":"r{}","value":{row}}}"#, (client * 7 + row) % 500))
                .collect();
            let body = format!("[{}]", rows.join(","));
            let head = format!(
                "POST /v1/rows HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
                 connection: close\r\ncontent-length: {}\r\n\r\n",
                body.len()
            );
            let sent =
                stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body.as_bytes()));
            let mut answer = String::new();
            // A refused body is not read to its end, which resets the connection.
            let read = stream.read_to_string(&mut answer);
            match sent.and(read) {
                Ok(_) => answer.get(9..12).unwrap_or_default().to_owned(),
                Err(_) => "503".to_owned(),
            }
        })
    });
    let clients: Vec<_> = clients.collect();
    let answers: Vec<String> = clients.into_iter().map(|client| client.join().unwrap()).collect();
    assert!(answers.iter().all(|status| status == "200" || status == "503"), "{answers:?}");
    let stored = answers.iter().filter(|status| *status == "200").count();
    assert!(stored > 0, "{answers:?}");
    let grown = (server.memory("VmHWM") - before) / 1024;
    // What the engine takes for its own: its head, its caches and its own queue.
    const ENGINE_MIB: u64 = 100;
    assert!(grown < MEMORY_MIB + ENGINE_MIB, "{grown} MiB for {stored} of {}", answers.len());
    assert!(server.get("/metrics").contains("annals_body_bytes 0"));
}

#[test]
fn two_thousand_idle_connections_leave_nothing() {
    let options = ["--max-connections", "200", "--request-timeout", "3s", "--grace-period", "5s"];
    let server = Server::start(&options);
    assert!(server.get("/livez").contains("alive"));
    let before = server.memory("VmRSS");
    wave_of_idle_connections(&server);
    let first = server.memory("VmRSS");
    // 200 connections at a time, each with its task.
    assert!(first.saturating_sub(before) < 100 << 10, "{before} KiB grew to {first}");
    wave_of_idle_connections(&server);
    let second = server.memory("VmRSS");
    assert!(second.saturating_sub(first) < 20 << 10, "{first} KiB grew to {second}");
}

/// Opens 2,000 connections and waits until the server has closed all of them.
fn wave_of_idle_connections(server: &Server) {
    let before = server.descriptors();
    let mut most = 0;
    let mut idle = Vec::new();
    for number in 0..2_000 {
        if number % 100 == 0 {
            most = most.max(server.descriptors());
        }
        idle.push(server.connect());
    }
    most = most.max(server.descriptors());
    assert!(most <= before + 201, "{before} grew to {most}");
    let since = Instant::now();
    while server.descriptors() > before {
        assert!(since.elapsed() < Duration::from_secs(60), "{before}: {}", server.descriptors());
        thread::sleep(Duration::from_millis(50));
    }
    drop(idle);
    assert!(server.get("/livez").contains("alive"));
}

/// Zeros that gzip makes a thousand times smaller: 64 bombs of 256 MiB each, at once.
#[test]
fn bombs_of_gzip_take_no_more_memory_than_is_set() {
    const MEMORY_MIB: u64 = 48;
    let server = Server::start(&["--memory", "48"]);
    let mut bomb = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    let spaces = vec![b' '; 1 << 20];
    for _ in 0..256 {
        bomb.write_all(&spaces).unwrap();
    }
    let bomb = std::sync::Arc::new(bomb.finish().unwrap());
    assert!(bomb.len() < 1 << 20);
    assert!(server.get("/livez").contains("alive"));
    let (before, descriptors) = (server.memory("VmRSS"), server.descriptors());
    let clients: Vec<_> = (0..64)
        .map(|_| {
            let (mut stream, bomb) = (server.connect(), bomb.clone());
            thread::spawn(move || {
                let head = format!(
                    "POST /v1/rows HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
                     content-encoding: gzip\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
                    bomb.len()
                );
                let sent = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&bomb));
                let mut answer = String::new();
                let read = stream.read_to_string(&mut answer);
                // A refused body is not read to its end, which resets the connection.
                sent.and(read).map(|_| answer.get(9..12).unwrap_or_default().to_owned())
            })
        })
        .collect();
    for client in clients {
        if let Ok(status) = client.join().unwrap() {
            assert!(["413", "503"].contains(&&*status), "{status}");
        }
    }
    let grown = (server.memory("VmHWM") - before) / 1024;
    // The engine and the buffers of 64 connections come on top.
    assert!(grown < MEMORY_MIB + 100, "{grown} MiB");
    assert!(server.get("/metrics").contains("annals_body_bytes 0"));
    assert!(server.descriptors() <= descriptors + 1);
}

/// Each on a connection of its own; the one with the token is served meanwhile.
#[test]
fn a_thousand_guessed_tokens_leave_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tokens.json");
    let token = Command::new(env!("CARGO_BIN_EXE_annals"))
        .args(["token", "new", "--name", "all", "--read", "*", "--admin", "--tokens"])
        .arg(&file)
        .output()
        .unwrap();
    let token = String::from_utf8(token.stdout).unwrap().trim().to_owned();
    let server = Server::start(&["--tokens", file.to_str().unwrap()]);
    let ask = |token: &str| {
        let mut stream = server.connect();
        let request = format!(
            "GET /v1/records HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\n\
             connection: close\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer.get(9..12).unwrap_or_default().to_owned()
    };
    let guesses = |seed: usize| {
        for number in 0..1_000 {
            assert_eq!(ask(&format!("annals_{seed:032x}{number:032x}")), "401");
            if number % 100 == 0 {
                assert_eq!(ask(&token), "200");
            }
        }
    };
    guesses(0);
    let (memory, descriptors) = (server.memory("VmRSS"), server.descriptors());
    guesses(1);
    let grown = server.memory("VmRSS").saturating_sub(memory);
    assert!(grown < 5 << 10, "{grown} KiB for a thousand guesses");
    assert!(server.descriptors() <= descriptors + 1);
}

/// A byte now and then: heads and bodies of 200 clients, with others served meanwhile.
#[test]
fn slow_bodies_hold_nothing_and_are_cut_off() {
    let server = Server::start(&["--request-timeout", "2s", "--grace-period", "5s"]);
    assert!(server.get("/livez").contains("alive"));
    let before = server.memory("VmRSS");
    wave_of_slow_clients(&server);
    let first = server.memory("VmRSS");
    // As in the test of idle connections: each has its task.
    assert!(first.saturating_sub(before) < 100 << 10, "{before} KiB grew to {first}");
    wave_of_slow_clients(&server);
    let second = server.memory("VmRSS");
    assert!(second.saturating_sub(first) < 20 << 10, "{first} KiB grew to {second}");
    assert!(server.get("/metrics").contains("annals_body_bytes 0"));
}

/// Opens 200 connections that send a byte now and then, and waits until the server has closed all.
fn wave_of_slow_clients(server: &Server) {
    let before = server.descriptors();
    let head = "POST /v1/rows HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
                content-length: 8000000\r\n\r\n[";
    let mut slow: Vec<TcpStream> = (0..200).map(|_| server.connect()).collect();
    for (number, stream) in slow.iter_mut().enumerate() {
        let sent = if number % 2 == 0 { head } else { &head[..40] };
        stream.write_all(sent.as_bytes()).unwrap();
    }
    let since = Instant::now();
    while server.descriptors() > before {
        assert!(server.get("/v1/records").starts_with("HTTP/1.1 200"));
        // The server has closed those that fail.
        slow.retain_mut(|stream| stream.write_all(b" ").is_ok());
        assert!(since.elapsed() < Duration::from_secs(60), "{} are open", slow.len());
        // The pace of a slow client.
        thread::sleep(Duration::from_millis(50));
    }
}

/// The first values are there within ten seconds of the start, without any setting.
#[test]
fn one_process_records_and_serves() {
    let start = Instant::now();
    let server = Server::start(&["--collect", "host"]);
    while !server.get("/v1/records").contains("host::cpu::total") {
        assert!(start.elapsed() < Duration::from_secs(10), "nothing is recorded");
        thread::sleep(Duration::from_millis(50));
    }
    let answer = server.get("/v1/aggregate?pattern=host::memory&member=used_bytes&show=max");
    assert!(answer.contains("host::memory"), "{answer}");
}
