//! Servers that speak AimX as the published crates do, byte for byte: 1.0 is aimdb-core 1.1.0
//! (`remote/handler.rs`), 3.0 is aimdb-core 2.0.0 (`session/aimx`), on Unix sockets
//! (aimdb-uds-connector 0.1.0) and TCP (aimdb-tcp-connector 0.1.0).

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use annals::{Grammar, MemoryBackend, Order, PersistenceBackend, QueryParams, StoredValue};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tempfile::TempDir;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wire {
    One,
    Three,
    ThreeOverTcp,
}

pub(crate) const WIRES: [Wire; 3] = [Wire::One, Wire::Three, Wire::ThreeOverTcp];

/// The largest frame that aimdb-tcp-connector sends; instead of a larger one it closes.
const MAX_TCP_FRAME: usize = 64 * 1024;

/// What a server does about a message.
pub(crate) enum Action {
    /// Sends it as a frame.
    Frame(String),
    /// Sends these bytes and closes.
    Bytes(Vec<u8>),
    Close,
    /// Says nothing, and waits for the client to go.
    Silence,
}

/// A running server.
pub(crate) struct Server {
    address: String,
    /// The messages it was sent, over all connections.
    heard: Arc<Mutex<Vec<String>>>,
    _folder: TempDir,
}

/// A server on a socket of the test's choosing, which can go.
pub(crate) struct Mortal {
    path: PathBuf,
    gone: Arc<AtomicBool>,
    connections: Arc<Mutex<Vec<UnixStream>>>,
    accepting: thread::JoinHandle<()>,
}

impl Mortal {
    pub(crate) fn with_history(wire: Wire, path: &Path, rows: &[(&str, &str, u64)]) -> Self {
        let listener = UnixListener::bind(path).unwrap();
        let gone = Arc::new(AtomicBool::new(false));
        let connections = Arc::new(Mutex::new(Vec::new()));
        let (is_gone, kept) = (gone.clone(), connections.clone());
        let history = Arc::new(History::new(wire, rows));
        let accepting = thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if is_gone.load(Ordering::SeqCst) {
                    return;
                }
                kept.lock().unwrap().push(stream.try_clone().unwrap());
                let history = history.clone();
                let answer = move |message: &str| history.answer(message);
                thread::spawn(move || converse(wire, Box::new(stream), &Mutex::default(), &answer));
            }
        });
        Self { path: path.to_owned(), gone, connections, accepting }
    }

    pub(crate) fn stop(self) {
        self.gone.store(true, Ordering::SeqCst);
        drop(UnixStream::connect(&self.path));
        self.accepting.join().unwrap();
        for connection in self.connections.lock().unwrap().iter() {
            // The client may have gone before.
            drop(connection.shutdown(Shutdown::Both));
        }
        std::fs::remove_file(&self.path).unwrap();
    }
}

type Answer = dyn Fn(&str) -> Action + Send + Sync;

impl Server {
    /// Answers each message by `answer`.
    pub(crate) fn start(
        wire: Wire,
        answer: impl Fn(&str) -> Action + Send + Sync + 'static,
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let (kept, answer): (_, Arc<Answer>) = (heard.clone(), Arc::new(answer));
        let serve = move |stream: Box<dyn Stream>| {
            let (heard, answer) = (kept.clone(), answer.clone());
            thread::spawn(move || converse(wire, stream, &heard, &*answer));
        };
        let address = if wire == Wire::ThreeOverTcp {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = format!("tcp:{}", listener.local_addr().unwrap());
            thread::spawn(move || listener.incoming().for_each(|s| serve(Box::new(s.unwrap()))));
            address
        } else {
            let path = folder.path().join("aimdb.sock");
            let listener = UnixListener::bind(&path).unwrap();
            thread::spawn(move || listener.incoming().for_each(|s| serve(Box::new(s.unwrap()))));
            format!("unix:{}", path.display())
        };
        Self { address, heard, _folder: folder }
    }

    /// Keeps this history. Patterns are read in the line's own grammar.
    pub(crate) fn with_history(wire: Wire, rows: &[(&str, &str, u64)]) -> Self {
        let history = History::new(wire, rows);
        Self::start(wire, move |message| history.answer(message))
    }

    /// Welcomes the client and then answers everything alike.
    pub(crate) fn that_answers(
        wire: Wire,
        answer: impl Fn() -> Action + Send + Sync + 'static,
    ) -> Self {
        let history = History::new(wire, &[]);
        Self::start(wire, move |message| {
            if message.contains("record.query") { answer() } else { history.answer(message) }
        })
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    pub(crate) fn heard(&self) -> Vec<String> {
        self.heard.lock().unwrap().clone()
    }
}

trait Stream: Read + Write + Send {}
impl<T: Read + Write + Send> Stream for T {}

fn converse(wire: Wire, stream: Box<dyn Stream>, heard: &Mutex<Vec<String>>, answer: &Answer) {
    let mut stream = BufReader::new(stream);
    while let Some(message) = receive(wire, &mut stream) {
        heard.lock().unwrap().push(message.clone());
        // A client that has gone is no server's trouble.
        let written = match answer(&message) {
            Action::Frame(frame) if wire == Wire::ThreeOverTcp => {
                if frame.len() > MAX_TCP_FRAME {
                    return;
                }
                let length = u32::try_from(frame.len()).unwrap().to_be_bytes();
                stream.get_mut().write_all(&[&length, frame.as_bytes()].concat())
            }
            Action::Frame(frame) => stream.get_mut().write_all(format!("{frame}\n").as_bytes()),
            Action::Bytes(bytes) => {
                drop(stream.get_mut().write_all(&bytes));
                return;
            }
            Action::Close => return,
            Action::Silence => Ok(()),
        };
        if written.is_err() {
            return;
        }
    }
}

fn receive(wire: Wire, stream: &mut BufReader<Box<dyn Stream>>) -> Option<String> {
    if wire == Wire::ThreeOverTcp {
        let mut length = [0; 4];
        stream.read_exact(&mut length).ok()?;
        let mut frame = vec![0; u32::from_be_bytes(length) as usize];
        stream.read_exact(&mut frame).ok()?;
        return String::from_utf8(frame).ok();
    }
    let mut line = String::new();
    let read = stream.read_line(&mut line).ok()?;
    (read > 0).then(|| line.trim_end().to_owned())
}

/// aimdb-core 1.1.0, `remote/protocol.rs`.
#[derive(Deserialize)]
struct HelloMessage {
    version: String,
    #[serde(rename = "client")]
    _client: String,
}

/// aimdb-core 1.1.0, `remote/protocol.rs`.
#[derive(Deserialize)]
struct Request {
    id: u64,
    method: String,
    params: Option<Value>,
}

/// aimdb-core 2.0.0, `session/aimx/codec.rs`: what is not one is passed over in silence.
#[derive(Deserialize)]
struct Frame<'a> {
    t: &'a str,
    id: Option<u64>,
    #[serde(borrow)]
    method: Option<&'a str>,
    #[serde(borrow)]
    params: Option<&'a RawValue>,
}

struct History {
    wire: Wire,
    rows: MemoryBackend,
}

impl History {
    fn new(wire: Wire, rows: &[(&str, &str, u64)]) -> Self {
        let store = MemoryBackend::new();
        wait(async {
            for (record, value, stored_at) in rows {
                let value = serde_json::from_str(value).unwrap();
                store.store(record, &value, *stored_at).await.unwrap();
            }
        });
        Self { wire, rows: store }
    }

    fn answer(&self, message: &str) -> Action {
        if self.wire == Wire::One {
            self.answer_of_one(message)
        } else {
            self.answer_of_three(message)
        }
    }

    fn answer_of_one(&self, message: &str) -> Action {
        let Ok(Request { id, method, params }) = serde_json::from_str(message) else {
            return Action::Frame(
                r#"{"id":0,"error":{"code":"parse_error","message":"Invalid JSON"}}"#.into(),
            );
        };
        // The hello is known by being the first; here by its version.
        if let Ok(hello) = serde_json::from_str::<HelloMessage>(message) {
            assert_eq!(hello.version, "1.0");
            return Action::Frame(
                r#"{"version":"1.0","server":"aimdb","permissions":["read"],"writable_records":[],"max_subscriptions":100,"authenticated":false}"#
                    .into(),
            );
        }
        assert_eq!(method, "record.query");
        let rows = self.query(&params.unwrap_or_default(), Grammar::Glob, "*");
        let row = |row: &StoredValue| json!({"record": row.record_name, "value": row.value, "stored_at": row.stored_at});
        let values: Vec<_> = rows.iter().map(row).collect();
        let result = json!({"values": values, "count": values.len()});
        Action::Frame(format!(r#"{{"id":{id},"result":{result}}}"#))
    }

    fn answer_of_three(&self, message: &str) -> Action {
        let Ok(Frame { t: "req", id: Some(id), method: Some(method), params }) =
            serde_json::from_str(message)
        else {
            return Action::Silence;
        };
        let params: Value = params.map_or(Value::Null, |p| serde_json::from_str(p.get()).unwrap());
        let ok = match method {
            "hello" => {
                assert_eq!(params["version"], "3.0");
                json!({"version": "3.0", "server": "aimdb", "permissions": ["read"],
                    "writable_records": [], "max_subscriptions": 32, "authenticated": false})
            }
            "record.query" => {
                let mut rows = self.query(&params, Grammar::Topic, "#");
                // As aimdb-persistence 0.2 does it, and annals-aimdb.
                rows.sort_by_key(|row| row.stored_at);
                let row = |row: &StoredValue| json!({"topic": row.record_name, "payload": row.value, "ts": row.stored_at});
                let records: Vec<_> = rows.iter().map(row).collect();
                json!({"records": records, "total": records.len()})
            }
            _ => return Action::Frame(format!(r#"{{"t":"reply","id":{id},"err":"not_found"}}"#)),
        };
        Action::Frame(format!(r#"{{"t":"reply","id":{id},"ok":{ok}}}"#))
    }

    fn query(&self, params: &Value, grammar: Grammar, every: &str) -> Vec<StoredValue> {
        let order = if self.wire == Wire::One { Order::NewestFirst } else { Order::OldestFirst };
        let asked = QueryParams::default()
            .with_limit_per_record(params["limit"].as_u64().map(|limit| limit as usize))
            .with_start_time(params["start"].as_u64())
            .with_end_time(params["end"].as_u64())
            .with_order(order)
            .with_grammar(grammar);
        wait(self.rows.query(params["name"].as_str().unwrap_or(every), asked)).unwrap()
    }
}

/// On its own thread: the test may run on a runtime.
fn wait<T: Send>(work: impl Future<Output = T> + Send) -> T {
    let run = || tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(work);
    thread::scope(|scope| scope.spawn(run).join().unwrap())
}
