//! The format by itself, per row: `cargo bench -p annals-embedded --bench format`.
//!
//! 1,000 records, values of 43 bytes of JSON, times with some jitter. The bytes a row that come out
//! are printed first.

#![expect(clippy::unwrap_used, reason = "a benchmark that fails should stop")]

use annals_embedded::format::{
    Arrivals, Block, Form, FormatError, Layout, MergeInput, NewRun, RunIndex,
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

criterion_group!(benches, format);
criterion_main!(benches);
