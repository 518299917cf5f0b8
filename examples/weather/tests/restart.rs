//! Starts the program, queries it, restarts it, and finds the old history.
#![allow(clippy::unwrap_used)]

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

struct Weather {
    program: Child,
    output: BufReader<ChildStdout>,
    /// The number of accuracies it found.
    before: u64,
}

impl Weather {
    fn start(program: &str, folder: &Path) -> Self {
        let mut program = Command::new(program)
            .args([folder.join("data/weather.db"), folder.join("weather.sock")])
            .arg("1")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(program.stdout.take().unwrap());
        let before = number(&line(&mut output));
        assert!(line(&mut output).starts_with("AimX on "));
        Self { program, output, before }
    }

    /// Sends SIGTERM, and returns how many values it stored.
    fn stop(mut self) -> u64 {
        let sent = Command::new("kill").arg(self.program.id().to_string()).status().unwrap();
        assert!(sent.success());
        let stored = number(&line(&mut self.output));
        assert!(self.program.wait().unwrap().success());
        stored
    }
}

/// A program that outlived a failed test would keep the test's output open.
impl Drop for Weather {
    fn drop(&mut self) {
        let _ = self.program.kill();
    }
}

fn line(output: &mut BufReader<ChildStdout>) -> String {
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    line
}

fn number(line: &str) -> u64 {
    line.split(' ').next().unwrap().parse().unwrap()
}

/// Sends one line after the other and returns the last answer.
fn ask(socket: &Path, requests: &[Value]) -> Value {
    let mut socket = BufReader::new(UnixStream::connect(socket).unwrap());
    let mut answer = String::new();
    for request in requests {
        socket.get_mut().write_all(format!("{request}\n").as_bytes()).unwrap();
        answer.clear();
        socket.read_line(&mut answer).unwrap();
    }
    serde_json::from_str(&answer).unwrap()
}

/// `history` queries the history of all accuracies and returns their number.
fn history_outlives_the_program(program: &str, history: impl Fn(&Path) -> u64) {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("weather.sock");
    let first = Weather::start(program, folder.path());
    assert_eq!(first.before, 0);
    while history(&socket) < 15 {}
    let stored = first.stop();
    assert!(stored >= 30, "an accuracy has a temperature, but {stored}");

    let second = Weather::start(program, folder.path());
    assert!(second.before >= 15 && second.before <= stored, "{}", second.before);
    assert!(history(&socket) >= second.before);
    second.stop();
}

#[cfg(feature = "aimdb-1")]
#[test]
fn history_outlives_the_program_on_aimdb_1() {
    history_outlives_the_program(env!("CARGO_BIN_EXE_weather"), |socket| {
        let hello = json!({"version": "1.0", "client": "a test"});
        let params = json!({"name": "accuracy::*", "start": 0});
        let query = json!({"id": 1, "method": "record.query", "params": params});
        ask(socket, &[hello, query])["result"]["count"].as_u64().unwrap()
    });
}

#[cfg(feature = "aimdb-2")]
#[test]
fn history_outlives_the_program_on_aimdb_2() {
    history_outlives_the_program(env!("CARGO_BIN_EXE_weather-2"), |socket| {
        let params = json!({"name": "accuracy.*", "start": 0});
        let query = json!({"t": "req", "id": 1, "method": "record.query", "params": params});
        ask(socket, &[query])["ok"]["total"].as_u64().unwrap()
    });
}
