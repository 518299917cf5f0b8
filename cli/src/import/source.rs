//! The input, read and parsed on a thread of its own, so that reading never holds up Ctrl-C and
//! goes on while the batch before is stored.

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
use crate::say::say;

const BUFFER_BYTES: usize = 1 << 20;
/// A batch ends at so many rows, or bytes of values.
const BATCH_ROWS: usize = 4096;
const BATCH_BYTES: usize = 4 << 20;
/// How many batches may be read ahead.
const BATCHES_AHEAD: usize = 2;

/// A row with the number of its line.
#[derive(Debug)]
pub(super) struct Numbered {
    pub(super) line: u64,
    pub(super) row: Row,
}

/// A line that is no row, and why.
#[derive(Debug)]
pub(super) struct BadLine {
    pub(super) line: u64,
    pub(super) why: String,
}

/// What the thread has read, in the order of the input.
#[derive(Debug)]
pub(super) enum Piece {
    /// Rows, and how many bytes of the input lie behind them.
    Rows(Vec<Numbered>, u64),
    Bad(BadLine),
    /// The input cannot be read any further.
    Broken(io::Error),
}

/// An input that was opened.
pub(super) struct Source {
    input: Box<dyn Read + Send>,
    /// The size in bytes, of a regular file.
    pub(super) size: Option<u64>,
}

impl Source {
    /// Opens a file, or stdin for `-`.
    pub(super) fn open(path: &Path) -> Result<Self, Failure> {
        if path == Path::new("-") {
            if io::stdin().is_terminal() {
                say("reading rows from the terminal; Ctrl-D ends");
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

    /// Starts the thread. It ends with the input, or when nobody listens any more.
    pub(super) fn start(self, form: Exchange) -> Result<mpsc::Receiver<Piece>, Failure> {
        let (pieces, received) = mpsc::channel(BATCHES_AHEAD);
        let work = move || read(self.input, form, &pieces);
        match std::thread::Builder::new().name("import".to_owned()).spawn(work) {
            Ok(_detached) => Ok(received),
            Err(error) => Err(Failure::Failed(format!("a thread cannot be started: {error}"))),
        }
    }
}

/// A parsed line, or several: a row, nothing, or why it is no row. `None` is the end.
type Parsed = Option<Result<Option<Row>, String>>;

/// How rows are read of lines.
enum Reader {
    Ndjson,
    /// Without columns until the header is read.
    Csv(Splitter, Option<Columns>),
}

impl Reader {
    fn next<R: io::BufRead>(&mut self, lines: &mut Lines<R>, now: u64) -> io::Result<Parsed> {
        let too_long = || Err("it is longer than any row can be".to_owned());
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
            (Some(Record::Open), _) => Some(Err("its quotes do not end".to_owned())),
            (Some(Record::Whole(record)), Some(columns)) => {
                Some(columns.parse(&record, splitter, now))
            }
            (Some(Record::Whole(header)), None) => {
                // Without a header nothing can be read.
                let invalid = |reason| io::Error::new(io::ErrorKind::InvalidData, reason);
                *columns = Some(Columns::new(&header, splitter).map_err(invalid)?);
                Some(Ok(None))
            }
        })
    }
}

fn read(input: Box<dyn Read + Send>, form: Exchange, pieces: &mpsc::Sender<Piece>) {
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
                send_rows(pieces, rows, lines.bytes());
                return;
            }
            Err(error) => {
                send_rows(pieces, rows, lines.bytes());
                let _nobody_listens = pieces.blocking_send(Piece::Broken(error));
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
                let bad = Piece::Bad(BadLine { line, why });
                let sent = send_rows(pieces, std::mem::take(&mut rows), lines.bytes());
                value_bytes = 0;
                if !sent || pieces.blocking_send(bad).is_err() {
                    return;
                }
            }
        }
        // A batch is sent when it is full, and when the next line would have to be waited for:
        // what somebody types or a pipe brings slowly is stored as it comes.
        let full = rows.len() >= BATCH_ROWS || value_bytes >= BATCH_BYTES;
        if full || !lines.has_line_at_hand() {
            value_bytes = 0;
            if !send_rows(pieces, std::mem::take(&mut rows), lines.bytes()) {
                return;
            }
        }
    }
}

/// Whether somebody still listens.
fn send_rows(pieces: &mpsc::Sender<Piece>, rows: Vec<Numbered>, bytes: u64) -> bool {
    rows.is_empty() || pieces.blocking_send(Piece::Rows(rows, bytes)).is_ok()
}
