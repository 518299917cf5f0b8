//! The program, started by a test.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

pub(crate) struct Hub {
    program: Child,
    output: BufReader<ChildStdout>,
    socket: PathBuf,
    /// The number of accuracies it found.
    pub(crate) before: u64,
    /// What it printed until it ran.
    pub(crate) greeting: Vec<String>,
}

impl Hub {
    pub(crate) fn start(folder: &Path, args: &[&str]) -> Self {
        let socket = folder.join("weather.sock");
        let mut program = Command::new(env!("CARGO_BIN_EXE_weather"))
            .arg("--history")
            .arg(folder.join("data/weather.db"))
            .arg("--socket")
            .arg(&socket)
            .args(args)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(program.stdout.take().unwrap());
        let before = number(&line(&mut output));
        let mut greeting = Vec::new();
        while !greeting.last().is_some_and(|line: &String| line.starts_with("AimX on ")) {
            greeting.push(line(&mut output));
        }
        Self { program, output, socket, before, greeting }
    }

    /// How many accuracies `record.query` returns.
    pub(crate) fn accuracies(&self) -> u64 {
        let request = |name| json!({"name": name, "start": 0});
        if cfg!(feature = "aimdb-2") {
            let query = json!({"t": "req", "id": 1, "method": "record.query", "params": request("accuracy.*")});
            return self.ask(&[query])["ok"]["total"].as_u64().unwrap();
        }
        let hello = json!({"version": "1.0", "client": "a test"});
        let query = json!({"id": 1, "method": "record.query", "params": request("accuracy::*")});
        self.ask(&[hello, query])["result"]["count"].as_u64().unwrap()
    }

    /// Sends one line after the other and returns the last answer.
    fn ask(&self, requests: &[Value]) -> Value {
        let mut socket = BufReader::new(UnixStream::connect(&self.socket).unwrap());
        let mut answer = String::new();
        for request in requests {
            socket.get_mut().write_all(format!("{request}\n").as_bytes()).unwrap();
            answer.clear();
            socket.read_line(&mut answer).unwrap();
        }
        serde_json::from_str(&answer).unwrap()
    }

    /// The answer to a GET of its page's address.
    pub(crate) fn get(&self, path: &str) -> String {
        let address = self.greeting.iter().find_map(|line| line.split_once("http://")).unwrap().1;
        let mut page = TcpStream::connect(address).unwrap();
        write!(page, "GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n")
            .unwrap();
        let mut answer = String::new();
        page.read_to_string(&mut answer).unwrap();
        answer
    }

    /// Waits for the next line.
    pub(crate) fn line(&mut self) -> String {
        line(&mut self.output)
    }

    pub(crate) fn kill(mut self) {
        self.program.kill().unwrap();
        self.program.wait().unwrap();
    }

    /// Sends SIGTERM, and returns how many values it stored, and what it says about forwarding.
    pub(crate) fn stop(mut self) -> (u64, String) {
        let sent = Command::new("kill").arg(self.program.id().to_string()).status().unwrap();
        assert!(sent.success());
        let stored = number(&self.line());
        let mut rest = String::new();
        self.output.read_to_string(&mut rest).unwrap();
        assert!(self.program.wait().unwrap().success());
        (stored, rest)
    }
}

/// A program that outlived a failed test would keep the test's output open.
impl Drop for Hub {
    fn drop(&mut self) {
        let _ = self.program.kill();
    }
}

fn line(output: &mut BufReader<ChildStdout>) -> String {
    let mut line = String::new();
    assert_ne!(output.read_line(&mut line).unwrap(), 0, "the program has ended");
    line.trim_end().to_owned()
}

fn number(line: &str) -> u64 {
    line.split(' ').next().unwrap().parse().unwrap()
}
