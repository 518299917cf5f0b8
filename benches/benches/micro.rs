//! The small things that every row passes: a name against a pattern, a value to text, a value into
//! the recorder.

#![allow(clippy::expect_used, reason = "as in a test: what is wrong ends it")]
#![allow(missing_docs, reason = "criterion's macros make undocumented functions")]

use std::hint::black_box;
use std::sync::Arc;

use annals::{
    Batch, DEFAULT_MAX_VALUE_BYTES, Grammar, JsonText, Pattern, PersistenceBackend,
    PersistenceError, QueryParams, Recorder, RecorderConfig, StoredValue, Value,
};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use serde::Serialize;

/// 46 bytes of JSON.
#[derive(Serialize)]
struct Sample {
    n: u64,
    unit: &'static str,
    value: f64,
}

const SAMPLE: Sample = Sample { n: 1_000_000, unit: "percent", value: 21.5371 };

fn patterns(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("pattern");
    let names: Vec<String> = (0..1_000).map(|at| format!("accuracy::station.{at:04}")).collect();
    group.throughput(Throughput::Elements(names.len() as u64));
    for (what, text, grammar) in [
        ("prefix", "accuracy::*", Grammar::Glob),
        ("inner", "a*::*tion*9", Grammar::Glob),
        ("topic", "#.*", Grammar::Topic),
    ] {
        let pattern = Pattern::new(text, grammar).expect("a sound pattern");
        group.bench_function(what, |bencher| {
            bencher.iter(|| names.iter().filter(|name| pattern.matches(black_box(name))).count());
        });
    }
    group.finish();
    // PATTERN-4's worst case.
    let hostile = Pattern::new("*a*a*a*a*a*a*a*a*b", Grammar::Glob).expect("a sound pattern");
    let name = "a".repeat(1_024);
    criterion.bench_function("pattern/hostile", |bencher| {
        bencher.iter(|| hostile.matches(black_box(&name)));
    });
}

fn encoding(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("encoding");
    group.throughput(Throughput::Elements(1));
    group.bench_function("of a struct", |bencher| {
        bencher.iter(|| {
            JsonText::from_serialize(black_box(&SAMPLE), DEFAULT_MAX_VALUE_BYTES)
                .expect("it is JSON")
        });
    });
    let text = serde_json::to_string(&SAMPLE).expect("it is JSON");
    group.bench_function("checked text", |bencher| {
        bencher.iter(|| {
            JsonText::from_text(black_box(text.as_str()), DEFAULT_MAX_VALUE_BYTES)
                .expect("it is JSON")
        });
    });
    group.finish();
}

/// Takes everything at once, so that nothing but the recorder is measured.
struct Nowhere;

#[annals::async_trait]
impl PersistenceBackend for Nowhere {
    async fn store(&self, _: &str, _: &Value, _: u64) -> Result<(), PersistenceError> {
        Ok(())
    }

    async fn query(&self, _: &str, _: QueryParams) -> Result<Vec<StoredValue>, PersistenceError> {
        Ok(Vec::new())
    }

    async fn cleanup(&self, _: u64) -> Result<u64, PersistenceError> {
        Ok(0)
    }

    async fn store_batch(&self, _: &Batch) -> Result<(), PersistenceError> {
        Ok(())
    }

    fn guarantees(&self) -> annals::Guarantees {
        annals::Guarantees::default().with_atomic_batches(true)
    }
}

fn recorder(criterion: &mut Criterion) {
    const ROWS: u64 = 100_000;
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let recorder = Recorder::new(Arc::new(Nowhere), RecorderConfig::default());
    let handle = recorder.handle("accuracy").expect("a sound name");
    let mut group = criterion.benchmark_group("recorder");
    group.throughput(Throughput::Elements(ROWS)).sample_size(20);
    group.bench_function("record and flush", |bencher| {
        bencher.iter(|| {
            runtime.block_on(async {
                for _ in 0..ROWS {
                    handle.record(&SAMPLE).await.expect("it is accepted");
                }
                recorder.flush().await.expect("it is stored");
            });
        });
    });
    group.finish();
}

criterion_group!(micro, patterns, encoding, recorder);
criterion_main!(micro);
