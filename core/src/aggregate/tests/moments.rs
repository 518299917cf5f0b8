//! What is weighted by time, and the rises of a counter, against a walk over every millisecond.

use std::sync::Arc;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::*;

/// A question and the samples that it is asked of.
#[derive(Debug)]
struct Case {
    /// In order of time.
    samples: Vec<(u64, f64)>,
    width: u64,
    window: (u64, u64),
    now: u64,
    gap: Option<u64>,
    interpolation: Interpolation,
}

impl Case {
    /// The index of the sample that holds at a time.
    fn holding(&self, at: u64) -> Option<usize> {
        let index = self.samples.partition_point(|(time, _)| *time <= at).checked_sub(1)?;
        let until = self.gap.map_or(u64::MAX, |gap| self.samples[index].0 + gap);
        (at < until.min(self.now)).then_some(index)
    }

    /// The area under the samples in the millisecond from `at` on.
    fn area(&self, index: usize, at: u64) -> f64 {
        let (from, value) = self.samples[index];
        match (self.interpolation, self.samples.get(index + 1)) {
            (Interpolation::Linear, Some((to, next))) => {
                let middle = (at - from) as f64 + 0.5;
                value + (next - value) * middle / (to - from) as f64
            }
            _ => value,
        }
    }

    /// `covered_ms`, the area, and `increase` of a bucket.
    fn expected(&self, start: u64, end: u64) -> (u64, f64, f64) {
        let (from, to) = self.window;
        let held = (start.max(from)..end.min(to + 1))
            .filter_map(|at| self.holding(at).map(|index| self.area(index, at)));
        let (covered, area) = held.fold((0, 0.0), |(ms, sum), area| (ms + 1, sum + area));
        let rise = |index: &usize| {
            let value = self.samples[*index].1;
            match index.checked_sub(1).map(|before| self.samples[before].1) {
                None => 0.0,
                Some(before) if value >= before => value - before,
                Some(_) => value,
            }
        };
        let is_inside = |index: &usize| {
            let at = self.samples[*index].0;
            (start..end).contains(&at) && at >= from
        };
        (covered, area, (0..self.samples.len()).filter(is_inside).map(|i| rise(&i)).sum())
    }
}

fn case() -> impl Strategy<Value = Case> {
    let samples = vec((0..80_u64, -50..50_i32), 1..25);
    let times = (1..40_u64, 0..50_u64, 0..60_u64, 1..150_u64);
    (samples, times, option::of(1..30_u64), any::<bool>()).prop_map(
        |(samples, (width, from, length, now), gap, linear)| {
            let to = from + length;
            let mut samples: Vec<(u64, f64)> =
                samples.into_iter().map(|(at, value)| (at, f64::from(value))).collect();
            samples.retain(|(at, _)| *at <= to);
            samples.sort_by_key(|(at, _)| *at);
            let interpolation = if linear { Interpolation::Linear } else { Interpolation::Step };
            Case { samples, width, window: (from, to), now, gap, interpolation }
        },
    )
}

proptest! {
    #[test]
    fn every_millisecond_counts_once(case in case()) {
        let names = "count,covered_ms,integral,time_weighted_mean,increase";
        let mut asked = every(case.width)
            .functions(shown(names))
            .interpolation(case.interpolation)
            .range(case.window.0, case.window.1)
            .now(case.now);
        if let Some(gap) = case.gap {
            asked = asked.max_gap(Duration::from_millis(gap));
        }
        let mut series = Series::new(Arc::new(Plan::new("r", &asked).unwrap()), "r".into());
        for (at, value) in &case.samples {
            series.row(*at, &value.to_string()).unwrap();
        }
        let mut covered = 0;
        for bucket in series.finish().unwrap() {
            let bucket = serde_json::to_value(&bucket).unwrap();
            let number = |name: &str| bucket[name].as_f64();
            let (start, end) = (bucket["start"].as_u64().unwrap(), bucket["end"].as_u64().unwrap());
            let (ms, area, rises) = case.expected(start, end);
            covered += ms;
            let near = |got: Option<f64>, expected: f64| {
                got.is_some_and(|got| (got - expected).abs() <= 1e-9 * expected.abs().max(1.0))
            };
            prop_assert_eq!(bucket["covered_ms"].as_u64().unwrap_or(0), ms, "{}", bucket);
            if ms > 0 {
                prop_assert!(near(number("integral"), area / 1e3), "{bucket}: {area}");
                prop_assert!(near(number("time_weighted_mean"), area / ms as f64), "{bucket}");
            }
            if bucket["count"] != 0 {
                prop_assert!(near(number("increase"), rises), "{bucket}: {rises}");
            }
        }
        // No bucket is missing in which a sample held.
        let held = (case.window.0..=case.window.1).filter(|at| case.holding(*at).is_some());
        prop_assert_eq!(covered, held.count() as u64);
    }
}
