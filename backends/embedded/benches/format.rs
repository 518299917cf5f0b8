//! The format by itself, per row: `cargo bench -p annals-embedded --bench format`.
//!
//! 1,000 records, values of 43 bytes of JSON, times with some jitter. The bytes a row that come out
//! are printed first.

#![expect(clippy::unwrap_used, reason = "a benchmark that fails should stop")]

use std::sync::Arc;
use std::time::Duration;

use annals_core::aggregate::{Plan, Series};
use annals_core::{Aggregate, Predicate};
use annals_embedded::format::{
    Arrivals, Block, Form, FormatError, Layout, MergeInput, NewRun, RunBuilder, RunIndex, Stretch,
    Verdict,
};
use annals_embedded::format::{flush, merge};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};

const RECORDS: u64 = 1_000;
const FOLD_ROWS: usize = 65_536;

/// Marsaglia's xorshift: the same values in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }

    /// Blocks of the head, each of `block` rows, with `rows` together.
    fn head(&mut self, rows: usize, block: usize) -> Vec<Block> {
        let mut blocks = Vec::new();
        for start in (0..rows).step_by(block) {
            let mut rows_of_block = Block::new();
            for row in start..rows.min(start + block) {
                let celsius = 15.0 + self.below(1_000) as f64 / 100.0;
                let humidity = 0.3 + self.below(40) as f64 / 100.0;
                let ok = self.below(10) > 0;
                let json =
                    format!(r#"{{"celsius":{celsius:.2},"humidity":{humidity:.2},"ok":{ok}}}"#);
                let time = 1_740_081_234_000 + row as u64 * 30 + self.below(12);
                rows_of_block.push(self.below(RECORDS) as u32, time, &json);
            }
            blocks.push(rows_of_block);
        }
        blocks
    }
}

/// The rows of a run: 1,000 records of 262 rows, one every 30 seconds.
struct DataSet {
    name: &'static str,
    rows: Vec<(u32, u64, String)>,
}

const RUN_ROWS: usize = 262_000;

impl DataSet {
    fn new(name: &'static str, mut json: impl FnMut(usize) -> String) -> Self {
        let row = |at: usize| {
            let time = 1_740_081_234_000 + (at % 262) as u64 * 30_000;
            ((at / 262) as u32, time, json(at))
        };
        Self { name, rows: (0..RUN_ROWS).map(row).collect() }
    }

    fn all() -> [Self; 3] {
        let mut random = Random(88_172_645_463_325_252);
        let mut second = Random(88_172_645_463_325_253);
        let mut third = Random(88_172_645_463_325_254);
        [
            Self::new("fixed decimals", move |_| {
                let (celsius, humidity) = (random.below(1_000), random.below(400));
                let (celsius, humidity) =
                    (15.0 + celsius as f64 / 100.0, 30.0 + humidity as f64 / 10.0);
                format!(r#"{{"celsius":{celsius:.2},"humidity":{humidity:.1},"ok":true}}"#)
            }),
            Self::new("full precision", move |at| {
                let celsius = 15.0 + second.below(1 << 52) as f64 / (1u64 << 49) as f64;
                let city = ["Vienna", "Graz", "Linz", "Salzburg"][at / 262 % 4];
                format!(r#"{{"celsius":{celsius},"city":"{city}","seq":{at}}}"#)
            }),
            Self::new("words and random text", move |_| {
                let celsius = (1_500 + third.below(1_000)) as f64 / 100.0;
                let status = ["ok", "late", "off"][third.below(3) as usize];
                let id = third.below(u64::MAX);
                format!(r#"{{"celsius":{celsius:?},"status":"{status}","id":"{id:016x}"}}"#)
            }),
        ]
    }

    fn run(&self, layout: &Layout, rest: bool) -> NewRun {
        let mut run = RunBuilder::new(layout, rest);
        for (record, time, json) in &self.rows {
            run.push(0, *record, *time, json).unwrap();
        }
        run.finish().unwrap()
    }
}

/// Hourly buckets of all records, from the column or from the text.
fn hourly(run: &NewRun) -> usize {
    let question = Aggregate::every(Duration::from_secs(3600)).member("celsius");
    let plan = Arc::new(Plan::new("*", &question).unwrap());
    let name: Arc<str> = "record".into();
    let mut extents = run.index.iter().peekable();
    let mut series = Series::new(plan.clone(), name.clone());
    let mut buckets = 0;
    for (number, block) in (0..).zip(&run.blocks) {
        let rows = run.index.block_rows(number);
        let numbers = Block::decode_numbers(block, plan.member()).unwrap();
        let text = if numbers.is_none() { Some(Block::decode(block).unwrap()) } else { None };
        let mut next = rows.start;
        while next < rows.end {
            let extent = *extents.peek().unwrap();
            let end = (extent.first_row + extent.rows).min(rows.end);
            let range = (next - rows.start) as usize..(end - rows.start) as usize;
            match (&numbers, &text) {
                (Some(numbers), _) => match numbers.stretch(range).0 {
                    Stretch::Samples(times, values) => series.samples(times, values).unwrap(),
                    other => panic!("{other:?}"),
                },
                (None, Some(text)) => {
                    for row in range {
                        series.row(text.time(row), text.json(row)).unwrap();
                    }
                }
                (None, None) => unreachable!(),
            }
            next = end;
            if end == extent.first_row + extent.rows {
                extents.next();
                let done = std::mem::replace(&mut series, Series::new(plan.clone(), name.clone()));
                buckets += done.finish().unwrap().len();
            }
        }
    }
    buckets
}

/// Asks a predicate of all rows, by their columns or by their text, and counts those that satisfy it.
fn filtered(run: &NewRun, predicate: &Predicate, by_columns: bool) -> usize {
    let of_block = |block: &Vec<u8>| {
        if by_columns {
            let verdicts = Block::decode_verdicts(block, predicate, 0..1).unwrap().unwrap();
            return verdicts
                .of(0..verdicts.len())
                .iter()
                .filter(|one| **one == Verdict::Yes)
                .count();
        }
        let rows = Block::decode(block).unwrap();
        rows.iter().filter(|row| predicate.test(row.2).unwrap()).count()
    };
    run.blocks.iter().map(of_block).sum()
}

/// Values of any of the data sets.
#[derive(serde::Deserialize)]
struct Typed {
    celsius: f64,
}

/// Reads all rows as a type.
fn typed(run: &NewRun) -> f64 {
    let of_block = |block: &Vec<u8>| {
        let rows = Block::decode(block).unwrap();
        rows.iter().map(|row| serde_json::from_str::<Typed>(row.2).unwrap().celsius).sum::<f64>()
    };
    run.blocks.iter().map(of_block).sum()
}

/// Text and columns of the same rows, and columns in blocks of several sizes.
#[expect(clippy::print_stdout, reason = "figures for a person")]
fn rest(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("rest");
    group.throughput(Throughput::Elements(RUN_ROWS as u64)).sample_size(10);
    for set in DataSet::all() {
        let sizes = [2_048, 4_096, 8_192, 16_384, 65_536];
        let layouts =
            sizes.map(|rest_rows| Layout { rest_rows, rest_text: 8 << 20, ..Layout::default() });
        let default = Layout::default();
        let mut forms = vec![("text".to_owned(), default.clone(), false)];
        forms.push(("columns".to_owned(), default, true));
        forms.extend(
            layouts.map(|layout| (format!("columns of {}", layout.rest_rows), layout, true)),
        );
        for (form, layout, rest) in &forms {
            let run = set.run(layout, *rest);
            let bytes = per_row(run.blocks.iter().map(Vec::len), RUN_ROWS);
            println!("{}, {form}: {bytes:.2} bytes a row", set.name);
            let name = |what: &str| format!("{}, {form}: {what}", set.name);
            if form.len() < 8 {
                group.bench_function(name("encode"), |b| b.iter(|| set.run(layout, *rest)));
            }
            group.bench_function(name("decode all text"), |b| {
                b.iter(|| {
                    let blocks = run.blocks.iter().map(|block| Block::decode(block).unwrap());
                    blocks
                        .map(|block| block.iter().map(|row| row.2.len()).sum::<usize>())
                        .sum::<usize>()
                });
            });
            group.bench_function(name("hourly buckets"), |b| b.iter(|| hourly(&run)));
            if form.len() >= 8 {
                continue;
            }
            group.bench_function(name("decode"), |b| {
                b.iter(|| {
                    run.blocks
                        .iter()
                        .map(|block| Block::decode(block).unwrap().len())
                        .sum::<usize>()
                });
            });
            group.bench_function(name("typed"), |b| b.iter(|| typed(&run)));
            for (what, text) in [("one of ten", "celsius > 24"), ("none", "celsius > 30")] {
                let predicate = Predicate::parse(text).unwrap();
                for (by, by_columns) in [("text", false), ("columns", true)] {
                    if by_columns && !rest {
                        continue;
                    }
                    let name = name(&format!("filter {what} by {by}"));
                    group.bench_function(name, |b| {
                        b.iter(|| filtered(&run, &predicate, by_columns))
                    });
                }
            }
        }
    }
    group.finish();
}

fn rank(record: u32) -> u32 {
    record
}

fn flushed(head: &[Block]) -> NewRun {
    flush(head, &rank, &Layout::default(), false).unwrap().main.unwrap()
}

fn per_row(bytes: impl Iterator<Item = usize>, rows: usize) -> f64 {
    bytes.sum::<usize>() as f64 / rows as f64
}

#[expect(clippy::print_stdout, reason = "figures for a person")]
fn format(criterion: &mut Criterion) {
    let mut random = Random(88_172_645_463_325_252);
    let mut group = criterion.benchmark_group("format");
    for rows in [1, 256, 4_096] {
        let decoded = random.head(rows, rows).remove(0);
        let block = decoded.encode().unwrap();
        println!("a block of {rows}: {:.2} bytes a row", per_row([block.len()].into_iter(), rows));
        group.throughput(Throughput::Elements(rows as u64));
        group.bench_function(format!("encode {rows}"), |b| b.iter(|| decoded.encode().unwrap()));
        group.bench_function(format!("decode {rows}"), |b| {
            b.iter(|| Block::decode(&block).unwrap());
        });
    }

    let head = random.head(FOLD_ROWS, 4_096);
    let run = flushed(&head);
    let blocks = per_row(run.blocks.iter().map(Vec::len), FOLD_ROWS);
    let index = run.index.encode().unwrap();
    println!("a run of {FOLD_ROWS}: {blocks:.2} bytes a row, index {}", index.len());
    group.throughput(Throughput::Elements(FOLD_ROWS as u64));
    group.bench_function("flush", |b| b.iter(|| flushed(&head)));
    group.bench_function("decode a run", |b| {
        b.iter(|| {
            run.blocks.iter().map(|block| Block::decode(block).unwrap().len()).sum::<usize>()
        });
    });
    group.throughput(Throughput::Elements(RECORDS));
    group.bench_function("decode its index", |b| {
        b.iter(|| RunIndex::decode(&index).unwrap());
    });

    let runs: Vec<NewRun> = (0..8).map(|_| flushed(&random.head(FOLD_ROWS, 4_096))).collect();
    let rows = 8 * FOLD_ROWS as u64;
    group.throughput(Throughput::Elements(rows)).sample_size(10);
    for (name, rest) in [("merge 8", false), ("merge 8 to rest", true)] {
        let form = Form { split: true, rest };
        group.bench_function(name, |b| {
            b.iter_batched(
                || {
                    runs.iter().map(|run| MergeInput {
                        index: &run.index,
                        arrivals: &Arrivals::At(0),
                        dropped: &|_| 0,
                    })
                },
                |sources| {
                    let sources: Vec<MergeInput<'_>> = sources.collect();
                    let mut fetch =
                        |run: usize, block: u32| Block::decode(&runs[run].blocks[block as usize]);
                    let layout = Layout::default();
                    merge::<FormatError>(&sources, &mut fetch, &rank, &layout, form).unwrap()
                },
                BatchSize::PerIteration,
            );
        });
    }
    group.finish();
}

criterion_group!(benches, format, rest);
criterion_main!(benches);
