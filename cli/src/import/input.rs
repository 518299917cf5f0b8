//! The input, read and parsed on its own thread: reading does not delay Ctrl-C and overlaps with
//! storing the previous batch.

use std::fs::File;
use std::io::{self, BufReader, IsTerminal, Read};
use std::path::Path;

use annals::Row;
use tokio::sync::mpsc;

use super::lines::{Line, Lines};
use super::row;
use super::table::{Columns, Record, Splitter, next_record};
use crate::cli::Exchange;
use crate::failure::Failure;
use crate::moment::now_ms;
use crate::stderr::print_note;

const BUFFER_BYTES: usize = 1 << 20;
/// The rows, and the bytes of values, at which a batch ends.
const BATCH_ROWS: usize = 4096;
const BATCH_BYTES: usize = 4 << 20;
/// The number of batches that are read ahead.
const BATCHES_AHEAD: usize = 2;

/// A row with the number of its line.
#[derive(Debug)]
pub(super) struct Numbered {
    pub(super) line: u64,
    pub(super) row: Row,
}

/// An invalid line and the reason.
#[derive(Debug)]
pub(super) struct BadLine {
    pub(super) line: u64,
    pub(super) why: String,
}

/// What the thread reads, in the order of the input.
#[derive(Debug)]
pub(super) enum Chunk {
    /// Rows, and the number of bytes of the input up to their end.
    Rows(Vec<Numbered>, u64),
    Bad(BadLine),
    /// The input cannot be read further.
    Broken(io::Error),
}

/// An open input.
pub(super) struct Input {
    input: Box<dyn Read + Send>,
    /// The size in bytes, of a regular file.
    pub(super) size: Option<u64>,
}

impl Input {
    /// Opens a file, or stdin for `-`.
    pub(super) fn open(path: &Path) -> Result<Self, Failure> {
        if path == Path::new("-") {
            if io::stdin().is_terminal() {
                print_note("reading rows from the terminal; Ctrl-D ends the input");
            }
            return Ok(Self { input: Box::new(io::stdin()), size: None });
        }
        let open = || {
            let file = File::open(path)?;
            let metadata = file.metadata()?;
            if metadata.is_dir() {
                return Err(io::ErrorKind::IsADirectory.into());
            }
            Ok(Self { input: Box::new(file), size: metadata.is_file().then_some(metadata.len()) })
        };
        open().map_err(|error: io::Error| {
            Failure::Failed(format!("{} cannot be read: {error}", path.display()))
        })
    }

    /// Starts the thread. It ends with the input, or when the receiver is dropped.
    pub(super) fn start(self, form: Exchange) -> Result<mpsc::Receiver<Chunk>, Failure> {
        let (chunks, received) = mpsc::channel(BATCHES_AHEAD);
        let work = move || read(self.input, form, &chunks);
        match std::thread::Builder::new().name("import".to_owned()).spawn(work) {
            Ok(_detached) => Ok(received),
            Err(error) => Err(Failure::Failed(format!("a thread cannot be started: {error}"))),
        }
    }
}

/// The result of one line, or of the lines of one CSV record: a row, nothing, or why it is invalid.
/// `None` is the end.
type Parsed = Option<Result<Option<Row>, String>>;

/// Turns lines into rows.
enum Reader {
    Ndjson,
    /// The columns are `None` until the header is read.
    Csv(Splitter, Option<Columns>),
}

impl Reader {
    fn next<R: io::BufRead>(&mut self, lines: &mut Lines<R>, now: u64) -> io::Result<Parsed> {
        let too_long = || Err("it is longer than the longest possible row".to_owned());
        let Self::Csv(splitter, columns) = self else {
            return Ok(lines.next()?.map(|line| match line {
                Line::Whole(line) => row::parse(line, now),
                Line::TooLong => too_long(),
            }));
        };
        let record = next_record(lines)?;
        Ok(match (record, columns.as_ref()) {
            (None, _) => None,
            (Some(Record::TooLong), _) => Some(too_long()),
            (Some(Record::Open), _) => Some(Err("a quote is not closed".to_owned())),
            (Some(Record::Whole(record)), Some(columns)) => {
                Some(columns.parse(&record, splitter, now))
            }
            (Some(Record::Whole(header)), None) => {
                // Without a header no record can be read.
                let invalid = |reason| io::Error::new(io::ErrorKind::InvalidData, reason);
                *columns = Some(Columns::new(&header, splitter).map_err(invalid)?);
                Some(Ok(None))
            }
        })
    }
}

fn read(input: Box<dyn Read + Send>, form: Exchange, chunks: &mpsc::Sender<Chunk>) {
    let mut lines = Lines::new(BufReader::with_capacity(BUFFER_BYTES, input));
    let mut reader = match form {
        Exchange::Ndjson => Reader::Ndjson,
        Exchange::Csv => Reader::Csv(Splitter::new(), None),
    };
    let mut rows = Vec::new();
    let mut value_bytes = 0;
    let mut now = 0;
    loop {
        // Rows without a time keep their order if the wall clock steps back.
        now = now_ms().max(now);
        let parsed = match reader.next(&mut lines, now) {
            Ok(Some(parsed)) => parsed,
            Ok(None) => {
                send_rows(chunks, rows, lines.bytes());
                return;
            }
            Err(error) => {
                send_rows(chunks, rows, lines.bytes());
                let _receiver_gone = chunks.blocking_send(Chunk::Broken(error));
                return;
            }
        };
        let line = lines.number();
        match parsed {
            Ok(Some(row)) => {
                value_bytes += row.value.len();
                rows.push(Numbered { line, row });
            }
            Ok(None) => {}
            Err(why) => {
                let bad = Chunk::Bad(BadLine { line, why });
                let sent = send_rows(chunks, std::mem::take(&mut rows), lines.bytes());
                value_bytes = 0;
                if !sent || chunks.blocking_send(bad).is_err() {
                    return;
                }
            }
        }
        // A batch is sent when it is full, and when the next line is not there yet: slow input is
        // stored as it arrives.
        let full = rows.len() >= BATCH_ROWS || value_bytes >= BATCH_BYTES;
        if full || !lines.has_line_at_hand() {
            value_bytes = 0;
            if !send_rows(chunks, std::mem::take(&mut rows), lines.bytes()) {
                return;
            }
        }
    }
}

/// Whether the receiver is still there.
fn send_rows(chunks: &mpsc::Sender<Chunk>, rows: Vec<Numbered>, bytes: u64) -> bool {
    rows.is_empty() || chunks.blocking_send(Chunk::Rows(rows, bytes)).is_ok()
}
