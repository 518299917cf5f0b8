//! `query_range` of every record over 30 days in steps of five minutes, of annals and of a VictoriaMetrics that
//! holds the same samples.

use std::process::Command;
use std::time::Instant;

use reqwest::Client;
use serde::Deserialize;

use crate::places::record;
use crate::report::{Report, Samples};
use crate::server::{Server, body};
use crate::{Failure, Options, aggregate};

const STEP: u64 = 300;

const DAYS: u64 = 30;

/// Lines of one request that imports.
const LINES: u64 = 50_000;

/// What was asked, and why.
const QUESTIONS: [(&str, &str); 2] = [
    ("avg_over_time(annals{member=\"celsius\"}[5m])", "each"),
    ("avg(avg_over_time(annals{member=\"celsius\"}[5m]))", "their mean"),
];

#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow)]
    data: Data<'a>,
}

#[derive(Deserialize)]
struct Data<'a> {
    #[serde(borrow)]
    result: Vec<Series<'a>>,
}

#[derive(Deserialize)]
struct Series<'a> {
    #[serde(borrow)]
    values: Vec<(f64, &'a str)>,
}

/// The history that `annals` serves is filled by [`aggregate::fill`] with this interval.
pub(crate) async fn run(
    options: &Options,
    report: &mut Report,
    annals: &Server,
    interval: u64,
) -> Result<(), Failure> {
    let folder = tempfile::tempdir()?;
    let mut command = Command::new("victoria-metrics");
    command.arg(format!("-storageDataPath={}", folder.path().display())).args([
        "-retentionPeriod=100y",
        "-loggerLevel=ERROR",
        "-httpListenAddr",
    ]);
    let victoria = Server::start(&mut command, "/health").await?;
    fill(options, &victoria, interval).await?;
    // Steps begin at midnight.
    let end = aggregate::EPOCH / 1_000 + DAYS * 86_400;
    for (query, of) in QUESTIONS {
        let (mut ours, mut theirs) = (Samples::default(), Samples::default());
        for _ in 0..options.rounds {
            let (milliseconds, answer) = ask(&annals.url("/prometheus"), query, end).await?;
            ours.0.push(milliseconds);
            let (milliseconds, peer) = ask(&victoria.address, query, end).await?;
            theirs.0.push(milliseconds);
            agree(&answer, &peer)?;
        }
        let what = format!(
            "sqlite: query_range of {} series ({of}), {DAYS} days in steps of 5 minutes",
            options.records
        );
        report.compare(what, ours, "ms", "VictoriaMetrics", &theirs);
    }
    Ok(())
}

async fn fill(options: &Options, victoria: &Server, interval: u64) -> Result<(), Failure> {
    let http = Client::new();
    let rows = 10 * options.rows;
    for first in (0..rows).step_by(LINES as usize) {
        let mut lines = String::new();
        for at in first..(first + LINES).min(rows) {
            let (name, celsius) = (record(at, options.records), aggregate::celsius(at));
            let time = aggregate::EPOCH + at / options.records * interval;
            lines += &format!("annals{{record=\"{name}\",member=\"celsius\"}} {celsius} {time}\n");
        }
        let request = http.post(victoria.url("/api/v1/import/prometheus"));
        body(request.body(lines).send().await?).await?;
    }
    // Until then the newest rows are not found.
    body(http.get(victoria.url("/internal/force_flush")).send().await?).await?;
    Ok(())
}

/// Milliseconds until the last byte, and the bytes.
async fn ask(address: &str, query: &str, end: u64) -> Result<(f64, Vec<u8>), Failure> {
    let query: String = query
        .bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'_' => char::from(byte).to_string(),
            byte => format!("%{byte:02X}"),
        })
        .collect();
    let begin = end - DAYS * 86_400 + STEP;
    let url = format!(
        "{address}/api/v1/query_range?query={query}&start={begin}&end={end}&step={STEP}&nocache=1"
    );
    let begun = Instant::now();
    let bytes = body(reqwest::get(url).await?).await?;
    Ok((begun.elapsed().as_secs_f64() * 1_000.0, bytes))
}

/// Fails unless both have as many series and points, and the same sum of times and values.
fn agree(one: &[u8], other: &[u8]) -> Result<(), Failure> {
    let sums = |bytes: &[u8]| -> Result<(usize, usize, f64, f64), Failure> {
        let answer: Answer<'_> = serde_json::from_slice(bytes)?;
        let (mut points, mut times, mut values) = (0, 0.0, 0.0);
        for Series { values: of_series } in &answer.data.result {
            points += of_series.len();
            for (time, value) in of_series {
                times += time;
                values += value.parse::<f64>()?;
            }
        }
        Ok((answer.data.result.len(), points, times, values))
    };
    let (one, other) = (sums(one)?, sums(other)?);
    let is_near = |a: f64, b: f64| (a - b).abs() <= 1e-9 * a.abs();
    if one.0 == other.0 && one.1 == other.1 && is_near(one.2, other.2) && is_near(one.3, other.3) {
        Ok(())
    } else {
        Err(format!("two servers do not agree: {one:?} and {other:?}").into())
    }
}
