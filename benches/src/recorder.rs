//! The recorder at full speed, in a process of its own, whose memory and writing can be told.

use std::process::{Command, Stdio};
use std::time::Instant;

use annals::{Recorder, RecorderConfig, Value};

use crate::places::{Place, must_end_with, must_hold, record, sample, time};
use crate::raw::sqlite::Layout;
use crate::raw::{self, Until};
use crate::report::{Report, Samples};
use crate::{Failure, Options, process};

/// The recorder's default batch.
const BATCH: u64 = 4_096;

/// How many records the many are.
const MANY: u64 = 100_000;

/// What a child tells of its run.
#[derive(Default)]
struct Runs {
    rows_per_second: Samples,
    peak_mebibytes: Samples,
    written_bytes_per_row: Samples,
    bytes_per_row: Samples,
}

/// Rows a second, memory, bytes on disk and bytes written to it.
pub(crate) fn run(options: &Options, report: &mut Report) -> Result<(), Failure> {
    for engine in &options.engines {
        let mut ours = Runs::default();
        let mut by_hand: Vec<(&str, Samples)> = match &**engine {
            "sqlite" => vec![
                ("SQLite by hand, indexed", Samples::default()),
                ("SQLite by hand, clustered", Samples::default()),
            ],
            "redb" => vec![("redb by hand", Samples::default())],
            _ => Vec::new(),
        };
        for _ in 0..options.rounds {
            child(engine, options.rows, options.records, &mut ours)?;
            for (what, samples) in &mut by_hand {
                samples.0.push(hand(what, options)?);
            }
        }
        let name = |what: &str| format!("{engine}: recorder, {} rows, {what}", options.rows);
        for (what, base) in &by_hand {
            let with = format!("{what}, {BATCH} rows a commit");
            let ours = ours.rows_per_second.clone();
            report.compare(name("speed"), ours, "rows/s", &with, base);
        }
        if by_hand.is_empty() {
            report.add(name("speed"), ours.rows_per_second, "rows/s");
        }
        for (what, samples) in by_hand {
            report.add(format!("{what}, {BATCH} rows a commit"), samples, "rows/s");
        }
        report.add(name("peak memory"), ours.peak_mebibytes, "MiB");
        if engine != "postgres" {
            report.add(name("on disk"), ours.bytes_per_row, "bytes/row");
            report.add(name("written to disk"), ours.written_bytes_per_row, "bytes/row");
        }
    }
    Ok(())
}

/// What a row costs with a hundred thousand records, against what it costs with a thousand.
pub(crate) fn many_records(options: &Options, report: &mut Report) -> Result<(), Failure> {
    for engine in &options.engines {
        let (mut few, mut many) = (Samples::default(), Samples::default());
        for _ in 0..options.rounds {
            few.0.push(cost(engine, options.rows, options.records)?);
            many.0.push(cost(engine, options.rows, MANY)?);
        }
        let name = |records| {
            format!("{engine}: a row of {} by the recorder, {records} records", options.rows)
        };
        let with = format!("that with {} records", options.records);
        report.compare(name(MANY), many, "us", &with, &few);
        report.add(name(options.records), few, "us");
    }
    Ok(())
}

/// Microseconds a row, by the recorder.
pub(crate) fn cost(engine: &str, rows: u64, records: u64) -> Result<f64, Failure> {
    let mut runs = Runs::default();
    child(engine, rows, records, &mut runs)?;
    Ok(1e6 / runs.rows_per_second.median())
}

fn hand(what: &str, options: &Options) -> Result<f64, Failure> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("raw");
    let until = Until::Rows(options.rows);
    match what {
        "redb by hand" => raw::redb::rows_per_second(&file, BATCH, options.records, until),
        "SQLite by hand, indexed" => {
            raw::sqlite::rows_per_second(&file, Layout::Indexed, BATCH, options.records, until)
        }
        _ => raw::sqlite::rows_per_second(&file, Layout::Clustered, BATCH, options.records, until),
    }
}

fn child(engine: &str, rows: u64, records: u64, runs: &mut Runs) -> Result<(), Failure> {
    let place = Place::new(engine)?;
    let told = Command::new(std::env::current_exe()?)
        .args(["--rows", &rows.to_string(), "--records", &records.to_string()])
        .args(["--record-and-measure", &place.url])
        .stderr(Stdio::inherit())
        .output()?;
    let told: Value = serde_json::from_slice(&told.stdout)?;
    let figure = |member: &str| told[member].as_f64().ok_or(format!("no figure of its {member}"));
    runs.rows_per_second.0.push(figure("rows_per_second")?);
    runs.peak_mebibytes.0.push(figure("peak_kib")? / 1_024.0);
    runs.written_bytes_per_row.0.push(figure("written_bytes")? / rows as f64);
    runs.bytes_per_row.0.push(place.bytes()? as f64 / rows as f64);
    Ok(())
}

/// The child's part: records, and tells what it took, from the first value to the last commit.
#[expect(clippy::print_stdout, reason = "the answer to the parent")]
pub(crate) async fn record_and_measure(url: &str, options: &Options) -> Result<(), Failure> {
    let Options { rows, records, .. } = *options;
    let history = annals::connect(url).await?;
    let recorder = Recorder::new(history.clone(), RecorderConfig::default());
    let handles = (0..records)
        .map(|at| recorder.handle(&record(at, records)))
        .collect::<Result<Vec<_>, _>>()?;
    let written_before = process::written_bytes()?;
    let begun = Instant::now();
    for (at, handle) in (0..rows).zip(handles.iter().cycle()) {
        handle.record_at(&sample(at), time(at)).await?;
    }
    recorder.flush().await?;
    let rows_per_second = rows as f64 / begun.elapsed().as_secs_f64();
    let peak_kib = process::peak_kibibytes()?;
    recorder.close().await?;
    drop(handles);
    history.close().await?;
    let written_bytes = process::written_bytes()? - written_before;
    drop(history);
    let history = annals::connect(url).await?;
    must_hold(&*history, rows).await?;
    must_end_with(&*history, rows - 1, records).await?;
    history.close().await?;
    println!(
        "{}",
        serde_json::json!({
            "rows_per_second": rows_per_second,
            "peak_kib": peak_kib,
            "written_bytes": written_bytes,
        })
    );
    Ok(())
}
