//! `annals forward` to `annals serve`: each row once, whichever end is killed.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use crate::support::{Place, Run, Stderr};

const EDGE: &str = "sqlite:edge.db";
const CLOUD: &str = "sqlite:cloud.db";
/// The rows of these tests are from 1970.
const OLD_ROWS: [&str; 2] = ["--earliest", "1970-01-01T00:00:00Z"];

/// A server on the history in the cloud.
struct Server(Child);

impl Server {
    /// On a port of the system's choice, or on the one that an earlier server had.
    fn start(place: &Place, address: Option<&str>, more: &[&str]) -> (Self, String) {
        let listen = address.unwrap_or("127.0.0.1:0");
        let args =
            [&["--backend", CLOUD, "serve", "--listen", listen], &OLD_ROWS[..], more].concat();
        let mut child = place.command(&args).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let first = lines.next().unwrap().unwrap();
        let address = first.split_once("://").unwrap().1.to_owned();
        thread::spawn(move || lines.for_each(drop));
        (Self(child), address)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _gone = self.0.wait();
    }
}

fn forward(place: &Place, address: &str, more: &[&str]) -> Run {
    let to = format!("http://{address}");
    place.run(&[&["forward", "--from", EDGE, "--to", &to], more].concat())
}

fn rows(place: &Place, batches: u64) {
    for batch in 0..batches {
        let line = |n: u64| {
            let (record, at) = (n % 7, 1_779_006_600_000 + n / 20);
            format!(
                "{{\"record\":\"r{record}\",\"value\":[{n},{batch}.50e0],\"stored_at\":{at}}}\n"
            )
        };
        let input: String = (0..200).map(line).collect();
        place.run_with_input(&["import", "--backend", EDGE], input).noted();
    }
}

/// What both ends have, letter for letter.
fn agree(place: &Place) {
    let rows = |url: &str| place.run(&["export", "r*", "--backend", url]).ok().out;
    let (here, there) = (rows(EDGE), rows(CLOUD));
    assert_eq!(there.lines().count(), here.lines().count());
    assert!(there == here, "the rows differ");
}

#[test]
fn each_row_arrives_once_letter_for_letter() {
    let place = Place::new();
    place.import(EDGE, &[("r1", "1.50e+02", 7), ("r2", "{ \"a\" : 1 }", 7), ("r1", "2", 3)]);
    let (server, address) = Server::start(&place, None, &[]);
    let once = |said: &str| {
        let run = forward(&place, &address, &["--once"]);
        assert_eq!((run.code, &*run.out, &*run.err), (Some(0), "", said));
    };
    once("3 rows forwarded in 1 batch; both ends agree\n");
    once("0 rows forwarded in 0 batches; both ends agree\n");
    place.import(EDGE, &[("r1", "0", 0)]);
    once("1 row forwarded in 1 batch; both ends agree\n");
    drop(server);
    agree(&place);
    // Another server has none of that.
    let other = Place::new();
    let (_server, address) = Server::start(&other, None, &[]);
    forward(&place, &address, &["--once"]).refused(1, "needs a name of its own");
}

/// A batch that was stored and whose rows are changed before it is sent again is stored.
#[test]
fn rows_that_change_before_a_retry_are_not_stored_twice() {
    let place = Place::new();
    place.import(EDGE, &[("r1", "1", 7), ("r2", "2", 8)]);
    let (server, address) = Server::start(&place, None, &[]);
    // The answer to the batch is lost, and the forwarder killed.
    let silent = SilentProxy::start(&address);
    let args = ["forward", "--from", EDGE, "--to", &format!("http://{}", silent.address)];
    let mut child = place.command(&args).stderr(Stdio::null()).spawn().unwrap();
    silent.stored.recv().unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    let erase = ["--backend", EDGE, "erase", "r2", "--yes"];
    assert_eq!(place.run(&erase).code, Some(0));
    let run = forward(&place, &address, &["--once"]);
    assert_eq!(run.code, Some(0), "{run:?}");
    drop(server);
    assert_eq!(place.rows(CLOUD).len(), 2);
}

/// Passes requests on, and the answers to GET; it never answers a POST, but tells that there was one.
struct SilentProxy {
    address: String,
    stored: mpsc::Receiver<()>,
}

impl SilentProxy {
    fn start(server: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (sender, stored) = mpsc::channel();
        let server = server.to_owned();
        thread::spawn(move || {
            for client in listener.incoming() {
                let (client, server, sender) = (client.unwrap(), server.clone(), sender.clone());
                thread::spawn(move || pass_on(client, &server, &sender));
            }
        });
        Self { address, stored }
    }
}

fn pass_on(mut client: TcpStream, server: &str, stored: &mpsc::Sender<()>) {
    let mut server = TcpStream::connect(server).unwrap();
    let (mut answers, mut to_client) = (server.try_clone().unwrap(), client.try_clone().unwrap());
    let (posted, is_posted) = mpsc::channel::<()>();
    let stored = stored.clone();
    thread::spawn(move || {
        let mut answer = [0; 4096];
        while let Ok(read @ 1..) = answers.read(&mut answer) {
            if is_posted.try_recv().is_ok() {
                // The rows are stored.
                let _told = stored.send(());
                return;
            }
            let _gone = to_client.write_all(&answer[..read]);
        }
    });
    let mut request = [0; 4096];
    while let Ok(read @ 1..) = client.read(&mut request) {
        if request.starts_with(b"POST") {
            posted.send(()).unwrap();
        }
        if server.write_all(&request[..read]).is_err() {
            return;
        }
    }
}

#[test]
fn both_ends_are_killed_and_each_row_arrives_once() {
    let place = Place::new();
    rows(&place, 12);
    let (mut server, address) = Server::start(&place, None, &[]);
    let to = format!("http://{address}");
    let args = ["forward", "--from", EDGE, "--to", &to, "--batch-rows", "100", "--rate", "3000"];
    // A small generator (Knuth's MMIX), so that the times differ from kill to kill.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for kill in 0..12_u64 {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let mut child = place.command(&args).stderr(Stdio::null()).spawn().unwrap();
        thread::sleep(Duration::from_millis(20 + (state >> 33) % (60 + 20 * kill)));
        if kill % 2 == 0 {
            drop(server);
            server = Server::start(&place, Some(&address), &[]).0;
            thread::sleep(Duration::from_millis((state >> 40) % 100));
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let run = forward(&place, &address, &["--once"]);
    assert_eq!(run.code, Some(0), "{run:?}");
    drop(server);
    agree(&place);
}

#[test]
fn a_server_that_is_away_is_waited_for() {
    let place = Place::new();
    rows(&place, 1);
    // A port that nobody listens on.
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let to = format!("http://{address}");
    let args = ["forward", "--from", EDGE, "--to", &to, "--once", "--report", "10ms"];
    let mut child = place.command(&args).stderr(Stdio::piped()).spawn().unwrap();
    let mut said = Stderr::of(&mut child);
    said.wait_for("tried again");
    let (server, _) = Server::start(&place, Some(&address), &[]);
    said.wait_for("both ends agree");
    let rest = said.rest();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    rest.join().unwrap();
    drop(server);
    agree(&place);
}

#[test]
fn a_token_is_needed_and_its_rate_respected() {
    let place = Place::new();
    rows(&place, 3);
    let token = |name: &str, more: &[&str]| {
        let args = [&["token", "new", "--tokens", "tokens.json", "--name", name], more].concat();
        let run = place.run(&args);
        assert_eq!(run.code, Some(0), "{run:?}");
        place.write(name, run.out);
    };
    token("reader", &["--read", "*"]);
    token("other", &["--write", "x*"]);
    token("edge", &["--write", "r*", "--rows-per-second", "400"]);
    let (server, address) = Server::start(&place, None, &["--tokens", "tokens.json"]);
    let refused = |more: &[&str], said: &str| {
        forward(&place, &address, &[&["--once"], more].concat()).refused(1, said);
    };
    refused(&[], "401 Unauthorized: send a token");
    refused(&["--token", "nonsense"], "there is no such token");
    refused(&["--token-file", "reader"], "this token may not write");
    refused(&["--token-file", "other", "--name", "o"], "may not write this record");
    // The second and third batch come before their time.
    let once = ["--once", "--token-file", "edge", "--batch-rows", "200", "--name", "rated"];
    let run = forward(&place, &address, &once);
    assert_eq!(run.code, Some(0), "{run:?}");
    assert!(run.err.contains("600 rows forwarded in 3 batches; both ends agree"), "{run:?}");
    drop(server);
    agree(&place);
}

#[test]
fn what_a_server_never_takes_ends_forwarding_and_says_why() {
    let place = Place::new();
    let long = format!("\"{}\"", "x".repeat(5_000));
    place.import(EDGE, &[("r1", "1", 1), ("r2", &long, 2)]);
    let (server, address) = Server::start(&place, None, &["--body-limit", "4096"]);
    forward(&place, &address, &["--once"]).refused(1, "a larger --body-limit");
    drop(server);
    let place = Place::new();
    place.import(EDGE, &[("r1", "1", 4_102_444_800_000)]);
    let (_server, address) = Server::start(&place, None, &[]);
    forward(&place, &address, &["--once"]).refused(1, "422 Unprocessable");
    for (to, said) in [
        ("https://me:secret@host", "--token-file"),
        ("https://host?x=1", "only the scheme"),
        ("https://", "no URL"),
    ] {
        let run = place.run(&["forward", "--from", EDGE, "--to", to, "--once"]);
        run.refused(2, said);
    }
    let run = place.run(&["forward", "--from", EDGE, "--to", CLOUD, "--token-file", "t"]);
    run.refused(2, "is for https:// only");
    let run =
        place.run(&["forward", "--from", EDGE, "--to", "http://host", "--token-file", "missing"]);
    run.refused(2, "--token-file missing: No such file");
}

#[test]
fn over_tls_only_a_certificate_that_is_trusted_will_do() {
    let place = Place::new();
    rows(&place, 1);
    let own = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    std::fs::write(place.path("cert.pem"), own.cert.pem()).unwrap();
    std::fs::write(place.path("key.pem"), own.signing_key.serialize_pem()).unwrap();
    let tls = ["--tls-certificate", "cert.pem", "--tls-key", "key.pem"];
    let (_server, address) = Server::start(&place, None, &tls);
    let to = format!("https://{address}");
    let command = || place.command(&["forward", "--from", EDGE, "--to", &to, "--once"]);

    // A certificate may be renewed, so it is tried again until somebody gives up.
    let mut refused = command().stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(refused.stderr.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.any(|line| line.contains("certificate")), "no line says why");
    refused.kill().unwrap();
    refused.wait().unwrap();
    assert_eq!(place.run(&["--backend", CLOUD, "query", "*"]).ok().out, "");

    let done = command().env("SSL_CERT_FILE", place.path("cert.pem")).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    agree(&place);
}
