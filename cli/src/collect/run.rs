//! A run of `annals collect host`, from the first tick to the totals at the end.

use std::io::{self, Write};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use annals::{
    Overflow, PersistenceBackend, Recorder, RecorderConfig, RecorderError, RecorderStats,
    Retention, RetentionHandle, RetentionPolicy,
};
use tokio::time::{Instant, sleep_until};

use super::HostArgs;
use super::host::Host;
use super::metric::{ALL, Snapshot};
use super::ticks::Ticks;
use super::view::{Progress, View};
use crate::failure::{Failure, stop_at_once};
use crate::output::counted;
use crate::signals::Signals;
use crate::stderr::print_error;
use crate::store;

pub(super) async fn run(backend: &str, args: HostArgs) -> Result<(), Failure> {
    let mut signals = Signals::listen()?;
    let store = store::open(backend).await?;
    let sweep = |keep| sweep(store.clone(), keep, args.forward_limit);
    let retention = args.keep.map(sweep).transpose()?;
    // Waiting for the store would lose ticks. Dropped values are counted and reported at the end.
    let mut config = RecorderConfig::default().with_overflow(Overflow::DropOldest);
    for (pattern, filter) in &args.filters {
        config = config.with_filter_on(pattern.clone(), filter.clone())?;
    }
    let recorder = Recorder::new(store.clone(), config);

    let shown = store::shown(backend);
    let view = View::new(format!("recording {ALL} in {shown} every {:?}", args.every));
    let ticks = collect(&args, &recorder, view, &mut signals).await;

    drain(&recorder, &mut signals).await;
    let account = recorder.stats();
    let swept = match retention {
        Some(retention) => {
            let stats = retention.stats();
            retention.stop().await;
            Some(stats)
        }
        None => None,
    };
    let closed = store.close().await;
    let (ticks, elapsed) = ticks?;
    let records = counted(account.records.len() as u64, "record");
    let total = account.total;
    let mut lines = format!(
        "recorded {}, stored {}, rejected {}, dropped {}\n\
         {records} at {} in {:.1} s ({} missed), in {shown}\n",
        total.recorded,
        total.stored,
        total.rejected,
        total.dropped,
        counted(ticks.seen, "tick"),
        elapsed.as_secs_f64(),
        ticks.missed,
    );
    let filtered = total.filtered;
    if filtered.total() > 0 {
        lines += &format!(
            "{} filtered out: {} unchanged, {} within a dead band, {} too soon, {} implausible\n",
            counted(filtered.total(), "value"),
            filtered.unchanged,
            filtered.dead_band,
            filtered.interval,
            filtered.implausible,
        );
    }
    if total.implausible > 0 {
        lines += &format!("{} outside their range\n", counted(total.implausible, "value"));
    }
    if let Some(swept) = swept {
        lines += &format!("{} deleted because of --keep\n", counted(swept.removed, "old value"));
    }
    let mut out = io::stdout().lock();
    let printed = out.write_all(lines.as_bytes()).and_then(|()| out.flush());
    closed?;
    check_account(&account)?;
    printed.map_err(Failure::Output)
}

/// Starts the retention: at once, and often enough to delete old values soon.
fn sweep(
    store: Arc<dyn PersistenceBackend>,
    keep: Duration,
    forward_limit: Option<Duration>,
) -> Result<RetentionHandle, Failure> {
    const SHORTEST: Duration = Duration::from_secs(1);
    const LONGEST: Duration = Duration::from_secs(3600);
    let mut policy = RetentionPolicy::new().keep(ALL, keep)?;
    if let Some(limit) = forward_limit {
        policy = policy.forward_limit(limit);
    }
    let interval = (keep / 10).clamp(SHORTEST, LONGEST);
    Ok(Retention::new(store, policy)?.with_interval(interval).spawn())
}

/// Records a snapshot at each tick until the time is up or a signal arrives.
async fn collect(
    args: &HostArgs,
    recorder: &Recorder,
    mut view: View,
    signals: &mut Signals,
) -> Result<(Ticks, Duration), Failure> {
    let every = args.every;
    let opened = unless_stopped(signals, move || Host::open(every)).await?;
    let start = Instant::now() + Host::WARM_UP;
    let end = args.run_for.and_then(|run_for| start.checked_add(run_for));
    let mut ticks = Ticks::new(start, every);
    let mut host = opened.transpose().map_err(unreadable)?;
    while let Some(mut reader) = host.take() {
        let time_is_up = async {
            match end {
                Some(end) => sleep_until(end).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = signals.next() => break,
            () = time_is_up => break,
            () = ticks.next() => {}
        }
        let read = move || {
            let snapshot = reader.snapshot();
            (reader, snapshot)
        };
        let Some((reader, snapshot)) = unless_stopped(signals, read).await? else { break };
        host = Some(reader);
        record(recorder, &snapshot)?;
        let progress = Progress {
            elapsed: start.elapsed(),
            missed: ticks.missed,
            account: recorder.stats().total,
        };
        view.show(&snapshot, &progress);
    }
    view.clear();
    Ok((ticks, start.elapsed()))
}

/// Runs blocking work; `None` if a signal comes first. A dead disk may block the reading for ever,
/// but not the program.
async fn unless_stopped<T: Send + 'static>(
    signals: &mut Signals,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<Option<T>, Failure> {
    tokio::select! {
        biased;
        () = signals.next() => Ok(None),
        done = tokio::task::spawn_blocking(work) => done.map(Some).map_err(unreadable),
    }
}

fn unreadable(error: impl std::fmt::Display) -> Failure {
    Failure::Failed(format!("this machine's metrics cannot be read: {error}"))
}

fn record(recorder: &Recorder, snapshot: &Snapshot) -> Result<(), Failure> {
    for (name, value) in snapshot.rows() {
        match recorder.try_record_at(&name, &value, snapshot.taken_at) {
            Ok(()) => {}
            // Both are counted, and the exit code depends on the counts.
            Err(error @ (RecorderError::Rejected(_) | RecorderError::Dropped { .. })) => {
                tracing::warn!(record = name, %error);
            }
            Err(error) => return Err(Failure::Failed(error.to_string())),
        }
    }
    Ok(())
}

/// Waits until everything recorded is stored. A signal ends the wait and the program.
async fn drain(recorder: &Recorder, signals: &mut Signals) {
    /// The time after which the wait is reported.
    const SOON: Duration = Duration::from_millis(500);
    let mut closing = pin!(recorder.close());
    let late = async {
        tokio::time::sleep(SOON).await;
        let pending = counted(recorder.stats().total.pending, "value");
        print_error(&format!(
            "storing the last {pending}; press Ctrl-C again to stop without waiting"
        ));
        std::future::pending().await
    };
    let closed = tokio::select! {
        biased;
        closed = &mut closing => closed,
        () = signals.next() => {
            let total = recorder.stats().total;
            stop_at_once(&format!(
                "stopped without waiting; of {} recorded, {} are certainly stored",
                counted(total.recorded, "value"),
                total.stored
            ))
        }
        never = late => never,
    };
    if let Err(error) = closed {
        print_error(&error.to_string());
    }
}

/// Fails if not all recorded values are stored.
fn check_account(account: &RecorderStats) -> Result<(), Failure> {
    let total = account.total;
    if total.stored == total.recorded {
        return Ok(());
    }
    let because = account.last_error.as_ref().map(|error| format!(": {error}"));
    Err(Failure::Failed(format!(
        "{} of {} recorded were not stored{}",
        total.recorded - total.stored,
        counted(total.recorded, "value"),
        because.unwrap_or_default()
    )))
}
