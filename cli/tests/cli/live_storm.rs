//! Forwarding and following while both ends are killed and connections cut: exact accounts at the end.
//!
//! `scripts/live-storm` runs it for longer.

use std::env;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::Place;

const EDGE: &str = "sqlite:edge.db";
const CLOUD: &str = "sqlite:cloud.db";

/// How often, from a variable, or else a few times.
fn times(variable: &str, few: u64) -> u64 {
    env::var(variable).ok().and_then(|times| times.parse().ok()).unwrap_or(few)
}

/// A small generator (Knuth's MMIX).
#[derive(Clone)]
struct Random(Arc<Mutex<u64>>);

impl Random {
    fn below(&self, bound: u64) -> u64 {
        let mut state = self.0.lock().unwrap();
        *state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (*state >> 33) % bound
    }
}

/// Cuts each connection after a random number of bytes.
struct Proxy {
    address: String,
    cuts: Arc<AtomicU64>,
    cutting: Arc<AtomicBool>,
}

impl Proxy {
    fn start(server: &str, random: &Random) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (cuts, cutting) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(true)));
        let proxy = Self { address, cuts: cuts.clone(), cutting: cutting.clone() };
        let (server, random) = (server.to_owned(), random.clone());
        thread::spawn(move || {
            for client in listener.incoming() {
                let client = client.unwrap();
                // It is being restarted: the client sees a connection that ends.
                let Ok(server) = TcpStream::connect(&server) else { continue };
                let left = match cutting.load(Ordering::SeqCst) {
                    true => 100 + random.below(20_000),
                    false => u64::MAX,
                };
                let left = Arc::new(AtomicU64::new(left));
                for (from, to) in [(&client, &server), (&server, &client)] {
                    let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                    let (left, cuts) = (left.clone(), cuts.clone());
                    thread::spawn(move || pass_on(from, to, &left, &cuts));
                }
            }
        });
        proxy
    }

    fn cuts(&self) -> u64 {
        self.cuts.load(Ordering::SeqCst)
    }
}

fn pass_on(mut from: TcpStream, mut to: TcpStream, left: &AtomicU64, cuts: &AtomicU64) {
    let mut bytes = [0; 1_024];
    while let Ok(read @ 1..) = from.read(&mut bytes) {
        let before = left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
            Some(left.saturating_sub(read as u64))
        });
        let may = usize::try_from(before.unwrap_or(0)).unwrap_or(usize::MAX).min(read);
        if to.write_all(&bytes[..may]).is_err() {
            break;
        }
        if may < read {
            cuts.fetch_add(1, Ordering::SeqCst);
            break;
        }
    }
    let _gone = from.shutdown(Shutdown::Both);
    let _gone = to.shutdown(Shutdown::Both);
}

/// Follows over HTTP, each time from where the last connection ended.
fn follow(address: &str, seen: &Mutex<Vec<Value>>, ends: &AtomicBool) {
    let mut place = String::new();
    while !ends.load(Ordering::SeqCst) {
        let Ok(mut stream) = TcpStream::connect(address) else { continue };
        stream.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
        let last =
            if place.is_empty() { String::new() } else { format!("last-event-id: {place}\r\n") };
        // In this version of the protocol an answer has no chunks.
        let request =
            format!("GET /v1/follow?pattern=r*&from=0 HTTP/1.0\r\nhost: localhost\r\n{last}\r\n");
        if stream.write_all(request.as_bytes()).is_err() {
            continue;
        }
        let (mut id, mut data, mut plain) = (None::<String>, None::<String>, true);
        let mut lines = BufReader::new(stream);
        let mut line = String::new();
        // Half a line, or half an event, does not count.
        while lines.read_line(&mut line).is_ok_and(|read| read > 0) && line.ends_with('\n') {
            match line.trim_end().split_once(": ") {
                Some(("id", text)) => id = Some(text.to_owned()),
                Some(("data", text)) => data = Some(text.to_owned()),
                Some(("event", _)) => plain = false,
                _ if line.trim_end().is_empty() => {
                    if let (Some(data), true) = (data.take(), plain) {
                        seen.lock().unwrap().push(serde_json::from_str(&data).unwrap());
                    }
                    if let Some(id) = id.take() {
                        place = id;
                    }
                    plain = true;
                }
                _ => {}
            }
            line.clear();
        }
    }
}

struct Processes<'a> {
    place: &'a Place,
    address: Option<String>,
    server: Option<Child>,
    forwarder: Option<Child>,
}

impl Processes<'_> {
    fn start_server(&mut self) {
        let listen = self.address.as_deref().unwrap_or("127.0.0.1:0");
        let args = ["--backend", CLOUD, "serve", "--listen", listen];
        let mut child = self.place.command(&args).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let first = lines.next().unwrap().unwrap();
        self.address = Some(first.split_once("http://").unwrap().1.to_owned());
        thread::spawn(move || lines.for_each(drop));
        self.server = Some(child);
    }

    fn start_forwarder(&mut self, to: &str) {
        let args = ["forward", "--from", EDGE, "--to", to, "--batch-rows", "50"];
        self.forwarder = Some(self.place.command(&args).stderr(Stdio::null()).spawn().unwrap());
    }
}

impl Drop for Processes<'_> {
    fn drop(&mut self) {
        [self.server.take(), self.forwarder.take()].into_iter().flatten().for_each(kill);
    }
}

fn kill(mut child: Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn whatever_is_killed_and_cut_each_row_is_forwarded_and_followed_once() {
    let (kills, cuts) = (times("ANNALS_TEST_KILLS", 8), times("ANNALS_TEST_CUTS", 8));
    let place = Place::new();
    let random = Random(Arc::new(Mutex::new(times("ANNALS_TEST_SEED", 18))));
    let mut rows = 0_u64;
    let import = |rows: &mut u64| {
        let row = |n: u64| {
            // Some are late. Those of one record arrive in the order of their numbers.
            let at =
                1_779_006_600_000 + n - if n.is_multiple_of(9) { random.below(500) } else { 0 };
            format!("{{\"record\":\"r{}\",\"value\":{n},\"stored_at\":{at}}}\n", n % 5)
        };
        let input: String = (*rows..*rows + 40).map(row).collect();
        place.run_with_input(&["import", "--backend", EDGE], input).noted();
        *rows += 40;
    };
    import(&mut rows);
    let mut processes = Processes { place: &place, address: None, server: None, forwarder: None };
    processes.start_server();
    let proxy = Proxy::start(processes.address.as_ref().unwrap(), &random);
    let to = format!("http://{}", proxy.address);
    processes.start_forwarder(&to);
    let (seen, ends) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
    let follower = {
        let (address, seen, ends) = (proxy.address.clone(), seen.clone(), ends.clone());
        thread::spawn(move || follow(&address, &seen, &ends))
    };
    let mut killed = 0;
    while killed < kills || proxy.cuts() < cuts {
        import(&mut rows);
        thread::sleep(Duration::from_millis(random.below(120)));
        if killed < kills {
            match killed % 2 {
                0 => {
                    processes.forwarder.take().into_iter().for_each(kill);
                    processes.start_forwarder(&to);
                }
                _ => {
                    processes.server.take().into_iter().for_each(kill);
                    processes.start_server();
                }
            }
            killed += 1;
        }
    }
    proxy.cutting.store(false, Ordering::SeqCst);
    processes.forwarder.take().into_iter().for_each(kill);
    let address = processes.address.clone().unwrap();
    let direct = format!("http://{address}");
    let run = place.run(&["forward", "--from", EDGE, "--to", &direct, "--once"]);
    assert_eq!(run.code, Some(0), "{run:?}");
    let begun = Instant::now();
    while (seen.lock().unwrap().len() as u64) < rows {
        assert!(begun.elapsed() < Duration::from_secs(120), "rows are missing to the follower");
        thread::sleep(Duration::from_millis(20));
    }
    ends.store(true, Ordering::SeqCst);
    follower.join().unwrap();
    println!("{killed} kills, {} cuts, {rows} rows", proxy.cuts());
    drop(processes);
    let all = |url: &str| place.run(&["export", "r*", "--backend", url]).ok().out;
    let (edge, cloud) = (all(EDGE), all(CLOUD));
    assert_eq!(edge.lines().count() as u64, rows);
    assert_eq!(cloud.lines().count() as u64, rows, "rows in the cloud");
    assert!(edge == cloud, "the rows differ");
    let seen = seen.lock().unwrap();
    let mut numbers: Vec<u64> = seen.iter().map(|row| row["value"].as_u64().unwrap()).collect();
    for record in 0..5 {
        let of_record = numbers.iter().filter(|n| **n % 5 == record);
        let late = |n: &u64| n.is_multiple_of(9);
        // Rows of one transaction come by time, so only those that are not late are in order.
        assert!(of_record.filter(|n| !late(n)).is_sorted(), "r{record} is out of order");
    }
    numbers.sort_unstable();
    assert!(numbers.iter().copied().eq(0..rows), "rows that were followed: {}", numbers.len());
}
