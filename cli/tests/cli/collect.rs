use std::collections::BTreeMap;
#[cfg(unix)]
use std::process::Child;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::{FILES, Place, Run};
#[cfg(unix)]
use crate::support::{Stderr, signal};

/// The numbers of the account's first line: recorded, stored, rejected, dropped.
fn account(out: &str) -> Vec<u64> {
    let line = out.lines().next().unwrap();
    let digits = |word: &str| word.trim_end_matches(',').parse().ok();
    line.split(' ').filter_map(digits).collect()
}

#[test]
fn everything_recorded_is_stored() {
    for backend in FILES {
        let place = Place::new();
        let args = ["collect", "host", "--backend", backend, "--for", "300ms", "--every", "100ms"];
        let run = place.run(&args);
        assert_eq!(run.code, Some(0), "{run:?}");
        let rows = place.rows(backend);
        let count = rows.len() as u64;
        assert_eq!(account(&run.out), [count, count, 0, 0], "{run:?}");

        let mut by_record: BTreeMap<&str, Vec<&Value>> = BTreeMap::new();
        for row in &rows {
            by_record.entry(row["record"].as_str().unwrap()).or_default().push(row);
        }
        assert_eq!(by_record["host::memory"].len(), ticks(&run.out), "{run:?}");
        let memory = &by_record["host::memory"][0]["value"];
        assert!(memory["total_bytes"].as_u64().unwrap() > 0, "{memory}");
        let percent = by_record["host::cpu::total"][0]["value"]["percent"].as_f64().unwrap();
        assert!((0.0..=100.0).contains(&percent), "{percent}");
        assert!(by_record.contains_key("host::cpu::0"));
        // All records of a tick have its time.
        let times = |record: &str| -> Vec<_> {
            by_record[record].iter().map(|row| row["stored_at"].as_u64()).collect()
        };
        assert_eq!(times("host::swap"), times("host::memory"));
    }
}

#[test]
fn only_what_passes_the_filter_is_recorded() {
    let place = Place::new();
    let run = place.run(&[
        "collect",
        "host",
        "--backend",
        "sqlite:history.db",
        "--for",
        "400ms",
        "--every",
        "100ms",
        // The total never changes, and a CPU's percentage not by 101.
        "--filter",
        "host::memory=change:total_bytes",
        "--filter",
        "host::cpu::*=band:percent:101",
        "--filter",
        "interval:1h",
    ]);
    assert_eq!(run.code, Some(0), "{run:?}");
    let rows = place.rows("sqlite:history.db");
    let of = |record: &str| rows.iter().filter(|row| row["record"] == record).count();
    assert_eq!((of("host::memory"), of("host::cpu::total")), (1, 1), "{run:?}");
    // The first, and the one held last.
    assert_eq!(of("host::load"), 2.min(ticks(&run.out)), "{run:?}");
    assert!(run.out.contains(" filtered out: "), "{run:?}");

    let refused = place.run(&["collect", "host", "--backend", "memory:", "--filter", "a=changed"]);
    assert_eq!(refused.code, Some(2), "{refused:?}");
    assert!(refused.err.contains("the rules are change"), "{refused:?}");
}

/// How many ticks the account says there were.
fn ticks(out: &str) -> usize {
    let (before, _) = out.split_once(" tick").unwrap();
    before.rsplit(' ').next().unwrap().parse().unwrap()
}

#[test]
fn the_time_that_was_asked_for_is_kept() {
    let place = Place::new();
    let begin = Instant::now();
    let args = ["collect", "host", "--backend", "memory:", "--for", "500ms", "--every", "100ms"];
    let run = place.run(&args);
    assert_eq!(run.code, Some(0), "{run:?}");
    assert!(begin.elapsed() >= Duration::from_millis(500), "{run:?}");
    // A busy machine may miss ticks, but says so.
    let (_, missed) = run.out.split_once('(').unwrap();
    let missed: usize = missed.split(' ').next().unwrap().parse().unwrap();
    assert_eq!(ticks(&run.out) + missed, 5, "{run:?}");
    assert!(run.err.contains("recording host::* in memory: every 100ms\n"), "{run:?}");
    assert!(run.err.contains("; cpu "), "{run:?}");
}

#[cfg(unix)]
fn collecting(place: &Place, backend: &str) -> (Child, Stderr) {
    let mut command = place.command(&["collect", "host", "--backend", backend, "--every", "20ms"]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut err = Stderr::of(&mut child);
    // The line that comes with the first tick.
    err.wait_for(" recorded, ");
    (child, err)
}

#[cfg(unix)]
#[test]
fn signals_end_it_with_everything_stored() {
    for (backend, name) in [(FILES[0], "INT"), (FILES[0], "TERM"), (FILES[1], "INT")] {
        let place = Place::new();
        let (child, err) = collecting(&place, backend);
        signal(&child, name);
        let err = err.rest();
        let run = Run::from(child.wait_with_output().unwrap());
        err.join().unwrap();
        assert_eq!(run.code, Some(0), "{run:?}");
        let count = place.rows(backend).len() as u64;
        assert!(count > 0);
        assert_eq!(account(&run.out), [count, count, 0, 0], "{name}: {run:?}");
    }
}

/// Values recorded while another process holds the file wait, and are stored when it is released.
#[cfg(unix)]
#[test]
fn a_store_that_is_locked_is_waited_for_and_a_second_ctrl_c_does_not_wait() {
    for second in [false, true] {
        let place = Place::new();
        let (child, mut err) = collecting(&place, "sqlite:history.db?busy_timeout_ms=50");
        let other = rusqlite::Connection::open(place.path("history.db")).unwrap();
        other.busy_timeout(Duration::from_secs(30)).unwrap();
        other.execute_batch("BEGIN IMMEDIATE").unwrap();
        err.wait_for("values cannot be stored");
        signal(&child, "INT");
        err.wait_for("press Ctrl-C again to stop without waiting");
        if second {
            signal(&child, "INT");
        } else {
            other.execute_batch("ROLLBACK").unwrap();
        }
        let err = err.rest();
        let run = Run::from(child.wait_with_output().unwrap());
        let err = err.join().unwrap();
        drop(other);
        let count = place.rows(FILES[0]).len() as u64;
        if second {
            assert_eq!(run.code, Some(130), "{run:?} {err}");
            assert!(err.contains(&format!("recorded, {count} are certainly stored")), "{err}");
        } else {
            assert_eq!(run.code, Some(0), "{run:?} {err}");
            assert_eq!(account(&run.out), [count, count, 0, 0], "{run:?}");
        }
    }
}

/// `--keep` is for what this command records: other records of the same store are not its own.
#[test]
fn old_values_are_deleted_at_the_start_and_other_records_stay() {
    for backend in FILES {
        let place = Place::new();
        place.import(backend, &[("host::old", "1", 5), ("other", "1", 5)]);
        let args = ["collect", "host", "--backend", backend, "--for", "300ms", "--keep", "7d"];
        let run = place.run(&args);
        assert_eq!(run.code, Some(0), "{run:?}");
        assert!(run.out.contains("1 old value deleted"), "{run:?}");
        let records = place.run(&["records", "--backend", backend]).ok().out;
        assert!(!records.contains("host::old") && records.contains("other"), "{records}");
    }
}

#[test]
fn a_store_that_cannot_be_opened_is_said() {
    let place = Place::new();
    place.write("file", "");
    let args = ["collect", "host", "--for", "1s", "--backend", "sqlite:file/history.db"];
    place.run(&args).refused(1, "sqlite: open failed");
}

/// A value larger than the store takes is refused by it; the account and the exit code say so.
#[test]
fn rejected_values_are_counted_and_set_the_exit_code() {
    let place = Place::new();
    let backend = "sqlite:history.db?max_value_bytes=60";
    let args = ["collect", "host", "--backend", backend, "--for", "100ms", "--every", "100ms"];
    let run = place.run(&args);
    assert_eq!(run.code, Some(1), "{run:?}");
    let account = account(&run.out);
    let stored = place.rows(backend).len() as u64;
    assert!(stored > 0 && account[2] > 0, "{run:?}");
    assert_eq!(account, [stored + account[2], stored, account[2], 0], "{run:?}");
    assert!(run.err.contains("were not stored"), "{run:?}");
}

/// `annals collect host | head -0`: who does not want the account does not get it.
#[test]
fn a_closed_pipe_does_not_matter() {
    let place = Place::new();
    let args = ["collect", "host", "--backend", FILES[0], "--for", "100ms"];
    let mut command = place.command(&args);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    drop(child.stdout.take());
    assert!(child.wait().unwrap().success());
    assert!(!place.rows(FILES[0]).is_empty());
}
