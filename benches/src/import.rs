//! `annals import` of CSV with named columns and times in RFC 3339, against NDJSON with the same rows.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::places::{Place, must_hold, record, time};
use crate::report::{Report, Samples};
use crate::{Failure, Options, process};

const COLUMNS: [&str; 6] =
    ["--record-column", "entity_id", "--value-column", "state", "--time-column", "last_changed"];

/// Rows a second, and the peak memory of the program in MiB.
#[derive(Default)]
struct Runs {
    speed: Samples,
    memory: Samples,
}

/// Ten times `--rows`.
pub(crate) async fn run(options: &Options, report: &mut Report) -> Result<(), Failure> {
    let rows = 10 * options.rows;
    let folder = tempfile::tempdir()?;
    let (csv, ndjson) = (folder.path().join("rows.csv"), folder.path().join("rows.ndjson"));
    write(&csv, &ndjson, rows, options.records)?;
    for engine in options.engines.iter().filter(|engine| *engine != "postgres") {
        let (mut tables, mut lines) = (Runs::default(), Runs::default());
        for _ in 0..options.rounds {
            import(engine, &csv, &COLUMNS, rows, &mut tables).await?;
            import(engine, &ndjson, &[], rows, &mut lines).await?;
        }
        let what = format!("{engine}: import of {rows} rows of CSV, RFC 3339");
        report.compare(&what, tables.speed, "rows/s", "NDJSON, the same rows", &lines.speed);
        report.add(format!("{what}: peak memory"), tables.memory, "MiB");
        report.add(format!("{engine}: import of NDJSON: peak memory"), lines.memory, "MiB");
    }
    Ok(())
}

/// The same rows in both files.
fn write(csv: &Path, ndjson: &Path, rows: u64, records: u64) -> Result<(), Failure> {
    let mut table = BufWriter::new(File::create(csv)?);
    let mut lines = BufWriter::new(File::create(ndjson)?);
    writeln!(table, "entity_id,state,last_changed")?;
    for row in 0..rows {
        let (name, at) = (record(row, records), time(row));
        let value = 10.0 + (row.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as f64 % 1e5 / 1e4;
        let shown = Timestamp::from_millisecond(i64::try_from(at)?)?.strftime("%FT%T%.3fZ");
        writeln!(table, "{name},{value},{shown}")?;
        writeln!(lines, "{{\"record\":\"{name}\",\"value\":{value},\"stored_at\":{at}}}")?;
    }
    table.flush()?;
    Ok(lines.flush()?)
}

/// The program, built beforehand, on a store of its own.
async fn import(
    engine: &str,
    file: &Path,
    options: &[&str],
    rows: u64,
    runs: &mut Runs,
) -> Result<(), Failure> {
    let place = Place::new(engine)?;
    let program = std::env::current_exe()?.with_file_name("annals");
    let begun = Instant::now();
    let mut child = Command::new(&program)
        .args(["--backend", &place.url, "import"])
        .arg(file)
        .args(options)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| format!("{}: {error}; build annals-cli first", program.display()))?;
    let mut peak = 0;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        // Gone when it has ended meanwhile.
        peak = process::peak_kibibytes_of(child.id()).unwrap_or(peak);
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    let seconds = begun.elapsed().as_secs_f64();
    if !status.success() {
        return Err("annals import failed".into());
    }
    runs.speed.0.push(rows as f64 / seconds);
    runs.memory.0.push(peak as f64 / 1_024.0);
    let history = place.open().await?;
    must_hold(&*history, rows).await?;
    Ok(history.close().await?)
}
