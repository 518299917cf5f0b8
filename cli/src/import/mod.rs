//! `annals import`: stores the rows of files.
//!
//! An input is opened and decompressed ([`input`]), parsed into entries ([`csv`], [`json`],
//! [`lineprotocol`]), converted to rows and cut into batches on a separate thread ([`read`]), and
//! stored batch by batch ([`sink`]). The id of a batch says how far it reaches in the file, so an
//! import that was stopped continues without storing a row twice.

mod columns;
mod csv;
mod decode;
mod dry;
mod entry;
mod input;
mod json;
mod lineprotocol;
mod lines;
mod numbers;
mod objects;
mod options;
#[cfg(feature = "parquet")]
mod parquet;
mod read;
mod report;
mod sink;
mod text;
mod time;
mod unused;
mod value;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use annals::PersistenceBackend;
use tokio::sync::mpsc;

use crate::failure::{Failure, stop_at_once};
use crate::progress::Progress;
use crate::signals::Signals;
use crate::stderr::{print_error, print_note};
use crate::store;
use dry::Dry;
use input::Input;
pub(crate) use options::Args;
use read::{Numbered, Piece, RowBatch};
use report::Unsure;
use sink::{Ids, Refusal, Sink};

/// The most rows, and bytes of values, of `--atomic`.
const ATOMIC_ROWS: usize = 1_000_000;
const ATOMIC_BYTES: usize = 256 << 20;

/// The thread that reads has panicked: what it read is not the whole input.
const READER_FAILED: &str = "the reader failed with the message above, which is a mistake of the \
                             program; perhaps the file is damaged";

pub(crate) async fn run(backend: &str, args: Args) -> Result<(), Failure> {
    // Before the store, so that a misspelt file name does not create one.
    let input = Input::open(&args.file, args.format(), args.encoding)?;
    let (size, consumed) = (input.size, input.consumed.clone());
    let plan = args.plan(&input)?;
    let ids = args.ids(&input);
    let (unit, input_name) = (args.unit(&input), input::shown(&args.file));
    let mut signals = Signals::listen()?;
    let pieces = read::start(input, plan)?;
    let mut import = Import {
        target: Target::Nothing,
        progress: Progress::new(size),
        consumed,
        file: input_name,
        unit,
        atomic: args.atomic,
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
        if result.is_err() {
            import.print_remarks();
        }
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
    // The ids are of everything up to the end of a batch, the lines that are passed over included.
    if args.start_at.is_some() && matches!(ids, Ids::Content { .. }) {
        return Err(Failure::Usage(
            "--start-at is for pipes; a file goes on with --resume, which finds what is stored \
             already; leave --start-at out"
                .to_owned(),
        ));
    }
    let sink = Sink::new(store.clone(), ids, args.skip_invalid);
    import.target = match args.atomic {
        true => Target::Whole(sink, Whole::default()),
        false => Target::Store(sink),
    };
    let mut result = import.pump(pieces, &mut signals).await;
    if result.is_ok() {
        result = import.store_whole(&mut signals).await;
    }
    if result.is_ok() {
        result = import.end();
    }
    import.progress.clear();
    let closed = store.close().await;
    if result.is_err() {
        import.print_remarks();
    }
    result?;
    closed?;
    import.sum_up()
}

/// Reads a file with the options `words`, up to where its rows would be stored, and passes them to `row`.
///
/// # Errors
/// What is said of the options or the file.
#[cfg(feature = "_test-import")]
#[doc(hidden)]
pub fn read_rows(
    words: &[&str],
    file: &std::path::Path,
    row: &mut dyn FnMut(annals::Row),
) -> Result<(), String> {
    let name = ["import".as_ref()];
    let words = words.iter().map(std::ffi::OsStr::new);
    let file = ["--".as_ref(), file.as_os_str()];
    let args = <Args as clap::Parser>::try_parse_from(name.into_iter().chain(words).chain(file));
    let args = args.map_err(|error| error.to_string())?;
    let said = |failure| match failure {
        Failure::Usage(why) | Failure::Failed(why) => why,
        other => format!("{other:?}"),
    };
    let input = Input::open(&args.file, args.format(), args.encoding).map_err(said)?;
    let plan = args.plan(&input).map_err(said)?;
    let mut pieces = read::all(input, plan);
    while let Some(piece) = pieces.blocking_recv() {
        match piece {
            Piece::Batch(batch) => {
                batch.rows.into_iter().for_each(|Numbered { row: new, .. }| row(new))
            }
            Piece::Found(_) => {}
            Piece::End => return Ok(()),
            Piece::Broken(why) | Piece::Refused(why) => return Err(why),
        }
    }
    Err(READER_FAILED.to_owned())
}

/// The destination of rows.
enum Target {
    Nothing,
    Store(Sink),
    /// All rows at once, at the end.
    Whole(Sink, Whole),
    Dry(Dry),
}

/// The batches of an input, until they are stored as one.
#[derive(Default)]
struct Whole {
    batches: Vec<RowBatch>,
    rows: usize,
    bytes: usize,
}

/// A running import.
struct Import {
    target: Target,
    progress: Progress,
    consumed: Arc<AtomicU64>,
    /// The name of the input, for messages.
    file: String,
    /// `line`, `object` or `row`.
    unit: &'static str,
    atomic: bool,
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
                None => return Err(self.broken(READER_FAILED)),
                Some(Piece::End) => return Ok(()),
                Some(Piece::Batch(batch)) => self.take(batch, signals).await?,
                Some(Piece::Found(found)) => print_note(&format!("reading {found}")),
                Some(Piece::Broken(error)) => return Err(self.broken(&error)),
                Some(Piece::Refused(why)) => return Err(self.doubted(&why)),
            }
            self.progress.at(self.consumed.load(Ordering::Relaxed), self.rows());
            if self.interrupted {
                return Err(self.stopped());
            }
        }
    }

    async fn take(&mut self, mut batch: RowBatch, signals: &mut Signals) -> Result<(), Failure> {
        self.empty += batch.empty;
        self.remarks = std::mem::take(&mut batch.remarks);
        match &mut self.target {
            Target::Nothing => Ok(()),
            Target::Dry(dry) => {
                for Numbered { row, .. } in batch.rows {
                    dry.see(&row)?;
                }
                batch.bad.iter().for_each(|(_, bad)| self.leave_out(bad));
                Ok(())
            }
            Target::Whole(_, whole) => {
                whole.rows += batch.rows.len();
                whole.bytes += batch.rows.iter().map(|row| row.row.value.len()).sum::<usize>();
                if whole.rows > ATOMIC_ROWS || whole.bytes > ATOMIC_BYTES {
                    return Err(Failure::Failed(format!(
                        "the input is too large for --atomic, which takes {ATOMIC_ROWS} rows and \
                         {} MiB of values; nothing is stored",
                        ATOMIC_BYTES >> 20
                    )));
                }
                if !self.skip_invalid
                    && let Some((_, bad)) = batch.bad.first()
                {
                    return Err(self.refused(bad));
                }
                whole.batches.push(batch);
                Ok(())
            }
            Target::Store(_) => self.store(vec![batch], signals).await,
        }
    }

    /// Stores the rows collected for `--atomic`.
    async fn store_whole(&mut self, signals: &mut Signals) -> Result<(), Failure> {
        match std::mem::replace(&mut self.target, Target::Nothing) {
            Target::Whole(sink, whole) => {
                self.target = Target::Store(sink);
                self.store(whole.batches, signals).await
            }
            other => {
                self.target = other;
                Ok(())
            }
        }
    }

    /// Stores a batch, or all of them as one. A first Ctrl-C waits for it, to keep the count right; a
    /// second one does not.
    async fn store(
        &mut self,
        mut batches: Vec<RowBatch>,
        signals: &mut Signals,
    ) -> Result<(), Failure> {
        let Target::Store(sink) = &mut self.target else { return Ok(()) };
        let unsure = Unsure {
            stored: sink.stored,
            rows: batches.iter().map(|batch| batch.rows.len()).sum(),
            first_line: sink.next_line,
            last_line: batches.last().map_or(0, |batch| batch.last_line),
            resumable: sink.is_resumable(),
        };
        let result = {
            let storing = async {
                match batches.pop() {
                    Some(batch) if !self.atomic => sink.store(batch).await,
                    last => sink.store_whole(batches.into_iter().chain(last).collect()).await,
                }
            };
            let mut storing = std::pin::pin!(storing);
            loop {
                tokio::select! {
                    biased;
                    result = &mut storing => break result,
                    () = signals.next() => {
                        if self.interrupted {
                            stop_at_once(&unsure.describe("stopped at once"));
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
            Err(Refusal::Store(error)) => Err(self.failed(&error, &unsure)),
            Err(known) => Err(self.known(&known)),
        }
    }

    /// Checks that the input reached as far as it was imported before.
    fn end(&self) -> Result<(), Failure> {
        match &self.target {
            Target::Store(sink) => sink.end().map_err(|refusal| self.known(&refusal)),
            Target::Nothing | Target::Whole(..) | Target::Dry(_) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A reader that panicked was taken for the end of the input, and rows were lost.
    #[tokio::test]
    async fn an_input_that_ends_without_saying_so_is_broken() {
        for whole in [true, false] {
            let (pieces, received) = mpsc::channel(2);
            pieces.send(Piece::Batch(RowBatch::default())).await.unwrap();
            if whole {
                pieces.send(Piece::End).await.unwrap();
            }
            drop(pieces);
            let mut import = Import {
                target: Target::Dry(Dry::default()),
                progress: Progress::new(None),
                consumed: Arc::default(),
                file: String::new(),
                unit: "row",
                atomic: true,
                skip_invalid: false,
                left_out: 0,
                empty: 0,
                remarks: Vec::new(),
                interrupted: false,
            };
            let pumped = import.pump(received, &mut Signals::listen().unwrap()).await;
            assert_eq!(pumped.is_ok(), whole);
        }
    }
}
