//! `annals forward`: copies what arrives in one history to another.

#[cfg(feature = "http")]
mod http;

use std::fs::{File, TryLockError};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use annals::{ForwardError, ForwardStats, Forwarder, PersistenceBackend, PersistenceError};
use clap::Parser;
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use twox_hash::XxHash3_64;

use crate::backend::{Backend, NamedBy};
use crate::failure::Failure;
use crate::grammar::Grammar;
use crate::moment::{Moment, duration, window};
use crate::output::counted;
use crate::signals::Signals;
use crate::stderr::print_note;
use crate::store;

/// Copy what arrives in one history to another, each row once
///
/// Goes on until Ctrl-C. Everything in the source is copied, in order per record, late rows too,
/// whichever end is killed, and for however long the destination is away: it is tried again, and the
/// next run continues. The source keeps how far it came under a name. Rows that are erased or
/// corrected after they were forwarded stay as they are in the destination.
#[derive(Debug, Parser)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The URL of the history to read, as for --backend
    #[arg(long, value_name = "URL")]
    from: String,

    /// The URL of the history to write; what is missing of it is created
    ///
    /// Or the address of `annals serve`, such as https://db.example.
    #[arg(long, value_name = "URL", required_unless_present = "forget")]
    to: Option<String>,

    /// Which records [default: all]; * matches any run of characters
    pattern: Option<String>,

    /// The file with the token for `annals serve`, read again for each request
    #[arg(long, value_name = "FILE", conflicts_with_all = ["token", "forget"])]
    token_file: Option<PathBuf>,

    /// The token for `annals serve`; others on this machine can see it here, so prefer --token-file
    #[arg(long, env = "ANNALS_TOKEN", value_name = "TOKEN", hide_env_values = true)]
    token: Option<String>,

    /// End when both ends agree
    #[arg(long)]
    once: bool,

    /// Send at most R rows per second, on average, in batches of at most R rows
    ///
    /// Rows that were stored in one transaction stay together.
    #[arg(long, value_name = "R", value_parser = clap::value_parser!(u32).range(1..))]
    rate: Option<u32>,

    /// The name under which the source keeps the progress: each destination needs one, and each
    /// pattern
    #[arg(long, value_name = "NAME", default_value = "default")]
    #[arg(value_parser = clap::builder::NonEmptyStringValueParser::new())]
    name: String,

    /// Begin with rows at TIME or later: the first time, or when the source was put back from a copy
    ///
    /// Of the rows that are there, earlier ones are left out; all that arrive are sent. Of no effect
    /// where forwarding goes on.
    #[arg(long, value_name = "TIME")]
    from_time: Option<Moment>,

    /// About how many rows are sent together
    #[arg(long, value_name = "N", default_value_t = 16_384)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    batch_rows: u32,

    /// How often the lag is printed on stderr
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "10s")]
    report: Duration,

    /// Forget a forwarder of the source, so that retention does not wait for it any more
    #[arg(long, value_name = "NAME", conflicts_with_all = ["to", "pattern", "once", "rate", "name", "from_time"])]
    forget: Option<String>,

    /// How wildcards in PATTERN work
    #[arg(long, value_enum, default_value_t, value_name = "GRAMMAR")]
    grammar: Grammar,
}

const EXAMPLES: &str = "\
Examples:
  annals forward --from sqlite:edge.db --to postgres://db/plant
  annals forward --from sqlite:edge.db --to postgres://db/plant --once
  annals forward --from redb:a.redb --to sqlite:b.db 'host::*' --name hosts
  annals forward --from sqlite:edge.db --to postgres://db/plant --rate 5000
  annals forward --from sqlite:edge.db --to https://db --token-file token
  annals forward --from sqlite:edge.db --forget hosts

A source that `annals restore` put back goes on where the destination is. Do not copy a file that is \
being forwarded and forward both. Retention and cleanup on the source keep what has still to be \
forwarded, unless --forward-limit there says how far forwarding may fall behind.";

pub(crate) async fn run(backend: &Backend, args: Args) -> Result<(), Failure> {
    if backend.named_by == NamedBy::Option {
        let why = "forward takes both places as --from and --to; leave --backend out";
        return Err(Failure::Usage(why.to_owned()));
    }
    let to = match (&args.to, &args.forget) {
        (Some(to), _) => to,
        (None, Some(name)) => return forget(&args.from, name).await,
        (None, None) => return Err(Failure::Usage("give --to URL".to_owned())),
    };
    if store::is_same(&args.from, to)? {
        return Err(Failure::Usage("the source and the destination are the same".to_owned()));
    }
    if [&args.from, to].iter().any(|url| url.starts_with("memory:")) {
        let why = "memory: ends with this program: what is forwarded there is gone";
        return Err(Failure::Usage(why.to_owned()));
    }
    let mut stop = Signals::first()?;
    let _lock = lock(&args.from, &args.name)?;
    let source = store::open_to_forward(&args.from).await?;
    // The destination may be away.
    let Destination { history: destination, batch_bytes } = destination(to, &args)?;
    // Every record, in any grammar.
    let (pattern, grammar) = match &args.pattern {
        Some(pattern) => (pattern.as_str(), args.grammar),
        None => ("*", Grammar::Glob),
    };
    let forwarder = Forwarder::new(source.clone(), destination.clone())
        .with_name(&args.name)
        .with_pattern(pattern, grammar.into())
        .with_batch_rows(args.batch_rows as usize)
        .with_batch_bytes(batch_bytes)
        .with_rows_per_second(args.rate)
        .with_from_time(window(args.from_time.as_ref(), None).0);
    let work = async {
        match args.once {
            true => forwarder.run_once().await.map(drop),
            false => forwarder.run_forever().await,
        }
    };
    let mut work = std::pin::pin!(work);
    let mut reports = interval_at(Instant::now() + args.report, args.report);
    reports.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut lag = Lag::new(Instant::now());
    let done = loop {
        tokio::select! {
            biased;
            _ = &mut stop => break match args.once {
                true => Err(Failure::Interrupted(format!(
                    "stopped after {}; run the same command to go on",
                    counted(forwarder.stats().rows, "row")
                ))),
                false => Ok(()),
            },
            done = &mut work => break done.map_err(failure),
            now = reports.tick() => print_note(&lag.report(&forwarder.stats(), now)),
        }
    };
    let stats = forwarder.stats();
    let closed = source.close().await;
    destination.close().await?;
    done?;
    closed?;
    print_note(&lag.report(&stats, Instant::now()));
    Ok(())
}

/// A lock beside a file that is forwarded, until it is dropped: two forwarders of one name would both send what
/// arrives. The file stays, because another process may have opened it already.
fn lock(from: &str, name: &str) -> Result<Option<File>, Failure> {
    let path = store::file(from)?.and_then(|path| path.canonicalize().ok());
    let Some(mut path) = path.map(PathBuf::into_os_string) else { return Ok(None) };
    path.push(format!("-forward-{:016x}", XxHash3_64::oneshot(name.as_bytes())));
    // Where it cannot be made or locked, the source cannot be written or the file system has no locks.
    let Ok(file) = File::options().create(true).append(true).open(path) else { return Ok(None) };
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::Error(_)) => Ok(None),
        Err(TryLockError::WouldBlock) => Err(Failure::Failed(format!(
            "{} is being forwarded under the name \"{name}\": both would send what arrives; stop the \
             other one, or give another --name for another destination",
            store::shown(from)
        ))),
    }
}

/// The history to write, and how many bytes it takes at once.
struct Destination {
    history: Arc<dyn PersistenceBackend>,
    batch_bytes: usize,
}

#[cfg(feature = "http")]
fn destination(to: &str, args: &Args) -> Result<Destination, Failure> {
    use http::{BATCH_BYTES, HttpHistory, Token};
    if !http::is_http(to) {
        return database(to, args);
    }
    let token = match (&args.token, &args.token_file) {
        (_, Some(path)) => {
            // Later it may be about to be replaced, now it is a wrong path.
            http::read_token(path).map_err(|error| {
                Failure::Usage(format!("--token-file {}: {error}", path.display()))
            })?;
            Token::File(path.clone())
        }
        (Some(token), None) => Token::Given(token.trim().to_owned()),
        (None, None) => Token::None,
    };
    let history = HttpHistory::new(to, token)?;
    if history.shows_the_token() {
        print_note(
            "the token travels in the clear, for everybody on the way to read: use https://",
        );
    }
    Ok(Destination { history: Arc::new(history), batch_bytes: BATCH_BYTES })
}

#[cfg(not(feature = "http"))]
fn destination(to: &str, args: &Args) -> Result<Destination, Failure> {
    if to.starts_with("http://") || to.starts_with("https://") {
        return Err(crate::not_built_in::failure("annals forward --to http://…", "http"));
    }
    database(to, args)
}

fn database(to: &str, args: &Args) -> Result<Destination, Failure> {
    if args.token_file.is_some() {
        let why = "--token-file is for https:// only; a database has its password in its URL";
        return Err(Failure::Usage(why.to_owned()));
    }
    Ok(Destination { history: annals::connect_lazy(to)?, batch_bytes: usize::MAX })
}

/// Ends the wait of retention for a forwarder.
async fn forget(from: &str, name: &str) -> Result<(), Failure> {
    let source = store::open_existing(from).await?;
    let known = annals::forget_forwarder(&source, name).await?;
    let beginning = annals::forward_record("");
    let others = source.records(&format!("{beginning}*"), annals::Grammar::Glob).await?;
    source.close().await?;
    if known {
        print_note(&format!("the forwarder \"{name}\" is forgotten"));
        return Ok(());
    }
    let others: Vec<&str> =
        others.iter().filter_map(|record| record.record.strip_prefix(&beginning)).collect();
    Err(Failure::Failed(match others[..] {
        [] => "nothing is forwarded from there".to_owned(),
        _ => format!("there is no forwarder \"{name}\"; there are: {}", others.join(", ")),
    }))
}

fn failure(error: ForwardError) -> Failure {
    match error {
        // What an end refuses is no wrong usage.
        ForwardError::Store(error @ PersistenceError::Backend(_)) => {
            Failure::Failed(error.to_string())
        }
        ForwardError::Store(error) => error.into(),
        ForwardError::PutBack { .. } => Failure::Failed(format!("{error} (--from-time, --name)")),
        ForwardError::AnotherDestination { .. } => {
            Failure::Failed(format!("{error} (--name, --forget, --from-time)"))
        }
        error @ ForwardError::AnotherPattern { .. } => Failure::Usage(error.to_string()),
        error => Failure::Failed(error.to_string()),
    }
}

/// How far the destination is behind. It grows while nothing is answered.
struct Lag {
    batches: u64,
    since: Instant,
}

impl Lag {
    fn new(now: Instant) -> Self {
        Self { batches: 0, since: now }
    }

    fn report(&mut self, stats: &ForwardStats, now: Instant) -> String {
        if stats.batches != self.batches || stats.caught_up {
            (self.batches, self.since) = (stats.batches, now);
        }
        let behind = match stats.caught_up && stats.last_error.is_none() {
            true => "both ends agree".to_owned(),
            false => {
                let lag = Duration::from_millis(stats.lag_ms) + (now - self.since);
                format!("{:.1} s behind", lag.as_secs_f64())
            }
        };
        let done = format!(
            "{} forwarded in {}",
            counted(stats.rows, "row"),
            if stats.batches == 1 {
                "1 batch".to_owned()
            } else {
                format!("{} batches", stats.batches)
            }
        );
        match stats.retries {
            0 => format!("{done}; {behind}"),
            retries => format!("{done}; {behind}; {retries} tried again"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lag_grows_while_nothing_is_answered() {
        let begun = Instant::now();
        let after = |seconds| begun + Duration::from_secs(seconds);
        let mut lag = Lag::new(begun);
        let mut stats = ForwardStats::default();
        assert_eq!(lag.report(&stats, after(2)), "0 rows forwarded in 0 batches; 2.0 s behind");
        (stats.rows, stats.batches, stats.lag_ms) = (1, 1, 500);
        assert_eq!(lag.report(&stats, after(3)), "1 row forwarded in 1 batch; 0.5 s behind");
        stats.retries = 2;
        let behind = "1 row forwarded in 1 batch; 60.5 s behind; 2 tried again";
        assert_eq!(lag.report(&stats, after(63)), behind);
        (stats.retries, stats.caught_up) = (0, true);
        assert_eq!(lag.report(&stats, after(64)), "1 row forwarded in 1 batch; both ends agree");
    }
}
