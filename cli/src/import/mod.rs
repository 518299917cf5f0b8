//! `annals import`: stores the rows of files.
//!
//! An input is opened and decompressed ([`input`]), parsed into entries ([`csv`], [`json`],
//! [`lineprotocol`]), converted to rows and cut into batches on a separate thread ([`read`]), and
//! stored batch by batch ([`sink`]). The id of a batch is the digest of what was read up to its end,
//! so an import that was stopped continues without storing a row twice.

mod columns;
mod csv;
mod decode;
mod dry;
mod entry;
mod input;
mod json;
mod lineprotocol;
mod lines;
mod objects;
mod options;
#[cfg(feature = "parquet")]
mod parquet;
mod read;
mod sink;
mod text;
mod time;
mod value;

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use annals::{Outcome, PersistenceBackend, PersistenceError};
use tokio::sync::mpsc;

use crate::failure::{Failure, stop_at_once};
use crate::output::counted;
use crate::progress::Progress;
use crate::signals::Signals;
use crate::stderr::{print_error, print_note};
use crate::store;
use dry::Dry;
use input::Input;
pub(crate) use options::Args;
use read::{BadLine, Numbered, Piece, RowBatch};
use sink::{Ids, Refusal, Sink};

/// The number of left-out lines that are reported one by one.
const LINES_SAID: u64 = 10;
/// The most rows, and bytes of values, of `--atomic`.
const ATOMIC_ROWS: usize = 1_000_000;
const ATOMIC_BYTES: usize = 256 << 20;

pub(crate) async fn run(backend: &str, args: Args) -> Result<(), Failure> {
    // Before the store, so that a misspelt file name does not create one.
    let input = Input::open(&args.file, args.input, args.encoding)?;
    let (size, consumed) = (input.size, input.consumed.clone());
    let plan = args.plan(&input)?;
    let ids = args.ids(&input);
    let unit = args.unit(&input);
    let announce = args.announces(&input);
    let mut signals = Signals::listen()?;
    let pieces = read::start(input, plan)?;
    let mut import = Import {
        target: Target::Nothing,
        progress: Progress::new(size),
        consumed,
        unit,
        is_file: size.is_some(),
        announce,
        skip_invalid: args.skip_invalid,
        left_out: 0,
        empty: 0,
        remarks: Vec::new(),
        interrupted: false,
    };
    if args.dry_run {
        import.target = Target::Dry(Dry::default());
        let result = import.pump(pieces, &mut signals).await;
        import.progress.clear();
        return result.and_then(|()| import.sum_up());
    }
    let store = store::open(backend).await?;
    let guarantees = store.guarantees();
    if args.atomic && !guarantees.atomic_batches {
        return Err(Failure::Usage(
            "this backend cannot store a batch as a whole; leave --atomic out".to_owned(),
        ));
    }
    if args.resume && !guarantees.idempotent_batches {
        return Err(Failure::Usage(
            "this backend does not know what it has stored already; leave --resume out".to_owned(),
        ));
    }
    let ids = match guarantees.idempotent_batches {
        true => ids,
        false => Ids::Random { writer: 0, batches: 0 },
    };
    let sink = Sink::new(store.clone(), ids, args.skip_invalid);
    import.target = match args.atomic {
        true => Target::Whole(sink, RowBatch::default(), 0),
        false => Target::Store(sink),
    };
    let mut result = import.pump(pieces, &mut signals).await;
    if result.is_ok() {
        result = import.store_whole(&mut signals).await;
    }
    import.progress.clear();
    let closed = store.close().await;
    result?;
    closed?;
    import.sum_up()
}

/// The destination of rows.
enum Target {
    Nothing,
    Store(Sink),
    /// All rows in one batch at the end, and the bytes of their values.
    Whole(Sink, RowBatch, usize),
    Dry(Dry),
}

/// A running import.
struct Import {
    target: Target,
    progress: Progress,
    consumed: Arc<AtomicU64>,
    /// `line`, `object` or `row`.
    unit: &'static str,
    is_file: bool,
    /// Whether to describe the input.
    announce: bool,
    skip_invalid: bool,
    left_out: u64,
    empty: u64,
    remarks: Vec<String>,
    interrupted: bool,
}

impl Import {
    async fn pump(
        &mut self,
        mut pieces: mpsc::Receiver<Piece>,
        signals: &mut Signals,
    ) -> Result<(), Failure> {
        loop {
            let piece = tokio::select! {
                biased;
                () = signals.next() => return Err(self.stopped()),
                piece = pieces.recv() => piece,
            };
            match piece {
                None => return Ok(()),
                Some(Piece::Batch(batch)) => self.take(batch, signals).await?,
                Some(Piece::Found(found)) if self.announce => {
                    print_note(&format!("reading {found}"))
                }
                Some(Piece::Found(_)) => {}
                Some(Piece::Remarks(remarks)) => self.remarks = remarks,
                Some(Piece::Broken(error)) => {
                    let go_on = match (self.is_file, self.rows()) {
                        (true, 1..) => "; mend it and run the same command with --resume",
                        _ => "",
                    };
                    return Err(Failure::Failed(format!(
                        "the input cannot be read: {error}; {}{go_on}",
                        self.so_far()
                    )));
                }
            }
            self.progress.at(self.consumed.load(Ordering::Relaxed), self.rows());
            if self.interrupted {
                return Err(self.stopped());
            }
        }
    }

    async fn take(&mut self, batch: RowBatch, signals: &mut Signals) -> Result<(), Failure> {
        self.empty += batch.empty;
        match &mut self.target {
            Target::Nothing => Ok(()),
            Target::Dry(dry) => {
                let RowBatch { rows, bad, .. } = batch;
                for Numbered { row, .. } in rows {
                    dry.see(&row)?;
                }
                match bad.into_iter().map(|(_, bad)| bad) {
                    mut bad if !self.skip_invalid => {
                        bad.next().map_or(Ok(()), |bad| Err(self.refused(&bad)))
                    }
                    bad => {
                        bad.for_each(|bad| self.leave_out(&bad));
                        Ok(())
                    }
                }
            }
            Target::Whole(_, whole, bytes) => {
                *bytes += batch.rows.iter().map(|row| row.row.value.len()).sum::<usize>();
                let before = whole.rows.len();
                whole.rows.extend(batch.rows);
                whole.marks = batch.marks.into_iter().map(|(end, d)| (before + end, d)).collect();
                whole.bad.extend(batch.bad.into_iter().map(|(end, bad)| (before + end, bad)));
                if whole.rows.len() > ATOMIC_ROWS || *bytes > ATOMIC_BYTES {
                    return Err(Failure::Failed(format!(
                        "the input is too large for --atomic, which takes {ATOMIC_ROWS} rows and \
                         {} MiB of values; nothing is stored",
                        ATOMIC_BYTES >> 20
                    )));
                }
                match whole.bad.first() {
                    Some((_, bad)) if !self.skip_invalid => Err(Failure::Failed(format!(
                        "{} {} cannot be stored: {}; nothing is stored",
                        self.unit, bad.line, bad.why
                    ))),
                    _ => Ok(()),
                }
            }
            Target::Store(_) => self.store(batch, signals).await,
        }
    }

    /// Stores the rows collected for `--atomic`.
    async fn store_whole(&mut self, signals: &mut Signals) -> Result<(), Failure> {
        match std::mem::replace(&mut self.target, Target::Nothing) {
            Target::Whole(sink, whole, _) => {
                self.target = Target::Store(sink);
                self.store(whole, signals).await
            }
            other => {
                self.target = other;
                Ok(())
            }
        }
    }

    /// Stores a batch. A first Ctrl-C waits for it, to keep the count right; a second one does not.
    async fn store(&mut self, batch: RowBatch, signals: &mut Signals) -> Result<(), Failure> {
        let Target::Store(sink) = &mut self.target else { return Ok(()) };
        let (stored_before, rows) = (sink.stored, batch.rows.len());
        let result = {
            let mut storing = std::pin::pin!(sink.store(batch));
            loop {
                tokio::select! {
                    biased;
                    result = &mut storing => break result,
                    () = signals.next() => {
                        if self.interrupted {
                            stop_at_once(&format!(
                                "stopped at once; {} stored for certain, the next {rows} perhaps",
                                counted(stored_before, "row"),
                            ));
                        }
                        print_error("waiting for the batch on its way; Ctrl-C again does not wait");
                        self.interrupted = true;
                    }
                }
            }
        };
        for bad in std::mem::take(&mut sink.left_out) {
            self.leave_out(&bad);
        }
        match result {
            Ok(()) => Ok(()),
            Err(Refusal::Line(bad)) => Err(self.refused(&bad)),
            Err(Refusal::Known) => Err(Failure::Failed(
                "this file was imported before; --resume stores what is missing of it, and --again \
                 stores its rows a second time; nothing is stored"
                    .to_owned(),
            )),
            Err(Refusal::Store(error)) => Err(self.failed(&error)),
        }
    }

    fn refused(&self, BadLine { line, why }: &BadLine) -> Failure {
        let unit = self.unit;
        let go_on = match (&self.target, self.is_file) {
            (Target::Dry(_), _) => format!("correct the {unit}"),
            (_, true) => format!(
                "correct the {unit} and run the same command with --resume, or skip such {unit}s \
                 with --resume --skip-invalid"
            ),
            (_, false) => format!(
                "correct the {unit} and go on from {unit} {line} (of CSV, keep the header), or \
                 skip such {unit}s with --skip-invalid"
            ),
        };
        Failure::Failed(format!(
            "{unit} {line} cannot be stored: {why}; {}; {go_on}",
            self.so_far()
        ))
    }

    fn leave_out(&mut self, BadLine { line, why }: &BadLine) {
        self.left_out += 1;
        let unit = self.unit;
        if self.left_out <= LINES_SAID {
            print_error(&format!("{unit} {line} is skipped: {why}"));
        }
        if self.left_out == LINES_SAID {
            print_error(&format!("further skipped {unit}s are counted, not listed"));
        }
    }

    /// The number of rows stored, or seen by a dry run.
    fn rows(&self) -> u64 {
        match &self.target {
            Target::Nothing => 0,
            Target::Store(sink) => sink.stored + sink.there,
            Target::Whole(_, whole, _) => whole.rows.len() as u64,
            Target::Dry(dry) => dry.rows,
        }
    }

    fn so_far(&self) -> String {
        match (&self.target, self.rows()) {
            (Target::Dry(_) | Target::Whole(..) | Target::Nothing, _) | (_, 0) => {
                "nothing is stored".to_owned()
            }
            (_, 1) => "the 1 row before it is stored".to_owned(),
            (_, rows) => format!("the {rows} rows before it are stored"),
        }
    }

    fn failed(&self, error: &PersistenceError) -> Failure {
        let stored = counted(self.rows(), "row");
        let go_on = match self.is_file {
            true => "; run the same command with --resume to go on",
            false => "",
        };
        Failure::Failed(match error.outcome() {
            Outcome::NotApplied => format!("{error}; {stored} stored before it failed{go_on}"),
            _ => {
                format!("{error}; {stored} stored for certain, the batch after them perhaps{go_on}")
            }
        })
    }

    fn stopped(&self) -> Failure {
        let go_on = match self.is_file {
            true => "; run the same command with --resume to go on",
            false => "",
        };
        Failure::Interrupted(format!("stopped; {} stored{go_on}", counted(self.rows(), "row")))
    }

    fn sum_up(&self) -> Result<(), Failure> {
        self.remarks.iter().for_each(|remark| print_note(remark));
        let mut parts = Vec::new();
        match &self.target {
            Target::Store(sink) => {
                parts.push(format!("{} stored", counted(sink.stored, "row")));
                if sink.there > 0 {
                    parts.push(format!("{} already there", sink.there));
                }
            }
            Target::Dry(dry) => parts.push(dry.describe()),
            Target::Nothing | Target::Whole(..) => {}
        }
        if self.left_out > 0 {
            parts.push(format!("{} skipped", counted(self.left_out, self.unit)));
        }
        if self.empty > 0 {
            parts.push(format!("{} skipped", counted(self.empty, "empty cell")));
        }
        let mut out = io::stdout().lock();
        writeln!(out, "{}", parts.join(", "))
            .and_then(|()| out.flush())
            .map_err(Failure::Output)?;
        match (self.rows(), self.left_out) {
            (0, 1..) => Err(Failure::Failed(format!("no {} was stored", self.unit))),
            _ => Ok(()),
        }
    }
}
