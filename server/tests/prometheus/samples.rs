//! The samples that both servers hold.

use std::fmt::Write as _;

use annals_core::{Batch, MemoryBackend, PersistenceBackend, Row};
use serde_json::{Value, json};

/// The first time of all samples, in Unix milliseconds: 2025-02-19T21:20:00Z.
pub(crate) const START: u64 = 1_740_000_000_000;
/// The last time, three hours later.
pub(crate) const END: u64 = START + 3 * 3_600_000;

/// One sample of one series.
struct Sample {
    record: &'static str,
    /// Empty for the value itself.
    member: &'static str,
    at: u64,
    value: f64,
}

/// A generator that gives the same numbers on every run.
struct Numbers(u64);

impl Numbers {
    /// From 0 to 1.
    fn next(&mut self) -> f64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// No sample lies on a whole second, so that none is on the edge of a window: on edges Prometheus 2
/// and 3 differ.
fn samples() -> Vec<Sample> {
    let mut numbers = Numbers(17);
    let mut all = Vec::new();
    let mut add = |record, member, at: u64, value| {
        assert_ne!(at % 1_000, 0, "{record} has a sample on the edge of a window");
        all.push(Sample { record, member, at, value });
    };
    // A plain number every ten seconds.
    for step in 0..1_080 {
        add("gauge::plain", "", START + step * 10_000 + 137, numbers.next() * 100.0 - 50.0);
    }
    // Two members, at uneven times, with a gap of twenty minutes.
    for step in 0..720_u64 {
        if (240..320).contains(&step) {
            continue;
        }
        let at = START + step * 15_000 + 1 + (numbers.next() * 9_000.0) as u64;
        let at = if at.is_multiple_of(1_000) { at + 1 } else { at };
        add("host::cpu0", "percent", at, numbers.next() * 100.0);
        add("host::cpu0", "idle", at, 1e-7 * numbers.next());
    }
    for step in 0..360 {
        add("host::cpu1", "percent", START + step * 30_000 + 501, numbers.next() * 1e12);
    }
    // Counters: one with resets, one that starts at zero within the window, one that stands still.
    let mut total = 5e6;
    for step in 0..540 {
        total = if step % 170 == 169 { 3.0 } else { total + (numbers.next() * 1_000.0).floor() };
        add("net::eth0", "bytes", START + step * 20_000 + 777, total);
    }
    let mut total = 0.0;
    for step in 0..400 {
        add("net::eth1", "bytes", START + 3_600_000 + step * 15_000 + 250, total);
        total += numbers.next();
    }
    for step in 0..180 {
        add("net::eth2", "bytes", START + step * 60_000 + 333, 42.0);
    }
    // Written when it changes: less often than Prometheus' own look-back.
    for (minutes, value) in [(3, 1.0), (52, 0.0), (53, 1.0), (121, 0.0)] {
        add("door::front", "open", START + minutes * 60_000 + 41, value);
    }
    // A member of a member, and a name that must be escaped.
    for step in 0..100 {
        let at = START + step * 108_000 + 9;
        add("weather \"attic\"\\", "/outdoor/value", at, -20.0 + numbers.next());
    }
    all
}

/// A history that holds the samples.
pub(crate) async fn history() -> MemoryBackend {
    let samples = samples();
    let history = MemoryBackend::new();
    let mut rows: Vec<(&str, u64, Value)> = Vec::new();
    for sample in &samples {
        let number = json!(sample.value);
        let value = match (sample.record, sample.member) {
            (_, "") => number,
            ("door::front", _) => json!({ "open": sample.value == 1.0 }),
            (_, "/outdoor/value") => json!({ "outdoor": { "value": number }, "unit": "C" }),
            (_, member) => match rows.last_mut() {
                // Two members of one value.
                Some((record, at, value)) if (*record, *at) == (sample.record, sample.at) => {
                    value[member] = number;
                    continue;
                }
                _ => json!({ member: number }),
            },
        };
        rows.push((sample.record, sample.at, value));
    }
    // What is no sample makes no difference.
    rows.push(("text::only", START + 1, json!("up")));
    rows.push(("gauge::plain", START + 5_001, json!("no number")));
    let row = |(record, at, value): &(&str, u64, Value)| Row::new(record, value, *at).unwrap();
    let rows: Vec<Row> = rows.iter().map(row).collect();
    history.store_batch(&Batch::new(rows)).await.unwrap();
    history
}

/// The samples as an OpenMetrics file, from which promtool makes Prometheus' blocks.
pub(crate) fn open_metrics() -> String {
    let mut samples = samples();
    samples.sort_by_key(|sample| (sample.record, sample.member, sample.at));
    let mut text = "# TYPE annals unknown\n".to_owned();
    for Sample { record, member, at, value } in samples {
        let record = record.replace('\\', "\\\\").replace('"', "\\\"");
        let member = match member {
            "" => String::new(),
            member => format!(",member=\"{member}\""),
        };
        let (seconds, millis) = (at / 1_000, at % 1_000);
        writeln!(text, "annals{{record=\"{record}\"{member}}} {value:e} {seconds}.{millis:03}")
            .unwrap();
    }
    text + "# EOF\n"
}
