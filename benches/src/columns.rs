//! A store whose rows come to rest in columns, against one whose rows stay in blocks of text.

use std::sync::Arc;
use std::time::Instant;

use annals::{PersistenceBackend, QueryExt, QueryParams, Recorder, RecorderConfig};
use annals_embedded::Tuning;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::datasets::{Reading, readings};
use crate::places::{Place, must_hold, record, sample, time};
use crate::report::{Report, Samples};
use crate::{Failure, Options, process};

/// Columns take some bytes, so with 0 percent of the bytes of text none are written.
const FORMS: [usize; 2] = [0, 100];

/// Records that are read completely.
const READ_RECORDS: u64 = 10;

pub(crate) async fn run(options: &Options, report: &mut Report) -> Result<(), Failure> {
    for engine in options.engines.iter().filter(|engine| *engine != "postgres") {
        live(options, report, engine).await?;
        read(options, report, engine).await?;
    }
    Ok(())
}

/// Ten times `--rows` by the recorder, and what is on disk once they have come to rest.
async fn live(options: &Options, report: &mut Report, engine: &str) -> Result<(), Failure> {
    let (rows, records) = (10 * options.rows, options.records);
    let mut found = [const { [const { Samples(Vec::new()) }; 2] }; 3];
    for _ in 0..options.rounds {
        for (form, percent) in FORMS.into_iter().enumerate() {
            let place = Place::new(engine)?;
            let history = open(&place, engine, percent)?;
            let before = process::written_bytes()?;
            let samples = (0..rows).map(|at| (at, sample(at)));
            let rows_per_second = store(&history, samples, records).await?;
            history.close().await?;
            place.bring_to_rest(engine, tuning(percent)).await?;
            let written = process::written_bytes()? - before;
            let history = open(&place, engine, percent)?;
            must_hold(&*history, rows).await?;
            history.close().await?;
            let per_row = |bytes: u64| bytes as f64 / rows as f64;
            let figures = [rows_per_second, per_row(written), per_row(place.bytes()?)];
            for (samples, figure) in found.iter_mut().zip(figures) {
                samples[form].0.push(figure);
            }
        }
    }
    let what = ["recorder", "written over its life", "size at rest"];
    let units = ["rows/s", "bytes/row", "bytes/row"];
    for (([text, columns], what), unit) in found.into_iter().zip(what).zip(units) {
        let what = format!("{engine}, {rows} rows: {what}");
        report.compare(what, columns, unit, "without columns", &text);
    }
    Ok(())
}

/// One record at rest, a tenth of `--rows` that move in small steps, read completely.
async fn read(options: &Options, report: &mut Report, engine: &str) -> Result<(), Failure> {
    let rows = options.rows / READ_RECORDS;
    let places = [Place::new(engine)?, Place::new(engine)?];
    let mut histories = Vec::new();
    for (place, percent) in places.iter().zip(FORMS) {
        let history = open(place, engine, percent)?;
        let mut all: Vec<_> = (0..READ_RECORDS).map(readings).collect();
        let read = (0..rows * READ_RECORDS)
            .filter_map(|at| Some((at, all[(at % READ_RECORDS) as usize].next()?)));
        store(&history, read, READ_RECORDS).await?;
        history.close().await?;
        place.bring_to_rest(engine, tuning(percent)).await?;
        histories.push(open(place, engine, percent)?);
    }
    let mut found = [const { [const { Samples(Vec::new()) }; 2] }; 2];
    let name = record(0, READ_RECORDS);
    for _ in 0..options.rounds.max(9) {
        for (form, history) in histories.iter().enumerate() {
            for (way, samples) in found.iter_mut().enumerate() {
                let begun = Instant::now();
                let count = match way {
                    0 => history.query_range::<Reading>(&name, 0, u64::MAX).await?.len(),
                    _ => {
                        let all = QueryParams::default();
                        history.query_typed::<Box<RawValue>>(&name, all).await?.rows.len()
                    }
                };
                samples[form].0.push(rows as f64 / begun.elapsed().as_secs_f64());
                if count as u64 != rows {
                    return Err(format!("{rows} rows were stored and {count} came back").into());
                }
            }
        }
    }
    for history in histories {
        history.close().await?;
    }
    for ([text, columns], way) in found.into_iter().zip(["typed", "as text"]) {
        let what = format!("{engine}: {rows} rows at rest of one record, {way}");
        report.compare(what, columns, "rows/s", "without columns", &text);
    }
    Ok(())
}

fn tuning(percent: usize) -> Tuning {
    let mut tuning = Tuning::default();
    tuning.layout.rest_percent = percent;
    tuning
}

fn open(
    place: &Place,
    engine: &str,
    percent: usize,
) -> Result<Arc<dyn PersistenceBackend>, Failure> {
    Ok(match engine {
        "sqlite" => Arc::new(place.sqlite(tuning(percent))?),
        _ => Arc::new(place.redb(tuning(percent))?),
    })
}

/// Rows a second, by the recorder.
async fn store(
    history: &Arc<dyn PersistenceBackend>,
    values: impl Iterator<Item = (u64, impl Serialize)>,
    records: u64,
) -> Result<f64, Failure> {
    let recorder = Recorder::new(history.clone(), RecorderConfig::default());
    let handles = (0..records)
        .map(|at| recorder.handle(&record(at, records)))
        .collect::<Result<Vec<_>, _>>()?;
    let (begun, mut rows) = (Instant::now(), 0);
    for ((at, value), handle) in values.zip(handles.iter().cycle()) {
        handle.record_at(&value, time(at)).await?;
        rows += 1;
    }
    recorder.flush().await?;
    let rows_per_second = f64::from(rows) / begun.elapsed().as_secs_f64();
    recorder.close().await?;
    Ok(rows_per_second)
}
