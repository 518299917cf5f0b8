//! The memory of a process that reads a whole history as a stream.

use std::process::{Command, Stdio};

use annals::{QueryExt, QueryParams, Value};
use futures::StreamExt;

use crate::places::{Place, fill};
use crate::report::{Report, Samples};
use crate::{Failure, Options, process};

pub(crate) async fn run(options: &Options, report: &mut Report) -> Result<(), Failure> {
    for engine in &options.engines {
        let place = Place::new(engine)?;
        let history = place.open().await?;
        fill(&*history, 0, options.rows, options.records).await?;
        history.close().await?;
        let mut mebibytes = Samples::default();
        for _ in 0..options.rounds {
            let read = Command::new(std::env::current_exe()?)
                .args(["--read-and-measure", &place.url])
                .stderr(Stdio::inherit())
                .output()?;
            let answer: Value = serde_json::from_slice(&read.stdout)?;
            if answer["rows"].as_u64() != Some(options.rows) {
                return Err(format!("{engine}: the stream gave {}", answer["rows"]).into());
            }
            let kibibytes = answer["peak_kib"].as_f64().ok_or("no figure of its memory")?;
            mebibytes.0.push(kibibytes / 1_024.0);
        }
        let what = format!("{engine}: peak memory, {} rows as a stream", options.rows);
        report.add(what, mebibytes, "MiB");
    }
    Ok(())
}

/// The child's part.
#[expect(clippy::print_stdout, reason = "the answer to the parent")]
pub(crate) async fn read_and_measure(url: &str) -> Result<(), Failure> {
    let history = annals::connect(url).await?;
    let mut rows = history.stream_typed::<Value>("*", QueryParams::default()).await?;
    let mut count = 0_u64;
    while let Some(row) = rows.next().await {
        row?;
        count += 1;
    }
    let peak = process::peak_kibibytes()?;
    println!("{}", serde_json::json!({ "rows": count, "peak_kib": peak }));
    Ok(())
}
