//! Rows at rest, in columns, against the same rows in blocks of text: bytes, encode, decode, aggregate, typed
//! read, filter. No engine takes part.

use std::sync::Arc;
use std::time::{Duration, Instant};

use annals::aggregate::{Plan, Series};
use annals::page::{PageRows, Values};
use annals::{Aggregate, Order, Predicate};
use annals_embedded::format::{Block, Layout, NewRun, RunBuilder, Stretch, Verdict};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::datasets::{self, DataSet, Reading};
use crate::report::{Report, Samples};
use crate::{Failure, Options};

/// What is measured, in rows a second.
const WAYS: [&str; 7] = [
    "encode",
    "decode to text",
    "hourly buckets",
    "typed read",
    "text of a query",
    "filter, one row of ten",
    "filter, no row",
];

pub(crate) fn run(options: &Options, report: &mut Report) -> Result<(), Failure> {
    for set in datasets::all()? {
        let forms = [false, true].map(|rest| (rest, encode(&set, rest)));
        let bytes = |run: &NewRun| {
            let bytes: usize = run.blocks.iter().map(Vec::len).sum();
            Samples(vec![bytes as f64 / set.rows.len() as f64])
        };
        let [(_, text), (_, columns)] = &forms;
        let (text, columns) = (text.as_ref(), columns.as_ref());
        let (Ok(text), Ok(columns)) = (text, columns) else {
            return Err("it does not encode".into());
        };
        let what = |way| format!("{}: {way}", set.name);
        report.compare(what("bytes a row"), bytes(columns), "bytes", "text", &bytes(text));
        let mut samples = [const { [const { Samples(Vec::new()) }; 2] }; WAYS.len()];
        for _ in 0..options.rounds {
            for (way, samples) in samples.iter_mut().enumerate() {
                let mut answers = Vec::new();
                for (run, samples) in [(text, false), (columns, true)].into_iter().zip(samples) {
                    let (run, rest) = run;
                    let begun = Instant::now();
                    let mut times = 0;
                    let answer = loop {
                        let answer = measure(&set, run, rest, way)?;
                        times += 1;
                        if begun.elapsed() > Duration::from_millis(100) {
                            break answer;
                        }
                    };
                    let rows = (set.rows.len() * times) as f64;
                    samples.0.push(rows / begun.elapsed().as_secs_f64());
                    answers.push(answer);
                }
                // A run that is encoded has another size.
                if way > 0 && answers[0] != answers[1] {
                    return Err(format!("{}: {} differ: {answers:?}", set.name, WAYS[way]).into());
                }
            }
        }
        for (way, [text, columns]) in WAYS.into_iter().zip(samples) {
            report.compare(what(way), columns, "rows/s", "text", &text);
        }
    }
    Ok(())
}

/// Does it once, and returns a figure that must be the same for text and columns.
fn measure(set: &DataSet, run: &NewRun, rest: bool, way: usize) -> Result<u64, Failure> {
    let member = set.member;
    Ok(match way {
        0 => encode(set, rest)?.blocks.len() as u64,
        1 => blocks(run, |block| block.iter().map(|row| row.2.len() as u64).sum())?,
        2 => hourly(run, member)?,
        3 => blocks(run, |block| typed(block, member))?,
        4 => blocks(run, |block| {
            let block = Arc::new(block);
            (0..block.len()).map(|row| block.text(row).len() as u64).sum()
        })?,
        5 => filtered(run, &Predicate::parse(set.some)?)?,
        _ => filtered(run, &Predicate::parse(set.none)?)?,
    })
}

fn encode(set: &DataSet, rest: bool) -> Result<NewRun, Failure> {
    let layout = Layout::default();
    let mut run = RunBuilder::new(&layout, rest);
    for (record, time, json) in &set.rows {
        run.push(0, *record, *time, json)?;
    }
    Ok(run.finish()?)
}

fn blocks(run: &NewRun, of: impl Fn(Block) -> u64) -> Result<u64, Failure> {
    run.blocks.iter().try_fold(0, |sum, block| Ok(sum + of(Block::decode(block)?)))
}

#[derive(Deserialize)]
struct Weather {
    temp: Option<f64>,
    humid: Option<f64>,
    wind_dir: Option<f64>,
    wind_speed: Option<f64>,
    pressure: Option<f64>,
}

#[derive(Deserialize)]
struct Flight {
    destination: String,
    delay: i32,
    distance: u32,
}

/// Reads all rows as the type that fits, as a typed query does; text by `serde_json`.
fn typed(block: Block, member: &str) -> u64 {
    let block = Arc::new(block);
    let name: Arc<str> = "record".into();
    let rows = PageRows::new(name, block.clone(), 0..block.len(), Order::OldestFirst);
    match member {
        "celsius" => read::<Reading>(rows)
            .map(|row| (row.celsius * 100.0 + row.humidity) as u64 + u64::from(row.ok))
            .sum(),
        "temp" => read::<Weather>(rows)
            .map(|row| {
                let all = [row.temp, row.humid, row.wind_dir, row.wind_speed, row.pressure];
                all.iter().flatten().map(|number| (number * 100.0) as u64).sum::<u64>()
            })
            .sum(),
        _ => read::<Flight>(rows)
            .map(|row| {
                u64::from(row.delay.unsigned_abs() + row.distance) + row.destination.len() as u64
            })
            .sum(),
    }
}

fn read<T: DeserializeOwned>(mut rows: PageRows) -> impl Iterator<Item = T> {
    std::iter::from_fn(move || rows.read_next().map(|(_, value)| value)).filter_map(Result::ok)
}

/// Counts the rows that satisfy a predicate.
fn filtered(run: &NewRun, predicate: &Predicate) -> Result<u64, Failure> {
    let mut found = 0;
    for block in &run.blocks {
        // Of the first row: if statistics tell of that, they tell of the records with many rows.
        match Block::decode_verdicts(block, predicate, 0..1)? {
            Some(verdicts) => {
                let rows = verdicts.of(0..verdicts.len());
                let final_rows = verdicts.is_final(0..verdicts.len());
                let verdicts = match final_rows {
                    true => rows.iter().filter(|one| **one == Verdict::Yes).count(),
                    false => {
                        let all = Block::decode_verdicts(block, predicate, 0..rows.len())?;
                        let all = all.ok_or("it has no verdicts")?;
                        all.of(0..rows.len()).iter().filter(|one| **one == Verdict::Yes).count()
                    }
                };
                found += verdicts;
            }
            None => {
                let rows = Block::decode(block)?;
                found += rows.iter().filter(|row| predicate.test(row.2).unwrap_or(false)).count();
            }
        }
    }
    Ok(found as u64)
}

/// Hourly buckets of all records, from the column or from the text.
fn hourly(run: &NewRun, member: &str) -> Result<u64, Failure> {
    let question = Aggregate::every(Duration::from_secs(3600)).member(member);
    let plan = Arc::new(Plan::new("*", &question)?);
    let new = || Series::new(plan.clone(), "record".into());
    let (mut series, mut current, mut buckets) = (new(), None, 0);
    for (number, encoded) in (0..).zip(&run.blocks) {
        let numbers = Block::decode_numbers(encoded, plan.member())?;
        let text = if numbers.is_none() { Some(Block::decode(encoded)?) } else { None };
        let rows = run.index.block_rows(number);
        for extent in run.index.iter() {
            let start = extent.first_row.max(rows.start);
            let end = (extent.first_row + extent.rows).min(rows.end);
            if start >= end {
                continue;
            }
            if current != Some(extent.record) {
                current = Some(extent.record);
                buckets += std::mem::replace(&mut series, new()).finish()?.len();
            }
            let mut range = (start - rows.start) as usize..(end - rows.start) as usize;
            if let Some(text) = &text {
                for row in range {
                    series.row(text.time(row), text.json(row))?;
                }
                continue;
            }
            let Some(numbers) = &numbers else { continue };
            while !range.is_empty() {
                let (stretch, length) = numbers.stretch(range.clone());
                match stretch {
                    Stretch::Samples(times, values) => series.samples(times, values)?,
                    Stretch::NoSamples(times) => {
                        times.iter().try_for_each(|time| series.skip(*time))?;
                    }
                    Stretch::Unreadable(time, text) => series.row(time, text)?,
                }
                range.start += length;
            }
        }
    }
    buckets += series.finish()?.len();
    Ok(buckets as u64)
}
