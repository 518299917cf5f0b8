//! Runs the program in its own folder.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStderr, Command, Output, Stdio};
use std::thread;

use annals_embedded::format::{self, Block, seal, unseal};
use serde_json::Value;
use tempfile::TempDir;

/// Every embedded backend: they must not differ.
pub(crate) const FILES: [&str; 2] = ["sqlite:history.db", "redb:history.redb"];

/// A folder with nothing in it but what the program puts there.
pub(crate) struct Place(TempDir);

/// What a run of the program left.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        std::fs::write(self.path(name), content).unwrap();
    }

    /// What lies in the folder, by name.
    pub(crate) fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.0.path()).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_annals"));
        command.args(args).current_dir(self.0.path());
        for variable in ["ANNALS_BACKEND", "RUST_LOG", "COLUMNS"] {
            command.env_remove(variable);
        }
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Run {
        self.run_with_input(args, "")
    }

    pub(crate) fn run_with_input(&self, args: &[&str], input: impl AsRef<[u8]>) -> Run {
        let mut command = self.command(args);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let input = input.as_ref().to_vec();
        // A program that stops reading early closes the pipe; that is its business.
        let writer = thread::spawn(move || drop(stdin.write_all(&input)));
        let run = Run::from(child.wait_with_output().unwrap());
        writer.join().unwrap();
        run
    }

    /// Waits for a file that a running program makes.
    pub(crate) fn wait_for(&self, name: &str, child: &mut Child) {
        while !self.path(name).exists() {
            assert_eq!(child.try_wait().unwrap(), None, "it ended without {name}");
            thread::yield_now();
        }
    }

    /// Imports rows, each as record, value and time.
    pub(crate) fn import(&self, backend: &str, rows: &[(&str, &str, u64)]) {
        let line = |(record, value, stored_at): &(&str, &str, u64)| {
            let record = serde_json::to_string(record).unwrap();
            format!("{{\"record\":{record},\"value\":{value},\"stored_at\":{stored_at}}}\n")
        };
        let input: String = rows.iter().map(line).collect();
        let run = self.run_with_input(&["--backend", backend, "import"], input);
        assert_eq!(run.code, Some(0), "{run:?}");
    }

    /// Puts text that is no JSON in the place of the one value with this time, in history.db.
    pub(crate) fn damage(&self, stored_at: u64) {
        let file = rusqlite::Connection::open(self.path("history.db")).unwrap();
        let read = |row: &rusqlite::Row<'_>| Ok((row.get::<_, u64>(0)?, row.get::<_, Vec<u8>>(1)?));
        let mut select = file
            .prepare("SELECT number, frame FROM head WHERE number < 9223372036854775807")
            .unwrap();
        let blocks: Vec<_> = select.query_map([], read).unwrap().map(Result::unwrap).collect();
        let mut hits = 0;
        for (number, block) in blocks {
            let mut damaged = Block::new();
            for (record, time, json) in
                Block::decode(unseal(format::Place::Head(number), &block).unwrap()).unwrap().iter()
            {
                let hit = time == stored_at;
                hits += usize::from(hit);
                damaged.push(record, time, if hit { "{broken" } else { json });
            }
            let update = "UPDATE head SET frame = ?1 WHERE number = ?2";
            let damaged = seal(format::Place::Head(number), &damaged.encode().unwrap());
            file.execute(update, (damaged, number)).unwrap();
        }
        assert_eq!(hits, 1);
    }

    /// All rows, as `query` prints them.
    pub(crate) fn rows(&self, backend: &str) -> Vec<Value> {
        self.run(&["--backend", backend, "query", "*", "--oldest-first"]).ok().json_lines()
    }
}

impl From<Output> for Run {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: unbroken(String::from_utf8(output.stderr).unwrap()),
        }
    }
}

/// A message that is broken into lines is one sentence again; a help text stays as it is.
fn unbroken(text: String) -> String {
    match text.contains("Usage: ") {
        true => text,
        false => text.replace("\n  ", " "),
    }
}

impl Run {
    /// It went well and had nothing to complain of.
    pub(crate) fn ok(self) -> Self {
        assert_eq!(self.code, Some(0), "{self:?}");
        assert_eq!(self.err, "", "{self:?}");
        self
    }

    /// It went well, with notes at the most: on times before 1990, say.
    pub(crate) fn noted(self) -> Self {
        assert_eq!(self.code, Some(0), "{self:?}");
        assert!(self.err.lines().all(is_note), "{self:?}");
        self
    }

    /// It failed with this code and one sentence, besides notes, that has this text in it.
    pub(crate) fn refused(self, code: i32, text: &str) -> Self {
        assert_eq!(self.code, Some(code), "{self:?}");
        let mut said = self.err.lines().filter(|line| !is_note(line)).peekable();
        assert!(said.peek().is_some_and(|line| line.starts_with("annals: ")), "{self:?}");
        assert!(self.err.contains(text), "{text:?} is not in {self:?}");
        assert_eq!(self.out, "", "{self:?}");
        self
    }

    pub(crate) fn json_lines(&self) -> Vec<Value> {
        self.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// What an import says of its input.
fn is_note(line: &str) -> bool {
    line.starts_with("note: ") || line.starts_with("reading ")
}

/// A running program's stderr.
pub(crate) struct Stderr {
    lines: BufReader<ChildStderr>,
    seen: String,
}

impl Stderr {
    pub(crate) fn of(child: &mut Child) -> Self {
        Self { lines: BufReader::new(child.stderr.take().unwrap()), seen: String::new() }
    }

    /// Reads up to a line that has `text` in it.
    pub(crate) fn wait_for(&mut self, text: &str) {
        self.wait_for_line(text, |line| line.contains(text));
    }

    /// Reads up to a line that `is_it`; `what` says which one.
    pub(crate) fn wait_for_line(&mut self, what: &str, is_it: impl Fn(&str) -> bool) {
        while !self.seen.lines().any(&is_it) {
            let read = self.lines.read_line(&mut self.seen).unwrap();
            assert_ne!(read, 0, "it ended without {what:?}: {}", self.seen);
        }
    }

    /// Goes on reading, so that the program never waits for it.
    pub(crate) fn rest(mut self) -> thread::JoinHandle<String> {
        thread::spawn(move || {
            self.lines.read_to_string(&mut self.seen).unwrap();
            self.seen
        })
    }
}

/// Sends a signal such as `INT`.
#[cfg(unix)]
pub(crate) fn signal(child: &Child, name: &str) {
    let pid = child.id().to_string();
    let sent = Command::new("kill").args(["-s", name, &pid]).status().unwrap();
    assert!(sent.success());
}
