//! One process of the program.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use reqwest::Client;
use rustix::process::{Pid, Signal, kill_process};

pub fn program() -> Command {
    let mut program = Command::new(env!("CARGO_BIN_EXE_annals"));
    // Only the test's own settings apply.
    for (variable, _) in std::env::vars_os() {
        if variable.to_string_lossy().starts_with("ANNALS_") {
            program.env_remove(variable);
        }
    }
    program.arg("serve");
    program
}

/// A running replica, which is killed on drop.
pub struct Replica {
    child: Child,
    pub base: String,
    /// Its output.
    log: Arc<Mutex<String>>,
}

impl Replica {
    /// Starts a replica and waits until it listens.
    pub fn start(settings: &[(&str, &str)]) -> Self {
        let mut program = program();
        program.env("ANNALS_LISTEN", "127.0.0.1:0").envs(settings.iter().copied());
        let mut child = program.stderr(Stdio::piped()).stdin(Stdio::null()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut said = String::new();
        let address = loop {
            let Some(line) = lines.next() else { panic!("the replica ended: {said}") };
            let line = line.unwrap();
            said.push_str(&line);
            if let Some((_, address)) = line.split_once(" at http://") {
                break address.trim().to_owned();
            }
        };
        let log = Arc::new(Mutex::new(said));
        let rest = log.clone();
        thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let mut log = rest.lock().unwrap();
                log.push_str(&line);
                log.push('\n');
            }
        });
        Self { child, base: format!("http://{address}"), log }
    }

    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// Ends it as the failure of its node would.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM, as Kubernetes sends it.
    pub fn terminate(&self) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
    }

    pub async fn wait(mut self) -> ExitStatus {
        tokio::task::spawn_blocking(move || self.child.wait().unwrap()).await.unwrap()
    }

    /// The status of a probe; `None` when it does not listen.
    pub async fn probe(&self, path: &str) -> Option<u16> {
        let answer = reqwest::get(format!("{}{path}", self.base)).await.ok()?;
        Some(answer.status().as_u16())
    }

    pub async fn until_ready(&self) {
        while self.probe("/readyz").await != Some(200) {
            tokio::task::yield_now().await;
        }
    }

    /// One value of `/metrics`.
    pub async fn figure(&self, name: &str) -> u64 {
        let text = Client::new().get(format!("{}/metrics", self.base)).send().await.unwrap();
        let text = text.text().await.unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
        line.unwrap_or_else(|| panic!("{name} is not in {text}")).parse().unwrap()
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
