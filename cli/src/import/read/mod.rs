//! Reads the input into batches of rows, on a separate thread: reading never delays Ctrl-C, and goes
//! on while the previous batch is stored.
//!
//! A file is known by a digest of everything up to its first row. Each line has its number and a
//! digest of everything up to its end, so that a store can tell how far it knows the file, and
//! whether that part is still the same.

mod block;
mod formats;

use annals::Row;
use tokio::sync::mpsc;
use twox_hash::XxHash3_128;

use super::columns::Layout;
use super::entry::{Converter, Entry};
use super::input::{Format, Input};
use super::json::Pointers;
use super::numbers::Numbers;
use super::text::{MIXED, NOT_UTF8};
use super::unused::Unused;
use crate::failure::Failure;
use crate::moment::now_ms;
use block::{Block, Waiting};

/// The size of a batch, in rows and in bytes of the input.
const BATCH_ROWS: usize = 4096;
const BATCH_BYTES: usize = 4 << 20;
/// The number of batches read ahead.
const BATCHES_AHEAD: usize = 2;
/// The lines that decide how times are read, and the memory that they take at most.
const FIRST_BLOCK: usize = 4096;
const FIRST_BLOCK_BYTES: usize = 16 << 20;
/// What an entry takes beside its text.
const ENTRY_BYTES: usize = 128;

/// A row and the number of its line.
#[derive(Debug)]
pub(super) struct Numbered {
    pub(super) line: u64,
    pub(super) row: Row,
}

/// A line that is not a row, and why.
#[derive(Debug)]
pub(super) struct BadLine {
    pub(super) line: u64,
    pub(super) why: String,
}

/// Rows that are stored together.
#[derive(Debug, Default)]
pub(super) struct RowBatch {
    pub(super) rows: Vec<Numbered>,
    /// The digest of everything up to the first row of the input, from that row on.
    pub(super) file: Option<u128>,
    /// How many lines came before the batch. Remarks, blank lines and the header do not count.
    pub(super) before: u64,
    /// For each line: the number of rows up to its end, and the digest of the input up to there.
    pub(super) marks: Vec<(usize, u128)>,
    /// Lines that are not rows, each with the index of its mark.
    pub(super) bad: Vec<(usize, BadLine)>,
    /// The number of empty cells.
    pub(super) empty: u64,
    /// The last line, stored or not.
    pub(super) last_line: u64,
    /// Notes on the input up to here.
    pub(super) remarks: Vec<String>,
}

/// What the thread sends, in the order of the input.
#[derive(Debug)]
pub(super) enum Piece {
    Batch(RowBatch),
    /// A description of the input.
    Found(String),
    /// The rest of the input cannot be read.
    Broken(String),
    /// The options do not fit the rows.
    Refused(String),
    /// All was read. Without it, the thread has failed.
    End,
}

/// What a last line without a line end is, where the format does not tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LastLine {
    /// A row.
    Accepted,
    /// A row unless something may be missing at its end.
    MayBeCut,
    /// Being written: the import will go on with it.
    Growing,
}

/// How an input is read.
pub(super) struct Plan {
    pub(super) pointers: Pointers,
    pub(super) layout: Layout,
    pub(super) converter: Converter,
    /// The options that rows depend on.
    pub(super) fingerprint: String,
    /// Whether batches depend on the content alone. Otherwise a batch also ends where the next line
    /// has not arrived yet: rows from a slow pipe are stored as they come.
    pub(super) repeatable: bool,
    /// The first line to store. What stands before it is read and left out.
    pub(super) start_at: u64,
    /// What a last line without a line end is.
    pub(super) last_line: LastLine,
    /// Whether rows without a time are meant to have the time of the import.
    pub(super) time_now: bool,
    /// Whether the input is a file: what was recorded, not what happens now.
    pub(super) is_file: bool,
}

/// Starts the thread. It ends with the input, or when the receiver is gone.
pub(super) fn start(input: Input, plan: Plan) -> Result<mpsc::Receiver<Piece>, Failure> {
    let (pieces, received) = mpsc::channel(BATCHES_AHEAD);
    let cutter = Cutter::new(&input, plan, pieces);
    match std::thread::Builder::new().name("import".to_owned()).spawn(move || cutter.run(input)) {
        Ok(_detached) => Ok(received),
        Err(error) => Err(Failure::Failed(format!("a thread cannot be started: {error}"))),
    }
}

/// Reads all of the input on this thread.
#[cfg(feature = "_test-import")]
pub(super) fn all(input: Input, plan: Plan) -> mpsc::Receiver<Piece> {
    let (pieces, received) = mpsc::channel(tokio::sync::Semaphore::MAX_PERMITS);
    Cutter::new(&input, plan, pieces).run(input);
    received
}

/// The receiver is gone, or knows that the input is broken.
struct Gone;

/// Cuts what is read into batches.
struct Cutter {
    pieces: mpsc::Sender<Piece>,
    digest: XxHash3_128,
    plan: Plan,
    /// A description of the input.
    found: String,
    /// Whether it was sent.
    described: bool,
    first_block: Option<Block>,
    /// The rows, or entries in the first block, of the current line.
    item: Vec<Result<Row, Entry<'static>>>,
    batch: RowBatch,
    batch_bytes: usize,
    /// The digest of everything up to the first row.
    file: Option<u128>,
    /// How many lines came before the batch.
    lines_before: u64,
    /// What the first rows have beside their parts.
    unused: Unused,
    /// The option that names one of them as the time.
    time_option: &'static str,
    /// The numbers among the cells.
    numbers: Numbers,
    /// Whether numbers with commas are probably not meant to be text.
    decimal_commas: bool,
    /// Whether the current line has letters beyond ASCII, and whether a line before has.
    beyond_ascii: bool,
    beyond_ascii_before: bool,
    now: u64,
}

impl Cutter {
    fn new(input: &Input, plan: Plan, pieces: mpsc::Sender<Piece>) -> Self {
        let mut digest = XxHash3_128::new();
        digest.write(plan.fingerprint.as_bytes());
        let time_option = match input.format {
            Format::Ndjson | Format::Json | Format::Influx => "--time-pointer",
            Format::Csv | Format::Tsv | Format::Parquet => "--time-column",
        };
        Self {
            pieces,
            digest,
            plan,
            found: input.describe(),
            // Of an empty input there is nothing to say.
            described: input.head.is_empty(),
            first_block: Some(Block::default()),
            item: Vec::new(),
            batch: RowBatch::default(),
            batch_bytes: 0,
            file: None,
            lines_before: 0,
            unused: Unused::default(),
            time_option,
            numbers: Numbers::default(),
            decimal_commas: false,
            beyond_ascii: false,
            beyond_ascii_before: false,
            now: 0,
        }
    }

    fn run(mut self, input: Input) {
        let read = match input.format {
            Format::Ndjson | Format::Influx => self.read_lines(input),
            Format::Csv | Format::Tsv => self.read_table(input),
            Format::Json => self.read_json(input),
            Format::Parquet => self.read_parquet(input),
        };
        // The rows before an unreadable place are stored.
        let ended = match read {
            Ok(None) => self.end().map(|()| None),
            // Before the first row there is nothing to describe.
            Ok(Some(broken)) if self.is_before_the_first_row() => Ok(Some(broken)),
            Ok(Some(broken)) => self.end().map(|()| Some(broken)),
            Err(Gone) => Err(Gone),
        };
        let last = match ended {
            Ok(None) => Piece::End,
            Ok(Some(broken)) => Piece::Broken(broken),
            Err(Gone) => return,
        };
        let _nobody_listens = self.pieces.blocking_send(last);
    }

    fn is_before_the_first_row(&self) -> bool {
        self.lines_before == 0
            && self.batch.marks.is_empty()
            && self.first_block.as_ref().is_some_and(|block| block.lines.is_empty())
    }

    /// Takes the bytes of a line into the digest.
    fn saw(&mut self, line: &[u8]) {
        self.digest.write(line);
        self.beyond_ascii_before = self.beyond_ascii;
        self.beyond_ascii |= !line.is_ascii();
    }

    /// Whether the reader shows what rows have beside their parts.
    fn looks_for_times(&mut self) -> bool {
        let looks = !self.plan.time_now && self.first_block.is_some() && !self.unused.is_full();
        if looks {
            self.unused.next_row();
        }
        looks
    }

    /// Adds an entry of the current line.
    fn entry(&mut self, entry: Entry<'_>) -> Result<(), String> {
        if self.first_block.is_some() {
            self.item.push(Err(entry.into_owned()));
            return Ok(());
        }
        let row = self.plan.converter.row(&entry, self.now)?;
        self.item.push(Ok(row));
        Ok(())
    }

    fn end_of_item(
        &mut self,
        line: u64,
        mut bad: Option<String>,
        empty: u64,
        bytes: usize,
        at_hand: bool,
    ) -> Result<(), Gone> {
        if let Some(why) = &mut bad
            && self.beyond_ascii_before
            && let Some(before) = why.strip_suffix(NOT_UTF8)
        {
            *why = format!("{before}{MIXED}");
        }
        // Rows without a time keep their order if the wall clock steps back.
        self.now = now_ms().max(self.now);
        let item = std::mem::take(&mut self.item);
        let digest = self.digest.finish_128();
        let hold = !at_hand && !self.plan.repeatable;
        if let Some(block) = &mut self.first_block {
            block.bytes += bytes + item.len() * ENTRY_BYTES;
            let entries = bad.map_or(Ok(item.into_iter().filter_map(Result::err).collect()), Err);
            block.lines.push(Waiting { line, entries, digest, empty, bytes });
            if block.lines.len() < FIRST_BLOCK && block.bytes < FIRST_BLOCK_BYTES && !hold {
                return Ok(());
            }
            self.decide_times()?;
        } else {
            let rows = match bad {
                Some(why) => Err(why),
                None => Ok(item.into_iter().filter_map(Result::ok).collect()),
            };
            self.add(line, rows, digest, empty, bytes)?;
        }
        if hold { self.send() } else { Ok(()) }
    }

    /// Decides the format of times and converts the first block. Without any time in it, the next
    /// block is the first.
    fn decide_times(&mut self) -> Result<(), Gone> {
        let Some(block) = self.first_block.take() else { return Ok(()) };
        let entries =
            block.lines.iter().filter_map(|waiting| waiting.entries.as_ref().ok()).flatten();
        let times = entries.clone().filter_map(|entry| entry.time.as_deref());
        let decided = self.plan.converter.times.decide(times);
        if let Some(why) = decided.err().or_else(|| self.doubt(&block)) {
            return self.refuse(why);
        }
        let times = &self.plan.converter.times;
        let is_open = times.is_open();
        if !self.described || (!is_open && !block.lines.is_empty()) {
            self.described = true;
            let has_rows = block.has_rows();
            let found = match is_open && !has_rows {
                true => self.found.clone(),
                false => format!("{}, times: {}", self.found, times.describe()),
            };
            self.pieces.blocking_send(Piece::Found(found)).map_err(|_| Gone)?;
        }
        for Waiting { line, entries, digest, empty, bytes } in block.lines {
            let converter = &mut self.plan.converter;
            let rows = entries.and_then(|entries| {
                entries.iter().map(|entry| converter.row(entry, self.now)).collect()
            });
            self.add(line, rows, digest, empty, bytes)?;
        }
        if is_open {
            self.first_block = Some(Block::default());
        }
        Ok(())
    }

    fn add(
        &mut self,
        line: u64,
        rows: Result<Vec<Row>, String>,
        digest: u128,
        empty: u64,
        bytes: usize,
    ) -> Result<(), Gone> {
        if line < self.plan.start_at {
            return Ok(());
        }
        self.batch.last_line = line;
        match rows {
            Ok(rows) => {
                self.batch.rows.extend(rows.into_iter().map(|row| Numbered { line, row }));
                self.batch.empty += empty;
            }
            Err(why) => {
                self.batch.bad.push((self.batch.marks.len(), BadLine { line, why }));
            }
        }
        if self.file.is_none() && !self.batch.rows.is_empty() {
            self.file = Some(digest);
        }
        self.batch.marks.push((self.batch.rows.len(), digest));
        self.batch_bytes += bytes;
        if self.batch.marks.len() >= BATCH_ROWS
            || self.batch.rows.len() >= BATCH_ROWS
            || self.batch_bytes >= BATCH_BYTES
        {
            return self.send();
        }
        Ok(())
    }

    fn send(&mut self) -> Result<(), Gone> {
        let mut batch = std::mem::take(&mut self.batch);
        self.batch_bytes = 0;
        if batch.marks.is_empty() {
            return Ok(());
        }
        (batch.file, batch.before) = (self.file, self.lines_before);
        self.lines_before += batch.marks.len() as u64;
        batch.remarks = self.plan.converter.times.remarks();
        batch.remarks.extend(self.plan.converter.remark());
        batch.remarks.extend(self.numbers.remarks());
        self.pieces.blocking_send(Piece::Batch(batch)).map_err(|_| Gone)
    }

    fn end(&mut self) -> Result<(), Gone> {
        self.decide_times()?;
        self.send()
    }
}
