//! `annals query --follow`: prints rows as they arrive.

use std::path::PathBuf;
use std::time::Duration;

use annals::{Cursor, FollowFrom, FollowParams, FollowStream, PersistenceBackend, RawRow};
use tokio::time::{Instant, sleep, sleep_until};

use super::RowPrinter;
use crate::cursor_file::CursorFile;
use crate::failure::Failure;
use crate::moment::window;
use crate::output::Format;
use crate::plot::Destination;
use crate::signals::Signals;
use crate::stderr::print_note;
use crate::store;

/// The wait after a failure that may pass.
const RETRY: Duration = Duration::from_secs(1);
/// The file of a cursor is replaced this often at most.
const SAVED_EVERY: Duration = Duration::from_millis(500);

#[derive(Debug, clap::Args)]
pub(super) struct FollowArgs {
    /// Go on with the rows that arrive, until Ctrl-C or until the output is closed
    ///
    /// Begins with what arrives from now on, or with --from, --latest or --cursor. Rows come in their
    /// order of arrival, those of other programs too, as ndjson or csv. At the end the cursor behind
    /// the last row is printed on stderr.
    #[arg(
        long,
        conflicts_with_all = ["to", "at", "oldest_first", "aimx", "wide", "excel", "plot"],
    )]
    follow: bool,

    /// Begin behind the row at which this cursor was taken; the pattern has to be the same
    #[arg(long, value_name = "CURSOR", requires = "follow", conflicts_with_all = ["from", "latest"])]
    cursor: Option<Cursor>,

    /// Keep the cursor in FILE, and begin with the one that is there
    ///
    /// If there is no FILE, the other options say where to begin. It is replaced twice a second and at
    /// the end, after the rows were written: after a crash, rows since the last time are printed again.
    #[arg(long, value_name = "FILE", requires = "follow", conflicts_with = "cursor")]
    cursor_file: Option<PathBuf>,
}

impl FollowArgs {
    pub(super) fn is_on(&self) -> bool {
        self.follow
    }
}

pub(super) async fn run(url: &str, args: &super::Args) -> Result<(), Failure> {
    let format = format(args)?;
    let path = args.follow.cursor_file.as_ref();
    let file = path.map(|path| CursorFile::new(path, &args.pattern, args.grammar));
    let saved = file.as_ref().map_or(Ok(None), CursorFile::read)?;
    let from = saved.map_or_else(|| begin(args), |cursor| Ok(FollowFrom::Cursor(cursor)))?;
    let store = store::open_to_read(url).await?;
    let style = args.output.style(args.time_zone.clone());
    let follower = Follower { store: &*store, args, file, out: RowPrinter::new(format, &style) };
    follower.run(from).await?;
    store.close().await?;
    Ok(())
}

/// Rows are complete lines.
fn format(args: &super::Args) -> Result<Format, Failure> {
    match args.output.destination()? {
        Destination::Rows(None) => Ok(Format::Ndjson),
        Destination::Rows(Some(format @ (Format::Ndjson | Format::Csv))) => Ok(format),
        _ => Err(Failure::Usage("--follow prints ndjson or csv".to_owned())),
    }
}

fn begin(args: &super::Args) -> Result<FollowFrom, Failure> {
    let since = window(args.from.as_ref(), None).0;
    match (&args.follow.cursor, since, args.latest) {
        (Some(cursor), ..) => Ok(FollowFrom::Cursor(cursor.clone())),
        (None, Some(_), Some(_)) => Err(Failure::Usage(
            "--follow begins with --from or with --latest; leave one of them out".to_owned(),
        )),
        (None, None, Some(_)) if args.filter.is_some() => Err(Failure::Usage(
            "--follow with --where begins with --from; leave --latest out".to_owned(),
        )),
        (None, Some(since), None) => Ok(FollowFrom::Time(since)),
        (None, None, Some(newest)) => Ok(FollowFrom::Latest(newest)),
        (None, None, None) => Ok(FollowFrom::Now),
    }
}

struct Follower<'a> {
    store: &'a dyn PersistenceBackend,
    args: &'a super::Args,
    file: Option<CursorFile>,
    out: RowPrinter<'a>,
}

impl Follower<'_> {
    async fn run(mut self, from: FollowFrom) -> Result<(), Failure> {
        let mut stop = Signals::first()?;
        let params = FollowParams::from(from).with_grammar(self.args.grammar.into());
        // There is a cursor at once, whether rows come or not.
        let pattern = &self.args.pattern;
        let first = self.store.follow_page(pattern, &params.clone().with_wait(false)).await;
        let first = first.map_err(|error| match &self.file {
            Some(file) => file.explain(error),
            None => error.into(),
        })?;
        self.print(first.rows)?;
        self.save(&first.cursor)?;
        let mut end = first.cursor.clone();
        let params = params.with_from(FollowFrom::Cursor(first.cursor));
        let mut rows = FollowStream::new(self.store, pattern, params.clone());
        let closed = closed();
        let mut closed = std::pin::pin!(closed);
        let (mut save_at, mut is_told) = (None, false);
        let failed = loop {
            tokio::select! {
                biased;
                _ = &mut stop => break None,
                () = &mut closed => break None,
                () = async { sleep_until(save_at.unwrap_or_else(Instant::now)).await },
                    if save_at.is_some() =>
                {
                    self.save(&end)?;
                    save_at = None;
                }
                arrived = rows.next_rows() => match arrived {
                    None => break None,
                    Some(Ok(arrived)) => {
                        self.print(arrived)?;
                        is_told = false;
                        end = rows.cursor().unwrap_or(end);
                        save_at = save_at.or_else(|| Some(Instant::now() + SAVED_EVERY));
                    }
                    Some(Err(error)) if error.is_retryable() => {
                        if !is_told {
                            print_note(&format!("{error}; trying again"));
                        }
                        is_told = true;
                        end = rows.cursor().unwrap_or(end);
                        tokio::select! {
                            _ = &mut stop => break None,
                            () = sleep(RETRY) => {}
                        }
                        let params = params.clone().with_from(FollowFrom::Cursor(end.clone()));
                        rows = FollowStream::new(self.store, pattern, params);
                    }
                    Some(Err(error)) => break Some(error),
                }
            }
        };
        let end = rows.cursor().unwrap_or(end);
        self.save(&end)?;
        if self.file.is_none() {
            print_note(&format!("cursor: {end}"));
        }
        self.out.finish()?;
        failed.map_or(Ok(()), |error| Err(error.into()))
    }

    fn print(&mut self, mut rows: Vec<RawRow>) -> Result<(), Failure> {
        if let Some(filter) = &self.args.filter {
            // Text that is no JSON is counted where it is printed.
            rows.retain(|row| filter.test(&row.json).unwrap_or(true));
        }
        self.out.rows(&rows)?;
        self.out.flush()
    }

    fn save(&self, cursor: &Cursor) -> Result<(), Failure> {
        self.file.as_ref().map_or(Ok(()), |file| file.replace(cursor))
    }
}

/// Ends when nobody reads stdout any more, if that is a pipe. Nothing is written meanwhile that would
/// tell.
async fn closed() {
    #[cfg(unix)]
    {
        use rustix::event::{PollFd, PollFlags, poll};
        let (told, closed) = tokio::sync::oneshot::channel();
        // It ends with the program, and never wakes up for a file or a terminal.
        std::thread::spawn(move || {
            let stdout = std::io::stdout();
            let mut fds = [PollFd::new(&stdout, PollFlags::empty())];
            let is_closed = loop {
                match poll(&mut fds, None) {
                    Err(rustix::io::Errno::INTR) => {}
                    polled => break polled.is_ok(),
                }
            };
            if is_closed {
                // Nobody listens any more at the end.
                let _ = told.send(());
            }
        });
        if closed.await.is_ok() {
            return;
        }
    }
    std::future::pending().await
}
